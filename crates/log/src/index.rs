//! The sparse indexes of a segment, from offset to file position and from timestamp to offset
//! (`OffsetIndex`, `TimeIndex`). Neither has a checksum: an answer is a hint that the reader verifies
//! against the batch it leads to, and a whole index can be built again from its segment.
//!
//! Entries are added in memory and written out at roll, checkpoint and close; a lookup reads single entries
//! from the file, so an index costs no memory once it is written.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_types::{Offset, TimestampMs};
use parking_lot::RwLock;

use crate::{
    error::{At, StorageError},
    fs::{File, Fs, OpenMode},
};

/// A fixed-size entry; those of one index rise.
pub(crate) trait Entry: Copy + PartialEq + std::fmt::Debug {
    const BYTES: usize;
    fn encode(self, base: Offset, out: &mut Vec<u8>);
    fn decode(base: Offset, bytes: &[u8]) -> Self;
    /// Whether `self` may follow `previous`.
    fn follows(self, previous: Self) -> bool;
}

/// The batch whose last offset is `last_offset` begins at `position`. 8 bytes: relative offset, position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) last_offset: Offset,
    pub(crate) position: u64,
}

/// Records later than `timestamp` come after `offset`. 12 bytes: timestamp, relative offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: TimestampMs,
    pub(crate) offset: Offset,
}

fn relative(offset: Offset, base: Offset) -> [u8; 4] {
    let relative =
        i32::try_from(offset.since(base)).expect("a segment is rolled before its offsets exceed 31 bits");
    relative.to_be_bytes()
}

fn absolute(base: Offset, bytes: &[u8]) -> Offset {
    let bytes = *bytes.first_chunk().expect("an entry has four bytes for its offset");
    base.plus(i64::from(i32::from_be_bytes(bytes)))
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn encode(self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&relative(self.last_offset, base));
        let position = u32::try_from(self.position).expect("a segment is at most 2 GiB");
        out.extend_from_slice(&position.to_be_bytes());
    }

    fn decode(base: Offset, bytes: &[u8]) -> Self {
        let position = *bytes[4..].first_chunk().expect("an entry has four bytes for its position");
        Self { last_offset: absolute(base, bytes), position: u64::from(u32::from_be_bytes(position)) }
    }

    fn follows(self, previous: Self) -> bool {
        self.last_offset > previous.last_offset && self.position > previous.position
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn encode(self, base: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        out.extend_from_slice(&relative(self.offset, base));
    }

    fn decode(base: Offset, bytes: &[u8]) -> Self {
        let timestamp = *bytes.first_chunk().expect("an entry has eight bytes for its timestamp");
        Self { timestamp: TimestampMs(i64::from_be_bytes(timestamp)), offset: absolute(base, &bytes[8..]) }
    }

    fn follows(self, previous: Self) -> bool {
        self.timestamp > previous.timestamp && self.offset >= previous.offset
    }
}

/// How much of an index is looked at when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Size and last entry: the file was synced before the recovery point passed it.
    Last,
    All,
}

#[derive(Debug)]
pub(crate) struct SparseIndex<E> {
    base: Offset,
    path: PathBuf,
    state: RwLock<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    /// Entries in the file.
    stored: usize,
    /// Entries not yet in the file.
    tail: Vec<E>,
    last: Option<E>,
    /// Whether there is a file at all.
    exists: bool,
}

impl<E: Entry> SparseIndex<E> {
    /// An index without entries; a file that is there is emptied by the next [`SparseIndex::write_out`].
    pub(crate) fn empty(base: Offset, path: PathBuf) -> Self {
        let state = State { stored: 0, tail: Vec::new(), last: None, exists: false };
        Self { base, path, state: RwLock::new(state) }
    }

    /// Opens the file and looks whether it can be an index of this segment: `fits` holds for the last entry
    /// and, if asked, its entries rise throughout. None when the file is absent or cannot be one.
    pub(crate) fn open(
        fs: &dyn Fs,
        base: Offset,
        path: PathBuf,
        check: Check,
        fits: impl Fn(E) -> bool,
    ) -> Result<Option<Self>, StorageError> {
        let file = match fs.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.at("open", &path)?,
        };
        let length = file.length().at("measure", &path)?;
        let stored = usize::try_from(length).unwrap_or(usize::MAX) / E::BYTES;
        let whole = length % E::BYTES as u64 == 0;
        if !whole || (check == Check::All && !rises::<E>(&*file, base, stored).at("read", &path)?) {
            return Ok(None);
        }
        let state = State { stored, tail: Vec::new(), last: None, exists: true };
        let mut index = Self { base, path, state: RwLock::new(state) };
        if let Some(last) = stored.checked_sub(1) {
            let last = index.read_entry(&file, last)?;
            if !fits(last) {
                return Ok(None);
            }
            index.state.get_mut().last = Some(last);
        }
        Ok(Some(index))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn count(&self) -> usize {
        let state = self.state.read();
        state.stored + state.tail.len()
    }

    pub(crate) fn last(&self) -> Option<E> {
        self.state.read().last
    }

    /// Adds an entry if it may follow the last.
    pub(crate) fn push(&self, entry: E) {
        let mut state = self.state.write();
        if state.last.is_none_or(|last| entry.follows(last)) {
            state.tail.push(entry);
            state.last = Some(entry);
        }
    }

