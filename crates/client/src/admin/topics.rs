//! Topics: which there are, making and removing them, more partitions.

use std::collections::BTreeMap;

use millstream_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
};
use millstream_types::{BrokerId, ErrorCode, PartitionId, TopicName, Uuid};

use super::{Admin, check};
use crate::{Error, Metadata, Result, Topic, config::as_millis_i32};

/// From here on topics are named by name or id.
const DELETE_TOPICS_VERSION_WITH_IDS: i16 = 6;

/// A topic to be made. What is None is the broker's default.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    pub name: String,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    /// Replicas of each partition, instead of the two numbers above.
    pub assignments: BTreeMap<PartitionId, Vec<BrokerId>>,
    pub configs: BTreeMap<String, String>,
}

/// A topic that was made, as far as the broker told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    pub id: Option<Uuid>,
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
}

impl Admin {
    /// All topics, internal ones too.
    pub async fn list_topics(&self) -> Result<Vec<Topic>> {
        let answer = self.client.retry("list of topics", || self.client.fetch_metadata(None, false)).await?;
        let mut metadata = Metadata::default();
        metadata.update(answer);
        Ok(metadata.topics.into_values().collect())
    }

    /// The topics of these names; never creates one.
    pub async fn describe_topics(&self, names: &[TopicName]) -> Result<BTreeMap<TopicName, Result<Topic>>> {
        let ask = || self.client.fetch_metadata(Some(names.to_vec()), false);
        let answer = self.client.retry("description of topics", ask).await?;
        let mut metadata = Metadata::default();
        let mut results: BTreeMap<_, _> =
            metadata.update(answer).into_iter().map(|(name, error)| (name, Err(error))).collect();
        results.extend(metadata.topics.into_iter().map(|(name, topic)| (name, Ok(topic))));
        Ok(results)
    }

    /// Creates each topic; with `validate_only` only says whether it could be.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<CreatedTopic>>> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: as_millis_i32(self.client.config().request_timeout),
            validate_only,
            ..CreateTopicsRequest::default()
        };
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            if answer.topics.iter().any(|topic| topic.error_code == ErrorCode::NotController.code()) {
                return Err(Error::kafka(ErrorCode::NotController, "creation of topics", None));
            }
            Ok(answer)
        };
        let answer = self.client.retry("creation of topics", ask).await?;
        let results = answer.topics.into_iter().map(|topic| {
            let created = CreatedTopic {
                id: (!topic.topic_id.is_zero()).then_some(topic.topic_id),
                partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
                replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
            };
            let what = format!("topic {}", topic.name);
            (topic.name, check(topic.error_code, what, topic.error_message).map(|()| created))
        });
        Ok(results.collect())
    }

    pub async fn delete_topics(&self, names: &[TopicName]) -> Result<BTreeMap<String, Result<()>>> {
        let ask = || async {
            let connection = self.client.controller().await?;
            let version = connection.version_of::<DeleteTopicsRequest>()?;
            let timeout_ms = as_millis_i32(self.client.config().request_timeout);
            let mut request = DeleteTopicsRequest { timeout_ms, ..DeleteTopicsRequest::default() };
            let plain = names.iter().map(TopicName::to_string);
            if version >= DELETE_TOPICS_VERSION_WITH_IDS {
                request.topics =
                    plain.map(|name| DeleteTopicState { name: Some(name), ..Default::default() }).collect();
            } else {
                request.topic_names = plain.collect();
            }
            connection.send(version, &request).await
        };
        let answer = self.client.retry("deletion of topics", ask).await?;
        self.client.mark_stale();
        let results = answer.responses.into_iter().map(|topic| {
            let name = topic.name.unwrap_or_else(|| topic.topic_id.to_string());
            let result = check(topic.error_code, format!("topic {name}"), topic.error_message);
            (name, result)
        });
        Ok(results.collect())
    }

    /// Raises a topic's partitions to `count`; the broker places the new ones.
    pub async fn create_partitions(&self, name: &TopicName, count: i32, validate_only: bool) -> Result<()> {
        self.create_partitions_placed(name, count, None, validate_only).await
    }

    /// The same with the replicas of each new partition, if `replicas` says them.
    pub async fn create_partitions_placed(
        &self,
        name: &TopicName,
        count: i32,
        replicas: Option<&[Vec<BrokerId>]>,
        validate_only: bool,
    ) -> Result<()> {
        let assignment = |brokers: &Vec<BrokerId>| CreatePartitionsAssignment {
            broker_ids: brokers.iter().map(|broker| broker.0).collect(),
            ..Default::default()
        };
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: name.to_string(),
                count,
                assignments: replicas.map(|all| all.iter().map(assignment).collect()),
                ..Default::default()
            }],
            timeout_ms: as_millis_i32(self.client.config().request_timeout),
            validate_only,
            ..CreatePartitionsRequest::default()
        };
        let what = format!("partitions of topic {name}");
        let ask = || async { self.client.controller().await?.call(&request).await };
        let answer = self.client.retry(&what, ask).await?;
        self.client.mark_stale();
        let result = answer.results.into_iter().next();
        let result =
            result.ok_or_else(|| Error::malformed("the answer to CreatePartitions", "no topic in it"))?;
        check(result.error_code, what, result.error_message)
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let assignment = |(partition, brokers): (&PartitionId, &Vec<BrokerId>)| CreatableReplicaAssignment {
        partition_index: partition.0,
        broker_ids: brokers.iter().map(|broker| broker.0).collect(),
        ..Default::default()
    };
    let config = |(name, value): (&String, &String)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
        ..Default::default()
    };
    CreatableTopic {
        name: topic.name.clone(),
        num_partitions: topic.partitions.unwrap_or(-1),
        replication_factor: topic.replication_factor.unwrap_or(-1),
        assignments: topic.assignments.iter().map(assignment).collect(),
        configs: topic.configs.iter().map(config).collect(),
        ..Default::default()
    }
}
