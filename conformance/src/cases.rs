//! The cases that every client goes through.

use serde::Deserialize;

/// A case's name, as the programs print it, and what it shows.
pub struct Case {
    pub name: &'static str,
    pub shows: &'static str,
}

const fn case(name: &'static str, shows: &'static str) -> Case {
    Case { name, shows }
}

pub const CASES: [Case; 32] = [
    case("admin_create_and_describe", "creates a topic with a configuration, reads both back"),
    case("admin_alter_config", "changes a topic's configuration"),
    case("admin_add_partitions", "adds partitions"),
    case("admin_delete_topic", "deletes a topic"),
    case("produce_none_acks_all", "writes uncompressed, acks=all"),
    case("produce_none_acks_1", "writes uncompressed, acks=1"),
    case("produce_none_acks_0", "writes uncompressed, acks=0"),
    case("produce_gzip_acks_all", "writes gzip, acks=all"),
    case("produce_gzip_acks_1", "writes gzip, acks=1"),
    case("produce_gzip_acks_0", "writes gzip, acks=0"),
    case("produce_snappy_acks_all", "writes snappy, acks=all"),
    case("produce_snappy_acks_1", "writes snappy, acks=1"),
    case("produce_snappy_acks_0", "writes snappy, acks=0"),
    case("produce_lz4_acks_all", "writes lz4, acks=all"),
    case("produce_lz4_acks_1", "writes lz4, acks=1"),
    case("produce_lz4_acks_0", "writes lz4, acks=0"),
    case("produce_zstd_acks_all", "writes zstd, acks=all"),
    case("produce_zstd_acks_1", "writes zstd, acks=1"),
    case("produce_zstd_acks_0", "writes zstd, acks=0"),
    case("keys_to_java_partitions", "sends keys to the partitions that Java chooses"),
    case("headers", "headers, binary and empty ones"),
    case("duplicate_header_keys", "the same header key several times"),
    case("tombstones", "null values, distinct from empty ones"),
    case("empty_and_null_keys", "empty keys, distinct from null ones"),
    case("consume_from_earliest", "reads from the beginning"),
    case("consume_from_latest", "reads only what is written from now on"),
    case("consume_from_timestamp", "finds offsets by timestamp, reads from there"),
    case("group_of_three_grows_and_shrinks", "a group of 1, 3, 2, 1 members shares six partitions"),
    case("commit_and_resume", "goes on after a commit"),
    case("error_unknown_topic", "is told of an unknown topic"),
    case("error_invalid_topic_name", "is told of an invalid topic name"),
    case("error_record_too_large", "is told of a record that is too large"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Status {
    #[serde(rename = "ok")]
    Ok,
    #[serde(rename = "fail")]
    Fail,
    #[serde(rename = "n/a")]
    NotApplicable,
}

/// One line of a program's output.
#[derive(Clone, Debug, Deserialize)]
pub struct Outcome {
    #[serde(rename = "case")]
    pub name: String,
    pub status: Status,
    /// Why it failed or does not apply; for a success a remark, or nothing.
    pub detail: String,
}
