//! DescribeGroups (15), versions 0-6.

use std::sync::Arc;

use millstream_coordinator::group::{self, GroupEvent, GroupResponse};
use millstream_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse,
    describe_groups_response::{DescribedGroup, DescribedGroupMember},
};

use super::{authorized, context::RequestContext};
use crate::{parts::Parts, server::response::Reply};

/// Below this version an unknown group is no error but one that is dead.
const NOT_FOUND_FROM: i16 = 6;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DescribeGroupsRequest) -> Reply {
    let version = context.version;
    let operations = authorized::group_operations(request.include_authorized_operations);
    let parts = Arc::clone(parts);
    context.later(async move {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group_id in request.groups {
            let event = GroupEvent::DescribeGroup { group_id: group_id.clone() };
            let mut described = match parts.groups.submit(&group_id, event).await {
                Ok(GroupResponse::DescribeGroup(described)) => convert(described, version),
                Ok(other) => unreachable!("DescribeGroup answered with {other:?}"),
                Err(code) => DescribedGroup { error_code: code.code(), group_id, ..Default::default() },
            };
            described.authorized_operations = operations;
            groups.push(described);
        }
        DescribeGroupsResponse { groups, ..Default::default() }
    })
}

fn convert(described: group::DescribeGroupResponse, version: i16) -> DescribedGroup {
    let tells_not_found = version >= NOT_FOUND_FROM;
    let member = |m: group::DescribedMember| DescribedGroupMember {
        member_id: m.member_id,
        group_instance_id: m.group_instance_id,
        client_id: m.client_id,
        client_host: m.client_host,
        member_metadata: m.metadata,
        member_assignment: m.assignment,
        ..Default::default()
    };
    DescribedGroup {
        error_code: if tells_not_found { described.error.code() } else { 0 },
        error_message: described.error_message.filter(|_| tells_not_found),
        group_id: described.group_id,
        group_state: described.state.name().to_owned(),
        protocol_type: described.protocol_type,
        protocol_data: described.protocol_data,
        members: described.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}
