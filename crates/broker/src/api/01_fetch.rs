//! Fetch (1), versions 4-18: topics by id from 13 on. Sessions (KIP-227), whole batches, at least one
//! batch even if it is larger than asked (KIP-74), long poll below `min_bytes`.
//!
//! One read function serves the first try and every try after a wake-up. What is in no cache is read by a
//! thread that may wait for the disk; large reads are not copied but sent from their file. There is one replica, so
//! there are no preferred read replicas, and a `replica_id` ≥ 0 is not a broker we know.

use std::{sync::Arc, time::Duration};

use millstream_log::{ColdReads, Isolation, ReadError, ReadRequest, ReadResult};
use millstream_protocol::messages::{
    FetchRequest, FetchResponse,
    fetch_request::FetchTopic,
    fetch_response::{AbortedTransaction, EpochEndOffset, FetchableTopicResponse, PartitionData},
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, codec::Payload};
use tokio::{sync::Notify, time::Instant};

use super::context::{RequestContext, blocking};
use crate::{
    error_map::Failure,
    fetch_session::{FetchContext, FetchKey, Said, SessionRef, SessionRequest, TopicKey, Wanted},
    partitions::{Partition, Topic},
    parts::Parts,
    server::response::Reply,
};

/// From this version on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;
/// From this version on a failed or diverged partition can say so without records being null.
const SESSIONS_FROM: i16 = 7;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: FetchRequest) -> Reply {
    if request.replica_id >= 0 || request.replica_state.replica_id >= 0 {
        return context.now(&unknown_replica(request));
    }
    let version = context.version;
    let session = match parts.fetch_sessions.begin(session_request(&request, version), parts.clock.now()) {
        Ok(begun) => begun,
        Err(code) => return context.now(&error(code)),
    };
    let (session, wanted) = session;
    let fetch = Fetch {
        parts: Arc::clone(parts),
        session,
        by_id: version >= TOPIC_IDS_FROM,
        bytes_max: usize::try_from(request.max_bytes).unwrap_or(0).min(parts.fetch_bytes_max()),
        bytes_min: usize::try_from(request.min_bytes).unwrap_or(0),
        isolation: match request.isolation_level {
            0 => Isolation::ReadUncommitted,
            _ => Isolation::ReadCommitted,
        },
        targets: wanted.into_iter().map(|(key, wanted)| Target::new(parts, key, wanted)).collect(),
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    match fetch.read_all(ColdReads::Refuse) {
        Some(outcomes) if wait.is_zero() || fetch.is_enough(&outcomes) => {
            context.now(&fetch.respond(outcomes))
        }
        _ => context.later(Arc::new(fetch).wait(Instant::now() + wait)),
    }
}

fn session_request(request: &FetchRequest, version: i16) -> SessionRequest {
    let by_id = version >= TOPIC_IDS_FROM;
    let key = |name: &str, id| if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.into()) };
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let topic_key = key(&topic.topic, topic.topic_id);
        wanted.extend(topic.partitions.iter().map(|p| {
            let key = FetchKey { topic: topic_key.clone(), partition: p.partition };
            let wanted = Wanted {
                fetch_offset: p.fetch_offset,
                max_bytes: p.partition_max_bytes,
                current_leader_epoch: p.current_leader_epoch,
                last_fetched_epoch: p.last_fetched_epoch,
            };
            (key, wanted)
        }));
    }
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let topic_key = key(&topic.topic, topic.topic_id);
        forgotten
            .extend(topic.partitions.iter().map(|&p| FetchKey { topic: topic_key.clone(), partition: p }));
    }
    let (id, epoch) =
        if version >= SESSIONS_FROM { (request.session_id, request.session_epoch) } else { (0, -1) };
    SessionRequest { session: SessionRef { id, epoch }, by_id, wanted, forgotten }
}

fn error(code: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: code.code(), ..Default::default() }
}

/// What Kafka says of each partition to a replica that it does not have.
fn unknown_replica(request: FetchRequest) -> FetchResponse {
    let refused = |index| {
        let failure = Outcome::Failed(ErrorCode::NotLeaderOrFollower.into());
        partition_data(index, Isolation::ReadUncommitted, failure)
    };
    let topic = |topic: FetchTopic| FetchableTopicResponse {
        topic: topic.topic,
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|partition| refused(partition.partition)).collect(),
        ..Default::default()
    };
    let responses = request.topics.into_iter().map(topic).collect();
    FetchResponse { responses, ..Default::default() }
}

/// One partition of a fetch, looked up once.
struct Target {
    key: FetchKey,
    wanted: Wanted,
    found: Result<(Arc<Topic>, Arc<Partition>), ErrorCode>,
}

