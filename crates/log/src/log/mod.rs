//! One partition's log (`UnifiedLog`): a list of segments, of which the last is appended to.
//!
//! Locks, in the order in which they may be taken together: `appender` (one appender at a time; the only
//! one held while the disk is written), then `epochs`, `ends`, `segments`, `unsynced`, each for a moment.
//! Readers take a copy of the segment list and the ends, and touch the disk without any lock.
//!
//! Invariant: log start offset ≤ last stable offset ≤ high watermark ≤ log end offset; the high watermark
//! and the last stable offset always fall between batches.

mod append;
mod checkpoint;
mod flush;
mod load;
mod lookup;
mod prepare;
mod read;
mod recover;
mod replay;
mod retention;
mod roll;
mod truncate;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use millstream_types::{LeaderEpoch, Offset, TimestampMs, TopicPartition, Uuid};
use parking_lot::{Mutex, RwLock};

pub use append::{AppendInfo, AppendOptions, Judged};
pub(crate) use checkpoint::PendingCheckpoint;
pub(crate) use flush::PendingFlush;
pub(crate) use load::{LoadOptions, Loaded, create, load};
pub use lookup::TimestampOffset;
pub use read::{Isolation, ReadRequest, ReadResult};
pub use recover::Cut;
pub(crate) use retention::Doomed;

use crate::{
    bounds::Slot,
    config::LogConfig,
    dir::{Durability, LogDir},
    error::{LogError, Offline, StorageError},
    fs::File,
    leader_epoch::{EpochStart, LeaderEpochs},
    partition_metadata::write_topic_id,
    producer::{ActiveProducer, ProducerStates},
    segment::{IndexProgress, Segment},
};

pub struct Log {
    partition: TopicPartition,
    identity: RwLock<Identity>,
    path: PathBuf,
    dir: Arc<LogDir>,
    config: RwLock<Arc<LogConfig>>,
    appender: Mutex<Appender>,
    epochs: Mutex<LeaderEpochs>,
    ends: Mutex<Ends>,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    unsynced: Mutex<Unsynced>,
    log_start_offset: AtomicI64,
    log_end_offset: AtomicI64,
    high_watermark: AtomicI64,
    /// `i64::MAX` when every record is decided.
    first_unstable: AtomicI64,
    /// Up to where the last checkpoint says that nothing need be scanned.
    checkpointed: AtomicI64,
    /// Below it the disk holds no segment any more, whatever happens.
    first_on_disk: AtomicI64,
    /// Stands in the directory's commit queue.
    queued: AtomicBool,
    /// A segment was left since the last checkpoint.
    rolled: AtomicBool,
    deleted: AtomicBool,
    offline: OnceLock<Offline>,
}

/// Which topic of that name it is, and where its durable offset is noted.
#[derive(Clone, Copy, Debug)]
struct Identity {
    topic_id: Uuid,
    slot: Slot,
}

/// What only the appender needs.
#[derive(Debug)]
pub(crate) struct Appender {
    active: Arc<Segment>,
    file: Arc<dyn File>,
    next_offset: Offset,
    index: IndexProgress,
    /// The largest timestamp of the active segment's first batch: its age counts from it.
    first_timestamp: Option<TimestampMs>,
    /// When the first batch came into the active segment, for batches without timestamps.
    created: Option<TimestampMs>,
    producers: ProducerStates,
    last_flush: Option<TimestampMs>,
}

/// A place between two batches: an offset, and where its batch begins or will begin.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) offset: Offset,
    pub(crate) segment: Arc<Segment>,
    pub(crate) position: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Ends {
    log_end: Mark,
    durable: Mark,
    /// How often the log was truncated: what was flushed before then says nothing.
    truncations: u64,
}

/// Files and directories that a flush has to cover besides the active segment's file.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    files: Vec<Arc<dyn File>>,
    dirs: Vec<PathBuf>,
    /// Index entries for offsets from here on are in `files`: no recovery point may pass it.
    indexes_from: Option<Offset>,
    /// The same of the flush that is under way.
    flushing_from: Option<Offset>,
}

impl Unsynced {
    fn add_indexes(&mut self, files: Vec<Arc<dyn File>>, from: Offset) {
        if !files.is_empty() {
            self.files.extend(files);
            self.indexes_from = Some(self.indexes_from.map_or(from, |known| known.min(from)));
        }
    }

