//! Who leads a partition and which brokers have it: elections (KIP-460), reassignments (KIP-455), moves from
//! one log directory of a broker to another (KIP-113).

use std::collections::{BTreeMap, BTreeSet};

use millstream_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
    elect_leaders_request::TopicPartitions,
    list_partition_reassignments_request::ListPartitionReassignmentsTopics,
};
use millstream_types::{BrokerId, PartitionId, TopicName, TopicPartition};

use super::{Admin, answered, by_topic, check};
use crate::{Result, config::as_millis_i32};

/// Who is to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first of the replicas, if it is in sync.
    Preferred = 0,
    /// Any replica, in sync or not, where there is no leader: records may be lost.
    Unclean = 1,
}

/// A partition on its way to other brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reassignment {
    /// Old and new ones.
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
}

/// A partition on one of its brokers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    pub partition: TopicPartition,
    pub broker: BrokerId,
}

fn ids(raw: Vec<i32>) -> Vec<BrokerId> {
    raw.into_iter().map(BrokerId).collect()
}

impl Admin {
    /// Elects leaders of these partitions, or of all that have something to elect. A result for each that was
    /// looked at: `ELECTION_NOT_NEEDED` where the right one leads already.
    pub async fn elect_leaders(
        &self,
        kind: ElectionType,
        partitions: Option<&BTreeSet<TopicPartition>>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let topics = partitions.map(|all| {
            let topics = by_topic(all.iter().map(|partition| (partition.clone(), ())));
            let topic = |(topic, partitions): (TopicName, Vec<(PartitionId, ())>)| TopicPartitions {
                topic: topic.to_string(),
                partitions: partitions.iter().map(|(partition, ())| partition.0).collect(),
                ..Default::default()
            };
            topics.into_iter().map(topic).collect()
        });
        let request = ElectLeadersRequest {
            election_type: kind as i8,
            topic_partitions: topics,
            timeout_ms: as_millis_i32(self.client.config().request_timeout),
            ..Default::default()
        };
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, "election of leaders", None).map(|()| answer)
        };
        let answer = self.client.retry("election of leaders", ask).await?;
        self.client.mark_stale();
        let mut results = BTreeMap::new();
        for topic in answer.replica_election_results {
            for one in topic.partition_result {
                let Some(which) = answered(&topic.topic, one.partition_id) else { continue };
                let result = check(one.error_code, which.to_string(), one.error_message);
                results.insert(which, result);
            }
        }
        Ok(results)
    }

    /// The partitions that are being moved, of these or of all.
    pub async fn list_reassignments(
        &self,
        partitions: Option<&BTreeSet<TopicPartition>>,
    ) -> Result<BTreeMap<TopicPartition, Reassignment>> {
        let topics = partitions.map(|all| {
            let topics = by_topic(all.iter().map(|partition| (partition.clone(), ())));
            let topic =
                |(name, partitions): (TopicName, Vec<(PartitionId, ())>)| ListPartitionReassignmentsTopics {
                    name: name.to_string(),
                    partition_indexes: partitions.iter().map(|(partition, ())| partition.0).collect(),
                    ..Default::default()
                };
            topics.into_iter().map(topic).collect()
        });
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: as_millis_i32(self.client.config().request_timeout),
            topics,
            ..Default::default()
        };
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, "list of reassignments", answer.error_message.clone()).map(|()| answer)
        };
        let answer = self.client.retry("list of reassignments", ask).await?;
        let mut moving = BTreeMap::new();
        for topic in answer.topics {
            for one in topic.partitions {
                let Some(which) = answered(&topic.name, one.partition_index) else { continue };
                let reassignment = Reassignment {
                    replicas: ids(one.replicas),
                    adding: ids(one.adding_replicas),
                    removing: ids(one.removing_replicas),
                };
                moving.insert(which, reassignment);
            }
        }
        Ok(moving)
    }

    /// Moves each partition to these brokers, or stops its move where there are none.
    pub async fn alter_reassignments(
        &self,
        targets: &BTreeMap<TopicPartition, Option<Vec<BrokerId>>>,
        allow_replication_factor_change: bool,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let topics = by_topic(targets.iter().map(|(partition, target)| (partition.clone(), target)));
        let moved = |(partition, target): (PartitionId, &Option<Vec<BrokerId>>)| ReassignablePartition {
            partition_index: partition.0,
            replicas: target.as_ref().map(|all| all.iter().map(|id| id.0).collect()),
            ..Default::default()
        };
        let topics = topics.into_iter().map(|(name, partitions)| ReassignableTopic {
            name: name.to_string(),
            partitions: partitions.into_iter().map(moved).collect(),
            ..Default::default()
        });
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: as_millis_i32(self.client.config().request_timeout),
            allow_replication_factor_change,
            topics: topics.collect(),
            ..Default::default()
        };
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, "reassignment", answer.error_message.clone()).map(|()| answer)
        };
        let answer = self.client.retry("reassignment", ask).await?;
        self.client.mark_stale();
        let mut results = BTreeMap::new();
        for topic in answer.responses {
            for one in topic.partitions {
                let Some(which) = answered(&topic.name, one.partition_index) else { continue };
                let result = check(one.error_code, which.to_string(), one.error_message);
                results.insert(which, result);
            }
        }
        Ok(results)
    }

    /// Moves replicas to other log directories of their brokers, given by path.
    pub async fn move_replicas(
        &self,
        moves: &BTreeMap<Replica, String>,
    ) -> Result<BTreeMap<Replica, Result<()>>> {
        let mut by_broker: BTreeMap<BrokerId, BTreeMap<&str, Vec<TopicPartition>>> = BTreeMap::new();
        for (replica, path) in moves {
            let dirs = by_broker.entry(replica.broker).or_default();
            dirs.entry(path).or_default().push(replica.partition.clone());
        }
        self.client.retry("metadata", || self.client.refresh([])).await?;
        let mut results = BTreeMap::new();
        for (broker, dirs) in by_broker {
            let dir = |(path, partitions): (&str, Vec<TopicPartition>)| AlterReplicaLogDir {
                path: path.to_owned(),
                topics: by_topic(partitions.into_iter().map(|partition| (partition, ())))
                    .into_iter()
                    .map(|(name, partitions)| AlterReplicaLogDirTopic {
                        name: name.to_string(),
                        partitions: partitions.iter().map(|(partition, ())| partition.0).collect(),
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            };
            let request = AlterReplicaLogDirsRequest {
                dirs: dirs.into_iter().map(dir).collect(),
                ..Default::default()
            };
            let ask = || async { self.client.broker(broker).await?.call(&request).await };
            let answer = self.client.retry(&format!("log directories of broker {broker}"), ask).await?;
            for topic in answer.results {
                for one in topic.partitions {
                    let Some(partition) = answered(&topic.topic_name, one.partition_index) else { continue };
                    let result = check(one.error_code, partition.to_string(), None);
                    results.insert(Replica { partition, broker }, result);
                }
            }
        }
        Ok(results)
    }
}
