//! Kafka's coordinators as state machines: consumer groups and their committed offsets, one [`Shard`] for
//! each partition of the internal topic that keeps them.
//!
//! Must not know sockets, files, clocks, random sources or an async runtime: time is an argument, member
//! ids come from a generator that is passed in, records are handed out to be appended and come back
//! through [`Shard::replay`]. Sources: Kafka's group coordinator (`GroupCoordinatorShard`), KIP-345,
//! KIP-394, KIP-814, KIP-211 and the protocol guide.

pub mod group;
mod shard;
mod timers;

pub use shard::{CoordinatorRecord, Decision, RecordOrigin, ReplayError, RequestToken, Shard};