impl Target {
    fn new(parts: &Parts, key: FetchKey, wanted: Wanted) -> Self {
        let topic = match &key.topic {
            TopicKey::Id(id) => parts.partitions.topic_by_id(*id).ok_or(ErrorCode::UnknownTopicId),
            TopicKey::Name(name) => parts.partitions.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition),
        };
        let found = topic.and_then(|topic| {
            let partition = topic.partition(PartitionId(key.partition))?;
            Ok((topic, partition))
        });
        Self { key, wanted, found }
    }

    /// `None`: the disk would have to be waited for.
    fn read(&self, limits: ReadLimits, cold: ColdReads) -> Option<Outcome> {
        let (_, partition) = match &self.found {
            Ok(found) => found,
            Err(code) => return Some(Outcome::Failed(Failure::from(*code))),
        };
        match self.read_partition(partition, limits, cold) {
            Ok(outcome) => outcome,
            Err(failure) => Some(Outcome::Failed(failure)),
        }
    }

    fn read_partition(
        &self,
        partition: &Partition,
        limits: ReadLimits,
        cold: ColdReads,
    ) -> Result<Option<Outcome>, Failure> {
        partition.check_leader_epoch(LeaderEpoch::from_wire(self.wanted.current_leader_epoch))?;
        let offset = Offset(self.wanted.fetch_offset);
        if let Some(diverging) = self.diverging(partition, offset)? {
            return Ok(Some(diverging));
        }
        let wanted = usize::try_from(self.wanted.max_bytes).unwrap_or(0);
        let ReadLimits { isolation, bytes_left, at_least_one } = limits;
        let request = ReadRequest { offset, max_bytes: wanted.min(bytes_left), at_least_one, isolation };
        match partition.log.fetch(request, cold) {
            Err(ReadError::WouldBlock) => Ok(None),
            read => Ok(Some(Outcome::Read(read?))),
        }
    }

    /// KIP-320: what the client read last was written by an epoch that ended earlier than it believes,
    /// so it holds records that are no more.
    fn diverging(&self, partition: &Partition, offset: Offset) -> Result<Option<Outcome>, Failure> {
        let Some(last_fetched) = LeaderEpoch::from_wire(self.wanted.last_fetched_epoch) else {
            return Ok(None);
        };
        let end = partition.log.offset_for_leader_epoch(last_fetched);
        let (epoch, end) = end.ok_or(ErrorCode::OffsetOutOfRange)?;
        let truncated = epoch < last_fetched || end < offset;
        Ok(truncated.then(|| Outcome::Diverging {
            epoch: epoch.0,
            end_offset: end.0,
            said: partition.said(),
        }))
    }
}

/// How much of a partition may be read.
#[derive(Clone, Copy)]
struct ReadLimits {
    isolation: Isolation,
    /// Of the whole request.
    bytes_left: usize,
    at_least_one: bool,
}

enum Outcome {
    Read(ReadResult<Payload>),
    Diverging { epoch: i32, end_offset: i64, said: Said },
    Failed(Failure),
}

impl Outcome {
    fn record_bytes(&self) -> usize {
        match self {
            Outcome::Read(read) => read.records.len(),
            Outcome::Diverging { .. } | Outcome::Failed(_) => 0,
        }
    }

    fn said(&self) -> Option<Said> {
        match self {
            Outcome::Read(read) => Some(Said {
                high_watermark: read.high_watermark.0,
                log_start_offset: read.log_start_offset.0,
            }),
            Outcome::Diverging { said, .. } => Some(*said),
            Outcome::Failed(_) => None,
        }
    }

    /// Told even in a session that has heard it before.
    fn must_tell(&self) -> bool {
        !matches!(self, Outcome::Read(read) if read.records.is_empty())
    }
}

struct Fetch {
    parts: Arc<Parts>,
    session: FetchContext,
    by_id: bool,
    bytes_max: usize,
    bytes_min: usize,
    isolation: Isolation,
    targets: Vec<Target>,
}

impl Fetch {
    /// Partition by partition until the request's bytes are used up. The first batch found is returned
    /// even if it is larger than asked; every later one counts (KIP-74). `None`: the disk would have to be
    /// waited for.
    fn read_all(&self, cold: ColdReads) -> Option<Vec<Outcome>> {
        let mut limits =
            ReadLimits { isolation: self.isolation, bytes_left: self.bytes_max, at_least_one: true };
        let read = |target: &Target| {
            let outcome = target.read(limits, cold)?;
            limits.bytes_left = limits.bytes_left.saturating_sub(outcome.record_bytes());
            limits.at_least_one &= outcome.record_bytes() == 0;
            Some(outcome)
        };
        self.targets.iter().map(read).collect()
    }

    /// Reads without holding up the thread.
    async fn read_anyhow(self: &Arc<Self>) -> Vec<Outcome> {
        loop {
            if let Some(outcomes) = self.read_all(ColdReads::Refuse) {
                return outcomes;
            }
            let fetch = Arc::clone(self);
            if let Some(outcomes) = blocking(move || fetch.read_all(ColdReads::Wait)).await {
                return outcomes;
            }
        }
    }

