//! IncrementalAlterConfigs (44), versions 0-1: single keys are set, deleted, appended to or subtracted
//! from; each resource by itself.

use std::sync::Arc;

use millstream_config::AlterOp;
use millstream_metadata::{
    ConfigChange, ConfigOp, ConfigResource, Decision, ResourceType, incremental_alter_configs,
};
use millstream_protocol::messages::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    incremental_alter_configs_request::AlterConfigsResource,
    incremental_alter_configs_response::AlterConfigsResourceResponse,
};

use super::context::RequestContext;
use crate::{error_map::Failure, loggers, parts::Parts, server::response::Reply};

pub(super) fn handle(
    parts: &Arc<Parts>,
    context: RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Reply {
    let parts = Arc::clone(parts);
    context.later(async move {
        let validate_only = request.validate_only;
        let mut named: Vec<(i8, String)> = Vec::new();
        let mut answers: Vec<Option<Failure>> = Vec::new();
        let mut changes: Vec<ConfigChange> = Vec::new();
        let mut of_the_metadata = Vec::new();
        for (index, resource) in request.resources.into_iter().enumerate() {
            named.push((resource.resource_type, resource.resource_name.clone()));
            let change = change(resource);
            answers.push(match change.resource.kind {
                ResourceType::BrokerLogger => {
                    let node_id = parts.controller.node_id();
                    loggers::alter(node_id, &change.resource.name, &change.ops, validate_only).err()
                }
                _ => {
                    of_the_metadata.push(index);
                    changes.push(change);
                    None
                }
            });
        }
        let changed = parts.controller.change(move |image, node| {
            let Decision { records, results } =
                incremental_alter_configs(image, node, &changes, validate_only);
            (records, results)
        });
        match changed.await {
            Ok(results) => {
                for (index, (_, outcome)) in of_the_metadata.into_iter().zip(results) {
                    answers[index] = outcome.err().map(Failure::from);
                }
            }
            Err(failure) => of_the_metadata.into_iter().for_each(|i| answers[i] = Some(failure.clone())),
        }
        let responses = named.into_iter().zip(answers);
        let responses = responses.map(|((kind, name), failure)| response(kind, name, failure)).collect();
        IncrementalAlterConfigsResponse { responses, ..Default::default() }
    })
}

fn change(resource: AlterConfigsResource) -> ConfigChange {
    let ops = resource.configs.into_iter().map(|config| ConfigOp {
        name: config.name,
        op: AlterOp::from_code(config.config_operation),
        value: config.value,
    });
    let kind = ResourceType::from_code(resource.resource_type);
    ConfigChange { resource: ConfigResource::new(kind, resource.resource_name), ops: ops.collect() }
}

fn response(
    resource_type: i8,
    resource_name: String,
    failure: Option<Failure>,
) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code: failure.as_ref().map_or(0, |failure| failure.code.code()),
        error_message: failure.and_then(|failure| failure.message),
        resource_type,
        resource_name,
        ..Default::default()
    }
}
