//! Kafka's records as bytes: record batches v2, their compression and checksum, control records, and
//! the records that Kafka itself stores (KRaft metadata, internal topics).
//!
//! Knows nothing of files, sockets or requests: it turns bytes into records and back. Whatever it reads
//! may be hostile: nothing is allocated that the bytes at hand do not justify, decompression stops at
//! the caller's limit, and no input panics.

pub mod batch;
pub mod compress;
pub mod control;
pub mod internal;
#[cfg(feature = "json")]
mod json;
pub mod kraft;
pub mod messages;
mod varint;

pub use batch::{
    Attributes, BatchBuilder, BatchError, BatchHeader, BatchOptions, Header, ProducerInfo, Record,
    RecordBatch, TimestampType,
};
pub use compress::Compression;
