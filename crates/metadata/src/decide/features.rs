//! Finalizing features at other levels. `FeatureControlManager.updateFeatures`.

use millstream_record::kraft::MetadataRecord;
use millstream_types::{BrokerId, ErrorCode};

use super::Failure;
use crate::{Image, features};

/// Whether a level may go down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeType {
    Upgrade,
    SafeDowngrade,
    UnsafeDowngrade,
    Unknown,
}

impl UpgradeType {
    pub fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

/// All of the updates or, when one is refused, none. A level of 0 takes a feature back.
pub fn update_features(
    image: &Image,
    node: BrokerId,
    updates: &[(String, i16, UpgradeType)],
    validate_only: bool,
) -> Result<Vec<MetadataRecord>, Failure> {
    let mut records = Vec::new();
    for (name, level, upgrade) in updates {
        check(image, node, name, *level, *upgrade).map_err(|reason| {
            let text = format!("Invalid update version {level} for feature {name}. {reason}");
            let prefix = "The update failed for all features since the following feature had an error: ";
            Failure::new(ErrorCode::InvalidUpdateVersion, format!("{prefix}{text}"))
        })?;
        if image.feature(name) != *level {
            records.push(features::record(name, *level));
        }
    }
    records.retain(|_| !validate_only);
    Ok(records)
}

fn check(image: &Image, node: BrokerId, name: &str, level: i16, upgrade: UpgradeType) -> Result<(), String> {
    if upgrade == UpgradeType::Unknown {
        return Err("The controller does not support the given upgrade type.".into());
    }
    if level < 0 {
        return Err("A feature version cannot be less than 0.".into());
    }
    let current = image.feature(name);
    // The level of kraft.version is not among the features: a quorum of static voters stays at 0.
    let supported = features::find(name).filter(|supported| supported.name != features::KRAFT_VERSION);
    match supported {
        // What Kafka finalized in this directory may be taken back, or stay.
        _ if level == current => return Ok(()),
        None if current == 0 => {
            return Err(format!("Local controller {node} does not support this feature."));
        }
        Some(range) if !(range.min..=range.max).contains(&level) => {
            let (min, max) = (range.min, range.max);
            return Err(format!("Local controller {node} only supports versions {min}-{max}"));
        }
        _ => {}
    }
    if level < current && upgrade == UpgradeType::Upgrade {
        return Err("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.".into());
    }
    Ok(())
}
