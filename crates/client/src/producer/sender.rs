//! The task behind a producer: gives the accumulator its records, answers, leaders and clock, and carries
//! out what it decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_protocol::messages::InitProducerIdRequest;
use millstream_types::{BrokerId, ErrorCode, ProducerEpoch, ProducerId, TopicName, TopicPartition};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinSet,
    time::sleep_until,
};

use super::{
    CLOSED, RecordMetadata,
    accumulator::{Accumulator, Answer, Fate, NewRecord},
    queue::BatchId,
    request::{Terms, produce},
    transaction::Transactions,
};
use crate::{
    Client, Error, Result,
    config::{ProducerConfig, as_millis_i32},
    metrics::ProducerMeters,
};

/// Records taken from the channel before batches are looked at again.
const COMMANDS_AT_ONCE: usize = 1024;
const ABORTED: Error = Error::IllegalState("the transaction was aborted before the record was written");

pub(super) enum Command {
    Append(Append),
    Flush(oneshot::Sender<()>),
    /// As a flush, and what comes later is not of the transaction any more.
    Finish(oneshot::Sender<()>),
    /// Gives up what can be, and waits for the rest. Says whether the producer needs a new identity.
    Abort(oneshot::Sender<bool>),
    /// Of a transactional producer.
    Identity(ProducerId, ProducerEpoch),
    /// Gives everything up.
    Abandon,
}

pub(super) struct Append {
    pub(super) partition: TopicPartition,
    pub(super) record: NewRecord,
    pub(super) waiter: Waiter,
    /// The number of the transaction that it is part of.
    pub(super) transaction: Option<u64>,
}

/// Waits for a record's fate and holds its share of `buffer.memory` until then.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) fate: oneshot::Sender<Result<RecordMetadata>>,
    pub(super) _memory: OwnedSemaphorePermit,
}

/// What a task of the sender's came back with.
enum Done {
    Produced { broker: BrokerId, answers: Vec<(TopicPartition, BatchId, Answer)> },
    Identity(Result<(ProducerId, ProducerEpoch)>),
    Metadata(Result<Vec<(TopicName, Error)>>),
    PartitionsAdded(Result<()>),
}

struct Sender {
    client: Client,
    config: ProducerConfig,
    transactions: Option<Arc<Transactions>>,
    meters: Arc<ProducerMeters>,
    accumulator: Accumulator<Waiter>,
    tasks: JoinSet<Done>,
    /// By broker: is over when the last request for it is on its connection, so that the next may go.
    turns: BTreeMap<BrokerId, oneshot::Receiver<()>>,
    asking_identity: bool,
    asking_metadata: bool,
    /// When metadata may be asked for again after an answer that did not help.
    metadata_not_before: Option<Instant>,
    flushes: Vec<oneshot::Sender<()>>,
    aborts: Vec<oneshot::Sender<bool>>,
    adding_partitions: bool,
    /// The number of the last transaction that takes no records any more.
    finished: u64,
}

