//! Walking the batches of a segment file, by their headers alone or with their checksums.
//!
//! A header is believed only as far as the file reaches; nothing is allocated on its word.

use std::io;

use bytes::Bytes;
use millstream_record::batch::{BatchError, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES};

use millstream_types::Offset;

use crate::fs::File;

/// Read at a time: holds the headers of many small batches and costs little for one of a large batch.
pub(crate) const CHUNK_BYTES: usize = 4096;
/// From the batch's start to what its checksum covers.
const CHECKED_FROM: usize = 21;
/// Control batches are tiny; a larger one is not read.
const CONTROL_BATCH_BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
}

impl Located {
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.size_in_bytes() as u64
    }
}

/// The bytes at `position` are not a batch that fits.
#[derive(Clone, Debug)]
pub(crate) struct Invalid {
    pub(crate) position: u64,
    pub(crate) fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// No checksum covers a batch's base offset, so its place among the others has to vouch for it.
    #[error("a batch claims offsets {first} to {last} where {expected} comes next")]
    Offsets { first: Offset, last: Offset, expected: Offset },
}

impl Fault {
    pub(crate) fn offsets(header: &BatchHeader, expected: Offset) -> Self {
        Self::Offsets { first: header.base_offset(), last: header.last_offset(), expected }
    }
}

#[derive(Debug)]
pub(crate) struct HeaderWalk<'a> {
    file: &'a dyn File,
    position: u64,
    end: u64,
    /// Lowest offset that the next batch may have.
    next_offset: Offset,
    chunk: [u8; CHUNK_BYTES],
    chunk_start: u64,
    chunk_length: usize,
}

impl<'a> HeaderWalk<'a> {
    /// Walks `[position, end)` of the file of the segment that begins at `base_offset`.
    pub(crate) fn new(file: &'a dyn File, base_offset: Offset, position: u64, end: u64) -> Self {
        Self {
            file,
            position,
            end,
            next_offset: base_offset,
            chunk: [0; CHUNK_BYTES],
            chunk_start: 0,
            chunk_length: 0,
        }
    }

    /// Where the next batch begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next batch; `Ok(Err(..))` when the bytes there are none, `Ok(Ok(None))` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Result<Option<Located>, Invalid>> {
        if self.position >= self.end {
            return Ok(Ok(None));
        }
        let position = self.position;
        let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
        let header = match BatchHeader::parse(self.peek(left)?) {
            Ok(header) => header,
            Err(error) => return Ok(Err(Invalid { position, fault: error.into() })),
        };
        let needed = header.size_in_bytes();
        if needed > left {
            let fault = BatchError::Truncated { needed, found: left }.into();
            return Ok(Err(Invalid { position, fault }));
        }
        if header.base_offset() < self.next_offset || header.last_offset_delta < 0 {
            return Ok(Err(Invalid { position, fault: Fault::offsets(&header, self.next_offset) }));
        }
        self.next_offset = header.next_offset();
        self.position += needed as u64;
        Ok(Ok(Some(Located { position, header })))
    }

    fn peek(&mut self, left: usize) -> io::Result<&[u8]> {
        let wanted = left.min(HEADER_BYTES);
        let within = self.position.checked_sub(self.chunk_start).and_then(|skip| usize::try_from(skip).ok());
        let mut skip = within.filter(|skip| skip + wanted <= self.chunk_length);
        if skip.is_none() {
            let length = left.min(CHUNK_BYTES);
            self.chunk_length = self.file.read_at(&mut self.chunk[..length], self.position)?;
            self.chunk_start = self.position;
            skip = Some(0);
        }
        let rest = &self.chunk[skip.unwrap_or(0)..self.chunk_length];
        Ok(&rest[..rest.len().min(wanted)])
    }
}

/// Compares a batch's checksum, reading it piece by piece into `buffer`.
pub(crate) fn verify_crc(
    file: &dyn File,
    batch: &Located,
    buffer: &mut Vec<u8>,
) -> io::Result<Result<(), BatchError>> {
    const PIECE_BYTES: usize = 256 << 10;
    let mut position = batch.position + CHECKED_FROM as u64;
    let mut computed = 0;
    while position < batch.end() {
        let piece = usize::try_from(batch.end() - position).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        buffer.clear();
        file.read_into(buffer, piece, position)?;
        if buffer.is_empty() {
            let needed = batch.header.size_in_bytes();
            let found = usize::try_from(position - batch.position).unwrap_or(usize::MAX);
            return Ok(Err(BatchError::Truncated { needed, found }));
        }
        computed = crc32c::crc32c_append(computed, buffer);
        position += buffer.len() as u64;
    }
    let stored = batch.header.crc;
    Ok(if computed == stored { Ok(()) } else { Err(BatchError::Crc { stored, computed }) })
}

/// All bytes of a control batch.
pub(crate) fn read_control(file: &dyn File, batch: &Located) -> io::Result<Result<Bytes, BatchError>> {
    let length = batch.header.size_in_bytes();
    if length > CONTROL_BATCH_BYTES_MAX {
        let excess = i32::try_from(length - LENGTH_PREFIX_BYTES).unwrap_or(i32::MAX);
        return Ok(Err(BatchError::TooSmall(excess)));
    }
    let mut bytes = Vec::with_capacity(length);
    file.read_into(&mut bytes, length, batch.position)?;
    let found = bytes.len();
    Ok(if found < length { Err(BatchError::Truncated { needed: length, found }) } else { Ok(bytes.into()) })
}
