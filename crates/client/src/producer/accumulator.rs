//! The producer as a state machine: records go in, batches for brokers come out, answers go in, fates of
//! records come out. No I/O, no clock, no task; the shell in `sender.rs` has those.
//!
//! Order and duplicates. Batches of a partition are sent in the order of their records. With idempotence,
//! several may be in flight, each with the sequence that follows the one before; when one comes back
//! unanswered or refused, those behind it come back too (the broker refuses a gap), and all are sent again
//! with the sequences they had, one at a time: a broker remembers no more than five, and those that overtook
//! one in doubt would push it out. One at a time too until the broker has taken the first, for a broker that
//! does not know the producer begins with any sequence. When a batch is given up, its sequences are missing
//! for good: then everything whose fate is open is settled under the old producer id, a new one is asked for,
//! and what is left is numbered anew from 0 (KIP-360). Without idempotence one batch per partition is in
//! flight.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_record::{BatchBuilder, BatchOptions, Compression, Header};
use millstream_types::{
    BrokerId, ErrorCode, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicPartition,
};

use super::queue::{Batch, BatchId, Mark, OpenBatch, Parcel, Queue, State};
use crate::{Error, config::ProducerConfig, metrics::BatchFigures};

/// What is to be appended; topic and partition are already chosen.
#[derive(Clone, Debug)]
pub(crate) struct NewRecord {
    pub(crate) timestamp: TimestampMs,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
}

/// What befell one batch of a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// In the log.
    Appended(Written),
    Failed(Error),
}

/// Where a record went.
#[derive(Debug)]
pub(crate) struct Appended<W> {
    /// The batch's.
    pub(crate) waiter: W,
    /// Its place among the records of the waiter.
    pub(crate) index: u32,
    /// [`Accumulator::dispatch`] or [`Accumulator::next_wakeup`] may say something new.
    pub(crate) is_news: bool,
}

/// What befell the records of a batch, or of a part of one that was split.
#[derive(Debug)]
pub(crate) struct Fate<W> {
    pub(crate) waiter: W,
    pub(crate) partition: TopicPartition,
    /// Which of the waiter's records.
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// Bytes of `buffer.memory` that are free again.
    pub(crate) reserved: usize,
    pub(crate) result: Result<Written, Error>,
}

/// Where the records of a [`Fate`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Of the first of them; None where `acks=0` or a duplicate leaves it unknown.
    pub(crate) base_offset: Option<Offset>,
    /// The broker's, if the topic has `LogAppendTime`.
    pub(crate) log_append_time: Option<TimestampMs>,
}

/// One produce request: at most one batch of each partition. Each is to be sealed and shown to
/// [`Accumulator::sealed`] before it is sent.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) broker: BrokerId,
    pub(crate) batches: Vec<Outgoing>,
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) partition: TopicPartition,
    pub(crate) id: BatchId,
    pub(crate) parcel: Parcel,
    /// But for its size, which is not known before it is sealed.
    pub(crate) figures: BatchFigures,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// `enable.idempotence=false`
    Off,
    Wanted,
    Known(ProducerId, ProducerEpoch),
}

/// `W` is whatever waits for the fates of a batch's records; each batch has a new one.
#[derive(Debug)]
pub(crate) struct Accumulator<W> {
    config: Limits,
    queues: BTreeMap<TopicPartition, Queue<W>>,
    requests_in_flight: BTreeMap<BrokerId, usize>,
    identity: Identity,
    /// A sequence is missing for good; see the module's head.
    renumber: bool,
    /// What a transaction that cannot be committed leaves behind is given up with this, and not sent again.
    given_up: Option<Error>,
    next_id: u64,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    linger: Duration,
    batch_size: usize,
    compression: Compression,
    compression_level: Option<i32>,
    transactional: bool,
    max_in_flight: usize,
    max_request_size: usize,
    delivery_timeout: Duration,
    retries: u32,
    retry_backoff: Duration,
    retry_backoff_max: Duration,
}

impl Limits {
    fn batch_options(&self) -> BatchOptions {
        BatchOptions {
            compression: self.compression,
            compression_level: self.compression_level,
            transactional: self.transactional,
            ..BatchOptions::default()
        }
    }
}

