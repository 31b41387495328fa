//! Groups and their committed offsets, whatever kind of group it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, consumer_group_describe_response,
    describe_groups_response,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::OffsetFetchRequestGroup,
};
use millstream_record::messages::ConsumerProtocolAssignment;
use millstream_types::{
    ErrorCode, LeaderEpoch, Offset, PartitionId, TopicName, TopicPartition,
    codec::{Message, Reader},
};

use super::{Admin, answered, by_topic, check};
use crate::{Broker, Connection, Error, Result};

/// From version 10 on topics go by id, which a topic that is gone has no more; names are what an
/// administrator has.
const OFFSETS_VERSION_WITH_NAMES: i16 = 9;
/// From here on one request names many groups.
const OFFSET_FETCH_VERSION_WITH_GROUPS: i16 = 8;
/// The first version that asks for all of a group's offsets by leaving the topics out.
const OFFSET_FETCH_VERSION_MIN: i16 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    pub id: String,
    /// `consumer`, `connect`, `sr` …; empty for a group that only commits.
    pub protocol_type: String,
    /// `Stable`, `Empty` …; None from brokers before Kafka 2.6.
    pub state: Option<String>,
    /// `classic`, `consumer`, `share`, `streams`; None from brokers before Kafka 3.8.
    pub group_type: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub id: String,
    pub state: String,
    /// `classic` or `consumer` (KIP-848).
    pub group_type: &'static str,
    pub protocol_type: String,
    /// Who deals the partitions out: the assignor's name.
    pub assignor: String,
    pub members: Vec<GroupMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    pub client_id: String,
    pub host: String,
    pub assignment: Vec<TopicPartition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the committer wrote beside it.
    pub metadata: String,
}

impl Admin {
    /// The groups of all brokers.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>> {
        self.client.retry("list of groups", || self.client.refresh([])).await?;
        let mut groups = BTreeMap::new();
        for broker in self.client.metadata().brokers.keys() {
            let ask = || async {
                let answer = self.client.broker(*broker).await?.call(&ListGroupsRequest::default()).await?;
                check(answer.error_code, format!("groups of broker {broker}"), None).map(|()| answer)
            };
            let some = |text: String| Some(text).filter(|text| !text.is_empty());
            for group in self.client.retry("list of groups", ask).await?.groups {
                let listing = GroupListing {
                    id: group.group_id,
                    protocol_type: group.protocol_type,
                    state: some(group.group_state),
                    group_type: some(group.group_type).map(|name| name.to_lowercase()),
                };
                groups.insert(listing.id.clone(), listing);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// A group of the consumer protocol or a classic one; `GROUP_ID_NOT_FOUND` if there is none.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let ask = |connection: Connection| async move {
            match describe_consumer_group(&connection, group).await {
                Err(error) if is_another_kind(&error) => describe_classic_group(&connection, group).await,
                described => described,
            }
        };
        self.client.with_coordinator("description", group, ask).await
    }

