//! One log directory: its lock, its file system, whether it can still be trusted, and the queue of logs that
//! wait for their data to become durable.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use millstream_types::Uuid;
use parking_lot::{Mutex, RwLock};

use crate::{
    bounds::Bounds,
    checkpoint::Offsets,
    cold::DiskTurns,
    committer::CommitQueue,
    error::{Offline, RAISE_THE_LIMIT, StorageError},
    fs::{Dir, Fs, Lock},
    log::Log,
    reserve::Reserve,
};

/// What an acknowledgement of all replicas, and so the high watermark, stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Flushed to the disk.
    #[default]
    Disk,
    /// Handed to the operating system; `flush.messages` and `flush.ms` apply.
    Os,
}

/// How a flush round makes several files durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushWith {
    /// One or two by fdatasync, more by one syncfs of the file system.
    #[default]
    Auto,
    /// Always by fdatasync.
    Fdatasync,
}

/// Called after each flush round with the logs whose high watermark moved, or that went offline.
pub type FlushListener = Arc<dyn Fn(&[Arc<Log>]) + Send + Sync>;

/// What all directories share.
pub(crate) struct Shared {
    pub(crate) durability: Durability,
    pub(crate) flush_with: FlushWith,
    pub(crate) decompressed_bytes_max: usize,
    pub(crate) producer_id_expiration_ms: AtomicI64,
    pub(crate) listener: RwLock<Option<FlushListener>>,
    pub(crate) reserve: Reserve,
    pub(crate) bounds_dir: PathBuf,
    /// That descriptors ran out is logged once a tick at most.
    pub(crate) told_of_descriptors: AtomicBool,
}

impl Shared {
    pub(crate) fn tell(&self, logs: &[Arc<Log>]) {
        let listener = self.listener.read().clone();
        if let Some(listener) = listener.filter(|_| !logs.is_empty()) {
            listener(logs);
        }
    }

    pub(crate) fn producer_id_expiration_ms(&self) -> i64 {
        self.producer_id_expiration_ms.load(Ordering::Relaxed)
    }
}

pub(crate) struct LogDir {
    pub(crate) path: PathBuf,
    pub(crate) id: Uuid,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) root: Arc<dyn Dir>,
    pub(crate) device: u64,
    pub(crate) bounds: Bounds,
    pub(crate) queue: CommitQueue,
    pub(crate) turns: DiskTurns,
    pub(crate) shared: Arc<Shared>,
    pub(crate) offline: OnceLock<Offline>,
    /// What the checkpoint of log start offsets on the disk says, once it was written.
    pub(crate) log_starts: Mutex<Option<Offsets>>,
    pub(crate) _lock: Box<dyn Lock>,
}

impl LogDir {
    pub(crate) fn check_online(&self) -> Result<(), Offline> {
        self.offline.get().map_or(Ok(()), |offline| Err(offline.clone()))
    }

    /// After a failed write or sync nobody knows what the disk holds: nothing more is read from or written
    /// to this directory until the next start has looked at it.
    pub(crate) fn poison(&self, error: &StorageError) {
        let reason = format!("log directory {} is offline: {error}", self.path.display());
        if self.offline.set(Offline { reason }).is_ok() {
            tracing::error!(dir = %self.path.display(), %error, "log directory goes offline");
        }
    }

    /// Requests fail until there are file descriptors again; what is open goes on working.
    pub(crate) fn note_want_of_descriptors(&self, error: &StorageError) {
        if !self.shared.told_of_descriptors.swap(true, Ordering::Relaxed) {
            tracing::error!(dir = %self.path.display(), %error, "no file descriptor is left: {RAISE_THE_LIMIT}");
        }
    }

    /// Makes room for what keeps the broker working. False if there is none to make.
    pub(crate) fn spend_reserve(&self) -> bool {
        self.shared.reserve.helps(self.device) && self.shared.reserve.spend()
    }

    /// Clients' records are refused until there is space again.
    pub(crate) fn is_full(&self) -> bool {
        self.shared.reserve.is_spent() && self.shared.reserve.helps(self.device)
    }
}

impl std::fmt::Debug for LogDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogDir").field("path", &self.path).field("id", &self.id).finish_non_exhaustive()
    }
}
