//! Leaving the active segment for a new one (`UnifiedLog.maybeRoll`, `LogSegment.shouldRoll`).

use std::sync::{Arc, atomic::Ordering};

use millstream_types::{Offset, TimestampMs};

use super::{Appender, Log, Mark};
use crate::{
    config::LogConfig,
    error::{At, StorageError},
    fs::{File, OpenMode},
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
        let fs = &*self.dir.fs;
        let left = appender.active.clone();
        left.finish_time_index();
        let mut files = left.write_indexes(fs)?;
        if config.preallocate {
            appender.file.truncate(left.size()).at("truncate", left.path())?;
        }
        let base_offset = appender.next_offset;
        files.push(self.write_snapshot(appender)?);
        let segment = Arc::new(Segment::new(&self.path, base_offset, 0));
        let file = segment.create_file(fs)?;
        if config.preallocate {
            file.allocate(u64::from(config.segment_bytes)).at("allocate", segment.path())?;
        }
        files.push(appender.file.clone());
        {
            let mut unsynced = self.unsynced.lock();
            unsynced.files.append(&mut files);
            unsynced.add_dir(&self.path);
        }
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

    /// Writes what is known of producers at the log's end; the file still has to be synced.
    pub(super) fn write_snapshot(&self, appender: &Appender) -> Result<Arc<dyn File>, StorageError> {
        let path = file_path(&self.path, appender.next_offset, SNAPSHOT);
        let file = self.dir.fs.open(&path, OpenMode::Truncate).at("create", &path)?;
        file.write_at(&[&producer::encode(&appender.producers)], 0).at("write", &path)?;
        Ok(file)
    }
}
