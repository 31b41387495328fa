//! What every coordinator is to the shell that runs it: a state machine over the records of one partition.
//!
//! The shell owns a shard and does, one thing at a time and in this order:
//!
//! 1. At load: [`Shard::replay`] of every record of the partition, then [`Shard::loaded`] once.
//! 2. For a request: [`Shard::handle`]; when [`Shard::next_deadline`] has passed: [`Shard::on_timer`].
//! 3. With the [`Decision`]: append its records to the partition as one batch (several when
//!    [`Decision::splittable`]). Appended: replay each of them, at once, then send the responses as soon as
//!    *everything that this shard has appended so far* is durable; so even an answer without records of
//!    its own never tells what a power cut could take back. Not appended: give the decision to
//!    [`Shard::append_failed`] and go on with the decision that this returns.
//! 4. When it loses the partition: [`Shard::unload`], and send what that returns.
//!
//! Invariants: durable state changes in `replay` alone; a token that went in with `handle` comes out in
//! exactly one decision, exactly once.

use bytes::Bytes;
use millstream_types::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Names a waiting request within one shard; the shell's choice, never reused while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken(pub u64);

/// One record of the internal topic: key and value as Kafka stores them, a leading version in both.
/// Without a value it is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorRecord {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// Where a replayed record stands in the partition, and who wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOrigin {
    pub offset: Offset,
    /// Of a transactional batch; its records count only once the transaction is committed.
    pub producer: Option<(ProducerId, ProducerEpoch)>,
}

/// A record that is malformed, or of a kind that this shard does not keep: it has changed nothing, and the
/// log goes on holding it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record at offset {offset} cannot be used: {reason}")]
pub struct ReplayError {
    pub offset: Offset,
    pub reason: String,
}

/// What a shard wants done.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a decision that is dropped leaves its requests without an answer"]
pub struct Decision<R> {
    /// To append, in this order; nothing of them holds before they are replayed.
    pub records: Vec<CoordinatorRecord>,
    /// Whether the records may be appended as several batches, because each alone makes sense.
    /// Otherwise it is all or nothing: one batch.
    pub splittable: bool,
    /// Answers, each for a token of this or of an earlier request that has waited until now.
    pub responses: Vec<(RequestToken, R)>,
}

impl<R> Default for Decision<R> {
    fn default() -> Self {
        Self { records: Vec::new(), splittable: false, responses: Vec::new() }
    }
}

impl<R> Decision<R> {
    /// An answer without records.
    pub fn respond(token: RequestToken, response: R) -> Self {
        Self { responses: vec![(token, response)], ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.responses.is_empty()
    }
}

/// A coordinator over one partition.
pub trait Shard {
    type Event;
    type Response;

    /// Decides on a request. The answer may come in this decision or in a later one.
    fn handle(
        &mut self,
        token: RequestToken,
        event: Self::Event,
        now: TimestampMs,
    ) -> Decision<Self::Response>;

    /// Takes in one record of the partition: while loading, or just appended.
    fn replay(&mut self, record: &CoordinatorRecord, origin: RecordOrigin) -> Result<(), ReplayError>;

    /// Takes in the marker that ends a transaction: the records of this producer now count, or never will.
    fn replay_end_transaction(
        &mut self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        committed: bool,
    );

    /// All records have been replayed; from now on requests come.
    fn loaded(&mut self, now: TimestampMs) -> Decision<Self::Response>;

    /// The earliest time at which [`Self::on_timer`] has something to do.
    fn next_deadline(&self) -> Option<TimestampMs>;

    /// The clock behind `now` was set, forwards or back, by so much: what is waited for stays as far away as it
    /// was.
    fn clock_was_set(&mut self, by_ms: i64);

    /// Does what is due. Called too early or twice, it does nothing. What remains due afterwards shows
    /// in [`Self::next_deadline`]: a large clean-up comes in several decisions.
    fn on_timer(&mut self, now: TimestampMs) -> Decision<Self::Response>;

    /// The records of `failed`, this shard's latest decision, could not be appended (`error` is the
    /// log's): takes back what it presumed, and answers the requests concerned. If it was split and some
    /// of it has been appended and replayed, `failed` is the rest, with all its responses.
    fn append_failed(
        &mut self,
        failed: Decision<Self::Response>,
        error: ErrorCode,
        now: TimestampMs,
    ) -> Decision<Self::Response>;

    /// Forgets everything; every waiting request is answered.
    fn unload(&mut self) -> Vec<(RequestToken, Self::Response)>;
}
