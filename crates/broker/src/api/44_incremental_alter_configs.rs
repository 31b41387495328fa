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
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

pub(super) fn handle(
    parts: &Arc<Parts>,
    context: RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> Reply {
    let parts = Arc::clone(parts);
    context.later(async move {
        let named: Vec<(i8, String)> =
            request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
        let changes: Vec<ConfigChange> = request.resources.into_iter().map(change).collect();
        let validate_only = request.validate_only;
        let changed = parts.controller.change(move |image, node| {
            let Decision { records, results } =
                incremental_alter_configs(image, node, &changes, validate_only);
            (records, results)
        });
        let responses = match changed.await {
            Ok(results) => results
                .into_iter()
                .map(|(resource, outcome)| {
                    response(resource.kind.code(), resource.name, outcome.err().map(Failure::from))
                })
                .collect(),
            Err(failure) => {
                named.into_iter().map(|(kind, name)| response(kind, name, Some(failure.clone()))).collect()
            }
        };
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
