//! A disk in memory that keeps apart what was written and what was synced, so that a test can cut the power:
//! of what was not synced, any part may be there afterwards. It can also run full, or fail; what a failed sync
//! did not write counts as written.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_log::fs::{Dir, DirEntry, File, Fs, Lock, OpenMode, Space};
use parking_lot::Mutex;

/// What a power cut can tear apart.
const BLOCK_BYTES: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    synced_names: BTreeMap<PathBuf, Node>,
    fault: Fault,
    /// Others write much to the same disk.
    busy: bool,
    /// Bytes that may still be written.
    space: Option<usize>,
    syncs: Vec<String>,
    open_files: usize,
    open_files_most: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    data: Vec<u8>,
    synced: Vec<u8>,
    /// For each byte of `data`: the next sync writes it.
    dirty: Vec<bool>,
}

/// What fails from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    Write,
    Sync,
    Read,
    /// No file descriptor is left (EMFILE).
    Open,
}

impl Disk {
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.0.lock().fault = fault;
    }

    /// Only so many bytes more can be written; None is without limit.
    pub(crate) fn set_space(&self, bytes: Option<usize>) {
        self.0.lock().space = bytes;
    }

    pub(crate) fn set_busy(&self, busy: bool) {
        self.0.lock().busy = busy;
    }

    pub(crate) fn files_below(&self, dir: &str) -> Vec<PathBuf> {
        let state = self.0.lock();
        let files = state.names.iter().filter(|(path, node)| path.starts_with(dir) && **node != Node::Dir);
        files.map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        match state.names.get(path)? {
            Node::File(inode) => Some(state.inodes[*inode].data.clone()),
            Node::Dir => None,
        }
    }

    pub(crate) fn set_bytes(&self, path: &Path, data: Vec<u8>) {
        let mut state = self.0.lock();
        match state.names.get(path) {
            Some(Node::File(inode)) => {
                let inode = *inode;
                state.inodes[inode] = Inode::synced(data);
            }
            other => panic!("{} is {other:?}", path.display()),
        }
    }

    pub(crate) fn open_files(&self) -> usize {
        self.0.lock().open_files
    }

    /// As many files as were ever open at once.
    pub(crate) fn open_files_most(&self) -> usize {
        self.0.lock().open_files_most
    }

    /// What has been synced since the last call, in order.
    pub(crate) fn take_syncs(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().syncs)
    }

    /// The disk as it may be after the power went, `choose` deciding what of the unsynced is there.
    pub(crate) fn after_power_cut(&self, mut choose: impl FnMut() -> bool) -> Disk {
        let state = self.0.lock();
        let paths: BTreeSet<&PathBuf> = state.names.keys().chain(state.synced_names.keys()).collect();
        let mut names: BTreeMap<PathBuf, Node> = BTreeMap::new();
        for path in paths {
            let (now, then) = (state.names.get(path), state.synced_names.get(path));
            let found = if now == then || choose() { now } else { then };
            // Names come in order, so a directory that did not survive is known before what is in it.
            let parent =
                path.parent().is_none_or(|parent| parent == Path::new("/") || names.contains_key(parent));
            if let Some(node) = found.filter(|_| parent) {
                names.insert(path.clone(), *node);
            }
        }
        let inodes = state.inodes.iter().map(|inode| inode.after_power_cut(&mut choose)).collect();
        let synced_names = names.clone();
        Disk(Arc::new(Mutex::new(State { inodes, names, synced_names, ..State::default() })))
    }
}

impl Inode {
    fn synced(data: Vec<u8>) -> Self {
        Self { dirty: vec![false; data.len()], synced: data.clone(), data }
    }

    fn set_length(&mut self, length: usize) {
        self.data.resize(length, 0);
        self.dirty.resize(length, true);
    }

    fn write(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        self.set_length(self.data.len().max(end));
        self.data[position..end].copy_from_slice(bytes);
        self.dirty[position..end].fill(true);
    }

    fn sync(&mut self) {
        self.synced.resize(self.data.len(), 0);
        for ((synced, byte), _) in
            self.synced.iter_mut().zip(&self.data).zip(&self.dirty).filter(|(_, dirty)| **dirty)
        {
            *synced = *byte;
        }
        self.dirty.fill(false);
    }

    fn after_power_cut(&self, choose: &mut impl FnMut() -> bool) -> Inode {
        let longest = self.data.len().max(self.synced.len());
        let length = if choose() { self.data.len() } else { self.synced.len() };
        let mut data = Vec::with_capacity(longest);
        for start in (0..longest).step_by(BLOCK_BYTES) {
            let end = (start + BLOCK_BYTES).min(longest);
            let block = |bytes: &[u8]| {
                let mut block =
                    bytes.get(start..end.min(bytes.len()).max(start)).unwrap_or_default().to_vec();
                block.resize(end - start, 0);
                block
            };
            let (now, then) = (block(&self.data), block(&self.synced));
            data.extend(if now == then || choose() { now } else { then });
        }
        data.truncate(length);
        Inode::synced(data)
    }
}

