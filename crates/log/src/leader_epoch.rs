//! Which leader epoch begins at which offset (`LeaderEpochFileCache`, `LeaderEpochCheckpointFile`; KIP-101,
//! KIP-320). Kept in `leader-epoch-checkpoint`, lines of `epoch startOffset`.
//!
//! Invariant: epochs and start offsets both rise. The file may lag behind the log: whatever lies past the
//! recovery point is learnt again from the batches.

use std::path::Path;

use millstream_types::{LeaderEpoch, Offset};

use crate::{
    checkpoint::{read_lines, to_text},
    error::StorageError,
    fs::Fs,
    names::LEADER_EPOCHS,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    pub epoch: LeaderEpoch,
    pub start_offset: Offset,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    entries: Vec<EpochStart>,
    /// The file does not hold `entries` yet.
    changed: bool,
}

impl LeaderEpochs {
    /// None when the file is absent or damaged: then only the log itself knows.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, StorageError> {
        let Some(lines) = read_lines(fs, &dir.join(LEADER_EPOCHS))? else { return Ok(None) };
        let entries =
            lines.and_then(|lines| lines.iter().map(|line| parse_entry(line)).collect::<Result<Vec<_>, _>>());
        match entries {
            Ok(entries)
                if entries.is_sorted_by(|a, b| a.epoch < b.epoch && a.start_offset < b.start_offset) =>
            {
                Ok(Some(Self { entries, changed: false }))
            }
            Ok(_) => Ok(damaged(dir, "its entries do not rise")),
            Err(reason) => Ok(damaged(dir, &reason)),
        }
    }

    /// The file's contents, if they differ from what was last asked for.
    pub(crate) fn take_changed(&mut self) -> Option<String> {
        std::mem::take(&mut self.changed).then(|| {
            to_text(self.entries.iter().map(|entry| format!("{} {}", entry.epoch, entry.start_offset)))
        })
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(crate) fn mark_changed(&mut self) {
        self.changed = true;
    }

    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    pub(crate) fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// From `start_offset` on the log is of `epoch`; entries that this contradicts go.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) {
        match self.entries.last() {
            Some(last) if last.epoch == epoch && last.start_offset <= start_offset => return,
            _ => {}
        }
        self.entries.retain(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        self.entries.push(EpochStart { epoch, start_offset });
        self.changed = true;
    }

    /// The epoch of the record at `offset`.
    pub(crate) fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).map(|index| self.entries[index].epoch)
    }

    /// Where `epoch` ends: the epoch that the answer is about (the asked one, or the largest below it that
    /// wrote something) and the offset after its last record. None for an epoch that is not known yet.
    pub(crate) fn end_offset(
        &self,
        epoch: LeaderEpoch,
        log_end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        if self.latest() == Some(epoch) {
            return Some((epoch, log_end_offset));
        }
        let above = self.entries.partition_point(|entry| entry.epoch <= epoch);
        let end = self.entries.get(above)?.start_offset;
        let answered = above.checked_sub(1).map_or(epoch, |index| self.entries[index].epoch);
        Some((answered, end))
    }

    /// The log now ends at `end_offset`.
    pub(crate) fn truncate_from_end(&mut self, end_offset: Offset) {
        let kept = self.entries.partition_point(|entry| entry.start_offset < end_offset);
        self.changed |= kept < self.entries.len();
        self.entries.truncate(kept);
    }

    /// The log now starts at `start_offset`.
    pub(crate) fn truncate_from_start(&mut self, start_offset: Offset) {
        let below = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(current) = below.checked_sub(1) else { return };
        if current > 0 || self.entries[0].start_offset < start_offset {
            self.entries.drain(..current);
            self.entries[0].start_offset = start_offset;
            self.changed = true;
        }
    }
}

fn damaged(dir: &Path, reason: &str) -> Option<LeaderEpochs> {
    tracing::warn!(dir = %dir.display(), reason, "{LEADER_EPOCHS} is not readable; the log is read instead");
    None
}

fn parse_entry(line: &str) -> Result<EpochStart, String> {
    let entry = || {
        let (epoch, offset) = line.split_once(char::is_whitespace)?;
        let epoch = LeaderEpoch::from_wire(epoch.parse().ok()?)?;
        let start_offset = Offset::from_wire(offset.trim().parse().ok()?)?;
        Some(EpochStart { epoch, start_offset })
    };
    entry().ok_or_else(|| format!("'epoch offset' expected, found {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for &(epoch, offset) in entries {
            epochs.assign(LeaderEpoch(epoch), Offset(offset));
        }
        epochs
    }

    fn raw(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect()
    }

    #[test]
    fn an_epochs_end_is_the_start_of_the_next_or_the_logs_end() {
        let known = epochs(&[(2, 10), (5, 20)]);
        let end = |epoch| known.end_offset(LeaderEpoch(epoch), Offset(33)).map(|(e, o)| (e.0, o.0));
        assert_eq!(end(5), Some((5, 33)));
        assert_eq!(end(2), Some((2, 20)));
        assert_eq!(end(4), Some((2, 20)));
        assert_eq!(end(0), Some((0, 10)));
        assert_eq!(end(6), None);
        assert_eq!(epochs(&[]).end_offset(LeaderEpoch(0), Offset(0)), None);
    }

    #[test]
    fn a_new_epoch_removes_what_contradicts_it() {
        let mut known = epochs(&[(1, 0), (2, 10), (3, 20)]);
        known.assign(LeaderEpoch(3), Offset(25));
        assert_eq!(raw(&known), [(1, 0), (2, 10), (3, 20)]);
        known.assign(LeaderEpoch(4), Offset(10));
        assert_eq!(raw(&known), [(1, 0), (4, 10)]);
    }

    #[test]
    fn cutting_either_end_keeps_the_epoch_of_what_is_left() {
        let mut known = epochs(&[(1, 0), (2, 10), (3, 20)]);
        known.truncate_from_end(Offset(20));
        assert_eq!(raw(&known), [(1, 0), (2, 10)]);
        known.truncate_from_start(Offset(15));
        assert_eq!(raw(&known), [(2, 15)]);
        assert_eq!(known.epoch_of(Offset(15)), Some(LeaderEpoch(2)));
        assert_eq!(known.epoch_of(Offset(14)), None);
        known.truncate_from_start(Offset(3));
        assert_eq!(raw(&known), [(2, 15)]);
    }

    #[test]
    fn the_file_is_kafkas_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LEADER_EPOCHS);
        assert_eq!(LeaderEpochs::read(&RealFs, dir.path()).unwrap(), None);
        let mut known = epochs(&[(0, 0), (7, 12)]);
        let text = known.take_changed().unwrap();
        assert_eq!(text, "0\n2\n0 0\n7 12\n");
        assert_eq!(known.take_changed(), None);
        std::fs::write(&path, text).unwrap();
        assert_eq!(LeaderEpochs::read(&RealFs, dir.path()).unwrap(), Some(known));
        for bad in ["0\n2\n7 12\n0 0\n", "0\n1\nx 0\n", "0\n1\n-1 0\n"] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(LeaderEpochs::read(&RealFs, dir.path()).unwrap(), None, "{bad:?}");
        }
    }
}
