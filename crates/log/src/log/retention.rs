//! What goes from the log's beginning: by age, by size, by request (`UnifiedLog.deleteOldSegments`,
//! `maybeIncrementLogStartOffset`). Files are renamed to `.deleted` first and removed after
//! `file.delete.delay.ms`, so that readers that are about to open them still can finish.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use millstream_types::{Offset, TimestampMs, Uuid};

use super::Log;
use crate::{
    config::LogConfig,
    error::{At, LogError, StorageError},
    index::TimeEntry,
    names::{DELETED, INDEX, LOG, SNAPSHOT, TIME_INDEX, TXN_INDEX, file_path},
    segment::Segment,
};

/// A file or directory to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub(crate) path: PathBuf,
    pub(crate) due: TimestampMs,
}

impl Log {
    /// As [`LogDirs::delete_records`](crate::LogDirs::delete_records), but on the disk only with the next tick.
    pub fn delete_records_to(&self, offset: Option<Offset>) -> Result<Offset, LogError> {
        self.check_online()?;
        let high_watermark = self.high_watermark();
        let offset = offset.unwrap_or(high_watermark);
        if offset > high_watermark || offset < Offset::ZERO {
            return Err(LogError::OutOfRange {
                partition: self.partition.clone(),
                offset,
                log_start_offset: self.log_start_offset(),
                high_watermark,
            });
        }
        self.raise_log_start(offset);
        Ok(self.log_start_offset())
    }

    fn raise_log_start(&self, offset: Offset) {
        let mut epochs = self.epochs.lock();
        if self.log_start_offset.fetch_max(offset.0, Ordering::AcqRel) < offset.0 {
            epochs.truncate_from_start(offset);
        }
    }

    /// Raises the log start offset past what retention lets go. True if there are segments below it now, which
    /// may go once the offset is on the disk: of several files renamed any may come back with a power cut.
    pub(crate) fn plan_retention(&self, now: TimestampMs) -> Result<bool, StorageError> {
        let config = self.config();
        let mut appender = self.appender.lock();
        let mut count = self.deletable(&config, now);
        if count > 0 && count == self.segments().len() {
            // The last one can go as well; an empty one takes its place.
            self.roll(&mut appender, &config)?;
            count = self.segments().len() - 1;
        }
        if count > 0 {
            self.raise_log_start(self.segments()[count].base_offset);
        }
        Ok(count > 0)
    }

    /// Renames the files of segments that lie below the log start offset; returns what is to be removed, and
    /// when.
    pub(crate) fn drop_old_segments(&self, now: TimestampMs) -> Result<Vec<Doomed>, StorageError> {
        let appender = self.appender.lock();
        let (segments, start) = (self.segments(), self.log_start_offset());
        let count = segments.iter().skip(1).take_while(|segment| segment.base_offset <= start).count();
        let (old, kept) = segments.split_at(count);
        *self.segments.write() = Arc::new(kept.to_vec());
        drop(appender);
        let due = now.plus_ms(self.config().file_delete_delay_ms);
        let mut doomed = Vec::new();
        for segment in old {
            tracing::info!(partition = %self.partition, base_offset = %segment.base_offset, "deleting a segment");
            self.doom(segment, due, &mut doomed)?;
            // The metadata log stands in no checkpoint: its beginning is its first segment, so no later one
            // may be gone while an earlier one comes back.
            if self.topic_id() == Uuid::METADATA_TOPIC {
                self.dir.fs.sync_dir(&self.path).at("sync", &self.path)?;
            }
        }
        Ok(doomed)
    }

    /// The directory was synced: no segment below the first one can come back.
    pub(crate) fn note_first_segment(&self) {
        self.first_on_disk.store(self.first_segment_offset().0, Ordering::Release);
    }

    /// The log start offset, if what is on the disk does not say it by itself.
    pub(crate) fn log_start_to_checkpoint(&self) -> Option<Offset> {
        let start = self.log_start_offset();
        (start.0 > self.first_on_disk.load(Ordering::Acquire)).then_some(start)
    }

    /// How many segments at the beginning may go. None beyond the high watermark may.
    fn deletable(&self, config: &LogConfig, now: TimestampMs) -> usize {
        let segments = self.segments();
        let end_of = |index: usize| {
            segments.get(index + 1).map_or_else(|| self.log_end_offset(), |next| next.base_offset)
        };
        let (start, high_watermark) = (self.log_start_offset(), self.high_watermark());
        let mut excess = match (config.cleanup_policy.delete, config.retention_bytes) {
            (true, Some(limit)) => self.size_bytes().saturating_sub(limit),
            _ => 0,
        };
        let mut count = 0;
        for (index, segment) in segments.iter().enumerate() {
            let size = segment.size();
            let expired = config.cleanup_policy.delete && self.is_expired(segment, config, now);
            let too_much = excess > 0 && excess >= size;
            let below_start = index + 1 < segments.len() && end_of(index) <= start;
            let empty_end = index + 1 == segments.len() && size == 0;
            if !(expired || too_much || below_start) || end_of(index) > high_watermark || empty_end {
                break;
            }
            if too_much {
                excess -= size;
            }
            count = index + 1;
        }
        count
    }

    /// By the records' own time; a segment without timestamps does not age.
    fn is_expired(&self, segment: &Segment, config: &LogConfig, now: TimestampMs) -> bool {
        let Some(retention_ms) = config.retention_ms else { return false };
        let is_old = |max: TimeEntry| now.since(max.timestamp) > retention_ms;
        segment.max_timestamp().is_some_and(is_old)
            && segment.checked_max_timestamp(&*self.dir.fs).is_ok_and(|max| max.is_some_and(is_old))
    }

    fn doom(
        &self,
        segment: &Segment,
        due: TimestampMs,
        doomed: &mut Vec<Doomed>,
    ) -> Result<(), StorageError> {
        let fs = &*self.dir.fs;
        for kind in [LOG, INDEX, TIME_INDEX, TXN_INDEX, SNAPSHOT] {
            let path = file_path(&self.path, segment.base_offset, kind);
            let marked = file_path(&self.path, segment.base_offset, &format!("{kind}.{DELETED}"));
            match fs.rename(&path, &marked) {
                Ok(()) => doomed.push(Doomed { path: marked, due }),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("rename", &path),
            }
        }
        Ok(())
    }
}
