//! DescribeQuorum (55), versions 0-2: the metadata log has one voter, this node.

use std::sync::Arc;

use millstream_protocol::messages::{
    DescribeQuorumRequest, DescribeQuorumResponse,
    describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData},
};
use millstream_types::{ErrorCode, Uuid};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

/// From this version on the voters' addresses are told.
const NODES_FROM: i16 = 2;
const METADATA_TOPIC: &str = "__cluster_metadata";

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DescribeQuorumRequest) -> Reply {
    let known = is_metadata_partition(&request);
    let partition = |index| match known {
        true => describe(parts),
        false => PartitionData {
            partition_index: index,
            error_code: ErrorCode::UnknownTopicOrPartition.code(),
            error_message: Some("This server does not host this topic-partition.".to_owned()),
            ..Default::default()
        },
    };
    let topics = request.topics.into_iter().map(|topic| TopicData {
        partitions: topic.partitions.iter().map(|p| partition(p.partition_index)).collect(),
        topic_name: topic.topic_name,
        ..Default::default()
    });
    let advertised = &context.connection.advertised;
    let listener = Listener {
        name: context.connection.listener.to_string(),
        host: advertised.host.clone(),
        port: advertised.port,
        ..Default::default()
    };
    let node =
        Node { node_id: parts.controller.node_id().0, listeners: vec![listener], ..Default::default() };
    let response = DescribeQuorumResponse {
        topics: topics.collect(),
        nodes: if known && context.version >= NODES_FROM { vec![node] } else { Vec::new() },
        ..Default::default()
    };
    context.now(&response)
}

/// Anything else beside it makes Kafka refuse the whole.
fn is_metadata_partition(request: &DescribeQuorumRequest) -> bool {
    let [topic] = request.topics.as_slice() else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    topic.topic_name == METADATA_TOPIC && partition.partition_index == 0
}

fn describe(parts: &Parts) -> PartitionData {
    let partition = parts.controller.partition();
    let node_id = parts.controller.node_id().0;
    let now = parts.clock.now().0;
    let voter = ReplicaState {
        replica_id: node_id,
        replica_directory_id: Uuid::ZERO,
        log_end_offset: partition.log.log_end_offset().0,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
        ..Default::default()
    };
    PartitionData {
        leader_id: node_id,
        leader_epoch: parts.controller.epoch().0,
        high_watermark: partition.log.high_watermark().0,
        current_voters: vec![voter],
        ..Default::default()
    }
}
