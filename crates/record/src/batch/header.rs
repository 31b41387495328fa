//! The 61 bytes that precede a batch's records. Fields as on the wire; accessors give types and `None`.

use millstream_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::{BatchError, ProducerInfo};
use crate::compress::Compression;

/// Base offset and batch length: what the length does not count.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// Everything before the records.
pub const HEADER_BYTES: usize = 61;

pub(super) const LENGTH_AT: usize = 8;
pub(super) const LEADER_EPOCH_AT: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
pub(super) const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;
pub(super) const MAX_TIMESTAMP_AT: usize = 35;
pub(super) const PRODUCER_AT: usize = 43;
pub(super) const MAGIC: i8 = 2;

/// Whose clock a batch's timestamps are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's, one per record.
    #[default]
    CreateTime,
    /// The broker's at append: the batch's max timestamp stands for all its records.
    LogAppendTime,
}

/// Bits 0-2 compression, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const COMPRESSION: i16 = 0b111;
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    pub fn compression(self) -> Result<Compression, BatchError> {
        let id = (self.0 & Self::COMPRESSION) as u8;
        Compression::from_id(id).ok_or(BatchError::CompressionType(id))
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    pub fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    /// A control batch holds markers (commit, abort, leader change …), never a client's records.
    pub fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    /// The base timestamp is the time from which the cleaner may drop the batch's tombstones (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    pub fn with_compression(self, compression: Compression) -> Self {
        Self((self.0 & !Self::COMPRESSION) | i16::from(compression.id()))
    }

    pub fn with_timestamp_type(self, kind: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, kind == TimestampType::LogAppendTime)
    }

    pub fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    pub fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// A batch's header, parsed. Only length and magic are checked by [`BatchHeader::parse`]; the rest is what
/// the bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header at the start of `bytes`; the records need not be there yet.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let found = bytes.len();
        let Some(raw) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { needed: HEADER_BYTES, found });
        };
        let header = Self {
            base_offset: i64_at(raw, 0),
            batch_length: i32_at(raw, 8),
            partition_leader_epoch: i32_at(raw, LEADER_EPOCH_AT),
            magic: raw[MAGIC_AT] as i8,
            crc: i32_at(raw, CRC_AT) as u32,
            attributes: Attributes(i16_at(raw, ATTRIBUTES_AT)),
            last_offset_delta: i32_at(raw, 23),
            base_timestamp: i64_at(raw, 27),
            max_timestamp: i64_at(raw, MAX_TIMESTAMP_AT),
            producer_id: i64_at(raw, PRODUCER_AT),
            producer_epoch: i16_at(raw, 51),
            base_sequence: i32_at(raw, 53),
            record_count: i32_at(raw, 57),
        };
        if header.magic != MAGIC {
            return Err(BatchError::Magic(header.magic));
        }
        if (header.batch_length as i64) < (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i64 {
            return Err(BatchError::TooSmall(header.batch_length));
        }
        Ok(header)
    }

    /// The 61 bytes again, exactly.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut raw = [0; HEADER_BYTES];
        raw[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        raw[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        raw[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        raw[16] = self.magic as u8;
        raw[17..21].copy_from_slice(&self.crc.to_be_bytes());
        raw[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        raw[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        raw[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        raw[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        raw[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        raw[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        raw[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        raw[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        raw
    }

    /// Header and records together.
    pub fn size_in_bytes(&self) -> usize {
        // `parse` has refused a negative length.
        LENGTH_PREFIX_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    pub fn base_offset(&self) -> Offset {
        Offset(self.base_offset)
    }

    /// The last offset that the batch covers, whether or not a record with it is still there.
    pub fn last_offset(&self) -> Offset {
        self.base_offset().plus(i64::from(self.last_offset_delta))
    }

    /// Where the following batch starts at the earliest.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().next()
    }

    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        LeaderEpoch::from_wire(self.partition_leader_epoch)
    }

    pub fn max_timestamp(&self) -> Option<TimestampMs> {
        TimestampMs::from_wire(self.max_timestamp)
    }

    /// From when on tombstones may go; see [`Attributes::has_delete_horizon`].
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        self.attributes.has_delete_horizon().then_some(TimestampMs(self.base_timestamp))
    }

    /// The idempotent or transactional producer that wrote the batch.
    pub fn producer(&self) -> Option<ProducerInfo> {
        ProducerId::from_wire(self.producer_id).map(|id| ProducerInfo {
            id,
            epoch: ProducerEpoch(self.producer_epoch),
            base_sequence: Sequence::from_wire(self.base_sequence),
        })
    }

    /// The sequence of the batch's last record, wrapped as Kafka wraps it; none for control batches.
    pub fn last_sequence(&self) -> Option<Sequence> {
        Sequence::from_wire(self.base_sequence).map(|base| base.plus(self.last_offset_delta))
    }

    /// Compares the stored checksum with that of `batch`, which must be this header's whole batch.
    pub fn verify_crc(&self, batch: &[u8]) -> Result<(), BatchError> {
        let (needed, found) = (self.size_in_bytes(), batch.len());
        let covered = batch.get(ATTRIBUTES_AT..needed).ok_or(BatchError::Truncated { needed, found })?;
        let computed = crc32c::crc32c(covered);
        if computed == self.crc { Ok(()) } else { Err(BatchError::Crc { stored: self.crc, computed }) }
    }
}

fn i64_at(raw: &[u8; HEADER_BYTES], at: usize) -> i64 {
    i64::from_be_bytes(array_at(raw, at))
}

fn i32_at(raw: &[u8; HEADER_BYTES], at: usize) -> i32 {
    i32::from_be_bytes(array_at(raw, at))
}

fn i16_at(raw: &[u8; HEADER_BYTES], at: usize) -> i16 {
    i16::from_be_bytes(array_at(raw, at))
}

fn array_at<const N: usize>(raw: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    *raw[at..].first_chunk().expect("every field lies within the header")
}
