//! SyncGroup (14), versions 0-5. The answer waits for the leader's assignment.

use std::sync::Arc;

use millstream_coordinator::group::{GroupEvent, GroupResponse, SyncGroup};
use millstream_protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use millstream_types::{ErrorCode, GenerationId};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

/// From this version on a member names the protocol it believes in, and must.
const PROTOCOL_FROM: i16 = 5;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: SyncGroupRequest) -> Reply {
    let unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    if context.version >= PROTOCOL_FROM && unnamed {
        return context.now(&failed(ErrorCode::InconsistentGroupProtocol));
    }
    let event = SyncGroup {
        group_id: request.group_id,
        generation_id: GenerationId(request.generation_id),
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        protocol_type: request.protocol_type,
        protocol_name: request.protocol_name,
        assignments: request.assignments.into_iter().map(|a| (a.member_id, a.assignment)).collect(),
    };
    let parts = Arc::clone(parts);
    context.later(async move {
        let group_id = event.group_id.clone();
        match parts.groups.submit(&group_id, GroupEvent::SyncGroup(event)).await {
            Ok(GroupResponse::SyncGroup(synced)) => SyncGroupResponse {
                error_code: synced.error.code(),
                protocol_type: synced.protocol_type,
                protocol_name: synced.protocol_name,
                assignment: synced.assignment,
                ..Default::default()
            },
            Ok(other) => unreachable!("SyncGroup answered with {other:?}"),
            Err(code) => failed(code),
        }
    })
}

fn failed(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: code.code(), ..Default::default() }
}
