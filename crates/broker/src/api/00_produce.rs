//! Produce (0), versions 3-13; 0-2 are advertised because librdkafka concludes from them which codecs
//! it may use (KAFKA-18659), and never served.
//!
//! Appends at once, in the request's order; the answer waits until the flush has covered it. A batch that opens to
//! far more than its size is judged by threads of its own first, and nothing more is read from the connection until
//! all of the request is appended and answered.
//! Transactional batches are refused until transactions are there.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millstream_log::{AppendOptions, Judged, Origin};
use millstream_protocol::{
    ResponseFrame,
    messages::{
        ProduceRequest, ProduceResponse,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse},
    },
};
use millstream_record::{BatchError, Compression, batch::BatchHeader};
use millstream_types::{ErrorCode, Offset, PartitionId, TimestampMs};

use super::context::RequestContext;
use crate::{
    error_map::Failure,
    partitions::{Partition, Topic},
    parts::Parts,
    server::{RequestMemory, response::Reply},
    workers::Workers,
};

/// From this version on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;
const ZSTD_FROM: i16 = 7;
/// The one client that may write to internal topics, as in Kafka.
const ADMIN_CLIENT_ID: &str = "__admin_client";

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: ProduceRequest) -> Reply {
    let acks = request.acks;
    let refused = match acks {
        -1..=1 if request.transactional_id.is_some() => Some(ErrorCode::InvalidTxnState),
        -1..=1 => None,
        _ => Some(ErrorCode::InvalidRequiredAcks),
    };
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut appending = Appending {
        parts,
        version: context.version,
        refused,
        may_write_internal: context.client_id.as_deref() == Some(ADMIN_CLIENT_ID),
        now: parts.clock.now(),
        waits: Vec::new(),
        deferred: Vec::new(),
    };
    let topics = request.topic_data.into_iter().enumerate();
    let responses = topics.map(|(place, topic)| appending.topic(place, topic)).collect();
    let Appending { waits, deferred, .. } = appending;
    let response = ProduceResponse { responses, ..Default::default() };
    if !deferred.is_empty() {
        let memory = RequestMemory::of_whole(&parts.memory, context.frame_bytes);
        let appended = append_deferred(Arc::clone(parts), response, waits, deferred, memory);
        return match acks {
            // An answer of no bytes: the connection goes on.
            0 => Reply::Exclusive(Box::pin(async {
                let (response, _) = appended.await;
                (!failed(&response)).then(ResponseFrame::default)
            })),
            -1 => context.later(async move {
                let (response, waits) = appended.await;
                flushed(response, waits, timeout).await
            }),
            _ => context.later(async { appended.await.0 }),
        };
    }
    match acks {
        // Without an answer there is only one way to tell of an error.
        0 if failed(&response) => Reply::Close,
        0 => Reply::None,
        -1 if !waits.iter().all(Wait::is_over) => context.overlapping(flushed(response, waits, timeout)),
        _ => context.now(&response),
    }
}

fn failed(response: &ProduceResponse) -> bool {
    response.responses.iter().flat_map(|topic| &topic.partition_responses).any(|p| p.error_code != 0)
}

/// What one appended partition's answer waits for.
struct Wait {
    partition: Arc<Partition>,
    /// The high watermark that covers the append.
    until: Offset,
    /// Which topic and partition of the response this is about.
    place: (usize, usize),
}

impl Wait {
    fn is_over(&self) -> bool {
        self.partition.log.high_watermark() >= self.until
    }
}

async fn flushed(mut response: ProduceResponse, waits: Vec<Wait>, timeout: Duration) -> ProduceResponse {
    let deadline = tokio::time::Instant::now() + timeout;
    for wait in waits {
        let moved = wait.partition.wait_for_high_watermark(wait.until);
        let outcome = match tokio::time::timeout_at(deadline, moved).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ErrorCode::RequestTimedOut),
        };
        if let Err(code) = outcome {
            let (topic, partition) = wait.place;
            let place = &mut response.responses[topic].partition_responses[partition];
            let index = place.index;
            *place = refusal(index, Failure::from(code), Vec::new());
        }
    }
    response
}

