//! What happens without being asked for: retention, deletion of what was renamed, checkpoints, forgetting
//! silent producers; and closing in order.

use std::sync::{Arc, atomic::Ordering};

use millstream_types::TimestampMs;

use super::LogDirs;
use crate::{
    checkpoint::{RECOVERY_POINT, REPLICATION_OFFSET},
    clean_shutdown,
    dir::{Durability, FlushWith, LogDir},
    error::{At, StorageError},
    log::{Log, PendingCheckpoint},
};

/// How often background work is done in each directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// What a restart after a crash has to scan at most; a segment that was left is a reason to be earlier.
    pub checkpoint_ms: i64,
    /// `log.retention.check.interval.ms`
    pub retention_check_ms: i64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_expiration_check_ms: i64,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { checkpoint_ms: 5_000, retention_check_ms: 300_000, producer_expiration_check_ms: 600_000 }
    }
}

/// A segment that was left is closed when it was not read for so long, and twice as long at most.
const CLOSE_UNUSED_MS: i64 = 10_000;
/// Checkpoints that rolls ask for are not taken more often.
const CHECKPOINT_MIN_MS: i64 = 1_000;

/// When things were last done in one directory.
#[derive(Debug)]
pub(super) struct State {
    checkpointed: TimestampMs,
    retained: TimestampMs,
    expired: TimestampMs,
    closed_unused: TimestampMs,
}

impl State {
    pub(super) fn new(now: TimestampMs) -> Self {
        Self { checkpointed: now, retained: now, expired: now, closed_unused: now }
    }
}

/// A clock that was set back must not put off what is done at intervals until it is there again.
fn is_due(last: TimestampMs, interval_ms: i64, now: TimestampMs) -> bool {
    now < last || now.since(last) >= interval_ms
}

impl LogDirs {
    /// To be called about once a second; what is due is done.
    pub fn tick(&self, now: TimestampMs) {
        self.shared.reserve.restore();
        self.shared.told_of_descriptors.store(false, Ordering::Relaxed);
        self.remove_doomed(now);
        let mut background = self.background.lock();
        for (dir, state) in self.dirs.iter().zip(background.iter_mut()) {
            if dir.offline.get().is_none()
                && let Err(error) = self.tick_dir(dir, state, now)
            {
                tracing::warn!(dir = %dir.path.display(), %error, "background work failed");
                self.failed(dir, error);
            }
        }
    }

    fn tick_dir(&self, dir: &Arc<LogDir>, state: &mut State, now: TimestampMs) -> Result<(), StorageError> {
        check_place(dir)?;
        let logs = self.logs_of(dir);
        if is_due(state.expired, self.intervals.producer_expiration_check_ms, now) {
            state.expired = now;
            logs.iter().for_each(|log| log.expire_producers(now));
        }
        if is_due(state.retained, self.intervals.retention_check_ms, now) {
            state.retained = now;
            self.retain(dir, &logs, now)?;
        }
        if is_due(state.closed_unused, CLOSE_UNUSED_MS, now) {
            state.closed_unused = now;
            logs.iter().for_each(|log| log.close_unused_files());
        }
        if self.shared.durability == Durability::Os {
            logs.iter().for_each(|log| log.flush_if_due(now));
        }
        let rolled = || logs.iter().any(|log| log.has_rolled());
        let checkpoint_due = |interval_ms| is_due(state.checkpointed, interval_ms, now);
        if checkpoint_due(self.intervals.checkpoint_ms) || (checkpoint_due(CHECKPOINT_MIN_MS) && rolled()) {
            state.checkpointed = now;
            self.checkpoint(dir, &logs, |log| log.begin_checkpoint())?;
        }
        self.checkpoint_log_starts(dir)
    }

    /// What retention lets go is first noted as gone, then renamed, and removed later.
    fn retain(&self, dir: &LogDir, logs: &[Arc<Log>], now: TimestampMs) -> Result<(), StorageError> {
        let mut shorter = Vec::new();
        for log in logs.iter().filter(|log| !log.is_offline()) {
            if log.plan_retention(now)? {
                shorter.push(log);
            }
        }
        if shorter.is_empty() {
            return Ok(());
        }
        self.checkpoint_log_starts(dir)?;
        for log in &shorter {
            match log.drop_old_segments(now) {
                Err(_) if log.is_deleted() => {}
                doomed => self.doomed.lock().extend(doomed?),
            }
        }
        self.sync_directories(dir, &shorter)?;
        shorter.iter().for_each(|log| log.note_first_segment());
        Ok(())
    }

    fn logs_of(&self, dir: &LogDir) -> Vec<Arc<Log>> {
        let logs = self.logs.read();
        let all = logs.values().chain([&self.metadata]);
        all.filter(|log| log.directory_id() == dir.id).cloned().collect()
    }

    /// Writes what the recovery points rest on, syncs it, then the recovery points.
    fn checkpoint(
        &self,
        dir: &LogDir,
        logs: &[Arc<Log>],
        begin: impl Fn(&Arc<Log>) -> Result<PendingCheckpoint, StorageError>,
    ) -> Result<(), StorageError> {
        let mut pending = Vec::new();
        let done = self.complete_checkpoint(dir, logs, begin, &mut pending);
        if done.is_err() {
            pending.into_iter().for_each(|(log, begun)| log.abandon_checkpoint(begun));
        }
        done
    }

