//! All log directories of a broker (`LogManager`): opening, creating and deleting partitions, background
//! work, closing.

mod background;
mod log_starts;
mod open;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use millstream_types::{BrokerId, Offset, TimestampMs, TopicPartition, Uuid};
use parking_lot::{Mutex, RwLock};

pub use background::Intervals;
pub use open::{OpenOptions, Progress};

use crate::{
    bounds::Bounds,
    checkpoint::Offsets,
    committer::Committer,
    config::LogConfig,
    dir::{FlushListener, LogDir, Shared},
    error::{At, LogError, Offline},
    log::{Cut, Doomed, Log, create},
    names::renamed_directory,
};

pub struct LogDirs {
    cluster_id: String,
    node_id: BrokerId,
    defaults: LogConfig,
    shared: Arc<Shared>,
    dirs: Vec<Arc<LogDir>>,
    /// Directories that could not be opened.
    lost: Vec<DirInfo>,
    /// Of directories that were used before and are none of `dirs`.
    other_bounds: Vec<Bounds>,
    logs: RwLock<HashMap<TopicPartition, Arc<Log>>>,
    unsynced_files_max: usize,
    /// Held while a partition is made, so that `logs` is not. How many were made and perhaps not flushed since.
    creating: Mutex<usize>,
    metadata: Arc<Log>,
    offline: RwLock<BTreeMap<TopicPartition, OfflinePartition>>,
    recovery: Recovery,
    /// One for each of `dirs`.
    background: Mutex<Vec<background::State>>,
    intervals: Intervals,
    doomed: Mutex<Vec<Doomed>>,
    /// None when rounds are done by [`LogDirs::flush`] alone.
    committers: Vec<Committer>,
}

/// A log directory, for DescribeLogDirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirInfo {
    pub path: PathBuf,
    /// None if the directory could not even be read.
    pub directory_id: Option<Uuid>,
    pub total_bytes: Option<u64>,
    pub usable_bytes: Option<u64>,
    /// Why it is not used any more.
    pub offline: Option<String>,
}

/// A partition whose directory was found but cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflinePartition {
    pub partition: TopicPartition,
    pub path: PathBuf,
    pub reason: String,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// All directories were left in order.
    pub clean: bool,
    pub partitions: usize,
    pub scanned_bytes: u64,
    /// Bytes that were never acknowledged and are no batches.
    pub cuts: Vec<Cut>,
    pub offline: Vec<OfflinePartition>,
}

