//! The disk as the log's file trait.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use millstream_log::fs::{Dir, DirEntry, File, Fs, Lock, OpenMode, Space};

use super::{Disk, Inode, Node, Operation, State, errors::Told, file::FileNode, locked, no_power};

impl Fs for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        let inode = match (state.find(path), mode) {
            (Ok(inode), OpenMode::Truncate) => {
                let cut = state.begin(Operation::Write, path)?;
                state.set_length(inode, 0)?;
                unless_cut(cut, inode)?
            }
            (Ok(inode), OpenMode::Read | OpenMode::Write) => {
                state.begin(Operation::Read, path)?;
                inode
            }
            (Err(error), OpenMode::Read) => return Err(error),
            (Err(_), OpenMode::Write | OpenMode::Truncate) => {
                let cut = state.begin(Operation::Write, path)?;
                let (parent, name) = state.place(path)?;
                let inode = state.add(parent, name, Node::File(FileNode::default()))?;
                unless_cut(cut, inode)?
            }
        };
        state.file(inode)?;
        let told = Mutex::new(state.file(inode)?.errors.open());
        Ok(Arc::new(OpenFile { disk: self.clone(), inode, path: path.to_owned(), told }))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        let state = self.state();
        state.dir(state.find(path)?)?;
        Ok(Arc::new(OpenDir { disk: self.clone(), told: Mutex::new(state.errors.open()) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.find(path).is_ok() {
            return Ok(());
        }
        let cut = state.begin(Operation::Write, path)?;
        state.make_dirs(path)?;
        unless_cut(cut, ())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut state = self.state();
        state.begin(Operation::Read, path)?;
        let dir = state.dir(state.find(path)?)?;
        let entry = |(name, inode): (&String, &Inode)| DirEntry {
            name: name.clone(),
            is_dir: matches!(state.inodes[*inode], Node::Dir(_)),
        };
        Ok(dir.entries.iter().map(entry).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.begin(Operation::Write, from)?;
        state.find(from)?;
        let ((parent, from), (to_parent, to)) = (state.place(from)?, state.place(to)?);
        if parent != to_parent {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        state.dir_mut(parent)?.rename(&from, &to);
        unless_cut(cut, ())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.begin(Operation::Write, path)?;
        let inode = state.find(path)?;
        let length = state.file(inode)?.data.len() as u64;
        let (parent, name) = state.place(path)?;
        state.dir_mut(parent)?.remove(&name);
        // Its space is free for others, whoever still has it open.
        state.used = state.used.saturating_sub(length);
        unless_cut(cut, ())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.begin(Operation::Write, path)?;
        let inode = state.find(path)?;
        state.dir(inode)?;
        let (parent, name) = state.place(path)?;
        state.dir_mut(parent)?.remove(&name);
        unless_cut(cut, ())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let cut = state.begin(Operation::Sync, path)?;
        let inode = state.find(path)?;
        if !state.lies.syncs_no_dirs {
            state.dir_mut(inode)?.sync();
        }
        unless_cut(cut, ())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state();
        let usable_bytes = state.capacity.saturating_sub(state.used);
        Ok(Space { total_bytes: state.capacity, usable_bytes, device: 1 })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.open(path, OpenMode::Write)?;
        if !self.state().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Held { disk: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct Held {
    disk: Disk,
    path: PathBuf,
}

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct OpenDir {
    disk: Disk,
    told: Mutex<Told>,
}

impl Dir for OpenDir {
    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let begun = state.begin(Operation::Sync, Path::new("all"));
        if begun.is_err() && !state.off {
            state.forget_some(None);
        }
        let has_failed = state.errors.tell(&mut locked(&self.told));
        let cut = begun?;
        if has_failed {
            return Err(state.late_error());
        }
        state.sync_all();
        unless_cut(cut, ())
    }
}

#[derive(Debug)]
struct OpenFile {
    disk: Disk,
    inode: Inode,
    path: PathBuf,
    told: Mutex<Told>,
}

impl File for OpenFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.read_into(&mut bytes, buffer.len(), position)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn read_into(&self, buffer: &mut Vec<u8>, length: usize, position: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin(Operation::Read, &self.path)?;
        let data = &state.file(self.inode)?.data;
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(data.len());
        let end = start.saturating_add(length).min(data.len());
        buffer.extend_from_slice(&data[start..end]);
        Ok(())
    }

    fn write_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let bytes = slices.concat();
        let at = usize::try_from(position).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let begun = state.begin(Operation::Write, &self.path);
        let wanted = match begun {
            Ok(_) => bytes.len(),
            // A write that fails may have written some of it.
            Err(_) if !state.off => state.random.below(bytes.len() + 1),
            Err(_) => 0,
        };
        let length = state.file(self.inode)?.data.len();
        let free = state.capacity.saturating_sub(state.used);
        let fits = usize::try_from(free).unwrap_or(usize::MAX).saturating_add(length.saturating_sub(at));
        let written = wanted.min(fits);
        if written > 0 {
            let file = state.file_mut(self.inode)?;
            file.write(at, &bytes[..written]);
            let grown = file.data.len() - length;
            state.used += grown as u64;
        }
        unless_cut(begun?, ())?;
        if written < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let begun = state.begin(Operation::Sync, &self.path);
        if begun.is_err() && !state.off {
            state.forget_some(Some(self.inode));
        }
        let has_failed = state.file_mut(self.inode)?.errors.tell(&mut locked(&self.told));
        let cut = begun?;
        if has_failed {
            return Err(state.late_error());
        }
        if !state.lies.syncs_no_files {
            state.file_mut(self.inode)?.sync();
        }
        unless_cut(cut, ())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let cut = state.begin(Operation::Write, &self.path)?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        state.set_length(self.inode, length)?;
        unless_cut(cut, ())
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.state();
        if state.off {
            return Err(no_power());
        }
        Ok(state.file(self.inode)?.data.len() as u64)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let cut = state.begin(Operation::Write, &self.path)?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let now = state.file(self.inode)?.data.len();
        if length.saturating_sub(now) as u64 > state.capacity.saturating_sub(state.used) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.set_length(self.inode, now.max(length))?;
        unless_cut(cut, ())
    }
}

impl State {
    fn set_length(&mut self, inode: Inode, length: usize) -> io::Result<()> {
        let file = self.file_mut(inode)?;
        let before = file.data.len() as u64;
        file.set_length(length);
        self.used = self.used.saturating_sub(before) + length as u64;
        Ok(())
    }
}

/// An operation that happened just before the power went has an effect, but nobody hears of it.
fn unless_cut<T>(cut: bool, done: T) -> io::Result<T> {
    if cut { Err(no_power()) } else { Ok(done) }
}
