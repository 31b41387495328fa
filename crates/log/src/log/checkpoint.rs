//! What is derived from the log and has to be on the disk before the recovery point may pass it: indexes,
//! leader epochs, producers.

use std::sync::{Arc, atomic::Ordering};

use millstream_types::{Offset, TimestampMs};

use super::Log;
use crate::{
    checkpoint::write_beside,
    error::{At, StorageError},
    fs::{File, remove_if_there},
    names::{LEADER_EPOCHS, SNAPSHOT, file_path},
};

/// A checkpoint of one log on its way: written, to be synced, then completed.
#[derive(Debug)]
pub(crate) struct PendingCheckpoint {
    pub(crate) files: Vec<Arc<dyn File>>,
    /// Nothing below need be scanned once this is complete.
    pub(crate) recovery_point: Offset,
    /// What [`Log::set_checkpointed`] was told last.
    before: Offset,
    epochs_beside: bool,
}

impl Log {
    /// Whether there is anything new to checkpoint.
    pub(crate) fn needs_checkpoint(&self) -> bool {
        self.durable_offset().0 != self.checkpointed.load(Ordering::Acquire)
            || self.epochs.lock().is_changed()
    }

    /// Whether a segment was left since the last checkpoint.
    pub(crate) fn has_rolled(&self) -> bool {
        self.rolled.load(Ordering::Acquire)
    }

    pub(crate) fn begin_checkpoint(self: &Arc<Self>) -> Result<PendingCheckpoint, StorageError> {
        let recovery_point = self.durable_offset();
        self.rolled.store(false, Ordering::Release);
        let before = Offset(self.checkpointed.load(Ordering::Acquire));
        let files = Vec::new();
        let mut pending = PendingCheckpoint { files, recovery_point, before, epochs_beside: false };
        match self.write_checkpoint(&mut pending) {
            Ok(()) => Ok(pending),
            Err(error) => {
                self.abandon_checkpoint(pending);
                Err(error)
            }
        }
    }

    fn write_checkpoint(&self, pending: &mut PendingCheckpoint) -> Result<(), StorageError> {
        let fs = &*self.dir.fs;
        let appender = self.appender.lock();
        pending.recovery_point = self.unsynced.lock().indexed(pending.recovery_point);
        appender.active.write_indexes(fs, &mut pending.files)?;
        // A log without records needs none: there is nothing to read again.
        if appender.next_offset > self.log_start_offset() || !appender.producers.is_empty() {
            pending.files.push(self.write_snapshot(&appender)?);
        }
        drop(appender);
        let mut epochs = self.epochs.lock();
        if let Some(text) = epochs.take_changed() {
            pending.epochs_beside = true;
            pending.files.push(write_beside(fs, &self.path.join(LEADER_EPOCHS), text.as_bytes())?);
        }
        Ok(())
    }

    /// The checkpoint cannot be completed: of this log or of another one. What was written is not written again
    /// by the next one, so the next flush has to sync it.
    pub(crate) fn abandon_checkpoint(self: &Arc<Self>, pending: PendingCheckpoint) {
        if pending.epochs_beside {
            self.epochs.lock().mark_changed();
        }
        self.set_checkpointed(pending.before);
        // The checkpoint before has synced what it covers.
        self.unsynced.lock().add_indexes(pending.files, self.recovery_point());
        self.enqueue();
    }

    /// The files are synced. The directory still has to be, which the next flush does.
    pub(crate) fn complete_checkpoint(&self, pending: &PendingCheckpoint) -> Result<(), StorageError> {
        if pending.epochs_beside {
            crate::checkpoint::move_over(&*self.dir.fs, &self.path.join(LEADER_EPOCHS))?;
        }
        self.remove_old_snapshots(pending.recovery_point)
    }

    /// What the recovery point checkpoint may say of the log.
    pub(crate) fn recovery_point(&self) -> Offset {
        Offset(self.checkpointed.load(Ordering::Acquire)).max(Offset::ZERO)
    }

    pub(crate) fn first_segment_offset(&self) -> Offset {
        self.segments()[0].base_offset
    }

    /// Forgets producers that have been silent for `producer.id.expiration.ms`.
    pub(crate) fn expire_producers(&self, now: TimestampMs) {
        let mut appender = self.appender.lock();
        appender.producers.expire(now, self.dir.shared.producer_id_expiration_ms());
    }

    /// When durability is the system's: `flush.ms`, and what was rolled, as Kafka does, so that a crash leaves
    /// no more than a segment to scan and to write again.
    pub(crate) fn flush_if_due(self: &Arc<Self>, now: TimestampMs) {
        let flush_ms = self.config().flush_ms;
        let mut appender = self.appender.lock();
        let last = *appender.last_flush.get_or_insert(now);
        let due = self.has_rolled() || now.since(last) >= flush_ms;
        if due && self.durable_offset() < appender.next_offset {
            appender.last_flush = Some(now);
            self.enqueue();
        }
    }

    pub(crate) fn set_checkpointed(&self, recovery_point: Offset) {
        self.checkpointed.store(recovery_point.0, Ordering::Release);
    }

    /// Of the snapshots that are not at a segment's beginning only those are of use that may still be the last
    /// one below the log's end after a crash.
    fn remove_old_snapshots(&self, recovery_point: Offset) -> Result<(), StorageError> {
        let offsets = self.snapshot_offsets()?;
        let Some(last_safe) = offsets.iter().rfind(|offset| **offset <= recovery_point) else {
            return Ok(());
        };
        let segments = self.segments();
        let first = segments[0].base_offset;
        for offset in offsets.iter().filter(|offset| *offset < last_safe) {
            let at_segment = segments.iter().any(|segment| segment.base_offset == *offset);
            if !at_segment || *offset < first {
                let path = file_path(&self.path, *offset, SNAPSHOT);
                remove_if_there(&*self.dir.fs, &path).at("remove", &path)?;
            }
        }
        Ok(())
    }

    /// The last writes of a log that closes in order, its end being durable.
    pub(crate) fn begin_close(self: &Arc<Self>) -> Result<PendingCheckpoint, StorageError> {
        let appender = self.appender.lock();
        appender.active.finish_time_index();
        if self.config().preallocate {
            appender.file.truncate(appender.active.size()).at("truncate", appender.active.path())?;
        }
        drop(appender);
        self.begin_checkpoint()
    }
}
