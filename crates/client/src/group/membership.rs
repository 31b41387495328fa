//! Membership of one group as a state machine: what the member's owner wants, answers and the time go in,
//! requests and demands on the owner come out. No I/O, no clock, no task; the shell in `task.rs` has those.
//!
//! The classic protocol: every member joins (`JoinGroup`), one of them is elected and shares the work out,
//! every member fetches its share (`SyncGroup`), and heartbeats until a rebalance begins it all anew. What
//! the work is, who does the sharing and what the bytes mean is the owner's affair, so that consumers,
//! Connect workers and registries stand on the same machine. Behaviour is that of Kafka's
//! `AbstractCoordinator`.
//!
//! An answer counts only while its request is the one under way: late, repeated and reordered answers fall
//! through. Losing the generation (`UNKNOWN_MEMBER_ID`, `ILLEGAL_GENERATION`, a poll that came too late)
//! always leads through a new `Prepare` that says so, for others may have this member's share by then.

use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream_types::{BrokerId, ErrorCode, GenerationId};

use super::{
    Assignment, Election, Generation, GroupConfig, GroupEvent, GroupProtocol,
    timing::{Backoff, Heartbeats},
};
use crate::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequestId(pub(crate) u64);

/// What is to be sent. All but the first go to the group's coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    FindCoordinator,
    Join {
        member_id: String,
        protocols: Vec<GroupProtocol>,
        reason: String,
    },
    Sync {
        generation: GenerationId,
        member_id: String,
        protocol: String,
        /// By member id; empty for all but the leader.
        assignments: Vec<(String, Bytes)>,
    },
    Heartbeat {
        generation: GenerationId,
        member_id: String,
    },
    Leave {
        member_id: String,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dispatch {
    pub(crate) id: RequestId,
    /// None: any broker.
    pub(crate) coordinator: Option<BrokerId>,
    pub(crate) request: Request,
}

/// What a request came back with when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Coordinator(BrokerId),
    /// KIP-394: join again with this id.
    MemberIdRequired(String),
    Joined(Joined),
    Synced {
        /// None from brokers before Kafka 2.5.
        protocol_type: Option<String>,
        protocol: Option<String>,
        assignment: Bytes,
    },
    Alive,
    Left,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: GenerationId,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    pub(crate) skip_assignment: bool,
    pub(crate) members: Vec<super::JoinedMember>,
}

#[derive(Debug)]
enum Phase {
    /// Without a share and without a request under way.
    Unjoined,
    /// The owner gives up what it must.
    Preparing,
    JoinDue,
    Joining(RequestId),
    Elected(Election),
    /// The owner shares the work out.
    Electing,
    SyncDue(Vec<(String, Bytes)>),
    Syncing(RequestId),
    Stable,
}

#[derive(Debug)]
enum Coordinator {
    Unknown,
    Asking(RequestId),
    Known(BrokerId),
}

#[derive(Debug)]
pub(crate) struct Membership {
    config: GroupConfig,
    /// Whether the owner wants to be a member.
    wanted: bool,
    phase: Phase,
    /// Empty until a broker gives one.
    member_id: String,
    /// None: whatever was assigned is this member's no more.
    generation: Option<GenerationId>,
    protocol: String,
    is_leader: bool,
    /// Why to join again, once the phase is stable.
    rejoin: Option<String>,
    needs_prepare: bool,
    /// What the owner said when it was last prepared.
    protocols: Vec<GroupProtocol>,
    reason: String,
    /// Came with the last `SyncGroup`; the owner has not taken it yet.
    assignment: Option<Bytes>,
    coordinator: Coordinator,
    /// Of finding the coordinator, and of joining.
    finding: Backoff,
    joining: Backoff,
    heartbeats: Heartbeats,
    polled: Instant,
    /// To be told to the owner.
    failure: Option<Error>,
    /// A `LeaveGroup` to be sent, and one that is under way.
    leave: Option<(BrokerId, Request)>,
    leaving: Option<RequestId>,
    next_id: u64,
}

impl Membership {
    pub(crate) fn new(config: GroupConfig, retry: (Duration, Duration), now: Instant) -> Self {
        Self {
            wanted: false,
            phase: Phase::Unjoined,
            member_id: String::new(),
            generation: None,
            protocol: String::new(),
            is_leader: false,
            rejoin: None,
            needs_prepare: true,
            protocols: Vec::new(),
            reason: String::new(),
            assignment: None,
            coordinator: Coordinator::Unknown,
            finding: Backoff::new(retry),
            joining: Backoff::new(retry),
            heartbeats: Heartbeats::new(config.heartbeat_interval, config.session_timeout, retry.0, now),
            polled: now,
            failure: None,
            leave: None,
            leaving: None,
            next_id: 0,
            config,
        }
    }

