//! JoinGroup: who becomes a member, who is asked to come back, and who is told what it missed.

use millstream_types::{ErrorCode, TimestampMs};

use super::{ClassicGroup, GroupTimer, Member, State, member::own_protocols};
use crate::{
    RequestToken,
    group::{GroupResponse, JoinGroup, JoinGroupResponse, JoinedMember, SyncGroupResponse, outcome::Outcome},
};

/// How long a new member's JoinGroup may wait before the member counts as gone: it has no heartbeats yet.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 300_000;

impl JoinGroupResponse {
    pub(crate) fn failed(error: ErrorCode, member_id: &str) -> GroupResponse {
        GroupResponse::JoinGroup(Self {
            error,
            generation_id: None,
            protocol_type: None,
            protocol_name: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        })
    }
}

impl ClassicGroup {
    /// `random` serves for a new member's id.
    pub(crate) fn join(
        &mut self,
        token: RequestToken,
        request: &JoinGroup,
        random: &mut dyn FnMut() -> u128,
        now: TimestampMs,
        out: &mut Outcome,
    ) {
        if !self.has_room_for(&request.member_id) {
            self.remove_for_good(&request.member_id, out);
            out.respond(token, JoinGroupResponse::failed(ErrorCode::GroupMaxSizeReached, ""));
            self.complete_join_if_all_are_here(now, out);
        } else if !self.supports_any(&request.protocol_type, &request.protocols) {
            let error = ErrorCode::InconsistentGroupProtocol;
            out.respond(token, JoinGroupResponse::failed(error, &request.member_id));
        } else if request.member_id.is_empty() {
            self.join_as_new(token, request, random, now, out);
        } else if self.pending_members.contains(&request.member_id) {
            if request.group_instance_id.is_some() {
                // Static members are never pending; Kafka fails on this as on a bug of its own.
                let error = ErrorCode::UnknownServerError;
                return out.respond(token, JoinGroupResponse::failed(error, &request.member_id));
            }
            self.add_member(token, request.member_id.clone(), request, now, out);
        } else {
            match self.check_member(&request.member_id, request.group_instance_id.as_deref()) {
                Err(error) => out.respond(token, JoinGroupResponse::failed(error, &request.member_id)),
                Ok(()) => self.rejoin(token, request, now, out),
            }
        }
    }