    /// `offset`, or what of it the synced indexes cover.
    fn indexed(&self, offset: Offset) -> Offset {
        [self.indexes_from, self.flushing_from].into_iter().flatten().fold(offset, Offset::min)
    }

    fn add_dir(&mut self, path: &Path) {
        if !self.dirs.iter().any(|known| known == path) {
            self.dirs.push(path.to_owned());
        }
    }
}

/// What a log is made of once its directory was read; see [`load()`].
pub(crate) struct Parts {
    pub(crate) partition: TopicPartition,
    pub(crate) topic_id: Uuid,
    pub(crate) path: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) next_offset: Offset,
    pub(crate) log_start_offset: Offset,
    pub(crate) index: IndexProgress,
    pub(crate) producers: ProducerStates,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) unsynced: Unsynced,
    pub(crate) slot: Slot,
    /// Everything is on the disk already.
    pub(crate) durable: bool,
    /// What the checkpoint on the disk rightly says.
    pub(crate) recovery_point: Offset,
}

impl Log {
    pub(crate) fn new(dir: Arc<LogDir>, parts: Parts) -> Result<Arc<Self>, StorageError> {
        let active = parts.segments.last().expect("a log has at least one segment").clone();
        let first_timestamp = active.first_timestamp(&*dir.fs)?;
        let file = active.file(&*dir.fs)?;
        let mark =
            |segment: &Arc<Segment>, offset, position| Mark { offset, segment: segment.clone(), position };
        let log_end = mark(&active, parts.next_offset, active.size());
        let first = &parts.segments[0];
        let durable = if parts.durable || dir.shared.durability == Durability::Os {
            log_end.clone()
        } else {
            mark(first, parts.log_start_offset.max(first.base_offset), 0)
        };
        let high_watermark = durable.offset;
        let first_on_disk = first.base_offset;
        let first_unstable = parts.producers.first_unstable().map_or(i64::MAX, |offset| offset.0);
        let appender = Appender {
            active,
            file,
            next_offset: parts.next_offset,
            index: parts.index,
            first_timestamp,
            created: None,
            producers: parts.producers,
            last_flush: None,
        };
        Ok(Arc::new(Self {
            partition: parts.partition,
            identity: RwLock::new(Identity { topic_id: parts.topic_id, slot: parts.slot }),
            path: parts.path,
            dir,
            config: RwLock::new(Arc::new(parts.config)),
            appender: Mutex::new(appender),
            epochs: Mutex::new(parts.epochs),
            ends: Mutex::new(Ends { log_end, durable, truncations: 0 }),
            segments: RwLock::new(Arc::new(parts.segments)),
            unsynced: Mutex::new(parts.unsynced),
            log_start_offset: AtomicI64::new(parts.log_start_offset.0),
            log_end_offset: AtomicI64::new(parts.next_offset.0),
            high_watermark: AtomicI64::new(high_watermark.0),
            first_unstable: AtomicI64::new(first_unstable),
            checkpointed: AtomicI64::new(parts.recovery_point.0),
            first_on_disk: AtomicI64::new(first_on_disk.0),
            queued: AtomicBool::new(false),
            rolled: AtomicBool::new(false),
            deleted: AtomicBool::new(false),
            offline: OnceLock::new(),
        }))
    }

    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// Zero when `partition.metadata` was missing.
    pub fn topic_id(&self) -> Uuid {
        self.identity.read().topic_id
    }

    /// Gives a log whose `partition.metadata` was missing the topic id that metadata names.
    pub(crate) fn adopt(&self, topic_id: Uuid) -> Result<(), StorageError> {
        let mut identity = self.identity.write();
        let metadata = write_topic_id(&*self.dir.fs, &self.path, topic_id)?;
        let mut unsynced = self.unsynced.lock();
        unsynced.files.push(metadata);
        unsynced.add_dir(&self.path);
        let (slot, _) = self.dir.bounds.slot(topic_id, self.partition.partition);
        *identity = Identity { topic_id, slot };
        Ok(())
    }

    /// Notes up to where the log is durable.
    fn note_bound(&self, offset: Offset) {
        let Identity { topic_id, slot } = *self.identity.read();
        self.dir.bounds.set(slot, topic_id, self.partition.partition, offset);
    }

