//! Topics with everything known of their partitions, page by page (KIP-966); from older brokers as far as
//! metadata tells.

use std::collections::BTreeMap;

use millstream_protocol::messages::{
    DescribeTopicPartitionsRequest,
    describe_topic_partitions_request::{Cursor, TopicRequest},
    describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic,
};
use millstream_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionId, TopicName};

use super::{Admin, check};
use crate::{Error, Partition, Result, Topic};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartitions {
    pub topic: Topic,
    /// The replicas that may still lead although they left the in-sync set, and those that last did; None
    /// for all from brokers before Kafka 3.8.
    pub eligible: Option<BTreeMap<PartitionId, EligibleLeaders>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EligibleLeaders {
    pub eligible: Vec<BrokerId>,
    pub last_known: Vec<BrokerId>,
}

impl Admin {
    /// The topics of these names with their partitions; one answer of a broker holds `page_size` at most.
    pub async fn describe_topic_partitions(
        &self,
        names: &[TopicName],
        page_size: i32,
    ) -> Result<BTreeMap<TopicName, Result<TopicPartitions>>> {
        match self.describe_pages(names, page_size).await {
            Err(Error::UnsupportedApi { .. }) => {
                let plain = |topic| TopicPartitions { topic, eligible: None };
                let described = self.describe_topics(names).await?;
                Ok(described.into_iter().map(|(name, result)| (name, result.map(plain))).collect())
            }
            described => described,
        }
    }

    async fn describe_pages(
        &self,
        names: &[TopicName],
        page_size: i32,
    ) -> Result<BTreeMap<TopicName, Result<TopicPartitions>>> {
        let mut results: BTreeMap<TopicName, Result<TopicPartitions>> = BTreeMap::new();
        if names.is_empty() {
            return Ok(results);
        }
        let topic = |name: &TopicName| TopicRequest { name: name.to_string(), ..Default::default() };
        let mut request = DescribeTopicPartitionsRequest {
            topics: names.iter().map(topic).collect(),
            response_partition_limit: page_size,
            ..Default::default()
        };
        loop {
            let ask = || async { self.client.any_broker().await?.call(&request).await };
            let answer = self.client.retry("description of topics", ask).await?;
            for topic in answer.topics {
                let Some(name) = topic.name.as_deref().and_then(|name| TopicName::parse(name).ok()) else {
                    continue;
                };
                if let Err(error) = check(topic.error_code, format!("topic {name}"), None) {
                    results.insert(name, Err(error));
                    continue;
                }
                let page = described(&name, topic);
                match results.get_mut(&name) {
                    Some(Ok(known)) => {
                        known.topic.partitions.extend(page.topic.partitions);
                        known.eligible.get_or_insert_default().extend(page.eligible.unwrap_or_default());
                    }
                    _ => drop(results.insert(name, Ok(page))),
                }
            }
            match answer.next_cursor {
                Some(next) => {
                    let cursor = Cursor {
                        topic_name: next.topic_name,
                        partition_index: next.partition_index,
                        ..Default::default()
                    };
                    if request.cursor.as_ref() == Some(&cursor) {
                        return Err(Error::malformed(
                            "the answer to DescribeTopicPartitions",
                            "its cursor stands still",
                        ));
                    }
                    request.cursor = Some(cursor);
                }
                None => return Ok(results),
            }
        }
    }
}

fn described(name: &TopicName, answer: DescribeTopicPartitionsResponseTopic) -> TopicPartitions {
    let ids = |raw: Vec<i32>| raw.into_iter().map(BrokerId).collect::<Vec<_>>();
    let mut partitions = BTreeMap::new();
    let mut eligible = BTreeMap::new();
    for partition in answer.partitions {
        // A partition whose leader is missing is described all the same.
        if !matches!(
            ErrorCode::from_code(partition.error_code),
            ErrorCode::None | ErrorCode::LeaderNotAvailable | ErrorCode::ListenerNotFound
        ) {
            continue;
        }
        let number = PartitionId(partition.partition_index);
        eligible.insert(
            number,
            EligibleLeaders {
                eligible: ids(partition.eligible_leader_replicas.unwrap_or_default()),
                last_known: ids(partition.last_known_elr.unwrap_or_default()),
            },
        );
        partitions.insert(
            number,
            Partition {
                leader: BrokerId::from_wire(partition.leader_id),
                leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
                replicas: ids(partition.replica_nodes),
                in_sync_replicas: ids(partition.isr_nodes),
                offline_replicas: ids(partition.offline_replicas),
            },
        );
    }
    let topic = Topic {
        name: name.clone(),
        id: (!answer.topic_id.is_zero()).then_some(answer.topic_id),
        is_internal: answer.is_internal,
        partitions,
    };
    TopicPartitions { topic, eligible: Some(eligible) }
}
