//! The simulator's disk under the real broker: mounted with FUSE, it loses what was not synced when its power
//! goes, runs full and fails on demand. FUSE does not pass `syncfs` on, so the broker that runs on it must
//! flush with fdatasync.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use millstream_sim::disk::{Disk, File, Inode};
use millstream_testkit::{Kind, Running, Target, TargetOptions, skip};
use tempfile::TempDir;

/// Nobody but the kernel that asks changes anything while it is mounted.
const FRESH_FOR: Duration = Duration::from_secs(3600);
const BLOCK_BYTES: u64 = 4096;

/// A broker on a disk that does what a test wants. Dropped in this order.
pub(crate) struct Machine {
    pub(crate) target: Running,
    pub(crate) disk: MountedDisk,
    _root: TempDir,
}

impl Machine {
    /// None, and said so, where the test cannot run.
    pub(crate) fn start(test: &str, seed: u64, arguments: &[&str]) -> Option<Self> {
        if asks_kafka(test) {
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let disk = MountedDisk::mount(test, &root.path().join("data"), seed)?;
        let arguments = ["--flush-with", "fdatasync"].iter().chain(arguments);
        let arguments = arguments.map(|word| (*word).to_owned()).collect();
        let target = Target::start(TargetOptions { arguments, ..TargetOptions::default().dir(root.path()) });
        Some(Self { target: target.unwrap(), disk, _root: root })
    }
}

/// Then a test of durability has nothing to ask, which is said.
pub(crate) fn asks_kafka(test: &str) -> bool {
    let kafka = Kind::from_env().unwrap() == Kind::Kafka;
    if kafka {
        eprintln!("{test}: Apache Kafka does not flush before it acknowledges, and is not asked");
    }
    kafka
}

/// Unmounted when dropped; whatever runs on it must have ended by then.
pub(crate) struct MountedDisk {
    disk: Disk,
    path: PathBuf,
    session: Option<BackgroundSession>,
}

impl MountedDisk {
    /// Mounts an empty disk at `path`, which is created. None where FUSE is missing, which is said.
    pub(crate) fn mount(test: &str, path: &Path, seed: u64) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mut mounted = Self { disk: Disk::empty(seed), path: path.to_owned(), session: None };
        if let Err(error) = mounted.attach() {
            skip(test, &format!("FUSE cannot mount here ({error}): conformance/install.sh fuse"));
            return None;
        }
        Some(mounted)
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The power goes and comes back; what was not synced may be gone.
    pub(crate) fn cut_power(&mut self) {
        self.detach().unwrap();
        self.disk.power_cut();
        self.attach().unwrap();
    }

    fn attach(&mut self) -> io::Result<()> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("millstream-sim".to_owned())];
        let served = Served { disk: self.disk.clone(), last: AtomicU64::new(0), handles: Mutex::default() };
        self.session = Some(fuser::spawn_mount(served, &self.path, &config)?);
        Ok(())
    }

    /// The kernel forgets all that it knows of the disk.
    fn detach(&mut self) -> io::Result<()> {
        match self.session.take().map_or(Ok(()), BackgroundSession::umount_and_join) {
            // The unmount ended the connection while its thread was waiting for a request.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
            other => other,
        }
    }
}

impl Drop for MountedDisk {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            eprintln!("{} stays mounted: {error}", self.path.display());
        }
    }
}

struct Served {
    disk: Disk,
    /// The handle given out last.
    last: AtomicU64,
    handles: Mutex<HashMap<u64, Handle>>,
}

#[derive(Clone)]
enum Handle {
    File(Arc<dyn File>),
    /// As it was when it was opened: whoever lists it may remove what he finds.
    Dir(Arc<Vec<(String, Inode)>>),
}

