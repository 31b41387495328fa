//! A disk in memory that behaves as badly as a disk may: of what was written and not synced, a power cut
//! keeps any part, torn at sectors and out of order; it can fail, run full, and go off in the middle of
//! anything. What it promises is what POSIX and Linux' file systems promise: contents are safe after fsync,
//! names after fsync of their directory, a rename is one step, and names within a directory change on disk
//! in order. An fsync that fails is final: what it did not write counts as clean, is read as before until it
//! is dropped from memory, and is written by no later fsync. Names are journaled: a file system whose journal
//! fails takes no more writes, so there is nothing to forget.

mod dir;
mod errors;
mod file;
mod fs;
mod inodes;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use self::inodes::{Attributes, Inode};
pub use millstream_log::fs::File;
use millstream_log::fs::{Fs, OpenMode};

use self::{dir::DirNode, errors::Errors, file::FileNode};
use crate::random::{Random, mix};

#[derive(Debug, Clone)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: Random,
    inodes: Vec<Node>,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    lies: Lies,
    /// Bytes in use, and how many there are.
    used: u64,
    capacity: u64,
    /// No power: nothing works, and nothing has an effect.
    off: bool,
    /// Every change and sync so far, as one number.
    trace: u64,
    error_happened: bool,
    /// Of all files, for those who sync all.
    errors: Errors,
}

#[derive(Debug)]
enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// What is going to happen, each after so many operations of its kind.
#[derive(Debug, Default)]
struct Faults {
    power_cut: Option<usize>,
    write_error: Option<usize>,
    sync_error: Option<usize>,
    read_error: Option<usize>,
}

/// What the disk says it does and does not: for planting faults that the checks must find.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lies {
    pub(crate) syncs_no_files: bool,
    pub(crate) syncs_no_dirs: bool,
}

/// How a power cut treats what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Survival {
    Nothing,
    Everything,
    /// What was written first, up to some moment.
    Beginning,
    /// Every sector in any of the versions that it has had since the last sync.
    AnySectors,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskError {
    Write,
    Sync,
    Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    /// Changes contents or names.
    Write,
    Sync,
    Read,
}

const UNLIMITED: u64 = 1 << 40;

impl Disk {
    /// An empty disk with these files on it, synced.
    pub(crate) fn new(random: Random, lies: Lies, files: &[(PathBuf, Vec<u8>)]) -> Self {
        let state = State {
            random,
            inodes: vec![Node::Dir(DirNode::default())],
            locks: BTreeSet::new(),
            faults: Faults::default(),
            lies: Lies::default(),
            used: 0,
            capacity: UNLIMITED,
            off: false,
            trace: 0,
            error_happened: false,
            errors: Errors::default(),
        };
        let disk = Self(Arc::new(Mutex::new(state)));
        for (path, contents) in files {
            let written = Fs::create_dir(&disk, path.parent().unwrap_or(Path::new("/")))
                .and_then(|()| Fs::open(&disk, path, OpenMode::Write))
                .and_then(|file| file.write_at(&[contents], 0));
            written.expect("a new disk takes its first files");
        }
        disk.state().sync_all();
        disk.state().lies = lies;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0)
    }

    /// The power goes after so many more operations.
    pub fn arm_power_cut(&self, operations: usize) {
        self.state().faults.power_cut = Some(operations);
    }

    /// The operation of this kind after so many more fails with EIO.
    pub fn arm_error(&self, error: DiskError, operations: usize) {
        let mut state = self.state();
        match error {
            DiskError::Write => state.faults.write_error = Some(operations),
            DiskError::Sync => state.faults.sync_error = Some(operations),
            DiskError::Read => state.faults.read_error = Some(operations),
        }
    }

    /// Who does not know yet what failed so far is not told any more.
    pub fn settle_errors(&self) {
        let mut state = self.state();
        state.errors.settle();
        for node in &mut state.inodes {
            if let Node::File(file) = node {
                file.errors.settle();
            }
        }
    }

    pub fn disarm(&self) {
        let mut state = self.state();
        state.faults = Faults::default();
        state.error_happened = false;
    }

    /// Whether an EIO that was armed, or is told late, has been returned since [`Disk::disarm`].
    pub(crate) fn error_happened(&self) -> bool {
        self.state().error_happened
    }

    /// Leaves so many bytes free; `None` is enough for everything.
    pub fn set_free(&self, bytes: Option<u64>) {
        let mut state = self.state();
        state.capacity = bytes.map_or(UNLIMITED, |bytes| state.used + bytes);
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.state().capacity != UNLIMITED
    }

    pub fn is_off(&self) -> bool {
        self.state().off
    }

    /// The power goes, if it has not, and comes back.
    pub fn power_cut(&self) {
        let mut state = self.state();
        let mut random = state.random.fork();
        for node in &mut state.inodes {
            let survival = match random.below(8) {
                0 | 1 => Survival::Nothing,
                2 => Survival::Everything,
                3 | 4 => Survival::Beginning,
                _ => Survival::AnySectors,
            };
            match node {
                Node::File(file) => file.survive(survival, &mut random),
                Node::Dir(dir) => dir.survive(survival, &mut random),
            }
        }
        state.off = false;
        state.locks.clear();
        state.faults = Faults::default();
        state.error_happened = false;
        state.errors = Errors::default();
        state.count_used();
    }

    /// A process died and the system goes on: some files' clean pages are dropped.
    pub fn evict_some(&self) {
        let State { random, inodes, used, .. } = &mut *self.state();
        for node in inodes {
            if let Node::File(file) = node
                && random.chance(300)
            {
                *used = used.saturating_sub(file.data.len() as u64);
                file.evict(random);
                *used += file.data.len() as u64;
            }
        }
    }

    /// One number for everything that has happened to this disk.
    pub(crate) fn trace(&self) -> u64 {
        self.state().trace
    }
}

