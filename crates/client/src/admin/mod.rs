//! Looking after a cluster: topics, configuration, offsets, groups, brokers. One file a subject.
//!
//! A call that names several things returns a result for each, in the order given or by key; the outer
//! error means that the question could not be put at all.

mod acls;
mod cluster;
mod configs;
mod credentials;
mod features;
mod groups;
mod members;
mod offsets;
mod partitions;
mod quotas;
mod replicas;
mod share_groups;
mod streams_groups;
mod tokens;
mod topics;
mod transactions;
mod voters;

use std::collections::BTreeMap;

use millstream_types::{ErrorCode, PartitionId, TopicName, TopicPartition};

pub use acls::{
    AclBinding, AclEntry, AclOperation, AclPatternType, AclPermission, AclResource, AclResourceType,
};
pub use cluster::{ActiveProducer, ClusterBroker, ClusterDescription, LogDir, LogDirReplica};
pub use configs::{
    ConfigChange, ConfigEntry, ConfigResource, ConfigResourceKind, ConfigSource, ConfigSynonym,
};
pub use credentials::{ScramCredential, ScramCredentialInfo, ScramMechanism};
pub use features::{ApiSupport, Feature, Features, Quorum, QuorumReplica, UpgradeType};
pub use groups::{CommittedOffset, GroupDescription, GroupListing, GroupMember};
pub use offsets::{ListedOffset, OffsetSpec};
pub use partitions::{EligibleLeaders, TopicPartitions};
pub use quotas::{QuotaEntity, QuotaMatch};
pub use replicas::{ElectionType, Reassignment, Replica};
pub use share_groups::{ShareGroupDescription, ShareGroupMember, ShareOffset};
pub use streams_groups::{StreamsGroupDescription, StreamsGroupMember, StreamsTasks, Subtopology};
pub use tokens::{DelegationToken, Principal};
pub use topics::{CreatedTopic, NewTopic};
pub use transactions::{HangingTransaction, TransactionDescription, TransactionFilter, TransactionListing};
pub use voters::VoterEndpoint;

use crate::{Client, Error, Metric, Result};

/// See the module. Clones and their [`Client`] share connections.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// What the client has sent and received, by Kafka's names.
    pub fn metrics(&self) -> Vec<Metric> {
        self.client.report("admin-client").finish()
    }
}

/// A code as a result.
fn check(code: i16, what: impl Into<String>, message: Option<String>) -> Result<()> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(Error::kafka(code, what, message)),
    }
}

fn by_topic<T>(
    partitions: impl IntoIterator<Item = (TopicPartition, T)>,
) -> BTreeMap<TopicName, Vec<(PartitionId, T)>> {
    let mut topics: BTreeMap<TopicName, Vec<(PartitionId, T)>> = BTreeMap::new();
    for (partition, value) in partitions {
        topics.entry(partition.topic).or_default().push((partition.partition, value));
    }
    topics
}

/// A partition that a broker named; None if no topic can have the name.
fn answered(topic: &str, partition: i32) -> Option<TopicPartition> {
    Some(TopicPartition::new(TopicName::parse(topic).ok()?, PartitionId(partition)))
}