impl<W: Clone + Default> Accumulator<W> {
    pub(crate) fn new(config: &ProducerConfig, retry_backoff: Duration, retry_backoff_max: Duration) -> Self {
        Self {
            config: Limits {
                linger: config.linger,
                batch_size: config.batch_size,
                compression: config.compression_type,
                compression_level: config.compression_level(),
                transactional: config.transactional_id.is_some(),
                max_in_flight: config.max_in_flight,
                max_request_size: config.max_request_size,
                delivery_timeout: config.delivery_timeout,
                retries: config.retries,
                retry_backoff,
                retry_backoff_max,
            },
            queues: BTreeMap::new(),
            requests_in_flight: BTreeMap::new(),
            identity: if config.enable_idempotence { Identity::Wanted } else { Identity::Off },
            renumber: false,
            given_up: None,
            next_id: 0,
        }
    }

    /// `clock` is read when a batch begins.
    pub(crate) fn append(
        &mut self,
        clock: impl FnOnce() -> Instant,
        partition: &TopicPartition,
        record: &NewRecord,
    ) -> Appended<W> {
        let bytes =
            BatchBuilder::record_size_max(record.key.as_deref(), record.value.as_deref(), &record.headers);
        if !self.queues.contains_key(partition) {
            self.queues.insert(partition.clone(), Queue::default());
        }
        let queue = self.queues.get_mut(partition).expect("inserted just now");
        let limits = &self.config;
        if queue.open.as_ref().is_some_and(|open| !open.has_room(bytes)) {
            queue.close(&mut self.next_id);
        }
        let plain_max = queue.packing.plain_bytes(limits.batch_size);
        let begin = || OpenBatch::new(limits.batch_options(), plain_max, clock());
        let open = queue.open.get_or_insert_with(begin);
        let index = open.record_count();
        open.push(record, bytes);
        let is_news = index == 0 || open.is_full();
        Appended { waiter: open.waiter.clone(), index, is_news }
    }

    /// What was appended so far does not linger. It has met its fate when [`Accumulator::oldest`] is past the mark
    /// returned.
    pub(crate) fn flush(&mut self) -> Mark {
        self.queues.values_mut().for_each(|queue| queue.close(&mut self.next_id));
        Mark(self.next_id)
    }

    /// Of the batches that were not answered, closed before all others; None if there are none.
    pub(crate) fn oldest(&self) -> Option<Mark> {
        self.queues.values().filter_map(|queue| queue.closed.front()).map(|batch| batch.mark).min()
    }

    /// Whether every record has met its fate.
    pub(crate) fn is_empty(&self) -> bool {
        self.queues.values().all(Queue::is_empty)
    }

