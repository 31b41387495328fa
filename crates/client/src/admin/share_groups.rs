//! Share groups (KIP-932): their members, and from where on they share records.

use std::collections::BTreeMap;

use millstream_protocol::messages::{
    AlterShareGroupOffsetsRequest, DeleteShareGroupOffsetsRequest, DescribeShareGroupOffsetsRequest,
    ShareGroupDescribeRequest,
    alter_share_group_offsets_request::{
        AlterShareGroupOffsetsRequestPartition, AlterShareGroupOffsetsRequestTopic,
    },
    delete_share_group_offsets_request::DeleteShareGroupOffsetsRequestTopic,
    describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup,
};
use millstream_types::{LeaderEpoch, Offset, PartitionId, TopicName, TopicPartition};

use super::{Admin, answered, by_topic, check};
use crate::{Connection, Error, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareGroupDescription {
    pub id: String,
    /// `Stable`, `Empty` or `Dead`.
    pub state: String,
    pub epoch: i32,
    pub assignment_epoch: i32,
    pub members: Vec<ShareGroupMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareGroupMember {
    pub id: String,
    pub epoch: i32,
    pub client_id: String,
    pub host: String,
    pub assignment: Vec<TopicPartition>,
}

/// From where on a group shares the records of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareOffset {
    pub start: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
    /// How many records are yet to be delivered.
    pub lag: Option<i64>,
}

impl Admin {
    pub async fn describe_share_group(&self, group: &str) -> Result<ShareGroupDescription> {
        let request = ShareGroupDescribeRequest { group_ids: vec![group.to_owned()], ..Default::default() };
        let request = &request;
        let ask = |connection: Connection| async move {
            let answer = connection.call(request).await?;
            let missing = || Error::malformed("the answer to ShareGroupDescribe", "no group in it");
            let one = answer.groups.into_iter().next().ok_or_else(missing)?;
            check(one.error_code, format!("group {group}"), one.error_message)?;
            let members = one.members.into_iter().map(|member| {
                let assigned = member.assignment.topic_partitions.iter().flat_map(|topic| {
                    topic.partitions.iter().filter_map(|number| answered(&topic.topic_name, *number))
                });
                ShareGroupMember {
                    assignment: assigned.collect(),
                    id: member.member_id,
                    epoch: member.member_epoch,
                    client_id: member.client_id,
                    host: member.client_host,
                }
            });
            Ok(ShareGroupDescription {
                id: one.group_id,
                state: one.group_state,
                epoch: one.group_epoch,
                assignment_epoch: one.assignment_epoch,
                members: members.collect(),
            })
        };
        self.client.with_coordinator("description", group, ask).await
    }

    /// Every partition that the group knows; None for those that nothing was delivered of yet.
    pub async fn share_group_offsets(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, Option<ShareOffset>>> {
        let request = DescribeShareGroupOffsetsRequest {
            groups: vec![DescribeShareGroupOffsetsRequestGroup {
                group_id: group.to_owned(),
                topics: None,
                ..Default::default()
            }],
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: Connection| async move {
            let answer = connection.call(request).await?;
            let missing = || Error::malformed("the answer to DescribeShareGroupOffsets", "no group in it");
            let one = answer.groups.into_iter().next().ok_or_else(missing)?;
            check(one.error_code, format!("group {group}"), one.error_message)?;
            let mut offsets = BTreeMap::new();
            for topic in one.topics {
                for partition in topic.partitions {
                    let Some(which) = answered(&topic.topic_name, partition.partition_index) else {
                        continue;
                    };
                    check(partition.error_code, which.to_string(), partition.error_message)?;
                    let known = Offset::from_wire(partition.start_offset).map(|start| ShareOffset {
                        start,
                        leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
                        lag: Some(partition.lag).filter(|lag| *lag >= 0),
                    });
                    offsets.insert(which, known);
                }
            }
            Ok(offsets)
        };
        self.client.with_coordinator("offsets", group, ask).await
    }

    /// Makes a group without members share from these offsets on.
    pub async fn set_share_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let topics = by_topic(offsets.iter().map(|(partition, offset)| (partition.clone(), *offset)));
        let topic = |(name, partitions): (TopicName, Vec<(PartitionId, Offset)>)| {
            AlterShareGroupOffsetsRequestTopic {
                topic_name: name.to_string(),
                partitions: partitions
                    .into_iter()
                    .map(|(number, offset)| AlterShareGroupOffsetsRequestPartition {
                        partition_index: number.0,
                        start_offset: offset.0,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }
        };
        let request = AlterShareGroupOffsetsRequest {
            group_id: group.to_owned(),
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: Connection| async move {
            let answer = connection.call(request).await?;
            check(answer.error_code, format!("group {group}"), answer.error_message)?;
            let mut results = BTreeMap::new();
            for topic in answer.responses {
                for partition in topic.partitions {
                    let Some(which) = answered(&topic.topic_name, partition.partition_index) else {
                        continue;
                    };
                    let result = check(partition.error_code, which.to_string(), partition.error_message);
                    results.insert(which, result);
                }
            }
            Ok(results)
        };
        self.client.with_coordinator("offsets", group, ask).await
    }

    /// Makes a group without members forget topics; a result for each.
    pub async fn delete_share_group_offsets(
        &self,
        group: &str,
        topics: &[String],
    ) -> Result<BTreeMap<String, Result<()>>> {
        let topic = |name: &String| DeleteShareGroupOffsetsRequestTopic {
            topic_name: name.clone(),
            ..Default::default()
        };
        let request = DeleteShareGroupOffsetsRequest {
            group_id: group.to_owned(),
            topics: topics.iter().map(topic).collect(),
            ..Default::default()
        };
        let request = &request;
        let ask = |connection: Connection| async move {
            let answer = connection.call(request).await?;
            check(answer.error_code, format!("group {group}"), answer.error_message)?;
            let results = answer.responses.into_iter().map(|topic| {
                let what = format!("topic {}", topic.topic_name);
                let result = check(topic.error_code, what, topic.error_message);
                (topic.topic_name, result)
            });
            Ok(results.collect())
        };
        self.client.with_coordinator("offsets", group, ask).await
    }
}
