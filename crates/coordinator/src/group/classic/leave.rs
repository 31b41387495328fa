//! LeaveGroup: members go by themselves, or are taken out by an administrator who names their instance.

use millstream_types::{ErrorCode, TimestampMs};

use super::{ClassicGroup, State};
use crate::group::{LeaveGroup, LeaveGroupResponse, LeavingMember, LeftMember, outcome::Outcome};

impl LeavingMember {
    pub(crate) fn left(&self, error: ErrorCode) -> LeftMember {
        LeftMember {
            member_id: self.member_id.clone(),
            group_instance_id: self.group_instance_id.clone(),
            error,
        }
    }
}

impl ClassicGroup {
    pub(crate) fn leave(
        &mut self,
        request: &LeaveGroup,
        now: TimestampMs,
        out: &mut Outcome,
    ) -> LeaveGroupResponse {
        let count = self.members.len();
        let members =
            request.members.iter().map(|leaving| leaving.left(self.leave_one(leaving, out))).collect();
        match self.state {
            State::CompletingRebalance | State::Stable if self.members.len() < count => {
                self.prepare_rebalance(now, out)
            }
            State::PreparingRebalance(_) => self.complete_join_if_all_are_here(now, out),
            _ => {}
        }
        LeaveGroupResponse { error: ErrorCode::None, members }
    }

    fn leave_one(&mut self, leaving: &LeavingMember, out: &mut Outcome) -> ErrorCode {
        let instance_id = leaving.group_instance_id.as_deref();
        let member_id = if leaving.member_id.is_empty() {
            // An administrator knows the instance, not the member id.
            match instance_id.and_then(|instance_id| self.static_members.get(instance_id)) {
                Some(member_id) => member_id.clone(),
                None => return ErrorCode::UnknownMemberId,
            }
        } else {
            leaving.member_id.clone()
        };
        if !self.pending_members.contains(&member_id)
            && let Err(error) = self.check_member(&member_id, instance_id)
        {
            return error;
        }
        self.remove_for_good(&member_id, out);
        ErrorCode::None
    }
}
