//! The log's side of a flush round: what is to be synced, and what follows when it is.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use millstream_types::Offset;

use super::{Log, Mark, Unsynced};
use crate::{dir::Durability, error::Offline, fs::File};

/// What one flush makes durable.
#[derive(Debug)]
pub(crate) struct PendingFlush {
    pub(crate) files: Vec<Arc<dyn File>>,
    pub(crate) dirs: Vec<PathBuf>,
    mark: Mark,
    truncations: u64,
}

impl PendingFlush {
    pub(crate) fn count(&self) -> usize {
        self.files.len() + self.dirs.len()
    }
}

impl Log {
    /// Whether a flush would have anything to do.
    pub(crate) fn has_unsynced(&self) -> bool {
        let unsynced = self.unsynced.lock();
        let left = !unsynced.files.is_empty() || !unsynced.dirs.is_empty();
        drop(unsynced);
        left || self.durable_offset() < self.log_end_offset()
    }

    /// Files besides the active segment's that stay open until they are synced.
    pub(crate) fn unsynced_files(&self) -> usize {
        self.unsynced.lock().files.len()
    }

    /// The log's end now, and the files that hold what lies before it and may not be synced.
    pub(crate) fn begin_flush(&self) -> PendingFlush {
        // Before the end is read: an append after this line queues the log again.
        self.queued.store(false, Ordering::Release);
        let ends = self.ends.lock();
        let (mark, truncations) = (ends.log_end.clone(), ends.truncations);
        let dirty = mark.position > 0 && mark.offset > ends.durable.offset;
        drop(ends);
        let mut unsynced = self.unsynced.lock();
        let Unsynced { mut files, dirs, indexes_from, .. } = std::mem::take(&mut *unsynced);
        unsynced.flushing_from = indexes_from;
        drop(unsynced);
        let active = mark.segment.open_file();
        if dirty && !files.iter().any(|file| Arc::ptr_eq(file, &active)) {
            files.push(active);
        }
        PendingFlush { files, dirs, mark, truncations }
    }

    /// Not everything could be synced, and nothing has failed: the next flush has to cover the same.
    pub(crate) fn put_back(&self, pending: PendingFlush) {
        let mut unsynced = self.unsynced.lock();
        unsynced.files.extend(pending.files);
        pending.dirs.iter().for_each(|dir| unsynced.add_dir(dir));
        let from = unsynced.flushing_from.take();
        unsynced.indexes_from = unsynced.indexes_from.into_iter().chain(from).min();
    }

    /// The sync succeeded. True if the durable offset moved.
    pub(crate) fn finish_flush(&self, pending: PendingFlush) -> bool {
        let offset = pending.mark.offset;
        self.unsynced.lock().flushing_from = None;
        let mut ends = self.ends.lock();
        if pending.truncations != ends.truncations || offset <= ends.durable.offset {
            return false;
        }
        ends.durable = pending.mark;
        drop(ends);
        self.note_bound(offset);
        if self.dir.shared.durability == Durability::Disk {
            self.high_watermark.store(offset.0, Ordering::Release);
            if self.first_unstable.load(Ordering::Acquire) != i64::MAX {
                self.settle_transactions(&mut self.appender.lock());
            }
        }
        true
    }

    /// Returns when what was appended is durable (`flush.messages`), or the directory is offline.
    pub(super) fn flush_and_wait(self: &Arc<Self>) -> Result<(), Offline> {
        self.enqueue();
        self.dir.queue.wait(&self.dir);
        self.check_online()
    }

    /// Up to where the log is on the disk, whatever durability promises.
    pub fn durable_offset(&self) -> Offset {
        self.ends.lock().durable.offset
    }
}
