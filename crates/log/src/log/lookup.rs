//! Offsets by time (ListOffsets; `UnifiedLog.fetchOffsetByTimestamp`, `LogSegment.findOffsetByTimestamp`).

use std::ops::ControlFlow;

use millstream_record::batch::{BatchError, HEADER_BYTES, walk};
use millstream_types::{LeaderEpoch, Offset, TimestampMs};

use super::{Isolation, Log};
use crate::{
    cold::ColdReads,
    error::{At, LogError, ReadError},
    index::TimeEntry,
    scan::Located,
    segment::Segment,
};

/// A record's timestamp and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    /// Of the batch that holds the record.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Log {
    /// The first record at or after `timestamp`, if it lies within what `isolation` sees.
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
        isolation: Isolation,
    ) -> Result<Option<TimestampOffset>, LogError> {
        self.check_online()?;
        let segments = self.segments();
        // A gap in a segment that the log start offset has entered makes the next one a candidate as well.
        for segment in segments.iter() {
            if self.max_timestamp_of(segment)?.is_some_and(|max| max.timestamp >= timestamp)
                && let Some(found) = self.find_in(segment, timestamp)?
            {
                return Ok(Some(found).filter(|found| found.offset < self.visible_end(isolation)));
            }
        }
        Ok(None)
    }

    /// The first record with the largest timestamp of all, if it lies within what `isolation` sees.
    pub fn max_timestamp_offset(&self, isolation: Isolation) -> Result<Option<TimestampOffset>, LogError> {
        self.check_online()?;
        let segments = self.segments();
        let mut latest = None;
        for segment in segments.iter() {
            if let Some(max) = self.max_timestamp_of(segment)?
                && latest.is_none_or(|(_, known): (_, TimeEntry)| max.timestamp > known.timestamp)
            {
                latest = Some((segment, max));
            }
        }
        let Some((segment, max)) = latest else { return Ok(None) };
        let found = self.find_in(segment, max.timestamp)?;
        Ok(found.filter(|found| found.offset < self.visible_end(isolation)))
    }

    /// The first offset that `isolation` does not see.
    pub fn visible_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark(),
            Isolation::ReadCommitted => self.last_stable_offset(),
            Isolation::LogEnd => self.log_end_offset(),
        }
    }

    fn max_timestamp_of(&self, segment: &Segment) -> Result<Option<TimeEntry>, LogError> {
        segment.checked_max_timestamp(&*self.dir.fs).map_err(|error| self.lookup_failure(error))
    }

    fn find_in(
        &self,
        segment: &Segment,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let fs = &*self.dir.fs;
        let start = self.log_start_offset();
        // All records up to this entry's offset are earlier, if it is right.
        let mut earlier = segment.time_index.last_where(fs, |entry| entry.timestamp < timestamp)?;
        if let Some(entry) = earlier
            && !segment.vouches_for(fs, entry).map_err(|error| self.lookup_failure(error))?
        {
            earlier = None;
        }
        let from = earlier.map_or(segment.base_offset, |entry| entry.offset).max(start);
        let end = segment.size();
        let located =
            segment.locate(fs, from, end, ColdReads::Wait).map_err(|error| self.lookup_failure(error))?;
        let Some(located) = located else { return Ok(None) };
        let file = segment.file(fs)?;
        let mut walk = segment.walk(&*file, located.position, end);
        loop {
            let batch = match walk.next().at("read", segment.path())? {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(None),
                Err(bad) => return Err(self.lookup_failure(segment.corrupt(&bad))),
            };
            if batch.header.max_timestamp >= timestamp.0
                && let Some(found) = self.find_in_batch(segment, &batch, timestamp, start)?
            {
                return Ok(Some(found));
            }
        }
    }

    fn find_in_batch(
        &self,
        segment: &Segment,
        batch: &Located,
        timestamp: TimestampMs,
        start: Offset,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let header = &batch.header;
        let corrupt = |source: BatchError| LogError::Corrupt { partition: self.partition.clone(), source };
        let length = header.size_in_bytes() - HEADER_BYTES;
        let mut stored = Vec::new();
        let file = segment.file(&*self.dir.fs)?;
        file.read_into(&mut stored, length, batch.position + HEADER_BYTES as u64)
            .at("read", segment.path())?;
        let mut found = None;
        let max = self.dir.shared.decompressed_bytes_max;
        let walked = walk(header, &stored, max, |record| {
            let offset = header.base_offset().plus(i64::from(record.offset_delta));
            if record.timestamp < timestamp || offset < start {
                return ControlFlow::Continue(());
            }
            found = Some(TimestampOffset {
                timestamp: record.timestamp,
                offset,
                leader_epoch: header.leader_epoch(),
            });
            ControlFlow::Break(())
        });
        walked.map_err(corrupt)?;
        Ok(found)
    }

    fn lookup_failure(&self, error: ReadError) -> LogError {
        match error {
            ReadError::Storage(error) => LogError::Storage(error),
            ReadError::Descriptors(error) => LogError::Descriptors(error),
            ReadError::Offline(offline) => offline.into(),
            other => crate::Offline { reason: other.to_string() }.into(),
        }
    }
}
