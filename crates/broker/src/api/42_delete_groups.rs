//! DeleteGroups (42), versions 0-2.

use std::sync::Arc;

use millstream_coordinator::group::{GroupEvent, GroupResponse};
use millstream_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult,
};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DeleteGroupsRequest) -> Reply {
    let parts = Arc::clone(parts);
    context.later(async move {
        let mut results = Vec::with_capacity(request.groups_names.len());
        for group_id in request.groups_names {
            let event = GroupEvent::DeleteGroup { group_id: group_id.clone() };
            let code = match parts.groups.submit(&group_id, event).await {
                Ok(GroupResponse::DeleteGroup(code)) | Err(code) => code,
                Ok(other) => unreachable!("DeleteGroup answered with {other:?}"),
            };
            results.push(DeletableGroupResult { group_id, error_code: code.code(), ..Default::default() });
        }
        DeleteGroupsResponse { results, ..Default::default() }
    })
}
