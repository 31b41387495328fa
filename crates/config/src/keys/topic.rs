//! The keys of a topic.

use crate::definition::{
    Definition, Effect::None as Idle, Effect::Refused, Kind::*, Scope, Synonym, Validator, Why, hours,
    minutes, same,
};

const fn key(
    name: &'static str,
    kind: crate::Kind,
    default: &'static str,
    from: &'static [Synonym],
) -> Definition {
    Definition::new(Scope::Topic, name, kind, default).from(from).cluster_wide()
}

pub(super) const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
pub(super) const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];
pub(super) const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];

#[rustfmt::skip]
pub(super) const KEYS: &[Definition] = &[
    key("cleanup.policy", List, "delete", &[same("log.cleanup.policy")])
        .valid(Validator::ListOf(CLEANUP_POLICIES))
        .doc("What happens to old records: `delete` removes whole segments past the retention limits, `compact` keeps the newest record of each key. Both may stand together; with neither nothing is ever removed. Compaction is accepted and stored, but nothing is compacted yet."),
    key("compression.gzip.level", Int, "-1", &[same("compression.gzip.level")])
        .valid(Validator::BetweenOr(1, 9, -1))
        .doc("The effort of gzip when `compression.type` is gzip; -1 is the codec's own choice."),
    key("compression.lz4.level", Int, "9", &[same("compression.lz4.level")])
        .between(1, 17)
        .effect(Idle(Why::OneLevel))
        .doc("The effort of lz4 when `compression.type` is lz4. Stored for hand-over; the encoder here has one level."),
    key("compression.type", String, "producer", &[same("compression.type")])
        .one_of(COMPRESSION_TYPES)
        .doc("The codec of stored batches. `producer` stores what the producer sent; any other value makes the broker recompress batches that use another codec."),
    key("compression.zstd.level", Int, "3", &[same("compression.zstd.level")])
        .between(-131_072, 22)
        .doc("The effort of zstd when `compression.type` is zstd."),
    key("delete.retention.ms", Long, "86400000", &[same("log.cleaner.delete.retention.ms")])
        .at_least(0)
        .effect(Idle(Why::Compaction))
        .doc("How long a compacted topic keeps tombstones and transaction markers after they could be removed."),
    key("file.delete.delay.ms", Long, "60000", &[same("log.segment.delete.delay.ms")])
        .at_least(0)
        .doc("How long a segment that was removed from the log keeps its files, renamed to `.deleted`, before they are unlinked."),
    key("flush.messages", Long, "9223372036854775807", &[same("log.flush.interval.messages")])
        .at_least(1)
        .doc("Under `durability=os`: flush the log after so many records. Under `durability=disk` every acknowledged record is flushed anyway."),
    key("flush.ms", Long, "9223372036854775807", &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")])
        .at_least(0)
        .doc("Under `durability=os`: flush records that have waited so long. Under `durability=disk` every acknowledged record is flushed anyway."),
    key("follower.replication.throttled.replicas", List, "", &[])
        .valid(Validator::ThrottledReplicas)
        .effect(Idle(Why::OneNode))
        .doc("Replicas whose replication is throttled on the follower's side."),
    key("index.interval.bytes", Int, "4096", &[same("log.index.interval.bytes")])
        .at_least(0)
        .doc("How many bytes of the log lie between two entries of its offset index."),
    key("internal.segment.bytes", Int, "", &[])
        .null()
        .internal()
        .doc("Overrides `segment.bytes` below its lower limit; for tests."),
    key("leader.replication.throttled.replicas", List, "", &[])
        .valid(Validator::ThrottledReplicas)
        .effect(Idle(Why::OneNode))
        .doc("Replicas whose replication is throttled on the leader's side."),
    key("local.retention.bytes", Long, "-2", &[same("log.local.retention.bytes")])
        .at_least(-2)
        .effect(Idle(Why::TieredStorage))
        .doc("How many bytes of a partition stay local once they are in remote storage."),
    key("local.retention.ms", Long, "-2", &[same("log.local.retention.ms")])
        .at_least(-2)
        .effect(Idle(Why::TieredStorage))
        .doc("How long segments stay local once they are in remote storage."),
    key("max.compaction.lag.ms", Long, "9223372036854775807", &[same("log.cleaner.max.compaction.lag.ms")])
        .at_least(1)
        .effect(Idle(Why::Compaction))
        .doc("The longest that a record may stay out of reach of compaction."),
    key("max.message.bytes", Int, "1048588", &[same("message.max.bytes")])
        .at_least(0)
        .doc("The largest record batch, after compression, that a producer may write."),
    key("message.timestamp.after.max.ms", Long, "3600000", &[same("log.message.timestamp.after.max.ms")])
        .at_least(0)
        .doc("How far ahead of the broker's clock a record's timestamp may be. Only for `message.timestamp.type=CreateTime`."),
    key("message.timestamp.before.max.ms", Long, "9223372036854775807", &[same("log.message.timestamp.before.max.ms")])
        .at_least(0)
        .doc("How far behind the broker's clock a record's timestamp may be. Only for `message.timestamp.type=CreateTime`."),
    key("message.timestamp.type", String, "CreateTime", &[same("log.message.timestamp.type")])
        .one_of(TIMESTAMP_TYPES)
        .doc("Whose clock stamps a record: the producer's (`CreateTime`) or the broker's at append (`LogAppendTime`)."),
    key("min.cleanable.dirty.ratio", Double, "0.5", &[same("log.cleaner.min.cleanable.ratio")])
        .between(0, 1)
        .effect(Idle(Why::Compaction))
        .doc("Which part of a log must be uncompacted before compaction looks at it."),
    key("min.compaction.lag.ms", Long, "0", &[same("log.cleaner.min.compaction.lag.ms")])
        .at_least(0)
        .effect(Idle(Why::Compaction))
        .doc("The shortest time that a record stays uncompacted."),
    key("min.insync.replicas", Int, "1", &[same("min.insync.replicas")])
        .at_least(1)
        .doc("How many replicas must be in sync for a produce request with acks=all. As in Kafka a partition never asks for more than it has replicas, which is one."),
    key("preallocate", Boolean, "false", &[same("log.preallocate")])
        .doc("Whether a new segment's file gets its full size at once."),
    key("remote.log.copy.disable", Boolean, "false", &[])
        .effect(Idle(Why::TieredStorage))
        .doc("Whether segments are no longer copied to remote storage."),
    key("remote.log.delete.on.disable", Boolean, "false", &[])
        .effect(Idle(Why::TieredStorage))
        .doc("Whether switching remote storage off deletes what is there."),
    key("remote.storage.enable", Boolean, "false", &[])
        .effect(Refused(Why::TieredStorage))
        .doc("Whether the topic's segments go to remote storage. `true` is refused."),
    key("retention.bytes", Long, "-1", &[same("log.retention.bytes")])
        .doc("The size a partition may reach before its oldest segments are deleted; negative is without limit. Needs `delete` in `cleanup.policy`."),
    key("retention.ms", Long, "604800000", &[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")])
        .at_least(-1)
        .doc("How old a segment's newest record may be before the segment is deleted; -1 is without limit. Needs `delete` in `cleanup.policy`."),
    key("segment.bytes", Int, "1073741824", &[same("log.segment.bytes")])
        .at_least(1_048_576)
        .doc("The size at which a new segment is begun."),
    key("segment.index.bytes", Int, "10485760", &[same("log.index.size.max.bytes")])
        .at_least(4)
        .doc("The largest size of a segment's index; when it is full a new segment is begun."),
    key("segment.jitter.ms", Long, "0", &[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")])
        .at_least(0)
        .doc("A random time, at most this long, taken off `segment.ms`, so that segments do not all roll at once."),
    key("segment.ms", Long, "604800000", &[same("log.roll.ms"), hours("log.roll.hours")])
        .at_least(1)
        .doc("How old a segment may be before a new one is begun, so that retention can reach its records."),
    key("unclean.leader.election.enable", Boolean, "false", &[same("unclean.leader.election.enable")])
        .effect(Idle(Why::OneNode))
        .doc("Whether a replica that is out of sync may lead, at the price of losing records."),
];
