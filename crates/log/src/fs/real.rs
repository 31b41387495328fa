//! The operating system's files.

use std::{
    collections::HashSet,
    fs::{self, OpenOptions},
    io::{self, IoSlice, IoSliceMut},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::{
    fs::{Advice, FallocateFlags, FlockOperation},
    io::ReadWriteFlags,
};

use super::{Dir, DirEntry, File, Fs, Lock, OpenMode, Space};

/// More slices than this are written in several calls (`IOV_MAX` is 1024 on Linux).
const SLICES_MAX: usize = 512;

/// As many are written without an allocation: what one batch takes, and a few more.
const SLICES_FEW: usize = 8;

/// What is read ahead is at least this; so a byte of each tells whether all of them are there.
const SAMPLE_BYTES: usize = 64 << 10;
/// A long read is asked no more often, lest asking take longer than a small request: beyond two megabytes a hole
/// between two samples may be missed, and whoever sends it waits for the disk.
const SAMPLES_MAX: usize = 32;

/// A syncfs of a thousand files that only this process writes takes less.
const SLOW_SYNC: Duration = Duration::from_millis(100);
/// How long it is not tried again after it was slow.
const BUSY_FOR: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let write = mode != OpenMode::Read;
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .create(write)
            .truncate(mode == OpenMode::Truncate)
            .open(path)?;
        Ok(Arc::new(RealFile(Arc::new(file))))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(RealDir { file: fs::File::open(path)?, busy_until: Mutex::new(None) }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Kafka's names are ASCII; what is not UTF-8 cannot be one of them, and is named approximately.
            let name = entry.file_name().to_string_lossy().into_owned();
            let mut kind = entry.file_type()?;
            if kind.is_symlink() {
                kind = fs::metadata(entry.path())?.file_type();
            }
            entries.push(DirEntry { name, is_dir: kind.is_dir() });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            usable_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            device: fs::metadata(path)?.dev(),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(RecordLock::take(path)?))
    }
}

#[derive(Debug)]
struct RealFile(Arc<fs::File>);

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_into(&self, buffer: &mut Vec<u8>, length: usize, position: u64) -> io::Result<()> {
        let start = buffer.len();
        buffer.reserve_exact(length);
        while buffer.len() - start < length {
            let done = buffer.len() - start;
            // The spare capacity may be larger than asked for; what comes too much is cut below.
            let spare = rustix::buffer::spare_capacity(buffer);
            match rustix::io::pread(&*self.0, spare, position + done as u64) {
                Ok(0) => break,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(start + length);
        Ok(())
    }

    fn is_cached(&self, position: u64, length: usize) -> bool {
        let last = position + length.saturating_sub(1) as u64;
        let step = SAMPLE_BYTES.max(length / SAMPLES_MAX);
        let samples = (position..last).step_by(step).chain([last]);
        let cached = |at| {
            let mut byte = [0];
            let mut slices = [IoSliceMut::new(&mut byte)];
            let read = rustix::io::preadv2(&*self.0, &mut slices, at, ReadWriteFlags::NOWAIT);
            // Where this cannot be asked, reading is left to show it.
            !matches!(read, Err(rustix::io::Errno::AGAIN))
        };
        samples.into_iter().all(cached)
    }

    fn read_nothing_ahead(&self) {
        // Where this cannot be said, more is read than needed.
        _ = rustix::fs::fadvise(&*self.0, 0, None, Advice::Random);
    }

    fn os_file(&self) -> Option<&Arc<fs::File>> {
        Some(&self.0)
    }

    fn write_at(&self, slices: &[&[u8]], position: u64) -> io::Result<()> {
        let mut position = position;
        let (mut few, mut many);
        let mut pending = if slices.len() <= SLICES_FEW {
            few = [IoSlice::new(&[]); SLICES_FEW];
            few.iter_mut().zip(slices).for_each(|(slot, slice)| *slot = IoSlice::new(slice));
            &mut few[..slices.len()]
        } else {
            many = slices.iter().map(|slice| IoSlice::new(slice)).collect::<Vec<_>>();
            many.as_mut_slice()
        };
        // Empty slices are stepped over: of them alone nothing would be written, which looks like a failure.
        IoSlice::advance_slices(&mut pending, 0);
        while !pending.is_empty() {
            let some = &pending[..pending.len().min(SLICES_MAX)];
            match rustix::io::pwritev(&*self.0, some, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    position += count as u64;
                    IoSlice::advance_slices(&mut pending, count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&*self.0, FallocateFlags::empty(), 0, length) {
            // A file system that cannot reserve still gives the length; `preallocate` is only a hint.
            Err(rustix::io::Errno::OPNOTSUPP) => self.0.set_len(length),
            other => Ok(other?),
        }
    }
}

#[derive(Debug)]
struct RealDir {
    file: fs::File,
    busy_until: Mutex<Option<Instant>>,
}

impl Dir for RealDir {
    fn sync_all(&self) -> io::Result<()> {
        let start = Instant::now();
        rustix::fs::syncfs(&self.file)?;
        let busy = start.elapsed() > SLOW_SYNC;
        *self.busy_until.lock() = busy.then(|| Instant::now() + BUSY_FOR);
        Ok(())
    }

    fn is_busy(&self) -> bool {
        self.busy_until.lock().is_some_and(|until| Instant::now() < until)
    }
}

/// A POSIX record lock, which excludes other processes but not this one; so the paths locked here are kept
/// in a table as well, as Java does.
#[derive(Debug)]
struct RecordLock {
    path: PathBuf,
    /// Closing any descriptor of the file would give the lock up, so only this one may exist.
    _file: fs::File,
}

static LOCKED_HERE: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);

impl RecordLock {
    fn take(path: &Path) -> io::Result<Self> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let path = parent.canonicalize()?.join(name);
        let mut guard = LOCKED_HERE.lock();
        let locked = guard.get_or_insert_with(HashSet::new);
        if locked.contains(&path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::ACCESS | rustix::io::Errno::AGAIN) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Err(error) => return Err(error.into()),
        }
        locked.insert(path.clone());
        Ok(Self { path, _file: file })
    }
}

impl Lock for RecordLock {}

impl Drop for RecordLock {
    fn drop(&mut self) {
        if let Some(locked) = LOCKED_HERE.lock().as_mut() {
            locked.remove(&self.path);
        }
    }
}
