//! Transactions (KIP-98): records and consumed offsets that become visible together or not at all. What a
//! producer may do when is a state kept here; the requests to the transaction's coordinator are made here too,
//! in the versions from before transaction.version=2 (KIP-890), which every broker with transactions speaks.
//!
//! ```text
//! New ─init─▶ Ready ─begin─▶ Open ─commit/abort─▶ Ending ─▶ Ready
//! ```
//! A failure while it is open leaves only the abort. A producer that was fenced is of no use any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use millstream_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
    txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
};
use millstream_types::{
    ErrorCode, GenerationId, LeaderEpoch, ProducerEpoch, ProducerId, TopicName, TopicPartition,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{CLOSED, Producer, sender::Command};
use crate::{
    Client, CommittedOffset, Connection, Error, Generation, Result, config::as_millis_i32,
    coordinator::CoordinatorOf,
};

/// The last versions that name the partitions of a transaction beforehand.
const ADD_PARTITIONS_VERSION_MAX: i16 = 3;
const ADD_OFFSETS_VERSION_MAX: i16 = 3;
const OFFSET_COMMIT_VERSION_MAX: i16 = 4;
const END_VERSION_MAX: i16 = 4;
/// From here on commits name the group's member (KIP-447).
const OFFSET_COMMIT_VERSION_WITH_MEMBER: i16 = 3;
/// From here on a producer may ask for a new epoch of the id that it has (KIP-360).
const INIT_VERSION_WITH_EPOCH: i16 = 3;
/// While the coordinator still ends the transaction before this one, which takes it a moment.
const CONCURRENT_PAUSE: Duration = Duration::from_millis(20);

/// On whose behalf offsets are committed in a transaction: see `Consumer::group_metadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroupMetadata {
    pub group_id: String,
    /// None for a consumer that is no member.
    pub generation: Option<Generation>,
    pub group_instance_id: Option<String>,
}

type Identity = (ProducerId, ProducerEpoch);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Ready,
    Open,
    Ending { commits: bool },
}

#[derive(Debug)]
struct State {
    phase: Phase,
    identity: Option<Identity>,
    /// Transactions begun so far; the number of the last.
    number: u64,
    /// Why the open transaction cannot be committed.
    failure: Option<Error>,
    /// Why the producer is of no use any more.
    fatal: Option<Error>,
    /// The coordinator may know of the open transaction.
    is_begun: bool,
    /// The coordinator knows that these belong to it.
    partitions: BTreeSet<TopicPartition>,
}

/// The transactions of one producer.
#[derive(Debug)]
pub(super) struct Transactions {
    id: String,
    timeout: Duration,
    state: Mutex<State>,
}

impl Transactions {
    pub(super) fn new(id: String, timeout: Duration) -> Self {
        let state = State {
            phase: Phase::New,
            identity: None,
            number: 0,
            failure: None,
            fatal: None,
            is_begun: false,
            partitions: BTreeSet::new(),
        };
        Self { id, timeout, state: Mutex::new(state) }
    }

    /// Of the last transaction that was begun.
    pub(super) fn number(&self) -> u64 {
        self.state.lock().number
    }

    /// The transaction that a record sent now belongs to.
    pub(super) fn open(&self) -> Result<u64> {
        let state = self.state.lock();
        state.usable()?;
        match (state.phase, &state.failure) {
            (Phase::Open, None) => Ok(state.number),
            (Phase::Open, Some(failure)) => Err(failure.clone()),
            _ => Err(Error::IllegalState("no transaction is open")),
        }
    }

    pub(super) fn contains(&self, partition: &TopicPartition) -> bool {
        self.state.lock().partitions.contains(partition)
    }

    /// Something of the open transaction is lost: it can only be aborted.
    pub(super) fn fail(&self, error: &Error) {
        self.state.lock().failure.get_or_insert_with(|| error.clone());
    }

