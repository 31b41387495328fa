//! AlterConfigs (33), versions 0-2: replaces all settings of a resource; what is not named is reset.

use std::sync::Arc;

use millstream_metadata::{ConfigReplacement, ConfigResource, Decision, ResourceType, alter_configs};
use millstream_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
    alter_configs_response::AlterConfigsResourceResponse,
};

use super::context::RequestContext;
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: AlterConfigsRequest) -> Reply {
    let parts = Arc::clone(parts);
    context.later(async move {
        let named: Vec<(i8, String)> =
            request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone())).collect();
        let replacements: Vec<ConfigReplacement> = request.resources.into_iter().map(replacement).collect();
        let validate_only = request.validate_only;
        let changed = parts.controller.change(move |image, node| {
            let Decision { records, results } = alter_configs(image, node, &replacements, validate_only);
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
        AlterConfigsResponse { responses, ..Default::default() }
    })
}

fn replacement(resource: AlterConfigsResource) -> ConfigReplacement {
    let settings = resource.configs.into_iter().map(|config| (config.name, config.value)).collect();
    let kind = ResourceType::from_code(resource.resource_type);
    ConfigReplacement { resource: ConfigResource::new(kind, resource.resource_name), settings }
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
