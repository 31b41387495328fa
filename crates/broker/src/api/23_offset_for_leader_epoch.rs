//! OffsetForLeaderEpoch (23), versions 2-4: where an epoch ended, so that a consumer finds out whether
//! what it read was truncated (KIP-320).

use std::sync::Arc;

use millstream_protocol::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, PartitionId};

use super::context::RequestContext;
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

pub(super) fn handle(
    parts: &Arc<Parts>,
    context: RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> Reply {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let find = |wanted: &OffsetForLeaderPartition| {
            let found = find(parts, &topic.topic, wanted);
            let mut answer = EpochEndOffset { partition: wanted.partition, ..Default::default() };
            match found {
                Ok(Some((epoch, end))) => (answer.leader_epoch, answer.end_offset) = (epoch.0, end.0),
                Ok(None) => {}
                Err(failure) => answer.error_code = failure.code.code(),
            }
            answer
        };
        let partitions = topic.partitions.iter().map(find).collect();
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions, ..Default::default() });
    }
    context.now(&OffsetForLeaderEpochResponse { topics, ..Default::default() })
}

fn find(
    parts: &Parts,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, Failure> {
    let topic = parts.partitions.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic.partition(PartitionId(wanted.partition))?;
    partition.check_leader_epoch(LeaderEpoch::from_wire(wanted.current_leader_epoch))?;
    let Some(epoch) = LeaderEpoch::from_wire(wanted.leader_epoch) else { return Ok(None) };
    Ok(partition.log.offset_for_leader_epoch(epoch))
}