    /// Makes partitions part of the open transaction, as must be before anything is written to them.
    pub(super) async fn add_partitions(
        &self,
        client: &Client,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<()> {
        let (producer_id, producer_epoch) = self.begun()?;
        let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
        for partition in partitions {
            topics.entry(&partition.topic).or_default().push(partition.partition.0);
        }
        let topic = |(name, partitions): (&TopicName, Vec<i32>)| AddPartitionsToTxnTopic {
            name: name.to_string(),
            partitions,
            ..Default::default()
        };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: producer_id.0,
            v3_and_below_producer_epoch: producer_epoch.0,
            v3_and_below_topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: Connection| async move {
            let version =
                connection.version_of::<AddPartitionsToTxnRequest>()?.min(ADD_PARTITIONS_VERSION_MAX);
            let answer = connection.send(version, request).await?;
            let topics = answer.results_by_topic_v3_and_below.iter();
            let codes = topics.flat_map(|topic| &topic.results_by_partition).map(|p| p.partition_error_code);
            let mut codes = codes.map(ErrorCode::from_code);
            // Those that were not tried are so because of another.
            Ok(codes.find(|code| !matches!(code, ErrorCode::None | ErrorCode::OperationNotAttempted)))
        };
        self.ask(client, "partitions", ask).await?;
        self.state.lock().partitions.extend(partitions.iter().cloned());
        Ok(())
    }

    /// The identity, for a request that makes the transaction known to its coordinator.
    fn begun(&self) -> Result<Identity> {
        let mut state = self.state.lock();
        state.is_begun = true;
        state.identity.ok_or(Error::IllegalState("transactions have not been initialised"))
    }

    /// Asks the transaction's coordinator, whose answer holds a code if there is one.
    async fn ask<F>(&self, client: &Client, what: &str, ask: impl Fn(Connection) -> F) -> Result<()>
    where
        F: Future<Output = Result<Option<ErrorCode>>>,
    {
        let ask = &ask;
        let persist = |connection: Connection| async move {
            loop {
                match ask(connection.clone()).await? {
                    None | Some(ErrorCode::None) => return Ok(()),
                    Some(ErrorCode::ConcurrentTransactions) => tokio::time::sleep(CONCURRENT_PAUSE).await,
                    Some(code) => return Err(self.refused(code)),
                }
            }
        };
        let asked = client.with_coordinator_of(CoordinatorOf::Transaction, what, &self.id, persist).await;
        asked.inspect_err(|error| self.note_fatal(error))
    }

    fn refused(&self, code: ErrorCode) -> Error {
        let message = match code {
            ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch => Some(
                "another producer has taken the id, or the transaction took longer than transaction.timeout.ms"
                    .to_owned(),
            ),
            _ => None,
        };
        Error::kafka(code, format!("transactional id {}", self.id), message)
    }

    fn note_fatal(&self, error: &Error) {
        if error.is_fatal() {
            self.state.lock().fatal.get_or_insert_with(|| error.clone());
        }
    }

    /// A producer id for this transactional id; given the one that it has, the next epoch of it.
    async fn initialise(&self, client: &Client, current: Option<Identity>) -> Result<Identity> {
        let found = Mutex::new(None);
        let found = &found;
        let ask = |connection: Connection| async move {
            let version = connection.version_of::<InitProducerIdRequest>()?;
            let mut request = InitProducerIdRequest {
                transactional_id: Some(self.id.clone()),
                transaction_timeout_ms: as_millis_i32(self.timeout),
                ..Default::default()
            };
            if let Some((id, epoch)) = current.filter(|_| version >= INIT_VERSION_WITH_EPOCH) {
                (request.producer_id, request.producer_epoch) = (id.0, epoch.0);
            }
            let answer = connection.send(version, &request).await?;
            *found.lock() = Some((ProducerId(answer.producer_id), ProducerEpoch(answer.producer_epoch)));
            Ok(Some(ErrorCode::from_code(answer.error_code)))
        };
        self.ask(client, "producer id", ask).await?;
        let identity = found.lock().take();
        identity.ok_or(Error::IllegalState("no producer id was given"))
    }

    async fn end(&self, client: &Client, commits: bool) -> Result<()> {
        let (is_begun, identity) = {
            let state = self.state.lock();
            (state.is_begun, state.identity)
        };
        // Nothing was ever written: the coordinator knows of no transaction.
        let Some((producer_id, producer_epoch)) = identity.filter(|_| is_begun) else { return Ok(()) };
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: producer_id.0,
            producer_epoch: producer_epoch.0,
            committed: commits,
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: Connection| async move {
            let version = connection.version_of::<EndTxnRequest>()?.min(END_VERSION_MAX);
            let answer = connection.send(version, request).await?;
            Ok(Some(ErrorCode::from_code(answer.error_code)))
        };
        self.ask(client, if commits { "commit" } else { "abort" }, ask).await
    }

    async fn add_offsets(
        &self,
        client: &Client,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        let (producer_id, producer_epoch) = self.begun()?;
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: producer_id.0,
            producer_epoch: producer_epoch.0,
            group_id: group.group_id.clone(),
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: Connection| async move {
            let version = connection.version_of::<AddOffsetsToTxnRequest>()?.min(ADD_OFFSETS_VERSION_MAX);
            let answer = connection.send(version, request).await?;
            Ok(Some(ErrorCode::from_code(answer.error_code)))
        };
        self.ask(client, "offsets", ask).await?;
        let mut topics: BTreeMap<&TopicName, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
        for (partition, committed) in offsets {
            topics.entry(&partition.topic).or_default().push(TxnOffsetCommitRequestPartition {
                partition_index: partition.partition.0,
                committed_offset: committed.offset.0,
                committed_leader_epoch: LeaderEpoch::to_wire(committed.leader_epoch),
                committed_metadata: Some(committed.metadata.clone()),
                ..Default::default()
            });
        }
        let topic = |(name, partitions): (&TopicName, _)| TxnOffsetCommitRequestTopic {
            name: name.to_string(),
            partitions,
            ..Default::default()
        };
        let topics: Vec<_> = topics.into_iter().map(topic).collect();
        let commit = |connection: Connection| {
            let topics = topics.clone();
            async move { self.commit_offsets(&connection, group, (producer_id, producer_epoch), topics).await }
        };
        let committed = client.with_coordinator("commit in a transaction", &group.group_id, commit).await;
        committed.inspect_err(|error| self.note_fatal(error))
    }

    async fn commit_offsets(
        &self,
        connection: &Connection,
        group: &ConsumerGroupMetadata,
        (producer_id, producer_epoch): Identity,
        topics: Vec<TxnOffsetCommitRequestTopic>,
    ) -> Result<()> {
        let version = connection.version_of::<TxnOffsetCommitRequest>()?.min(OFFSET_COMMIT_VERSION_MAX);
        let mut request = TxnOffsetCommitRequest {
            transactional_id: self.id.clone(),
            group_id: group.group_id.clone(),
            producer_id: producer_id.0,
            producer_epoch: producer_epoch.0,
            topics,
            ..Default::default()
        };
        if let Some(generation) =
            group.generation.as_ref().filter(|_| version >= OFFSET_COMMIT_VERSION_WITH_MEMBER)
        {
            request.generation_id = GenerationId::to_wire(Some(generation.id));
            request.member_id.clone_from(&generation.member_id);
            request.group_instance_id.clone_from(&group.group_instance_id);
        }
        let answer = connection.send(version, &request).await?;
        for topic in answer.topics {
            for partition in topic.partitions {
                match ErrorCode::from_code(partition.error_code) {
                    ErrorCode::None => {}
                    code @ (ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch) => {
                        return Err(self.refused(code));
                    }
                    code => {
                        let which = format!("{}-{}", topic.name, partition.partition_index);
                        let what = format!("commit of {which} by group {}", group.group_id);
                        return Err(Error::kafka(code, what, None));
                    }
                }
            }
        }
        Ok(())
    }
}

impl State {
    fn usable(&self) -> Result<()> {
        self.fatal.clone().map_or(Ok(()), Err)
    }

