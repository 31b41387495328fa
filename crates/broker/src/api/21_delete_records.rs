//! DeleteRecords (21), versions 0-2: moves a partition's log start offset; -1 means up to the high
//! watermark. The files go with retention.

use std::sync::Arc;

use millstream_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};
use millstream_types::{ErrorCode, Offset, PartitionId};

use super::context::{RequestContext, blocking};
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DeleteRecordsRequest) -> Reply {
    let parts = Arc::clone(parts);
    context.later(blocking(move || {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let delete =
                |p: &millstream_protocol::messages::delete_records_request::DeleteRecordsPartition| {
                    let outcome = delete(&parts, &topic.name, PartitionId(p.partition_index), p.offset);
                    DeleteRecordsPartitionResult {
                        partition_index: p.partition_index,
                        low_watermark: outcome.as_ref().map_or(-1, |offset| offset.0),
                        error_code: outcome.map_or_else(|failure| failure.code.code(), |_| 0),
                        ..Default::default()
                    }
                };
            let partitions = topic.partitions.iter().map(delete).collect();
            topics.push(DeleteRecordsTopicResult { name: topic.name, partitions, ..Default::default() });
        }
        DeleteRecordsResponse { topics, ..Default::default() }
    }))
}

fn delete(parts: &Parts, topic: &str, id: PartitionId, offset: i64) -> Result<Offset, Failure> {
    let topic = parts.partitions.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic.partition(id)?;
    if !partition.log.config().cleanup_policy.delete {
        return Err(ErrorCode::PolicyViolation.into());
    }
    let until = match offset {
        -1 => None,
        offset => Some(Offset::from_wire(offset).ok_or(ErrorCode::OffsetOutOfRange)?),
    };
    Ok(partition.log.delete_records_to(until)?)
}
