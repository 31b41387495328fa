//! Judging a batch that a client sent, before it is appended. `LogValidator`, KIP-467.
//!
//! One pass, no allocation for most batches ([`walk`]). What the broker sets itself (base offset, leader epoch,
//! max timestamp) is not judged.

use std::ops::ControlFlow;

use millstream_types::{ErrorCode, Offset, TimestampMs};

use super::{BatchError, BatchHeader, HEADER_BYTES, RecordHead, TimestampType, walk};
use crate::compress::CompressError;

/// More rejected records than this are counted but not listed: a list must not outgrow its batch.
const RECORD_ERRORS_MAX: usize = 1000;

/// What a topic demands of its records.
#[derive(Clone, Copy, Debug)]
pub struct RecordRules {
    /// `cleanup.policy` has `compact`.
    pub key_required: bool,
    /// Between which the producers' timestamps must lie; None for a topic with `LogAppendTime`.
    pub timestamps: Option<TimestampRange>,
    /// How large a batch may become when it is opened.
    pub max_decompressed: usize,
}

/// Inclusive at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampRange {
    pub earliest: TimestampMs,
    pub latest: TimestampMs,
}

/// What validation learnt on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidBatch {
    pub header: BatchHeader,
    /// The largest timestamp of the records themselves; -1 if none has one.
    pub max_timestamp: TimestampMs,
    /// The first record with that timestamp; None if no record has one.
    pub max_timestamp_offset_delta: Option<i32>,
    /// Whether the records' offsets are 0, 1, 2 …; if not, [`super::rebuild`] makes them so.
    pub offsets_consecutive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The bytes are not a batch, or not the one that was sent.
    #[error(transparent)]
    Malformed(#[from] BatchError),
    #[error("offset range [{first}, {last}] does not fit a batch of {count} records")]
    OffsetRange { first: Offset, last: Offset, count: i32 },
    #[error("clients may not write control batches")]
    ControlBatch,
    #[error("sequence {0} with a producer id")]
    Sequence(i32),
    /// At least one, in order of index; at most a thousand are listed.
    #[error("{count} of the batch's records were refused; the first: {}", first_of(.errors))]
    Records { count: usize, errors: Vec<RecordError> },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("record {index} has no key, which a compacted topic requires")]
    NoKey { index: i32 },
    #[error("record {index} has timestamp {timestamp}, outside [{}, {}]", .range.earliest, .range.latest)]
    Timestamp { index: i32, timestamp: TimestampMs, range: TimestampRange },
    #[error("record {index} carries LogAppendTime, which only a broker may set")]
    TimestampType { index: i32 },
}

fn first_of(errors: &[RecordError]) -> String {
    errors.first().map(ToString::to_string).unwrap_or_default()
}

impl RecordError {
    /// Which record of the batch, counted from 0.
    pub fn index(&self) -> i32 {
        match self {
            Self::NoKey { index } | Self::Timestamp { index, .. } | Self::TimestampType { index } => *index,
        }
    }
}

impl Rejection {
    /// The code that Kafka answers.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Self::Malformed(error) => malformed_code(error),
            Self::OffsetRange { .. } | Self::ControlBatch | Self::Sequence(_) => ErrorCode::InvalidRecord,
            Self::Records { errors, .. } => {
                let by_time = |e: &RecordError| !matches!(e, RecordError::NoKey { .. });
                if errors.iter().any(by_time) {
                    ErrorCode::InvalidTimestamp
                } else {
                    ErrorCode::InvalidRecord
                }
            }
        }
    }
}

/// As Kafka 4.3.1 answers: `every_kind_of_wrong_batch_gets_its_code` asks it.
fn malformed_code(error: &BatchError) -> ErrorCode {
    match error {
        BatchError::Crc { .. } | BatchError::Truncated { .. } | BatchError::TooSmall(_) => {
            ErrorCode::CorruptMessage
        }
        // The formats of old, which Kafka still knows when it sees them.
        BatchError::Magic(0 | 1) => ErrorCode::InvalidRecord,
        BatchError::Magic(_) => ErrorCode::CorruptMessage,
        // Here Kafka's decompressors throw what no one catches.
        BatchError::CompressionType(_) | BatchError::Compress(CompressError::Corrupt { .. }) => {
            ErrorCode::UnknownServerError
        }
        // Kafka has no such limit. To this code producers answer by sending smaller batches.
        BatchError::Compress(CompressError::TooLarge { .. } | CompressError::Window { .. }) => {
            ErrorCode::MessageTooLarge
        }
        BatchError::Count(_) | BatchError::Record { .. } | BatchError::TrailingBytes(_) => {
            ErrorCode::InvalidRecord
        }
    }
}

/// Judges the one batch that is `batch`: checksum, lengths, count, offsets, every record. Nothing is
/// changed.
pub fn validate(batch: &[u8], rules: &RecordRules) -> Result<ValidBatch, Rejection> {
    let header = BatchHeader::parse(batch)?;
    header.verify_crc(batch)?;
    validate_header(&header)?;
    validate_records(header, &batch[HEADER_BYTES..header.size_in_bytes()], rules)
}

fn validate_header(header: &BatchHeader) -> Result<(), Rejection> {
    let offsets = i64::from(header.last_offset_delta) + 1;
    if header.record_count <= 0 || offsets != i64::from(header.record_count) {
        let (first, last) = (header.base_offset(), header.last_offset());
        return Err(Rejection::OffsetRange { first, last, count: header.record_count });
    }
    if header.attributes.is_control() {
        return Err(Rejection::ControlBatch);
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        return Err(Rejection::Sequence(header.base_sequence));
    }
    Ok(())
}

fn validate_records(
    header: BatchHeader,
    stored: &[u8],
    rules: &RecordRules,
) -> Result<ValidBatch, Rejection> {
    let mut valid = ValidBatch {
        header,
        max_timestamp: TimestampMs(-1),
        max_timestamp_offset_delta: None,
        offsets_consecutive: true,
    };
    let (mut errors, mut error_count) = (Vec::new(), 0);
    let mut index = 0;
    walk(&header, stored, rules.max_decompressed, |record| {
        if let Some(error) = record_error(&header, &record, index, rules) {
            error_count += 1;
            if errors.len() < RECORD_ERRORS_MAX {
                errors.push(error);
            }
        }
        if record.timestamp > valid.max_timestamp {
            valid.max_timestamp = record.timestamp;
            valid.max_timestamp_offset_delta = Some(index);
        }
        valid.offsets_consecutive &= record.offset_delta == index;
        // It cannot overflow: there are no more records than the header's count.
        index += 1;
        ControlFlow::Continue(())
    })?;
    if errors.is_empty() { Ok(valid) } else { Err(Rejection::Records { count: error_count, errors }) }
}

fn record_error(
    header: &BatchHeader,
    record: &RecordHead,
    index: i32,
    rules: &RecordRules,
) -> Option<RecordError> {
    if rules.key_required && !record.has_key {
        return Some(RecordError::NoKey { index });
    }
    let timestamp = record.timestamp;
    match rules.timestamps {
        Some(range) if timestamp.0 != -1 => {
            let within = (range.earliest..=range.latest).contains(&timestamp);
            (!within).then_some(RecordError::Timestamp { index, timestamp, range })
        }
        _ => (header.attributes.timestamp_type() == TimestampType::LogAppendTime)
            .then_some(RecordError::TimestampType { index }),
    }
}
