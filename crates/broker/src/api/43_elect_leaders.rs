//! ElectLeaders (43), versions 0-2. With one replica each, no partition ever needs an election.

use std::sync::Arc;

use millstream_metadata::{Election, elect_leaders};
use millstream_protocol::messages::{
    ElectLeadersRequest, ElectLeadersResponse, elect_leaders_request,
    elect_leaders_response::{PartitionResult, ReplicaElectionResult},
};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

/// Version 0 knows only the preferred election.
const ELECTION_TYPE_FROM: i16 = 1;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: ElectLeadersRequest) -> Reply {
    if context.version >= ELECTION_TYPE_FROM
        && let Err(failure) = Election::from_code(request.election_type)
    {
        return context.now(&refusal(request, &failure));
    }
    let named: Option<Vec<_>> =
        request.topic_partitions.map(|topics| topics.into_iter().map(|t| (t.topic, t.partitions)).collect());
    let elections = elect_leaders(&parts.controller.published().image, named.as_deref());
    let partition =
        |(id, failure): (millstream_types::PartitionId, millstream_metadata::Failure)| PartitionResult {
            partition_id: id.0,
            error_code: failure.code.code(),
            error_message: failure.message,
            ..Default::default()
        };
    let topic = |(topic, partitions): (String, Vec<_>)| ReplicaElectionResult {
        topic,
        partition_result: partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    let replica_election_results = elections.into_iter().map(topic).collect();
    context.now(&ElectLeadersResponse { replica_election_results, ..Default::default() })
}

/// The failure, said for the whole and for each partition that was named.
fn refusal(request: ElectLeadersRequest, failure: &millstream_metadata::Failure) -> ElectLeadersResponse {
    let error_code = failure.code.code();
    let partition = |partition_id| PartitionResult {
        partition_id,
        error_code,
        error_message: failure.message.clone(),
        ..Default::default()
    };
    let topic = |topic: elect_leaders_request::TopicPartitions| ReplicaElectionResult {
        topic: topic.topic,
        partition_result: topic.partitions.into_iter().map(partition).collect(),
        ..Default::default()
    };
    let replica_election_results =
        request.topic_partitions.unwrap_or_default().into_iter().map(topic).collect();
    ElectLeadersResponse { error_code, replica_election_results, ..Default::default() }
}