    pub(crate) fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// The owner wants to be a member from now on.
    pub(crate) fn enter(&mut self, now: Instant) {
        if !self.wanted {
            self.wanted = true;
            self.polled = now;
        }
    }

    /// The owner is at work: the clock of `max.poll.interval.ms` starts anew.
    pub(crate) fn polled(&mut self, now: Instant) {
        self.polled = self.polled.max(now);
    }

    /// Join again as soon as the group is stable: something that the owner told it has changed.
    pub(crate) fn rejoin(&mut self, reason: &str) {
        self.rejoin.get_or_insert_with(|| reason.to_owned());
    }

    /// This member's place in the group, as commits name it; None while it has none.
    pub(crate) fn generation(&self) -> Option<Generation> {
        let id = self.generation?;
        Some(Generation { id, member_id: self.member_id.clone(), protocol: self.protocol.clone() })
    }

    /// As [`Membership::generation`], but an error once a rebalance has left it behind.
    pub(crate) fn commit_generation(&self) -> Result<Generation, ErrorCode> {
        let code = match self.phase {
            Phase::Unjoined => ErrorCode::UnknownMemberId,
            _ => ErrorCode::RebalanceInProgress,
        };
        let in_time = matches!(self.phase, Phase::Preparing | Phase::Stable);
        self.generation().filter(|_| in_time).ok_or(code)
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.is_leader
    }

    /// Whether a rebalance is under way, or due.
    pub(crate) fn is_rebalancing(&self) -> bool {
        !matches!(self.phase, Phase::Stable) || self.rejoin.is_some() || self.assignment.is_some()
    }

