//! Which features each release of Kafka brings (`MetadataVersion`, `Feature`), as its tools print them.

use super::{
    exit::{Exit, Outcome},
    output,
};

/// Metadata versions by name, from level 7 on.
const METADATA: [&str; 25] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0",
    "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2",
    "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0", "4.4-IV0",
];
const FIRST_LEVEL: i16 = 7;
/// The newest that Kafka 4.3 finalizes.
const NEWEST: &str = "4.3-IV0";

/// Each other feature: its name, its level, and from which metadata level on a release brings it.
const FEATURES: [(&str, i16, i16); 6] = [
    ("kraft.version", 1, 21),
    ("transaction.version", 2, 24),
    ("group.version", 1, 22),
    ("eligible.leader.replicas.version", 1, 26),
    ("share.version", 1, 28),
    ("streams.version", 1, 29),
];

/// `4.0-IV3` for 25.
pub(super) fn metadata_name(level: i16) -> Option<&'static str> {
    METADATA.get(usize::try_from(level.checked_sub(FIRST_LEVEL)?).ok()?).copied()
}

/// The level of `4.0-IV3`, or the last one of `4.0`.
pub(super) fn metadata_level(name: &str) -> Outcome<i16> {
    level_among(name, &METADATA)
}

/// As [`metadata_level`], of those that a new cluster may have.
pub(super) fn stable_level(name: &str) -> Outcome<i16> {
    let count = METADATA.iter().take_while(|known| **known != NEWEST).count() + 1;
    level_among(name, &METADATA[..count])
}

fn level_among(name: &str, all: &[&str]) -> Outcome<i16> {
    let exact = all.iter().position(|known| *known == name);
    let release =
        all.iter().rposition(|known| known.split_once("-IV").is_some_and(|(release, _)| release == name));
    let index = exact.or(release).ok_or_else(|| {
        Exit::failure(format!(
            "Unknown metadata.version '{name}'. Supported metadata.version are: {}",
            all.join(", ")
        ))
    })?;
    Ok(FIRST_LEVEL + i16::try_from(index).unwrap_or_default())
}

/// The features of a release, `metadata.version` among them.
pub(super) fn features_of(level: i16) -> Vec<(&'static str, i16)> {
    let mut all = vec![("metadata.version", level)];
    all.extend(FEATURES.map(|(name, newest, from)| (name, if level >= from { newest } else { 0 })));
    all
}

/// Whether a feature other than `metadata.version` has this level.
pub(super) fn has_level(feature: &str, level: i16) -> bool {
    FEATURES.iter().any(|(name, newest, _)| *name == feature && (0..=*newest).contains(&level))
}

/// The command `version-mapping`.
pub(super) fn print_mapping(release: Option<&str>) -> Outcome {
    let name = release.unwrap_or(NEWEST);
    let level = metadata_level(name)?;
    for (feature, level) in features_of(level) {
        match feature {
            "metadata.version" => output::line(&format!("{feature}={level} ({name})")),
            _ => output::line(&format!("{feature}={level}")),
        };
    }
    Ok(())
}

/// `name=level`
pub(super) fn parse_feature(text: &str) -> Outcome<(&str, i16)> {
    let refused =
        |reason: String| Exit::failure(format!("Can't parse feature=level string {text}: {reason}"));
    let (name, level) = text.split_once('=').ok_or_else(|| refused("equals sign not found.".to_owned()))?;
    let level = level.trim();
    let parsed = level.parse().map_err(|_| refused(format!("unable to parse {level} as a short.")))?;
    Ok((name.trim(), parsed))
}

/// The command `feature-dependencies`.
pub(super) fn print_dependencies<'a>(features: impl Iterator<Item = &'a str>) -> Outcome {
    for text in features {
        let (name, level) = parse_feature(text)?;
        if name == "metadata.version" {
            let known = metadata_name(level);
            let known = known.ok_or_else(|| Exit::failure(format!("Unknown metadata.version {level}")))?;
            output::line(&format!("{name}={level} ({known}) has no dependencies."));
            continue;
        }
        let (_, max, _) = FEATURES
            .iter()
            .find(|(known, ..)| *known == name)
            .ok_or_else(|| Exit::failure(format!("Unknown feature: {name}")))?;
        if !(0..=*max).contains(&level) {
            return Err(Exit::failure(format!("No feature:{name} with feature level {level}")));
        }
        if name == "eligible.leader.replicas.version" && level > 0 {
            output::line(&format!("{name}={level} requires:\n    metadata.version=23 (4.0-IV1)"));
        } else {
            output::line(&format!("{name}={level} has no dependencies."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_their_last_metadata_version() {
        assert_eq!(metadata_level("4.0").ok(), Some(25));
        assert_eq!(metadata_level("3.7-IV0").ok(), Some(15));
        assert_eq!(metadata_name(30), Some("4.3-IV0"));
        assert_eq!((metadata_name(6), metadata_name(99)), (None, None));
        let levels: Vec<i16> = features_of(24).into_iter().map(|(_, level)| level).collect();
        assert_eq!(levels, [24, 1, 2, 1, 0, 0, 0]);
        assert!(metadata_level("2.0").is_err());
    }
}