    /// Partitions with records whose leader the shell must know.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.queues.iter().filter(|(_, queue)| !queue.is_empty()).map(|(partition, _)| partition)
    }

    /// Whether nothing can be sent until [`Accumulator::set_identity`].
    pub(crate) fn wants_identity(&mut self) -> bool {
        self.settle_identity();
        self.identity == Identity::Wanted && !self.is_empty()
    }

    /// A producer id, fresh: every queued batch is numbered from 0 when it goes.
    pub(crate) fn set_identity(&mut self, id: ProducerId, epoch: ProducerEpoch) {
        self.identity = Identity::Known(id, epoch);
        for queue in self.queues.values_mut() {
            queue.next_sequence = Sequence(0);
            queue.is_tracked = false;
            for batch in &mut queue.closed {
                batch.sequence = None;
            }
        }
    }

    /// What can be sent now. `leader_of` answers None while a partition's leader is not known.
    pub(crate) fn dispatch(
        &mut self,
        now: Instant,
        leader_of: impl Fn(&TopicPartition) -> Option<BrokerId>,
    ) -> Vec<Dispatch> {
        if self.identity == Identity::Wanted {
            return Vec::new();
        }
        let mut dispatches: Vec<Dispatch> = Vec::new();
        let mut bytes_begun: BTreeMap<BrokerId, usize> = BTreeMap::new();
        let terms = Terms { now, identity: self.identity, limits: self.config, only_doubtful: self.renumber };
        for (partition, queue) in &mut self.queues {
            let Some(next) = queue.next(&terms) else { continue };
            let Some(broker) = leader_of(partition) else { continue };
            // A further batch joins the request while one of ordinary size still fits.
            let size = bytes_begun.get(&broker).copied().unwrap_or(usize::MAX);
            let joins = size.saturating_add(self.config.batch_size) <= self.config.max_request_size;
            let in_flight = self.requests_in_flight.entry(broker).or_default();
            if !joins && *in_flight >= self.config.max_in_flight {
                continue;
            }
            let (id, parcel, figures) = queue.take(next, &terms, broker, &mut self.next_id);
            let size = if joins { size } else { 0 };
            bytes_begun.insert(broker, size + parcel.size_in_bytes());
            let batch = Outgoing { partition: partition.clone(), id, parcel, figures };
            match dispatches.iter_mut().rfind(|dispatch| joins && dispatch.broker == broker) {
                Some(begun) => begun.batches.push(batch),
                None => {
                    *in_flight += 1;
                    dispatches.push(Dispatch { broker, batches: vec![batch] });
                }
            }
        }
        dispatches
    }

    /// Takes in what a batch that was dispatched looks like, for the case that it is to be sent again.
    pub(crate) fn sealed(&mut self, partition: &TopicPartition, id: BatchId, bytes: Bytes) {
        let Some(queue) = self.queues.get_mut(partition) else { return };
        if let Some(batch) = queue.closed.iter_mut().find(|batch| batch.id == id) {
            queue.packing.learn(batch.plain_bytes, bytes.len());
            batch.sealed(bytes);
        }
    }

    /// Takes a request off its broker's count; its batches are answered one by one.
    pub(crate) fn request_done(&mut self, broker: BrokerId) {
        if let Some(count) = self.requests_in_flight.get_mut(&broker) {
            *count = count.saturating_sub(1);
        }
    }

    /// Takes a batch's answer in. The fates are those of its records, unless it is to be sent again.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        id: BatchId,
        answer: Answer,
    ) -> Vec<Fate<W>> {
        let Some(queue) = self.queues.get_mut(partition) else { return Vec::new() };
        let Some(index) = queue.position(id) else { return Vec::new() };
        queue.closed[index].state = State::Queued;
        queue.is_tracked |= matches!(answer, Answer::Appended(_));
        match answer {
            Answer::Appended(written) => {
                let batch = queue.closed.remove(index).expect("the index was found just now");
                vec![fate(partition, batch, Ok(written))]
            }
            Answer::Failed(error) => self.failed(now, partition, index, error),
        }
    }

    fn failed(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        index: usize,
        error: Error,
    ) -> Vec<Fate<W>> {
        let idempotent = self.identity != Identity::Off;
        // A transaction is not numbered anew in its midst. What comes after a batch in doubt may yet be right.
        let renumbers = idempotent && !(self.config.transactional && index == 0);
        let Some(queue) = self.queues.get_mut(partition) else { return Vec::new() };
        if let Some(reason) = &self.given_up {
            let batch = queue.closed.remove(index).expect("the caller's index");
            self.renumber |= batch.sequence.is_some();
            return vec![fate(partition, batch, Err(reason.clone()))];
        }
        let batch = &mut queue.closed[index];
        match error.code() {
            // The broker has it already; it no longer knows where.
            Some(ErrorCode::DuplicateSequenceNumber) => {
                let batch = queue.closed.remove(index).expect("the caller's index");
                let written = Written { base_offset: None, log_append_time: None };
                return vec![fate(partition, batch, Ok(written))];
            }
            Some(ErrorCode::MessageTooLarge) => return self.split(partition, index, error),
            Some(
                ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch
                | ErrorCode::ProducerFenced,
            ) if renumbers => {
                batch.maybe_appended = false;
                // With nothing before it the gap is not one that a retry closes.
                self.renumber |= index == 0;
            }
            _ if error.is_retriable() => batch.maybe_appended |= leaves_doubt(&error),
            _ => {
                let batch = queue.closed.remove(index).expect("the caller's index");
                self.renumber |= idempotent && batch.sequence.is_some();
                return vec![fate(partition, batch, Err(error))];
            }
        }
        let expired = now >= batch.created + self.config.delivery_timeout;
        // What found no broker was not sent: waiting for one uses no retry up, as in Java.
        batch.failures += u32::from(!matches!(error, Error::Connect { .. }));
        if expired || batch.failures > self.config.retries {
            let batch = queue.closed.remove(index).expect("the caller's index");
            self.renumber |= idempotent && batch.sequence.is_some();
            let limit = self.config.delivery_timeout;
            let reason = if expired { late(partition, limit, Some(error)) } else { error };
            return vec![fate(partition, batch, Err(reason))];
        }
        let doubled =
            self.config.retry_backoff * 2u32.saturating_pow(batch.attempts.saturating_sub(1).min(16));
        queue.backoff_until = Some(now + doubled.min(self.config.retry_backoff_max));
        Vec::new()
    }

    fn split(&mut self, partition: &TopicPartition, index: usize, error: Error) -> Vec<Fate<W>> {
        let Some(queue) = self.queues.get_mut(partition) else { return Vec::new() };
        let batch = queue.closed.remove(index).expect("the caller's index");
        let ids = [BatchId(self.next_id + 1), BatchId(self.next_id + 2)];
        self.next_id += 2;
        match batch.split(ids) {
            Ok([first, second]) => {
                queue.closed.insert(index, second);
                queue.closed.insert(index, first);
                Vec::new()
            }
            Err(whole) => {
                self.renumber |= whole.sequence.is_some();
                vec![fate(partition, *whole, Err(error))]
            }
        }
    }

    /// Gives up batches that are older than `delivery.timeout.ms` and not in flight.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Fate<W>> {
        let (limit, mut fates) = (self.config.delivery_timeout, Vec::new());
        for (partition, queue) in &mut self.queues {
            let old = |created: Instant| now >= created + limit;
            if queue.open.as_ref().is_some_and(|open| old(open.created)) {
                queue.close(&mut self.next_id);
            }
            while let Some(index) = queue.oldest_queued().filter(|&index| old(queue.closed[index].created)) {
                let batch = queue.closed.remove(index).expect("the index was found just now");
                self.renumber |= self.identity != Identity::Off && batch.sequence.is_some();
                fates.push(fate(partition, batch, Err(late(partition, limit, None))));
            }
        }
        fates
    }

    /// Gives up what is not in flight, and what is unless it is answered well: nothing is sent until
    /// [`Accumulator::resume`].
    pub(crate) fn give_up(&mut self, reason: &Error) -> Vec<Fate<W>> {
        self.given_up.get_or_insert_with(|| reason.clone());
        let mut fates = Vec::new();
        for (partition, queue) in &mut self.queues {
            queue.close(&mut self.next_id);
            let all = std::mem::take(&mut queue.closed).into_iter();
            let (in_flight, queued): (VecDeque<_>, VecDeque<_>) = all.partition(Batch::is_in_flight);
            queue.closed = in_flight;
            for batch in queued {
                self.renumber |= self.identity != Identity::Off && batch.sequence.is_some();
                fates.push(fate(partition, batch, Err(reason.clone())));
            }
        }
        fates
    }

    pub(crate) fn given_up(&self) -> Option<&Error> {
        self.given_up.as_ref()
    }

    /// Takes records again after [`Accumulator::give_up`]. Says whether sequences miss for good, so that
    /// nothing can be sent before [`Accumulator::set_identity`].
    pub(crate) fn resume(&mut self) -> bool {
        self.given_up = None;
        if std::mem::take(&mut self.renumber) {
            self.identity = Identity::Wanted;
        }
        self.identity == Identity::Wanted
    }

    /// Gives everything up: the producer was closed or can go no further.
    pub(crate) fn abandon(&mut self, error: &Error) -> Vec<Fate<W>> {
        let mut fates = Vec::new();
        for (partition, mut queue) in std::mem::take(&mut self.queues) {
            queue.close(&mut self.next_id);
            let all = queue.closed.into_iter();
            fates.extend(all.map(|batch| fate(&partition, batch, Err(error.clone()))));
        }
        fates
    }

    /// When [`Accumulator::dispatch`] or [`Accumulator::expire`] next has something to do that no call
    /// announces. What is overdue waits for an answer or a leader, not for the clock.
    pub(crate) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let limits = &self.config;
        let of_queue = |queue: &Queue<W>| {
            let open = queue.open.as_ref().map(|open| open.created);
            let queued = queue.oldest_queued().map(|index| queue.closed[index].created);
            let linger = open.map(|created| created + limits.linger);
            let expiry = queued.or(open).map(|created| created + limits.delivery_timeout);
            [linger, expiry, queue.backoff_until].into_iter().flatten().filter(|&time| time > now).min()
        };
        self.queues.values().filter_map(of_queue).min()
    }

    /// Once nothing is in doubt under the old producer id, asks for a new one.
    fn settle_identity(&mut self) {
        let open = |batch: &Batch<W>| batch.is_in_flight() || batch.maybe_appended;
        if self.renumber && !self.queues.values().any(|queue| queue.closed.iter().any(open)) {
            self.renumber = false;
            self.identity = Identity::Wanted;
        }
    }
}

