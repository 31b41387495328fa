//! The cluster's metadata: its state as a value ([`Image`]), the records that change it, and the decisions
//! of a controller as pure functions from an image and a request to records or an error per item.
//!
//! Must not know: files, sockets, clocks, requests' encodings. Time, randomness and offsets come in as
//! arguments; the broker appends the records that a decision returns, and applies them once they are
//! durable.
//! Invariants: only [`Image::apply`] changes an image; records that a decision returns apply without error;
//! what a foreign directory holds and Millstream does not use is kept and written into snapshots.
//! Formats: KRaft metadata records (KIP-631, `metadata/src/main/resources/common/metadata`), snapshots and
//! `quorum-state` (KIP-595, KIP-630, KIP-853); `QuorumController` and its managers for the decisions.

mod activation;
mod batch;
mod decide;
pub mod features;
mod image;
mod quorum;
mod replay;
pub mod snapshot;
mod version;

pub use activation::{
    Activation, ActivationError, Endpoint, Registration, Start, activate, default_bootstrap, shut_down,
};
pub use batch::RECORDS_MAX;
pub use decide::{
    ConfigChange, ConfigOp, ConfigReplacement, CreatedTopic, Decision, Election, Elections, Failure,
    NewPartitions, NewTopic, Node, PRODUCER_ID_BLOCK, ProducerIdBlock, ResourceResult, TopicRef, TopicResult,
    UpgradeType, allocate_producer_ids, alter_configs, create_partitions, create_topics, delete_topics,
    elect_leaders, incremental_alter_configs, update_features,
};
pub use image::{
    ApplyError, BrokerEpoch, BrokerRegistration, ConfigResource, Configs, Image, Kept, Partition,
    PartitionEpoch, ResourceType, Topic, Topics,
};
pub use quorum::{QuorumState, QuorumStateError, Voters, VotersError, leader_change_batch};
pub use replay::{Replay, ReplayError};