impl State {
    /// Counts one operation; an error if it is not to happen. `Ok(true)`: it happens, but as the last one
    /// before the power goes, so that its caller never learns of it.
    fn begin(&mut self, operation: Operation, name: &str) -> io::Result<bool> {
        if self.off {
            return Err(no_power());
        }
        let hash = name.bytes().fold(operation as u64, |hash, byte| mix(hash ^ u64::from(byte)));
        self.trace = mix(self.trace ^ hash);
        let last = operation != Operation::Read && counted_down(&mut self.faults.power_cut);
        let fault = match operation {
            Operation::Write => &mut self.faults.write_error,
            Operation::Sync => &mut self.faults.sync_error,
            Operation::Read => &mut self.faults.read_error,
        };
        if counted_down(fault) {
            self.error_happened = true;
            return Err(input_output_error());
        }
        self.off = last;
        Ok(last)
    }

    fn node(&self, inode: Inode) -> io::Result<&Node> {
        self.inodes.get(inode.0).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn child(&self, parent: Inode, name: &str) -> io::Result<Inode> {
        self.dir(parent)?.entries.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn dir(&self, inode: Inode) -> io::Result<&DirNode> {
        match self.node(inode)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn dir_mut(&mut self, inode: Inode) -> io::Result<&mut DirNode> {
        match self.inodes.get_mut(inode.0) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&self, inode: Inode) -> io::Result<&FileNode> {
        match self.node(inode)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn file_mut(&mut self, inode: Inode) -> io::Result<&mut FileNode> {
        match self.inodes.get_mut(inode.0) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn add(&mut self, parent: Inode, name: &str, node: Node) -> io::Result<Inode> {
        let inode = Inode(self.inodes.len());
        self.dir_mut(parent)?.insert(name.to_owned(), inode);
        self.inodes.push(node);
        Ok(inode)
    }

    fn sync_all(&mut self) {
        let lies = self.lies;
        for node in &mut self.inodes {
            match node {
                Node::File(file) if !lies.syncs_no_files => file.sync(),
                Node::Dir(dir) if !lies.syncs_no_dirs => dir.sync(),
                _ => {}
            }
        }
    }

    /// Of a write that failed earlier.
    fn late_error(&mut self) -> io::Error {
        self.error_happened = true;
        input_output_error()
    }

    /// A sync of this file, or of all, has failed.
    fn forget_some(&mut self, inode: Option<Inode>) {
        for (index, node) in self.inodes.iter_mut().enumerate() {
            if let Node::File(file) = node
                && inode.is_none_or(|inode| inode == Inode(index))
                && file.forget_some(&mut self.random)
            {
                self.errors.add();
            }
        }
    }

    fn count_used(&mut self) {
        let length = |node: &Node| match node {
            Node::File(file) => file.data.len() as u64,
            Node::Dir(_) => 0,
        };
        self.used = self.inodes.iter().map(length).sum();
    }
}

/// True when the moment has come; it comes once.
fn counted_down(counter: &mut Option<usize>) -> bool {
    match counter {
        Some(0) => {
            *counter = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

/// A panic elsewhere is reported by itself; the disk is still what it was.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// EIO, as the kernel says it.
fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}
