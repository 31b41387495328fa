//! The names of files and directories in a log directory (`UnifiedLog`, `LogFileUtils`, `LocalLog`).

use std::path::{Path, PathBuf};

use millstream_types::{Offset, PartitionId, TopicName, TopicPartition, Uuid};

pub(crate) const METADATA_TOPIC: &str = "__cluster_metadata";
pub(crate) const LOCK: &str = ".lock";
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";

/// The files that a segment, or a snapshot, may have; each is named after an offset.
pub(crate) const LOG: &str = "log";
pub(crate) const INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const TXN_INDEX: &str = "txnindex";
pub(crate) const SNAPSHOT: &str = "snapshot";
/// Replaced by compaction, being written by it, to be swapped in by it.
pub(crate) const DELETED: &str = "deleted";
pub(crate) const CLEANED: &str = "cleaned";
pub(crate) const SWAP: &str = "swap";

/// Longest name that a file system takes.
const NAME_BYTES_MAX: usize = 255;

pub(crate) fn file_path(dir: &Path, base_offset: Offset, kind: &str) -> PathBuf {
    dir.join(format!("{:020}.{kind}", base_offset.0))
}

/// `00000000000000000042.log` or `00000000000000000042.index.deleted`: offset, kind, and the suffix after it.
pub(crate) fn parse_file(name: &str) -> Option<(Offset, &str, Option<&str>)> {
    let (number, rest) = name.split_once('.')?;
    if number.len() != 20 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let offset = Offset::from_wire(number.parse().ok()?)?;
    let (kind, suffix) = match rest.split_once('.') {
        None => (rest, None),
        Some((kind, suffix)) => (kind, Some(suffix)),
    };
    matches!(kind, LOG | INDEX | TIME_INDEX | TXN_INDEX | SNAPSHOT).then_some((offset, kind, suffix))
}

/// What a directory in a log directory is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DirectoryKind {
    Partition(TopicPartition),
    /// To be removed.
    Delete,
    /// Kept because metadata does not know it.
    Stray,
    /// A replica being moved between directories of a real Kafka.
    Future,
    /// Kafka's own, of tiered storage.
    RemoteLogIndexCache,
    Foreign,
}

pub(crate) fn parse_directory(name: &str) -> DirectoryKind {
    if name == "remote-log-index-cache" {
        return DirectoryKind::RemoteLogIndexCache;
    }
    // A topic may itself be called `x-delete`; only a name with a dot and an id before the suffix counts.
    let suffixed = |suffix: &str| {
        let Some(stem) = name.strip_suffix(suffix) else { return false };
        stem.rsplit_once('.')
            .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    for (suffix, kind) in [
        ("-delete", DirectoryKind::Delete),
        ("-stray", DirectoryKind::Stray),
        ("-future", DirectoryKind::Future),
    ] {
        if suffixed(suffix) {
            return kind;
        }
    }
    match name.rsplit_once('-') {
        Some((topic, number)) => {
            match (TopicName::parse(topic), number.parse().ok().and_then(PartitionId::from_wire)) {
                (Ok(topic), Some(partition)) => {
                    DirectoryKind::Partition(TopicPartition::new(topic, partition))
                }
                _ => DirectoryKind::Foreign,
            }
        }
        None => DirectoryKind::Foreign,
    }
}

/// `topic-0.4f1c…-delete`; a topic's long name is cut to what a file system takes.
pub(crate) fn renamed_directory(partition: &TopicPartition, suffix: &str) -> String {
    let tail = format!(".{:032x}-{suffix}", Uuid::random().0);
    let mut name = partition.to_string();
    name.truncate(NAME_BYTES_MAX - tail.len());
    name.push_str(&tail);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_kind_and_suffix() {
        assert_eq!(parse_file("00000000000000000042.log"), Some((Offset(42), LOG, None)));
        assert_eq!(
            parse_file("00000000000000000042.index.deleted"),
            Some((Offset(42), INDEX, Some(DELETED)))
        );
        for other in [
            "42.log",
            "0000000000000000000x.log",
            "00000000000000000042.checkpoint",
            "quorum-state",
            "99999999999999999999.log",
        ] {
            assert_eq!(parse_file(other), None, "{other}");
        }
    }

    #[test]
    fn directories_are_partitions_or_marked_or_foreign() {
        let partition = |topic: &str, number| {
            DirectoryKind::Partition(TopicPartition::new(
                TopicName::parse(topic).unwrap(),
                PartitionId(number),
            ))
        };
        assert_eq!(parse_directory("a-b-3"), partition("a-b", 3));
        assert_eq!(parse_directory("__cluster_metadata-0"), partition("__cluster_metadata", 0));
        assert_eq!(parse_directory("topic"), DirectoryKind::Foreign);
        assert_eq!(parse_directory("topic-"), DirectoryKind::Foreign);
        assert_eq!(parse_directory("lost+found"), DirectoryKind::Foreign);
        let topic = TopicPartition::new(TopicName::parse(&"x".repeat(249)).unwrap(), PartitionId(12));
        for (suffix, kind) in [("delete", DirectoryKind::Delete), ("stray", DirectoryKind::Stray)] {
            let name = renamed_directory(&topic, suffix);
            assert!(name.len() <= NAME_BYTES_MAX);
            assert_eq!(parse_directory(&name), kind);
        }
    }
}
