//! Kafka's words as types: offsets, epochs, ids, names, error codes, and the bounded reader and
//! writer of Kafka's primitive wire types. Every other crate may use this one; it knows none of them.
//!
//! Invariants: no bare integer crosses a module boundary for any of these notions; "absent" is
//! `Option`, and Kafka's `-1` exists only where bytes are read or written.

pub mod codec;
mod error_code;
mod ids;
mod names;
mod uuid;

pub use error_code::ErrorCode;
pub use ids::{
    BrokerId, GenerationId, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence,
    TimestampMs,
};
pub use names::{TopicName, TopicNameError, TopicPartition};
pub use uuid::{ParseUuidError, Uuid};
