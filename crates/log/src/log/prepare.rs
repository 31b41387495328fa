//! What can be done for an append before it is its turn: judging the batches and rewriting those that the
//! topic wants otherwise (`LogValidator`, `UnifiedLog.analyzeAndValidateRecords`).

use bytes::Bytes;
use millstream_record::{
    Compression,
    batch::{
        BatchError, BatchHeader, HEADER_BYTES, Recompressed, RecordBatch, RecordRules, Rejection,
        TimestampRange, TimestampType, ValidBatch, batches, rebuild, recompress, validate,
    },
    control::EndTransactionMarker,
};
use millstream_types::{TimestampMs, TopicPartition};

use super::append::AppendOptions;
use crate::{
    config::{LogConfig, TopicCompression},
    error::AppendError,
    producer::Origin,
};

/// More is never in a control batch.
const CONTROL_BYTES_MAX: usize = 1 << 20;
/// Most records get no smaller than by this when they are packed.
const QUICK_EXPANSION_MAX: usize = 16;
const QUICK_BYTES: std::ops::RangeInclusive<usize> = 64 << 10..=1 << 20;

/// To how much a batch of a size may open and still be judged where time is short: in proportion to what its
/// sender has sent, and a few milliseconds' worth at most.
pub(super) fn quickly_opened_bytes_max(batch_bytes: usize) -> usize {
    batch_bytes.saturating_mul(QUICK_EXPANSION_MAX).clamp(*QUICK_BYTES.start(), *QUICK_BYTES.end())
}

/// A batch ready to be written once its offset is known.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) header: BatchHeader,
    /// What follows the header.
    pub(super) body: Bytes,
    pub(super) marker: Option<EndTransactionMarker>,
}

impl Prepared {
    pub(super) fn size_in_bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    /// The checksum covers the header from its attributes on, and the records.
    fn recompute_crc(&mut self) {
        const ATTRIBUTES_AT: usize = 21;
        let head = crc32c::crc32c(&self.header.to_bytes()[ATTRIBUTES_AT..]);
        self.header.crc = crc32c::crc32c_append(head, &self.body);
    }

    /// The largest timestamp is the broker's to say, as is the time of a topic with `LogAppendTime`.
    fn stamp(&mut self, kind: TimestampType, max: TimestampMs) {
        let attributes = self.header.attributes.with_timestamp_type(kind);
        if (attributes, max.0) != (self.header.attributes, self.header.max_timestamp) {
            self.header.attributes = attributes;
            self.header.max_timestamp = max.0;
            self.recompute_crc();
        }
    }
}

pub(super) struct Rules<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) config: &'a LogConfig,
    pub(super) options: &'a AppendOptions,
    pub(super) decompressed_bytes_max: usize,
}

