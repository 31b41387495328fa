//! Where a partition begins and ends, what offset a time has, and removing records from the front.

use std::collections::BTreeMap;

use millstream_protocol::messages::{
    DeleteRecordsRequest, ListOffsetsRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use millstream_types::{LeaderEpoch, Offset, TimestampMs, TopicPartition};

use super::{Admin, answered, by_topic, check};
use crate::{
    Connection, Result,
    config::{IsolationLevel, as_millis_i32},
};

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log start offset.
    Earliest,
    /// Where the next record will be; under `read_committed`, the last stable offset.
    Latest,
    /// The first record whose timestamp is at least this.
    Timestamp(TimestampMs),
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first offset on the broker's own disk (KIP-405).
    EarliestLocal,
    /// The last offset in tiered storage (KIP-1005).
    LatestTiered,
    /// The first offset that is yet to be copied there (KIP-1023).
    EarliestPendingUpload,
}

impl OffsetSpec {
    fn to_wire(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            Self::EarliestPendingUpload => -6,
            Self::Timestamp(time) => time.0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// None if no record is as late as the time asked for.
    pub offset: Option<Offset>,
    /// Of the record at that offset, where a time was asked for.
    pub timestamp: Option<TimestampMs>,
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Admin {
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: IsolationLevel,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        let timeout_ms = as_millis_i32(self.client.config().request_timeout);
        let ask = |connection: Connection, asked: Vec<TopicPartition>| async move {
            let specs = asked.into_iter().filter_map(|partition| {
                let spec = *wanted.get(&partition)?;
                Some((partition, spec))
            });
            let topics = by_topic(specs).into_iter().map(|(name, partitions)| ListOffsetsTopic {
                name: name.to_string(),
                partitions: partitions
                    .into_iter()
                    .map(|(partition, spec)| ListOffsetsPartition {
                        partition_index: partition.0,
                        timestamp: spec.to_wire(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level: isolation.to_wire(),
                topics: topics.collect(),
                timeout_ms,
                ..ListOffsetsRequest::default()
            };
            let mut results = Vec::new();
            for topic in connection.call(&request).await?.topics {
                for partition in topic.partitions {
                    let Some(which) = answered(&topic.name, partition.partition_index) else { continue };
                    let listed = ListedOffset {
                        offset: Offset::from_wire(partition.offset),
                        timestamp: TimestampMs::from_wire(partition.timestamp),
                        leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
                    };
                    let result = check(partition.error_code, which.to_string(), None).map(|()| listed);
                    results.push((which, result));
                }
            }
            Ok(results)
        };
        self.client.per_leader("list of offsets", wanted.keys().cloned(), ask).await
    }

    /// Removes all records before these offsets; None means all there are. Returns the new log start
    /// offsets.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, Option<Offset>>,
    ) -> Result<BTreeMap<TopicPartition, Result<Offset>>> {
        let timeout_ms = as_millis_i32(self.client.config().request_timeout);
        let ask = |connection: Connection, asked: Vec<TopicPartition>| async move {
            let offsets = asked.into_iter().filter_map(|partition| {
                let offset = *before.get(&partition)?;
                Some((partition, offset))
            });
            let topics = by_topic(offsets).into_iter().map(|(name, partitions)| DeleteRecordsTopic {
                name: name.to_string(),
                partitions: partitions
                    .into_iter()
                    .map(|(partition, offset)| DeleteRecordsPartition {
                        partition_index: partition.0,
                        offset: Offset::to_wire(offset),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            });
            let request = DeleteRecordsRequest { topics: topics.collect(), timeout_ms, ..Default::default() };
            let mut results = Vec::new();
            for topic in connection.call(&request).await?.topics {
                for partition in topic.partitions {
                    let Some(which) = answered(&topic.name, partition.partition_index) else { continue };
                    let result = check(partition.error_code, which.to_string(), None);
                    results.push((which, result.map(|()| Offset(partition.low_watermark))));
                }
            }
            Ok(results)
        };
        self.client.per_leader("deletion of records", before.keys().cloned(), ask).await
    }
}
