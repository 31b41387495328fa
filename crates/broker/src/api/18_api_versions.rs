//! ApiVersions (18), versions 0-4. A version that nobody knows is answered in version 0's form, with
//! error 35 and the whole list, so that the client can try again.

use std::sync::Arc;

use millstream_metadata::features;
use millstream_protocol::{
    ApiKey,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
    offered_versions,
};
use millstream_types::ErrorCode;

use super::{SERVED, context::RequestContext};
use crate::{parts::Parts, server::response::Reply};

/// From this version on the client says who it is.
const SOFTWARE_FROM: i16 = 3;
/// From this version on a feature may have 0 as its lowest level.
const LEVEL_ZERO_FROM: i16 = 4;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: ApiVersionsRequest) -> Reply {
    if context.version >= SOFTWARE_FROM && !is_software(&request) {
        let refusal =
            ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
        return context.now(&refusal);
    }
    let response = response(parts, context.version);
    context.now(&response)
}

/// The answer to a version that is not there.
pub(super) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: keys(),
        ..Default::default()
    }
}

/// Letters, digits, `.` and `-`, beginning and ending with a letter or digit (KIP-511).
fn is_software(request: &ApiVersionsRequest) -> bool {
    let legal = |name: &str| {
        let inner = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
        let ends = [name.chars().next(), name.chars().next_back()];
        inner && ends.iter().all(|c| c.is_some_and(|c| c.is_ascii_alphanumeric()))
    };
    legal(&request.client_software_name) && legal(&request.client_software_version)
}

fn keys() -> Vec<ApiVersion> {
    let key = |&key: &ApiKey| {
        let versions = offered_versions(key);
        let (min_version, max_version) = versions.into_inner();
        ApiVersion { api_key: key as i16, min_version, max_version, ..Default::default() }
    };
    SERVED.iter().map(key).collect()
}

fn response(parts: &Parts, version: i16) -> ApiVersionsResponse {
    let published = parts.controller.published();
    let supported = features::SUPPORTED.iter().map(|feature| SupportedFeatureKey {
        name: feature.name.to_owned(),
        // Before version 4 a client refuses 0; Kafka leaves such features out for it.
        min_version: feature.min,
        max_version: feature.max,
        ..Default::default()
    });
    let finalized =
        features::advertised(&published.image).into_iter().map(|(name, level)| FinalizedFeatureKey {
            name: name.to_owned(),
            max_version_level: level,
            min_version_level: level,
            ..Default::default()
        });
    ApiVersionsResponse {
        api_keys: keys(),
        supported_features: supported.filter(|f| version >= LEVEL_ZERO_FROM || f.min_version > 0).collect(),
        finalized_features_epoch: published.next_offset.0 - 1,
        finalized_features: finalized.collect(),
        ..Default::default()
    }
}
