//! A member of a share group: heartbeats to the group's coordinator, and a session with each broker that leads
//! partitions which the group gave this member, in which records are fetched and acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use millstream_client::{Client, ConsumerRecord, Error, Topic};
use millstream_protocol::messages::{
    ShareAcknowledgeRequest, ShareFetchRequest, ShareGroupHeartbeatRequest, share_acknowledge_request,
    share_fetch_request::{AcknowledgementBatch, FetchPartition, FetchTopic, ForgottenTopic},
    share_fetch_response::{AcquiredRecords, PartitionData},
};
use millstream_record::{BatchHeader, RecordBatch};
use millstream_types::{BrokerId, ErrorCode, Offset, PartitionId, TopicName, TopicPartition, Uuid};

use crate::tools::{
    exit::{Exit, Outcome},
    json, kafka_error,
};

const JOIN_EPOCH: i32 = 0;
const LEAVE_EPOCH: i32 = -1;
/// Of a session with a broker.
const FINAL_EPOCH: i32 = -1;
const MAX_WAIT_MS: i32 = 500;
const BYTES_MAX: i32 = 50 << 20;
const RECORDS_MAX: i32 = 500;
/// A batch that opens to more than this is not opened.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;
const PAUSE: Duration = Duration::from_millis(100);

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledgement {
    Accept = 1,
    /// It may be delivered again.
    Release = 2,
    /// It is never delivered again.
    Reject = 3,
}

/// A record, and the how-manieth time it is delivered.
pub(super) struct Delivered {
    pub(super) record: ConsumerRecord,
    pub(super) count: i16,
}

/// With one broker.
#[derive(Default)]
struct Session {
    epoch: i32,
    /// What the broker knows of.
    partitions: BTreeSet<PartitionId>,
    /// What it is yet to be told.
    acknowledged: BTreeMap<PartitionId, Vec<(Offset, Acknowledgement)>>,
}

pub(super) struct Member {
    client: Client,
    group: String,
    topic: TopicName,
    id: String,
    epoch: i32,
    next_heartbeat: Instant,
    assigned: BTreeSet<PartitionId>,
    sessions: BTreeMap<BrokerId, Session>,
}

fn failed(error: &Error) -> Exit {
    Exit::failure(kafka_error::exception(error))
}

impl Member {
    pub(super) fn new(client: Client, group: &str, topic: &str) -> Outcome<Self> {
        Ok(Self {
            client,
            group: group.to_owned(),
            topic: json::topic_name(topic)?,
            id: Uuid::random().to_string(),
            epoch: JOIN_EPOCH,
            next_heartbeat: Instant::now(),
            assigned: BTreeSet::new(),
            sessions: BTreeMap::new(),
        })
    }

    /// Records that were delivered; none if there were none for a moment.
    pub(super) async fn poll(&mut self) -> Outcome<Vec<Delivered>> {
        if Instant::now() >= self.next_heartbeat {
            match self.heartbeat().await {
                Err(error) if error.is_retriable() => self.next_heartbeat = Instant::now() + PAUSE,
                result => result.map_err(|error| failed(&error))?,
            }
        }
        if self.assigned.is_empty() {
            tokio::time::sleep(PAUSE).await;
            return Ok(Vec::new());
        }
        let topic = self.client.topic(&self.topic).await.map_err(|error| failed(&error))?;
        let mut by_leader: BTreeMap<BrokerId, BTreeSet<PartitionId>> = BTreeMap::new();
        for number in &self.assigned {
            if let Some(leader) = topic.partitions.get(number).and_then(|partition| partition.leader) {
                by_leader.entry(leader).or_default().insert(*number);
            }
        }
        // A broker that leads nothing of ours any more may still be owed acknowledgements.
        for broker in self.sessions.keys() {
            by_leader.entry(*broker).or_default();
        }
        let mut delivered = Vec::new();
        for (broker, wanted) in by_leader {
            match self.fetch(broker, &topic, wanted).await {
                Ok(records) => delivered.extend(records),
                Err(error) if error.is_retriable() => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(delivered)
    }

    pub(super) fn acknowledge(&mut self, one: &Delivered, how: Acknowledgement) {
        let number = one.record.partition.partition;
        let session = self.sessions.values_mut().find(|session| session.partitions.contains(&number));
        if let Some(session) = session {
            session.acknowledged.entry(number).or_default().push((one.record.offset, how));
        }
    }

    async fn heartbeat(&mut self) -> Result<(), Error> {
        let joins = self.epoch == JOIN_EPOCH;
        let answer = self.beat(joins.then(|| vec![self.topic.to_string()])).await?;
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {}
            // The group has forgotten this member, or put it out.
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => {
                self.epoch = JOIN_EPOCH;
                self.assigned.clear();
                self.sessions.clear();
                self.next_heartbeat = Instant::now();
                return Ok(());
            }
            code => {
                let what = format!("share group {}", self.group);
                return Err(Error::Kafka { code, what, message: answer.error_message });
            }
        }
        self.epoch = answer.member_epoch;
        let interval = u64::try_from(answer.heartbeat_interval_ms).unwrap_or(1000).max(100);
        self.next_heartbeat = Instant::now() + Duration::from_millis(interval);
        if let Some(assignment) = answer.assignment {
            let topic = self.client.topic(&self.topic).await?;
            let own = assignment.topic_partitions.iter().filter(|one| Some(one.topic_id) == topic.id);
            self.assigned = own.flat_map(|one| &one.partitions).copied().map(PartitionId).collect();
        }
        Ok(())
    }

    async fn beat(
        &self,
        topics: Option<Vec<String>>,
    ) -> Result<millstream_protocol::messages::ShareGroupHeartbeatResponse, Error> {
        let request = ShareGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.id.clone(),
            member_epoch: self.epoch,
            rack_id: None,
            subscribed_topic_names: topics,
            ..Default::default()
        };
        let coordinator = self.client.admin().group_coordinator(&self.group).await?;
        self.client.broker(coordinator.id).await?.call(&request).await
    }

