//! Features and their levels. `MetadataVersion`, `Feature`, KIP-584, KIP-1022.

use std::collections::BTreeMap;

use millstream_record::{kraft::MetadataRecord, messages::FeatureLevelRecord};

use crate::Image;

pub const METADATA_VERSION: &str = "metadata.version";
pub const KRAFT_VERSION: &str = "kraft.version";
pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";
pub const GROUP_VERSION: &str = "group.version";
pub const TRANSACTION_VERSION: &str = "transaction.version";
pub const SHARE_VERSION: &str = "share.version";
pub const STREAMS_VERSION: &str = "streams.version";

/// 4.0-IV3: what a new directory gets, so that any Kafka 4 opens it.
pub const METADATA_VERSION_DEFAULT: i16 = 25;
/// 4.3-IV0: the newest whose records are understood.
pub const METADATA_VERSION_MAX: i16 = 30;
/// 3.3-IV3: the oldest that is opened, and raised.
pub const METADATA_VERSION_MIN: i16 = 7;

/// What this node can do, and so what it registers with and what may be finalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supported {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
}

const fn supported(name: &'static str, min: i16, max: i16) -> Supported {
    Supported { name, min, max }
}

/// A level that is not here can still be finalized in a directory that Kafka wrote; it is then kept, and
/// not told to clients.
pub const SUPPORTED: [Supported; 7] = [
    supported(METADATA_VERSION, METADATA_VERSION_DEFAULT, METADATA_VERSION_MAX),
    supported(KRAFT_VERSION, 0, 1),
    supported(GROUP_VERSION, 0, 0),
    supported(TRANSACTION_VERSION, 0, 0),
    supported(ELIGIBLE_LEADER_REPLICAS_VERSION, 0, 0),
    supported(SHARE_VERSION, 0, 0),
    supported(STREAMS_VERSION, 0, 0),
];

pub fn find(name: &str) -> Option<Supported> {
    SUPPORTED.into_iter().find(|supported| supported.name == name)
}

/// What clients are told is finalized: the levels in the metadata, as far as this node can follow them.
pub fn advertised(image: &Image) -> Vec<(&'static str, i16)> {
    let level = |supported: Supported| (supported.name, image.feature(supported.name).min(supported.max));
    SUPPORTED.into_iter().map(level).filter(|(_, level)| *level > 0).collect()
}

pub(crate) fn record(name: &str, level: i16) -> MetadataRecord {
    FeatureLevelRecord { name: name.to_owned(), feature_level: level, ..FeatureLevelRecord::default() }.into()
}

/// The `metadata.version` that these records set; our default where they do not.
pub(crate) fn level_in(records: &[MetadataRecord]) -> i16 {
    let level = records.iter().find_map(|record| match record {
        MetadataRecord::FeatureLevel(feature) if feature.name == METADATA_VERSION => {
            Some(feature.feature_level)
        }
        _ => None,
    });
    level.unwrap_or(METADATA_VERSION_DEFAULT)
}

/// `metadata.version` first: what follows is read by it.
pub(crate) fn to_records(features: &BTreeMap<String, i16>) -> Vec<MetadataRecord> {
    let mut named: Vec<_> = features.iter().collect();
    named.sort_by_key(|(name, _)| *name != METADATA_VERSION);
    named.into_iter().map(|(name, level)| record(name, *level)).collect()
}
