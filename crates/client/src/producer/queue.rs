//! One partition's records on their way: an open batch that still takes records, and closed ones in the
//! order in which they must reach the log.

use std::{collections::VecDeque, time::Instant};

use bytes::Bytes;
use millstream_record::{BatchBuilder, BatchOptions, ProducerInfo, RecordBatch, batch};
use millstream_types::{BrokerId, ProducerEpoch, ProducerId, Sequence};

use super::accumulator::NewRecord;
use crate::{Result, metrics::BatchFigures};

/// Which closed batch, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BatchId(pub(super) u64);

/// When a batch was closed, among all batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(pub(super) u64);

/// A batch that still takes records.
#[derive(Debug)]
pub(super) struct OpenBatch<W> {
    builder: BatchBuilder,
    /// It is full with so much, uncompressed.
    plain_max: usize,
    /// Of all its records.
    pub(super) waiter: W,
    pub(super) reserved: usize,
    pub(super) created: Instant,
}

/// A batch as it leaves the accumulator. Compression and checksum are the sender's work, and not done while the
/// accumulator is held.
#[derive(Debug)]
pub(crate) enum Parcel {
    Fresh(Box<BatchBuilder>),
    /// It was sent before.
    Again(Bytes),
}

impl Parcel {
    pub(super) fn size_in_bytes(&self) -> usize {
        match self {
            Self::Fresh(builder) => builder.size_in_bytes(),
            Self::Again(bytes) => bytes.len(),
        }
    }

    pub(crate) fn seal(self) -> Bytes {
        match self {
            Self::Fresh(builder) => builder.build(),
            Self::Again(bytes) => bytes,
        }
    }
}

/// What a closed batch is at the moment.
#[derive(Debug)]
enum Form {
    Fresh(Box<BatchBuilder>),
    /// With the sender, which brings it back sealed.
    Away,
    Sealed(Bytes),
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
    /// Parts of a batch that was split have that of the whole.
    pub(super) mark: Mark,
    form: Form,
    pub(super) waiter: W,
    /// Its first record among those of its waiter, which waits for more if the batch was split.
    pub(super) first: u32,
    count: u32,
    /// Its size before it is compressed.
    pub(super) plain_bytes: usize,
    /// Bytes of `buffer.memory` that its records take.
    pub(super) reserved: usize,
    /// When its first record came; linger and delivery timeout count from here.
    pub(super) created: Instant,
    pub(super) state: State,
    /// Of its first record; given when it is first sent.
    pub(super) sequence: Option<Sequence>,
    /// It was sent and the answer, if there was one, does not say whether the broker has it.
    pub(super) maybe_appended: bool,
    /// How often it was sent, or that of which it is a part. None of those behind one that was not sent yet was
    /// sent either.
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
    pub(super) packing: Packing,
    /// Sendings until now.
    pub(super) sent: usize,
    /// The broker has taken a batch of this producer id, so that it refuses a gap.
    pub(super) is_tracked: bool,
    /// Nothing is sent before this.
    pub(super) backoff_until: Option<Instant>,
}

/// Room for so much is taken when a batch begins; a larger one grows into it.
const ROOM_AHEAD_MAX: usize = 64 << 10;

/// How small compression makes a partition's batches, so that `batch.size` is what is sent, as in Java.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    /// 1 where nothing is compressed.
    ratio: f64,
}

impl Packing {
    /// A batch that packs worse than those before it should not be much too large.
    const MARGIN: f64 = 1.05;
    /// Better packing is believed in small steps, worse at once.
    const STEP: f64 = 0.05;
    const RATIO_MIN: f64 = 0.05;

    pub(super) fn plain_bytes(self, batch_size: usize) -> usize {
        ((batch_size as f64 / (self.ratio * Self::MARGIN)) as usize).max(batch_size)
    }

    pub(super) fn learn(&mut self, plain: usize, packed: usize) {
        let seen = packed as f64 / plain.max(1) as f64;
        self.ratio = seen.max(self.ratio - Self::STEP).clamp(Self::RATIO_MIN, 1.0);
    }
}

