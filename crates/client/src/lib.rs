//! A client of Apache Kafka's protocol: connections, metadata, administration, a producer and a consumer.
//!
//! Works with any Kafka cluster and knows nothing of how Millstream's broker does things. Configuration
//! has Kafka's names and defaults. Every failure is an [`Error`], which says whether trying again can help.

mod admin;
pub mod blocking;
mod client;
pub mod config;
mod connection;
mod consumer;
mod coordinator;
mod error;
mod group;
mod metadata;
mod metrics;
mod producer;
mod transport;

pub use admin::{
    AclBinding, AclEntry, AclOperation, AclPatternType, AclPermission, AclResource, AclResourceType,
    ActiveProducer, Admin, ApiSupport, ClusterBroker, ClusterDescription, CommittedOffset, ConfigChange,
    ConfigEntry, ConfigResource, ConfigResourceKind, ConfigSource, ConfigSynonym, CreatedTopic,
    DelegationToken, ElectionType, EligibleLeaders, Feature, Features, GroupDescription, GroupListing,
    GroupMember, HangingTransaction, ListedOffset, LogDir, LogDirReplica, NewTopic, OffsetSpec, Principal,
    Quorum, QuorumReplica, QuotaEntity, QuotaMatch, Reassignment, Replica, ScramCredential,
    ScramCredentialInfo, ScramMechanism, ShareGroupDescription, ShareGroupMember, ShareOffset,
    StreamsGroupDescription, StreamsGroupMember, StreamsTasks, Subtopology, TopicPartitions,
    TransactionDescription, TransactionFilter, TransactionListing, UpgradeType, VoterEndpoint,
};
pub use client::Client;
pub use config::{
    Acks, ClientConfig, Configuration, ConsumerConfig, IsolationLevel, MetadataRecovery, OffsetReset,
    Partitioner, ProducerConfig,
};
pub use connection::{Connection, FRAMES};
pub use consumer::{
    AssignmentStrategy, Commit, Consumer, ConsumerEvent, ConsumerRecord, ConsumerWaker, Progress,
};
pub use error::{Error, Result};
pub use group::{
    Assignment, Election, Generation, GroupConfig, GroupEvent, GroupMembership, GroupProtocol, JoinedMember,
};
pub use metadata::{Broker, Metadata, Partition, Topic};
pub use metrics::Metric;
pub use producer::{ConsumerGroupMetadata, Delivery, Producer, ProducerRecord, RecordMetadata};
