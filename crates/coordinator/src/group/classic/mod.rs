//! A classic group: members that assign their work among themselves, by any protocol (consumers, Connect
//! workers, the Schema Registry), while the coordinator keeps the membership and the generation.
//!
//! Sources: Kafka's `ClassicGroup` and `GroupMetadataManager`, KIP-345 (static members), KIP-394 (member
//! ids), KIP-814 (skipped assignment), KIP-848's answers to unknown groups. What is here is soft state, but
//! for what [`ClassicGroup::to_record`] writes; a group that is read back starts from that record.
//!
//! Invariants:
//! - A group without members is `Empty`, unless it has just lost them in `PreparingRebalance`.
//! - The leader is a member whenever there are members.
//! - Some protocol is supported by all members.
//! - Every waiting request stands in exactly one member, and only in these states: a JoinGroup in
//!   `PreparingRebalance`, a SyncGroup in `CompletingRebalance`.
//! - Each member and each pending member has a session timer, unless its waiting request stands for it.

mod describe;
mod join;
mod leave;
mod member;
mod protocols;
mod rebalance;
mod sync;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use millstream_record::messages::GroupMetadataValue;
use millstream_types::{ErrorCode, GenerationId, TimestampMs};

use self::member::Member;
use super::{GroupConfig, GroupState, Heartbeat, outcome::Outcome, records::GroupRecord};
use crate::{RequestToken, timers::Timers};

