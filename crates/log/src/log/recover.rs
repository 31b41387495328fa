//! Looking at a segment's bytes after a crash, and cutting off what is no log (`LogSegment.recover`,
//! `LogLoader.recoverLog`).
//!
//! Three things are told apart. A torn tail, which was never acknowledged: cut off, kept in a side file and
//! reported. Damage to what was durable: the partition goes offline and nothing is changed. A disk that does
//! not read: an error.

use std::{
    io,
    path::{Path, PathBuf},
};

use millstream_types::{LeaderEpoch, Offset, TimestampMs, TopicPartition};

use crate::{
    error::{At, StorageError},
    fs::{File, Fs, OpenMode, write_again},
    index::{Check, OffsetEntry, SparseIndex, TimeEntry},
    names::{INDEX, LOG, TIME_INDEX, TXN_INDEX, file_path},
    scan::{Fault, HeaderWalk, Located, verify_crc},
    segment::{IndexProgress, Segment},
    txn_index::TxnIndex,
};

const COPY_BYTES: usize = 1 << 20;

/// Bytes that were no batches, taken off the end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub partition: TopicPartition,
    /// The segment file, and where in it the first byte cut off stood; segments after it went as well.
    pub path: PathBuf,
    pub position: u64,
    /// The offset that the log now ends with.
    pub offset: Offset,
    pub bytes: u64,
    /// Where the bytes are kept; zeros are not.
    pub saved: Vec<PathBuf>,
    pub reason: String,
}

/// A segment as a scan found it.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) segment: Segment,
    pub(super) progress: IndexProgress,
    /// After its last valid batch.
    pub(super) next_offset: Offset,
    pub(super) end: u64,
    pub(super) file_length: u64,
    /// Why scanning stopped before the file's end.
    pub(super) invalid: Option<Fault>,
    /// Leader epochs met, each with its first offset.
    pub(super) epochs: Vec<(LeaderEpoch, Offset)>,
    pub(super) scanned_bytes: u64,
}

pub(super) struct SegmentScan<'a> {
    pub(super) fs: &'a dyn Fs,
    pub(super) dir: &'a Path,
    pub(super) base_offset: Offset,
    /// Below it the index is believed, if it looks right.
    pub(super) trusted_until: Offset,
    /// From here on it is not known whether a sync has failed; None if none has.
    pub(super) flushed_until: Option<Offset>,
    /// Below it compaction may have left gaps.
    pub(super) cleaned_until: Offset,
    pub(super) index_interval_bytes: u32,
}

impl SegmentScan<'_> {
    /// Reads the segment with all checksums from the last place that can be trusted on, and completes its
    /// indexes.
    pub(super) fn run(&self) -> Result<Scanned, StorageError> {
        let path = file_path(self.dir, self.base_offset, LOG);
        let file = self.fs.open(&path, OpenMode::Write).at("open", &path)?;
        let file_length = file.length().at("measure", &path)?;
        let (segment, start) = match self.trusted(&*file, &path, file_length)? {
            Some(found) => found,
            None => (Segment::new(self.dir, self.base_offset, file_length), None),
        };
        let (position, expected) =
            start.map_or((0, self.base_offset), |batch| (batch.position, batch.header.base_offset()));
        let mut scanned = Scanned {
            segment,
            progress: IndexProgress::default(),
            next_offset: expected,
            end: position,
            file_length,
            invalid: None,
            epochs: Vec::new(),
            scanned_bytes: 0,
        };
        self.scan(&*file, &path, &mut scanned)?;
        scanned.scanned_bytes = scanned.end - position;
        scanned.segment.set_size(scanned.end);
        Ok(scanned)
    }

    fn scan(&self, file: &dyn File, path: &Path, scanned: &mut Scanned) -> Result<(), StorageError> {
        let mut walk = HeaderWalk::new(file, self.base_offset, scanned.end, scanned.file_length);
        let mut buffer = Vec::new();
        let mut flushed_until = self.flushed_until;
        loop {
            if flushed_until.take_if(|until| *until <= scanned.next_offset).is_some() {
                self.write_again(file, scanned).at("write again", path)?;
                walk = HeaderWalk::new(file, self.base_offset, scanned.end, scanned.file_length);
            }
            let batch = match walk.next().at("read", path)? {
                Ok(None) => return Ok(()),
                Ok(Some(batch)) => batch,
                Err(invalid) => {
                    scanned.invalid = Some(invalid.fault);
                    return Ok(());
                }
            };
            let header = &batch.header;
            let follows = header.base_offset() == scanned.next_offset
                || (header.base_offset() > scanned.next_offset && header.base_offset() <= self.cleaned_until);
            let fault = if !follows || !scanned.segment.can_hold(header.last_offset()) {
                Some(Fault::offsets(header, scanned.next_offset))
            } else {
                verify_crc(file, &batch, &mut buffer).at("read", path)?.err().map(Fault::from)
            };
            if fault.is_some() {
                scanned.invalid = fault;
                return Ok(());
            }
            scanned.progress.note(&scanned.segment, &batch, self.index_interval_bytes);
            scanned.next_offset = header.next_offset();
            scanned.end = batch.end();
            if let Some(epoch) = header.leader_epoch()
                && scanned.epochs.last().is_none_or(|(last, _)| *last < epoch)
            {
                scanned.epochs.push((epoch, header.base_offset()));
            }
        }
    }

    /// Batches that no flush is known to cover may be in memory alone, and clean there. They are written over
    /// themselves before they are looked at, not after: until then memory may drop them.
    fn write_again(&self, file: &dyn File, scanned: &Scanned) -> io::Result<()> {
        let mut walk = HeaderWalk::new(file, self.base_offset, scanned.end, scanned.file_length);
        let mut end = scanned.end;
        while let Ok(Some(batch)) = walk.next()? {
            end = batch.end();
        }
        write_again(file, scanned.end, end)
    }

    /// The segment with the part of its indexes that can be believed, and the batch to begin with.
    fn trusted(
        &self,
        file: &dyn File,
        path: &Path,
        file_length: u64,
    ) -> Result<Option<(Segment, Option<Located>)>, StorageError> {
        if self.trusted_until <= self.base_offset {
            return Ok(None);
        }
        let Some((index, time_index)) =
            open_indexes(self.fs, self.dir, self.base_offset, Check::All, file_length)?
        else {
            return Ok(None);
        };
        let below = |entry: OffsetEntry| entry.last_offset < self.trusted_until;
        let Some(entry) = index.last_where(self.fs, below)? else { return Ok(None) };
        let mut walk = HeaderWalk::new(file, self.base_offset, entry.position, file_length);
        let Ok(Some(batch)) = walk.next().at("read", path)? else { return Ok(None) };
        let same = batch.header.last_offset() == entry.last_offset;
        if !same || verify_crc(file, &batch, &mut Vec::new()).at("read", path)?.is_err() {
            return Ok(None);
        }
        index.truncate(self.fs, |other| other.last_offset <= entry.last_offset)?;
        time_index.truncate(self.fs, |other| other.offset <= entry.last_offset)?;
        let aborted = open_txn_index(self.fs, self.dir, self.base_offset)?;
        let segment =
            Segment::with_indexes(self.dir, self.base_offset, file_length, index, time_index, aborted);
        Ok(Some((segment, Some(batch))))
    }
}

