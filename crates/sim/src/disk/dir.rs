//! A directory's names: those that programs see, those on the disk, and the changes between the two.

use std::collections::BTreeMap;

use super::{Inode, Survival};
use crate::random::Random;

#[derive(Debug, Default)]
pub(super) struct DirNode {
    pub(super) entries: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Insert(String, Inode),
    Remove(String),
    Rename(String, String),
}

impl DirNode {
    pub(super) fn insert(&mut self, name: String, inode: Inode) {
        self.change(Change::Insert(name, inode));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.change(Change::Remove(name.to_owned()));
    }

    /// Over whatever has that name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        self.change(Change::Rename(from.to_owned(), to.to_owned()));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.entries);
        self.pending.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// Names change in order, so some first part of the changes is there.
    pub(super) fn survive(&mut self, survival: Survival, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let count = match survival {
            Survival::Nothing => 0,
            Survival::Everything => pending.len(),
            Survival::Beginning | Survival::AnySectors => random.below(pending.len() + 1),
        };
        pending[..count].iter().for_each(|change| change.apply(&mut self.durable));
        self.entries.clone_from(&self.durable);
    }
}

impl Change {
    fn apply(&self, entries: &mut BTreeMap<String, Inode>) {
        match self {
            Self::Insert(name, inode) => drop(entries.insert(name.clone(), *inode)),
            Self::Remove(name) => drop(entries.remove(name)),
            Self::Rename(from, to) => {
                if let Some(inode) = entries.remove(from) {
                    entries.insert(to.clone(), inode);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_is_there_or_not_but_never_half() {
        for seed in 0..100 {
            let mut dir = DirNode::default();
            dir.insert("file".to_owned(), Inode(1));
            dir.sync();
            dir.insert("file.tmp".to_owned(), Inode(2));
            dir.rename("file.tmp", "file");
            dir.survive(Survival::AnySectors, &mut Random::new(seed));
            assert!(matches!(dir.entries.get("file"), Some(Inode(1 | 2))));
        }
    }
}
