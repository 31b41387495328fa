//! ListConfigResources (74), versions 0-1: version 0 knows only client metrics subscriptions.

use std::{collections::BTreeSet, sync::Arc};

use millstream_metadata::{Image, ResourceType};
use millstream_protocol::messages::{
    ListConfigResourcesRequest, ListConfigResourcesResponse, list_config_resources_response::ConfigResource,
};
use millstream_types::ErrorCode;

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

/// From this version on the request names the types it wants; none means all.
const TYPES_FROM: i16 = 1;
const ALL: [ResourceType; 5] = [
    ResourceType::Topic,
    ResourceType::Broker,
    ResourceType::BrokerLogger,
    ResourceType::ClientMetrics,
    ResourceType::Group,
];

pub(super) fn handle(
    parts: &Arc<Parts>,
    context: RequestContext,
    request: ListConfigResourcesRequest,
) -> Reply {
    let kinds: Vec<ResourceType> = match context.version {
        TYPES_FROM.. if request.resource_types.is_empty() => ALL.to_vec(),
        TYPES_FROM.. => request.resource_types.iter().map(|&code| ResourceType::from_code(code)).collect(),
        _ => vec![ResourceType::ClientMetrics],
    };
    if kinds.iter().any(|kind| matches!(kind, ResourceType::Other(_))) {
        let error_code = ErrorCode::UnsupportedVersion.code();
        return context.now(&ListConfigResourcesResponse { error_code, ..Default::default() });
    }
    let published = parts.controller.published();
    let node_id = parts.controller.node_id().0.to_string();
    let mut config_resources = Vec::new();
    for kind in BTreeSet::from_iter(kinds) {
        config_resources.extend(names(&published.image, kind, &node_id).into_iter().map(|resource_name| {
            ConfigResource { resource_name, resource_type: kind.code(), ..Default::default() }
        }));
    }
    context.now(&ListConfigResourcesResponse { config_resources, ..Default::default() })
}

fn names(image: &Image, kind: ResourceType, node_id: &str) -> Vec<String> {
    match kind {
        ResourceType::Topic => image.topics().iter().map(|topic| topic.name.to_string()).collect(),
        ResourceType::Broker | ResourceType::BrokerLogger => vec![node_id.to_owned()],
        ResourceType::ClientMetrics | ResourceType::Group | ResourceType::Other(_) => {
            let named = image.configs().resources().filter(|(resource, _)| resource.kind == kind);
            named.map(|(resource, _)| resource.name.clone()).collect()
        }
    }
}
