//! Groups from the outside: events go in, answers and records come out, and the records of an in-memory log
//! make the same shard again. Time is a number that the test moves.
//!
//! "Asked" in a comment: the answer was taken from a real Apache Kafka 4.3.1 (JoinGroup v9 unless said
//! otherwise, over its wire protocol).

mod deletion;
mod expiry;
mod failing;
mod format;
mod joining;
mod leaving;
mod offsets;
mod random;
mod rebalancing;
mod restart;
mod showing;
mod statics;
mod syncing;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_types::{
    ErrorCode, GenerationId, Offset, PartitionId, ProducerEpoch, ProducerId, TimestampMs, TopicName, Uuid,
};

use super::{records::GroupRecord, *};
use crate::{CoordinatorRecord, Decision, RecordOrigin, RequestToken, Shard};

/// A shard with its log, its clock, and all that it has answered.
struct Bench {
    shard: GroupShard,
    config: GroupConfig,
    log: Vec<CoordinatorRecord>,
    now: TimestampMs,
    next_token: u64,
    waiting: BTreeSet<RequestToken>,
    answers: BTreeMap<RequestToken, GroupResponse>,
    restarts: u128,
    /// What the log answers to the next append.
    append_error: Option<ErrorCode>,
}

const START: TimestampMs = TimestampMs(1_000_000);

impl Bench {
    fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    fn with(config: GroupConfig) -> Self {
        let mut bench = Self {
            shard: new_shard(&config, 1),
            restarts: 1,
            config,
            log: Vec::new(),
            now: START,
            next_token: 0,
            waiting: BTreeSet::new(),
            answers: BTreeMap::new(),
            append_error: None,
        };
        let decision = bench.shard.loaded(START);
        bench.apply(decision);
        bench
    }

    /// Hands the event in and does what it leads to at once; timers that are due included.
    fn ask(&mut self, event: GroupEvent) -> RequestToken {
        let token = self.ask_only(event);
        self.run_due();
        token
    }

    fn ask_only(&mut self, event: GroupEvent) -> RequestToken {
        self.next_token += 1;
        let token = RequestToken(self.next_token);
        self.waiting.insert(token);
        let decision = self.shard.handle(token, event, self.now);
        self.apply(decision);
        token
    }

    /// Appends, replays, answers: what the shell does.
    fn apply(&mut self, decision: Decision<GroupResponse>) {
        let decision = match self.append_error.take_if(|_| !decision.records.is_empty()) {
            Some(error) => self.shard.append_failed(decision, error, self.now),
            None => decision,
        };
        for record in decision.records {
            let offset = Offset(self.log.len() as i64);
            self.shard.replay(&record, RecordOrigin { offset, producer: None }).unwrap();
            self.log.push(record);
        }
        for (token, response) in decision.responses {
            assert!(self.waiting.remove(&token), "{token:?} was answered before it was asked, or twice");
            self.answers.insert(token, response);
        }
        self.shard.check_invariants(&self.waiting);
    }

    fn run_due(&mut self) {
        for _ in 0..1_000 {
            if self.shard.next_deadline().is_none_or(|deadline| deadline > self.now) {
                return;
            }
            let decision = self.shard.on_timer(self.now);
            self.apply(decision);
        }
        panic!("timers come due for ever");
    }