    /// Begins to end the open transaction, or goes on with it after a call that did not finish.
    fn begin_end(&mut self, commits: bool) -> Result<()> {
        self.usable()?;
        match self.phase {
            Phase::Open => {}
            Phase::Ending { commits: same } if same == commits => {}
            Phase::Ending { .. } => {
                return Err(Error::IllegalState("the transaction is already being ended"));
            }
            Phase::New | Phase::Ready => return Err(Error::IllegalState("no transaction is open")),
        }
        if let Some(failure) = self.failure.clone().filter(|_| commits) {
            return Err(failure);
        }
        self.phase = Phase::Ending { commits };
        Ok(())
    }

    fn ended(&mut self) {
        self.phase = Phase::Ready;
        self.failure = None;
        self.is_begun = false;
        self.partitions.clear();
    }
}

/// Transactions. All of these need `transactional.id`. What an error leaves to do: with
/// [`Error::is_fatal`], to drop the producer; else, while a transaction is open, to abort it; a commit or abort
/// that took too long may be called again.
impl Producer {
    fn transactions(&self) -> Result<&Transactions> {
        self.transactions.as_deref().ok_or_else(|| Error::config("transactional.id", "is not set"))
    }

    /// Takes the transactional id over: whoever had it is fenced, and what it left open is aborted. To be
    /// called once, first of all.
    pub async fn init_transactions(&self) -> Result<()> {
        let transactions = self.transactions()?;
        {
            let state = transactions.state.lock();
            state.usable()?;
            if state.phase != Phase::New {
                return Err(Error::IllegalState("transactions have been initialised already"));
            }
        }
        let identity = transactions.initialise(&self.client, None).await?;
        self.take_identity(identity).await?;
        transactions.state.lock().phase = Phase::Ready;
        Ok(())
    }

    async fn take_identity(&self, identity: Identity) -> Result<()> {
        self.commands.send(Command::Identity(identity.0, identity.1)).await.map_err(|_| CLOSED)?;
        self.transactions()?.state.lock().identity = Some(identity);
        Ok(())
    }

