//! Taking batches off the log's end. No part of the broker does this to a log that it leads; tests of
//! recovery and the simulator do. And beginning again empty, as the metadata log does where a snapshot says
//! more than it (`UnifiedLog.truncateFullyAndStartAt`).

use std::sync::{Arc, atomic::Ordering};

use millstream_types::Offset;

use super::{Appender, Identity, Log, Mark, recover::SegmentScan, replay::Replay};
use crate::{
    cold::ColdReads,
    error::{At, LogError, StorageError},
    fs::remove_if_there,
    names::{LOG, SNAPSHOT, file_path, parse_file},
    producer::ProducerStates,
    segment::{IndexProgress, Segment},
};

impl Log {
    /// Removes the batch that holds `offset` and all after it.
    pub fn truncate_to(&self, offset: Offset) -> Result<(), LogError> {
        self.check_online()?;
        if offset >= self.log_end_offset() {
            return Ok(());
        }
        self.truncate(offset).map_err(|error| self.storage_failure(error))
    }

    fn truncate(&self, offset: Offset) -> Result<(), StorageError> {
        let mut appender = self.appender.lock();
        let fs = &*self.dir.fs;
        if self.durable_offset() > offset {
            let Identity { topic_id, slot } = *self.identity.read();
            self.dir.bounds.lower(slot, topic_id, self.partition.partition, Offset::ZERO)?;
        }
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.base_offset <= offset).max(1);
        let (kept, gone) = segments.split_at(after);
        let target = &kept[kept.len() - 1];
        let located = target.locate(fs, offset, target.size(), ColdReads::Wait).ok().flatten();
        let position = located.map_or(target.size(), |batch| batch.position);
        let trusted_until = located.map_or(offset, |batch| batch.header.base_offset());
        target.file(fs)?.truncate(position).at("truncate", target.path())?;
        for segment in gone {
            self.remove_files(segment)?;
        }
        let scan = SegmentScan {
            fs,
            dir: &self.path,
            base_offset: target.base_offset,
            trusted_until,
            flushed_until: None,
            cleaned_until: Offset(i64::MAX),
            index_interval_bytes: self.config().index_interval_bytes,
        };
        let scanned = scan.run()?;
        let next_offset = scanned.next_offset;
        let active = Arc::new(scanned.segment);
        let mut list = kept[..kept.len() - 1].to_vec();
        list.push(active.clone());
        let snapshots = self.snapshot_offsets()?;
        let replay = Replay {
            fs,
            dir: &self.path,
            partition: &self.partition,
            segments: &list,
            snapshots,
            log_start_offset: self.log_start_offset(),
            next_offset,
            aborted_unknown_from: None,
        };
        appender.producers = replay.run()?;
        appender.file = active.file(fs)?;
        appender.index = scanned.progress;
        appender.first_timestamp = active.first_timestamp(fs)?;
        appender.next_offset = next_offset;
        appender.active = active.clone();
        self.epochs.lock().truncate_from_end(next_offset);
        *self.segments.write() = Arc::new(list);
        appender.file.sync_data().at("sync", active.path())?;
        let mark = Mark { offset: next_offset, segment: active.clone(), position: active.size() };
        let mut ends = self.ends.lock();
        ends.truncations += 1;
        if ends.durable.offset > next_offset {
            ends.durable = mark.clone();
        }
        ends.log_end = mark;
        drop(ends);
        self.log_end_offset.store(next_offset.0, Ordering::Release);
        self.high_watermark.fetch_min(next_offset.0, Ordering::AcqRel);
        self.log_start_offset.fetch_min(next_offset.0, Ordering::AcqRel);
        self.publish_first_unstable(&appender);
        Ok(())
    }

    /// Removes everything: the log is empty, and begins and ends at `offset`.
    pub fn restart_at(&self, offset: Offset) -> Result<(), LogError> {
        self.check_online()?;
        let mut appender = self.appender.lock();
        self.restart(&mut appender, offset).map_err(|error| self.storage_failure(error))
    }

    fn restart(&self, appender: &mut Appender, offset: Offset) -> Result<(), StorageError> {
        let fs = &*self.dir.fs;
        let Identity { topic_id, slot } = *self.identity.read();
        self.dir.bounds.lower(slot, topic_id, self.partition.partition, Offset::ZERO)?;
        // From the end, and each on the disk before the next: a crash leaves a shorter log without gaps.
        for segment in self.segments().iter().rev() {
            self.remove_files(segment)?;
            fs.sync_dir(&self.path).at("sync", &self.path)?;
        }
        for snapshot in self.snapshot_offsets()? {
            let path = file_path(&self.path, snapshot, SNAPSHOT);
            remove_if_there(fs, &path).at("remove", &path)?;
        }
        let active = Arc::new(Segment::new(&self.path, offset, 0));
        appender.file = active.create_file(fs)?;
        appender.file.sync_data().at("sync", active.path())?;
        fs.sync_dir(&self.path).at("sync", &self.path)?;
        appender.active = active.clone();
        appender.next_offset = offset;
        appender.index = IndexProgress::default();
        appender.first_timestamp = None;
        appender.created = None;
        appender.producers = ProducerStates::default();
        self.epochs.lock().truncate_from_end(Offset::ZERO);
        let mark = Mark { offset, segment: active.clone(), position: 0 };
        let mut ends = self.ends.lock();
        ends.truncations += 1;
        ends.durable = mark.clone();
        ends.log_end = mark;
        drop(ends);
        *self.segments.write() = Arc::new(vec![active]);
        for end in [&self.log_start_offset, &self.high_watermark, &self.log_end_offset] {
            end.store(offset.0, Ordering::Release);
        }
        self.note_first_segment();
        self.publish_first_unstable(appender);
        Ok(())
    }

    fn remove_files(&self, segment: &Segment) -> Result<(), StorageError> {
        let fs = &*self.dir.fs;
        for path in [
            file_path(&self.path, segment.base_offset, LOG),
            segment.index.path().to_owned(),
            segment.time_index.path().to_owned(),
        ] {
            remove_if_there(fs, &path).at("remove", &path)?;
        }
        segment.aborted.truncate(fs, Offset::ZERO)
    }

    /// Offsets of the snapshots in the directory, rising.
    pub(super) fn snapshot_offsets(&self) -> Result<Vec<Offset>, StorageError> {
        let listed = self.dir.fs.list(&self.path).at("list", &self.path)?;
        let offset = |name: &str| match parse_file(name) {
            Some((offset, SNAPSHOT, None)) => Some(offset),
            _ => None,
        };
        let mut offsets: Vec<Offset> = listed.iter().filter_map(|entry| offset(&entry.name)).collect();
        offsets.sort_unstable();
        Ok(offsets)
    }
}