    /// What the owner has to do next, if anything. It has one thing to do at a time; a failure is told once.
    pub(crate) fn demand(&mut self) -> Result<Option<GroupEvent>> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if !self.wanted {
            return Ok(None);
        }
        match std::mem::replace(&mut self.phase, Phase::Electing) {
            Phase::Elected(election) => return Ok(Some(GroupEvent::Elected(election))),
            other => self.phase = other,
        }
        let stable = matches!(self.phase, Phase::Stable);
        if stable && let (Some(assignment), Some(generation)) = (self.assignment.take(), self.generation()) {
            return Ok(Some(GroupEvent::Assigned(Assignment { generation, assignment })));
        }
        let due = matches!(self.phase, Phase::Unjoined) || (stable && self.rejoin.is_some());
        if !due || !matches!(self.coordinator, Coordinator::Known(_)) {
            return Ok(None);
        }
        self.reason = self.rejoin.take().unwrap_or_else(|| "joining for the first time".to_owned());
        if !self.needs_prepare {
            self.phase = Phase::JoinDue;
            return Ok(None);
        }
        self.needs_prepare = false;
        self.phase = Phase::Preparing;
        Ok(Some(GroupEvent::Prepare { kept: self.generation.is_some() && !self.member_id.is_empty() }))
    }

    /// The owner is ready to join, with these protocols, the one it likes best first.
    pub(crate) fn prepared(&mut self, protocols: Vec<GroupProtocol>) {
        self.protocols = protocols;
        // If what was kept has been lost meanwhile, another `Prepare` says so.
        if matches!(self.phase, Phase::Preparing) {
            self.phase = Phase::JoinDue;
        }
    }

    /// The elected owner has shared the work out.
    pub(crate) fn share_out(&mut self, assignments: Vec<(String, Bytes)>) {
        if matches!(self.phase, Phase::Electing) {
            self.phase = Phase::SyncDue(assignments);
        }
    }

    /// The elected owner cannot share the work out.
    pub(crate) fn give_up_election(&mut self, error: Error) {
        if matches!(self.phase, Phase::Electing) {
            self.fail(error);
        }
    }

    /// Gives membership up, and says so to the coordinator. A static member does not: it may come back.
    pub(crate) fn leave(&mut self, reason: &str) {
        self.wanted = false;
        self.quit(reason);
        self.failure = None;
    }

    /// Whether a member that has left has nothing more to say.
    pub(crate) fn is_over(&self) -> bool {
        !self.wanted && self.leave.is_none() && self.leaving.is_none()
    }

    /// A commit in this generation was refused.
    pub(crate) fn commit_refused(&mut self, generation: GenerationId, code: ErrorCode) {
        if self.generation != Some(generation) {
            return;
        }
        match code {
            ErrorCode::UnknownMemberId => self.lose("the coordinator does not know the member", true),
            ErrorCode::IllegalGeneration => self.lose("the group is in another generation", false),
            ErrorCode::RebalanceInProgress => self.rejoin("the group is already rebalancing"),
            ErrorCode::FencedInstanceId => self.fenced(),
            _ => {}
        }
    }

    pub(crate) fn has_something_to_send(&self) -> bool {
        self.leave.is_some() || matches!(self.phase, Phase::JoinDue | Phase::SyncDue(_))
    }

    /// Everything that is to be sent now.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<Dispatch> {
        self.expire(now);
        let mut dispatches = Vec::new();
        if let Some((broker, request)) = self.leave.take() {
            let dispatch = self.dispatch(Some(broker), request);
            self.leaving = Some(dispatch.id);
            dispatches.push(dispatch);
        }
        let broker = match self.coordinator {
            Coordinator::Known(broker) => broker,
            Coordinator::Unknown if self.wanted && self.finding.is_over(now) => {
                let dispatch = self.dispatch(None, Request::FindCoordinator);
                self.coordinator = Coordinator::Asking(dispatch.id);
                dispatches.push(dispatch);
                return dispatches;
            }
            _ => return dispatches,
        };
        if matches!(self.phase, Phase::JoinDue) && self.joining.is_over(now) {
            let (member_id, protocols) = (self.member_id.clone(), self.protocols.clone());
            let request = Request::Join { member_id, protocols, reason: self.reason.clone() };
            let dispatch = self.dispatch(Some(broker), request);
            self.phase = Phase::Joining(dispatch.id);
            dispatches.push(dispatch);
        }
        if let (Phase::SyncDue(assignments), Some(generation)) = (&mut self.phase, self.generation) {
            let assignments = std::mem::take(assignments);
            let (member_id, protocol) = (self.member_id.clone(), self.protocol.clone());
            let request = Request::Sync { generation, member_id, protocol, assignments };
            let dispatch = self.dispatch(Some(broker), request);
            self.phase = Phase::Syncing(dispatch.id);
            dispatches.push(dispatch);
        }
        if let Some(generation) = self.heartbeating().filter(|_| self.heartbeats.is_due(now)) {
            let request = Request::Heartbeat { generation, member_id: self.member_id.clone() };
            let dispatch = self.dispatch(Some(broker), request);
            self.heartbeats.sent(now, dispatch.id, generation);
            dispatches.push(dispatch);
        }
        dispatches
    }

    fn dispatch(&mut self, coordinator: Option<BrokerId>, request: Request) -> Dispatch {
        self.next_id += 1;
        Dispatch { id: RequestId(self.next_id), coordinator, request }
    }

    /// The generation to heartbeat in. While a member waits in `JoinGroup` the coordinator counts it alive.
    fn heartbeating(&self) -> Option<GenerationId> {
        let waits = matches!(self.phase, Phase::JoinDue | Phase::Joining(_));
        self.generation.filter(|_| self.wanted && !waits)
    }

    fn poll_deadline(&self) -> Option<Instant> {
        self.heartbeating()?;
        self.config.max_poll_interval.map(|interval| self.polled + interval)
    }

    fn expire(&mut self, now: Instant) {
        if self.poll_deadline().is_some_and(|deadline| now >= deadline) {
            let limit = self.config.max_poll_interval.unwrap_or_default().as_millis();
            tracing::warn!(
                group = self.config.group_id,
                "the member leaves: the time between polls was longer than max.poll.interval.ms, {limit} ms; \
                 poll more often, or less at once with max.poll.records"
            );
            self.quit("the time between polls was longer than max.poll.interval.ms");
        }
        if self.heartbeating().is_some() && self.heartbeats.session_is_over(now) {
            self.lose_coordinator("no heartbeat was answered within session.timeout.ms");
            self.heartbeats.restart_session(now);
        }
    }

    /// When [`Membership::advance`] next has something to do that no call announces.
    pub(crate) fn next_wakeup(&self, now: Instant) -> Option<Instant> {
        let known = matches!(self.coordinator, Coordinator::Known(_));
        let finding = matches!(self.coordinator, Coordinator::Unknown) && self.wanted;
        let finding = self.finding.end().filter(|_| finding);
        let joining = self.joining.end().filter(|_| known && matches!(self.phase, Phase::JoinDue));
        let heartbeats = self.heartbeating().map(|_| self.heartbeats.next_wakeup(known));
        let wakeups = [finding, joining, heartbeats, self.poll_deadline()];
        wakeups.into_iter().flatten().filter(|&time| time > now).min()
    }

    /// Takes an answer in, if its request is still the one that matters.
    pub(crate) fn answer(&mut self, now: Instant, id: RequestId, answer: Result<Answer>) {
        if self.leaving == Some(id) {
            self.leaving = None;
            if let Err(error) = answer {
                tracing::debug!(group = self.config.group_id, %error, "leaving the group failed");
            }
            return;
        }
        if matches!(self.coordinator, Coordinator::Asking(asked) if asked == id) {
            return self.found(now, answer);
        }
        if let Some(generation) = self.heartbeats.answered(id) {
            return self.heartbeat_answered(now, generation, answer);
        }
        match self.phase {
            Phase::Joining(asked) if asked == id => self.join_answered(now, answer),
            Phase::Syncing(asked) if asked == id => self.sync_answered(now, answer),
            _ => {}
        }
    }

    fn found(&mut self, now: Instant, answer: Result<Answer>) {
        match answer {
            Ok(Answer::Coordinator(broker)) => {
                self.finding.reset();
                self.coordinator = Coordinator::Known(broker);
                return;
            }
            Ok(other) => self.failure = Some(misplaced(&other)),
            Err(error) if error.is_retriable() => {
                tracing::debug!(group = self.config.group_id, %error, "coordinator not found; trying again");
            }
            Err(error) => self.failure = Some(error),
        }
        self.coordinator = Coordinator::Unknown;
        self.finding.failed(now);
    }

    fn join_answered(&mut self, now: Instant, answer: Result<Answer>) {
        self.phase = Phase::JoinDue;
        match answer {
            Ok(Answer::MemberIdRequired(id)) => self.member_id = id,
            Ok(Answer::Joined(joined)) => self.joined(now, joined),
            Ok(other) => self.fail(misplaced(&other)),
            Err(error) => match error.code() {
                Some(ErrorCode::RebalanceInProgress) => {}
                Some(ErrorCode::UnknownMemberId) => {
                    self.lose("the coordinator does not know the member", true);
                }
                _ => self.retry_or_fail(now, error),
            },
        }
    }

    fn joined(&mut self, now: Instant, joined: Joined) {
        let Joined { generation, protocol_type, protocol, leader, member_id, skip_assignment, members } =
            joined;
        if protocol_type.as_ref().is_some_and(|named| *named != self.config.protocol_type) {
            let named = protocol_type.unwrap_or_default();
            return self.fail(self.inconsistent(format!("its protocol type is {named:?}")));
        }
        tracing::debug!(group = self.config.group_id, member_id, %generation, "joined");
        self.joining.reset();
        self.heartbeats.reset(now);
        self.polled = self.polled.max(now);
        self.is_leader = leader == member_id;
        (self.generation, self.member_id, self.protocol) = (Some(generation), member_id, protocol);
        self.phase = if self.is_leader {
            let protocol = self.protocol.clone();
            Phase::Elected(Election { generation, protocol, members, skip_assignment })
        } else {
            Phase::SyncDue(Vec::new())
        };
    }

    fn sync_answered(&mut self, now: Instant, answer: Result<Answer>) {
        self.phase = Phase::JoinDue;
        match answer {
            Ok(Answer::Synced { protocol_type, protocol, assignment }) => {
                if protocol_type.is_some_and(|named| named != self.config.protocol_type)
                    || protocol.is_some_and(|named| named != self.protocol)
                {
                    return self.fail(self.inconsistent("it chose another protocol".to_owned()));
                }
                self.joining.reset();
                self.assignment = Some(assignment);
                self.needs_prepare = true;
                self.phase = Phase::Stable;
            }
            Ok(other) => self.fail(misplaced(&other)),
            Err(error) => match error.code() {
                Some(ErrorCode::RebalanceInProgress) => {}
                Some(ErrorCode::UnknownMemberId) => {
                    self.lose("the coordinator does not know the member", true);
                }
                Some(ErrorCode::IllegalGeneration) => {
                    self.lose("the group is in another generation", false);
                }
                _ => self.retry_or_fail(now, error),
            },
        }
    }

    fn heartbeat_answered(&mut self, now: Instant, generation: GenerationId, answer: Result<Answer>) {
        let Err(error) = answer else { return self.heartbeats.alive(now) };
        let current = self.generation == Some(generation);
        match error.code() {
            Some(ErrorCode::RebalanceInProgress) => {
                self.heartbeats.alive(now);
                if current && matches!(self.phase, Phase::Stable) {
                    self.rejoin("the group is already rebalancing");
                }
            }
            Some(ErrorCode::UnknownMemberId) if current => {
                self.lose("the coordinator does not know the member", true);
            }
            Some(ErrorCode::IllegalGeneration) if current => {
                self.lose("the group is in another generation", false);
            }
            Some(ErrorCode::FencedInstanceId) if current => self.fenced(),
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration | ErrorCode::FencedInstanceId) => {
            }
            _ if points_elsewhere(&error) => {
                self.heartbeats.failed(now);
                self.lose_coordinator(&error.to_string());
            }
            _ if error.is_retriable() => self.heartbeats.failed(now),
            _ => self.fail(error),
        }
    }

    /// After `JoinGroup` or `SyncGroup`: what may pass is tried again after a pause.
    fn retry_or_fail(&mut self, now: Instant, error: Error) {
        if !error.is_retriable() {
            return self.fail(error);
        }
        tracing::debug!(group = self.config.group_id, %error, "not joined; trying again");
        if points_elsewhere(&error) {
            self.lose_coordinator(&error.to_string());
        }
        self.joining.failed(now);
    }

    fn inconsistent(&self, message: String) -> Error {
        let what = format!("group {}", self.config.group_id);
        Error::kafka(ErrorCode::InconsistentGroupProtocol, what, Some(message))
    }

    /// The coordinator may be another broker by now. Membership goes on if it is found in time.
    fn lose_coordinator(&mut self, reason: &str) {
        if let Coordinator::Known(broker) = self.coordinator {
            tracing::debug!(group = self.config.group_id, %broker, reason, "the coordinator is not there");
            self.coordinator = Coordinator::Unknown;
        }
    }

    fn lose(&mut self, reason: &str, forget_id: bool) {
        tracing::info!(group = self.config.group_id, reason, "membership is lost; joining again");
        self.reset(reason, forget_id);
    }

    /// This member has no share any more, and joins anew; with the id it had, or without.
    fn reset(&mut self, reason: &str, forget_id: bool) {
        if forget_id {
            self.member_id.clear();
        }
        self.generation = None;
        self.assignment = None;
        self.is_leader = false;
        self.needs_prepare = true;
        self.phase = Phase::Unjoined;
        self.rejoin(reason);
    }

    fn fenced(&mut self) {
        let message = "another member with the same group.instance.id has taken its place".to_owned();
        let what = format!("group {}", self.config.group_id);
        self.lose(&message, true);
        self.failure = Some(Error::kafka(ErrorCode::FencedInstanceId, what, Some(message)));
    }

    /// Tells the owner; if it goes on all the same, joining starts from the beginning.
    fn fail(&mut self, error: Error) {
        if error.code() == Some(ErrorCode::FencedInstanceId) {
            return self.fenced();
        }
        self.phase = Phase::Unjoined;
        self.needs_prepare = true;
        self.rejoin(&error.to_string());
        self.failure = Some(error);
    }

    fn quit(&mut self, reason: &str) {
        let is_static = self.config.group_instance_id.is_some();
        let joined = !matches!(self.phase, Phase::Unjoined) || self.generation.is_some();
        if let Coordinator::Known(broker) = self.coordinator
            && joined
            && !is_static
            && !self.member_id.is_empty()
        {
            let request = Request::Leave { member_id: self.member_id.clone(), reason: reason.to_owned() };
            self.leave = Some((broker, request));
        }
        self.reset(reason, true);
    }
}

/// Whether the coordinator may be another broker by now.
fn points_elsewhere(error: &Error) -> bool {
    match error.code() {
        Some(code) => matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable),
        None => error.is_retriable(),
    }
}

fn misplaced(answer: &Answer) -> Error {
    Error::malformed("the coordinator's answer", format!("it fits another request: {answer:?}"))
}
