//! From one generation to the next: the members join again, or are given up, and then wait for the
//! leader's assignment.

use millstream_types::{GenerationId, TimestampMs};

use super::{ClassicGroup, GroupTimer, Preparing, State};
use crate::group::{GroupResponse, outcome::Outcome};

/// When not one member has rejoined in time, the next look comes after the rebalance timeout, but not at
/// once: nothing keeps a client from naming a timeout of 0.
const RETRY_MIN_MS: i64 = 1_000;

impl ClassicGroup {
    pub(super) fn rebalance_or_complete_join(&mut self, now: TimestampMs, out: &mut Outcome) {
        match self.state {
            State::PreparingRebalance(_) => self.complete_join_if_all_are_here(now, out),
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare_rebalance(now, out),
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now: TimestampMs, out: &mut Outcome) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(now, out);
        }
        self.pending_sync.clear();
        self.timers.cancel(&GroupTimer::Sync);
        if self.state == State::Empty {
            let step_ms = self.config.initial_rebalance_delay_ms.max(0);
            let remaining_ms = (self.rebalance_timeout_ms() - step_ms).max(0);
            let initial = Preparing::Initial { step_ms, remaining_ms, member_added: false };
            self.enter(State::PreparingRebalance(initial), now);
            self.timers.schedule(GroupTimer::Join, now.plus_ms(step_ms));
        } else {
            self.enter(State::PreparingRebalance(Preparing::Again), now);
            if self.all_have_joined() {
                self.complete_join(now, out);
            } else {
                self.timers.schedule(GroupTimer::Join, now.plus_ms(self.rebalance_timeout_ms()));
            }
        }
    }

    /// The initial rebalance is left to its timer.
    pub(super) fn complete_join_if_all_are_here(&mut self, now: TimestampMs, out: &mut Outcome) {
        if self.state == State::PreparingRebalance(Preparing::Again) && self.all_have_joined() {
            self.complete_join(now, out);
        }
    }

    /// Somebody new keeps an initial rebalance waiting for more.
    pub(super) fn note_member_added(&mut self) {
        if let State::PreparingRebalance(Preparing::Initial { member_added, .. }) = &mut self.state {
            *member_added = true;
        }
    }

    fn all_have_joined(&self) -> bool {
        self.pending_members.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    pub(super) fn join_time_is_over(&mut self, now: TimestampMs, out: &mut Outcome) {
        let State::PreparingRebalance(preparing) = &mut self.state else { return };
        if let Preparing::Initial { step_ms, remaining_ms, member_added } = preparing
            && *member_added
            && *remaining_ms > 0
        {
            let elapsed_ms = *step_ms;
            *step_ms = self.config.initial_rebalance_delay_ms.max(0).min(*remaining_ms);
            *remaining_ms = (*remaining_ms - elapsed_ms).max(0);
            *member_added = false;
            let deadline = now.plus_ms(*step_ms);
            return self.timers.schedule(GroupTimer::Join, deadline);
        }
        self.complete_join(now, out);
    }

    /// Ends the joining: who has not rejoined is out, unless it is a static member; the rest are the next
    /// generation.
    fn complete_join(&mut self, now: TimestampMs, out: &mut Outcome) {
        self.timers.cancel(&GroupTimer::Join);
        for member_id in self.member_ids() {
            let gone = |member: &super::Member| member.awaiting_join.is_none() && !member.is_static();
            if self.members.get(&member_id).is_some_and(gone) {
                self.remove_for_good(&member_id, out);
            }
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only silent static members are left: until their sessions run out there is no next generation.
            let wait_ms = self.rebalance_timeout_ms().max(RETRY_MIN_MS);
            return self.timers.schedule(GroupTimer::Join, now.plus_ms(wait_ms));
        }
        self.start_next_generation(now);
        if self.is_empty() {
            out.records.push(self.to_record());
        } else {
            self.release_joined(now, out);
        }
    }

    /// Keeps the leader if it has rejoined, else takes another member that has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.awaiting_join.is_some());
        if !self.leader.as_ref().is_some_and(joined) {
            let Some(elected) = self.members.keys().find(|id| joined(id)).cloned() else { return false };
            self.leader = Some(elected);
        }
        true
    }

    fn start_next_generation(&mut self, now: TimestampMs) {
        self.generation = GenerationId(self.generation.0.wrapping_add(1));
        self.pending_sync.clear();
        self.protocol_name = self.select_protocol();
        self.subscribed_topics = self.compute_subscribed_topics();
        let next = if self.members.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.enter(next, now);
    }

    /// Tells every member of the new generation, and waits for all of them to sync.
    fn release_joined(&mut self, now: TimestampMs, out: &mut Outcome) {
        for member_id in self.member_ids() {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            member.is_new = false;
            if let Some(token) = member.awaiting_join.take() {
                out.respond(token, GroupResponse::JoinGroup(self.joined(&member_id)));
            }
            self.restart_session(&member_id, now);
            self.pending_sync.insert(member_id);
        }
        self.timers.schedule(GroupTimer::Sync, now.plus_ms(self.rebalance_timeout_ms()));
    }

    pub(super) fn session_expired(&mut self, member_id: &str, now: TimestampMs, out: &mut Outcome) {
        if self.members.get(member_id).is_some_and(|member| member.has_satisfied_heartbeat()) {
            return;
        }
        let was_member = self.members.contains_key(member_id);
        self.remove_for_good(member_id, out);
        match self.state {
            State::CompletingRebalance | State::Stable if was_member => self.prepare_rebalance(now, out),
            // An initial rebalance, too, ends early when the last that it waited for is gone; as in Kafka.
            State::PreparingRebalance(_) if self.all_have_joined() => self.complete_join(now, out),
            _ => {}
        }
    }
}
