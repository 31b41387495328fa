//! Reading whole batches from an offset on (`UnifiedLog.read`, `LogSegment.read`; KIP-74).

use std::sync::Arc;

use bytes::Bytes;
use millstream_types::{
    Offset,
    codec::{FileSlice, Payload},
};

use super::{Ends, Log, Mark};
use crate::{
    cold::ColdReads,
    dir::Durability,
    error::{At, ReadError, StorageError},
    fs::File,
    scan::{Fault, HeaderWalk, Invalid, Located},
    segment::Segment,
    txn_index::AbortedTxn,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    pub offset: Offset,
    pub max_bytes: usize,
    /// The first batch is returned even if it is larger than `max_bytes`.
    pub at_least_one: bool,
    pub isolation: Isolation,
}

/// Up to where a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The high watermark.
    ReadUncommitted,
    /// The last stable offset; aborted transactions are named.
    ReadCommitted,
    /// Everything: for the broker's own replay.
    LogEnd,
}

/// A copy of less costs less than sending it out of the file.
const SLICE_BYTES_MIN: usize = 32 << 10;

#[derive(Clone, Debug, PartialEq)]
pub struct ReadResult<R = Bytes> {
    /// Whole batches; empty when there is nothing (yet) or `max_bytes` does not allow the first.
    pub records: R,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    /// For [`Isolation::ReadCommitted`]: the aborted transactions with records among those returned, by first
    /// offset.
    pub aborted: Vec<AbortedTxn>,
}

impl Log {
    /// Reads batches of one segment into memory, beginning with the one that holds `offset`.
    pub fn read(&self, request: ReadRequest) -> Result<ReadResult, ReadError> {
        self.read_with(request, ColdReads::Wait, |file, position, length| {
            let mut bytes = Vec::new();
            file.read_into(&mut bytes, length, position)?;
            Ok(Bytes::from(bytes))
        })
    }

    /// As [`Self::read`], but much is left where it is: in the file.
    pub fn fetch(&self, request: ReadRequest, cold: ColdReads) -> Result<ReadResult<Payload>, ReadError> {
        self.read_with(request, cold, |file, position, length| match file.os_file() {
            Some(file) if length >= SLICE_BYTES_MIN => {
                Ok(Payload::File(FileSlice { file: Arc::clone(file), position, length }))
            }
            _ => {
                let mut bytes = Vec::new();
                file.read_into(&mut bytes, length, position)?;
                Ok(bytes.into())
            }
        })
    }

    fn read_with<R: Default>(
        &self,
        request: ReadRequest,
        cold: ColdReads,
        take: impl Fn(&dyn File, u64, usize) -> std::io::Result<R>,
    ) -> Result<ReadResult<R>, ReadError> {
        match self.read_once(request, cold, &take) {
            // The segment was deleted between finding it and opening its file.
            Err(ReadError::Storage(error)) if request.offset < self.log_start_offset() => {
                tracing::debug!(partition = %self.partition, %error, "read what was being deleted");
                self.read_once(request, cold, &take)
            }
            Err(ReadError::Storage(error)) => Err(self.failed(error)),
            other => other,
        }
    }

    fn read_once<R: Default>(
        &self,
        request: ReadRequest,
        cold: ColdReads,
        take: impl Fn(&dyn File, u64, usize) -> std::io::Result<R>,
    ) -> Result<ReadResult<R>, ReadError> {
        self.check_online()?;
        let ends = self.ends.lock().clone();
        let (offset, log_start_offset) = (request.offset, self.log_start_offset());
        let log_end_offset = ends.log_end.offset;
        if offset < log_start_offset || offset > log_end_offset {
            return Err(ReadError::OutOfRange { offset, log_start_offset, log_end_offset });
        }
        let bound = self.bound(&ends, request.isolation)?;
        let mut result = ReadResult {
            records: R::default(),
            high_watermark: self.high_watermark(),
            last_stable_offset: self.last_stable_offset(),
            log_start_offset,
            aborted: Vec::new(),
        };
        if offset >= bound.offset {
            return Ok(result);
        }
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        for (index, segment) in segments.iter().enumerate().skip(after.saturating_sub(1)) {
            let Some(end) = end_in(segment, &bound) else { break };
            let next_base = segments.get(index + 1).map_or(bound.offset, |next| next.base_offset);
            if cold == ColdReads::Wait {
                segment.file(&*self.dir.fs)?.read_nothing_ahead();
            }
            let Some(first) = segment.locate(&*self.dir.fs, offset, end, cold)? else {
                continue;
            };
            let bound = bound.offset.min(next_base);
            let Some(found) = self.batches_from(segment, first, end, bound, &request, cold)? else {
                break;
            };
            if request.isolation == Isolation::ReadCommitted {
                result.aborted = aborted_in(&segments, offset, found.next);
            }
            let file = segment.file(&*self.dir.fs)?;
            result.records = take(&*file, first.position, found.bytes).at("read", segment.path())?;
            break;
        }
        Ok(result)
    }

