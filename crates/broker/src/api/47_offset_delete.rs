//! OffsetDelete (47), version 0.

use std::sync::Arc;

use millstream_coordinator::group::{self, GroupEvent, GroupResponse, OffsetDelete};
use millstream_protocol::messages::{
    OffsetDeleteRequest, OffsetDeleteResponse,
    offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
};
use millstream_types::PartitionId;

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: OffsetDeleteRequest) -> Reply {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| PartitionId(p.partition_index)).collect();
        (topic.name, partitions)
    });
    let event = OffsetDelete { group_id: request.group_id, topics: topics.collect() };
    let parts = Arc::clone(parts);
    context.later(async move {
        let group_id = event.group_id.clone();
        match parts.groups.submit(&group_id, GroupEvent::OffsetDelete(event)).await {
            Ok(GroupResponse::OffsetDelete(deleted)) => convert(&parts, deleted),
            Ok(other) => unreachable!("OffsetDelete answered with {other:?}"),
            Err(code) => OffsetDeleteResponse { error_code: code.code(), ..Default::default() },
        }
    })
}

fn convert(parts: &Parts, deleted: group::OffsetDeleteResponse) -> OffsetDeleteResponse {
    let topic = |(name, partitions): (String, Vec<(PartitionId, _)>)| {
        let known = parts.partitions.topic(&name);
        let partition = |(id, code): (PartitionId, millstream_types::ErrorCode)| {
            let exists = known.as_ref().is_some_and(|topic| topic.has_partition(id));
            let code = if exists { code } else { millstream_types::ErrorCode::UnknownTopicOrPartition };
            OffsetDeleteResponsePartition { partition_index: id.0, error_code: code.code() }
        };
        OffsetDeleteResponseTopic { partitions: partitions.into_iter().map(partition).collect(), name }
    };
    OffsetDeleteResponse {
        error_code: deleted.error.code(),
        topics: deleted.topics.into_iter().map(topic).collect(),
        ..Default::default()
    }
}