pub(super) type Indexes = (SparseIndex<OffsetEntry>, SparseIndex<TimeEntry>);

/// Both indexes of a segment; None if one of them is absent or cannot be right.
pub(super) fn open_indexes(
    fs: &dyn Fs,
    dir: &Path,
    base: Offset,
    check: Check,
    file_length: u64,
) -> Result<Option<Indexes>, StorageError> {
    let in_file = |entry: OffsetEntry| entry.position < file_length && entry.last_offset >= base;
    let Some(index) = SparseIndex::open(fs, base, file_path(dir, base, INDEX), check, in_file)? else {
        return Ok(None);
    };
    let in_segment = |entry: TimeEntry| entry.offset >= base && entry.timestamp.0 >= 0;
    let time_index = SparseIndex::open(fs, base, file_path(dir, base, TIME_INDEX), check, in_segment)?;
    Ok(time_index.map(|time_index| (index, time_index)))
}

/// One that cannot be right is taken as empty; [`damaged_txn_index`] says so.
pub(super) fn open_txn_index(fs: &dyn Fs, dir: &Path, base: Offset) -> Result<TxnIndex, StorageError> {
    let path = file_path(dir, base, TXN_INDEX);
    Ok(TxnIndex::open(fs, base, path.clone())?.unwrap_or_else(|| TxnIndex::empty(path)))
}

pub(super) fn damaged_txn_index(fs: &dyn Fs, dir: &Path, base: Offset) -> Result<bool, StorageError> {
    Ok(TxnIndex::open(fs, base, file_path(dir, base, TXN_INDEX))?.is_none())
}

/// Keeps the bytes of `path` from `position` on in a file of `side_dir`. None if they are all zero: space
/// that was set aside and never written.
pub(super) fn save_tail(
    fs: &dyn Fs,
    path: &Path,
    position: u64,
    side_dir: &Path,
    name: &str,
) -> Result<Option<PathBuf>, StorageError> {
    let file = fs.open(path, OpenMode::Read).at("open", path)?;
    let length = file.length().at("measure", path)?;
    let mut buffer = Vec::new();
    let mut copy = None;
    let mut next = position;
    while next < length {
        buffer.clear();
        file.read_into(&mut buffer, COPY_BYTES, next).at("read", path)?;
        if buffer.is_empty() {
            break;
        }
        if copy.is_none() && buffer.iter().any(|byte| *byte != 0) {
            fs.create_dir(side_dir).at("create", side_dir)?;
            let side = side_dir.join(name);
            copy = Some((fs.open(&side, OpenMode::Truncate).at("create", &side)?, side));
        }
        if let Some((copy, side)) = &copy {
            copy.write_at(&[&buffer], next - position).at("write", side)?;
        }
        next += buffer.len() as u64;
    }
    let Some((copy, side)) = copy else { return Ok(None) };
    copy.sync_data().at("sync", &side)?;
    fs.sync_dir(side_dir).at("sync", side_dir)?;
    Ok(Some(side))
}

/// `topic-0.00000000000000000042.1700000000000.log`
pub(super) fn side_file_name(partition: &TopicPartition, offset: Offset, now: TimestampMs) -> String {
    format!("{partition}.{:020}.{now}.log", offset.0)
}
