//! DeleteRecords (21), versions 0-2: moves a partition's log start offset; -1 means up to the high
//! watermark. The answer leaves when that is on the disk (Kafka writes it down within a minute). The files go
//! with retention.

use std::sync::Arc;

use millstream_log::Log;
use millstream_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse,
    delete_records_request::DeleteRecordsPartition,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};
use millstream_types::{ErrorCode, Offset, PartitionId};

use super::context::{RequestContext, blocking};
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DeleteRecordsRequest) -> Reply {
    let parts = Arc::clone(parts);
    context.later(blocking(move || {
        let named = request.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.as_str(), p)));
        let found: Vec<_> = named.map(|(topic, partition)| find(&parts, topic, partition)).collect();
        let asked: Vec<_> = found.iter().flatten().cloned().collect();
        let mut moved = parts.log_dirs.delete_records(&asked).into_iter();
        let mut outcomes = found.into_iter().map(|found| {
            found.and_then(|_| Ok(moved.next().expect("there is an outcome for each log asked for")?))
        });
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let partitions = topic.partitions.iter().zip(&mut outcomes).map(|(partition, outcome)| {
                DeleteRecordsPartitionResult {
                    partition_index: partition.partition_index,
                    low_watermark: outcome.as_ref().map_or(-1, |offset: &Offset| offset.0),
                    error_code: outcome.map_or_else(|failure: Failure| failure.code.code(), |_| 0),
                    ..Default::default()
                }
            });
            let partitions = partitions.collect();
            topics.push(DeleteRecordsTopicResult { name: topic.name, partitions, ..Default::default() });
        }
        DeleteRecordsResponse { topics, ..Default::default() }
    }))
}

/// The log, and where it is to begin; None is the high watermark.
fn find(
    parts: &Parts,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<(Arc<Log>, Option<Offset>), Failure> {
    let topic = parts.partitions.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic.partition(PartitionId(asked.partition_index))?;
    if !partition.log.config().cleanup_policy.delete {
        return Err(ErrorCode::PolicyViolation.into());
    }
    let until = match asked.offset {
        -1 => None,
        offset => Some(Offset::from_wire(offset).ok_or(ErrorCode::OffsetOutOfRange)?),
    };
    Ok((Arc::clone(&partition.log), until))
}