impl Rules<'_> {
    pub(super) fn prepare(&self, bytes: Bytes) -> Result<Vec<Prepared>, AppendError> {
        let partition = || self.partition.clone();
        let mut found = Vec::with_capacity(1);
        let mut walk = batches(&bytes);
        for view in walk.by_ref() {
            let view = view.map_err(Rejection::from)?;
            let size = view.bytes.len();
            let max = self.config.max_message_bytes;
            if size > max && self.options.origin != Origin::Metadata {
                return Err(AppendError::BatchTooLarge { partition: partition(), size, max });
            }
            found.push((view.position..view.position + size, view.header));
        }
        let left = bytes.len() - walk.position();
        match found.last() {
            None if left == 0 => return Err(AppendError::Empty { partition: partition() }),
            _ if left > 0 => {
                let needed = BatchHeader::parse(&bytes[walk.position()..])
                    .map_or(HEADER_BYTES, |header| header.size_in_bytes());
                return Err(Rejection::from(BatchError::Truncated { needed, found: left }).into());
            }
            _ => {}
        }
        let (size, max) = (bytes.len(), self.config.segment_bytes as usize);
        if size > max {
            return Err(AppendError::RecordsTooLarge { partition: partition(), size, max });
        }
        if self.options.origin == Origin::Client {
            if found.len() > 1 {
                return Err(AppendError::SeveralBatches { partition: partition() });
            }
            return Ok(vec![self.of_client(bytes, found[0].1)?]);
        }
        found.into_iter().map(|(range, header)| self.of_broker(bytes.slice(range), header)).collect()
    }

    fn of_client(&self, bytes: Bytes, header: BatchHeader) -> Result<Prepared, AppendError> {
        let partition = || self.partition.clone();
        if header.base_offset != 0 {
            return Err(AppendError::BaseOffset { partition: partition(), found: header.base_offset() });
        }
        let valid = validate(&bytes, &self.record_rules())?;
        let compression = header.attributes.compression().map_err(Rejection::from)?;
        if !valid.offsets_consecutive && compression != Compression::None {
            return Err(AppendError::InnerOffsets { partition: partition() });
        }
        let wanted = match self.config.compression {
            TopicCompression::Producer => (compression, None),
            TopicCompression::Codec { codec, level } => (codec, level),
        };
        let max = self.config.max_message_bytes;
        let too_large = |size| AppendError::BatchTooLarge { partition: partition(), size, max };
        let written_anew = if !valid.offsets_consecutive {
            let rebuilt = rebuild(&bytes, wanted.0, wanted.1, self.decompressed_bytes_max);
            Some(rebuilt.map_err(Rejection::from)?)
        } else if wanted.0 != compression {
            let recompressed = recompress(&bytes, wanted.0, wanted.1, self.decompressed_bytes_max, max);
            match recompressed.map_err(Rejection::from)? {
                Recompressed::Batch(bytes) => Some(bytes),
                Recompressed::TooLarge(size) => return Err(too_large(size)),
            }
        } else {
            None
        };
        let (header, bytes) = match written_anew {
            Some(bytes) => (BatchHeader::parse(&bytes).map_err(Rejection::from)?, bytes),
            None => (header, bytes),
        };
        let mut prepared = Prepared { header, body: bytes.slice(HEADER_BYTES..), marker: None };
        if prepared.size_in_bytes() > max {
            return Err(too_large(prepared.size_in_bytes()));
        }
        self.stamp(&mut prepared, &valid);
        Ok(prepared)
    }

    fn stamp(&self, prepared: &mut Prepared, valid: &ValidBatch) {
        match self.config.timestamp_type {
            TimestampType::CreateTime => prepared.stamp(TimestampType::CreateTime, valid.max_timestamp),
            TimestampType::LogAppendTime => prepared.stamp(TimestampType::LogAppendTime, self.options.now),
        }
    }

    fn record_rules(&self) -> RecordRules {
        let now = self.options.now;
        let range = TimestampRange {
            earliest: now.plus_ms(self.config.timestamp_before_max_ms.saturating_neg()),
            latest: now.plus_ms(self.config.timestamp_after_max_ms),
        };
        RecordRules {
            key_required: self.config.cleanup_policy.compact,
            timestamps: (self.config.timestamp_type == TimestampType::CreateTime).then_some(range),
            max_decompressed: self.decompressed_bytes_max,
        }
    }

    /// The broker's own batches are trusted in what they say, though not to have survived in memory.
    fn of_broker(&self, bytes: Bytes, header: BatchHeader) -> Result<Prepared, AppendError> {
        header.verify_crc(&bytes).map_err(Rejection::from)?;
        let marker = end_transaction_marker(&header, &bytes).map_err(Rejection::from)?;
        let mut prepared = Prepared { header, body: bytes.slice(HEADER_BYTES..), marker };
        let stamped = self.config.timestamp_type == TimestampType::LogAppendTime;
        if stamped && self.options.origin != Origin::Metadata {
            prepared.stamp(TimestampType::LogAppendTime, self.options.now);
        }
        Ok(prepared)
    }
}

/// The end of transaction in a control batch of a producer, if it holds one.
pub(super) fn end_transaction_marker(
    header: &BatchHeader,
    bytes: &Bytes,
) -> Result<Option<EndTransactionMarker>, BatchError> {
    if !header.attributes.is_control() || header.producer().is_none() {
        return Ok(None);
    }
    let batch = RecordBatch::decode(bytes, CONTROL_BYTES_MAX)?;
    let marker = batch.records.first().and_then(|record| {
        let (key, value) = (record.key.as_deref()?, record.value.as_deref()?);
        EndTransactionMarker::from_record(key, value).ok()?
    });
    Ok(marker)
}