/// One request on its way into the logs.
struct Appending<'a> {
    parts: &'a Parts,
    version: i16,
    /// Nothing is appended: why.
    refused: Option<ErrorCode>,
    may_write_internal: bool,
    now: TimestampMs,
    waits: Vec<Wait>,
    deferred: Vec<Deferred>,
}

impl Appending<'_> {
    fn topic(&mut self, place: usize, data: TopicProduceData) -> TopicProduceResponse {
        let partitions = &self.parts.partitions;
        let topic = if self.version >= TOPIC_IDS_FROM {
            partitions.topic_by_id(data.topic_id).ok_or(ErrorCode::UnknownTopicId)
        } else {
            partitions.topic(&data.name).ok_or(ErrorCode::UnknownTopicOrPartition)
        };
        let mut partition_responses = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            let place = (place, partition_responses.len());
            let response = match &topic {
                Ok(topic) => self.partition(topic, place, partition),
                Err(code) => refusal(partition.index, Failure::from(*code), Vec::new()),
            };
            partition_responses.push(response);
        }
        TopicProduceResponse {
            name: data.name,
            topic_id: data.topic_id,
            partition_responses,
            ..Default::default()
        }
    }

    fn partition(
        &mut self,
        topic: &Arc<Topic>,
        place: (usize, usize),
        data: PartitionProduceData,
    ) -> PartitionProduceResponse {
        topic.metrics.total_produce_requests.inc();
        let records = data.records.unwrap_or_default().into_bytes();
        let bytes = records.len();
        match self.append(topic, place, PartitionId(data.index), records) {
            Ok(Some((response, wait))) => {
                self.waits.push(wait);
                appended(topic, bytes);
                response
            }
            // Until it is appended.
            Ok(None) => PartitionProduceResponse { index: data.index, ..Default::default() },
            Err(refused) => refused.response(topic, data.index, bytes),
        }
    }

    /// `None`: it is deferred.
    fn append(
        &mut self,
        topic: &Arc<Topic>,
        place: (usize, usize),
        id: PartitionId,
        records: Bytes,
    ) -> Result<Option<(PartitionProduceResponse, Wait)>, Refused> {
        self.check(topic, &records)?;
        let partition = topic.partition(id)?;
        let leader_epoch = partition.leader_epoch();
        let options = AppendOptions { leader_epoch, origin: Origin::Client, now: self.now };
        match partition.log.judge_quickly(records.clone(), options).map_err(Refused::Append)? {
            Some(judged) => append_judged(topic, place, partition, judged, options).map(Some),
            None => {
                let topic = Arc::clone(topic);
                self.deferred.push(Deferred { topic, place, partition, records, options });
                Ok(None)
            }
        }
    }

    /// What Kafka checks before it looks at the partition.
    fn check(&self, topic: &Topic, records: &Bytes) -> Result<(), Failure> {
        if let Some(code) = self.refused {
            return Err(code.into());
        }
        if topic.name.is_internal() && !self.may_write_internal {
            let message = format!("Cannot append to internal topic {}", topic.name);
            return Err(Failure::new(ErrorCode::InvalidTopicException, message));
        }
        let header = match BatchHeader::parse(records) {
            Ok(header) => header,
            Err(BatchError::Magic(0 | 1)) => {
                let message =
                    "Produce requests are only allowed to contain record batches with magic version 2";
                return Err(Failure::new(ErrorCode::InvalidRecord, message));
            }
            // The log says what is wrong with it.
            Err(_) => return Ok(()),
        };
        let zstd = header.attributes.compression().is_ok_and(|codec| codec == Compression::Zstd);
        if zstd && self.version < ZSTD_FROM {
            let message =
                "Produce requests with version below 7 are not allowed to use ZStandard compression";
            return Err(Failure::new(ErrorCode::UnsupportedCompressionType, message));
        }
        if header.attributes.is_transactional() {
            return Err(Failure::new(ErrorCode::InvalidTxnState, "this Millstream has no transactions yet"));
        }
        Ok(())
    }
}

