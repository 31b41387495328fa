//! DescribeProducers (61), version 0: the producers whose state a partition remembers.

use std::sync::Arc;

use millstream_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse,
    describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
};
use millstream_types::{ErrorCode, Offset, PartitionId, ProducerEpoch, Sequence};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

pub(super) fn handle(
    parts: &Arc<Parts>,
    context: RequestContext,
    request: DescribeProducersRequest,
) -> Reply {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partition_indexes.iter().map(|&index| describe(parts, &topic.name, index));
        topics.push(TopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
            ..Default::default()
        });
    }
    context.now(&DescribeProducersResponse { topics, ..Default::default() })
}

fn describe(parts: &Parts, topic: &str, index: i32) -> PartitionResponse {
    let partition = parts.partitions.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition);
    let partition = match partition.and_then(|topic| topic.partition(PartitionId(index))) {
        Ok(partition) => partition,
        Err(code) => {
            let error_code = code.code();
            return PartitionResponse { partition_index: index, error_code, ..Default::default() };
        }
    };
    let state = |p: millstream_log::ActiveProducer| ProducerState {
        producer_id: p.producer_id.0,
        producer_epoch: ProducerEpoch::to_wire(p.epoch).into(),
        last_sequence: Sequence::to_wire(p.last_sequence),
        last_timestamp: p.last_timestamp.0,
        coordinator_epoch: p.coordinator_epoch.unwrap_or(-1),
        current_txn_start_offset: Offset::to_wire(p.current_txn_start_offset),
        ..Default::default()
    };
    let active_producers = partition.log.active_producers().into_iter().map(state).collect();
    PartitionResponse { partition_index: index, active_producers, ..Default::default() }
}
