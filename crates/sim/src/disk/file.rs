//! A file's contents: what programs see, what is on the platter, and the changes between the two.

use super::{Survival, errors::Errors};
use crate::random::Random;

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct FileNode {
    /// What programs read.
    pub(super) data: Vec<u8>,
    /// What is certainly on the disk.
    durable: Vec<u8>,
    /// Turns `durable` into `data`, in order.
    pending: Vec<Change>,
    pub(super) errors: Errors,
}

#[derive(Debug)]
enum Change {
    Write {
        at: usize,
        bytes: Vec<u8>,
    },
    /// Cut off, or grown with zeros.
    Length(usize),
}

impl FileNode {
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.change(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.change(Change::Length(length));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.data);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync failed: of what was written, some is clean from now on, and no later sync writes it, though
    /// programs read it. Lengths are the file system's own; they are not forgotten.
    /// True if there is any.
    pub(super) fn forget_some(&mut self, random: &mut Random) -> bool {
        let before = self.pending.len();
        self.pending.retain(|change| matches!(change, Change::Length(_)) || random.chance(500));
        let has_forgotten = self.pending.len() < before;
        if has_forgotten {
            self.errors.add();
        }
        has_forgotten
    }

    /// Memory was needed for other things: what is clean is read from the disk again, whether or not it is
    /// there.
    pub(super) fn evict(&mut self, random: &mut Random) {
        let mut found = self.durable.clone();
        self.pending.iter().for_each(|change| change.apply(&mut found));
        if random.chance(500) {
            found.resize(found.len().max(self.data.len()), 0);
        }
        self.data = found;
    }

    /// The power goes: `data` becomes what is found afterwards.
    pub(super) fn survive(&mut self, survival: Survival, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let mut found = self.durable.clone();
        match survival {
            Survival::Nothing => {}
            Survival::Everything => pending.iter().for_each(|change| change.apply(&mut found)),
            Survival::Beginning => {
                let count = random.below(pending.len() + 1);
                pending[..count].iter().for_each(|change| change.apply(&mut found));
                // The one after may be there in part.
                if let Some(Change::Write { at, bytes }) = pending.get(count) {
                    let part = random.below(bytes.len() + 1);
                    Change::Write { at: *at, bytes: bytes[..part].to_vec() }.apply(&mut found);
                }
            }
            Survival::AnySectors => found = self.any_sectors(&pending, random),
        }
        self.data.clone_from(&found);
        self.durable = found;
        self.errors = Errors::default();
    }

    fn any_sectors(&self, pending: &[Change], random: &mut Random) -> Vec<u8> {
        let mut lengths = vec![self.durable.len()];
        for change in pending {
            let length = lengths.last().copied().unwrap_or(0);
            lengths.push(change.length_after(length));
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let length = lengths[random.below(lengths.len())];
        let mut found = vec![0; longest.next_multiple_of(SECTOR_BYTES)];
        found[..self.durable.len()].copy_from_slice(&self.durable);
        for (index, sector) in found.chunks_mut(SECTOR_BYTES).enumerate() {
            let start = index * SECTOR_BYTES;
            let touching: Vec<&Change> = pending.iter().filter(|change| change.touches(start)).collect();
            let count = random.below(touching.len() + 1);
            touching[..count].iter().for_each(|change| change.apply_to_sector(sector, start));
        }
        found.resize(length, 0);
        found
    }
}

impl Change {
    fn apply(&self, data: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                data.resize(data.len().max(at + bytes.len()), 0);
                data[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Length(length) => data.resize(*length, 0),
        }
    }

    fn length_after(&self, length: usize) -> usize {
        match self {
            Self::Write { at, bytes } => length.max(at + bytes.len()),
            Self::Length(length) => *length,
        }
    }

    fn touches(&self, start: usize) -> bool {
        match self {
            Self::Write { at, bytes } => *at < start + SECTOR_BYTES && start < at + bytes.len(),
            Self::Length(length) => *length < start + SECTOR_BYTES,
        }
    }

    fn apply_to_sector(&self, sector: &mut [u8], start: usize) {
        match self {
            Self::Write { at, bytes } => {
                let from = (*at).max(start);
                let to = (at + bytes.len()).min(start + sector.len());
                sector[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
            }
            Self::Length(length) => sector[length.saturating_sub(start)..].fill(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survivors(survival: Survival) -> Vec<Vec<u8>> {
        let survivor = |seed| {
            let mut file = FileNode::default();
            file.write(0, &[1; 2_000]);
            file.sync();
            file.write(1_000, &[2; 2_000]);
            file.set_length(2_500);
            file.survive(survival, &mut Random::new(seed));
            file.data
        };
        (0..200).map(survivor).collect()
    }

    #[test]
    fn what_was_synced_survives_and_what_was_not_may() {
        let mut all = vec![1u8; 1_000];
        all.extend([2; 1_500]);
        assert!(survivors(Survival::Nothing).iter().all(|data| *data == [1; 2_000]));
        assert!(survivors(Survival::Everything).iter().all(|data| *data == all));
        for survival in [Survival::Beginning, Survival::AnySectors] {
            let found = survivors(survival);
            assert!(found.iter().all(|data| data[..1_000] == [1; 1_000]), "{survival:?}");
            assert!(found.iter().any(|data| *data != all && *data != [1; 2_000]), "{survival:?}");
        }
    }

    #[test]
    fn a_sync_that_failed_forgets_what_programs_still_read() {
        let forgotten = (0..100).filter(|seed| {
            let mut random = Random::new(*seed);
            let mut file = FileNode::default();
            file.write(0, &[1; 1_000]);
            file.sync();
            file.write(1_000, &[2; 1_000]);
            file.set_length(1_900);
            file.forget_some(&mut random);
            assert_eq!(file.data.len(), 1_900);
            file.sync();
            file.survive(Survival::Nothing, &mut random);
            assert_eq!((file.data.len(), &file.data[..1_000]), (1_900, &[1; 1_000][..]));
            file.data[1_000] == 0
        });
        assert!((20..80).contains(&forgotten.count()));
    }

    #[test]
    fn a_tear_may_leave_a_later_write_without_an_earlier_one() {
        let later_alone = |data: &Vec<u8>| data.len() > 1_536 && data[1_030] == 1 && data[1_537] == 2;
        assert!(survivors(Survival::AnySectors).iter().any(later_alone));
        assert!(!survivors(Survival::Beginning).iter().any(later_alone));
    }
}
