//! SyncGroup: the leader hands in the assignment, and each member fetches its part.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_types::{ErrorCode, TimestampMs};

use super::{ClassicGroup, GroupTimer, State};
use crate::{
    RequestToken,
    group::{GroupResponse, SyncGroup, SyncGroupResponse, outcome::Outcome},
};

impl SyncGroupResponse {
    pub(crate) fn failed(error: ErrorCode) -> GroupResponse {
        GroupResponse::SyncGroup(Self {
            error,
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        })
    }
}

impl ClassicGroup {
    pub(crate) fn sync(
        &mut self,
        token: RequestToken,
        request: &SyncGroup,
        now: TimestampMs,
        out: &mut Outcome,
    ) {
        if let Err(error) = self.check_sync(request) {
            return out.respond(token, SyncGroupResponse::failed(error));
        }
        self.pending_sync.remove(&request.member_id);
        if self.pending_sync.is_empty() {
            self.timers.cancel(&GroupTimer::Sync);
        }
        if self.state == State::Stable {
            return out.respond(token, GroupResponse::SyncGroup(self.synced(&request.member_id)));
        }
        if let Some(member) = self.members.get_mut(&request.member_id)
            && let Some(superseded) = member.awaiting_sync.replace(token)
        {
            // Kafka never answers a SyncGroup that its sender has repeated elsewhere.
            out.respond(superseded, SyncGroupResponse::failed(ErrorCode::RebalanceInProgress));
        }
        if self.is_leader(&request.member_id) {
            self.assign(&request.assignments, now, out);
        }
    }

    fn check_sync(&self, request: &SyncGroup) -> Result<(), ErrorCode> {
        let differs = |theirs: &Option<String>, ours: &Option<String>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol_name)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::PreparingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// The leader's word: who is not named gets nothing, who is named but unknown is ignored.
    fn assign(&mut self, assignments: &[(String, Bytes)], now: TimestampMs, out: &mut Outcome) {
        let assignments: BTreeMap<&str, &Bytes> =
            assignments.iter().map(|(id, bytes)| (id.as_str(), bytes)).collect();
        for member in self.members.values_mut() {
            member.assignment = assignments
                .get(member.id.as_str())
                .map(|bytes| Bytes::copy_from_slice(bytes))
                .unwrap_or_default();
        }
        // The record keeps the time at which the rebalance was completed, as Kafka's does.
        out.records.push(self.to_record());
        self.enter(State::Stable, now);
        for member_id in self.member_ids() {
            if let Some(token) =
                self.members.get_mut(&member_id).and_then(|member| member.awaiting_sync.take())
            {
                // A session that ran out while the member waited was let pass: it starts anew.
                self.restart_session(&member_id, now);
                out.respond(token, GroupResponse::SyncGroup(self.synced(&member_id)));
            }
        }
    }

    fn synced(&self, member_id: &str) -> SyncGroupResponse {
        SyncGroupResponse {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment: self
                .members
                .get(member_id)
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }

    /// A new rebalance takes the assignment from everyone; those who wait for it are told to join again.
    pub(super) fn reset_assignments(&mut self, now: TimestampMs, out: &mut Outcome) {
        for member_id in self.member_ids() {
            let Some(member) = self.members.get_mut(&member_id) else { continue };
            member.assignment = Bytes::new();
            if let Some(token) = member.awaiting_sync.take() {
                out.respond(token, SyncGroupResponse::failed(ErrorCode::RebalanceInProgress));
                self.restart_session(&member_id, now);
            }
        }
    }

    /// Whoever has not synced by now is taken out, and the rest joins again.
    pub(super) fn sync_time_is_over(&mut self, now: TimestampMs, out: &mut Outcome) {
        let late: Vec<String> = self.pending_sync.iter().cloned().collect();
        if late.is_empty() || !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return;
        }
        for member_id in late {
            self.remove_for_good(&member_id, out);
        }
        self.prepare_rebalance(now, out);
    }
}