    /// Errors and divergence are answered at once.
    fn is_enough(&self, outcomes: &[Outcome]) -> bool {
        let bytes: usize = outcomes.iter().map(Outcome::record_bytes).sum();
        let urgent = |o: &Outcome| !matches!(o, Outcome::Read(_));
        self.targets.is_empty() || bytes >= self.bytes_min || outcomes.iter().any(urgent)
    }

    /// Parks until a partition moves, then reads again, until there is enough or time is up.
    async fn wait(self: Arc<Self>, deadline: Instant) -> FetchResponse {
        let waiter = Arc::new(Notify::new());
        loop {
            for target in &self.targets {
                if let Ok((_, partition)) = &target.found {
                    partition.waiters.register(&waiter);
                }
            }
            // Read after registering: what moved in between is either seen here or wakes the waiter.
            let outcomes = self.read_anyhow().await;
            if self.is_enough(&outcomes) {
                return self.respond(outcomes);
            }
            let woken = tokio::select! {
                () = waiter.notified() => true,
                () = tokio::time::sleep_until(deadline) => false,
                () = self.parts.stopping.cancelled() => false,
            };
            if !woken {
                return self.respond(outcomes);
            }
        }
    }

    fn respond(&self, outcomes: Vec<Outcome>) -> FetchResponse {
        self.count(&outcomes);
        let (session_id, told) = match self.session {
            FetchContext::Sessionless => (0, vec![true; outcomes.len()]),
            FetchContext::Full => (self.create_session(&outcomes), vec![true; outcomes.len()]),
            FetchContext::Incremental { id } => {
                let targets = self.targets.iter().zip(&outcomes);
                let said: Vec<_> = targets.map(|(t, o)| (t.key.clone(), o.said(), o.must_tell())).collect();
                (id, self.parts.fetch_sessions.news(id, &said))
            }
        };
        let mut responses: Vec<FetchableTopicResponse> = Vec::new();
        for ((target, outcome), told) in self.targets.iter().zip(outcomes).zip(told) {
            if told {
                self.add(&mut responses, target, outcome);
            }
        }
        FetchResponse { session_id, responses, ..Default::default() }
    }

    fn create_session(&self, outcomes: &[Outcome]) -> i32 {
        let remembered = self.targets.iter().zip(outcomes).map(|(t, o)| (t.key.clone(), t.wanted, o.said()));
        self.parts.fetch_sessions.create(self.by_id, remembered, self.parts.clock.now())
    }

    fn add(&self, responses: &mut Vec<FetchableTopicResponse>, target: &Target, outcome: Outcome) {
        let (topic, topic_id) = match &target.key.topic {
            TopicKey::Name(name) => (name.to_string(), Default::default()),
            TopicKey::Id(id) => (String::new(), *id),
        };
        let data = partition_data(target.key.partition, self.isolation, outcome);
        match responses.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => last.partitions.push(data),
            _ => responses.push(FetchableTopicResponse {
                topic,
                topic_id,
                partitions: vec![data],
                ..Default::default()
            }),
        }
    }

    fn count(&self, outcomes: &[Outcome]) {
        for (target, outcome) in self.targets.iter().zip(outcomes) {
            let Ok((topic, _)) = &target.found else { continue };
            topic.metrics.total_fetch_requests.inc();
            match outcome {
                Outcome::Read(read) => {
                    topic.metrics.bytes_out.inc_by(read.records.len() as u64);
                }
                Outcome::Diverging { .. } => {}
                Outcome::Failed(_) => {
                    topic.metrics.failed_fetch_requests.inc();
                }
            }
        }
    }
}

fn partition_data(index: i32, isolation: Isolation, outcome: Outcome) -> PartitionData {
    match outcome {
        Outcome::Read(read) => PartitionData {
            partition_index: index,
            high_watermark: read.high_watermark.0,
            last_stable_offset: read.last_stable_offset.0,
            log_start_offset: read.log_start_offset.0,
            aborted_transactions: match isolation {
                Isolation::ReadCommitted => Some(read.aborted.into_iter().map(aborted).collect()),
                _ => None,
            },
            records: Some(read.records),
            ..Default::default()
        },
        Outcome::Diverging { epoch, end_offset, said } => PartitionData {
            partition_index: index,
            high_watermark: said.high_watermark,
            log_start_offset: said.log_start_offset,
            records: Some(Payload::default()),
            diverging_epoch: EpochEndOffset { epoch, end_offset, ..Default::default() },
            ..Default::default()
        },
        Outcome::Failed(failure) => PartitionData {
            partition_index: index,
            error_code: failure.code.code(),
            high_watermark: -1,
            records: Some(Payload::default()),
            ..Default::default()
        },
    }
}

fn aborted(txn: millstream_log::AbortedTxn) -> AbortedTransaction {
    AbortedTransaction {
        producer_id: txn.producer_id.0,
        first_offset: txn.first_offset.0,
        ..Default::default()
    }
}
