//! Whether a position still is in the log that it was taken from (KIP-320). A leader that was elected
//! although it lacked something has cut the log; a topic may have been deleted and made anew. Both show in
//! the metadata, and the leader says where the epoch of what was read last has ended.

use std::collections::BTreeMap;

use millstream_protocol::{
    ApiKey,
    messages::{
        OffsetForLeaderEpochRequest,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    },
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, TopicName, TopicPartition, Uuid};

use crate::{Client, Connection, Error, Metadata, Result};

/// Brokers before Kafka 2.3 answer replicas only.
const VERSION_FOR_CONSUMERS: i16 = 3;
/// The one who asks is no replica.
const CONSUMER: i32 = -1;

/// Which log a partition has: of which topic of its name, and under which leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log {
    pub(super) topic_id: Option<Uuid>,
    pub(super) leader_epoch: Option<LeaderEpoch>,
}

impl Log {
    /// None while nobody leads the partition.
    pub(super) fn of(metadata: &Metadata, partition: &TopicPartition) -> Option<Self> {
        metadata.leader(partition)?;
        let topic_id = metadata.topic(&partition.topic)?.id;
        Some(Self { topic_id, leader_epoch: metadata.partition(partition)?.leader_epoch })
    }

    /// Whether both are known to be of different topics.
    pub(super) fn is_of_another_topic(&self, other: &Self) -> bool {
        self.topic_id.is_some() && other.topic_id.is_some() && self.topic_id != other.topic_id
    }
}

/// Where reading goes on, and the epoch of what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) offset: Offset,
    pub(super) leader_epoch: LeaderEpoch,
}

/// Up to where the leader's log has records of this epoch, or of the last one before it that it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EpochEnd {
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) offset: Offset,
}

/// A leader's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// None: it has nothing in common with what was read.
    End(Log, Option<EpochEnd>),
    /// It is too old to say.
    Unknown(Log),
}

pub(super) type Comparisons = BTreeMap<TopicPartition, Result<Compared>>;

/// Asks each partition's leader, again where that may help.
pub(super) async fn compare(
    client: &Client,
    stands: &BTreeMap<TopicPartition, Stand>,
) -> Result<Comparisons> {
    let ask = |connection: Connection, asked: Vec<TopicPartition>| {
        let metadata = client.metadata();
        async move { compare_once(&connection, &metadata, stands, asked).await }
    };
    client.per_leader("ends of leader epochs", stands.keys().cloned(), ask).await
}

async fn compare_once(
    connection: &Connection,
    metadata: &Metadata,
    stands: &BTreeMap<TopicPartition, Stand>,
    asked: Vec<TopicPartition>,
) -> Result<Vec<(TopicPartition, Result<Compared>)>> {
    // One that has lost its leader since is asked for again.
    let logs: BTreeMap<&TopicPartition, Log> =
        asked.iter().filter_map(|partition| Some((partition, Log::of(metadata, partition)?))).collect();
    let newest = connection.broker_versions(ApiKey::OffsetForLeaderEpoch).map(|(_, max)| max);
    if newest.is_none_or(|version| version < VERSION_FOR_CONSUMERS) {
        let unknown =
            |(partition, log): (&TopicPartition, Log)| (partition.clone(), Ok(Compared::Unknown(log)));
        return Ok(logs.into_iter().map(unknown).collect());
    }
    let mut topics: BTreeMap<&TopicName, Vec<OffsetForLeaderPartition>> = BTreeMap::new();
    for (partition, log) in &logs {
        let Some(stand) = stands.get(partition) else { continue };
        topics.entry(&partition.topic).or_default().push(OffsetForLeaderPartition {
            partition: partition.partition.0,
            current_leader_epoch: LeaderEpoch::to_wire(log.leader_epoch),
            leader_epoch: stand.leader_epoch.0,
            ..Default::default()
        });
    }
    let topic = |(name, partitions): (&TopicName, Vec<OffsetForLeaderPartition>)| OffsetForLeaderTopic {
        topic: name.to_string(),
        partitions,
        ..Default::default()
    };
    let request = OffsetForLeaderEpochRequest {
        replica_id: CONSUMER,
        topics: topics.into_iter().map(topic).collect(),
        ..Default::default()
    };
    let mut results = Vec::new();
    for topic in connection.call(&request).await?.topics {
        let Ok(name) = TopicName::parse(&topic.topic) else { continue };
        for answer in topic.partitions {
            let which = TopicPartition::new(name.clone(), PartitionId(answer.partition));
            let Some(log) = logs.get(&which).copied() else { continue };
            let end = LeaderEpoch::from_wire(answer.leader_epoch).zip(Offset::from_wire(answer.end_offset));
            let end = end.map(|(leader_epoch, offset)| EpochEnd { leader_epoch, offset });
            let result = match ErrorCode::from_code(answer.error_code) {
                ErrorCode::None => Ok(Compared::End(log, end)),
                code => Err(Error::kafka(code, which.to_string(), None)),
            };
            results.push((which, result));
        }
    }
    Ok(results)
}
