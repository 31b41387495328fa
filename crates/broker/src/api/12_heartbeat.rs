//! Heartbeat (12), versions 0-4.

use std::sync::Arc;

use millstream_coordinator::group::{GroupEvent, GroupResponse, Heartbeat};
use millstream_protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use millstream_types::GenerationId;

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: HeartbeatRequest) -> Reply {
    let event = Heartbeat {
        group_id: request.group_id,
        generation_id: GenerationId(request.generation_id),
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
    };
    let parts = Arc::clone(parts);
    context.later(async move {
        let group_id = event.group_id.clone();
        let code = match parts.groups.submit(&group_id, GroupEvent::Heartbeat(event)).await {
            Ok(GroupResponse::Heartbeat(code)) | Err(code) => code,
            Ok(other) => unreachable!("Heartbeat answered with {other:?}"),
        };
        HeartbeatResponse { error_code: code.code(), ..Default::default() }
    })
}
