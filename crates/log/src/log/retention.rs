//! What goes from the log's beginning: by age, by size, by request (`UnifiedLog.deleteOldSegments`,
//! `maybeIncrementLogStartOffset`). Files are renamed to `.deleted` first and removed after
//! `file.delete.delay.ms`, so that readers that are about to open them still can finish.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use millstream_types::{Offset, TimestampMs};

use super::Log;
use crate::{
    config::LogConfig,
    error::{At, LogError, StorageError},
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
    /// Moves the log's start to `offset`, or to the high watermark if None (DeleteRecords). Returns the log
    /// start offset. Segments that fall below it go with the next tick.
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

    /// Applies retention: what can go is renamed and returned, to be removed when it is due.
    pub(crate) fn apply_retention(&self, now: TimestampMs) -> Result<Vec<Doomed>, StorageError> {
        let config = self.config();
        let mut appender = self.appender.lock();
        let mut count = self.deletable(&config, now);
        if count == 0 {
            return Ok(Vec::new());
        }
        if count == self.segments().len() {
            // The last one can go as well; an empty one takes its place.
            if appender.active.size() == 0 {
                count -= 1;
            } else {
                self.roll(&mut appender, &config)?;
            }
        }
        let segments = self.segments();
        let (old, kept) = segments.split_at(count);
        self.raise_log_start(kept[0].base_offset);
        *self.segments.write() = Arc::new(kept.to_vec());
        drop(appender);
        let mut doomed = Vec::new();
        for segment in old {
            tracing::info!(partition = %self.partition, base_offset = %segment.base_offset, "deleting a segment");
            self.doom(segment, now.plus_ms(config.file_delete_delay_ms), &mut doomed)?;
        }
        self.unsynced.lock().add_dir(&self.path);
        Ok(doomed)
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
            let expired = config.cleanup_policy.delete && is_expired(segment, config, now);
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

/// By the records' own time; a segment without timestamps does not age.
fn is_expired(segment: &Segment, config: &LogConfig, now: TimestampMs) -> bool {
    match (config.retention_ms, segment.max_timestamp()) {
        (Some(retention_ms), Some(max)) => now.since(max.timestamp) > retention_ms,
        _ => false,
    }
}
