//! One produce request and its answer, batch by batch.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use millstream_protocol::messages::{
    ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
    produce_response::PartitionProduceResponse,
};
use millstream_types::{BrokerId, ErrorCode, Offset, PartitionId, TimestampMs, TopicName, TopicPartition};
use tokio::sync::oneshot;

use super::{
    accumulator::{Answer, Written},
    queue::BatchId,
};
use crate::{
    Client, Error, Metadata, Result,
    client::Lane,
    config::{Acks, as_millis_i32},
};

/// From here on topics go by id (KIP-516), so that records never end up in a later topic of the same name.
const VERSION_WITH_IDS: i16 = 13;
/// From here on a broker takes the partitions of a transaction to be added by the request (KIP-890).
const VERSION_THAT_ADDS_PARTITIONS: i16 = 12;

/// What a producer says with each request.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) acks: Acks,
    pub(super) timeout: Duration,
    pub(super) transactional_id: Option<String>,
}

/// A batch as it is sent.
pub(super) type Sealed = (TopicPartition, BatchId, Bytes);

/// Sends what was dispatched to a broker and says what became of each batch. Drops `on_its_way` as soon as a
/// later request cannot overtake this one any more.
pub(super) async fn produce(
    client: Client,
    terms: Terms,
    broker: BrokerId,
    batches: Vec<Sealed>,
    on_its_way: oneshot::Sender<()>,
) -> Vec<(TopicPartition, BatchId, Answer)> {
    let answers = exchange(&client, &terms, broker, &batches, on_its_way).await;
    let mut answers = answers.unwrap_or_else(|error| {
        let failed = |(partition, _, _): &Sealed| (partition.clone(), Answer::Failed(error.clone()));
        batches.iter().map(failed).collect()
    });
    let answer = |(partition, id, _)| {
        let missing =
            || Answer::Failed(Error::malformed("the answer to Produce", format!("{partition} is not in it")));
        let answer = answers.remove(&partition).unwrap_or_else(missing);
        (partition, id, answer)
    };
    batches.into_iter().map(answer).collect()
}

type Answers = BTreeMap<TopicPartition, Answer>;

async fn exchange(
    client: &Client,
    terms: &Terms,
    broker: BrokerId,
    batches: &[Sealed],
    on_its_way: oneshot::Sender<()>,
) -> Result<Answers> {
    let connection = client.lane(broker, Lane::Produce).await.map_err(|error| unsent(broker, error))?;
    let metadata = client.metadata();
    let mut version = connection.version_of::<ProduceRequest>()?;
    if terms.transactional_id.is_some() {
        version = version.min(VERSION_THAT_ADDS_PARTITIONS - 1);
    }
    let all_have_ids = batches.iter().all(|(partition, ..)| topic_has_id(&metadata, &partition.topic));
    let version = if all_have_ids { version } else { version.min(VERSION_WITH_IDS - 1) };
    let request = request(&metadata, version, terms, batches);
    if terms.acks == Acks::None {
        connection.send_unanswered(version, &request).await?;
        let sent = Answer::Appended(Written { base_offset: None, log_append_time: None });
        return Ok(batches.iter().map(|(partition, ..)| (partition.clone(), sent.clone())).collect());
    }
    let answer = connection.begin(version, &request).await?;
    drop(on_its_way);
    let answer = answer.await?;
    Ok(answers(&metadata, version, answer))
}

/// A connection that could not be made leaves nothing in doubt, however far it came.
fn unsent(broker: BrokerId, error: Error) -> Error {
    match error {
        Error::Disconnected { .. } | Error::Timeout { .. } => {
            Error::Connect { address: format!("broker {broker}"), reason: error.to_string() }
        }
        other => other,
    }
}

fn topic_has_id(metadata: &Metadata, topic: &TopicName) -> bool {
    metadata.topic(topic).is_some_and(|topic| topic.id.is_some())
}

fn request(metadata: &Metadata, version: i16, terms: &Terms, batches: &[Sealed]) -> ProduceRequest {
    let mut topics: BTreeMap<&TopicName, Vec<PartitionProduceData>> = BTreeMap::new();
    for (partition, _, batch) in batches {
        let data = PartitionProduceData {
            index: partition.partition.0,
            records: Some(batch.clone().into()),
            ..Default::default()
        };
        topics.entry(&partition.topic).or_default().push(data);
    }
    let topic_data = topics.into_iter().map(|(name, partition_data)| {
        let mut topic = TopicProduceData { partition_data, ..Default::default() };
        if version >= VERSION_WITH_IDS {
            topic.topic_id = metadata.topic(name).and_then(|topic| topic.id).unwrap_or_default();
        } else {
            topic.name = name.to_string();
        }
        topic
    });
    ProduceRequest {
        transactional_id: terms.transactional_id.clone(),
        acks: terms.acks.to_wire(),
        timeout_ms: as_millis_i32(terms.timeout),
        topic_data: topic_data.collect(),
        ..ProduceRequest::default()
    }
}

fn answers(metadata: &Metadata, version: i16, response: ProduceResponse) -> Answers {
    let mut answers = Answers::new();
    for topic in response.responses {
        let name = match version {
            VERSION_WITH_IDS.. => metadata.topic_name(topic.topic_id).cloned(),
            _ => TopicName::parse(&topic.name).ok(),
        };
        let Some(name) = name else { continue };
        for partition in topic.partition_responses {
            let which = TopicPartition::new(name.clone(), PartitionId(partition.index));
            let answer = answer(&which, partition);
            answers.insert(which, answer);
        }
    }
    answers
}

fn answer(which: &TopicPartition, response: PartitionProduceResponse) -> Answer {
    match ErrorCode::from_code(response.error_code) {
        ErrorCode::None => Answer::Appended(Written {
            base_offset: Offset::from_wire(response.base_offset),
            log_append_time: TimestampMs::from_wire(response.log_append_time_ms),
        }),
        code => {
            let errors = response.record_errors.iter().map(|error| {
                let text = error.batch_index_error_message.as_deref().unwrap_or("refused");
                format!("record {} of the batch: {text}", error.batch_index)
            });
            let message: Vec<String> = response.error_message.into_iter().chain(errors).collect();
            Answer::Failed(Error::kafka(code, which.to_string(), Some(message.join("; "))))
        }
    }
}
