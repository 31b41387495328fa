//! CreatePartitions (37), versions 0-3.

use std::sync::Arc;

use millstream_metadata::{Decision, NewPartitions, create_partitions};
use millstream_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_request::CreatePartitionsTopic,
    create_partitions_response::CreatePartitionsTopicResult,
};
use millstream_types::BrokerId;

use super::context::RequestContext;
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: CreatePartitionsRequest) -> Reply {
    let parts = Arc::clone(parts);
    context.later(async move {
        let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let requests: Vec<NewPartitions> = request.topics.into_iter().map(new_partitions).collect();
        let changed = parts.controller.change(move |image, node| {
            let decision = create_partitions(image, node, &requests, request.validate_only);
            let Decision { records, results } = decision;
            (records, results)
        });
        let results = match changed.await {
            Ok(results) => results
                .into_iter()
                .map(|(name, outcome)| result(name, outcome.err().map(Failure::from)))
                .collect(),
            Err(failure) => names.into_iter().map(|name| result(name, Some(failure.clone()))).collect(),
        };
        CreatePartitionsResponse { results, ..Default::default() }
    })
}

fn new_partitions(topic: CreatePartitionsTopic) -> NewPartitions {
    let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    let assignments = topic.assignments.map(|all| all.into_iter().map(|a| brokers(a.broker_ids)).collect());
    NewPartitions { topic: topic.name, count: topic.count, assignments }
}

fn result(name: String, failure: Option<Failure>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name,
        error_code: failure.as_ref().map_or(0, |failure| failure.code.code()),
        error_message: failure.and_then(|failure| failure.message),
        ..Default::default()
    }
}