impl LogDirs {
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub fn node_id(&self) -> BrokerId {
        self.node_id
    }

    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// `__cluster_metadata-0`, in the first directory; created when it is not there.
    pub fn metadata_log(&self) -> Arc<Log> {
        self.metadata.clone()
    }

    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.logs.read().get(partition).cloned()
    }

    /// All partitions that could be opened, without the metadata log.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.logs.read().values().cloned().collect()
    }

    /// Why a partition that [`LogDirs::get`] does not give cannot be used.
    pub fn offline(&self, partition: &TopicPartition) -> Option<OfflinePartition> {
        self.offline.read().get(partition).cloned()
    }

    /// What the partition's configuration is made from when a topic sets nothing.
    pub fn defaults(&self) -> &LogConfig {
        &self.defaults
    }

    /// The one listener that hears of durable offsets.
    pub fn set_flush_listener(&self, listener: FlushListener) {
        *self.shared.listener.write() = Some(listener);
    }

    /// `producer.id.expiration.ms`
    pub fn set_producer_id_expiration_ms(&self, expiration_ms: i64) {
        self.shared.producer_id_expiration_ms.store(expiration_ms, Ordering::Relaxed);
    }

    /// Creates an empty partition in the directory with the fewest. One that exists already is returned if it
    /// is of the same topic id, or has lost its `partition.metadata`. What fails in a way that passes
    /// ([`LogError::passes`]) can be tried again.
    pub fn create(
        &self,
        partition: &TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
    ) -> Result<Arc<Log>, LogError> {
        if let Some(offline) = self.offline(partition) {
            return Err(Offline { reason: offline.reason }.into());
        }
        let mut unflushed = self.creating.lock();
        if let Some(log) = self.get(partition) {
            return self.existing(log, topic_id);
        }
        let dir = self.emptiest_dir()?;
        // A topic that the metadata has must get its logs: this is what the reserve is for.
        let created = match create(dir, partition, topic_id, config.clone()) {
            Err(error) if error.is_full() && dir.spend_reserve() => create(dir, partition, topic_id, config),
            other => other,
        };
        let log = created.map_err(|error| self.failed(dir, error))?;
        self.logs.write().insert(partition.clone(), log.clone());
        *unflushed += 1;
        if *unflushed >= self.unsynced_files_max {
            *unflushed = 0;
            self.flush();
        }
        Ok(log)
    }

    /// As [`LogDirs::create`], for a partition that existed when the broker last ran. It is not made anew when
    /// it may be in a directory that is offline, or when it is known to have held records.
    pub fn restore(
        &self,
        partition: &TopicPartition,
        topic_id: Uuid,
        config: LogConfig,
    ) -> Result<Arc<Log>, LogError> {
        if self.get(partition).is_none() {
            let offline = self.dirs().into_iter().find_map(|dir| dir.offline.map(|_| dir.path));
            if let Some(dir) = offline {
                let reason = format!("{partition} may be in {}, which is offline", dir.display());
                return Err(Offline { reason }.into());
            }
            let here = self.dirs.iter().map(|dir| (&dir.bounds, dir.path.display().to_string()));
            let others = self.other_bounds.iter();
            let others = others.map(|bounds| (bounds, "a log directory that is not here".to_owned()));
            for (bounds, place) in here.chain(others) {
                let bound = bounds.found(topic_id, partition.partition);
                if bound > Offset::ZERO {
                    let reason = format!(
                        "{partition} held records up to offset {bound} in {place}, but its directory is gone; bring \
                         it back, or delete the topic, or remove {} to accept the loss",
                        bounds.path().display(),
                    );
                    return Err(Offline { reason }.into());
                }
            }
        }
        self.create(partition, topic_id, config)
    }

    fn existing(&self, log: Arc<Log>, topic_id: Uuid) -> Result<Arc<Log>, LogError> {
        let found = log.topic_id();
        if found.is_zero() {
            log.adopt(topic_id).map_err(|error| self.failed(log.dir(), error))?;
        } else if found != topic_id {
            let partition = log.partition().clone();
            return Err(LogError::TopicId { partition, found, expected: topic_id });
        }
        Ok(log)
    }

    fn emptiest_dir(&self) -> Result<&Arc<LogDir>, LogError> {
        let counts = self.partition_counts(&self.logs.read());
        let online = self.dirs.iter().filter(|dir| dir.offline.get().is_none());
        let emptiest = online.min_by_key(|dir| counts.get(&dir.id).copied().unwrap_or(0));
        emptiest.ok_or_else(|| Offline { reason: "no log directory is online".to_owned() }.into())
    }

    fn partition_counts(&self, logs: &HashMap<TopicPartition, Arc<Log>>) -> HashMap<Uuid, usize> {
        let mut counts = HashMap::new();
        if self.dirs.len() > 1 {
            for log in logs.values() {
                *counts.entry(log.directory_id()).or_default() += 1;
            }
        }
        counts
    }

    fn failed(&self, dir: &LogDir, error: crate::StorageError) -> LogError {
        if error.is_full() {
            dir.spend_reserve();
            return LogError::Full { dir: dir.path.clone() };
        }
        if error.is_out_of_descriptors() {
            dir.note_want_of_descriptors(&error);
            return LogError::Descriptors(error);
        }
        dir.poison(&error);
        LogError::Storage(error)
    }

    /// Takes the partition out of use and renames its directory; the files are removed by
    /// [`LogDirs::tick`] after `file.delete.delay.ms`.
    pub fn delete(&self, partition: &TopicPartition, now: TimestampMs) -> Result<(), LogError> {
        let (delay_ms, path) = self.put_away(partition, "delete")?;
        let due = now.plus_ms(delay_ms);
        self.doomed.lock().push(Doomed { path, due });
        Ok(())
    }

    /// Takes a partition that metadata does not know out of use; its files are kept. Returns where.
    pub fn mark_stray(&self, partition: &TopicPartition) -> Result<PathBuf, LogError> {
        let (_, path) = self.put_away(partition, "stray")?;
        tracing::warn!(%partition, path = %path.display(), "the partition is not in the metadata and is put aside");
        Ok(path)
    }

    /// Renames the partition's directory, whether it could be opened or not; gives its
    /// `file.delete.delay.ms` and where it is now.
    fn put_away(&self, partition: &TopicPartition, suffix: &str) -> Result<(i64, PathBuf), LogError> {
        let name = renamed_directory(partition, suffix);
        if let Some(damaged) = self.offline.write().remove(partition) {
            let dir = self.dirs.iter().find(|dir| damaged.path.starts_with(&dir.path));
            let dir = dir.expect("a damaged partition was found in one of the directories");
            let path = self.rename(dir, &damaged.path, &name)?;
            return Ok((self.defaults.file_delete_delay_ms, path));
        }
        let log = self.logs.write().remove(partition);
        let log = log.ok_or_else(|| LogError::Unknown { partition: partition.clone() })?;
        log.mark_deleted();
        let path = self.rename(log.dir(), log.path(), &name)?;
        log.dir().bounds.forget(log.topic_id(), partition.partition);
        self.shared.tell(std::slice::from_ref(&log));
        Ok((log.config().file_delete_delay_ms, path))
    }

    fn rename(&self, dir: &LogDir, from: &Path, name: &str) -> Result<PathBuf, LogError> {
        let path = dir.path.join(name);
        let renamed = dir.fs.rename(from, &path).at("rename", from);
        renamed.map_err(|error| self.failed(dir, error))?;
        match dir.fs.sync_dir(&dir.path).at("sync", &dir.path) {
            // Fewer partitions are what is needed then. Should the old name come back with a power cut, the
            // metadata does not know it, and it is set aside.
            Err(error) if error.is_out_of_descriptors() => dir.note_want_of_descriptors(&error),
            synced => synced.map_err(|error| self.failed(dir, error))?,
        }
        Ok(path)
    }

    /// Makes everything that was appended so far durable, in all directories.
    pub fn flush(&self) {
        for log in self.logs.read().values().chain([&self.metadata]) {
            if log.has_unsynced() {
                log.enqueue();
            }
        }
        for dir in &self.dirs {
            dir.queue.wait(dir);
        }
    }

    pub fn dirs(&self) -> Vec<DirInfo> {
        let describe = |dir: &Arc<LogDir>| {
            let space = dir.fs.space(&dir.path).ok();
            DirInfo {
                path: dir.path.clone(),
                directory_id: Some(dir.id),
                total_bytes: space.map(|space| space.total_bytes),
                usable_bytes: space.map(|space| space.usable_bytes),
                offline: dir.offline.get().map(|offline| offline.reason.clone()),
            }
        };
        self.dirs.iter().map(describe).chain(self.lost.iter().cloned()).collect()
    }

    /// What a checkpoint of `dir` says of each of its logs.
    fn offsets_of(&self, dir: &LogDir, offset: impl Fn(&Log) -> Option<Offset>) -> Offsets {
        let logs = self.logs.read();
        let of_dir = logs.values().filter(|log| log.directory_id() == dir.id);
        of_dir.filter_map(|log| Some((log.partition().clone(), offset(log)?))).collect()
    }
}

impl Drop for LogDirs {
    fn drop(&mut self) {
        self.committers.clear();
        self.dirs.iter().for_each(|dir| dir.queue.clear());
    }
}

impl std::fmt::Debug for LogDirs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogDirs").field("dirs", &self.dirs).finish_non_exhaustive()
    }
}