    /// Which batches from `first` on `max_bytes` allows.
    fn batches_from(
        &self,
        segment: &Segment,
        first: Located,
        end: u64,
        bound: Offset,
        request: &ReadRequest,
        cold: ColdReads,
    ) -> Result<Option<Whole>, ReadError> {
        let first_bytes = first.header.size_in_bytes();
        if first_bytes > request.max_bytes && !request.at_least_one {
            return Ok(None);
        }
        let left = usize::try_from(end - first.position).unwrap_or(usize::MAX);
        let wanted = request.max_bytes.max(first_bytes).min(left);
        let file = segment.file(&*self.dir.fs)?;
        if !file.is_cached(first.position, wanted) {
            match cold {
                ColdReads::Refuse => return Err(ReadError::WouldBlock),
                ColdReads::Wait => {
                    self.dir.turns.load(&*file, first.position, wanted).at("read", segment.path())?;
                }
            }
        }
        let walk = segment.walk(&*file, first.position, end);
        let whole = whole_batches(walk, wanted, bound).at("read", segment.path())?;
        let whole = whole.map_err(|invalid| segment.corrupt(&invalid))?;
        segment.remember(whole.next, first.position + whole.bytes as u64);
        Ok(Some(whole))
    }

    /// A disk that cannot be read is not trusted any more.
    pub(super) fn failed(&self, error: StorageError) -> ReadError {
        if let Some(offline) = self.offline() {
            return offline.into();
        }
        if error.is_out_of_descriptors() {
            self.dir.note_want_of_descriptors(&error);
            return ReadError::Descriptors(error);
        }
        self.dir.poison(&error);
        error.into()
    }

    fn bound(&self, ends: &Ends, isolation: Isolation) -> Result<Mark, ReadError> {
        let high_watermark = match self.dir.shared.durability {
            Durability::Disk => &ends.durable,
            Durability::Os => &ends.log_end,
        };
        match isolation {
            Isolation::LogEnd => Ok(ends.log_end.clone()),
            Isolation::ReadUncommitted => Ok(high_watermark.clone()),
            Isolation::ReadCommitted => {
                let stable = self.last_stable_offset();
                if stable >= high_watermark.offset {
                    Ok(high_watermark.clone())
                } else {
                    self.mark_at(stable)
                }
            }
        }
    }

    /// The place of the first batch at or after `offset`, which begins one.
    fn mark_at(&self, offset: Offset) -> Result<Mark, ReadError> {
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        let segment = segments[after.saturating_sub(1)].clone();
        let end = segment.size();
        let found = segment.locate(&*self.dir.fs, offset, end, ColdReads::Wait)?;
        let position = found.map_or(end, |found| found.position);
        segment.remember(offset, position);
        Ok(Mark { offset, segment, position })
    }
}

/// Batches that follow each other and are all there.
#[derive(Clone, Copy, Debug)]
struct Whole {
    bytes: usize,
    /// The offset after them.
    next: Offset,
}

/// The batches within the first `wanted` bytes of the walk that fit together and lie below `bound`. The header
/// that follows is looked at as well: it vouches for the offsets of the last one returned. Of two that
/// contradict each other neither is returned: which one is wrong is not known. What is corrupt behind good
/// batches is met, and reported, by the read that begins there.
fn whole_batches(
    mut walk: HeaderWalk<'_>,
    wanted: usize,
    bound: Offset,
) -> std::io::Result<Result<Whole, Invalid>> {
    // The batches that are good, and those before the last of them.
    let (mut good, mut before): (Option<Whole>, Option<Whole>) = (None, None);
    let (start, mut bytes) = (walk.position(), 0);
    loop {
        let header = match walk.next()? {
            Ok(Some(batch)) => batch.header,
            Ok(None) => break,
            Err(invalid) if good.is_none() => return Ok(Err(invalid)),
            Err(invalid) if matches!(invalid.fault, Fault::Offsets { .. }) => match before {
                None => return Ok(Err(invalid)),
                before => {
                    good = before;
                    break;
                }
            },
            Err(_) => break,
        };
        bytes += header.size_in_bytes();
        if header.next_offset() > bound && good.is_none() {
            return Ok(Err(Invalid { position: start, fault: Fault::offsets(&header, bound) }));
        }
        if header.next_offset() > bound || bytes > wanted {
            break;
        }
        (before, good) = (good, Some(Whole { bytes, next: header.next_offset() }));
    }
    Ok(Ok(good.expect("the caller has found the first batch, and wants it")))
}

/// Where reading must stop in `segment`; None if all of it lies beyond the bound.
fn end_in(segment: &Segment, bound: &Mark) -> Option<u64> {
    match segment.base_offset.cmp(&bound.segment.base_offset) {
        std::cmp::Ordering::Less => Some(segment.size()),
        std::cmp::Ordering::Equal => Some(bound.position),
        std::cmp::Ordering::Greater => None,
    }
}

fn aborted_in(segments: &[Arc<Segment>], first: Offset, end: Offset) -> Vec<AbortedTxn> {
    let mut found = Vec::new();
    let from = segments.partition_point(|segment| segment.base_offset <= first).saturating_sub(1);
    // A transaction's entry stands where its marker is, which may be segments later.
    for segment in &segments[from..] {
        if segment.aborted.collect(first, end, &mut found) {
            break;
        }
    }
    found.sort_by_key(|txn| txn.first_offset);
    found
}
