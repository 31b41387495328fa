//! The disk by inodes and names within directories: what a kernel asks a file system for.

use std::{
    io,
    sync::{Arc, Mutex},
};

use millstream_log::fs::File;

use super::{Disk, Node, Operation, dir::DirNode, file::FileNode, fs::OpenFile, no_power};
use crate::random::Random;

/// Where a file or directory stands in `State::inodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode(pub(super) usize);

impl Inode {
    pub const ROOT: Self = Self(0);

    /// From 1 on, as FUSE numbers them; the root is 1.
    pub fn number(self) -> u64 {
        self.0 as u64 + 1
    }

    pub fn from_number(number: u64) -> Self {
        Self(usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub is_dir: bool,
    /// 0 of a directory.
    pub length: u64,
}

impl Disk {
    /// An empty disk whose power cuts depend on the seed.
    pub fn empty(seed: u64) -> Self {
        Self::new(Random::new(seed), Default::default(), &[])
    }

    pub fn attributes(&self, inode: Inode) -> io::Result<Attributes> {
        Ok(match self.state().node(inode)? {
            Node::File(file) => Attributes { is_dir: false, length: file.data.len() as u64 },
            Node::Dir(_) => Attributes { is_dir: true, length: 0 },
        })
    }

    pub fn look_up(&self, parent: Inode, name: &str) -> io::Result<Inode> {
        self.state().child(parent, name)
    }

    /// By name.
    pub fn entries(&self, dir: Inode) -> io::Result<Vec<(String, Inode)>> {
        let mut state = self.state();
        state.begin(Operation::Read, "")?;
        let entries = &state.dir(dir)?.entries;
        Ok(entries.iter().map(|(name, inode)| (name.clone(), *inode)).collect())
    }

    pub fn create_file_in(&self, parent: Inode, name: &str) -> io::Result<Inode> {
        self.create_in(parent, name, Node::File(FileNode::default()))
    }

    pub fn create_dir_in(&self, parent: Inode, name: &str) -> io::Result<Inode> {
        self.create_in(parent, name, Node::Dir(DirNode::default()))
    }

    fn create_in(&self, parent: Inode, name: &str, node: Node) -> io::Result<Inode> {
        let mut state = self.state();
        let cut = state.begin(Operation::Write, name)?;
        let inode = state.add(parent, name, node)?;
        unless_cut(cut, inode)
    }

    /// A handle, which learns of what fails from now on.
    pub fn open_file(&self, inode: Inode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.begin(Operation::Read, "")?;
        let told = Mutex::new(state.file(inode)?.errors.open());
        Ok(Arc::new(OpenFile { disk: self.clone(), inode, told }))
    }

    /// A file, or a directory with nothing in it.
    pub fn remove_from(&self, parent: Inode, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.begin(Operation::Write, name)?;
        let inode = state.child(parent, name)?;
        match state.node(inode)? {
            Node::Dir(dir) if !dir.entries.is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            Node::Dir(_) => {}
            // Its space is free for others, whoever still has it open.
            Node::File(file) => state.used = state.used.saturating_sub(file.data.len() as u64),
        }
        state.dir_mut(parent)?.remove(name);
        unless_cut(cut, ())
    }

    /// Within one directory, over whatever has that name.
    pub fn rename_in(&self, parent: Inode, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.begin(Operation::Write, from)?;
        state.child(parent, from)?;
        if let Ok(over) = state.child(parent, to)
            && let Node::File(file) = state.node(over)?
        {
            state.used = state.used.saturating_sub(file.data.len() as u64);
        }
        state.dir_mut(parent)?.rename(from, to);
        unless_cut(cut, ())
    }

    /// Makes the names in a directory durable.
    pub fn sync_names(&self, dir: Inode) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.begin(Operation::Sync, "")?;
        if !state.lies.syncs_no_dirs {
            state.dir_mut(dir)?.sync();
        }
        unless_cut(cut, ())
    }

    /// All bytes that the disk has, and those that are free.
    pub fn space(&self) -> (u64, u64) {
        let state = self.state();
        (state.capacity, state.capacity.saturating_sub(state.used))
    }
}

/// An operation that happened just before the power went has an effect, but nobody hears of it.
pub(super) fn unless_cut<T>(cut: bool, done: T) -> io::Result<T> {
    if cut { Err(no_power()) } else { Ok(done) }
}
