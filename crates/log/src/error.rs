//! What can go wrong, in three kinds that are never mixed: outcomes that a client is told
//! ([`AppendError`], [`ReadError`]), failures of the environment with path and operation
//! ([`StorageError`]), and what keeps the log directories from being opened ([`OpenError`]).

use std::{
    io,
    path::{Path, PathBuf},
};

use millstream_record::{
    batch::{BatchError, Rejection},
    compress::CompressError,
};
use millstream_types::{
    ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition, Uuid,
};

/// The operating system refused something.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", .path.display())]
pub struct StorageError {
    pub operation: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl StorageError {
    pub(crate) fn new(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self { operation, path: path.to_owned(), source }
    }

    /// Space is all that is missing; everything written before is untouched.
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// File descriptors are all that is missing. Only opening fails like this, so nothing was written or synced,
    /// and the disk is not at fault.
    pub fn is_out_of_descriptors(&self) -> bool {
        let limits = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
        limits.iter().any(|limit| self.source.raw_os_error() == Some(limit.raw_os_error()))
    }
}

pub(crate) const RAISE_THE_LIMIT: &str =
    "raise the limit of open files (ulimit -n, or fs.file-max for all processes), or have fewer partitions";

/// Says at which path and in which operation an I/O error happened.
pub(crate) trait At<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StorageError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::new(operation, path, source))
    }
}

/// A partition or its directory cannot be used; why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Offline {
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Offline(#[from] Offline),
    #[error("no space is left in {}", .dir.display())]
    Full { dir: PathBuf },
    #[error("{0}; {hint}", hint = RAISE_THE_LIMIT)]
    Descriptors(#[source] StorageError),
    #[error("{partition} does not exist")]
    Unknown { partition: TopicPartition },
    #[error("the directory of {partition} belongs to topic id {found}, not {expected}")]
    TopicId { partition: TopicPartition, found: Uuid, expected: Uuid },
    #[error("offset {offset} of {partition} is outside [{log_start_offset}, {high_watermark}]")]
    OutOfRange { partition: TopicPartition, offset: Offset, log_start_offset: Offset, high_watermark: Offset },
    #[error("a record batch of {partition} cannot be read: {source}")]
    Corrupt {
        partition: TopicPartition,
        #[source]
        source: millstream_record::batch::BatchError,
    },
}

impl LogError {
    /// The same may succeed later, without a restart.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Descriptors(_))
    }

    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Storage(_) | Self::Offline(_) | Self::Full { .. } | Self::Descriptors(_) => {
                ErrorCode::KafkaStorageError
            }
            Self::Unknown { .. } => ErrorCode::UnknownTopicOrPartition,
            Self::TopicId { .. } => ErrorCode::InconsistentTopicId,
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Corrupt { .. } => ErrorCode::CorruptMessage,
        }
    }
}

