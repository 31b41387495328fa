//! OffsetFetch (9), versions 1-10: several groups from 8 on, topics by id from 10 on.

use std::sync::Arc;

use millstream_coordinator::group::{
    self, CommittedOffset, GroupEvent, GroupResponse, OffsetFetch, OffsetFetchTopic,
};
use millstream_protocol::messages::{
    OffsetFetchRequest, OffsetFetchResponse,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
    offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    },
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, Uuid};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

const GROUPS_FROM: i16 = 8;
/// Below this version a whole request's error stands at every partition.
const REQUEST_ERROR_FROM: i16 = 2;
const TOPIC_IDS_FROM: i16 = 10;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: OffsetFetchRequest) -> Reply {
    let version = context.version;
    let parts = Arc::clone(parts);
    context.later(async move {
        if version < GROUPS_FROM {
            return one_group(&parts, request, version).await;
        }
        let mut groups = Vec::with_capacity(request.groups.len());
        for wanted in request.groups {
            groups.push(of_group(&parts, wanted, request.require_stable, version >= TOPIC_IDS_FROM).await);
        }
        OffsetFetchResponse { groups, ..Default::default() }
    })
}

async fn one_group(parts: &Parts, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let convert = |topic: OffsetFetchRequestTopic| OffsetFetchRequestTopics {
        name: topic.name,
        partition_indexes: topic.partition_indexes,
        ..Default::default()
    };
    let topics = request.topics.map(|topics| topics.into_iter().map(convert).collect::<Vec<_>>());
    let wanted = OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() };
    let asked = wanted.topics.clone().unwrap_or_default();
    let answered = of_group(parts, wanted, request.require_stable, false).await;
    let mut topics: Vec<_> = answered.topics.into_iter().map(old_topic).collect();
    if answered.error_code != 0 && version < REQUEST_ERROR_FROM {
        topics = asked.into_iter().map(|topic| failed_topic(topic, answered.error_code)).collect();
    }
    OffsetFetchResponse { topics, error_code: answered.error_code, ..Default::default() }
}

fn old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partition = |p: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: p.partition_index,
        committed_offset: p.committed_offset,
        committed_leader_epoch: p.committed_leader_epoch,
        metadata: p.metadata,
        error_code: p.error_code,
        ..Default::default()
    };
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    }
}

fn failed_topic(topic: OffsetFetchRequestTopics, code: i16) -> OffsetFetchResponseTopic {
    let partition = |&index: &i32| OffsetFetchResponsePartition {
        partition_index: index,
        committed_offset: -1,
        metadata: Some(String::new()),
        error_code: code,
        ..Default::default()
    };
    OffsetFetchResponseTopic {
        partitions: topic.partition_indexes.iter().map(partition).collect(),
        name: topic.name,
        ..Default::default()
    }
}

async fn of_group(
    parts: &Parts,
    wanted: OffsetFetchRequestGroup,
    require_stable: bool,
    by_id: bool,
) -> OffsetFetchResponseGroup {
    let group_id = wanted.group_id;
    let mut unknown = Vec::new();
    let topics = wanted.topics.map(|topics| {
        let named = topics.into_iter().filter_map(|topic| name_of(parts, topic, by_id, &mut unknown));
        named.collect::<Vec<_>>()
    });
    let event = OffsetFetch {
        group_id: group_id.clone(),
        member_id: wanted.member_id,
        member_epoch: wanted.member_epoch,
        require_stable,
        topics,
    };
    let mut response = match parts.groups.submit(&group_id, GroupEvent::OffsetFetch(event)).await {
        Ok(GroupResponse::OffsetFetch(fetched)) => convert(parts, fetched, by_id),
        Ok(other) => unreachable!("OffsetFetch answered with {other:?}"),
        Err(code) => OffsetFetchResponseGroup { error_code: code.code(), ..Default::default() },
    };
    response.group_id = group_id;
    if response.error_code == 0 {
        response.topics.extend(unknown);
    }
    response
}

/// The topic by name; one whose id nobody knows is answered at once.
fn name_of(
    parts: &Parts,
    topic: OffsetFetchRequestTopics,
    by_id: bool,
    unknown: &mut Vec<OffsetFetchResponseTopics>,
) -> Option<OffsetFetchTopic> {
    let partitions = topic.partition_indexes.iter().copied().map(PartitionId).collect();
    if !by_id {
        return Some(OffsetFetchTopic { topic: topic.name, topic_id: None, partitions });
    }
    if let Some(known) = parts.partitions.topic_by_id(topic.topic_id) {
        return Some(OffsetFetchTopic {
            topic: known.name.to_string(),
            topic_id: Some(known.id),
            partitions,
        });
    }
    let failed = |&index: &i32| OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: -1,
        metadata: Some(String::new()),
        error_code: ErrorCode::UnknownTopicId.code(),
        ..Default::default()
    };
    unknown.push(OffsetFetchResponseTopics {
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(failed).collect(),
        ..Default::default()
    });
    None
}

fn convert(parts: &Parts, fetched: group::OffsetFetchResponse, by_id: bool) -> OffsetFetchResponseGroup {
    let partition = |p: CommittedOffset| OffsetFetchResponsePartitions {
        partition_index: p.partition.0,
        committed_offset: Offset::to_wire(p.offset),
        committed_leader_epoch: LeaderEpoch::to_wire(p.leader_epoch),
        metadata: Some(p.metadata),
        error_code: p.error.code(),
        ..Default::default()
    };
    let mut topics = Vec::with_capacity(fetched.topics.len());
    for (name, partitions) in fetched.topics {
        let topic_id = parts.partitions.topic(&name).map(|topic| topic.id);
        // By id there is no way to name a topic that is gone, though its offsets may linger.
        if by_id && topic_id.is_none() {
            continue;
        }
        topics.push(OffsetFetchResponseTopics {
            name,
            topic_id: topic_id.unwrap_or(Uuid::ZERO),
            partitions: partitions.into_iter().map(partition).collect(),
            ..Default::default()
        });
    }
    OffsetFetchResponseGroup { error_code: fetched.error.code(), topics, ..Default::default() }
}