impl Default for Packing {
    fn default() -> Self {
        Self { ratio: 1.0 }
    }
}

impl<W: Clone + Default> OpenBatch<W> {
    pub(super) fn new(options: BatchOptions, plain_max: usize, now: Instant) -> Self {
        let builder = BatchBuilder::with_capacity(options, plain_max.min(ROOM_AHEAD_MAX));
        Self { builder, plain_max, waiter: W::default(), reserved: 0, created: now }
    }

    pub(super) fn record_count(&self) -> u32 {
        self.builder.record_count().unsigned_abs()
    }

    /// Whether a record of at most `bytes` still fits; the first always does.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.builder.is_empty() || self.builder.size_in_bytes() + bytes <= self.plain_max
    }

    pub(super) fn is_full(&self) -> bool {
        self.builder.size_in_bytes() >= self.plain_max
    }

    pub(super) fn push(&mut self, record: &NewRecord, reserved: usize) {
        self.builder.append(
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
        self.reserved += reserved;
    }

    pub(super) fn close(self, id: BatchId) -> Batch<W> {
        let (count, plain_bytes) = (self.record_count(), self.builder.size_in_bytes());
        let form = Form::Fresh(Box::new(self.builder));
        Batch {
            id,
            mark: Mark(id.0),
            form,
            waiter: self.waiter,
            first: 0,
            count,
            plain_bytes,
            reserved: self.reserved,
            created: self.created,
            state: State::Queued,
            sequence: None,
            maybe_appended: false,
            attempts: 0,
            failures: 0,
            ordinal: 0,
        }
    }
}

impl<W: Clone> Batch<W> {
    pub(super) fn is_in_flight(&self) -> bool {
        self.state != State::Queued
    }

    /// As it is sent just now; its size is not known before it is sealed.
    pub(super) fn figures(&self, now: Instant) -> BatchFigures {
        BatchFigures {
            records: self.count as usize,
            bytes: 0,
            plain_bytes: self.plain_bytes,
            queued: now.saturating_duration_since(self.created),
            is_retry: self.attempts > 1,
        }
    }

    pub(super) fn record_count(&self) -> i32 {
        i32::try_from(self.count).expect("a batch has fewer than 2^31 records")
    }

    /// Writes the producer's identity into the batch.
    pub(super) fn number(&mut self, id: ProducerId, epoch: ProducerEpoch, sequence: Sequence) {
        let producer = ProducerInfo { id, epoch, base_sequence: Some(sequence) };
        match &mut self.form {
            Form::Fresh(builder) => builder.set_producer(producer),
            Form::Away => unreachable!("what is in flight has its number"),
            Form::Sealed(bytes) => {
                let mut edited = Vec::from(std::mem::take(bytes));
                batch::set_producer(&mut edited, Some(producer));
                *bytes = Bytes::from(edited);
            }
        }
        self.sequence = Some(sequence);
    }

    /// For the sender. Nothing else is done with the batch before it was answered.
    pub(super) fn take(&mut self) -> Parcel {
        match std::mem::replace(&mut self.form, Form::Away) {
            Form::Fresh(builder) => Parcel::Fresh(builder),
            Form::Away => unreachable!("what is in flight is not sent a second time"),
            Form::Sealed(bytes) => {
                self.form = Form::Sealed(bytes.clone());
                Parcel::Again(bytes)
            }
        }
    }

    pub(super) fn sealed(&mut self, bytes: Bytes) {
        self.form = Form::Sealed(bytes);
    }