impl Served {
    fn handles(&self) -> MutexGuard<'_, HashMap<u64, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, handle: Handle) -> FileHandle {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        self.handles().insert(number, handle);
        FileHandle(number)
    }

    fn file(&self, handle: FileHandle) -> io::Result<Arc<dyn File>> {
        match self.handles().get(&handle.0) {
            Some(Handle::File(file)) => Ok(Arc::clone(file)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn opened(handle: io::Result<FileHandle>, reply: ReplyOpen) {
        match handle {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn attributes(&self, inode: Inode) -> io::Result<FileAttr> {
        let attributes = self.disk.attributes(inode)?;
        let now = SystemTime::now();
        let (kind, perm) = match attributes.is_dir {
            true => (FileType::Directory, 0o755),
            false => (FileType::RegularFile, 0o644),
        };
        Ok(FileAttr {
            ino: INodeNo(inode.number()),
            size: attributes.length,
            blocks: attributes.length.div_ceil(512),
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK_BYTES as u32,
            flags: 0,
        })
    }

    fn entry(&self, inode: io::Result<Inode>, reply: ReplyEntry) {
        match inode.and_then(|inode| self.attributes(inode)) {
            Ok(attributes) => reply.entry(&FRESH_FOR, &attributes, Generation(0)),
            Err(error) => reply.error(errno(&error)),
        }
    }
}

fn inode(number: INodeNo) -> Inode {
    Inode::from_number(number.0)
}

fn text(name: &OsStr) -> io::Result<&str> {
    name.to_str().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

fn errno(error: &io::Error) -> Errno {
    match (error.raw_os_error(), error.kind()) {
        (Some(code), _) => Errno::from_i32(code),
        (None, io::ErrorKind::NotFound) => Errno::ENOENT,
        (None, io::ErrorKind::StorageFull) => Errno::ENOSPC,
        (None, io::ErrorKind::DirectoryNotEmpty) => Errno::ENOTEMPTY,
        (None, io::ErrorKind::NotADirectory) => Errno::ENOTDIR,
        (None, io::ErrorKind::IsADirectory) => Errno::EISDIR,
        (None, io::ErrorKind::CrossesDevices) => Errno::EXDEV,
        _ => Errno::EIO,
    }
}

fn done(result: io::Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(&error)),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(text(name).and_then(|name| self.disk.look_up(inode(parent), name)), reply);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode(number)) {
            Ok(attributes) => reply.attr(&FRESH_FOR, &attributes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        number: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let truncated = size.map_or(Ok(()), |size| self.disk.open_file(inode(number))?.truncate(size));
        match truncated {
            Ok(()) => self.getattr(request, number, handle, reply),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        self.entry(text(name).and_then(|name| self.disk.create_dir_in(inode(parent), name)), reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let created = text(name).and_then(|name| {
            let created = self.disk.create_file_in(inode(parent), name)?;
            Ok((self.attributes(created)?, self.add(Handle::File(self.disk.open_file(created)?))))
        });
        match created {
            Ok((attributes, handle)) => {
                reply.created(&FRESH_FOR, &attributes, Generation(0), handle, FopenFlags::empty());
            }
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(text(name).and_then(|name| self.disk.remove_from(inode(parent), name)), reply);
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.unlink(request, parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != to_parent {
            return reply.error(Errno::EXDEV);
        }
        let renamed = text(name).and_then(|from| self.disk.rename_in(inode(parent), from, text(to_name)?));
        done(renamed, reply);
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        Self::opened(self.disk.open_file(inode(number)).map(|file| self.add(Handle::File(file))), reply);
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let listed = self.disk.entries(inode(number));
        Self::opened(listed.map(|entries| self.add(Handle::Dir(Arc::new(entries)))), reply);
    }

    fn read(
        &self,
        _: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = Vec::new();
        match self.file(handle).and_then(|file| file.read_into(&mut bytes, size as usize, offset)) {
            Ok(()) => reply.data(&bytes),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.file(handle).and_then(|file| file.write_at(&[data], offset)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(errno(&error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.handles().remove(&handle.0);
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.handles().remove(&handle.0);
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        done(self.file(handle).and_then(|file| file.sync_data()), reply);
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        done(self.disk.sync_names(inode(number)), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(Handle::Dir(entries)) = self.handles().get(&handle.0).cloned() else {
            return reply.error(Errno::EBADF);
        };
        for ((name, inode), next) in entries.iter().zip(1..).skip(offset as usize) {
            let is_dir = self.disk.attributes(*inode).is_ok_and(|attributes| attributes.is_dir);
            let kind = if is_dir { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(inode.number()), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (total, free) = self.disk.space();
        let (total, free) = (total / BLOCK_BYTES, free / BLOCK_BYTES);
        reply.statfs(total, free, free, 1 << 20, 1 << 20, BLOCK_BYTES as u32, 255, BLOCK_BYTES as u32);
    }

    fn fallocate(
        &self,
        _: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        done(self.file(handle).and_then(|file| file.allocate(offset + length)), reply);
    }
}