    /// The broker that looks after a group.
    pub async fn group_coordinator(&self, group: &str) -> Result<Broker> {
        let ask = |_: Connection| async move { Ok(()) };
        self.client.with_coordinator("coordinator", group, ask).await?;
        let id = self.client.found_coordinator(group);
        let broker = id.and_then(|id| self.client.metadata().brokers.get(&id).cloned());
        let unknown = || {
            let message = Some("its coordinator is not in the metadata".to_owned());
            Error::kafka(ErrorCode::CoordinatorNotAvailable, format!("group {group}"), message)
        };
        broker.ok_or_else(unknown)
    }

    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()], ..Default::default() };
        let request = &request;
        let ask = |connection: Connection| async move {
            let answer = connection.call(request).await?;
            let code = answer.results.first().map_or(0, |result| result.error_code);
            check(code, format!("group {group}"), None)
        };
        self.client.with_coordinator("deletion", group, ask).await
    }

    /// All offsets that the group has committed.
    pub async fn group_offsets(&self, group: &str) -> Result<BTreeMap<TopicPartition, CommittedOffset>> {
        let ask = |connection: Connection| async move { fetch_offsets(&connection, group).await };
        self.client.with_coordinator("offsets", group, ask).await
    }

    /// Sets offsets on behalf of a group that has no members, which would otherwise be asked first.
    pub async fn set_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let topics =
            by_topic(offsets.clone()).into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
                name: name.to_string(),
                partitions: partitions.into_iter().map(committed_partition).collect(),
                ..Default::default()
            });
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id_or_member_epoch: -1,
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        let request = &request;
        let ask = |connection: Connection| async move {
            let version = connection.version_of::<OffsetCommitRequest>()?.min(OFFSETS_VERSION_WITH_NAMES);
            let answer = connection.send(version, request).await?;
            let codes = answer.topics.iter().flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|partition| (&topic.name, partition.partition_index, partition.error_code))
            });
            partition_results(group, codes)
        };
        self.client.with_coordinator("commit", group, ask).await
    }

    /// Forgets what the group committed for these partitions; refused while it subscribes to them.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Result<()>>> {
        let named = partitions.iter().map(|partition| (partition.clone(), ()));
        let topics = by_topic(named).into_iter().map(|(name, partitions)| OffsetDeleteRequestTopic {
            name: name.to_string(),
            partitions: partitions
                .into_iter()
                .map(|(partition, ())| OffsetDeleteRequestPartition { partition_index: partition.0 })
                .collect(),
        });
        let request = OffsetDeleteRequest { group_id: group.to_owned(), topics: topics.collect() };
        let request = &request;
        let ask = |connection: Connection| async move {
            let answer = connection.call(request).await?;
            check(answer.error_code, format!("group {group}"), None)?;
            let codes = answer.topics.iter().flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(|partition| (&topic.name, partition.partition_index, partition.error_code))
            });
            partition_results(group, codes)
        };
        self.client.with_coordinator("deletion of offsets", group, ask).await
    }
}

/// Results by partition; a code that concerns the whole request, and may pass, fails it all.
fn partition_results<'a>(
    group: &str,
    codes: impl Iterator<Item = (&'a String, i32, i16)>,
) -> Result<BTreeMap<TopicPartition, Result<()>>> {
    let mut results = BTreeMap::new();
    for (topic, partition, code) in codes {
        let Some(which) = answered(topic, partition) else { continue };
        let result = check(code, format!("{which} of group {group}"), None);
        match result {
            Err(error)
                if error.is_retriable() && error.code() != Some(ErrorCode::UnknownTopicOrPartition) =>
            {
                return Err(error);
            }
            settled => results.insert(which, settled),
        };
    }
    Ok(results)
}

fn committed_partition(
    (partition, committed): (PartitionId, CommittedOffset),
) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index: partition.0,
        committed_offset: committed.offset.0,
        committed_leader_epoch: LeaderEpoch::to_wire(committed.leader_epoch),
        committed_metadata: Some(committed.metadata),
        ..Default::default()
    }
}

async fn fetch_offsets(
    connection: &Connection,
    group: &str,
) -> Result<BTreeMap<TopicPartition, CommittedOffset>> {
    let version = connection.version_of::<OffsetFetchRequest>()?.min(OFFSETS_VERSION_WITH_NAMES);
    if version < OFFSET_FETCH_VERSION_MIN {
        return Err(Error::malformed("OffsetFetch", "the broker is too old to list a group's offsets"));
    }
    // What is not named is all.
    let mut request = OffsetFetchRequest { topics: None, ..OffsetFetchRequest::default() };
    if version >= OFFSET_FETCH_VERSION_WITH_GROUPS {
        let all = OffsetFetchRequestGroup { group_id: group.to_owned(), topics: None, ..Default::default() };
        request = OffsetFetchRequest { groups: vec![all], ..OffsetFetchRequest::default() };
    } else {
        request.group_id = group.to_owned();
    }
    let answer = connection.send(version, &request).await?;
    let mut offsets = BTreeMap::new();
    let mut note =
        |topic: &str, partition: i32, offset: i64, epoch: i32, metadata: Option<String>, code: i16| {
            let Some(which) = answered(topic, partition) else { return Ok(()) };
            check(code, format!("{which} of group {group}"), None)?;
            if let Some(offset) = Offset::from_wire(offset) {
                let leader_epoch = LeaderEpoch::from_wire(epoch);
                offsets.insert(
                    which,
                    CommittedOffset { offset, leader_epoch, metadata: metadata.unwrap_or_default() },
                );
            }
            Ok(())
        };
    if let Some(of_group) = answer.groups.into_iter().next() {
        check(of_group.error_code, format!("offsets of group {group}"), None)?;
        for topic in of_group.topics {
            for p in topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                note(&topic.name, p.partition_index, offset, epoch, p.metadata, p.error_code)?;
            }
        }
    } else {
        check(answer.error_code, format!("offsets of group {group}"), None)?;
        for topic in answer.topics {
            for p in topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                note(&topic.name, p.partition_index, offset, epoch, p.metadata, p.error_code)?;
            }
        }
    }
    Ok(offsets)
}

