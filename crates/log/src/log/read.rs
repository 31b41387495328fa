//! Reading whole batches from an offset on (`UnifiedLog.read`, `LogSegment.read`; KIP-74).

use std::sync::Arc;

use bytes::Bytes;
use millstream_record::batch::{BatchError, BatchHeader, HEADER_BYTES};
use millstream_types::Offset;

use super::{Ends, Log, Mark};
use crate::{
    dir::Durability,
    error::{At, ReadError, StorageError},
    scan::{Fault, Invalid, Located},
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadResult {
    /// Whole batches; empty when there is nothing (yet) or `max_bytes` does not allow the first.
    pub records: Bytes,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    /// For [`Isolation::ReadCommitted`]: the aborted transactions with records among those returned, by first
    /// offset.
    pub aborted: Vec<AbortedTxn>,
}

impl Log {
    /// Reads batches of one segment, beginning with the one that holds `offset`.
    pub fn read(&self, request: ReadRequest) -> Result<ReadResult, ReadError> {
        match self.read_once(request) {
            // The segment was deleted between finding it and opening its file.
            Err(ReadError::Storage(error)) if request.offset < self.log_start_offset() => {
                tracing::debug!(partition = %self.partition, %error, "read what was being deleted");
                self.read_once(request)
            }
            Err(ReadError::Storage(error)) => Err(self.failed(error)),
            other => other,
        }
    }

    fn read_once(&self, request: ReadRequest) -> Result<ReadResult, ReadError> {
        self.check_online()?;
        let ends = self.ends.lock().clone();
        let (offset, log_start_offset) = (request.offset, self.log_start_offset());
        let log_end_offset = ends.log_end.offset;
        if offset < log_start_offset || offset > log_end_offset {
            return Err(ReadError::OutOfRange { offset, log_start_offset, log_end_offset });
        }
        let bound = self.bound(&ends, request.isolation)?;
        let mut result = ReadResult {
            records: Bytes::new(),
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
            let Some(first) = segment.locate(&*self.dir.fs, offset, end)? else {
                continue;
            };
            let Some((records, next)) =
                self.read_from(segment, &first, end, bound.offset.min(next_base), &request)?
            else {
                break;
            };
            if request.isolation == Isolation::ReadCommitted {
                result.aborted = aborted_in(&segments, offset, next);
            }
            result.records = records;
            break;
        }
        Ok(result)
    }

    /// The batches from `first` on that `max_bytes` allows, and the offset after the last.
    fn read_from(
        &self,
        segment: &Segment,
        first: &Located,
        end: u64,
        bound: Offset,
        request: &ReadRequest,
    ) -> Result<Option<(Bytes, Offset)>, ReadError> {
        let first_bytes = first.header.size_in_bytes();
        if first_bytes > request.max_bytes && !request.at_least_one {
            return Ok(None);
        }
        let left = usize::try_from(end - first.position).unwrap_or(usize::MAX);
        let wanted = request.max_bytes.max(first_bytes).min(left);
        // The header that follows is looked at as well: it vouches for the offsets of the last batch returned.
        let look_ahead = wanted.saturating_add(HEADER_BYTES).min(left);
        let mut bytes = Vec::new();
        let file = segment.file(&*self.dir.fs)?;
        file.read_into(&mut bytes, look_ahead, first.position).at("read", segment.path())?;
        let (whole, next) = whole_batches(&bytes, wanted, bound)
            .map_err(|fault| segment.corrupt(&Invalid { position: first.position, fault }))?;
        bytes.truncate(whole);
        segment.remember(next, first.position + whole as u64);
        Ok(Some((Bytes::from(bytes), next)))
    }

    /// A disk that cannot be read is not trusted any more.
    pub(super) fn failed(&self, error: StorageError) -> ReadError {
        if let Some(offline) = self.offline() {
            return offline.into();
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
        let found = segment.locate(&*self.dir.fs, offset, end)?;
        let position = found.map_or(end, |found| found.position);
        segment.remember(offset, position);
        Ok(Mark { offset, segment, position })
    }
}

/// How many of the first `wanted` bytes are whole batches that fit together and lie below `bound`, and the
/// offset after them. Of two that contradict each other neither is returned: which one is wrong is not known.
/// What is corrupt behind good batches is met, and reported, by the read that begins there.
fn whole_batches(bytes: &[u8], wanted: usize, bound: Offset) -> Result<(usize, Offset), Fault> {
    // The end of the batches that are good, and of those before the last of them.
    let (mut good, mut before) = ((0, None), (0, None));
    loop {
        let (start, next): (usize, Option<Offset>) = good;
        if start >= bytes.len().min(wanted) && bytes.len() - start < HEADER_BYTES {
            break;
        }
        let header = match BatchHeader::parse(&bytes[start..]) {
            Ok(header) => header,
            Err(error) if start == 0 => return Err(error.into()),
            Err(_) => break,
        };
        let follows = next.is_none_or(|next| header.base_offset() >= next);
        if !follows {
            if before.0 == 0 {
                return Err(Fault::offsets(&header, next.unwrap_or(bound)));
            }
            good = before;
            break;
        }
        let end = start + header.size_in_bytes();
        let fits = header.last_offset_delta >= 0 && header.next_offset() <= bound;
        if !fits && start == 0 {
            return Err(Fault::offsets(&header, bound));
        }
        if !fits || end > wanted.min(bytes.len()) {
            break;
        }
        (before, good) = (good, (end, Some(header.next_offset())));
    }
    match good {
        (whole, Some(next)) => Ok((whole, next)),
        (_, None) => Err(BatchError::Truncated { needed: HEADER_BYTES, found: bytes.len() }.into()),
    }
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
