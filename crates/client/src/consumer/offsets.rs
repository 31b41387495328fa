//! A group's committed offsets on the wire, and the offsets that a reset leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use millstream_protocol::messages::{
    OffsetCommitRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
};
use millstream_types::{
    ErrorCode, GenerationId, LeaderEpoch, Offset, PartitionId, TimestampMs, TopicName, TopicPartition,
};

use crate::{
    Client, CommittedOffset, Connection, Error, Generation, IsolationLevel, OffsetReset, OffsetSpec, Result,
};

/// From version 10 on topics go by id; the answer is the same.
const OFFSETS_VERSION_WITH_NAMES: i16 = 9;
/// From here on one request names many groups.
const OFFSET_FETCH_VERSION_WITH_GROUPS: i16 = 8;
/// The first version that carries `group.instance.id`.
const COMMIT_VERSION_WITH_INSTANCE: i16 = 7;

pub(super) type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

/// On whose behalf offsets are committed.
#[derive(Clone, Debug)]
pub(super) struct Committer {
    pub(super) group_id: String,
    pub(super) group_instance_id: Option<String>,
    /// None for a consumer that is no member.
    pub(super) generation: Option<Generation>,
}

/// Commits; with `persistent` tries again until `default.api.timeout.ms` where that may help.
pub(super) async fn commit(
    client: &Client,
    committer: &Committer,
    offsets: &Offsets,
    persistent: bool,
) -> Result<()> {
    if offsets.is_empty() {
        return Ok(());
    }
    let ask = |connection: Connection| async move { commit_once(&connection, committer, offsets).await };
    let group = &committer.group_id;
    let committed = if persistent {
        client.with_coordinator("commit", group, ask).await
    } else {
        client.at_coordinator(group, ask).await
    };
    committed.inspect_err(|error| {
        if error.code() == Some(ErrorCode::RequestTimedOut) {
            client.forget_coordinator(group);
        }
    })
}

async fn commit_once(connection: &Connection, committer: &Committer, offsets: &Offsets) -> Result<()> {
    let version = connection.version_of::<OffsetCommitRequest>()?.min(OFFSETS_VERSION_WITH_NAMES);
    let topics = by_topic(offsets).into_iter().map(|(topic, offsets)| OffsetCommitRequestTopic {
        name: topic.to_string(),
        partitions: offsets.into_iter().map(to_wire).collect(),
        ..Default::default()
    });
    let generation = committer.generation.as_ref();
    let mut request = OffsetCommitRequest {
        group_id: committer.group_id.clone(),
        generation_id_or_member_epoch: GenerationId::to_wire(generation.map(|g| g.id)),
        member_id: generation.map(|generation| generation.member_id.clone()).unwrap_or_default(),
        topics: topics.collect(),
        ..Default::default()
    };
    if version >= COMMIT_VERSION_WITH_INSTANCE && generation.is_some() {
        request.group_instance_id.clone_from(&committer.group_instance_id);
    }
    let answer = connection.send(version, &request).await?;
    let codes = answer.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|p| (&topic.name, p.partition_index, ErrorCode::from_code(p.error_code)))
    });
    let mut refused = codes.filter(|(_, _, code)| *code != ErrorCode::None);
    if let Some((topic, partition, code)) = refused.next() {
        let what = format!("commit of {topic}-{partition} by group {}", committer.group_id);
        return Err(Error::kafka(code, what, explanation(code)));
    }
    Ok(())
}

/// A commit that is not even tried.
pub(super) fn too_late(group: &str, code: ErrorCode) -> Error {
    Error::kafka(code, format!("commit by group {group}"), explanation(code))
}

/// What a code means for whoever commits.
fn explanation(code: ErrorCode) -> Option<String> {
    let text = match code {
        ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
            "the group has rebalanced and the partitions may be another member's; if polls come too seldom, \
             raise max.poll.interval.ms or lower max.poll.records"
        }
        ErrorCode::RebalanceInProgress => "the group rebalances; poll, then commit what is still assigned",
        ErrorCode::FencedInstanceId => {
            "another member with the same group.instance.id has taken this one's place"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn to_wire((partition, committed): (PartitionId, &CommittedOffset)) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index: partition.0,
        committed_offset: committed.offset.0,
        committed_leader_epoch: LeaderEpoch::to_wire(committed.leader_epoch),
        committed_metadata: Some(committed.metadata.clone()),
        ..Default::default()
    }
}

fn by_topic(offsets: &Offsets) -> BTreeMap<&TopicName, Vec<(PartitionId, &CommittedOffset)>> {
    let mut topics: BTreeMap<&TopicName, Vec<_>> = BTreeMap::new();
    for (partition, offset) in offsets {
        topics.entry(&partition.topic).or_default().push((partition.partition, offset));
    }
    topics
}