    /// The partition's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the files of all segments but the active one that nobody has used since the last call.
    pub(crate) fn close_unused_files(&self) {
        if let Some((_active, left)) = self.segments().split_last() {
            left.iter().for_each(|segment| segment.close_unused());
        }
    }

    /// The segment file in which `offset` is, or would be.
    pub fn segment_path(&self, offset: Offset) -> PathBuf {
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        segments[after.saturating_sub(1)].path().to_owned()
    }

    /// Of the log directory that holds it (`directory.id`).
    pub fn directory_id(&self) -> Uuid {
        self.dir.id
    }

    pub fn log_dir(&self) -> &Path {
        &self.dir.path
    }

    pub fn config(&self) -> Arc<LogConfig> {
        self.config.read().clone()
    }

    /// Takes effect with the next append or tick.
    pub fn update_config(&self, config: LogConfig) {
        *self.config.write() = Arc::new(config);
    }

    pub fn log_start_offset(&self) -> Offset {
        Offset(self.log_start_offset.load(Ordering::Acquire))
    }

    pub fn log_end_offset(&self) -> Offset {
        Offset(self.log_end_offset.load(Ordering::Acquire))
    }

    /// Up to where readers see: the durable offset, or the log's end when durability is the system's.
    pub fn high_watermark(&self) -> Offset {
        Offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// Up to where readers of committed records see.
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark().min(Offset(self.first_unstable.load(Ordering::Acquire)))
    }

    /// Of all batches, as DescribeLogDirs shows it.
    pub fn size_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.size()).sum()
    }

    pub fn segment_count(&self) -> usize {
        self.segments().len()
    }

    pub fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Why nothing can be read or written any more, if so.
    pub fn offline(&self) -> Option<Offline> {
        self.check_online().err()
    }

    pub fn is_offline(&self) -> bool {
        self.offline.get().is_some() || self.dir.offline.get().is_some()
    }

    pub(crate) fn check_online(&self) -> Result<(), Offline> {
        if let Some(offline) = self.offline.get() {
            return Err(offline.clone());
        }
        self.dir.check_online()
    }

    pub(crate) fn mark_deleted(&self) {
        self.deleted.store(true, Ordering::Release);
        drop(self.offline.set(Offline { reason: format!("{} was deleted", self.partition) }));
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.lock().latest()
    }

    pub fn leader_epochs(&self) -> Vec<EpochStart> {
        self.epochs.lock().entries().to_vec()
    }

    /// The leader epoch of the record at `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.lock().epoch_of(offset)
    }

    /// Where `epoch` ends (OffsetForLeaderEpoch): the epoch that the answer is about and the offset after its
    /// last record; None for an epoch that the log does not know.
    pub fn offset_for_leader_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let log_end_offset = self.log_end_offset();
        self.epochs.lock().end_offset(epoch, log_end_offset)
    }

    /// Notes that a new leadership begins at the log's end, as a leader does when it is made one.
    pub fn assign_leader_epoch(&self, epoch: LeaderEpoch) {
        let appender = self.appender.lock();
        self.epochs.lock().assign(epoch, appender.next_offset);
    }

    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        self.appender.lock().producers.active()
    }

    pub(crate) fn segments(&self) -> Arc<Vec<Arc<Segment>>> {
        self.segments.read().clone()
    }

    pub(crate) fn dir(&self) -> &Arc<LogDir> {
        &self.dir
    }

    /// Turns what the disk did into what it means: a full disk and a want of descriptors pass, anything else
    /// poisons the directory.
    pub(crate) fn storage_failure(&self, error: StorageError) -> LogError {
        if error.is_full() {
            return LogError::Full { dir: self.dir.path.clone() };
        }
        if error.is_out_of_descriptors() {
            self.dir.note_want_of_descriptors(&error);
            return LogError::Descriptors(error);
        }
        if !self.is_deleted() {
            self.dir.poison(&error);
        }
        LogError::Storage(error)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("partition", &self.partition)
            .field("log_start_offset", &self.log_start_offset())
            .field("high_watermark", &self.high_watermark())
            .field("log_end_offset", &self.log_end_offset())
            .finish_non_exhaustive()
    }
}
