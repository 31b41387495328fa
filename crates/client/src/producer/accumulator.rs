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

use super::queue::{Batch, BatchId, OpenBatch, Queue, State};
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
    /// In the log, at this offset; None where `acks=0` or a duplicate leaves it unknown. With the broker's
    /// timestamp if the topic has `LogAppendTime`.
    Appended {
        base_offset: Option<Offset>,
        log_append_time: Option<TimestampMs>,
    },
    Failed(Error),
}

/// What befell one record.
#[derive(Debug)]
pub(crate) struct Fate<W> {
    pub(crate) waiter: W,
    pub(crate) partition: TopicPartition,
    pub(crate) result: Result<(Option<Offset>, TimestampMs), Error>,
}

/// One produce request: at most one batch of each partition.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) broker: BrokerId,
    pub(crate) batches: Vec<(TopicPartition, BatchId, Bytes)>,
    /// Of each of the batches.
    pub(crate) figures: Vec<BatchFigures>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// `enable.idempotence=false`
    Off,
    Wanted,
    Known(ProducerId, ProducerEpoch),
}

/// `W` is whatever waits for a record's fate.
#[derive(Debug)]
pub(crate) struct Accumulator<W> {
    config: Limits,
    queues: BTreeMap<TopicPartition, Queue<W>>,
    requests_in_flight: BTreeMap<BrokerId, usize>,
    identity: Identity,
    /// A sequence is missing for good; see the module's head.
    renumber: bool,
    flushing: bool,
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

impl<W> Accumulator<W> {
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
            flushing: false,
            given_up: None,
            next_id: 0,
        }
    }

    pub(crate) fn append(&mut self, now: Instant, partition: &TopicPartition, record: &NewRecord, waiter: W) {
        let bytes =
            BatchBuilder::record_size_max(record.key.as_deref(), record.value.as_deref(), &record.headers);
        if !self.queues.contains_key(partition) {
            self.queues.insert(partition.clone(), Queue::default());
        }
        let queue = self.queues.get_mut(partition).expect("inserted just now");
        let limits = &self.config;
        if let Some(full) = queue.open.take_if(|open| !open.has_room(bytes, limits.batch_size)) {
            self.next_id += 1;
            queue.closed.push_back(full.close(BatchId(self.next_id)));
        }
        let open = queue.open.get_or_insert_with(|| OpenBatch::new(limits.batch_options(), now));
        open.push(record, waiter);
    }

    /// From now until everything is answered, batches do not linger.
    pub(crate) fn flush(&mut self) {
        self.flushing = true;
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
        let partitions: Vec<TopicPartition> = self.partitions().cloned().collect();
        for partition in partitions {
            let Some(broker) = leader_of(&partition) else { continue };
            // A further batch joins the request while one of ordinary size still fits.
            let size = bytes_begun.get(&broker).copied().unwrap_or(usize::MAX);
            let joins = size.saturating_add(self.config.batch_size) <= self.config.max_request_size;
            let in_flight = self.requests_in_flight.entry(broker).or_default();
            if !joins && *in_flight >= self.config.max_in_flight {
                continue;
            }
            let Some((id, bytes, figures)) = self.take_next(now, &partition, broker) else { continue };
            let size = if joins { size } else { 0 };
            bytes_begun.insert(broker, size + bytes.len());
            let batch = (partition, id, bytes);
            match dispatches.iter_mut().rfind(|dispatch| joins && dispatch.broker == broker) {
                Some(begun) => {
                    begun.batches.push(batch);
                    begun.figures.push(figures);
                }
                None => {
                    *self.requests_in_flight.entry(broker).or_default() += 1;
                    dispatches.push(Dispatch { broker, batches: vec![batch], figures: vec![figures] });
                }
            }
        }
        dispatches
    }

    /// The partition's next batch, marked as in flight; closes the open one if its time has come.
    fn take_next(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        broker: BrokerId,
    ) -> Option<(BatchId, Bytes, BatchFigures)> {
        let queue = self.queues.get_mut(partition)?;
        if queue.backoff_until.is_some_and(|until| now < until) {
            return None;
        }
        let several = self.identity != Identity::Off && queue.is_tracked && !queue.is_repeating();
        let most = if several { self.config.max_in_flight } else { 1 };
        if queue.sent_since_oldest() >= most {
            return None;
        }
        if queue.closed.iter().all(Batch::is_in_flight) {
            let due = |open: &OpenBatch<W>| {
                self.flushing
                    || open.is_full(self.config.batch_size)
                    || now >= open.created + self.config.linger
            };
            let open = queue.open.take_if(|open| due(open))?;
            self.next_id += 1;
            queue.closed.push_back(open.close(BatchId(self.next_id)));
        }
        let index = queue.next_to_send(self.renumber)?;
        let batch = &mut queue.closed[index];
        if let (Identity::Known(id, epoch), None) = (self.identity, batch.sequence) {
            batch.number(id, epoch, queue.next_sequence);
            queue.next_sequence = queue.next_sequence.plus(batch.record_count());
        }
        batch.state = State::InFlight(broker);
        batch.attempts += 1;
        batch.ordinal = queue.sent;
        queue.sent += 1;
        Some((batch.id, batch.bytes.clone(), batch.figures(now)))
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
        queue.is_tracked |= matches!(answer, Answer::Appended { .. });
        let fates = match answer {
            Answer::Appended { base_offset, log_append_time } => {
                let batch = queue.closed.remove(index).expect("the index was found just now");
                appended(partition, batch, base_offset, log_append_time)
            }
            Answer::Failed(error) => self.failed(now, partition, index, error),
        };
        self.flushing &= !self.is_empty();
        fates
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
            return refused(partition, batch, reason);
        }
        let batch = &mut queue.closed[index];
        match error.code() {
            // The broker has it already; it no longer knows where.
            Some(ErrorCode::DuplicateSequenceNumber) => {
                let batch = queue.closed.remove(index).expect("the caller's index");
                return appended(partition, batch, None, None);
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
                return refused(partition, batch, &error);
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
            return refused(partition, batch, &reason);
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
                refused(partition, *whole, &error)
            }
        }
    }

    /// Gives up batches that are older than `delivery.timeout.ms` and not in flight.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Fate<W>> {
        let (limit, mut fates) = (self.config.delivery_timeout, Vec::new());
        for (partition, queue) in &mut self.queues {
            let old = |created: Instant| now >= created + limit;
            if let Some(open) = queue.open.take_if(|open| old(open.created)) {
                self.next_id += 1;
                queue.closed.push_back(open.close(BatchId(self.next_id)));
            }
            while let Some(index) = queue.closed.iter().position(|b| !b.is_in_flight() && old(b.created)) {
                let batch = queue.closed.remove(index).expect("the index was found just now");
                self.renumber |= self.identity != Identity::Off && batch.sequence.is_some();
                fates.extend(refused(partition, batch, &late(partition, limit, None)));
            }
        }
        self.flushing &= !self.is_empty();
        fates
    }

    /// Gives up what is not in flight, and what is unless it is answered well: nothing is sent until
    /// [`Accumulator::resume`].
    pub(crate) fn give_up(&mut self, reason: &Error) -> Vec<Fate<W>> {
        self.given_up.get_or_insert_with(|| reason.clone());
        let mut fates = Vec::new();
        for (partition, queue) in &mut self.queues {
            if let Some(open) = queue.open.take() {
                self.next_id += 1;
                queue.closed.push_back(open.close(BatchId(self.next_id)));
            }
            let all = std::mem::take(&mut queue.closed).into_iter();
            let (in_flight, queued): (VecDeque<_>, VecDeque<_>) = all.partition(Batch::is_in_flight);
            queue.closed = in_flight;
            for batch in queued {
                self.renumber |= self.identity != Identity::Off && batch.sequence.is_some();
                fates.extend(refused(partition, batch, reason));
            }
        }
        self.flushing &= !self.is_empty();
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
            let open = queue.open.take().map(|open| open.close(BatchId(u64::MAX)));
            fates.extend(queue.closed.into_iter().chain(open).flat_map(|b| refused(&partition, b, error)));
        }
        fates
    }

    /// When [`Accumulator::dispatch`] or [`Accumulator::expire`] next has something to do that no call
    /// announces. What is overdue waits for an answer or a leader, not for the clock.
    pub(crate) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let limits = &self.config;
        let of_queue = |queue: &Queue<W>| {
            let open = queue.open.as_ref().map(|open| open.created);
            let queued = queue.closed.iter().find(|batch| !batch.is_in_flight()).map(|batch| batch.created);
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

fn appended<W>(
    partition: &TopicPartition,
    batch: Batch<W>,
    base_offset: Option<Offset>,
    log_append_time: Option<TimestampMs>,
) -> Vec<Fate<W>> {
    let fate = |(index, pending): (i64, super::queue::Pending<W>)| Fate {
        waiter: pending.waiter,
        partition: partition.clone(),
        result: Ok((base_offset.map(|base| base.plus(index)), log_append_time.unwrap_or(pending.timestamp))),
    };
    (0..).zip(batch.pending).map(fate).collect()
}

fn refused<W>(partition: &TopicPartition, batch: Batch<W>, error: &Error) -> Vec<Fate<W>> {
    let fate = |pending: super::queue::Pending<W>| Fate {
        waiter: pending.waiter,
        partition: partition.clone(),
        result: Err(error.clone()),
    };
    batch.pending.into_iter().map(fate).collect()
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
