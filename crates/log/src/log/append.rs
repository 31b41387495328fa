//! Appending: offsets, producers, the one write, and what it changes.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use millstream_record::batch::{HEADER_BYTES, TimestampType};
use millstream_types::{LeaderEpoch, Offset, TimestampMs};

use super::{
    Appender, Log, Mark,
    prepare::{Prepared, Rules, quickly_opened_bytes_max},
};
use crate::{
    config::LogConfig,
    dir::Durability,
    error::{AppendError, At, LogError, StorageError},
    producer::{Origin, ProducerUpdate, prepare},
    scan::Located,
    txn_index::AbortedTxn,
};

#[derive(Clone, Copy, Debug)]
pub struct AppendOptions {
    /// Of the leader that appends; written into each batch.
    pub leader_epoch: LeaderEpoch,
    pub origin: Origin,
    pub now: TimestampMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// The broker's time, for a topic with `LogAppendTime`; for a duplicate the original's timestamp.
    pub log_append_time: Option<TimestampMs>,
    pub log_start_offset: Offset,
    pub leader_epoch: LeaderEpoch,
    /// The producer repeated a batch that the log has; these are the offsets that it got then.
    pub duplicate: bool,
}

impl AppendInfo {
    /// The append is durable once the high watermark has reached this.
    pub fn end_offset(&self) -> Offset {
        self.last_offset.next()
    }
}

/// Batches that were found to be in order, and are as the topic wants them.
#[derive(Debug)]
pub struct Judged(Vec<Prepared>);

impl Log {
    /// Appends one client batch, or several of the broker's own, all or nothing. Returns when they are
    /// written; they are durable once the high watermark has passed them.
    pub fn append(
        self: &Arc<Self>,
        batches: Bytes,
        options: AppendOptions,
    ) -> Result<AppendInfo, AppendError> {
        let judged = self.judge(batches, options)?;
        self.append_judged(judged, options)
    }

    /// The part of an append that may take long: a batch is opened, whatever its size is then.
    pub fn judge(&self, batches: Bytes, options: AppendOptions) -> Result<Judged, AppendError> {
        self.judge_up_to(self.dir.shared.decompressed_bytes_max, batches, options)
    }

    /// As [`Self::judge`], unless the batch opens to far more than its size: then `None`, and no more than in
    /// proportion to its size was done.
    pub fn judge_quickly(
        &self,
        batches: Bytes,
        options: AppendOptions,
    ) -> Result<Option<Judged>, AppendError> {
        let max = self.dir.shared.decompressed_bytes_max;
        let opened_max = quickly_opened_bytes_max(batches.len()).min(max);
        match self.judge_up_to(opened_max, batches, options) {
            Err(error) if error.is_opened_too_large() && opened_max < max => Ok(None),
            judged => judged.map(Some),
        }
    }

    fn judge_up_to(
        &self,
        decompressed_bytes_max: usize,
        batches: Bytes,
        options: AppendOptions,
    ) -> Result<Judged, AppendError> {
        self.check_online()?;
        let (partition, config) = (&self.partition, &*self.config());
        let rules = Rules { partition, config, options: &options, decompressed_bytes_max };
        rules.prepare(batches).map(Judged)
    }

    /// Appends what was judged, with the same options.
    pub fn append_judged(
        self: &Arc<Self>,
        judged: Judged,
        options: AppendOptions,
    ) -> Result<AppendInfo, AppendError> {
        let Judged(mut prepared) = judged;
        let appended = self.append_prepared(&mut prepared, &self.config(), &options);
        if appended.is_err() && self.unsynced.lock().indexes_from.is_some() {
            // A roll was begun, and what it wrote is to be synced all the same.
            self.enqueue();
        }
        let (info, flush) = appended?;
        if !info.duplicate {
            self.after_append(flush)?;
        }
        Ok(info)
    }

    fn after_append(self: &Arc<Self>, flush: bool) -> Result<(), AppendError> {
        match self.dir.shared.durability {
            Durability::Disk => self.enqueue(),
            Durability::Os => {
                if flush {
                    self.flush_and_wait()?;
                }
                self.dir.shared.tell(std::slice::from_ref(self));
            }
        }
        Ok(())
    }

