//! How a group shows itself in DescribeGroups and ListGroups.

use bytes::Bytes;
use millstream_types::ErrorCode;

use super::ClassicGroup;
use crate::group::{DescribeGroupResponse, DescribedMember, GroupState, GroupType, ListGroups, ListedGroup};

impl DescribeGroupResponse {
    pub(crate) fn not_found(group_id: String) -> Self {
        Self {
            error: ErrorCode::GroupIdNotFound,
            error_message: Some(format!("Group {group_id} not found.")),
            group_id,
            state: GroupState::Dead,
            protocol_type: String::new(),
            protocol_data: String::new(),
            members: Vec::new(),
        }
    }
}

impl ClassicGroup {
    /// The chosen protocol, and what members said in it, show only while the group is stable.
    pub(crate) fn describe(&self) -> DescribeGroupResponse {
        let protocol = self.protocol_name.clone().filter(|_| self.is_stable());
        let metadata = |member: &super::Member| match &protocol {
            Some(protocol) => member.metadata(protocol),
            None => Bytes::new(),
        };
        let describe = |member: &super::Member| DescribedMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: metadata(member),
            assignment: member.assignment.clone(),
        };
        DescribeGroupResponse {
            error: ErrorCode::None,
            error_message: None,
            group_id: self.id.clone(),
            state: self.state_name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: self.members.values().map(describe).collect(),
            protocol_data: protocol.clone().unwrap_or_default(),
        }
    }

    pub(crate) fn listed(&self, filter: &ListGroups) -> Option<ListedGroup> {
        let state = self.state_name();
        let passes = (filter.states.is_empty() || filter.states.contains(&state))
            && (filter.types.is_empty() || filter.types.contains(&GroupType::Classic));
        passes.then(|| ListedGroup {
            group_id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state,
            group_type: GroupType::Classic,
        })
    }
}
