//! The log: record batches on disk, in Apache Kafka's own files.
//!
//! [`LogDirs`] opens the log directories and holds a [`Log`] for each partition; a log is appended to, read,
//! looked up and shortened from many threads. A [`Durability::Disk`] log lets its readers see a batch when the
//! batch is on the disk, and not before.
//!
//! It does not know requests, topics' names in metadata, or time: `now` is an argument, and the disk is the
//! trait [`fs::Fs`]. Formats: `kafka.storage` of Apache Kafka 4.3 (`UnifiedLog`, `LogSegment`,
//! `ProducerStateManager`, …); each module names the class whose file it reads and writes.

mod bounds;
mod checkpoint;
mod clean_shutdown;
mod cold;
mod committer;
mod config;
mod dir;
mod dirs;
mod error;
pub mod fs;
mod index;
mod leader_epoch;
mod log;
mod meta_properties;
mod names;
mod partition_metadata;
mod producer;
mod reserve;
mod scan;
mod segment;
mod txn_index;

pub use cold::ColdReads;
pub use config::{CleanupPolicy, LogConfig, TopicCompression};
pub use dir::{Durability, FlushListener, FlushWith};
pub use dirs::{DirInfo, Intervals, LogDirs, OfflinePartition, OpenOptions, Progress, Recovery};
pub use error::{AppendError, LogError, Offline, OpenError, ReadError, StorageError};
pub use leader_epoch::EpochStart;
pub use log::{
    AppendInfo, AppendOptions, Cut, Isolation, Judged, Log, ReadRequest, ReadResult, TimestampOffset,
};
pub use producer::{ActiveProducer, Origin};
pub use txn_index::AbortedTxn;
