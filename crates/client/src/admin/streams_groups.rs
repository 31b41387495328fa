//! Groups of Kafka Streams under the streams protocol (KIP-1071): their topology, members and tasks.

use std::collections::BTreeMap;

use millstream_protocol::messages::{
    StreamsGroupDescribeRequest,
    streams_group_describe_response::{Assignment, DescribedGroup, Member, TaskIds},
};

use super::{Admin, check};
use crate::{Connection, Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsGroupDescription {
    pub id: String,
    /// `Stable`, `Empty`, `NotReady` …
    pub state: String,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub topology_epoch: i32,
    /// By id.
    pub subtopologies: BTreeMap<String, Subtopology>,
    pub members: Vec<StreamsGroupMember>,
}

/// What a part of a topology reads and keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subtopology {
    pub source_topics: Vec<String>,
    pub repartition_source_topics: Vec<String>,
    pub changelog_topics: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamsGroupMember {
    pub id: String,
    pub epoch: i32,
    pub topology_epoch: i32,
    pub client_id: String,
    pub process_id: String,
    pub is_classic: bool,
    pub assignment: StreamsTasks,
    pub target_assignment: StreamsTasks,
}

/// Tasks by kind: the subtopology's id, and partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamsTasks {
    pub active: Vec<(String, Vec<i32>)>,
    pub standby: Vec<(String, Vec<i32>)>,
    pub warmup: Vec<(String, Vec<i32>)>,
}

impl From<Assignment> for StreamsTasks {
    fn from(raw: Assignment) -> Self {
        let tasks =
            |all: Vec<TaskIds>| all.into_iter().map(|one| (one.subtopology_id, one.partitions)).collect();
        Self {
            active: tasks(raw.active_tasks),
            standby: tasks(raw.standby_tasks),
            warmup: tasks(raw.warmup_tasks),
        }
    }
}

fn described(raw: DescribedGroup) -> StreamsGroupDescription {
    let topology = raw.topology.unwrap_or_default();
    let subtopologies = topology.subtopologies.unwrap_or_default().into_iter().map(|one| {
        let parts = Subtopology {
            source_topics: one.source_topics,
            repartition_source_topics: one.repartition_source_topics.into_iter().map(|t| t.name).collect(),
            changelog_topics: one.state_changelog_topics.into_iter().map(|topic| topic.name).collect(),
        };
        (one.subtopology_id, parts)
    });
    let member = |one: Member| StreamsGroupMember {
        id: one.member_id,
        epoch: one.member_epoch,
        topology_epoch: one.topology_epoch,
        client_id: one.client_id,
        process_id: one.process_id,
        is_classic: one.is_classic,
        assignment: one.assignment.into(),
        target_assignment: one.target_assignment.into(),
    };
    StreamsGroupDescription {
        id: raw.group_id,
        state: raw.group_state,
        epoch: raw.group_epoch,
        assignment_epoch: raw.assignment_epoch,
        topology_epoch: topology.epoch,
        subtopologies: subtopologies.collect(),
        members: raw.members.into_iter().map(member).collect(),
    }
}

impl Admin {
    pub async fn describe_streams_group(&self, group: &str) -> Result<StreamsGroupDescription> {
        let request = StreamsGroupDescribeRequest { group_ids: vec![group.to_owned()], ..Default::default() };
        let request = &request;
        let ask = |connection: Connection| async move {
            let answer = connection.call(request).await?;
            let missing = || Error::malformed("the answer to StreamsGroupDescribe", "no group in it");
            let one = answer.groups.into_iter().next().ok_or_else(missing)?;
            check(one.error_code, format!("group {group}"), one.error_message.clone())?;
            Ok(described(one))
        };
        self.client.with_coordinator("description", group, ask).await
    }
}
