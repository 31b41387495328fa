//! Opening a batch: its records, borrowed one at a time ([`records`]) or owned ([`RecordBatch::decode`]).
//! The owned ones share the batch's buffer, or the one it was decompressed into; no key or value is copied.

use std::borrow::Cow;

use bytes::Bytes;
use millstream_types::{Offset, TimestampMs};

use super::{BatchError, BatchHeader, HEADER_BYTES, TimestampType};
use crate::{
    compress::{self, Compression},
    varint::{Cursor, Malformed},
};

/// The fewest bytes a record can have: length, attributes, two deltas, key and value lengths, header count.
const RECORD_BYTES_MIN: usize = 7;

/// A record with its own handle on the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// From the batch's base offset.
    pub offset_delta: i32,
    /// The producer's, or the batch's when it was stamped by the broker.
    pub timestamp: TimestampMs,
    pub key: Option<Bytes>,
    /// None is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// In the producer's order; the same key may occur more than once.
    pub headers: Vec<Header>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// UTF-8 by convention; kept as it came.
    pub key: Bytes,
    pub value: Option<Bytes>,
}

impl Header {
    pub fn new(key: impl Into<Bytes>, value: Option<Bytes>) -> Self {
        Self { key: key.into(), value }
    }

    pub fn key_str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.key)
    }
}

/// A batch and its records.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordBatch {
    pub header: BatchHeader,
    pub records: Vec<Record>,
}

impl RecordBatch {
    /// Opens the batch at the start of `batch`, checking its checksum and every length in it. Refuses to
    /// decompress more than `max_decompressed` bytes.
    pub fn decode(batch: &Bytes, max_decompressed: usize) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(batch)?;
        header.verify_crc(batch)?;
        let stored = batch.slice(HEADER_BYTES..header.size_in_bytes());
        let plain = match header.attributes.compression()? {
            Compression::None => stored,
            codec if header.record_count > 0 => {
                Bytes::from(compress::decompress(codec, &stored, max_decompressed)?)
            }
            _ => Bytes::new(),
        };
        let walk = records(&header, &plain)?;
        let mut opened = Vec::with_capacity(walk.left);
        for record in walk {
            opened.push(record?.to_record(&header, &plain));
        }
        Ok(Self { header, records: opened })
    }

    pub fn offset_of(&self, record: &Record) -> Offset {
        self.header.base_offset().plus(i64::from(record.offset_delta))
    }
}

/// What is wrong inside a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    #[error("its length {0} is negative or beyond the end of the batch")]
    Length(i32),
    #[error("a field runs past its end")]
    Overrun,
    #[error("{0} bytes are left after its last field")]
    Underrun(usize),
    #[error("it claims {0} headers")]
    HeaderCount(i32),
    #[error("a header key has length {0}")]
    HeaderKeyLength(i32),
}

impl From<Malformed> for RecordFault {
    fn from(Malformed: Malformed) -> Self {
        RecordFault::Overrun
    }
}

/// A record borrowed from a batch's plain bytes.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub offset_delta: i32,
    /// From the batch's base timestamp.
    pub timestamp_delta: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: HeaderRefs<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// A record's headers; their form was checked when the record was read.
#[derive(Clone, Copy, Debug)]
pub struct HeaderRefs<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Iterator for HeaderRefs<'a> {
    type Item = HeaderRef<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        read_header(&mut self.cursor).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HeaderRefs<'_> {}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct RecordRefs<'a> {
    cursor: Cursor<'a>,
    index: usize,
    left: usize,
}

/// The records in a batch's plain (decompressed) bytes, without allocating. Fails on a record count that
/// the bytes cannot hold; the walk ends after the first malformed record, and with an error if bytes are
/// left over after the last.
pub fn records<'a>(header: &BatchHeader, plain: &'a [u8]) -> Result<RecordRefs<'a>, BatchError> {
    let left = usize::try_from(header.record_count).map_err(|_| BatchError::Count(header.record_count))?;
    if left > plain.len() / RECORD_BYTES_MIN {
        return Err(BatchError::Count(header.record_count));
    }
    Ok(RecordRefs { cursor: Cursor::new(plain), index: 0, left })
}

impl<'a> Iterator for RecordRefs<'a> {
    type Item = Result<RecordRef<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            let trailing = self.cursor.remaining();
            self.cursor = Cursor::new(&[]);
            return (trailing > 0).then_some(Err(BatchError::TrailingBytes(trailing)));
        }
        let record = read_record(&mut self.cursor).map_err(|fault| {
            self.left = 1;
            BatchError::Record { index: self.index, fault }
        });
        if record.is_err() {
            self.cursor = Cursor::new(&[]);
        }
        self.left -= 1;
        self.index += 1;
        Some(record)
    }
}

fn read_record<'a>(cursor: &mut Cursor<'a>) -> Result<RecordRef<'a>, RecordFault> {
    let length = cursor.varint()?;
    let bounded = usize::try_from(length).ok().and_then(|length| cursor.take(length).ok());
    let mut body = Cursor::new(bounded.ok_or(RecordFault::Length(length))?);
    let _attributes = body.u8()?;
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let key = nullable(&mut body)?;
    let value = nullable(&mut body)?;
    let count = body.varint()?;
    // Each header takes two bytes at least, so a count beyond that is refused before it is walked.
    let left = usize::try_from(count).ok().filter(|&left| left <= body.remaining() / 2);
    let left = left.ok_or(RecordFault::HeaderCount(count))?;
    let headers = HeaderRefs { cursor: body, left };
    for _ in 0..left {
        read_header(&mut body)?;
    }
    match body.remaining() {
        0 => Ok(RecordRef { offset_delta, timestamp_delta, key, value, headers }),
        rest => Err(RecordFault::Underrun(rest)),
    }
}

fn read_header<'a>(cursor: &mut Cursor<'a>) -> Result<HeaderRef<'a>, RecordFault> {
    let length = cursor.varint()?;
    let key_bytes = usize::try_from(length).map_err(|_| RecordFault::HeaderKeyLength(length))?;
    Ok(HeaderRef { key: cursor.take(key_bytes)?, value: nullable(cursor)? })
}

/// A byte string whose negative length says null.
#[inline]
fn nullable<'a>(cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    match usize::try_from(cursor.varint()?) {
        Ok(length) => cursor.take(length).map(Some),
        Err(_) => Ok(None),
    }
}

impl RecordRef<'_> {
    /// The record's own time, or the batch's if the broker stamped it.
    pub fn timestamp(&self, header: &BatchHeader) -> TimestampMs {
        match header.attributes.timestamp_type() {
            TimestampType::CreateTime => TimestampMs(header.base_timestamp).plus_ms(self.timestamp_delta),
            TimestampType::LogAppendTime => TimestampMs(header.max_timestamp),
        }
    }

    /// An owned record whose fields share `plain`, the buffer that this one borrows from.
    fn to_record(self, header: &BatchHeader, plain: &Bytes) -> Record {
        let share = |field: &[u8]| plain.slice_ref(field);
        Record {
            offset_delta: self.offset_delta,
            timestamp: self.timestamp(header),
            key: self.key.map(share),
            value: self.value.map(share),
            headers: self
                .headers
                .map(|header| Header { key: share(header.key), value: header.value.map(share) })
                .collect(),
        }
    }
}