/// The consumer protocol's description is not for this group, or not known to the broker.
fn is_another_kind(error: &Error) -> bool {
    matches!(error, Error::UnsupportedApi { .. })
        || matches!(error.code(), Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion))
}

async fn describe_consumer_group(connection: &Connection, group: &str) -> Result<GroupDescription> {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.to_owned()], ..Default::default() };
    let answer = connection.call(&request).await?.groups.into_iter().next();
    let answer =
        answer.ok_or_else(|| Error::malformed("the answer to ConsumerGroupDescribe", "no group in it"))?;
    check(answer.error_code, format!("group {group}"), answer.error_message)?;
    let member = |member: consumer_group_describe_response::Member| GroupMember {
        id: member.member_id,
        instance_id: member.instance_id,
        client_id: member.client_id,
        host: member.client_host,
        assignment: member
            .assignment
            .topic_partitions
            .into_iter()
            .flat_map(|topic| partitions(&topic.topic_name, &topic.partitions))
            .collect(),
    };
    Ok(GroupDescription {
        id: answer.group_id,
        state: answer.group_state,
        group_type: "consumer",
        protocol_type: "consumer".to_owned(),
        assignor: answer.assignor_name,
        members: answer.members.into_iter().map(member).collect(),
    })
}

async fn describe_classic_group(connection: &Connection, group: &str) -> Result<GroupDescription> {
    let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
    let answer = connection.call(&request).await?.groups.into_iter().next();
    let answer = answer.ok_or_else(|| Error::malformed("the answer to DescribeGroups", "no group in it"))?;
    check(answer.error_code, format!("group {group}"), answer.error_message)?;
    // Before version 6 a group that is not there is described as dead.
    if answer.group_state == "Dead" {
        return Err(Error::kafka(ErrorCode::GroupIdNotFound, format!("group {group}"), None));
    }
    let is_consumer = answer.protocol_type == "consumer";
    let member = |member: describe_groups_response::DescribedGroupMember| GroupMember {
        id: member.member_id,
        instance_id: member.group_instance_id,
        client_id: member.client_id,
        host: member.client_host,
        assignment: if is_consumer { assigned(member.member_assignment) } else { Vec::new() },
    };
    Ok(GroupDescription {
        id: answer.group_id,
        state: answer.group_state,
        group_type: "classic",
        protocol_type: answer.protocol_type,
        assignor: answer.protocol_data,
        members: answer.members.into_iter().map(member).collect(),
    })
}

/// The partitions in an assignment that a group's leader wrote; none if it is not readable.
fn assigned(assignment: Bytes) -> Vec<TopicPartition> {
    let mut reader = Reader::new(assignment);
    // A newer layout begins as the newest known does.
    let read = reader.i16().and_then(|version| {
        ConsumerProtocolAssignment::read(
            &mut reader,
            version.clamp(0, ConsumerProtocolAssignment::MAX_VERSION),
        )
    });
    let topics = read.map(|assignment| assignment.assigned_partitions).unwrap_or_default();
    topics.iter().flat_map(|topic| partitions(&topic.topic, &topic.partitions)).collect()
}

fn partitions(topic: &str, numbers: &[i32]) -> Vec<TopicPartition> {
    let Ok(topic) = TopicName::parse(topic) else { return Vec::new() };
    numbers.iter().map(|number| TopicPartition::new(topic.clone(), PartitionId(*number))).collect()
}