    /// The last entry for which `holds`, which must hold for a prefix of the entries.
    pub(crate) fn last_where(
        &self,
        fs: &dyn Fs,
        holds: impl Fn(E) -> bool,
    ) -> Result<Option<E>, StorageError> {
        let state = self.state.read();
        let in_tail = state.tail.partition_point(|entry| holds(*entry));
        if let Some(index) = in_tail.checked_sub(1) {
            return Ok(Some(state.tail[index]));
        }
        if state.stored == 0 {
            return Ok(None);
        }
        if state.tail.is_empty() && state.last.is_some_and(&holds) {
            return Ok(state.last);
        }
        let file = fs.open(&self.path, OpenMode::Read).at("open", &self.path)?;
        let (mut low, mut high, mut found) = (0, state.stored, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.read_entry(&file, middle)?;
            if holds(entry) {
                found = Some(entry);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }

    fn read_entry(&self, file: &Arc<dyn File>, index: usize) -> Result<E, StorageError> {
        let mut bytes = [0; 16];
        let bytes = &mut bytes[..E::BYTES];
        let count = file.read_at(bytes, (index * E::BYTES) as u64).at("read", &self.path)?;
        if count < E::BYTES {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).at("read", &self.path);
        }
        Ok(E::decode(self.base, bytes))
    }

    /// Brings the file up to date, creating it if need be; returns it if it was written to, unsynced.
    pub(crate) fn write_out(&self, fs: &dyn Fs) -> Result<Option<Arc<dyn File>>, StorageError> {
        let mut state = self.state.write();
        if state.exists && state.tail.is_empty() {
            return Ok(None);
        }
        let mode = if state.exists { OpenMode::Write } else { OpenMode::Truncate };
        let file = fs.open(&self.path, mode).at("open", &self.path)?;
        state.exists = true;
        let mut bytes = Vec::with_capacity(state.tail.len() * E::BYTES);
        for entry in &state.tail {
            entry.encode(self.base, &mut bytes);
        }
        file.write_at(&[&bytes], (state.stored * E::BYTES) as u64).at("write", &self.path)?;
        state.stored += state.tail.len();
        state.tail = Vec::new();
        Ok(Some(file))
    }

    /// Keeps the entries for which `keep` holds, a prefix; the file is shortened at once.
    pub(crate) fn truncate(&self, fs: &dyn Fs, keep: impl Fn(E) -> bool) -> Result<(), StorageError> {
        self.write_out(fs)?;
        let last = self.last_where(fs, &keep)?;
        let mut state = self.state.write();
        let file = fs.open(&self.path, OpenMode::Write).at("open", &self.path)?;
        let (mut low, mut high) = (0, state.stored);
        while low < high {
            let middle = low + (high - low) / 2;
            if keep(self.read_entry(&file, middle)?) { low = middle + 1 } else { high = middle }
        }
        file.truncate((low * E::BYTES) as u64).at("truncate", &self.path)?;
        state.stored = low;
        state.last = last;
        Ok(())
    }
}

fn rises<E: Entry>(file: &dyn File, base: Offset, count: usize) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.read_into(&mut bytes, count * E::BYTES, 0)?;
    let entries = bytes.chunks_exact(E::BYTES).map(|chunk| E::decode(base, chunk));
    Ok(entries.clone().zip(entries.skip(1)).all(|(previous, entry)| entry.follows(previous)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    fn entry(last_offset: i64, position: u64) -> OffsetEntry {
        OffsetEntry { last_offset: Offset(last_offset), position }
    }

    fn at_most(offset: i64) -> impl Fn(OffsetEntry) -> bool {
        move |entry| entry.last_offset <= Offset(offset)
    }

    #[test]
    fn a_lookup_finds_the_last_entry_at_or_before_in_file_and_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let index = SparseIndex::empty(Offset(100), path.clone());
        for n in 1..=50 {
            index.push(entry(100 + n * 10, n as u64 * 1000));
            if n == 30 {
                index.write_out(&RealFs).unwrap();
            }
        }
        for offset in 100..=700 {
            let n = ((offset - 100) / 10).min(50);
            let expected = (n > 0).then(|| entry(100 + n * 10, n as u64 * 1000));
            assert_eq!(index.last_where(&RealFs, at_most(offset)).unwrap(), expected, "{offset}");
        }
        index.write_out(&RealFs).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len(), 400);
        let again = SparseIndex::<OffsetEntry>::open(&RealFs, Offset(100), path, Check::All, |_| true)
            .unwrap()
            .unwrap();
        assert_eq!(again.last_where(&RealFs, at_most(255)).unwrap(), Some(entry(250, 15000)));
        again.truncate(&RealFs, at_most(255)).unwrap();
        assert_eq!((again.count(), again.last()), (15, Some(entry(250, 15000))));
    }

    #[test]
    fn a_file_that_cannot_be_an_index_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i");
        let fits = |entry: OffsetEntry| entry.position < 99;
        let open = || SparseIndex::open(&RealFs, Offset(0), path.clone(), Check::All, fits).unwrap();
        assert!(open().is_none());
        let write = |entries: &[(i32, u32)], extra: usize| {
            let mut bytes = Vec::new();
            for (offset, position) in entries {
                bytes.extend_from_slice(&offset.to_be_bytes());
                bytes.extend_from_slice(&position.to_be_bytes());
            }
            bytes.extend(vec![0; extra]);
            std::fs::write(&path, bytes).unwrap();
        };
        write(&[(1, 10), (2, 20)], 0);
        assert!(open().is_some());
        write(&[(1, 10), (2, 20)], 3);
        assert!(open().is_none());
        write(&[(1, 10), (2, 20)], 8);
        assert!(open().is_none(), "a zero tail, as a killed Kafka leaves it");
        write(&[(1, 10), (2, 5)], 0);
        assert!(open().is_none());
        write(&[(1, 10), (2, 100)], 0);
        assert!(open().is_none());
    }
}
