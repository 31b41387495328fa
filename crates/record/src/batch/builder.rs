//! Making a batch, record by record. `MemoryRecordsBuilder`.

use bytes::Bytes;
use millstream_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::{
    Attributes, BatchHeader, HEADER_BYTES, Header, LENGTH_PREFIX_BYTES, Record, TimestampType, edit,
    header::MAGIC,
};
use crate::{
    compress::{self, Compression},
    varint::{put_varint, put_varlong, varint_len, varlong_len},
};

/// Who wrote a batch, for idempotence and transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
    /// None in control batches.
    pub base_sequence: Option<Sequence>,
}

/// Everything about a batch that is not a record. The default is a plain, uncompressed batch at offset 0,
/// as a producer sends it.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchOptions {
    pub compression: Compression,
    /// The codec's own scale; None is Kafka's default for it.
    pub compression_level: Option<i32>,
    pub base_offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
    /// With `LogAppendTime`, the largest timestamp appended stands for all.
    pub timestamp_type: TimestampType,
    pub producer: Option<ProducerInfo>,
    pub transactional: bool,
    pub control: bool,
}

/// Collects records and closes them into one batch.
///
/// A batch cannot exceed `i32::MAX` bytes or offsets: callers keep far below (`batch.size`,
/// `max.message.bytes`), and going beyond is a bug that panics.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Space for the header, then the records as they will be stored when nothing compresses them.
    bytes: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    pub fn new(options: BatchOptions) -> Self {
        Self::with_capacity(options, HEADER_BYTES)
    }

    /// With room for so many bytes, the header among them.
    pub fn with_capacity(options: BatchOptions, bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.max(HEADER_BYTES));
        buffer.resize(HEADER_BYTES, 0);
        Self {
            options,
            bytes: buffer,
            count: 0,
            last_offset_delta: -1,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// Appends a record at the next offset; its own `offset_delta` is not looked at.
    pub fn push(&mut self, record: &Record) -> &mut Self {
        self.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers)
    }

    /// Appends a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> &mut Self {
        let next = self.last_offset_delta.checked_add(1).expect("a batch has fewer than 2^31 offsets");
        self.append_at(next, timestamp, key, value, headers)
    }

    /// Appends a record at a given delta, leaving a gap as compaction does. Deltas must rise.
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> &mut Self {
        assert!(offset_delta > self.last_offset_delta, "offset deltas rise within a batch");
        if self.count == 0 {
            self.base_timestamp = timestamp.0;
        }
        let timestamp_delta = timestamp.0.wrapping_sub(self.base_timestamp);
        put_record(&mut self.bytes, offset_delta, timestamp_delta, key, value, headers);
        self.count += 1;
        self.last_offset_delta = offset_delta;
        self.max_timestamp = self.max_timestamp.max(timestamp.0);
        self
    }

    /// Says who writes the batch, before it is closed.
    pub fn set_producer(&mut self, producer: ProducerInfo) {
        self.options.producer = Some(producer);
    }

    /// Covers offsets after the last record too, where compaction has removed records.
    pub fn extend_to(&mut self, last_offset_delta: i32) -> &mut Self {
        self.last_offset_delta = self.last_offset_delta.max(last_offset_delta);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn record_count(&self) -> i32 {
        self.count
    }

    /// What the batch would take uncompressed.
    pub fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// An upper bound of what [`BatchBuilder::append`] would add for such a record.
    pub fn record_size_max(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
        // Length and offset delta of 5 bytes, timestamp delta of 10, attributes.
        5 + 5 + 10 + 1 + fields_len(key, value, headers)
    }

    /// Closes the batch: compresses, fills the header in, computes the checksum.
    pub fn build(self) -> Bytes {
        let options = self.options;
        let mut bytes = match options.compression {
            Compression::None => self.bytes,
            codec => {
                let mut packed = Vec::with_capacity(HEADER_BYTES + self.bytes.len() / 2);
                packed.resize(HEADER_BYTES, 0);
                compress::compress_into(
                    codec,
                    options.compression_level,
                    &self.bytes[HEADER_BYTES..],
                    &mut packed,
                );
                packed
            }
        };
        let length = i32::try_from(bytes.len() - LENGTH_PREFIX_BYTES).expect("a batch is smaller than 2 GiB");
        let producer = options.producer;
        let header = BatchHeader {
            base_offset: options.base_offset.0,
            batch_length: length,
            partition_leader_epoch: LeaderEpoch::to_wire(options.leader_epoch),
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::default()
                .with_compression(options.compression)
                .with_timestamp_type(options.timestamp_type)
                .with_transactional(options.transactional)
                .with_control(options.control),
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: ProducerId::to_wire(producer.map(|p| p.id)),
            producer_epoch: ProducerEpoch::to_wire(producer.map(|p| p.epoch)),
            base_sequence: Sequence::to_wire(producer.and_then(|p| p.base_sequence)),
            record_count: self.count,
        };
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        edit::recompute_crc(&mut bytes);
        Bytes::from(bytes)
    }
}

fn put_record(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[Header],
) {
    let body = 1 + varlong_len(timestamp_delta) + varint_len(offset_delta) + fields_len(key, value, headers);
    out.reserve(5 + body);
    put_varint(out, length(body));
    out.push(0);
    put_varlong(out, timestamp_delta);
    put_varint(out, offset_delta);
    put_nullable(out, key);
    put_nullable(out, value);
    put_varint(out, length(headers.len()));
    for header in headers {
        put_nullable(out, Some(&header.key));
        put_nullable(out, header.value.as_deref());
    }
}

/// Key, value and headers with their lengths.
fn fields_len(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[Header]) -> usize {
    let headers_len: usize =
        headers.iter().map(|h| nullable_len(Some(&h.key)) + nullable_len(h.value.as_deref())).sum();
    nullable_len(key) + nullable_len(value) + varint_len(length(headers.len())) + headers_len
}

fn nullable_len(field: Option<&[u8]>) -> usize {
    field.map_or(1, |field| varint_len(length(field.len())) + field.len())
}

fn put_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => put_varint(out, -1),
        Some(field) => {
            put_varint(out, length(field.len()));
            out.extend_from_slice(field);
        }
    }
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a record is smaller than 2 GiB")
}