    fn complete_checkpoint<'a>(
        &self,
        dir: &LogDir,
        logs: &'a [Arc<Log>],
        begin: impl Fn(&Arc<Log>) -> Result<PendingCheckpoint, StorageError>,
        pending: &mut Vec<(&'a Arc<Log>, PendingCheckpoint)>,
    ) -> Result<(), StorageError> {
        let (mut done, mut files) = (0, 0);
        for log in logs.iter().filter(|log| log.needs_checkpoint() && !log.is_offline()) {
            match begin(log) {
                Ok(begun) => {
                    files += begun.files.len();
                    pending.push((log, begun));
                }
                Err(_) if log.is_deleted() => {}
                Err(error) => return Err(error),
            }
            if files >= self.unsynced_files_max {
                self.complete(dir, &mut pending[done..])?;
                (done, files) = (pending.len(), 0);
            }
        }
        self.complete(dir, &mut pending[done..])?;
        if pending.is_empty() {
            return Ok(());
        }
        RECOVERY_POINT.write(&*dir.fs, &dir.path, &self.offsets_of(dir, |log| Some(log.recovery_point())))?;
        REPLICATION_OFFSET.write(&*dir.fs, &dir.path, &self.offsets_of(dir, |log| Some(log.high_watermark())))
    }

    /// Syncs what was written for the checkpoint of some logs, and lets go of the files.
    fn complete(
        &self,
        dir: &LogDir,
        pending: &mut [(&Arc<Log>, PendingCheckpoint)],
    ) -> Result<(), StorageError> {
        if pending.is_empty() {
            return Ok(());
        }
        self.sync_files(dir, pending)?;
        for (log, begun) in &*pending {
            match log.complete_checkpoint(begun) {
                Err(_) if log.is_deleted() => {}
                other => other?,
            }
        }
        let changed: Vec<&Arc<Log>> = pending.iter().map(|(log, _)| *log).collect();
        self.sync_directories(dir, &changed)?;
        for (log, begun) in pending {
            begun.files.clear();
            log.set_checkpointed(begun.recovery_point);
        }
        Ok(())
    }

    fn sync_files(
        &self,
        dir: &LogDir,
        pending: &[(&Arc<Log>, PendingCheckpoint)],
    ) -> Result<(), StorageError> {
        if self.shared.flush_with == FlushWith::Auto {
            return dir.root.sync_all().at("sync the file system of", &dir.path);
        }
        for (log, begun) in pending {
            for file in &begun.files {
                file.sync_data().at("sync", log.path())?;
            }
        }
        Ok(())
    }

    fn sync_directories(&self, dir: &LogDir, logs: &[&Arc<Log>]) -> Result<(), StorageError> {
        if self.shared.flush_with == FlushWith::Auto && logs.len() > 1 {
            return dir.root.sync_all().at("sync the file system of", &dir.path);
        }
        for log in logs {
            match dir.fs.sync_dir(log.path()).at("sync", log.path()) {
                Err(_) if log.is_deleted() => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn remove_doomed(&self, now: TimestampMs) {
        let due: Vec<_> = {
            let mut doomed = self.doomed.lock();
            let (due, later) = std::mem::take(&mut *doomed).into_iter().partition(|doomed| doomed.due <= now);
            *doomed = later;
            due
        };
        let Some(dir) = self.dirs.first() else { return };
        for doomed in due {
            let removed = if doomed.path.extension().is_some_and(|extension| extension == "deleted") {
                dir.fs.remove_file(&doomed.path)
            } else {
                dir.fs.remove_dir_all(&doomed.path)
            };
            match removed {
                // The partition went meanwhile, and its files with it.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path = %doomed.path.display(), %error, "cannot remove");
                }
                _ => {}
            }
        }
    }

    /// Makes everything durable and leaves the directories in order, so that the next start has nothing to
    /// scan. Nothing may be appended any more.
    pub fn close(&self, now: TimestampMs) {
        self.close_with_epoch(now, -1);
    }

    /// As [`LogDirs::close`], with the broker's epoch for the mark that is left.
    pub fn close_with_epoch(&self, _now: TimestampMs, broker_epoch: i64) {
        self.flush();
        let _background = self.background.lock();
        for dir in self.dirs.iter().filter(|dir| dir.offline.get().is_none()) {
            if let Err(error) = self.close_dir(dir, broker_epoch) {
                tracing::error!(dir = %dir.path.display(), %error, "the directory could not be closed in order");
            }
        }
    }

    fn close_dir(&self, dir: &Arc<LogDir>, broker_epoch: i64) -> Result<(), StorageError> {
        let logs = self.logs_of(dir);
        logs.iter().for_each(|log| log.set_checkpointed(millstream_types::Offset(-1)));
        self.checkpoint(dir, &logs, |log| log.begin_close())?;
        self.checkpoint_log_starts(dir)?;
        let all_closed = logs.iter().all(|log| log.durable_offset() == log.log_end_offset());
        if all_closed { clean_shutdown::leave(&*dir.fs, &dir.path, broker_epoch) } else { Ok(()) }
    }
}

/// Files that are open can be written when nobody will find them again: the directory was removed or renamed, or
/// its file system is not mounted there any more.
fn check_place(dir: &LogDir) -> Result<(), StorageError> {
    let space = dir.fs.space(&dir.path).at("find", &dir.path)?;
    if space.device == dir.device {
        return Ok(());
    }
    Err(std::io::Error::other("another file system is mounted there now")).at("find", &dir.path)
}