    /// Asks for a flush round that covers everything written so far.
    pub(crate) fn enqueue(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.dir.queue.push(self.clone());
        }
    }

    fn append_prepared(
        &self,
        batches: &mut [Prepared],
        config: &LogConfig,
        options: &AppendOptions,
    ) -> Result<(AppendInfo, bool), AppendError> {
        let mut appender = self.appender.lock();
        self.check_online()?;
        if let Some(duplicate) = self.find_duplicate(&appender, batches, options) {
            return Ok((duplicate, false));
        }
        if options.origin == Origin::Client && self.dir.is_full() {
            return Err(AppendError::Full { dir: self.dir.path.clone() });
        }
        let base_offset = appender.next_offset;
        let mut next = base_offset;
        for batch in batches.iter_mut() {
            batch.header.base_offset = next.0;
            batch.header.partition_leader_epoch = options.leader_epoch.0;
            next = batch.header.next_offset();
        }
        self.check_epoch(options.leader_epoch)?;
        let updates = self.producer_updates(&appender, batches, options.origin)?;
        let first = self.write(&mut appender, batches, &updates, config, options.now);
        match first {
            Err(error) if error.is_full() && options.origin != Origin::Client && self.dir.spend_reserve() => {
                self.write(&mut appender, batches, &updates, config, options.now)
            }
            Err(error) if error.is_full() => {
                self.dir.spend_reserve();
                Err(error)
            }
            other => other,
        }
        .map_err(|error| self.append_failure(error))?;
        let flush = self.publish(&mut appender, next, updates, config, options);
        let log_append_time = (config.timestamp_type == TimestampType::LogAppendTime).then_some(options.now);
        let info = AppendInfo {
            base_offset,
            last_offset: next.plus(-1),
            log_append_time,
            log_start_offset: self.log_start_offset(),
            leader_epoch: options.leader_epoch,
            duplicate: false,
        };
        Ok((info, flush))
    }

    fn append_failure(&self, error: StorageError) -> AppendError {
        match self.storage_failure(error) {
            LogError::Full { dir } => AppendError::Full { dir },
            LogError::Descriptors(error) => AppendError::Descriptors(error),
            LogError::Storage(error) => AppendError::Storage(error),
            other => unreachable!("a storage failure is one of three kinds: {other}"),
        }
    }

    fn check_epoch(&self, found: LeaderEpoch) -> Result<(), AppendError> {
        match self.epochs.lock().latest() {
            Some(current) if found < current => {
                Err(AppendError::FencedLeaderEpoch { partition: self.partition.clone(), found, current })
            }
            _ => Ok(()),
        }
    }

    fn find_duplicate(
        &self,
        appender: &Appender,
        batches: &[Prepared],
        options: &AppendOptions,
    ) -> Option<AppendInfo> {
        let [batch] = batches else { return None };
        let producer = batch.header.producer().filter(|_| options.origin == Origin::Client)?;
        let entry = appender.producers.get(producer.id)?;
        let last = batch.header.last_sequence()?;
        let original = entry.duplicate_of(producer.epoch, producer.base_sequence?, last)?;
        Some(AppendInfo {
            base_offset: original.first_offset(),
            last_offset: original.last_offset,
            log_append_time: Some(original.timestamp),
            log_start_offset: self.log_start_offset(),
            leader_epoch: options.leader_epoch,
            duplicate: true,
        })
    }

    fn producer_updates(
        &self,
        appender: &Appender,
        batches: &[Prepared],
        origin: Origin,
    ) -> Result<Vec<ProducerUpdate>, AppendError> {
        let mut updates: Vec<ProducerUpdate> = Vec::new();
        for batch in batches {
            let Some(producer) = batch.header.producer() else { continue };
            let earlier = updates.iter().rfind(|update| update.id == producer.id).map(|update| &update.entry);
            let entry = earlier.or_else(|| appender.producers.get(producer.id)).cloned().unwrap_or_default();
            updates.extend(prepare(&self.partition, entry, &batch.header, batch.marker, Some(origin))?);
        }
        Ok(updates)
    }

    /// Rolls if need be and writes. Until this has succeeded nothing has changed that anyone can see.
    fn write(
        &self,
        appender: &mut Appender,
        batches: &[Prepared],
        updates: &[ProducerUpdate],
        config: &LogConfig,
        now: TimestampMs,
    ) -> Result<(), StorageError> {
        let size = batches.iter().map(|batch| batch.size_in_bytes() as u64).sum();
        let last = batches.last().expect("an append holds a batch").header.last_offset();
        let latest = batches.iter().filter_map(|batch| batch.header.max_timestamp()).max();
        if self.must_roll(appender, config, size, last, latest, now) {
            self.roll(appender, config)?;
        }
        let aborted = updates.iter().any(|update| update.completed.is_some_and(|txn| txn.aborted));
        if aborted && let Err(error) = self.write_aborted(appender, updates) {
            appender.active.aborted.truncate(&*self.dir.fs, appender.next_offset)?;
            return Err(error);
        }
        let heads: Vec<[u8; HEADER_BYTES]> = batches.iter().map(|batch| batch.header.to_bytes()).collect();
        let mut slices: Vec<&[u8]> = Vec::with_capacity(2 * batches.len());
        for (head, batch) in heads.iter().zip(batches) {
            slices.extend([head.as_slice(), &batch.body]);
        }
        let start = appender.active.size();
        let path = appender.active.path();
        if let Err(error) = appender.file.write_at(&slices, start) {
            // What was written of it must not stay: the next append goes to the same place.
            let undone = appender.file.truncate(start).at("truncate", path);
            if aborted {
                appender.active.aborted.truncate(&*self.dir.fs, appender.next_offset)?;
            }
            undone?;
            return Err(error).at("write", path);
        }
        let mut position = start;
        for batch in batches {
            let located = Located { position, header: batch.header };
            position = located.end();
            appender.index.note(&appender.active, &located, config.index_interval_bytes);
        }
        appender.active.set_size(position);
        if start == 0 {
            appender.first_timestamp = batches[0].header.max_timestamp();
            appender.created = Some(now);
        }
        Ok(())
    }

    /// Notes aborted transactions before their markers are written: a marker without its entry would make
    /// aborted records look committed.
    fn write_aborted(&self, appender: &Appender, updates: &[ProducerUpdate]) -> Result<(), StorageError> {
        for completed in updates.iter().filter_map(|update| update.completed).filter(|txn| txn.aborted) {
            let entry = AbortedTxn {
                producer_id: completed.producer_id,
                first_offset: completed.first_offset,
                last_offset: completed.last_offset,
                last_stable_offset: appender.producers.last_stable_after(&completed),
            };
            let file = appender.active.aborted.append(&*self.dir.fs, entry)?;
            let mut unsynced = self.unsynced.lock();
            unsynced.files.push(file);
            unsynced.add_dir(&self.path);
        }
        Ok(())
    }

    /// Lets everyone see what was written. True when `flush.messages` asks for a flush.
    fn publish(
        &self,
        appender: &mut Appender,
        next: Offset,
        updates: Vec<ProducerUpdate>,
        config: &LogConfig,
        options: &AppendOptions,
    ) -> bool {
        self.epochs.lock().assign(options.leader_epoch, appender.next_offset);
        if !updates.is_empty() {
            for update in updates {
                appender.producers.apply(update);
            }
            self.publish_first_unstable(appender);
        }
        appender.next_offset = next;
        let mark = Mark { offset: next, segment: appender.active.clone(), position: appender.active.size() };
        let mut ends = self.ends.lock();
        ends.log_end = mark;
        let unflushed = next.since(ends.durable.offset);
        drop(ends);
        self.log_end_offset.store(next.0, Ordering::Release);
        if self.dir.shared.durability == Durability::Os {
            self.high_watermark.store(next.0, Ordering::Release);
            self.settle_transactions(appender);
            return unflushed >= config.flush_messages;
        }
        false
    }

    pub(super) fn publish_first_unstable(&self, appender: &Appender) {
        let first = appender.producers.first_unstable().map_or(i64::MAX, |offset| offset.0);
        self.first_unstable.store(first, Ordering::Release);
    }

    /// Transactions whose marker lies below the high watermark are decided for good.
    pub(super) fn settle_transactions(&self, appender: &mut Appender) {
        if appender.producers.has_unreplicated() {
            appender.producers.on_high_watermark(self.high_watermark());
            self.publish_first_unstable(appender);
        }
    }
}