    async fn fetch(
        &mut self,
        broker: BrokerId,
        topic: &Topic,
        wanted: BTreeSet<PartitionId>,
    ) -> Result<Vec<Delivered>, Error> {
        let Some(topic_id) = topic.id else { return Ok(Vec::new()) };
        let session = self.sessions.entry(broker).or_default();
        let forgotten: Vec<i32> = session.partitions.difference(&wanted).map(|number| number.0).collect();
        let mut acknowledged = std::mem::take(&mut session.acknowledged);
        let named: BTreeSet<PartitionId> = match session.epoch {
            JOIN_EPOCH => wanted.clone(),
            _ => wanted.difference(&session.partitions).chain(acknowledged.keys()).copied().collect(),
        };
        let partition = |number: PartitionId| FetchPartition {
            partition_index: number.0,
            acknowledgement_batches: batches(acknowledged.remove(&number).unwrap_or_default()),
            ..Default::default()
        };
        let partitions: Vec<FetchPartition> = named.into_iter().map(partition).collect();
        let forgets = session.epoch != JOIN_EPOCH && !forgotten.is_empty();
        let request = ShareFetchRequest {
            group_id: Some(self.group.clone()),
            member_id: Some(self.id.clone()),
            share_session_epoch: session.epoch,
            max_wait_ms: MAX_WAIT_MS,
            min_bytes: 1,
            max_bytes: BYTES_MAX,
            max_records: RECORDS_MAX,
            batch_size: RECORDS_MAX,
            topics: if partitions.is_empty() {
                Vec::new()
            } else {
                vec![FetchTopic { topic_id, partitions, ..Default::default() }]
            },
            forgotten_topics_data: if forgets {
                vec![ForgottenTopic { topic_id, partitions: forgotten, ..Default::default() }]
            } else {
                Vec::new()
            },
            ..Default::default()
        };
        session.partitions = wanted;
        let answer = self.client.broker(broker).await?.call(&request).await;
        let Some(session) = self.sessions.get_mut(&broker) else { return Ok(Vec::new()) };
        let answer = answer.inspect_err(|_| *session = Session::default())?;
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => session.epoch = session.epoch.checked_add(1).unwrap_or(1),
            ErrorCode::ShareSessionNotFound | ErrorCode::InvalidShareSessionEpoch => {
                *session = Session::default();
                return Ok(Vec::new());
            }
            code => {
                *session = Session::default();
                let what = format!("share group {}", self.group);
                return Err(Error::Kafka { code, what, message: answer.error_message });
            }
        }
        if session.partitions.is_empty() {
            self.sessions.remove(&broker);
        }
        let mut delivered = Vec::new();
        for data in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            delivered.extend(records(&self.topic, data)?);
        }
        Ok(delivered)
    }

    /// Tells brokers what is left to tell, and leaves; nobody waits long for it.
    pub(super) async fn close(&mut self) {
        let leave = async {
            for (broker, session) in std::mem::take(&mut self.sessions) {
                self.end(broker, session).await?;
            }
            if self.epoch != JOIN_EPOCH {
                self.epoch = LEAVE_EPOCH;
                self.beat(None).await?;
            }
            Ok::<(), Error>(())
        };
        // Whatever could not be told, the group finds out when the records' locks run out.
        drop(tokio::time::timeout(Duration::from_secs(5), leave).await);
    }

    async fn end(&self, broker: BrokerId, session: Session) -> Result<(), Error> {
        if session.epoch == JOIN_EPOCH {
            return Ok(());
        }
        let topic = self.client.topic(&self.topic).await?;
        let partitions = session.acknowledged.into_iter().map(|(number, acknowledged)| {
            let own = batches(acknowledged).into_iter().map(|one| {
                share_acknowledge_request::AcknowledgementBatch {
                    first_offset: one.first_offset,
                    last_offset: one.last_offset,
                    acknowledge_types: one.acknowledge_types,
                    ..Default::default()
                }
            });
            share_acknowledge_request::AcknowledgePartition {
                partition_index: number.0,
                acknowledgement_batches: own.collect(),
                ..Default::default()
            }
        });
        let partitions: Vec<_> = partitions.collect();
        let topics = match topic.id {
            Some(topic_id) if !partitions.is_empty() => {
                vec![share_acknowledge_request::AcknowledgeTopic {
                    topic_id,
                    partitions,
                    ..Default::default()
                }]
            }
            _ => Vec::new(),
        };
        let request = ShareAcknowledgeRequest {
            group_id: Some(self.group.clone()),
            member_id: Some(self.id.clone()),
            share_session_epoch: FINAL_EPOCH,
            topics,
            ..Default::default()
        };
        self.client.broker(broker).await?.call(&request).await.map(drop)
    }
}