/// Why nothing of an append was written.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(
        "The record batch size in the append to {partition} is {size} bytes which exceeds the maximum configured value of {max}."
    )]
    BatchTooLarge { partition: TopicPartition, size: usize, max: usize },
    #[error(
        "The record batches in the append to {partition} are {size} bytes which exceeds the segment size of {max}."
    )]
    RecordsTooLarge { partition: TopicPartition, size: usize, max: usize },
    #[error("no record batch in the append to {partition}")]
    Empty { partition: TopicPartition },
    #[error("a client's append to {partition} holds more than one record batch")]
    SeveralBatches { partition: TopicPartition },
    #[error(
        "Inner record offsets of the compressed batch in the append to {partition} should be consecutive from 0"
    )]
    InnerOffsets { partition: TopicPartition },
    #[error("The baseOffset of the record batch in the append to {partition} should be 0, but it is {found}")]
    BaseOffset { partition: TopicPartition, found: Offset },
    #[error(
        "Out of order sequence number for producer {producer_id} at offset {offset} in partition {partition}: {found} (incoming seq. number), {expected} (expected)"
    )]
    OutOfOrderSequence {
        partition: TopicPartition,
        producer_id: ProducerId,
        offset: Offset,
        found: Sequence,
        expected: Sequence,
    },
    #[error(
        "Epoch of producer {producer_id} at offset {offset} in {partition} is {found}, which is smaller than the last seen epoch {current}"
    )]
    InvalidProducerEpoch {
        partition: TopicPartition,
        producer_id: ProducerId,
        offset: Offset,
        found: ProducerEpoch,
        current: ProducerEpoch,
    },
    #[error(
        "Expected transactional write from producer {producer_id} at offset {offset} in partition {partition}"
    )]
    InvalidTxnState { partition: TopicPartition, producer_id: ProducerId, offset: Offset },
    #[error(
        "Invalid coordinator epoch for producerId {producer_id} in partition {partition}: {found} (zombie), {current} (current)"
    )]
    TransactionCoordinatorFenced {
        partition: TopicPartition,
        producer_id: ProducerId,
        found: i32,
        current: i32,
    },
    #[error("leader epoch {found} of the append to {partition} is older than {current}")]
    FencedLeaderEpoch { partition: TopicPartition, found: LeaderEpoch, current: LeaderEpoch },
    #[error("no space is left in {}", .dir.display())]
    Full { dir: PathBuf },
    #[error("{0}; {hint}", hint = RAISE_THE_LIMIT)]
    Descriptors(#[source] StorageError),
    #[error(transparent)]
    Offline(#[from] Offline),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// The code that Kafka answers a produce request with.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Rejected(rejection) => rejection.error_code(),
            Self::BatchTooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::RecordsTooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::Empty { .. }
            | Self::SeveralBatches { .. }
            | Self::InnerOffsets { .. }
            | Self::BaseOffset { .. } => ErrorCode::InvalidRecord,
            Self::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
            Self::TransactionCoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            Self::FencedLeaderEpoch { .. } => ErrorCode::NotLeaderOrFollower,
            Self::Full { .. } | Self::Descriptors(_) | Self::Offline(_) | Self::Storage(_) => {
                ErrorCode::KafkaStorageError
            }
        }
    }

    /// The records at fault, by index in the batch, each with its reason (KIP-467).
    pub fn record_errors(&self) -> Vec<(i32, String)> {
        match self {
            Self::Rejected(Rejection::Records { errors, .. }) => {
                errors.iter().map(|error| (error.index(), error.to_string())).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The batch opens to more than it may.
    pub(crate) fn is_opened_too_large(&self) -> bool {
        matches!(
            self,
            Self::Rejected(Rejection::Malformed(BatchError::Compress(CompressError::TooLarge { .. })))
        )
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("offset {offset} is outside [{log_start_offset}, {log_end_offset}]")]
    OutOfRange { offset: Offset, log_start_offset: Offset, log_end_offset: Offset },
    #[error("{} is corrupt at position {position}: {reason}", .path.display())]
    Corrupt { path: PathBuf, position: u64, reason: String },
    /// Only where it was asked not to wait.
    #[error("the disk would have to be waited for")]
    WouldBlock,
    #[error("{0}; {hint}", hint = RAISE_THE_LIMIT)]
    Descriptors(#[source] StorageError),
    #[error(transparent)]
    Offline(#[from] Offline),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ReadError {
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Corrupt { .. }
            | Self::WouldBlock
            | Self::Descriptors(_)
            | Self::Offline(_)
            | Self::Storage(_) => ErrorCode::KafkaStorageError,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{0}; {hint}", hint = RAISE_THE_LIMIT)]
    Descriptors(#[source] StorageError),
    #[error("no log directory was named")]
    NoDirectory,
    #[error("{} is in use by another Kafka or Millstream process; stop that one, or choose another data directory", .dir.display())]
    Locked { dir: PathBuf },
    #[error("{} is not a Kafka log directory: it holds {found:?} but no meta.properties; choose an empty directory", .dir.display())]
    NotALogDirectory { dir: PathBuf, found: String },
    #[error("{}: {found:?} is not in the form of topic-partition; Kafka would refuse to start on this directory, move it away", .dir.display())]
    ForeignDirectory { dir: PathBuf, found: String },
    #[error("{}: {reason}", .path.display())]
    MetaProperties { path: PathBuf, reason: String },
    #[error("{} has {key}={found}, but {expected} was configured", .path.display())]
    Identity { path: PathBuf, key: &'static str, found: String, expected: String },
    #[error("{partition} is in both {} and {}; remove one of them", .first.display(), .second.display())]
    Duplicate { partition: TopicPartition, first: PathBuf, second: PathBuf },
    #[error("the metadata log cannot be used: {0}")]
    MetadataLog(Offline),
}
