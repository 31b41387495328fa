//! The task behind a producer: gives the accumulator its records, answers, leaders and clock, and carries
//! out what it decides.

use std::{
    collections::{BTreeMap, BTreeSet},
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
    RecordMetadata,
    accumulator::{Accumulator, Answer, Fate, NewRecord},
    queue::BatchId,
    request::produce,
};
use crate::{
    Client, Error, Result,
    config::{ProducerConfig, as_millis_i32},
};

/// Records taken from the channel before batches are looked at again.
const COMMANDS_AT_ONCE: usize = 1024;

pub(super) enum Command {
    Append(Append),
    Flush(oneshot::Sender<()>),
}

pub(super) struct Append {
    pub(super) partition: TopicPartition,
    pub(super) record: NewRecord,
    pub(super) waiter: Waiter,
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
}

struct Sender {
    client: Client,
    config: ProducerConfig,
    accumulator: Accumulator<Waiter>,
    tasks: JoinSet<Done>,
    /// By broker: is over when the last request for it is on its connection, so that the next may go.
    turns: BTreeMap<BrokerId, oneshot::Receiver<()>>,
    asking_identity: bool,
    asking_metadata: bool,
    /// When metadata may be asked for again after an answer that did not help.
    metadata_not_before: Option<Instant>,
    flushes: Vec<oneshot::Sender<()>>,
}

/// Runs until the producer is dropped and all its records have met their fates.
pub(super) async fn run(client: Client, config: ProducerConfig, mut commands: mpsc::Receiver<Command>) {
    let backoff = (client.config().retry_backoff, client.config().retry_backoff_max);
    let mut sender = Sender {
        accumulator: Accumulator::new(&config, backoff.0, backoff.1),
        client,
        config,
        tasks: JoinSet::new(),
        turns: BTreeMap::new(),
        asking_identity: false,
        asking_metadata: false,
        metadata_not_before: None,
        flushes: Vec::new(),
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
                self.accumulator.append(Instant::now(), &append.partition, &append.record, append.waiter);
            }
            Command::Flush(done) => {
                self.accumulator.flush();
                self.flushes.push(done);
            }
        }
    }

    /// Starts everything that can be started now. Returns when to look again at the latest.
    fn work(&mut self, now: Instant) -> Option<Instant> {
        deliver(self.accumulator.expire(now));
        if self.accumulator.wants_identity() && !self.asking_identity {
            self.asking_identity = true;
            let client = self.client.clone();
            self.tasks.spawn(async move { Done::Identity(init_producer_id(&client).await) });
        }
        let metadata_wakeup = self.ask_metadata(now);
        let metadata = self.client.metadata();
        for dispatch in self.accumulator.dispatch(now, |partition| metadata.leader(partition)) {
            let (client, acks) = (self.client.clone(), self.config.acks);
            let timeout = client.config().request_timeout;
            let broker = dispatch.broker;
            let (on_its_way, next_turn) = oneshot::channel();
            let turn = self.turns.insert(broker, next_turn);
            self.tasks.spawn(async move {
                if let Some(turn) = turn {
                    // The sender is dropped, not used.
                    turn.await.ok();
                }
                Done::Produced { broker, answers: produce(client, acks, timeout, dispatch, on_its_way).await }
            });
        }
        if self.accumulator.is_empty() {
            for flush in self.flushes.drain(..) {
                // Whoever flushed may have gone.
                flush.send(()).ok();
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
                    deliver(self.accumulator.answer(now, &partition, id, answer));
                }
            }
            Done::Identity(answer) => {
                self.asking_identity = false;
                match answer {
                    Ok((id, epoch)) => self.accumulator.set_identity(id, epoch),
                    Err(error) => deliver(self.accumulator.abandon(&error)),
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

fn deliver(fates: Vec<Fate<Waiter>>) {
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
