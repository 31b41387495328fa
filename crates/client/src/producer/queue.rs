//! One partition's records on their way: an open batch that still takes records, and closed ones in the
//! order in which they must reach the log.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use millstream_record::{BatchBuilder, BatchOptions, ProducerInfo, RecordBatch, batch};
use millstream_types::{BrokerId, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::accumulator::NewRecord;
use crate::{Result, metrics::BatchFigures};

/// Which closed batch, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BatchId(pub(super) u64);

/// Someone who waits for a record's fate.
#[derive(Debug)]
pub(super) struct Pending<W> {
    pub(super) waiter: W,
    pub(super) timestamp: TimestampMs,
}

/// A batch that still takes records.
#[derive(Debug)]
pub(super) struct OpenBatch<W> {
    builder: BatchBuilder,
    pending: Vec<Pending<W>>,
    pub(super) created: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    InFlight(BrokerId),
}

/// A batch that takes no more records.
#[derive(Debug)]
pub(super) struct Batch<W> {
    pub(super) id: BatchId,
    pub(super) bytes: Bytes,
    /// Its size before it was compressed.
    plain_bytes: usize,
    pub(super) pending: Vec<Pending<W>>,
    /// When its first record came; linger and delivery timeout count from here.
    pub(super) created: Instant,
    pub(super) state: State,
    /// Of its first record; given when it is first sent.
    pub(super) sequence: Option<Sequence>,
    /// It was sent and the answer, if there was one, does not say whether the broker has it.
    pub(super) maybe_appended: bool,
    pub(super) attempts: u32,
    /// Of those attempts that reached a broker, those that failed.
    pub(super) failures: u32,
    /// Of its last sending among those of the partition.
    pub(super) ordinal: usize,
}

#[derive(Debug)]
pub(super) struct Queue<W> {
    pub(super) open: Option<OpenBatch<W>>,
    /// The first are in flight, unless one of them has failed and waits to be sent again.
    pub(super) closed: VecDeque<Batch<W>>,
    pub(super) next_sequence: Sequence,
    /// Sendings until now.
    pub(super) sent: usize,
    /// The broker has taken a batch of this producer id, so that it refuses a gap.
    pub(super) is_tracked: bool,
    /// Nothing is sent before this.
    pub(super) backoff_until: Option<Instant>,
}

impl<W> OpenBatch<W> {
    pub(super) fn new(options: BatchOptions, now: Instant) -> Self {
        Self { builder: BatchBuilder::new(options), pending: Vec::new(), created: now }
    }

    /// Whether a record of at most `bytes` still fits; the first always does.
    pub(super) fn has_room(&self, bytes: usize, batch_size: usize) -> bool {
        self.pending.is_empty() || self.builder.size_in_bytes() + bytes <= batch_size
    }

    pub(super) fn is_full(&self, batch_size: usize) -> bool {
        self.builder.size_in_bytes() >= batch_size
    }

    pub(super) fn push(&mut self, record: &NewRecord, waiter: W) {
        self.builder.append(
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
        self.pending.push(Pending { waiter, timestamp: record.timestamp });
    }

    pub(super) fn close(self, id: BatchId) -> Batch<W> {
        let plain_bytes = self.builder.size_in_bytes();
        Batch::new(id, (self.builder.build(), plain_bytes), self.pending, self.created)
    }
}

impl<W> Batch<W> {
    fn new(
        id: BatchId,
        (bytes, plain_bytes): (Bytes, usize),
        pending: Vec<Pending<W>>,
        created: Instant,
    ) -> Self {
        Self {
            id,
            bytes,
            plain_bytes,
            pending,
            created,
            state: State::Queued,
            sequence: None,
            maybe_appended: false,
            attempts: 0,
            failures: 0,
            ordinal: 0,
        }
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.state != State::Queued
    }

    /// As it is sent just now.
    pub(super) fn figures(&self, now: Instant) -> BatchFigures {
        BatchFigures {
            records: self.pending.len(),
            bytes: self.bytes.len(),
            plain_bytes: self.plain_bytes,
            queued: now.saturating_duration_since(self.created),
            is_retry: self.attempts > 1,
        }
    }

    pub(super) fn record_count(&self) -> i32 {
        i32::try_from(self.pending.len()).expect("a batch has fewer than 2^31 records")
    }

    /// Writes the producer's identity into the batch.
    pub(super) fn number(&mut self, id: ProducerId, epoch: ProducerEpoch, sequence: Sequence) {
        let mut bytes = Vec::from(std::mem::take(&mut self.bytes));
        batch::set_producer(&mut bytes, Some(ProducerInfo { id, epoch, base_sequence: Some(sequence) }));
        self.bytes = Bytes::from(bytes);
        self.sequence = Some(sequence);
    }

    /// Two batches with half the records each, for a broker that finds the whole too large. A sequence that
    /// was given stays true: the halves are numbered as their records were.
    pub(super) fn split(self, ids: [BatchId; 2]) -> Result<[Self; 2], Box<Self>> {
        let Ok(opened) = RecordBatch::decode(&self.bytes, usize::MAX) else { return Err(Box::new(self)) };
        let half = opened.records.len() / 2;
        if half == 0 {
            return Err(Box::new(self));
        }
        let options = BatchOptions {
            compression: opened.header.attributes.compression().unwrap_or_default(),
            transactional: opened.header.attributes.is_transactional(),
            ..BatchOptions::default()
        };
        let build = |records: &[millstream_record::Record]| {
            let mut builder = BatchBuilder::new(options);
            for record in records {
                builder.push(record);
            }
            let plain_bytes = builder.size_in_bytes();
            (builder.build(), plain_bytes)
        };
        let (first, second) = opened.records.split_at(half);
        let mut pending = self.pending;
        let rest = pending.split_off(half);
        let mut halves = [
            Self::new(ids[0], build(first), pending, self.created),
            Self::new(ids[1], build(second), rest, self.created),
        ];
        if let (Some(sequence), Some(producer)) = (self.sequence, opened.header.producer()) {
            let middle = sequence.plus(halves[0].record_count());
            halves[0].number(producer.id, producer.epoch, sequence);
            halves[1].number(producer.id, producer.epoch, middle);
        }
        Ok(halves)
    }
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self {
            open: None,
            closed: VecDeque::new(),
            next_sequence: Sequence(0),
            sent: 0,
            is_tracked: false,
            backoff_until: None,
        }
    }
}

impl<W> Queue<W> {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.closed.is_empty()
    }

    /// Batches sent since the oldest that is in flight, with it: what the broker may have to remember in order
    /// to know it again.
    pub(super) fn sent_since_oldest(&self) -> usize {
        let oldest = self.closed.iter().find(|batch| batch.is_in_flight());
        oldest.map_or(0, |batch| self.sent - batch.ordinal)
    }

    /// Whether a batch has failed and is not answered well yet.
    pub(super) fn is_repeating(&self) -> bool {
        self.closed.iter().any(|batch| batch.attempts > u32::from(batch.is_in_flight()))
    }

    /// The batch to send next, if order allows one: a queued batch in front of one in flight has failed,
    /// and those behind it must come back before it may go again. `only_doubtful` passes over batches that
    /// the broker surely has not.
    pub(super) fn next_to_send(&self, only_doubtful: bool) -> Option<usize> {
        let eligible = |batch: &Batch<W>| !batch.is_in_flight() && (batch.maybe_appended || !only_doubtful);
        let first = self.closed.iter().position(eligible)?;
        let none_behind = self.closed.iter().skip(first).all(|batch| !batch.is_in_flight());
        none_behind.then_some(first)
    }

    pub(super) fn position(&self, id: BatchId) -> Option<usize> {
        self.closed.iter().position(|batch| batch.id == id)
    }
}
