//! The disk by paths, and open files: the log's file trait.

use std::{
    io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex},
};

use millstream_log::fs::{Dir, DirEntry, File, Fs, Lock, OpenMode, Space};

use super::{
    Disk, Operation, State,
    errors::Told,
    inodes::{Inode, unless_cut},
    locked, no_power,
};

impl Disk {
    fn find(&self, path: &Path) -> io::Result<Inode> {
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_str().ok_or(io::ErrorKind::InvalidInput)),
            _ => None,
        });
        let mut found = Inode::ROOT;
        for name in names {
            found = self.look_up(found, name?)?;
        }
        Ok(found)
    }

    /// The directory that holds `path`, and the last part of the name.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(Inode, &'a str)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name))
    }
}

impl Fs for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let found = self.find(path);
        match (found, mode) {
            (Ok(inode), OpenMode::Truncate) => {
                let file = self.open_file(inode)?;
                file.truncate(0)?;
                Ok(file)
            }
            (Ok(inode), OpenMode::Read | OpenMode::Write) => self.open_file(inode),
            (Err(error), OpenMode::Read) => Err(error),
            (Err(_), OpenMode::Write | OpenMode::Truncate) => {
                let (parent, name) = self.place(path)?;
                let inode = self.create_file_in(parent, name)?;
                self.open_file(inode)
            }
        }
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        let inode = self.find(path)?;
        let state = self.state();
        state.dir(inode)?;
        Ok(Arc::new(OpenDir { disk: self.clone(), told: Mutex::new(state.errors.open()) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if self.find(path).is_ok() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            Fs::create_dir(self, above)?;
        }
        let (parent, name) = self.place(path)?;
        self.create_dir_in(parent, name).map(drop)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = self.entries(self.find(path)?)?;
        let entry = |(name, inode)| Ok(DirEntry { name, is_dir: self.attributes(inode)?.is_dir });
        entries.into_iter().map(entry).collect()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((parent, from), (to_parent, to)) = (self.place(from)?, self.place(to)?);
        if parent != to_parent {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        self.rename_in(parent, from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        self.remove_from(parent, name)
    }

    /// All at once, which the trait does not promise.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        let mut state = self.state();
        let cut = state.begin(Operation::Write, name)?;
        state.dir(state.child(parent, name)?)?;
        state.dir_mut(parent)?.remove(name);
        unless_cut(cut, ())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.sync_names(self.find(path)?)
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let (total_bytes, usable_bytes) = Disk::space(self);
        Ok(Space { total_bytes, usable_bytes, device: 1 })
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
        let begun = state.begin(Operation::Sync, "all");
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
pub(super) struct OpenFile {
    pub(super) disk: Disk,
    pub(super) inode: Inode,
    pub(super) told: Mutex<Told>,
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
        state.begin(Operation::Read, "")?;
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
        let begun = state.begin(Operation::Write, "");
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
        let begun = state.begin(Operation::Sync, "");
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
        let cut = state.begin(Operation::Write, "")?;
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
        let cut = state.begin(Operation::Write, "")?;
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