    /// Two batches with half the records each, for a broker that finds the whole too large. A sequence that
    /// was given stays true: the halves are numbered as their records were.
    pub(super) fn split(self, ids: [BatchId; 2]) -> Result<[Self; 2], Box<Self>> {
        let opened = match &self.form {
            Form::Sealed(bytes) => RecordBatch::decode(bytes, usize::MAX).ok(),
            Form::Fresh(_) | Form::Away => None,
        };
        let Some(opened) = opened.filter(|opened| opened.records.len() > 1) else {
            return Err(Box::new(self));
        };
        let options = BatchOptions {
            compression: opened.header.attributes.compression().unwrap_or_default(),
            transactional: opened.header.attributes.is_transactional(),
            ..BatchOptions::default()
        };
        let (records_before, records_after) = opened.records.split_at(opened.records.len() / 2);
        let half = |id, records: &[millstream_record::Record], first, reserved| {
            let mut builder = BatchBuilder::new(options);
            for record in records {
                builder.push(record);
            }
            let plain_bytes = builder.size_in_bytes();
            Self {
                id,
                mark: self.mark,
                form: Form::Sealed(builder.build()),
                waiter: self.waiter.clone(),
                first,
                count: records.len() as u32,
                plain_bytes,
                reserved,
                created: self.created,
                state: State::Queued,
                sequence: None,
                maybe_appended: false,
                attempts: self.attempts,
                failures: 0,
                ordinal: 0,
            }
        };
        let middle = self.first + records_before.len() as u32;
        let mut halves =
            [half(ids[0], records_before, self.first, self.reserved), half(ids[1], records_after, middle, 0)];
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
            packing: Packing::default(),
            sent: 0,
            is_tracked: false,
            backoff_until: None,
        }
    }
}

impl<W: Clone + Default> Queue<W> {
    /// The open batch takes no more records, if there is one.
    pub(super) fn close(&mut self, next_id: &mut u64) {
        if let Some(open) = self.open.take() {
            *next_id += 1;
            self.closed.push_back(open.close(BatchId(*next_id)));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.closed.is_empty()
    }

    /// Batches sent since the oldest that is in flight, with it: what the broker may have to remember in order
    /// to know it again.
    pub(super) fn sent_since_oldest(&self) -> usize {
        let oldest = self.sent_before().find(|batch| batch.is_in_flight());
        oldest.map_or(0, |batch| self.sent - batch.ordinal)
    }

    /// Whether a batch has failed and is not answered well yet.
    pub(super) fn is_repeating(&self) -> bool {
        self.sent_before().any(|batch| batch.attempts > u32::from(batch.is_in_flight()))
    }

    /// The batch to send next, if order allows one: a queued batch in front of one in flight has failed,
    /// and those behind it must come back before it may go again. `only_doubtful` passes over batches that
    /// the broker surely has not.
    pub(super) fn next_to_send(&self, only_doubtful: bool) -> Option<usize> {
        let eligible = |batch: &Batch<W>| !batch.is_in_flight() && (batch.maybe_appended || !only_doubtful);
        let first = self.closed.iter().position(eligible)?;
        let none_behind = self.sent_before().skip(first).all(|batch| !batch.is_in_flight());
        none_behind.then_some(first)
    }

    /// The oldest batch that is not in flight.
    pub(super) fn oldest_queued(&self) -> Option<usize> {
        self.closed.iter().position(|batch| !batch.is_in_flight())
    }

    pub(super) fn position(&self, id: BatchId) -> Option<usize> {
        self.closed.iter().position(|batch| batch.id == id)
    }

    /// Few, where those that were never sent may be thousands.
    fn sent_before(&self) -> impl Iterator<Item = &Batch<W>> {
        self.closed.iter().take_while(|batch| batch.attempts > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Packing;

    #[test]
    fn better_packing_is_believed_step_by_step_and_worse_at_once() {
        let mut packing = Packing::default();
        assert_eq!(packing.plain_bytes(1_000), 1_000);
        (0..10).for_each(|_| packing.learn(1_000, 300));
        assert_eq!(packing.plain_bytes(1_000), 1_904, "half");
        (0..10).for_each(|_| packing.learn(1_000, 300));
        assert_eq!(packing.plain_bytes(1_000), 3_174);
        packing.learn(1_000, 900);
        assert_eq!(packing.plain_bytes(1_000), 1_058);
        packing.learn(1_000, 2_000);
        assert_eq!(packing.plain_bytes(1_000), 1_000);
    }
}