/// What the group has committed for these partitions; those without a commit are left out.
pub(super) async fn committed(
    client: &Client,
    group: &str,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<Offsets> {
    let ask = |connection: Connection| async move { committed_once(&connection, group, partitions).await };
    client.with_coordinator("committed offsets", group, ask).await
}

async fn committed_once(
    connection: &Connection,
    group: &str,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<Offsets> {
    let version = connection.version_of::<OffsetFetchRequest>()?.min(OFFSETS_VERSION_WITH_NAMES);
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.0);
    }
    let mut request = OffsetFetchRequest { require_stable: true, ..OffsetFetchRequest::default() };
    if version >= OFFSET_FETCH_VERSION_WITH_GROUPS {
        let topics = topics.into_iter().map(|(name, partition_indexes)| OffsetFetchRequestTopics {
            name: name.to_string(),
            partition_indexes,
            ..Default::default()
        });
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: group.to_owned(),
            topics: Some(topics.collect()),
            ..Default::default()
        }];
    } else {
        let topics = topics.into_iter().map(|(name, partition_indexes)| OffsetFetchRequestTopic {
            name: name.to_string(),
            partition_indexes,
            ..Default::default()
        });
        request.group_id = group.to_owned();
        request.topics = Some(topics.collect());
        // Brokers before Kafka 2.5 know no offsets that are not stable.
        request.require_stable = version >= 7;
    }
    let answer = connection.send(version, &request).await?;
    let mut found = Offsets::new();
    let mut note =
        |topic: &str, partition: i32, offset: i64, epoch: i32, metadata: Option<String>, code: i16| {
            let Ok(topic) = TopicName::parse(topic) else { return Ok(()) };
            let which = TopicPartition::new(topic, PartitionId(partition));
            check(code, format!("committed offset of {which} in group {group}"))?;
            if let Some(offset) = Offset::from_wire(offset) {
                let leader_epoch = LeaderEpoch::from_wire(epoch);
                found.insert(
                    which,
                    CommittedOffset { offset, leader_epoch, metadata: metadata.unwrap_or_default() },
                );
            }
            Ok(())
        };
    check(answer.error_code, format!("committed offsets of group {group}"))?;
    for of_group in answer.groups {
        check(of_group.error_code, format!("committed offsets of group {group}"))?;
        for topic in of_group.topics {
            for p in topic.partitions {
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                note(&topic.name, p.partition_index, offset, epoch, p.metadata, p.error_code)?;
            }
        }
    }
    for topic in answer.topics {
        for p in topic.partitions {
            let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
            note(&topic.name, p.partition_index, offset, epoch, p.metadata, p.error_code)?;
        }
    }
    Ok(found)
}

fn check(code: i16, what: String) -> Result<()> {
    match ErrorCode::from_code(code) {
        ErrorCode::None => Ok(()),
        code => Err(Error::kafka(code, what, None)),
    }
}

/// Where each reset leads.
pub(super) async fn resets(
    client: &Client,
    isolation: IsolationLevel,
    wanted: &BTreeMap<TopicPartition, OffsetReset>,
) -> Result<BTreeMap<TopicPartition, Result<Offset>>> {
    let specs = wanted.iter().map(|(partition, reset)| (partition.clone(), to_spec(*reset)));
    let admin = client.admin();
    let mut listed = admin.list_offsets(&specs.collect(), isolation).await?;
    // Nothing is as young as that: from here on everything is.
    let too_young = listed.iter().filter(|(_, listed)| matches!(listed, Ok(found) if found.offset.is_none()));
    let ends: BTreeMap<_, _> =
        too_young.map(|(partition, _)| (partition.clone(), OffsetSpec::Latest)).collect();
    if !ends.is_empty() {
        listed.extend(admin.list_offsets(&ends, isolation).await?);
    }
    let offset = |(partition, listed): (TopicPartition, Result<crate::ListedOffset>)| {
        let missing = || Error::malformed("the answer to ListOffsets", format!("no offset of {partition}"));
        let offset = listed.and_then(|listed| listed.offset.ok_or_else(missing));
        (partition, offset)
    };
    Ok(listed.into_iter().map(offset).collect())
}

fn to_spec(reset: OffsetReset) -> OffsetSpec {
    match reset {
        OffsetReset::Earliest => OffsetSpec::Earliest,
        OffsetReset::Latest | OffsetReset::None => OffsetSpec::Latest,
        OffsetReset::ByDuration(age) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let then = now.saturating_sub(age).as_millis();
            OffsetSpec::Timestamp(TimestampMs(i64::try_from(then).unwrap_or(i64::MAX)))
        }
    }
}