/// Runs until the producer is dropped and all its records have met their fates.
pub(super) async fn run(
    client: Client,
    config: ProducerConfig,
    transactions: Option<Arc<Transactions>>,
    meters: Arc<ProducerMeters>,
    mut commands: mpsc::Receiver<Command>,
) {
    let backoff = (client.config().retry_backoff, client.config().retry_backoff_max);
    let mut sender = Sender {
        accumulator: Accumulator::new(&config, backoff.0, backoff.1),
        client,
        config,
        transactions,
        meters,
        tasks: JoinSet::new(),
        turns: BTreeMap::new(),
        asking_identity: false,
        asking_metadata: false,
        metadata_not_before: None,
        flushes: Vec::new(),
        aborts: Vec::new(),
        adding_partitions: false,
        finished: 0,
    };
    let mut received = Vec::with_capacity(COMMANDS_AT_ONCE);
    let mut open = true;
    while open || !sender.accumulator.is_empty() {
        let wakeup = sender.work(Instant::now());
        tokio::select! {
            count = commands.recv_many(&mut received, COMMANDS_AT_ONCE), if open => {
                open = count > 0;
                if !open {
                    sender.accumulator.flush();
                }
                for command in received.drain(..) {
                    sender.take(command);
                }
            }
            Some(done) = sender.tasks.join_next() => match done {
                Ok(done) => sender.done(Instant::now(), done),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = until(wakeup), if wakeup.is_some() => {}
        }
    }
}

async fn until(wakeup: Option<Instant>) {
    if let Some(wakeup) = wakeup {
        sleep_until(wakeup.into()).await;
    }
}

impl Sender {
    fn take(&mut self, command: Command) {
        match command {
            Command::Append(append) => {
                if let Some(error) = self.refusal(append.transaction) {
                    append.waiter.fate.send(Err(error)).ok();
                    return;
                }
                self.accumulator.append(Instant::now(), &append.partition, &append.record, append.waiter);
            }
            Command::Flush(done) => {
                self.accumulator.flush();
                self.flushes.push(done);
            }
            Command::Finish(done) => {
                self.finish();
                self.accumulator.flush();
                self.flushes.push(done);
            }
            Command::Abort(done) => {
                self.finish();
                let fates = self.accumulator.give_up(&ABORTED);
                self.deliver(fates);
                self.aborts.push(done);
            }
            Command::Identity(id, epoch) => self.accumulator.set_identity(id, epoch),
            Command::Abandon => {
                let fates = self.accumulator.abandon(&CLOSED);
                self.deliver(fates);
            }
        }
    }

    fn finish(&mut self) {
        if let Some(transactions) = &self.transactions {
            self.finished = transactions.number();
        }
    }

    /// Why a record that was sent in a transaction cannot be part of it any more.
    fn refusal(&self, transaction: Option<u64>) -> Option<Error> {
        if transaction.is_some_and(|number| number <= self.finished) {
            return Some(Error::IllegalState("the transaction was ended before the record was taken"));
        }
        self.accumulator.given_up().cloned()
    }

    /// Hands fates out. What a transaction has lost of its records makes it fail as a whole.
    fn settle(&mut self, fates: Vec<Fate<Waiter>>) {
        let failed = fates.iter().find_map(|fate| fate.result.as_ref().err().cloned());
        self.deliver(fates);
        if let Some(error) = failed {
            self.fail_transaction(&error);
        }
    }

    fn fail_transaction(&mut self, error: &Error) {
        if let Some(transactions) = &self.transactions {
            transactions.fail(error);
            let fates = self.accumulator.give_up(error);
            self.deliver(fates);
        }
    }

    fn deliver(&self, fates: Vec<Fate<Waiter>>) {
        for of_one in fates.chunk_by(|one, other| one.partition == other.partition) {
            let written = of_one.iter().filter(|fate| fate.result.is_ok()).count();
            self.meters.settled(&of_one[0].partition.topic, written, of_one.len() - written);
        }
        for fate in fates {
            let result = fate.result.map(|(offset, timestamp)| RecordMetadata {
                partition: fate.partition,
                offset,
                timestamp,
            });
            // The producer's caller may not care.
            fate.waiter.fate.send(result).ok();
        }
    }

    /// Makes partitions part of the transaction that records wait for and are not.
    fn add_partitions(&mut self) {
        let Some(transactions) = self.transactions.clone().filter(|_| !self.adding_partitions) else {
            return;
        };
        let missing = self.accumulator.partitions().filter(|partition| !transactions.contains(partition));
        let missing: BTreeSet<TopicPartition> = missing.cloned().collect();
        if missing.is_empty() || self.accumulator.given_up().is_some() {
            return;
        }
        self.adding_partitions = true;
        let client = self.client.clone();
        self.tasks.spawn(async move {
            Done::PartitionsAdded(transactions.add_partitions(&client, &missing).await)
        });
    }

    /// Starts everything that can be started now. Returns when to look again at the latest.
    fn work(&mut self, now: Instant) -> Option<Instant> {
        let expired = self.accumulator.expire(now);
        self.settle(expired);
        self.add_partitions();
        // A transactional producer has its identity from `init_transactions`.
        let asks_itself = self.transactions.is_none() && !self.asking_identity;
        if asks_itself && self.accumulator.wants_identity() {
            self.asking_identity = true;
            let client = self.client.clone();
            self.tasks.spawn(async move { Done::Identity(init_producer_id(&client).await) });
        }
        let metadata_wakeup = self.ask_metadata(now);
        let metadata = self.client.metadata();
        let transactions = self.transactions.clone();
        let may_go = |partition: &TopicPartition| {
            transactions.as_ref().is_none_or(|transactions| transactions.contains(partition))
        };
        let leader = |partition: &TopicPartition| metadata.leader(partition).filter(|_| may_go(partition));
        for dispatch in self.accumulator.dispatch(now, leader) {
            let topics = dispatch.batches.iter().map(|(partition, ..)| &partition.topic);
            self.meters.request(topics.zip(dispatch.figures.iter().copied()));
            let client = self.client.clone();
            let terms = Terms {
                acks: self.config.acks,
                timeout: client.config().request_timeout,
                transactional_id: self.config.transactional_id.clone(),
            };
            let broker = dispatch.broker;
            let (on_its_way, next_turn) = oneshot::channel();
            let turn = self.turns.insert(broker, next_turn);
            self.tasks.spawn(async move {
                if let Some(turn) = turn {
                    // The sender is dropped, not used.
                    turn.await.ok();
                }
                Done::Produced { broker, answers: produce(client, terms, dispatch, on_its_way).await }
            });
        }
        if self.accumulator.is_empty() {
            for flush in self.flushes.drain(..) {
                // Whoever flushed may have gone.
                flush.send(()).ok();
            }
            if !self.aborts.is_empty() && !self.adding_partitions {
                let needs_identity = self.accumulator.resume();
                for abort in self.aborts.drain(..) {
                    abort.send(needs_identity).ok();
                }
            }
        }
        [self.accumulator.next_wakeup(now), metadata_wakeup].into_iter().flatten().min()
    }

    /// Asks for metadata if a record's partition has no known leader, or what is known is stale.
    fn ask_metadata(&mut self, now: Instant) -> Option<Instant> {
        let metadata = self.client.metadata();
        let leaderless = self.accumulator.partitions().any(|partition| metadata.leader(partition).is_none());
        let stale = self.client.is_stale() && !self.accumulator.is_empty();
        if self.asking_metadata || !(leaderless || stale) {
            return None;
        }
        if let Some(not_before) = self.metadata_not_before.filter(|time| *time > now) {
            return Some(not_before);
        }
        self.asking_metadata = true;
        let topics: BTreeSet<TopicName> = self.accumulator.partitions().map(|p| p.topic.clone()).collect();
        let client = self.client.clone();
        self.tasks.spawn(async move { Done::Metadata(client.refresh(topics).await) });
        None
    }

    fn done(&mut self, now: Instant, done: Done) {
        match done {
            Done::Produced { broker, answers } => {
                self.accumulator.request_done(broker);
                for (partition, id, answer) in answers {
                    if let Answer::Failed(error) = &answer {
                        tracing::debug!(%partition, %error, "batch not written");
                        if error.is_stale_metadata() {
                            self.client.mark_stale();
                        }
                    }
                    let fates = self.accumulator.answer(now, &partition, id, answer);
                    self.settle(fates);
                }
            }
            Done::Identity(answer) => {
                self.asking_identity = false;
                match answer {
                    Ok((id, epoch)) => self.accumulator.set_identity(id, epoch),
                    Err(error) => {
                        let fates = self.accumulator.abandon(&error);
                        self.deliver(fates);
                    }
                }
            }
            Done::PartitionsAdded(answer) => {
                self.adding_partitions = false;
                if let Err(error) = answer {
                    self.fail_transaction(&error);
                }
            }
            Done::Metadata(answer) => {
                self.asking_metadata = false;
                let backoff: Duration = self.client.config().retry_backoff;
                self.metadata_not_before = Some(now + backoff);
                if let Err(error) = answer {
                    tracing::debug!(%error, "metadata not refreshed");
                }
            }
        }
    }
}

async fn init_producer_id(client: &Client) -> Result<(ProducerId, ProducerEpoch)> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: as_millis_i32(client.config().request_timeout),
        ..InitProducerIdRequest::default()
    };
    let ask = || async {
        let answer = client.any_broker().await?.call(&request).await?;
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => Ok((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch))),
            code => Err(Error::kafka(code, "producer id", None)),
        }
    };
    client.retry("producer id", ask).await
}
