//! ListGroups (16), versions 0-5: filters by state from 4 on, by type from 5 on.

use std::sync::Arc;

use millstream_coordinator::group::{self, GroupEvent, GroupResponse, GroupState, GroupType, ListGroups};
use millstream_protocol::messages::{
    ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup,
};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: ListGroupsRequest) -> Reply {
    let states: Vec<_> = request.states_filter.iter().filter_map(|s| GroupState::from_name(s)).collect();
    let types: Vec<_> = request.types_filter.iter().filter_map(|t| GroupType::from_name(t)).collect();
    // A filter of names that nobody knows matches nothing, which is not the same as no filter.
    let hopeless = (states.is_empty() && !request.states_filter.is_empty())
        || (types.is_empty() && !request.types_filter.is_empty());
    if hopeless {
        return context.now(&ListGroupsResponse::default());
    }
    let event = GroupEvent::ListGroups(ListGroups { states, types });
    let parts = Arc::clone(parts);
    context.later(async move {
        let mut response = ListGroupsResponse::default();
        for listed in parts.groups.submit_to_all(&event).await {
            match listed {
                Ok(GroupResponse::ListGroups(groups)) => {
                    response.groups.extend(groups.into_iter().map(convert))
                }
                Ok(other) => unreachable!("ListGroups answered with {other:?}"),
                Err(code) => response.error_code = code.code(),
            }
        }
        response
    })
}

fn convert(listed: group::ListedGroup) -> ListedGroup {
    ListedGroup {
        group_id: listed.group_id,
        protocol_type: listed.protocol_type,
        group_state: listed.state.name().to_owned(),
        group_type: listed.group_type.name().to_owned(),
        ..Default::default()
    }
}