    /// While members are joining, those who wait are counted, so that the last to rejoin a group that has
    /// become too large are left out.
    fn has_room_for(&self, member_id: &str) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance(_) => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || self.awaiting_join_count() < self.config.max_size
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < self.config.max_size
            }
        }
    }

    fn join_as_new(
        &mut self,
        token: RequestToken,
        request: &JoinGroup,
        random: &mut dyn FnMut() -> u128,
        now: TimestampMs,
        out: &mut Outcome,
    ) {
        let prefix = request.group_instance_id.as_ref().unwrap_or(&request.client_id);
        let member_id = format!("{prefix}-{}", random_uuid(random()));
        let replaced = request.group_instance_id.as_ref().and_then(|id| self.static_members.get(id)).cloned();
        if let Some(replaced) = replaced {
            self.replace_static_member(token, &replaced, member_id, request, now, out);
        } else if request.group_instance_id.is_none() && request.requires_known_member_id {
            let timeout_ms = i64::from(request.session_timeout_ms);
            self.timers.schedule(GroupTimer::Session(member_id.clone()), now.plus_ms(timeout_ms));
            self.pending_members.insert(member_id.clone());
            out.respond(token, JoinGroupResponse::failed(ErrorCode::MemberIdRequired, &member_id));
        } else {
            self.add_member(token, member_id, request, now, out);
        }
    }

    fn add_member(
        &mut self,
        token: RequestToken,
        member_id: String,
        request: &JoinGroup,
        now: TimestampMs,
        out: &mut Outcome,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        self.note_member_added();
        self.insert(Member::joining(member_id.clone(), request, token));
        self.timers.schedule(GroupTimer::Session(member_id), now.plus_ms(NEW_MEMBER_JOIN_TIMEOUT_MS));
        self.rebalance_or_complete_join(now, out);
    }

    fn rejoin(&mut self, token: RequestToken, request: &JoinGroup, now: TimestampMs, out: &mut Outcome) {
        let member_id = &request.member_id;
        let changed = self.members.get(member_id).is_some_and(|member| member.protocols != request.protocols);
        let rebalances = match self.state {
            State::PreparingRebalance(_) => true,
            State::CompletingRebalance => changed,
            // A leader that joins again asks for a new assignment: the topics may have changed.
            State::Stable => changed || self.is_leader(member_id),
            State::Empty => {
                let error = ErrorCode::UnknownMemberId;
                return out.respond(token, JoinGroupResponse::failed(error, member_id));
            }
        };
        if rebalances {
            self.update_member(token, member_id, request, out);
            self.rebalance_or_complete_join(now, out);
        } else {
            // Its earlier response got lost, or it only wants to know: nothing has changed for it.
            out.respond(token, GroupResponse::JoinGroup(self.joined(member_id)));
        }
    }

    fn update_member(
        &mut self,
        token: RequestToken,
        member_id: &str,
        request: &JoinGroup,
        out: &mut Outcome,
    ) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        member.protocols = own_protocols(&request.protocols);
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        if let Some(superseded) = member.awaiting_join.replace(token) {
            // Kafka never answers a JoinGroup that its sender has repeated elsewhere.
            out.respond(superseded, JoinGroupResponse::failed(ErrorCode::RebalanceInProgress, member_id));
        }
    }

    /// A static member has come back under its instance id: it takes the place of its former self, which is
    /// fenced. As long as the group's protocol stays, that is no reason to rebalance.
    fn replace_static_member(
        &mut self,
        token: RequestToken,
        former_id: &str,
        member_id: String,
        request: &JoinGroup,
        now: TimestampMs,
        out: &mut Outcome,
    ) {
        let former_leader = self.leader.clone().unwrap_or_default();
        let led = self.is_leader(former_id);
        let was_pending_sync = self.pending_sync.contains(former_id);
        let Some(mut member) = self.remove(former_id) else { return };
        answer_waiting(&mut member, ErrorCode::FencedInstanceId, former_id, out);
        member.id = member_id.clone();
        member.is_new = false;
        self.insert(member);
        if led {
            self.leader = Some(member_id.clone());
        }
        if was_pending_sync {
            self.pending_sync.insert(member_id.clone());
        }
        self.restart_session(&member_id, now);
        self.update_member(token, &member_id, request, out);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol_name => {
                let skips = request.supports_skipping_assignment;
                self.welcome_back(&member_id, skips, former_leader, out);
            }
            // The leader may already assign to the former id, which would get the new one nothing.
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(now, out),
            State::PreparingRebalance(_) | State::Empty => self.complete_join_if_all_are_here(now, out),
        }
    }

    /// A static member's return to a stable group: written down, and answered with the generation it is in.
    fn welcome_back(
        &mut self,
        member_id: &str,
        skips_assignment: bool,
        former_leader: String,
        out: &mut Outcome,
    ) {
        out.records.push(self.to_record());
        let Some(token) = self.members.get_mut(member_id).and_then(|member| member.awaiting_join.take())
        else {
            return;
        };
        let mut response = self.joined(member_id);
        if skips_assignment {
            response.skip_assignment = self.is_leader(member_id);
        } else {
            // Without KIP-814 a returning leader must not notice that it leads: it would assign anew, and
            // nobody else would sync. It is shown its former id as the leader's.
            response.leader = former_leader;
            response.members = Vec::new();
        }
        out.respond(token, GroupResponse::JoinGroup(response));
    }

    /// What a member is told of the current generation; the leader learns of all members.
    pub(super) fn joined(&self, member_id: &str) -> JoinGroupResponse {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let as_joined = |member: &Member| JoinedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        let leads = self.is_leader(member_id);
        JoinGroupResponse {
            error: ErrorCode::None,
            generation_id: Some(self.generation),
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: if leads { self.members.values().map(as_joined).collect() } else { Vec::new() },
        }
    }

    pub(super) fn awaiting_join_count(&self) -> usize {
        self.members.values().filter(|member| member.awaiting_join.is_some()).count()
    }

    /// Takes a member out whose waiting requests, if any, end with UNKNOWN_MEMBER_ID: should it still be
    /// there, it joins anew.
    pub(super) fn remove_for_good(&mut self, member_id: &str, out: &mut Outcome) {
        if let Some(mut member) = self.remove(member_id) {
            answer_waiting(&mut member, ErrorCode::UnknownMemberId, "", out);
        }
    }
}

fn answer_waiting(member: &mut Member, error: ErrorCode, member_id: &str, out: &mut Outcome) {
    if let Some(token) = member.awaiting_join.take() {
        out.respond(token, JoinGroupResponse::failed(error, member_id));
    }
    if let Some(token) = member.awaiting_sync.take() {
        out.respond(token, SyncGroupResponse::failed(error));
    }
}

/// A random (version 4) UUID in the form that Java prints.
fn random_uuid(random: u128) -> String {
    let bits = random & !(0xf << 76 | 0b11 << 62) | 0x4 << 76 | 0b10 << 62;
    let field = |shift: u32, digits: u32| bits >> shift & ((1u128 << (4 * digits)) - 1);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        field(96, 8),
        field(80, 4),
        field(64, 4),
        field(48, 4),
        field(0, 12)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_id_looks_like_javas_random_uuid() {
        assert_eq!(random_uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(random_uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(
            random_uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            "01234567-89ab-4def-8123-456789abcdef"
        );
    }
}
