//! Sending members of a group away.

use millstream_protocol::messages::{LeaveGroupRequest, leave_group_request::MemberIdentity};

use super::{Admin, GroupMember, check};
use crate::{Connection, Result};

impl Admin {
    /// Has members leave a classic group; those that run come back by themselves.
    pub async fn remove_members(&self, group: &str, members: &[GroupMember]) -> Result<()> {
        let member = |one: &GroupMember| MemberIdentity {
            // A static member is known by its instance, whoever that is at the moment.
            member_id: if one.instance_id.is_some() { String::new() } else { one.id.clone() },
            group_instance_id: one.instance_id.clone(),
            reason: Some("removed by an administrator".to_owned()),
            ..Default::default()
        };
        let request = LeaveGroupRequest {
            group_id: group.to_owned(),
            members: members.iter().map(member).collect(),
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: Connection| async move {
            let answer = connection.call(request).await?;
            check(answer.error_code, format!("group {group}"), None)?;
            for one in answer.members {
                check(one.error_code, format!("member {} of group {group}", one.member_id), None)?;
            }
            Ok(())
        };
        self.client.with_coordinator("removal of members", group, ask).await
    }
}