#[derive(Debug, Clone)]
pub(crate) struct ClassicGroup {
    id: String,
    config: Arc<GroupConfig>,
    state: State,
    /// When the group came into its state; `None` when an old record did not say.
    state_since: Option<TimestampMs>,
    /// `None` until a member has joined: then only offsets live here.
    protocol_type: Option<String>,
    /// What the members have voted for in this generation.
    protocol_name: Option<String>,
    generation: GenerationId,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Group instance id to member id.
    static_members: BTreeMap<String, String>,
    /// Have been given an id and asked to come back with it (KIP-394).
    pending_members: BTreeSet<String>,
    /// Members that have not sent SyncGroup in this generation.
    pending_sync: BTreeSet<String>,
    /// `None` when the members are no consumers, or their metadata cannot be read.
    subscribed_topics: Option<BTreeSet<String>>,
    timers: Timers<GroupTimer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    PreparingRebalance(Preparing),
    CompletingRebalance,
    Stable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Preparing {
    /// The first rebalance of an empty group waits, in steps, for more members to come.
    Initial {
        step_ms: i64,
        remaining_ms: i64,
        member_added: bool,
    },
    Again,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum GroupTimer {
    /// The members have had the time to rejoin.
    Join,
    /// The members have had the time to sync.
    Sync,
    /// Nothing has been heard of this member, or pending member, for its session timeout.
    Session(String),
}

impl ClassicGroup {
    pub(crate) fn new(id: String, config: Arc<GroupConfig>, since: Option<TimestampMs>) -> Self {
        Self {
            id,
            config,
            state: State::Empty,
            state_since: since,
            protocol_type: None,
            protocol_name: None,
            generation: GenerationId(0),
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
            timers: Timers::default(),
        }
    }

    /// The group as the log has it. Its members get a whole session to be heard of again.
    pub(crate) fn from_record(
        id: String,
        config: Arc<GroupConfig>,
        record: &GroupMetadataValue,
        now: TimestampMs,
    ) -> Self {
        let mut group = Self::new(id, config, TimestampMs::from_wire(record.current_state_timestamp));
        group.protocol_type = Some(record.protocol_type.clone()).filter(|name| !name.is_empty());
        group.protocol_name = record.protocol.clone();
        group.generation = GenerationId(record.generation);
        let protocol = record.protocol.as_deref().unwrap_or_default();
        for member in &record.members {
            group.insert(Member::from_record(member, protocol));
        }
        if let Some(leader) = record.leader.as_ref().filter(|leader| group.members.contains_key(*leader)) {
            group.leader = Some(leader.clone());
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        if !group.members.is_empty() {
            group.state = State::Stable;
        }
        for member_id in group.member_ids() {
            group.restart_session(&member_id, now);
        }
        group
    }

    /// The limit may have been lowered since the group was written: as members rejoin it shrinks to it.
    pub(crate) fn rebalance_if_too_large(&mut self, now: TimestampMs, out: &mut Outcome) {
        if self.members.len() > self.config.max_size {
            self.prepare_rebalance(now, out);
        }
    }

    /// The group as it is to be written: what survives a restart.
    fn to_record(&self) -> GroupRecord {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let value = GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation.0,
            protocol: self.protocol_name.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: TimestampMs::to_wire(self.state_since),
            members: self.members.values().map(|member| member.to_record(protocol)).collect(),
            unknown_tagged_fields: Vec::new(),
        };
        GroupRecord::Group { group_id: self.id.clone(), value: Some(value) }
    }

    /// What makes a new group known before anyone is in it.
    pub(crate) fn to_empty_record(&self) -> GroupRecord {
        let value = GroupMetadataValue {
            protocol_type: String::new(),
            generation: 0,
            protocol: None,
            leader: None,
            current_state_timestamp: TimestampMs::to_wire(self.state_since),
            members: Vec::new(),
            unknown_tagged_fields: Vec::new(),
        };
        GroupRecord::Group { group_id: self.id.clone(), value: Some(value) }
    }

    pub(crate) fn clock_was_set(&mut self, by_ms: i64) {
        self.timers.shift(by_ms);
    }

    pub(crate) fn next_deadline(&self) -> Option<TimestampMs> {
        self.timers.next_deadline()
    }

    pub(crate) fn on_timer(&mut self, now: TimestampMs, out: &mut Outcome) {
        // What comes due anew while this runs waits for the next call: no loop can form here.
        for _ in 0..self.timers.due_count(now) {
            match self.timers.pop_due(now) {
                Some(GroupTimer::Join) => self.join_time_is_over(now, out),
                Some(GroupTimer::Sync) => self.sync_time_is_over(now, out),
                Some(GroupTimer::Session(member_id)) => self.session_expired(&member_id, now, out),
                None => return,
            }
        }
    }

    pub(crate) fn heartbeat(&mut self, request: &Heartbeat, now: TimestampMs) -> ErrorCode {
        if let Err(error) = self.check_member(&request.member_id, request.group_instance_id.as_deref()) {
            return error;
        }
        if request.generation_id != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.restart_session(&request.member_id, now);
        match self.state {
            State::PreparingRebalance(_) => ErrorCode::RebalanceInProgress,
            // A member may send heartbeats as soon as it has joined, before the assignment is there.
            State::CompletingRebalance | State::Stable => ErrorCode::None,
            State::Empty => ErrorCode::UnknownMemberId,
        }
    }

    /// Whether this member, or whoever is none, may commit offsets now. A member's commit counts as a sign
    /// of life.
    pub(crate) fn check_offset_commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: TimestampMs,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation.0 {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.restart_session(member_id, now);
        Ok(())
    }

    /// The member must be here, and be the one that the instance id now stands for.
    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Empty, and nobody is about to join.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is_empty() && self.pending_members.is_empty()
    }

    /// Offsets of a group in use may only be deleted when it is known who reads what.
    pub(crate) fn allows_offset_delete(&self) -> bool {
        self.is_empty() || self.uses_consumer_protocol()
    }

    pub(crate) fn is_stable(&self) -> bool {
        self.state == State::Stable
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(crate) fn state_since(&self) -> Option<TimestampMs> {
        self.state_since
    }

    fn state_name(&self) -> GroupState {
        match self.state {
            State::Empty => GroupState::Empty,
            State::PreparingRebalance(_) => GroupState::PreparingRebalance,
            State::CompletingRebalance => GroupState::CompletingRebalance,
            State::Stable => GroupState::Stable,
        }
    }

    /// Gives up every waiting request, for the caller to answer: joins with the member's id, and syncs.
    pub(crate) fn take_waiting(&mut self) -> (Vec<(RequestToken, String)>, Vec<RequestToken>) {
        let (mut joins, mut syncs) = (Vec::new(), Vec::new());
        for member in self.members.values_mut() {
            joins.extend(member.awaiting_join.take().map(|token| (token, member.id.clone())));
            syncs.extend(member.awaiting_sync.take());
        }
        (joins, syncs)
    }

    fn member_ids(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn enter(&mut self, state: State, now: TimestampMs) {
        self.state = state;
        self.state_since = Some(now);
    }

    fn insert(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(instance_id.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.pending_members.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// Takes the member, or pending member, out with its timer. Its waiting requests are the caller's.
    fn remove(&mut self, member_id: &str) -> Option<Member> {
        self.timers.cancel(&GroupTimer::Session(member_id.to_owned()));
        self.pending_members.remove(member_id);
        self.pending_sync.remove(member_id);
        let member = self.members.remove(member_id)?;
        if let Some(instance_id) = &member.instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    fn restart_session(&mut self, member_id: &str, now: TimestampMs) {
        if let Some(member) = self.members.get(member_id) {
            let timeout_ms = i64::from(member.session_timeout_ms);
            self.timers.schedule(GroupTimer::Session(member_id.to_owned()), now.plus_ms(timeout_ms));
        }
    }

    /// The longest of the members' rebalance timeouts.
    fn rebalance_timeout_ms(&self) -> i64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        i64::from(longest.unwrap_or(0).max(0))
    }
}

#[cfg(test)]
impl ClassicGroup {
    /// Those at the head of this file; the waiting requests are added to `waiting`.
    pub(crate) fn check_invariants(&self, waiting: &mut Vec<RequestToken>) {
        let memberless = self.members.is_empty();
        match self.state {
            State::Empty => assert!(memberless),
            State::PreparingRebalance(_) => {}
            State::CompletingRebalance | State::Stable => {
                assert!(!memberless && self.protocol_name.is_some())
            }
        }
        assert_eq!(self.leader.is_none(), memberless);
        assert!(self.leader.iter().all(|leader| self.members.contains_key(leader)));
        assert!(memberless || self.select_protocol().is_some());
        assert!(self.pending_members.iter().all(|id| !self.members.contains_key(id)));
        assert!(self.pending_sync.iter().all(|id| self.members.contains_key(id)));
        for (id, member) in &self.members {
            assert_eq!(*id, member.id);
            let preparing = matches!(self.state, State::PreparingRebalance(_));
            assert!(member.awaiting_join.is_none() || preparing, "a JoinGroup waits in {:?}", self.state);
            assert!(member.awaiting_sync.is_none() || self.state == State::CompletingRebalance);
            waiting.extend(member.awaiting_join.iter().chain(&member.awaiting_sync));
            if let Some(instance_id) = &member.instance_id {
                assert_eq!(self.static_members.get(instance_id), Some(id));
            }
        }
        let statics = self.members.values().filter(|member| member.is_static()).count();
        assert_eq!(self.static_members.len(), statics);
        self.check_timers();
    }

    fn check_timers(&self) {
        let timers: BTreeSet<&GroupTimer> = self.timers.keys().collect();
        let session = |id: &String| timers.contains(&GroupTimer::Session(id.clone()));
        assert!(self.pending_members.iter().all(session));
        let silent = |member: &&Member| !member.has_satisfied_heartbeat();
        assert!(self.members.values().filter(silent).all(|member| session(&member.id)));
        for timer in &timers {
            match timer {
                GroupTimer::Join => assert!(matches!(self.state, State::PreparingRebalance(_))),
                GroupTimer::Sync => assert!(!self.pending_sync.is_empty()),
                GroupTimer::Session(id) => {
                    assert!(
                        self.members.contains_key(id) || self.pending_members.contains(id),
                        "{id} is gone"
                    );
                }
            }
        }
        let joining = matches!(self.state, State::PreparingRebalance(_));
        assert_eq!(joining, timers.contains(&GroupTimer::Join), "a rebalance always ends");
    }
}
