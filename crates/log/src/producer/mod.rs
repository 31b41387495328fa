//! What a partition remembers of the producers that wrote to it (`ProducerStateManager`,
//! `ProducerStateEntry`; KIP-98, KIP-360): enough to recognise a retried batch, to refuse a gap, and to know
//! which transactions are open.
//!
//! It is derived from the log alone: the same batches in the same order give the same state.

mod append;
mod snapshot;

use std::collections::{BTreeMap, HashMap};

use millstream_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

pub use append::Origin;
pub(crate) use append::{CompletedTxn, ProducerUpdate, prepare};
pub(crate) use snapshot::{decode, encode};

/// Of each producer, so that retries of all requests in flight are recognised
/// (`max.in.flight.requests.per.connection` is at most 5 for an idempotent producer).
pub(crate) const BATCHES_KEPT: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchMetadata {
    pub(crate) last_sequence: Sequence,
    pub(crate) last_offset: Offset,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: TimestampMs,
}

impl BatchMetadata {
    pub(crate) fn first_sequence(&self) -> Sequence {
        self.last_sequence.plus(-self.offset_delta)
    }

    pub(crate) fn first_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerEntry {
    /// None until the producer has written with some epoch.
    pub(crate) epoch: Option<ProducerEpoch>,
    /// Oldest first; empty after a marker raised the epoch.
    batches: [Option<BatchMetadata>; BATCHES_KEPT],
    /// Of the coordinator that wrote the last marker; -1 when there was none.
    pub(crate) coordinator_epoch: Option<i32>,
    pub(crate) last_timestamp: TimestampMs,
    /// Where the open transaction begins.
    pub(crate) txn_first_offset: Option<Offset>,
}

impl ProducerEntry {
    pub(crate) fn batches(&self) -> impl DoubleEndedIterator<Item = &BatchMetadata> {
        self.batches.iter().flatten()
    }

    pub(crate) fn last_batch(&self) -> Option<&BatchMetadata> {
        self.batches().next_back()
    }

    pub(crate) fn last_sequence(&self) -> Option<Sequence> {
        self.last_batch().map(|batch| batch.last_sequence)
    }

    fn add(&mut self, batch: BatchMetadata) {
        if self.batches.iter().all(Option::is_some) {
            self.batches.rotate_left(1);
            self.batches[BATCHES_KEPT - 1] = Some(batch);
        } else if let Some(free) = self.batches.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(batch);
        }
    }

    fn raise_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != Some(epoch) {
            self.batches = Default::default();
            self.epoch = Some(epoch);
        }
    }

    /// The kept batch with exactly these sequences: what is appended now is a retry of it.
    pub(crate) fn duplicate_of(
        &self,
        epoch: ProducerEpoch,
        first: Sequence,
        last: Sequence,
    ) -> Option<&BatchMetadata> {
        let same = |batch: &&BatchMetadata| batch.first_sequence() == first && batch.last_sequence == last;
        (self.epoch == Some(epoch)).then(|| self.batches().find(same))?
    }

    /// Puts batches before the oldest one kept, as many as there is room for; `older` is oldest first and
    /// holds only batches of this epoch that end before it.
    fn refill(&mut self, older: &[BatchMetadata]) {
        let kept: Vec<BatchMetadata> = self.batches().copied().collect();
        let room = BATCHES_KEPT - kept.len();
        let older = &older[older.len().saturating_sub(room)..];
        self.batches = Default::default();
        for batch in older.iter().chain(&kept) {
            self.add(*batch);
        }
    }
}

/// One producer, for DescribeProducers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    pub producer_id: ProducerId,
    pub epoch: Option<ProducerEpoch>,
    pub last_sequence: Option<Sequence>,
    pub last_timestamp: TimestampMs,
    pub coordinator_epoch: Option<i32>,
    pub current_txn_start_offset: Option<Offset>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ProducerStates {
    producers: HashMap<ProducerId, ProducerEntry>,
    /// Open transactions by first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Transactions whose marker may not be durable yet: first offset → marker's offset.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl ProducerStates {
    pub(crate) fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    pub(crate) fn get(&self, id: ProducerId) -> Option<&ProducerEntry> {
        self.producers.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    /// As a snapshot or a replay knows it.
    pub(crate) fn insert(&mut self, id: ProducerId, entry: ProducerEntry) {
        if let Some(first) = entry.txn_first_offset {
            self.ongoing.insert(first, id);
        }
        self.producers.insert(id, entry);
    }

    /// Takes an update over, once its batches are written.
    pub(crate) fn apply(&mut self, update: ProducerUpdate) {
        if let Some(first) = update.started {
            self.ongoing.insert(first, update.id);
        }
        if let Some(completed) = update.completed {
            self.ongoing.remove(&completed.first_offset);
            self.unreplicated.insert(completed.first_offset, completed.last_offset);
        }
        self.producers.insert(update.id, update.entry);
    }

    /// What the log's last stable offset will be once `completed` is done.
    pub(crate) fn last_stable_after(&self, completed: &CompletedTxn) -> Offset {
        let other = self.ongoing.iter().find(|(_, id)| **id != completed.producer_id);
        other.map_or(completed.last_offset.next(), |(first, _)| *first)
    }

    /// The first offset that readers of committed records may not see.
    pub(crate) fn first_unstable(&self) -> Option<Offset> {
        let ongoing = self.ongoing.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        ongoing.into_iter().chain(unreplicated).min().copied()
    }

    pub(crate) fn has_unreplicated(&self) -> bool {
        !self.unreplicated.is_empty()
    }

    /// Markers below the high watermark are safe.
    pub(crate) fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, last| *last >= high_watermark);
    }

    /// Forgets producers that were silent too long and have no open transaction.
    pub(crate) fn expire(&mut self, now: TimestampMs, expiration_ms: i64) {
        self.producers.retain(|_, entry| {
            entry.txn_first_offset.is_some() || now.since(entry.last_timestamp) < expiration_ms
        });
    }

    pub(crate) fn active(&self) -> Vec<ActiveProducer> {
        let describe = |(id, entry): (ProducerId, &ProducerEntry)| ActiveProducer {
            producer_id: id,
            epoch: entry.epoch,
            last_sequence: entry.last_sequence(),
            last_timestamp: entry.last_timestamp,
            coordinator_epoch: entry.coordinator_epoch,
            current_txn_start_offset: entry.txn_first_offset,
        };
        self.iter().map(describe).collect()
    }

    /// Gives back what a snapshot does not hold: of each producer the batches before its last.
    /// `found` are batches of the log in its order, with their producers' epochs.
    pub(crate) fn refill(&mut self, found: &HashMap<ProducerId, Vec<(ProducerEpoch, BatchMetadata)>>) {
        for (id, batches) in found {
            let Some(entry) = self.producers.get_mut(id) else { continue };
            let Some(oldest) = entry.batches().next().copied() else { continue };
            let older: Vec<BatchMetadata> = batches
                .iter()
                .filter(|(epoch, batch)| {
                    entry.epoch == Some(*epoch) && batch.last_offset < oldest.first_offset()
                })
                .map(|(_, batch)| *batch)
                .collect();
            entry.refill(&older);
        }
    }
}