impl State {
    fn check(&self, fault: Fault) -> io::Result<()> {
        // EIO, as the kernel says it.
        if self.fault == fault { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }

    fn check_open(&self) -> io::Result<()> {
        if self.fault == Fault::Open { Err(io::Error::from_raw_os_error(24)) } else { Ok(()) }
    }

    fn check_sync(&mut self, inodes: &[usize]) -> io::Result<()> {
        self.check(Fault::Sync).inspect_err(|_| {
            for inode in inodes {
                self.inodes[*inode].dirty.fill(false);
            }
        })
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Fs for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.0.lock();
        state.check_open()?;
        let inode = match (state.inode(path), mode) {
            (Ok(inode), OpenMode::Truncate) => {
                state.inodes[inode].set_length(0);
                inode
            }
            (Ok(inode), _) => inode,
            (Err(error), OpenMode::Read) => return Err(error),
            (Err(_), _) => {
                let parent = path.parent().unwrap();
                if state.names.get(parent) != Some(&Node::Dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(path.to_owned(), Node::File(inode));
                inode
            }
        };
        state.open_files += 1;
        state.open_files_most = state.open_files_most.max(state.open_files);
        Ok(Arc::new(DiskFile { disk: self.clone(), inode, path: path.to_owned() }))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        let state = self.0.lock();
        state.check_open()?;
        match state.names.get(path) {
            Some(Node::Dir) => Ok(Arc::new(self.clone())),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        for path in path.ancestors().filter(|path| *path != Path::new("/")) {
            state.names.entry(path.to_owned()).or_insert(Node::Dir);
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.0.lock();
        state.check_open()?;
        state.check(Fault::Read)?;
        let children = state.names.iter().filter(|(child, _)| child.parent() == Some(path));
        let entry = |(child, node): (&PathBuf, &Node)| DirEntry {
            name: child.file_name().unwrap().to_str().unwrap().to_owned(),
            is_dir: *node == Node::Dir,
        };
        Ok(children.map(entry).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let moved: Vec<PathBuf> = state.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
        for path in moved {
            let node = state.names.remove(&path).unwrap();
            let rest = path.strip_prefix(from).unwrap();
            let target = if rest == Path::new("") { to.to_owned() } else { to.join(rest) };
            state.names.insert(target, node);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.inode(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.lock().names.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.check_open()?;
        state.check(Fault::Sync)?;
        if path != Path::new("/") && state.names.get(path) != Some(&Node::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.syncs.push(path.display().to_string());
        let now: BTreeMap<PathBuf, Node> = state
            .names
            .iter()
            .filter(|(name, _)| name.parent() == Some(path))
            .map(|(n, d)| (n.clone(), *d))
            .collect();
        state.synced_names.retain(|name, _| name.parent() != Some(path));
        state.synced_names.extend(now);
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let usable = self.0.lock().space.map_or(1 << 40, |bytes| bytes as u64);
        Ok(Space { total_bytes: 1 << 40, usable_bytes: usable, device: 7 })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.open(path, OpenMode::Write)?;
        Ok(Box::new(Unlocked))
    }
}

#[derive(Debug)]
struct Unlocked;

impl Lock for Unlocked {}

impl Dir for Disk {
    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        let all: Vec<usize> = (0..state.inodes.len()).collect();
        state.check_sync(&all)?;
        state.syncs.push("all".to_owned());
        state.synced_names = state.names.clone();
        for inode in &mut state.inodes {
            inode.sync();
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        self.0.lock().busy
    }
}

#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    inode: usize,
    path: PathBuf,
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        self.disk.0.lock().open_files -= 1;
    }
}

impl File for DiskFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, buffer.len(), position)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn read_into(&self, buffer: &mut Vec<u8>, length: usize, position: u64) -> io::Result<()> {
        let state = self.disk.0.lock();
        state.check(Fault::Read)?;
        let data = &state.inodes[self.inode].data;
        let start = (position as usize).min(data.len());
        buffer.extend_from_slice(&data[start..(start + length).min(data.len())]);
        Ok(())
    }

    fn write_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.check(Fault::Write)?;
        let mut position = position as usize;
        for slice in slices {
            let fits = state.space.map_or(slice.len(), |space| space.min(slice.len()));
            state.inodes[self.inode].write(position, &slice[..fits]);
            position += fits;
            state.space = state.space.map(|space| space - fits);
            if fits < slice.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.check_sync(&[self.inode])?;
        state.syncs.push(self.path.display().to_string());
        state.inodes[self.inode].sync();
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.check(Fault::Write)?;
        let length = length as usize;
        let inode = &mut state.inodes[self.inode];
        let freed = inode.data.len().saturating_sub(length);
        inode.set_length(length);
        state.space = state.space.map(|space| space + freed);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().inodes[self.inode].data.len() as u64)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let inode = &mut state.inodes[self.inode];
        let more = (length as usize).saturating_sub(inode.data.len());
        inode.set_length(inode.data.len().max(length as usize));
        if let Some(space) = state.space {
            if more > space {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.space = Some(space - more);
        }
        Ok(())
    }
}
