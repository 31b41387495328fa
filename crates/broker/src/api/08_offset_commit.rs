//! OffsetCommit (8), versions 2-10: topics by id from 10 on. A partition that does not exist is refused
//! here, the rest goes to the group.

use std::{collections::HashMap, sync::Arc};

use millstream_coordinator::group::{GroupEvent, GroupResponse, OffsetCommit, OffsetCommitPartition};
use millstream_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse,
    offset_commit_request::OffsetCommitRequestTopic,
    offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, TopicName};

use super::context::RequestContext;
use crate::{partitions::Topic, parts::Parts, server::response::Reply};

const TOPIC_IDS_FROM: i16 = 10;
/// Below this version a group that is not there is a wrong generation.
const GROUP_NOT_FOUND_FROM: i16 = 9;
const RETENTION_UNTIL: i16 = 4;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: OffsetCommitRequest) -> Reply {
    let by_id = context.version >= TOPIC_IDS_FROM;
    let retention = (context.version <= RETENTION_UNTIL && request.retention_time_ms >= 0)
        .then_some(request.retention_time_ms);
    let mut partitions = Vec::new();
    let topics: Vec<Judged> =
        request.topics.into_iter().map(|topic| Judged::new(parts, topic, by_id, &mut partitions)).collect();
    let event = OffsetCommit {
        group_id: request.group_id,
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        generation_or_epoch: request.generation_id_or_member_epoch,
        retention_time_ms: retention,
        partitions,
    };
    if event.partitions.is_empty() {
        return context.now(&respond(topics, &HashMap::new()));
    }
    let version = context.version;
    let parts = Arc::clone(parts);
    context.later(async move {
        let named: Vec<_> = event.partitions.iter().map(|p| (p.topic.clone(), p.partition)).collect();
        let group_id = event.group_id.clone();
        let codes = match parts.groups.submit(&group_id, GroupEvent::OffsetCommit(event)).await {
            Ok(GroupResponse::OffsetCommit(committed)) => {
                let told = |code| if version < GROUP_NOT_FOUND_FROM { before_version_9(code) } else { code };
                committed.partitions.into_iter().map(|(topic, id, code)| ((topic, id), told(code))).collect()
            }
            Ok(other) => unreachable!("OffsetCommit answered with {other:?}"),
            Err(code) => named.into_iter().map(|key| (key, code)).collect(),
        };
        respond(topics, &codes)
    })
}

fn before_version_9(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::GroupIdNotFound => ErrorCode::IllegalGeneration,
        code => code,
    }
}

/// A topic of the request: what its partitions are called, and which of them are refused already.
struct Judged {
    answer: OffsetCommitResponseTopic,
    name: Option<TopicName>,
}

impl Judged {
    fn new(
        parts: &Parts,
        topic: OffsetCommitRequestTopic,
        by_id: bool,
        accepted: &mut Vec<OffsetCommitPartition>,
    ) -> Self {
        let known: Result<Arc<Topic>, ErrorCode> = if by_id {
            parts.partitions.topic_by_id(topic.topic_id).ok_or(ErrorCode::UnknownTopicId)
        } else {
            parts.partitions.topic(&topic.name).ok_or(ErrorCode::UnknownTopicOrPartition)
        };
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let id = PartitionId(wanted.partition_index);
            let known = known.as_ref().map_err(|code| *code);
            let outcome = known.and_then(|topic| match topic.has_partition(id) {
                true => Ok(topic),
                false => Err(ErrorCode::UnknownTopicOrPartition),
            });
            let mut answer = OffsetCommitResponsePartition { partition_index: id.0, ..Default::default() };
            match outcome {
                Ok(topic) => accepted.push(OffsetCommitPartition {
                    topic: topic.name.clone(),
                    topic_id: topic.id,
                    partition: id,
                    offset: Offset(wanted.committed_offset),
                    leader_epoch: LeaderEpoch::from_wire(wanted.committed_leader_epoch),
                    metadata: wanted.committed_metadata,
                }),
                Err(code) => answer.error_code = code.code(),
            }
            answers.push(answer);
        }
        let answer = OffsetCommitResponseTopic {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions: answers,
            ..Default::default()
        };
        Self { answer, name: known.ok().map(|topic| topic.name.clone()) }
    }
}

fn respond(
    topics: Vec<Judged>,
    codes: &HashMap<(TopicName, PartitionId), ErrorCode>,
) -> OffsetCommitResponse {
    let finish = |mut topic: Judged| {
        for partition in &mut topic.answer.partitions {
            let key = topic.name.clone().map(|name| (name, PartitionId(partition.partition_index)));
            if let Some(code) = key.and_then(|key| codes.get(&key)).filter(|_| partition.error_code == 0) {
                partition.error_code = code.code();
            }
        }
        topic.answer
    };
    OffsetCommitResponse { topics: topics.into_iter().map(finish).collect(), ..Default::default() }
}
