//! LeaveGroup (13), versions 0-5: one member below version 3, several from there on.

use std::sync::Arc;

use millstream_coordinator::group::{self, GroupEvent, GroupResponse, LeaveGroup, LeavingMember};
use millstream_protocol::messages::{
    LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse,
};
use millstream_types::ErrorCode;

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

const SEVERAL_MEMBERS_FROM: i16 = 3;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: LeaveGroupRequest) -> Reply {
    let version = context.version;
    let members = if version >= SEVERAL_MEMBERS_FROM {
        let member = |m: millstream_protocol::messages::leave_group_request::MemberIdentity| LeavingMember {
            member_id: m.member_id,
            group_instance_id: m.group_instance_id,
            reason: m.reason,
        };
        request.members.into_iter().map(member).collect()
    } else {
        vec![LeavingMember { member_id: request.member_id, group_instance_id: None, reason: None }]
    };
    let event = LeaveGroup { group_id: request.group_id, members };
    let parts = Arc::clone(parts);
    context.later(async move {
        let group_id = event.group_id.clone();
        match parts.groups.submit(&group_id, GroupEvent::LeaveGroup(event)).await {
            Ok(GroupResponse::LeaveGroup(left)) => response(left, version),
            Ok(other) => unreachable!("LeaveGroup answered with {other:?}"),
            Err(code) => LeaveGroupResponse { error_code: code.code(), ..Default::default() },
        }
    })
}

fn response(left: group::LeaveGroupResponse, version: i16) -> LeaveGroupResponse {
    let own = || left.members.first().map_or(ErrorCode::None, |member| member.error);
    if version < SEVERAL_MEMBERS_FROM {
        let error = if left.error == ErrorCode::None { own() } else { left.error };
        return LeaveGroupResponse { error_code: error.code(), ..Default::default() };
    }
    let member = |m: group::LeftMember| MemberResponse {
        member_id: m.member_id,
        group_instance_id: m.group_instance_id,
        error_code: m.error.code(),
        ..Default::default()
    };
    LeaveGroupResponse {
        error_code: left.error.code(),
        members: left.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}
