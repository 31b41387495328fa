//! A segment: a `.log` file of batches, its indexes, its aborted transactions (`LogSegment`).
//!
//! The batches in `[0, size)` are whole and never change, so readers need no lock: the one appender writes
//! behind `size` and then moves it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use millstream_record::batch::BatchHeader;
use millstream_types::{Offset, TimestampMs};
use parking_lot::Mutex;

use crate::{
    cold::ColdReads,
    config::LogConfig,
    error::{At, ReadError, StorageError},
    fs::{File, Fs, OpenMode},
    index::{Entry, OffsetEntry, SparseIndex, TimeEntry},
    names::{INDEX, LOG, TIME_INDEX, TXN_INDEX, file_path},
    scan::{CHUNK_BYTES, HeaderWalk, Invalid, Located, verify_crc},
    txn_index::TxnIndex,
};

/// Places where reads ended lately: the next read of the same consumer begins there.
const HINTS: usize = 8;

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base_offset: Offset,
    path: PathBuf,
    file: Mutex<OpenFile>,
    size: AtomicU64,
    pub(crate) index: SparseIndex<OffsetEntry>,
    pub(crate) time_index: SparseIndex<TimeEntry>,
    pub(crate) aborted: TxnIndex,
    max_timestamp: Mutex<MaxTimestamp>,
    /// The largest timestamp of the first batch; the segment's age counts from it.
    first_timestamp: Mutex<Option<TimestampMs>>,
    hints: Mutex<Hints>,
    /// Where it was last said to be corrupt: a consumer asks again and again.
    told_corrupt_at: Mutex<Option<u64>>,
}

/// The segment's file while it is used, and for a while after.
#[derive(Debug, Default)]
struct OpenFile {
    file: Option<Arc<dyn File>>,
    /// Since [`Segment::close_unused`].
    is_used: bool,
}

/// The latest timestamp of a segment: of what was there when it was opened, and of what was appended since.
#[derive(Clone, Copy, Debug)]
struct MaxTimestamp {
    /// By the time index, which has no checksum.
    stored: Option<TimeEntry>,
    is_checked: bool,
    noted: Option<TimeEntry>,
}

impl MaxTimestamp {
    fn latest(self) -> Option<TimeEntry> {
        later(self.stored, self.noted)
    }
}

fn time_entry(header: &BatchHeader) -> Option<TimeEntry> {
    Some(TimeEntry { timestamp: header.max_timestamp()?, offset: header.last_offset() })
}

/// The first of them if both are as late.
fn later(known: Option<TimeEntry>, next: Option<TimeEntry>) -> Option<TimeEntry> {
    match (known, next) {
        (Some(known), Some(next)) if next.timestamp <= known.timestamp => Some(known),
        (known, next) => next.or(known),
    }
}

#[derive(Debug, Default)]
struct Hints {
    places: [Option<(Offset, u64)>; HINTS],
    next: usize,
}

impl Segment {
    /// Without entries in its indexes; whatever index files are there will be replaced.
    pub(crate) fn new(dir: &Path, base_offset: Offset, size: u64) -> Self {
        Self::with_indexes(
            dir,
            base_offset,
            size,
            SparseIndex::empty(base_offset, file_path(dir, base_offset, INDEX)),
            SparseIndex::empty(base_offset, file_path(dir, base_offset, TIME_INDEX)),
            TxnIndex::empty(file_path(dir, base_offset, TXN_INDEX)),
        )
    }

