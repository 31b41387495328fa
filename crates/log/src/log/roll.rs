//! Leaving the active segment for a new one (`UnifiedLog.maybeRoll`, `LogSegment.shouldRoll`).

use std::sync::{Arc, atomic::Ordering};

use millstream_types::{Offset, TimestampMs};

use super::{Appender, Log, Mark};
use crate::{
    config::LogConfig,
    error::{At, StorageError},
    fs::{File, OpenMode, remove_if_there},
    names::{SNAPSHOT, file_path},
    producer,
    segment::{IndexProgress, Segment},
};

impl Log {
    /// Whether a batch set of `size` bytes up to offset `last` needs a new segment.
    pub(super) fn must_roll(
        &self,
        appender: &Appender,
        config: &LogConfig,
        size: u64,
        last: Offset,
        latest: Option<TimestampMs>,
        now: TimestampMs,
    ) -> bool {
        let active = &appender.active;
        if active.size() == 0 {
            return !active.can_hold(last);
        }
        active.size() + size > u64::from(config.segment_bytes)
            || self.is_old(appender, config, latest, now)
            || active.indexes_are_full(config)
            || !active.can_hold(last)
    }

    /// Whether `segment.ms` has passed: by the records' own time if they have one, else by the clock.
    pub(super) fn is_old(
        &self,
        appender: &Appender,
        config: &LogConfig,
        latest: Option<TimestampMs>,
        now: TimestampMs,
    ) -> bool {
        let waited = match (appender.first_timestamp, latest) {
            (Some(first), Some(latest)) => latest.since(first),
            (Some(first), None) => now.since(first),
            (None, _) => now.since(appender.created.unwrap_or(now)),
        };
        waited > config.segment_ms.saturating_sub(self.roll_jitter_ms(appender.active.base_offset, config))
    }

    /// Spreads the rolls of many partitions (`segment.jitter.ms`); the same segment always gets the same.
    fn roll_jitter_ms(&self, base_offset: Offset, config: &LogConfig) -> i64 {
        let most = config.segment_jitter_ms.min(config.segment_ms);
        if most <= 0 {
            return 0;
        }
        let seed = crc32c::crc32c(self.partition.to_string().as_bytes());
        i64::from(crc32c::crc32c_append(seed, &base_offset.0.to_be_bytes())) % most
    }

    /// Begins a segment at the log's end. When it fails nothing has changed.
    pub(super) fn roll(&self, appender: &mut Appender, config: &LogConfig) -> Result<(), StorageError> {
        let left = appender.active.clone();
        let base_offset = appender.next_offset;
        left.finish_time_index();
        let mut files = Vec::new();
        let begun = self.begin_segment(appender, config, &mut files);
        files.push(appender.file.clone());
        {
            // The checkpoint before has synced what it covers.
            let from = self.recovery_point().max(left.base_offset);
            let mut unsynced = self.unsynced.lock();
            unsynced.add_indexes(files, from);
            unsynced.add_dir(&self.path);
        }
        let (segment, file) = begun?;
        let mut segments = self.segments.write();
        let mut list = Vec::clone(&segments);
        // An empty segment whose indexes cannot hold the next offset is replaced by one that can.
        if left.base_offset == base_offset {
            list.pop();
        }
        list.push(segment.clone());
        *segments = Arc::new(list);
        drop(segments);
        let mut ends = self.ends.lock();
        ends.log_end = Mark { offset: base_offset, segment: segment.clone(), position: 0 };
        drop(ends);
        appender.active = segment;
        appender.file = file;
        appender.index = IndexProgress::default();
        appender.first_timestamp = None;
        appender.created = None;
        self.rolled.store(true, Ordering::Release);
        tracing::debug!(partition = %self.partition, %base_offset, "rolled a segment");
        Ok(())
    }

    /// The new segment and its file, once what belongs to the one before is written. What was written is added to
    /// `files`, also when the rest fails.
    fn begin_segment(
        &self,
        appender: &Appender,
        config: &LogConfig,
        files: &mut Vec<Arc<dyn File>>,
    ) -> Result<(Arc<Segment>, Arc<dyn File>), StorageError> {
        let (fs, left) = (&*self.dir.fs, &appender.active);
        left.write_indexes(fs, files)?;
        if config.preallocate {
            appender.file.truncate(left.size()).at("truncate", left.path())?;
        }
        files.push(self.write_snapshot(appender)?);
        let segment = Arc::new(Segment::new(&self.path, appender.next_offset, 0));
        let file = segment.create_file(fs)?;
        if config.preallocate
            && let Err(error) = file.allocate(u64::from(config.segment_bytes)).at("allocate", segment.path())
        {
            // The segment before goes on: a restart must not find another that begins within it.
            remove_if_there(fs, segment.path()).at("remove", segment.path())?;
            return Err(error);
        }
        Ok((segment, file))
    }

    /// Writes what is known of producers at the log's end; the file still has to be synced.
    pub(super) fn write_snapshot(&self, appender: &Appender) -> Result<Arc<dyn File>, StorageError> {
        let path = file_path(&self.path, appender.next_offset, SNAPSHOT);
        let file = self.dir.fs.open(&path, OpenMode::Truncate).at("create", &path)?;
        file.write_at(&[&producer::encode(&appender.producers)], 0).at("write", &path)?;
        Ok(file)
    }
}
