//! The controller's decisions: what a request asks for, judged against an image, as records or as the
//! error and message that Kafka would answer with. Nothing is changed here.

mod configs;
mod delete_topics;
mod elections;
mod features;
mod partitions;
mod placement;
mod producer_ids;
mod topics;

use millstream_config::BrokerLayers;
use millstream_record::kraft::MetadataRecord;
use millstream_types::{BrokerId, ErrorCode};

pub use configs::{
    ConfigChange, ConfigOp, ConfigReplacement, ResourceResult, alter_configs, incremental_alter_configs,
};
pub use delete_topics::{TopicRef, TopicResult, delete_topics};
pub use elections::{Election, Elections, elect_leaders};
pub use features::{UpgradeType, update_features};
pub use partitions::{NewPartitions, create_partitions};
pub use producer_ids::{PRODUCER_ID_BLOCK, ProducerIdBlock, allocate_producer_ids};
pub use topics::{CreatedTopic, NewTopic, create_topics};

/// The one node there is, as decisions need to know it.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    pub id: BrokerId,
    /// For the validation of settings and for defaults.
    pub layers: &'a BrokerLayers,
    /// As many as the files that it may have open allow: each partition keeps one open.
    pub partitions_max: usize,
}

/// What was decided: records, to be appended in one batch, and an answer for each item of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<T> {
    pub records: Vec<MetadataRecord>,
    pub results: Vec<T>,
}

impl<T> Decision<T> {
    /// For a request that only asks whether it would succeed.
    fn validated_only(self, validate_only: bool) -> Self {
        match validate_only {
            true => Self { records: Vec::new(), ..self },
            false => self,
        }
    }
}

/// Why an item of a request is refused. The message is Kafka's; `None` where Kafka sends none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    pub(crate) fn bare(code: ErrorCode) -> Self {
        Self { code, message: None }
    }

    /// Kafka's own sentence for these codes.
    pub(crate) fn unknown_topic() -> Self {
        Self::new(ErrorCode::UnknownTopicOrPartition, "This server does not host this topic-partition.")
    }

    pub(crate) fn unknown_topic_id() -> Self {
        Self::new(ErrorCode::UnknownTopicId, "This server does not host this topic ID.")
    }

    pub(crate) fn duplicate_topic() -> Self {
        Self::new(ErrorCode::InvalidRequest, "Duplicate topic name.")
    }

    pub(crate) fn too_many_partitions() -> Self {
        Self::new(ErrorCode::PolicyViolation, "Excessively large number of partitions per request.")
    }

    pub(crate) fn too_many_records() -> Self {
        Self::new(ErrorCode::PolicyViolation, "Unable to perform excessively large batch operation.")
    }
}

/// The most partitions that one request may create; `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`.
const PARTITIONS_MAX: usize = 10_000;
