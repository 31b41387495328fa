//! The cluster itself: its brokers, their log directories, the producers of a partition.

use std::collections::BTreeMap;

use millstream_protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeLogDirsRequest, DescribeProducersRequest,
    describe_cluster_response::DescribeClusterBroker, describe_producers_request::TopicRequest,
    describe_producers_response::ProducerState,
};
use millstream_types::{BrokerId, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicPartition};

use super::{Admin, answered, check};
use crate::{Broker, Connection, Result, client::ENDPOINT_CONTROLLERS};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    pub cluster_id: String,
    pub controller: Option<BrokerId>,
    pub brokers: Vec<Broker>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterBroker {
    pub broker: Broker,
    /// Registered, and not in service.
    pub is_fenced: bool,
}

fn brokers(raw: Vec<DescribeClusterBroker>) -> impl Iterator<Item = ClusterBroker> {
    raw.into_iter().filter_map(|broker| {
        let id = BrokerId::from_wire(broker.broker_id)?;
        let port = u16::try_from(broker.port).ok()?;
        let is_fenced = broker.is_fenced;
        Some(ClusterBroker { broker: Broker { id, host: broker.host, port, rack: broker.rack }, is_fenced })
    })
}

/// One of a broker's `log.dirs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDir {
    pub path: String,
    /// `KAFKA_STORAGE_ERROR` for a directory that is offline.
    pub error: Option<crate::Error>,
    pub total_bytes: Option<u64>,
    pub usable_bytes: Option<u64>,
    pub replicas: BTreeMap<TopicPartition, LogDirReplica>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDirReplica {
    pub size_bytes: u64,
    /// How far the replica is behind the high watermark.
    pub offset_lag: i64,
    /// On its way to this directory, to replace the one in another.
    pub is_future: bool,
}

/// A producer that a partition's leader remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    pub last_sequence: Option<Sequence>,
    pub last_timestamp: Option<TimestampMs>,
    /// Of the coordinator that ended its last transaction.
    pub coordinator_epoch: Option<i32>,
    /// Where its open transaction begins in this partition.
    pub transaction_start_offset: Option<Offset>,
}

impl Admin {
    pub async fn describe_cluster(&self) -> Result<ClusterDescription> {
        let answer = self.ask_cluster(false).await?;
        Ok(ClusterDescription {
            cluster_id: answer.cluster_id,
            controller: BrokerId::from_wire(answer.controller_id),
            brokers: brokers(answer.brokers).map(|one| one.broker).collect(),
        })
    }

    /// The brokers, those that are fenced too if they are wanted (Kafka 4.0 and later tell of them).
    pub async fn describe_brokers(&self, include_fenced: bool) -> Result<Vec<ClusterBroker>> {
        Ok(brokers(self.ask_cluster(include_fenced).await?.brokers).collect())
    }

    async fn ask_cluster(&self, include_fenced: bool) -> Result<DescribeClusterResponse> {
        let controllers = self.client.config().bootstraps_controllers();
        let request = DescribeClusterRequest {
            endpoint_type: if controllers { ENDPOINT_CONTROLLERS } else { 1 },
            include_fenced_brokers: include_fenced,
            ..DescribeClusterRequest::default()
        };
        let ask = || async {
            let answer = self.client.any_broker().await?.call(&request).await?;
            check(answer.error_code, "description of the cluster", answer.error_message.clone())?;
            Ok(answer)
        };
        self.client.retry("description of the cluster", ask).await
    }

    /// The log directories of every broker, with every replica in them.
    pub async fn describe_log_dirs(&self) -> Result<BTreeMap<BrokerId, Vec<LogDir>>> {
        self.client.retry("metadata", || self.client.refresh([])).await?;
        let request = DescribeLogDirsRequest { topics: None, ..DescribeLogDirsRequest::default() };
        let mut brokers = BTreeMap::new();
        for broker in self.client.metadata().brokers.keys() {
            let what = format!("log directories of broker {broker}");
            let ask = || async {
                let answer = self.client.broker(*broker).await?.call(&request).await?;
                check(answer.error_code, what.clone(), None).map(|()| answer)
            };
            let answer = self.client.retry(&what, ask).await?;
            let dirs = answer.results.into_iter().map(|dir| LogDir {
                error: check(dir.error_code, dir.log_dir.clone(), None).err(),
                path: dir.log_dir,
                total_bytes: u64::try_from(dir.total_bytes).ok(),
                usable_bytes: u64::try_from(dir.usable_bytes).ok(),
                replicas: dir
                    .topics
                    .iter()
                    .flat_map(|topic| topic.partitions.iter().map(|partition| (&topic.name, partition)))
                    .filter_map(|(topic, partition)| {
                        let size_bytes = u64::try_from(partition.partition_size).unwrap_or(0);
                        let replica = LogDirReplica {
                            size_bytes,
                            offset_lag: partition.offset_lag,
                            is_future: partition.is_future_key,
                        };
                        answered(topic, partition.partition_index).map(|which| (which, replica))
                    })
                    .collect(),
            });
            brokers.insert(*broker, dirs.collect());
        }
        Ok(brokers)
    }

    /// The producers that a partition's leader remembers.
    pub async fn describe_producers(&self, partition: &TopicPartition) -> Result<Vec<ActiveProducer>> {
        let mut results = self.describe_producers_of(std::slice::from_ref(partition), None).await?;
        results.remove(partition).unwrap_or_else(|| Ok(Vec::new()))
    }

    /// The producers of several partitions, as their leaders remember them or as this replica does.
    pub async fn describe_producers_of(
        &self,
        partitions: &[TopicPartition],
        replica: Option<BrokerId>,
    ) -> Result<BTreeMap<TopicPartition, Result<Vec<ActiveProducer>>>> {
        let ask = |connection: Connection, asked: Vec<TopicPartition>| async move {
            let topics = asked.iter().map(|partition| TopicRequest {
                name: partition.topic.to_string(),
                partition_indexes: vec![partition.partition.0],
                ..Default::default()
            });
            let request = DescribeProducersRequest { topics: topics.collect(), ..Default::default() };
            let mut results = Vec::new();
            for topic in connection.call(&request).await?.topics {
                for partition in topic.partitions {
                    let Some(which) = answered(&topic.name, partition.partition_index) else { continue };
                    let result =
                        check(partition.error_code, which.to_string(), partition.error_message.clone());
                    let producers = partition.active_producers.iter().map(active);
                    results.push((which, result.map(|()| producers.collect())));
                }
            }
            Ok(results)
        };
        match replica {
            None => self.client.per_leader("producers", partitions.iter().cloned(), ask).await,
            Some(id) => {
                self.client.retry("metadata", || self.client.refresh([])).await?;
                let attempt = || async { ask(self.client.broker(id).await?, partitions.to_vec()).await };
                Ok(self.client.retry("producers", attempt).await?.into_iter().collect())
            }
        }
    }
}

fn active(raw: &ProducerState) -> ActiveProducer {
    ActiveProducer {
        id: ProducerId(raw.producer_id),
        epoch: ProducerEpoch(i16::try_from(raw.producer_epoch).unwrap_or(-1)),
        last_sequence: Sequence::from_wire(raw.last_sequence),
        last_timestamp: TimestampMs::from_wire(raw.last_timestamp),
        coordinator_epoch: Some(raw.coordinator_epoch).filter(|epoch| *epoch >= 0),
        transaction_start_offset: Offset::from_wire(raw.current_txn_start_offset),
    }
}
