//! The accumulator as callers and one task share it. Callers append their records themselves; the task gives it
//! answers, leaders and the clock, and carries out what it decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_protocol::messages::InitProducerIdRequest;
use millstream_types::{BrokerId, ErrorCode, ProducerEpoch, ProducerId, TopicName, TopicPartition};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, mpsc, oneshot},
    task::JoinSet,
    time::sleep_until,
};

use super::{
    CLOSED,
    accumulator::{Accumulator, Answer, Dispatch, Fate, NewRecord, Outgoing},
    delivery::{BatchWaiter, deliver},
    queue::{BatchId, Mark},
    request::{Sealed, Terms, produce},
    transaction::Transactions,
};
use crate::{
    Client, ClientConfig, Error, Result,
    config::{ProducerConfig, as_millis_i32},
    metrics::{BatchFigures, ProducerMeters},
};

const ABORTED: Error = Error::IllegalState("the transaction was aborted before the record was written");

pub(super) enum Command {
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

/// The records of a producer that have not met their fates.
#[derive(Debug)]
pub(super) struct Records {
    open: Mutex<Open>,
    /// `buffer.memory`
    memory: Semaphore,
    /// The sender has something to look at.
    news: Notify,
}

#[derive(Debug)]
struct Open {
    accumulator: Accumulator<BatchWaiter>,
    /// The number of the last transaction that takes no records any more.
    finished: u64,
    /// The sender is gone.
    is_closed: bool,
}

impl Records {
    pub(super) fn new(config: &ProducerConfig, client: &ClientConfig) -> Self {
        let accumulator = Accumulator::new(config, client.retry_backoff, client.retry_backoff_max);
        Self {
            open: Mutex::new(Open { accumulator, finished: 0, is_closed: false }),
            memory: Semaphore::new(config.buffer_memory.min(Semaphore::MAX_PERMITS)),
            news: Notify::new(),
        }
    }

    pub(super) fn try_reserve(&self, bytes: u32) -> Option<SemaphorePermit<'_>> {
        self.memory.try_acquire_many(bytes).ok()
    }

    /// Waits for room.
    pub(super) async fn reserve(&self, bytes: u32) -> Result<SemaphorePermit<'_>> {
        self.memory.acquire_many(bytes).await.map_err(|_| CLOSED)
    }

    pub(super) fn memory_available(&self) -> usize {
        self.memory.available_permits()
    }

    /// Takes a record of an open transaction, if the producer has those, and says which one of its batch it is.
    pub(super) fn append(
        &self,
        clock: impl FnOnce() -> Instant,
        partition: &TopicPartition,
        record: &NewRecord,
        transaction: Option<u64>,
    ) -> Result<(BatchWaiter, u32)> {
        let mut open = self.open.lock();
        if open.is_closed {
            return Err(CLOSED);
        }
        if transaction.is_some_and(|number| number <= open.finished) {
            return Err(Error::IllegalState("the transaction was ended before the record was taken"));
        }
        if let Some(error) = open.accumulator.given_up() {
            return Err(error.clone());
        }
        let appended = open.accumulator.append(clock, partition, record);
        drop(open);
        if appended.is_news {
            self.news.notify_one();
        }
        Ok((appended.waiter, appended.index))
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock()
    }
}

/// Whatever ends the sender, nobody waits for it in vain.
struct Closing(Arc<Records>);

impl Drop for Closing {
    fn drop(&mut self) {
        let fates = {
            let mut open = self.0.lock();
            open.is_closed = true;
            open.accumulator.abandon(&CLOSED)
        };
        fates.into_iter().for_each(deliver);
        self.0.memory.close();
    }
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
    records: Arc<Records>,
    tasks: JoinSet<Done>,
    /// By broker: is over when the last request for it is on its connection, so that the next may go.
    turns: BTreeMap<BrokerId, oneshot::Receiver<()>>,
    asking_identity: bool,
    asking_metadata: bool,
    /// When metadata may be asked for again after an answer that did not help.
    metadata_not_before: Option<Instant>,
    /// Who is told when everything up to a mark was answered.
    flushes: Vec<(Mark, oneshot::Sender<()>)>,
    aborts: Vec<oneshot::Sender<bool>>,
    adding_partitions: bool,
}