    pub(crate) fn with_indexes(
        dir: &Path,
        base_offset: Offset,
        size: u64,
        index: SparseIndex<OffsetEntry>,
        time_index: SparseIndex<TimeEntry>,
        aborted: TxnIndex,
    ) -> Self {
        let stored = time_index.last();
        let max_timestamp = MaxTimestamp { stored, is_checked: stored.is_none(), noted: None };
        Self {
            base_offset,
            path: file_path(dir, base_offset, LOG),
            file: Mutex::default(),
            size: AtomicU64::new(size),
            index,
            time_index,
            aborted,
            max_timestamp: Mutex::new(max_timestamp),
            first_timestamp: Mutex::new(None),
            hints: Mutex::default(),
            told_corrupt_at: Mutex::default(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opened where it is not.
    pub(crate) fn file(&self, fs: &dyn Fs) -> Result<Arc<dyn File>, StorageError> {
        let mut state = self.file.lock();
        state.is_used = true;
        if let Some(file) = &state.file {
            return Ok(file.clone());
        }
        let file = fs.open(&self.path, OpenMode::Write).at("open", &self.path)?;
        state.file = Some(file.clone());
        Ok(file)
    }

    /// Lets go of the file if nobody has asked for it since the last call. Who is reading or syncing it has it all
    /// the same.
    pub(crate) fn close_unused(&self) {
        let mut state = self.file.lock();
        if !std::mem::take(&mut state.is_used) {
            state.file = None;
        }
    }

    /// Begins the segment with an empty file.
    pub(crate) fn create_file(&self, fs: &dyn Fs) -> Result<Arc<dyn File>, StorageError> {
        let file = fs.open(&self.path, OpenMode::Truncate).at("create", &self.path)?;
        *self.file.lock() = OpenFile { file: Some(file.clone()), is_used: true };
        Ok(file)
    }

    /// The active segment's file is open since it became the active one.
    pub(crate) fn open_file(&self) -> Arc<dyn File> {
        self.file.lock().file.clone().expect("an active segment's file is open")
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// The latest timestamp, with the last offset of the batch that has it.
    pub(crate) fn max_timestamp(&self) -> Option<TimeEntry> {
        self.max_timestamp.lock().latest()
    }

    /// Whether the batch that an entry names has its timestamp: an index has no checksum, and what it says alone
    /// is not enough to delete records or to pass over them.
    pub(crate) fn vouches_for(&self, fs: &dyn Fs, entry: TimeEntry) -> Result<bool, ReadError> {
        let named = self.locate(fs, entry.offset, self.size(), ColdReads::Wait)?;
        let right = named.is_some_and(|batch| batch.header.max_timestamp() == Some(entry.timestamp));
        if !right {
            tracing::warn!(path = %self.time_index.path().display(), ?entry, "an entry is wrong");
        }
        Ok(right)
    }

    /// The same, the index having been compared with the batch that it names; one that is wrong is made right
    /// from the batches.
    pub(crate) fn checked_max_timestamp(&self, fs: &dyn Fs) -> Result<Option<TimeEntry>, ReadError> {
        let known = *self.max_timestamp.lock();
        if let Some(stored) = known.stored
            && !known.is_checked
        {
            let right =
                if self.vouches_for(fs, stored)? { Some(stored) } else { self.walk_max_timestamp(fs)? };
            let mut max = self.max_timestamp.lock();
            (max.stored, max.is_checked) = (right, true);
        }
        Ok(self.max_timestamp())
    }

    fn walk_max_timestamp(&self, fs: &dyn Fs) -> Result<Option<TimeEntry>, ReadError> {
        let file = self.file(fs)?;
        let mut walk = self.walk(&*file, 0, self.size());
        let mut max = None;
        loop {
            match walk.next().at("read", &self.path)? {
                Ok(Some(batch)) => max = later(max, time_entry(&batch.header)),
                Ok(None) => return Ok(max),
                Err(bad) => return Err(self.corrupt(&bad)),
            }
        }
    }

    pub(crate) fn note_timestamp(&self, header: &BatchHeader) {
        let mut max = self.max_timestamp.lock();
        max.noted = later(max.noted, time_entry(header));
    }

    pub(crate) fn first_timestamp(&self, fs: &dyn Fs) -> Result<Option<TimestampMs>, StorageError> {
        let mut known = self.first_timestamp.lock();
        if known.is_none() && self.size() > 0 {
            let file = self.file(fs)?;
            if let Ok(Some(first)) = self.walk(&*file, 0, self.size()).next().at("read", &self.path)? {
                *known = first.header.max_timestamp();
            }
        }
        Ok(*known)
    }

    /// The file reaches as far as indexes allow: one more batch needs a new segment.
    pub(crate) fn indexes_are_full(&self, config: &LogConfig) -> bool {
        let bytes = config.segment_index_bytes as usize;
        // The time index keeps its last slot for the entry that is written when the segment is left.
        self.index.count() >= bytes / OffsetEntry::BYTES
            || self.time_index.count() + 1 >= bytes / TimeEntry::BYTES
    }

    /// Whether `offset` can be an entry of this segment's indexes.
    pub(crate) fn can_hold(&self, offset: Offset) -> bool {
        (0..=i64::from(i32::MAX)).contains(&offset.since(self.base_offset))
    }

    /// Nothing more will be appended: the time index gets its last entry.
    pub(crate) fn finish_time_index(&self) {
        if let Some(max) = self.max_timestamp() {
            self.time_index.push(max);
        }
    }

    /// Writes the indexes out. What was written to is added to `files`, also when the rest fails: it still has
    /// to be synced, and is not written again.
    pub(crate) fn write_indexes(
        &self,
        fs: &dyn Fs,
        files: &mut Vec<Arc<dyn File>>,
    ) -> Result<(), StorageError> {
        files.extend(self.index.write_out(fs)?);
        files.extend(self.time_index.write_out(fs)?);
        Ok(())
    }

    /// The batch that holds `offset` or, if compaction left a gap there, the first one after it. None when
    /// there is none before `end`.
    pub(crate) fn locate(
        &self,
        fs: &dyn Fs,
        offset: Offset,
        end: u64,
        cold: ColdReads,
    ) -> Result<Option<Located>, ReadError> {
        let file = self.file(fs)?;
        let walk_from = |position| {
            if cold == ColdReads::Refuse && !file.is_cached(position, CHUNK_BYTES) {
                return Err(ReadError::WouldBlock);
            }
            Ok(self.walk(&*file, position, end))
        };
        if let Some(position) = self.hint(offset).filter(|position| *position < end)
            && let Ok(Some(found)) = walk_from(position)?.next().at("read", &self.path)?
            && found.header.base_offset() == offset
        {
            return Ok(Some(found));
        }
        let entry = self.index.last_where(fs, |entry| entry.last_offset <= offset)?;
        if let Some(entry) = entry.filter(|entry| entry.position < end) {
            let first = walk_from(entry.position)?.next().at("read", &self.path)?;
            // The entry is only a hint; what it leads to must be the batch that it was made for.
            match first {
                Ok(Some(batch)) if batch.header.last_offset() == entry.last_offset => {
                    return self.walk_to(&*file, offset, entry.position, end);
                }
                _ => tracing::warn!(path = %self.index.path().display(), ?entry, "index entry is wrong"),
            }
        }
        self.walk_to(&*file, offset, 0, end)
    }

    /// Of the segment's own file.
    pub(crate) fn walk<'a>(&self, file: &'a dyn File, position: u64, end: u64) -> HeaderWalk<'a> {
        HeaderWalk::new(file, self.base_offset, position, end)
    }

    fn walk_to(
        &self,
        file: &dyn File,
        offset: Offset,
        position: u64,
        end: u64,
    ) -> Result<Option<Located>, ReadError> {
        let mut walk = self.walk(file, position, end);
        let mut before = None;
        loop {
            match walk.next().at("read", &self.path)? {
                Ok(Some(batch)) if batch.header.last_offset() < offset => before = Some(batch),
                Ok(found) => {
                    let gap = found.is_none_or(|found| found.header.base_offset() > offset);
                    if let Some(before) = before.filter(|_| gap) {
                        self.check_gap(file, &before)?;
                    }
                    return Ok(found);
                }
                Err(bad) => return Err(self.corrupt(&bad)),
            }
        }
    }

    /// Where `offset` should be there is nothing. Compaction does that; or the batch before it has lost count
    /// of its records, which its checksum tells.
    fn check_gap(&self, file: &dyn File, before: &Located) -> Result<(), ReadError> {
        match verify_crc(file, before, &mut Vec::new()).at("read", &self.path)? {
            Ok(()) => Ok(()),
            Err(error) => Err(self.corrupt(&Invalid { position: before.position, fault: error.into() })),
        }
    }

    pub(crate) fn corrupt(&self, bad: &Invalid) -> ReadError {
        if self.told_corrupt_at.lock().replace(bad.position) != Some(bad.position) {
            tracing::error!(path = %self.path.display(), position = bad.position, reason = %bad.fault,
                "the segment is corrupt");
        }
        ReadError::Corrupt { path: self.path.clone(), position: bad.position, reason: bad.fault.to_string() }
    }

    /// The batch from `offset` on begins at `position`.
    pub(crate) fn remember(&self, offset: Offset, position: u64) {
        let mut hints = self.hints.lock();
        let next = hints.next;
        hints.places[next] = Some((offset, position));
        hints.next = (next + 1) % HINTS;
    }

    fn hint(&self, offset: Offset) -> Option<u64> {
        let hints = self.hints.lock();
        hints.places.iter().flatten().find(|(known, _)| *known == offset).map(|(_, position)| *position)
    }
}

/// Adds index entries as batches are appended or scanned: one after every `index.interval.bytes`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IndexProgress {
    pub(crate) bytes_since_entry: u64,
}

impl IndexProgress {
    pub(crate) fn note(&mut self, segment: &Segment, batch: &Located, interval_bytes: u32) {
        segment.note_timestamp(&batch.header);
        if self.bytes_since_entry > u64::from(interval_bytes) {
            let last_offset = batch.header.last_offset();
            segment.index.push(OffsetEntry { last_offset, position: batch.position });
            segment.finish_time_index();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += batch.header.size_in_bytes() as u64;
    }
}