/// A batch that takes long to judge.
struct Deferred {
    topic: Arc<Topic>,
    place: (usize, usize),
    partition: Arc<Partition>,
    records: Bytes,
    options: AppendOptions,
}

impl Deferred {
    async fn append(
        self,
        openers: &Workers,
        memory: Arc<RequestMemory>,
    ) -> Result<(PartitionProduceResponse, Wait), Refused> {
        let Self { topic, place, partition, records, options } = self;
        let log = Arc::clone(&partition.log);
        // A thread that has begun keeps the records when the connection is gone, so they go on being counted.
        let judging = move || {
            let _memory = memory;
            log.judge(records, options)
        };
        let judged = openers.run(judging).await;
        append_judged(&topic, place, partition, judged.map_err(Refused::Append)?, options)
    }
}

async fn append_deferred(
    parts: Arc<Parts>,
    mut response: ProduceResponse,
    mut waits: Vec<Wait>,
    deferred: Vec<Deferred>,
    memory: RequestMemory,
) -> (ProduceResponse, Vec<Wait>) {
    let memory = Arc::new(memory);
    for deferred in deferred {
        let (topic, place, bytes) = (Arc::clone(&deferred.topic), deferred.place, deferred.records.len());
        let outcome = deferred.append(&parts.openers, Arc::clone(&memory)).await;
        let response = &mut response.responses[place.0].partition_responses[place.1];
        *response = match outcome {
            Ok((response, wait)) => {
                waits.push(wait);
                appended(&topic, bytes);
                response
            }
            Err(refused) => refused.response(&topic, response.index, bytes),
        };
    }
    (response, waits)
}

fn append_judged(
    topic: &Topic,
    place: (usize, usize),
    partition: Arc<Partition>,
    judged: Judged,
    options: AppendOptions,
) -> Result<(PartitionProduceResponse, Wait), Refused> {
    let info = partition.log.append_judged(judged, options).map_err(Refused::Append)?;
    if !info.duplicate {
        topic.metrics.messages_in.inc_by(info.end_offset().since(info.base_offset).unsigned_abs());
    }
    let response = PartitionProduceResponse {
        index: partition.id.partition.0,
        base_offset: info.base_offset.0,
        log_append_time_ms: TimestampMs::to_wire(info.log_append_time),
        log_start_offset: info.log_start_offset.0,
        ..Default::default()
    };
    let wait = Wait { until: info.end_offset(), place, partition };
    if wait.is_over() {
        // Nothing is flushed before it counts (durability=os): readers may have it now.
        wait.partition.waiters.wake_all();
    }
    Ok((response, wait))
}

fn appended(topic: &Topic, bytes: usize) {
    topic.metrics.bytes_in.inc_by(bytes as u64);
}

enum Refused {
    Failure(Failure),
    Append(millstream_log::AppendError),
}

impl Refused {
    fn response(self, topic: &Topic, index: i32, bytes: usize) -> PartitionProduceResponse {
        let (failure, record_errors) = match self {
            Self::Failure(failure) => (failure, Vec::new()),
            Self::Append(error) => {
                let record_errors = error.record_errors();
                (Failure::from(error), record_errors)
            }
        };
        topic.metrics.failed_produce_requests.inc();
        topic.metrics.bytes_rejected.inc_by(bytes as u64);
        refusal(index, failure, record_errors)
    }
}

impl<F: Into<Failure>> From<F> for Refused {
    fn from(failure: F) -> Self {
        Refused::Failure(failure.into())
    }
}

fn refusal(index: i32, failure: Failure, record_errors: Vec<(i32, String)>) -> PartitionProduceResponse {
    let record_error = |(batch_index, message)| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(message),
        ..Default::default()
    };
    PartitionProduceResponse {
        index,
        error_code: failure.code.code(),
        base_offset: -1,
        record_errors: record_errors.into_iter().map(record_error).collect(),
        error_message: failure.message,
        ..Default::default()
    }
}