/// What a queue has to know of everything else in order to say what it sends next.
struct Terms {
    now: Instant,
    identity: Identity,
    limits: Limits,
    only_doubtful: bool,
}

/// Which batch of a queue is sent next.
enum Next {
    Open,
    Closed(usize),
}

impl<W: Clone + Default> Queue<W> {
    fn next(&self, terms: &Terms) -> Option<Next> {
        if self.is_empty() || self.backoff_until.is_some_and(|until| terms.now < until) {
            return None;
        }
        let several = terms.identity != Identity::Off && self.is_tracked && !self.is_repeating();
        let most = if several { terms.limits.max_in_flight } else { 1 };
        if self.sent_since_oldest() >= most {
            return None;
        }
        if self.oldest_queued().is_some() {
            return self.next_to_send(terms.only_doubtful).map(Next::Closed);
        }
        let is_due = |open: &OpenBatch<W>| open.is_full() || terms.now >= open.created + terms.limits.linger;
        // What is open was never sent, and so is not in doubt.
        let open = self.open.as_ref().filter(|open| !terms.only_doubtful && is_due(open));
        open.map(|_| Next::Open)
    }

    /// Marks the batch as in flight.
    fn take(
        &mut self,
        next: Next,
        terms: &Terms,
        broker: BrokerId,
        next_id: &mut u64,
    ) -> (BatchId, Parcel, BatchFigures) {
        let index = match next {
            Next::Closed(index) => index,
            Next::Open => {
                self.close(next_id);
                self.closed.len() - 1
            }
        };
        let batch = &mut self.closed[index];
        if let (Identity::Known(id, epoch), None) = (terms.identity, batch.sequence) {
            batch.number(id, epoch, self.next_sequence);
            self.next_sequence = self.next_sequence.plus(batch.record_count());
        }
        batch.state = State::InFlight(broker);
        batch.attempts += 1;
        batch.ordinal = self.sent;
        self.sent += 1;
        (batch.id, batch.take(), batch.figures(terms.now))
    }
}

fn fate<W: Clone>(partition: &TopicPartition, batch: Batch<W>, result: Result<Written, Error>) -> Fate<W> {
    Fate {
        partition: partition.clone(),
        first: batch.first,
        count: batch.record_count().unsigned_abs(),
        reserved: batch.reserved,
        waiter: batch.waiter,
        result,
    }
}

fn late(partition: &TopicPartition, limit: Duration, last: Option<Error>) -> Error {
    Error::Timeout { what: format!("delivery to {partition}"), limit, last: last.map(Box::new) }
}

/// Whether the broker may have appended the batch although the answer is an error.
fn leaves_doubt(error: &Error) -> bool {
    match error.code() {
        Some(code) => matches!(
            code,
            ErrorCode::RequestTimedOut
                | ErrorCode::NotEnoughReplicasAfterAppend
                | ErrorCode::NetworkException
                | ErrorCode::KafkaStorageError
        ),
        None => !matches!(error, Error::Connect { .. }),
    }
}
