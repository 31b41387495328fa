//! JoinGroup (11), versions 0-9. The answer waits until the group's rebalance is through.

use std::sync::Arc;

use millstream_coordinator::group::{GroupEvent, GroupResponse, JoinGroup};
use millstream_protocol::messages::{
    JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember,
};
use millstream_types::{ErrorCode, GenerationId};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

/// From this version on a member must come back with the id it was given (KIP-394).
const KNOWN_MEMBER_ID_FROM: i16 = 4;
/// From this version on the protocol's name may be absent rather than empty.
const NULL_PROTOCOL_FROM: i16 = 7;
/// From this version on a leader can be told not to assign anew (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: JoinGroupRequest) -> Reply {
    let version = context.version;
    let event = JoinGroup {
        client_id: context.client_id.clone().unwrap_or_default(),
        client_host: context.connection.client_host(),
        requires_known_member_id: version >= KNOWN_MEMBER_ID_FROM,
        supports_skipping_assignment: version >= SKIP_ASSIGNMENT_FROM,
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        group_id: request.group_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocols: request.protocols.into_iter().map(|p| (p.name, p.metadata)).collect(),
        reason: request.reason,
    };
    let parts = Arc::clone(parts);
    context.later(async move {
        let (group_id, member_id) = (event.group_id.clone(), event.member_id.clone());
        match parts.groups.submit(&group_id, GroupEvent::JoinGroup(event)).await {
            Ok(GroupResponse::JoinGroup(joined)) => response(joined, version),
            Ok(other) => unreachable!("JoinGroup answered with {other:?}"),
            Err(code) => failed(code, member_id, version),
        }
    })
}

fn response(joined: millstream_coordinator::group::JoinGroupResponse, version: i16) -> JoinGroupResponse {
    let member = |m: millstream_coordinator::group::JoinedMember| JoinGroupResponseMember {
        member_id: m.member_id,
        group_instance_id: m.group_instance_id,
        metadata: m.metadata,
        ..Default::default()
    };
    JoinGroupResponse {
        error_code: joined.error.code(),
        generation_id: GenerationId::to_wire(joined.generation_id),
        protocol_type: joined.protocol_type,
        protocol_name: protocol_name(joined.protocol_name, version),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: joined.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn protocol_name(name: Option<String>, version: i16) -> Option<String> {
    if version < NULL_PROTOCOL_FROM { Some(name.unwrap_or_default()) } else { name }
}

fn failed(code: ErrorCode, member_id: String, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: code.code(),
        member_id,
        protocol_name: protocol_name(None, version),
        ..Default::default()
    }
}