/// Runs of offsets that follow each other and are acknowledged alike.
fn batches(acknowledged: Vec<(Offset, Acknowledgement)>) -> Vec<AcknowledgementBatch> {
    let mut sorted = acknowledged;
    sorted.sort_by_key(|(offset, _)| *offset);
    let mut batches: Vec<AcknowledgementBatch> = Vec::new();
    for (offset, how) in sorted {
        let how = how as i8;
        match batches.last_mut() {
            Some(last) if last.last_offset + 1 == offset.0 && last.acknowledge_types == [how] => {
                last.last_offset = offset.0;
            }
            _ => batches.push(AcknowledgementBatch {
                first_offset: offset.0,
                last_offset: offset.0,
                acknowledge_types: vec![how],
                ..Default::default()
            }),
        }
    }
    batches
}

/// The records that are this member's: a broker sends whole batches, of which some may be others'.
fn records(topic: &TopicName, data: PartitionData) -> Result<Vec<Delivered>, Error> {
    let partition = TopicPartition::new(topic.clone(), PartitionId(data.partition_index));
    match ErrorCode::from_code(data.error_code) {
        ErrorCode::None => {}
        code => {
            return Err(Error::Kafka { code, what: partition.to_string(), message: data.error_message });
        }
    }
    let malformed = |error: millstream_record::BatchError| Error::Malformed {
        what: format!("a batch of {partition}"),
        reason: error.to_string(),
    };
    let count_of = |offset: Offset| {
        let holds = |one: &&AcquiredRecords| (one.first_offset..=one.last_offset).contains(&offset.0);
        data.acquired_records.iter().find(holds).map(|one| one.delivery_count)
    };
    let mut delivered = Vec::new();
    let mut rest = data.records.clone().into_bytes();
    while !rest.is_empty() {
        let Ok(header) = BatchHeader::parse(&rest) else { break };
        let size = header.size_in_bytes();
        if size == 0 || size > rest.len() {
            break;
        }
        let batch = rest.split_to(size);
        if header.attributes.is_control() {
            continue;
        }
        let opened = RecordBatch::decode(&batch, DECOMPRESSED_BYTES_MAX).map_err(malformed)?;
        for record in &opened.records {
            let offset = opened.offset_of(record);
            let Some(count) = count_of(offset) else { continue };
            let record = ConsumerRecord {
                partition: partition.clone(),
                offset,
                leader_epoch: None,
                timestamp: record.timestamp,
                timestamp_type: opened.header.attributes.timestamp_type(),
                key: record.key.clone(),
                value: record.value.clone(),
                headers: record.headers.clone(),
            };
            delivered.push(Delivered { record, count });
        }
    }
    Ok(delivered)
}

#[test]
fn offsets_that_follow_each_other_are_acknowledged_together() {
    let acknowledged = [5, 3, 4, 9, 10].map(|offset| {
        (Offset(offset), if offset == 10 { Acknowledgement::Reject } else { Acknowledgement::Accept })
    });
    let shown: Vec<(i64, i64, Vec<i8>)> = batches(acknowledged.to_vec())
        .into_iter()
        .map(|one| (one.first_offset, one.last_offset, one.acknowledge_types))
        .collect();
    assert_eq!(shown, [(3, 5, vec![1]), (9, 9, vec![1]), (10, 10, vec![3])]);
}