    /// Moves the clock from deadline to deadline.
    fn pass(&mut self, ms: i64) {
        let end = self.now.plus_ms(ms);
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = deadline;
            self.run_due();
        }
        self.now = end;
    }

    /// The clock is set, and no time passes.
    fn set_clock(&mut self, by_ms: i64) {
        self.now = self.now.plus_ms(by_ms);
        self.shard.clock_was_set(by_ms);
        self.run_due();
    }

    /// The shard that the log makes, as after a restart; who waited is gone.
    fn restart(&mut self) {
        self.restarts += 1;
        let mut shard = new_shard(&self.config, self.restarts);
        for (index, record) in self.log.iter().enumerate() {
            let origin = RecordOrigin { offset: Offset(index as i64), producer: None };
            shard.replay(record, origin).unwrap();
        }
        assert_eq!(shard.durable(), self.shard.durable());
        self.shard = shard;
        self.waiting.clear();
        let decision = self.shard.loaded(self.now);
        self.apply(decision);
    }

    fn answer(&mut self, token: RequestToken) -> GroupResponse {
        self.answers.remove(&token).unwrap_or_else(|| panic!("{token:?} still waits"))
    }

    fn is_waiting(&self, token: RequestToken) -> bool {
        self.waiting.contains(&token)
    }

    /// The records of the log from this index on, read back.
    fn records_from(&self, index: usize) -> Vec<GroupRecord> {
        self.log[index..].iter().map(|record| GroupRecord::decode(record).unwrap().unwrap()).collect()
    }

    fn joined(&mut self, token: RequestToken) -> JoinGroupResponse {
        match self.answer(token) {
            GroupResponse::JoinGroup(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn synced(&mut self, token: RequestToken) -> SyncGroupResponse {
        match self.answer(token) {
            GroupResponse::SyncGroup(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn join(&mut self, request: JoinGroup) -> JoinGroupResponse {
        let token = self.ask(GroupEvent::JoinGroup(request));
        self.joined(token)
    }

    /// A JoinGroup that is expected to wait.
    fn start_join(&mut self, request: JoinGroup) -> RequestToken {
        let token = self.ask(GroupEvent::JoinGroup(request));
        assert!(self.is_waiting(token), "{:?}", self.answers.get(&token));
        token
    }

    fn sync(&mut self, request: SyncGroup) -> SyncGroupResponse {
        let token = self.ask(GroupEvent::SyncGroup(request));
        self.synced(token)
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> ErrorCode {
        self.heartbeat_as(member, None, generation)
    }

    fn heartbeat_as(&mut self, member: &str, instance: Option<&str>, generation: i32) -> ErrorCode {
        let token = self.ask(GroupEvent::Heartbeat(Heartbeat {
            group_id: GROUP.to_owned(),
            generation_id: GenerationId(generation),
            member_id: member.to_owned(),
            group_instance_id: instance.map(str::to_owned),
        }));
        match self.answer(token) {
            GroupResponse::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// Each leaving member is (member id, instance id).
    fn leave(&mut self, leaving: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let members = leaving.iter().map(|(member, instance)| LeavingMember {
            member_id: (*member).to_owned(),
            group_instance_id: instance.map(str::to_owned),
            reason: None,
        });
        let request = LeaveGroup { group_id: GROUP.to_owned(), members: members.collect() };
        let token = self.ask(GroupEvent::LeaveGroup(request));
        match self.answer(token) {
            GroupResponse::LeaveGroup(response) => response.members.iter().map(|left| left.error).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn describe(&mut self) -> DescribeGroupResponse {
        let token = self.ask(GroupEvent::DescribeGroup { group_id: GROUP.to_owned() });
        match self.answer(token) {
            GroupResponse::DescribeGroup(response) => response,
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> GroupState {
        self.describe().state
    }

    fn commit(&mut self, request: OffsetCommit) -> Vec<ErrorCode> {
        let token = self.ask(GroupEvent::OffsetCommit(request));
        match self.answer(token) {
            GroupResponse::OffsetCommit(response) => {
                response.partitions.iter().map(|(_, _, error)| *error).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn fetch(&mut self, request: OffsetFetch) -> Vec<(String, Vec<CommittedOffset>)> {
        let token = self.ask(GroupEvent::OffsetFetch(request));
        match self.answer(token) {
            GroupResponse::OffsetFetch(response) => {
                assert_eq!(response.error, ErrorCode::None);
                response.topics
            }
            other => panic!("{other:?}"),
        }
    }

    /// What the group has committed for one partition.
    fn fetch_offset(&mut self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let topics = self.fetch(OffsetFetch {
            topics: Some(vec![OffsetFetchTopic {
                topic: topic.to_owned(),
                topic_id: None,
                partitions: vec![PartitionId(partition)],
            }]),
            ..fetch_all(group)
        });
        topics[0].1[0].offset.map(|offset| offset.0)
    }

    fn delete(&mut self, group: &str) -> ErrorCode {
        let token = self.ask(GroupEvent::DeleteGroup { group_id: group.to_owned() });
        match self.answer(token) {
            GroupResponse::DeleteGroup(error) => error,
            other => panic!("{other:?}"),
        }
    }

    /// A stable group of these dynamic members, the first of them leading; generation 1. Returns their ids.
    fn stable(&mut self, clients: &[&str]) -> Vec<String> {
        let ids: Vec<String> = clients.iter().map(|client| self.join(dynamic(client)).member_id).collect();
        let joins: Vec<_> = ids
            .iter()
            .zip(clients)
            .map(|(id, client)| self.ask_only(GroupEvent::JoinGroup(known(id, client))))
            .collect();
        self.run_due();
        let generation =
            joins.into_iter().map(|join| self.joined(join).generation_id.unwrap()).max().unwrap();
        self.sync_all(&ids, generation.0);
        assert_eq!(self.state(), GroupState::Stable);
        ids
    }

    /// All sync, the leader too; each is assigned its own id.
    fn sync_all(&mut self, ids: &[String], generation: i32) {
        let assignments: Vec<_> = ids.iter().map(|id| (id.clone(), Bytes::from(id.clone()))).collect();
        let syncs: Vec<_> = ids
            .iter()
            .map(|id| SyncGroup { assignments: assignments.clone(), ..syncing(id, generation) })
            .map(|request| self.ask_only(GroupEvent::SyncGroup(request)))
            .collect();
        self.run_due();
        for (sync, id) in syncs.into_iter().zip(ids) {
            let synced = self.synced(sync);
            assert_eq!((synced.error, synced.assignment), (ErrorCode::None, Bytes::from(id.clone())));
        }
    }
}

fn new_shard(config: &GroupConfig, seed: u128) -> GroupShard {
    let mut count = seed << 96;
    GroupShard::new(
        config.clone(),
        Box::new(move || {
            count += 1;
            count
        }),
    )
}

const GROUP: &str = "g";
const SESSION_MS: i64 = 10_000;
const REBALANCE_MS: i64 = 60_000;

/// A new dynamic member's first JoinGroup.
fn dynamic(client: &str) -> JoinGroup {
    JoinGroup {
        group_id: GROUP.to_owned(),
        member_id: String::new(),
        group_instance_id: None,
        client_id: client.to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        requires_known_member_id: true,
        supports_skipping_assignment: true,
        session_timeout_ms: SESSION_MS as i32,
        rebalance_timeout_ms: REBALANCE_MS as i32,
        protocol_type: "connect".to_owned(),
        protocols: protocols(&["range"]),
        reason: None,
    }
}

/// The JoinGroup of a member that has its id.
fn known(id: &str, client: &str) -> JoinGroup {
    JoinGroup { member_id: id.to_owned(), ..dynamic(client) }
}

/// Version 3 and earlier: no id is asked for first.
fn old_dynamic(client: &str) -> JoinGroup {
    JoinGroup { requires_known_member_id: false, supports_skipping_assignment: false, ..dynamic(client) }
}

fn with_instance(instance: &str) -> JoinGroup {
    JoinGroup { group_instance_id: Some(instance.to_owned()), ..dynamic("c") }
}

/// Each with its own name as metadata.
fn protocols(names: &[&str]) -> Vec<(String, Bytes)> {
    names.iter().map(|name| ((*name).to_owned(), Bytes::from((*name).to_owned()))).collect()
}

/// A consumer's metadata: version 0, these topics, no user data.
fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

fn consumer(client: &str, topics: &[&str]) -> JoinGroup {
    JoinGroup {
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription(topics))],
        ..old_dynamic(client)
    }
}

fn syncing(member: &str, generation: i32) -> SyncGroup {
    SyncGroup {
        group_id: GROUP.to_owned(),
        generation_id: GenerationId(generation),
        member_id: member.to_owned(),
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: Vec::new(),
    }
}

/// A commit by someone who is no member.
fn simple_commit(group: &str, offsets: &[(&str, i32, i64)]) -> OffsetCommit {
    OffsetCommit {
        group_id: group.to_owned(),
        member_id: String::new(),
        group_instance_id: None,
        generation_or_epoch: -1,
        retention_time_ms: None,
        partitions: offsets
            .iter()
            .map(|(topic, partition, offset)| committing(topic, *partition, *offset))
            .collect(),
    }
}

fn committing(name: &str, partition: i32, offset: i64) -> OffsetCommitPartition {
    OffsetCommitPartition {
        topic: topic(name),
        topic_id: topic_id(name),
        partition: PartitionId(partition),
        offset: Offset(offset),
        leader_epoch: None,
        metadata: None,
    }
}

fn member_commit(member: &str, generation: i32, offsets: &[(&str, i32, i64)]) -> OffsetCommit {
    OffsetCommit {
        member_id: member.to_owned(),
        generation_or_epoch: generation,
        ..simple_commit(GROUP, offsets)
    }
}

fn fetch_all(group: &str) -> OffsetFetch {
    OffsetFetch {
        group_id: group.to_owned(),
        member_id: None,
        member_epoch: -1,
        require_stable: false,
        topics: None,
    }
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

fn topic_id(name: &str) -> Uuid {
    Uuid(1_000 + name.bytes().map(u128::from).sum::<u128>())
}

fn offset_tombstone(group: &str, name: &str, partition: i32) -> GroupRecord {
    GroupRecord::Offset {
        group_id: group.to_owned(),
        topic: topic(name),
        partition: PartitionId(partition),
        value: None,
    }
}

fn group_tombstone(group: &str) -> GroupRecord {
    GroupRecord::Group { group_id: group.to_owned(), value: None }
}

fn producer(id: i64) -> Option<(ProducerId, ProducerEpoch)> {
    Some((ProducerId(id), ProducerEpoch(0)))
}
