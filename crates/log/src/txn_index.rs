//! The aborted transactions of a segment (`TransactionIndex`, `AbortedTxn`): entries of 34 bytes, in the
//! order of their abort markers. Readers of committed records are told of those that overlap what they read.

use std::{path::PathBuf, sync::Arc};

use millstream_types::{Offset, ProducerId};
use parking_lot::RwLock;

use crate::{
    error::{At, StorageError},
    fs::{File, Fs, OpenMode, read_file, remove_if_there},
};

const ENTRY_BYTES: usize = 34;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
    /// The offset of the abort marker.
    pub last_offset: Offset,
    /// Where the log became stable by this abort: no transaction found later can begin before it.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let numbers =
            [self.producer_id.0, self.first_offset.0, self.last_offset.0, self.last_stable_offset.0];
        for (slot, number) in bytes[2..].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk::<2>()?;
        let mut numbers =
            rest.chunks_exact(8).map(|chunk| chunk.first_chunk().map(|n| i64::from_be_bytes(*n)));
        let mut next = || numbers.next().flatten();
        let entry = Self {
            producer_id: ProducerId(next()?),
            first_offset: Offset(next()?),
            last_offset: Offset(next()?),
            last_stable_offset: Offset(next()?),
        };
        (i16::from_be_bytes(*version) == 0).then_some(entry)
    }
}

#[derive(Debug)]
pub(crate) struct TxnIndex {
    path: PathBuf,
    entries: RwLock<Vec<AbortedTxn>>,
}

impl TxnIndex {
    pub(crate) fn empty(path: PathBuf) -> Self {
        Self { path, entries: RwLock::default() }
    }

    /// A file that is absent means that nothing was aborted. None when its contents cannot be right.
    pub(crate) fn open(fs: &dyn Fs, base: Offset, path: PathBuf) -> Result<Option<Self>, StorageError> {
        let bytes = read_file(fs, &path).at("read", &path)?.unwrap_or_default();
        let entries: Option<Vec<_>> = bytes.chunks(ENTRY_BYTES).map(AbortedTxn::decode).collect();
        let sane = |entries: &[AbortedTxn]| {
            entries.is_sorted_by_key(|entry| entry.last_offset)
                && entries.iter().all(|e| e.last_offset >= base && e.first_offset <= e.last_offset)
        };
        let entries = entries.filter(|entries| bytes.len() % ENTRY_BYTES == 0 && sane(entries));
        Ok(entries.map(|entries| Self { path, entries: RwLock::new(entries) }))
    }

    /// Adds an entry and writes it; the file still has to be synced.
    pub(crate) fn append(&self, fs: &dyn Fs, entry: AbortedTxn) -> Result<Arc<dyn File>, StorageError> {
        let mut entries = self.entries.write();
        let file = fs.open(&self.path, OpenMode::Write).at("open", &self.path)?;
        file.write_at(&[&entry.encode()], (entries.len() * ENTRY_BYTES) as u64).at("write", &self.path)?;
        entries.push(entry);
        Ok(file)
    }

    /// The file as a killed process may have left it, to be synced; None if nothing was aborted.
    pub(crate) fn open_to_sync(&self, fs: &dyn Fs) -> Result<Option<Arc<dyn File>>, StorageError> {
        if self.entries.read().is_empty() {
            return Ok(None);
        }
        fs.open(&self.path, OpenMode::Write).map(Some).at("open", &self.path)
    }

    /// Drops entries from the first whose marker is at or after `offset`.
    pub(crate) fn truncate(&self, fs: &dyn Fs, offset: Offset) -> Result<(), StorageError> {
        let mut entries = self.entries.write();
        let kept = entries.partition_point(|entry| entry.last_offset < offset);
        if kept == entries.len() {
            return Ok(());
        }
        entries.truncate(kept);
        if kept == 0 {
            return remove_if_there(fs, &self.path).at("remove", &self.path);
        }
        let file = fs.open(&self.path, OpenMode::Write).at("open", &self.path)?;
        file.truncate((kept * ENTRY_BYTES) as u64).at("truncate", &self.path)
    }

    /// Adds to `found` the transactions that have records in `[first, end)`. True when no later segment can
    /// hold another such transaction.
    pub(crate) fn collect(&self, first: Offset, end: Offset, found: &mut Vec<AbortedTxn>) -> bool {
        for entry in &*self.entries.read() {
            if entry.last_offset >= first && entry.first_offset < end {
                found.push(*entry);
            }
            if entry.last_stable_offset >= end {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    fn aborted(producer_id: i64, first: i64, last: i64, stable: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(producer_id),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(stable),
        }
    }

    #[test]
    fn only_overlapping_transactions_are_collected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("00000000000000000000.txnindex");
        let index = TxnIndex::empty(path.clone());
        let entries = [aborted(1, 0, 10, 11), aborted(2, 5, 20, 21), aborted(3, 30, 40, 41)];
        for entry in entries {
            index.append(&RealFs, entry).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 102);
        let again = TxnIndex::open(&RealFs, Offset(0), path.clone()).unwrap().unwrap();
        let mut found = Vec::new();
        assert!(again.collect(Offset(12), Offset(21), &mut found));
        assert_eq!(found, [entries[1]]);
        found.clear();
        assert!(!again.collect(Offset(21), Offset(50), &mut found));
        assert_eq!(found, [entries[2]]);
        again.truncate(&RealFs, Offset(20)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 34);
        again.truncate(&RealFs, Offset(0)).unwrap();
        assert!(!path.exists() && again.entries.read().is_empty());
    }

    #[test]
    fn a_damaged_index_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for bad in [
            vec![0; 33],
            vec![0xff; 34],
            [aborted(1, 5, 4, 9).encode(), aborted(1, 0, 2, 3).encode()].concat(),
        ] {
            std::fs::write(&path, &bad).unwrap();
            assert!(TxnIndex::open(&RealFs, Offset(0), path.clone()).unwrap().is_none());
        }
    }
}
