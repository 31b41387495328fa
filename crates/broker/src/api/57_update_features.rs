//! UpdateFeatures (57), versions 0-2: all of the updates or none.

use std::sync::Arc;

use millstream_metadata::{UpgradeType, update_features};
use millstream_protocol::messages::{
    UpdateFeaturesRequest, UpdateFeaturesResponse, update_features_response::UpdatableFeatureResult,
};

use millstream_types::ErrorCode;

use super::context::RequestContext;
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

/// In version 0 a flag says whether a level may go down.
const UPGRADE_TYPE_FROM: i16 = 1;
/// Below this version a success is said of each feature; an error always is of the whole request.
const ONE_RESULT_FROM: i16 = 2;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: UpdateFeaturesRequest) -> Reply {
    let version = context.version;
    let updates: Vec<(String, i16, UpgradeType)> = request
        .feature_updates
        .into_iter()
        .map(|update| {
            let upgrade = match (version, update.allow_downgrade) {
                (UPGRADE_TYPE_FROM.., _) => UpgradeType::from_code(update.upgrade_type),
                (_, true) => UpgradeType::SafeDowngrade,
                (_, false) => UpgradeType::Upgrade,
            };
            (update.feature, update.max_version_level, upgrade)
        })
        .collect();
    let parts = Arc::clone(parts);
    context.later(async move {
        let names: Vec<String> = updates.iter().map(|(name, ..)| name.clone()).collect();
        let changed = parts.controller.change(move |image, node| {
            match update_features(image, node.id, &updates, request.validate_only) {
                Ok(records) => (records, Ok(())),
                Err(failure) => (Vec::new(), Err(Failure::from(failure))),
            }
        });
        let failure = changed.await.and_then(|outcome| outcome).err();
        let code = failure.as_ref().map_or(0, |failure| failure.code.code());
        let succeeded = |feature| UpdatableFeatureResult {
            feature,
            error_message: Some(ErrorCode::None.name().to_owned()),
            ..Default::default()
        };
        let results = match (&failure, version) {
            (None, ..ONE_RESULT_FROM) => names.into_iter().map(succeeded).collect(),
            _ => Vec::new(),
        };
        UpdateFeaturesResponse {
            error_code: code,
            error_message: failure.and_then(|failure| failure.message),
            results,
            ..Default::default()
        }
    })
}