    /// What is sent from now on belongs to one transaction.
    pub fn begin_transaction(&self) -> Result<()> {
        let mut state = self.transactions()?.state.lock();
        state.usable()?;
        match state.phase {
            Phase::Ready => {}
            Phase::New => return Err(Error::IllegalState("transactions have not been initialised")),
            _ => return Err(Error::IllegalState("a transaction is open already")),
        }
        state.phase = Phase::Open;
        state.number += 1;
        Ok(())
    }

    /// Commits these offsets, of the next record to be read each, if the transaction is committed.
    pub async fn send_offsets_to_transaction(
        &self,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        let transactions = self.transactions()?;
        transactions.open()?;
        if offsets.is_empty() {
            return Ok(());
        }
        let added = transactions.add_offsets(&self.client, offsets, group).await;
        added.inspect_err(|error| transactions.fail(error))
    }

    /// Waits until all records of the transaction are written, and makes them visible. An error of one of them
    /// is an error of this, and leaves the transaction to be aborted.
    pub async fn commit_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        transactions.state.lock().begin_end(true)?;
        let (done, flushed) = oneshot::channel();
        self.commands.send(Command::Finish(done)).await.map_err(|_| CLOSED)?;
        flushed.await.map_err(|_| CLOSED)?;
        {
            let mut state = transactions.state.lock();
            if let Some(failure) = state.failure.clone() {
                state.phase = Phase::Open;
                return Err(failure);
            }
        }
        if let Err(error) = transactions.end(&self.client, true).await {
            // One that may pass leaves the outcome open, and the commit to be called again.
            if !error.is_retriable() {
                let mut state = transactions.state.lock();
                state.phase = Phase::Open;
                state.failure = Some(error.clone());
            }
            return Err(error);
        }
        transactions.state.lock().ended();
        Ok(())
    }

    /// Gives up what is not written yet, and makes sure that nobody who reads committed records sees the rest.
    pub async fn abort_transaction(&self) -> Result<()> {
        let transactions = self.transactions()?;
        transactions.state.lock().begin_end(false)?;
        let (done, aborted) = oneshot::channel();
        self.commands.send(Command::Abort(done)).await.map_err(|_| CLOSED)?;
        let mut sequences_miss = aborted.await.map_err(|_| CLOSED)?;
        match transactions.end(&self.client, false).await {
            Ok(()) => {}
            // Too late: the coordinator has aborted it by the clock, or never heard of it. A new epoch shows
            // whether this producer may go on (KIP-588).
            Err(error) if error.is_fatal() => {
                transactions.state.lock().fatal = None;
                sequences_miss = true;
            }
            Err(error) => return Err(error),
        }
        if sequences_miss {
            let current = transactions.state.lock().identity;
            let identity = transactions.initialise(&self.client, current).await?;
            self.take_identity(identity).await?;
        }
        transactions.state.lock().ended();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Transactions {
        let transactions = Transactions::new("id".to_owned(), Duration::from_secs(1));
        let mut state = transactions.state.lock();
        (state.phase, state.number) = (Phase::Open, 1);
        drop(state);
        transactions
    }

    #[test]
    fn a_transaction_that_has_failed_takes_nothing_and_can_only_be_aborted() {
        let transactions = open();
        assert_eq!(transactions.open(), Ok(1));
        let lost = Error::kafka(ErrorCode::RecordListTooLarge, "t-0", None);
        transactions.fail(&lost);
        transactions.fail(&Error::Closed("the producer"));
        assert_eq!(transactions.open(), Err(lost.clone()));
        assert_eq!(transactions.state.lock().begin_end(true), Err(lost));
        assert_eq!(transactions.state.lock().begin_end(false), Ok(()));
        transactions.state.lock().ended();
        assert_eq!(transactions.state.lock().phase, Phase::Ready);
        assert!(matches!(transactions.open(), Err(Error::IllegalState(_))));
    }

    #[test]
    fn an_end_that_did_not_finish_is_gone_on_with_but_not_turned_round() {
        let transactions = open();
        let mut state = transactions.state.lock();
        assert_eq!(state.begin_end(true), Ok(()));
        assert_eq!(state.begin_end(true), Ok(()));
        assert!(state.begin_end(false).is_err());
    }

    #[test]
    fn a_fenced_producer_is_of_no_use() {
        let transactions = open();
        let fenced = transactions.refused(ErrorCode::ProducerFenced);
        transactions.note_fatal(&fenced);
        transactions.note_fatal(&transactions.refused(ErrorCode::InvalidTxnState));
        assert_eq!(transactions.open(), Err(fenced.clone()));
        assert_eq!(transactions.state.lock().begin_end(false), Err(fenced));
    }
}
