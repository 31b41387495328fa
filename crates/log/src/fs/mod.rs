//! What the log asks of a disk, as two small traits, so that a simulator can put a disk in its place that
//! loses what was not synced. [`RealFs`] is the thin one over the operating system.
//!
//! Durability as the log understands it: file contents are safe after [`File::sync_data`]; names (created,
//! renamed, removed) are safe after [`Fs::sync_dir`] of their directory; [`Dir::sync_all`] makes both safe
//! for the whole file system that holds the directory. A sync that fails is final (Linux): what it did not
//! write counts as written from then on and reads right until memory is short or the power goes, so only
//! [`write_again`] makes it durable.

mod real;

use std::{fmt, io, path::Path, sync::Arc};

pub use real::RealFs;

pub trait Fs: Send + Sync + fmt::Debug {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// A handle to an existing directory, kept for [`Dir::sync_all`].
    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>>;
    /// Creates a directory and those above it that are missing.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes the lock that Java's `FileChannel.tryLock` takes; fails with [`io::ErrorKind::WouldBlock`] when
    /// another process, or another opener in this one, has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Appends up to `length` bytes to `buffer`; fewer only at the end of the file.
    fn read_into(&self, buffer: &mut Vec<u8>, length: usize, position: u64) -> io::Result<()>;
    /// Whether reading there would not wait for the disk, as far as samples tell.
    fn is_cached(&self, _position: u64, _length: usize) -> bool {
        true
    }
    /// From now on no more is read from the disk than was asked for.
    fn read_nothing_ahead(&self) {}
    /// The operating system's file, which can send pieces of itself to a socket.
    fn os_file(&self) -> Option<&Arc<std::fs::File>> {
        None
    }
    /// Writes all slices, one after the other.
    fn write_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()>;
    fn sync_data(&self) -> io::Result<()>;
    fn truncate(&self, length: u64) -> io::Result<()>;
    fn length(&self) -> io::Result<u64>;
    /// Sets space aside, and the length with it.
    fn allocate(&self, length: u64) -> io::Result<()>;
}

pub trait Dir: Send + Sync + fmt::Debug {
    /// Makes everything on the directory's file system durable (`syncfs`).
    fn sync_all(&self) -> io::Result<()>;
    /// Whether that took very long lately, because others write much to the same file system: then a few
    /// files are quicker synced one by one.
    fn is_busy(&self) -> bool {
        false
    }
}

/// Held until dropped.
pub trait Lock: Send + Sync + fmt::Debug {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Fails when the file is not there.
    Read,
    /// Reading and writing; created when it is not there.
    Write,
    /// Reading and writing; emptied when it is there.
    Truncate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
}

/// Of the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub total_bytes: u64,
    pub usable_bytes: u64,
    /// Tells file systems apart.
    pub device: u64,
}

/// A whole small file; None when it is not there.
pub(crate) fn read_file(fs: &dyn Fs, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match fs.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.length()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = Vec::new();
    file.read_into(&mut bytes, length, 0)?;
    Ok(Some(bytes))
}

/// Writes a part of a file over itself, so that the next sync really writes it.
pub(crate) fn write_again(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    const PIECE_BYTES: u64 = 1 << 20;
    let mut piece = Vec::new();
    let mut position = from;
    while position < to {
        piece.clear();
        file.read_into(&mut piece, (to - position).min(PIECE_BYTES) as usize, position)?;
        if piece.is_empty() {
            break;
        }
        file.write_at(&[&piece], position)?;
        position += piece.len() as u64;
    }
    Ok(())
}

/// The whole of a file, to be synced; None if it is not there.
pub(crate) fn write_file_again(fs: &dyn Fs, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
    // Looked for first: opened for writing it would be created.
    match fs.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => drop(other?),
    }
    let file = fs.open(path, OpenMode::Write)?;
    write_again(&*file, 0, file.length()?)?;
    Ok(Some(file))
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