/// Runs until the producer is dropped and all its records have met their fates.
pub(super) async fn run(
    client: Client,
    config: ProducerConfig,
    transactions: Option<Arc<Transactions>>,
    meters: Arc<ProducerMeters>,
    records: Arc<Records>,
    mut commands: mpsc::Receiver<Command>,
) {
    let _closing = Closing(Arc::clone(&records));
    let mut sender = Sender {
        client,
        config,
        transactions,
        meters,
        records: Arc::clone(&records),
        tasks: JoinSet::new(),
        turns: BTreeMap::new(),
        asking_identity: false,
        asking_metadata: false,
        metadata_not_before: None,
        flushes: Vec::new(),
        aborts: Vec::new(),
        adding_partitions: false,
    };
    let mut open = true;
    while open || !records.lock().accumulator.is_empty() {
        let wakeup = sender.work(Instant::now());
        tokio::select! {
            command = commands.recv(), if open => match command {
                Some(command) => sender.take(command),
                None => {
                    open = false;
                    sender.records.lock().accumulator.flush();
                }
            },
            () = records.news.notified() => {}
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
            Command::Flush(done) => self.flush(done),
            Command::Finish(done) => {
                self.finish();
                self.flush(done);
            }
            Command::Abort(done) => {
                self.finish();
                let fates = self.records.lock().accumulator.give_up(&ABORTED);
                self.deliver(fates);
                self.aborts.push(done);
            }
            Command::Identity(id, epoch) => self.records.lock().accumulator.set_identity(id, epoch),
            Command::Abandon => {
                let fates = self.records.lock().accumulator.abandon(&CLOSED);
                self.deliver(fates);
            }
        }
    }

    fn flush(&mut self, done: oneshot::Sender<()>) {
        let mark = self.records.lock().accumulator.flush();
        self.flushes.push((mark, done));
    }

    fn finish(&self) {
        if let Some(transactions) = &self.transactions {
            self.records.lock().finished = transactions.number();
        }
    }

    /// Hands fates out. What a transaction has lost of its records makes it fail as a whole.
    fn settle(&self, fates: Vec<Fate<BatchWaiter>>) {
        let failed = fates.iter().find_map(|fate| fate.result.as_ref().err().cloned());
        self.deliver(fates);
        if let Some(error) = failed {
            self.fail_transaction(&error);
        }
    }

    fn fail_transaction(&self, error: &Error) {
        if let Some(transactions) = &self.transactions {
            transactions.fail(error);
            let fates = self.records.lock().accumulator.give_up(error);
            self.deliver(fates);
        }
    }

    fn deliver(&self, fates: Vec<Fate<BatchWaiter>>) {
        for fate in fates {
            let (written, failed) = match fate.result {
                Ok(_) => (fate.count as usize, 0),
                Err(_) => (0, fate.count as usize),
            };
            self.meters.settled(&fate.partition.topic, written, failed);
            self.records.memory.add_permits(fate.reserved);
            deliver(fate);
        }
    }

    /// Makes partitions part of the transaction that records wait for and are not.
    fn add_partitions(&mut self) {
        let Some(transactions) = self.transactions.clone().filter(|_| !self.adding_partitions) else {
            return;
        };
        let missing: BTreeSet<TopicPartition> = {
            let open = self.records.lock();
            if open.accumulator.given_up().is_some() {
                return;
            }
            let missing = open.accumulator.partitions().filter(|partition| !transactions.contains(partition));
            missing.cloned().collect()
        };
        if missing.is_empty() {
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
        let expired = self.records.lock().accumulator.expire(now);
        self.settle(expired);
        self.add_partitions();
        // A transactional producer has its identity from `init_transactions`.
        let asks_itself = self.transactions.is_none() && !self.asking_identity;
        if asks_itself && self.records.lock().accumulator.wants_identity() {
            self.asking_identity = true;
            let client = self.client.clone();
            self.tasks.spawn(async move { Done::Identity(init_producer_id(&client).await) });
        }
        let metadata_wakeup = self.ask_metadata(now);
        let metadata = self.client.metadata();
        let may_go = |partition: &TopicPartition| {
            self.transactions.as_ref().is_none_or(|transactions| transactions.contains(partition))
        };
        let leader = |partition: &TopicPartition| metadata.leader(partition).filter(|_| may_go(partition));
        let (dispatches, is_empty, oldest, wakeup) = {
            let accumulator = &mut self.records.lock().accumulator;
            let dispatches = accumulator.dispatch(now, leader);
            let oldest = (!self.flushes.is_empty()).then(|| accumulator.oldest());
            (dispatches, accumulator.is_empty(), oldest.flatten(), accumulator.next_wakeup(now))
        };
        for dispatch in dispatches {
            self.send(dispatch);
        }
        for (_, flush) in self.flushes.extract_if(.., |(mark, _)| oldest.is_none_or(|oldest| oldest > *mark))
        {
            // Whoever flushed may have gone.
            flush.send(()).ok();
        }
        if is_empty && !self.aborts.is_empty() && !self.adding_partitions {
            let needs_identity = self.records.lock().accumulator.resume();
            for abort in self.aborts.drain(..) {
                abort.send(needs_identity).ok();
            }
        }
        [wakeup, metadata_wakeup].into_iter().flatten().min()
    }

    fn send(&mut self, dispatch: Dispatch) {
        let client = self.client.clone();
        let (records, meters) = (Arc::clone(&self.records), Arc::clone(&self.meters));
        let terms = Terms {
            acks: self.config.acks,
            timeout: client.config().request_timeout,
            transactional_id: self.config.transactional_id.clone(),
        };
        let (on_its_way, next_turn) = oneshot::channel();
        let turn = self.turns.insert(dispatch.broker, next_turn);
        self.tasks.spawn(async move {
            let Dispatch { broker, batches } = dispatch;
            let seal = |Outgoing { partition, id, parcel, figures }| {
                let bytes = parcel.seal();
                let figures = BatchFigures { bytes: bytes.len(), ..figures };
                ((partition, id, bytes), figures)
            };
            let (batches, figures): (Vec<_>, Vec<_>) = batches.into_iter().map(seal).unzip();
            let topics = batches.iter().map(|(partition, ..): &Sealed| &partition.topic);
            meters.request(topics.zip(figures));
            {
                let accumulator = &mut records.lock().accumulator;
                for (partition, id, bytes) in &batches {
                    accumulator.sealed(partition, *id, bytes.clone());
                }
            }
            if let Some(turn) = turn {
                // The sender is dropped, not used.
                turn.await.ok();
            }
            Done::Produced { broker, answers: produce(client, terms, broker, batches, on_its_way).await }
        });
    }

    /// Asks for metadata if a record's partition has no known leader, or what is known is stale.
    fn ask_metadata(&mut self, now: Instant) -> Option<Instant> {
        let metadata = self.client.metadata();
        let open = self.records.lock();
        let leaderless = open.accumulator.partitions().any(|partition| metadata.leader(partition).is_none());
        let stale = self.client.is_stale() && !open.accumulator.is_empty();
        if self.asking_metadata || !(leaderless || stale) {
            return None;
        }
        if let Some(not_before) = self.metadata_not_before.filter(|time| *time > now) {
            return Some(not_before);
        }
        self.asking_metadata = true;
        let topics: BTreeSet<TopicName> = open.accumulator.partitions().map(|p| p.topic.clone()).collect();
        drop(open);
        let client = self.client.clone();
        self.tasks.spawn(async move { Done::Metadata(client.refresh(topics).await) });
        None
    }

    fn done(&mut self, now: Instant, done: Done) {
        match done {
            Done::Produced { broker, answers } => {
                self.records.lock().accumulator.request_done(broker);
                for (partition, id, answer) in answers {
                    if let Answer::Failed(error) = &answer {
                        tracing::debug!(%partition, %error, "batch not written");
                        if error.is_stale_metadata() {
                            self.client.mark_stale();
                        }
                    }
                    let fates = self.records.lock().accumulator.answer(now, &partition, id, answer);
                    self.settle(fates);
                }
            }
            Done::Identity(answer) => {
                self.asking_identity = false;
                match answer {
                    Ok((id, epoch)) => self.records.lock().accumulator.set_identity(id, epoch),
                    Err(error) => {
                        let fates = self.records.lock().accumulator.abandon(&error);
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
