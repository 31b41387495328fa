//! The keys of a broker that have an effect here: identity, listeners, topics, log.

use super::topic::{CLEANUP_POLICIES, COMPRESSION_TYPES, TIMESTAMP_TYPES};
use crate::definition::{Definition, Kind::*, Scope, Synonym, Validator, hours, minutes, same};

const fn key(name: &'static str, kind: crate::Kind, default: &'static str) -> Definition {
    Definition::new(Scope::Broker, name, kind, default)
}

const RETENTION: &[Synonym] =
    &[same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")];
const ROLL: &[Synonym] = &[same("log.roll.ms"), hours("log.roll.hours")];
const JITTER: &[Synonym] = &[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")];
const FLUSH: &[Synonym] = &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")];

#[rustfmt::skip]
pub(super) const IDENTITY: &[Definition] = &[
    key("node.id", Int, "1").high().at_least(0)
        .doc("This node's number, as broker and as controller. An existing data directory keeps the one in its `meta.properties`."),
    key("broker.id", Int, "-1").high()
        .doc("The older name of `node.id`; -1 takes that one's value. Both set must agree."),
    key("process.roles", List, "broker,controller").high().valid(Validator::ListOf(&["broker", "controller"]))
        .doc("A node is always both broker and controller of its own metadata log; a file that says only `controller` is refused."),
    key("broker.rack", String, "").null()
        .doc("A name for where this broker stands, shown to clients."),
    key("log.dir", List, "/tmp/kafka-logs").high()
        .doc("A single log directory, where `log.dirs` is not set. Millstream's own default is the directory `kafka` inside its data directory."),
    key("log.dirs", List, "").null().high()
        .doc("The directories of the partitions' logs. The first also holds the metadata log."),
];

#[rustfmt::skip]
pub(super) const NETWORK: &[Definition] = &[
    key("listeners", List, "PLAINTEXT://localhost:9092").kafka_default("PLAINTEXT://:9092").high()
        .doc("Where clients connect: `NAME://HOST:PORT`, several divided by commas. `localhost` is 127.0.0.1 and ::1, no host at all is every interface, port 0 a free one. Listeners of controllers (`controller.listener.names`) are left closed: the only voter is this process. In Kafka the key may change at run time; here a restart is needed."),
    key("advertised.listeners", List, "").null().high()
        .doc("What clients are told to connect to. Where it is not set, each client is told the local address of its own connection."),
    key("listener.security.protocol.map", String, "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT").low()
        .doc("Which security protocol a listener's name stands for. A listener that maps to anything but PLAINTEXT is refused at the start. In Kafka the key may change at run time; here a restart is needed."),
    key("controller.listener.names", List, "").null().high()
        .doc("The listeners of the controller; they are not opened, since the only voter is this process."),
    key("connections.max.idle.ms", Long, "600000")
        .doc("A connection on which nothing is read or written for so long, and no answer is owed, is closed."),
    key("max.connection.creation.rate", Int, "2147483647").at_least(0).cluster_wide()
        .doc("How many connections a second the broker accepts; further ones wait in the backlog."),
    key("max.connections", Int, "2147483647").at_least(0).cluster_wide()
        .doc("How many connections may be open at a time; at the limit no further one is accepted until one closes. Where it is lowered below what is open, the connections used least recently are closed."),
    key("max.connections.per.ip", Int, "2147483647").at_least(0).cluster_wide()
        .doc("How many connections one address may have open; further ones are closed at once."),
    key("max.connections.per.ip.overrides", String, "").cluster_wide()
        .doc("Exceptions to `max.connections.per.ip`: `ADDRESS:COUNT`, several divided by commas."),
    key("queued.max.request.bytes", Long, "12582912").kafka_default("-1")
        .doc("How much memory requests that have not come whole and answers that are not taken may have, over all connections; -1 is no limit. A connection whose request finds no room is not read until there is some; one request at a time is let through beyond the limit, however large. While others wait, a request that takes more than five seconds to come is given up with its connection, and so are the answers that have waited longest where these are too many. Records that are sent from their file do not count."),
    key("queued.max.requests", Int, "500").high().at_least(1)
        .doc("How many requests may run behind an earlier one of their connection, over all connections. Beyond it a connection's next request is read when the one before is answered."),
    key("socket.listen.backlog.size", Int, "1024").kafka_default("50").at_least(1)
        .doc("How many connections may wait to be accepted."),
    key("socket.receive.buffer.bytes", Int, "-1").kafka_default("102400").high()
        .doc("SO_RCVBUF of connections; -1 leaves it to the operating system."),
    key("socket.request.max.bytes", Int, "104857600").high().at_least(1)
        .doc("The largest request; a connection that announces a larger one is closed before anything is allocated."),
    key("socket.send.buffer.bytes", Int, "-1").kafka_default("102400").high()
        .doc("SO_SNDBUF of connections; -1 leaves it to the operating system."),
];

#[rustfmt::skip]
pub(super) const TOPICS: &[Definition] = &[
    key("auto.create.topics.enable", Boolean, "true").high()
        .doc("Whether asking for the metadata of an unknown topic creates it, where the client allows it."),
    key("default.replication.factor", Int, "1")
        .doc("The replication factor of topics that are created without one. There is one broker, so any other number than 1 makes such creations fail."),
    key("delete.topic.enable", Boolean, "true").high()
        .doc("Whether topics may be deleted."),
    key("num.partitions", Int, "1").at_least(1)
        .doc("How many partitions a topic gets when it is created without a number."),
    key("compression.gzip.level", Int, "-1").valid(Validator::BetweenOr(1, 9, -1)).cluster_wide()
        .doc("The default of the topics' `compression.gzip.level`."),
    key("compression.type", String, "producer").high().one_of(COMPRESSION_TYPES).cluster_wide()
        .doc("The default of the topics' `compression.type`."),
    key("compression.zstd.level", Int, "3").between(-131_072, 22).cluster_wide()
        .doc("The default of the topics' `compression.zstd.level`."),
    key("message.max.bytes", Int, "1048588").high().at_least(0).cluster_wide()
        .doc("The default of the topics' `max.message.bytes`: the largest record batch after compression."),
    key("min.insync.replicas", Int, "1").high().at_least(1).cluster_wide()
        .doc("The default of the topics' `min.insync.replicas`."),
    key("fetch.max.bytes", Int, "57671680").at_least(1024)
        .doc("The most bytes of records in one fetch response, whatever the client asks for; a first batch that is larger is sent anyway."),
    key("max.incremental.fetch.session.cache.slots", Int, "1000").at_least(0)
        .doc("How many incremental fetch sessions are remembered."),
    key("max.request.partition.size.limit", Int, "2000").at_least(1)
        .doc("The most partitions in one DescribeTopicPartitions response."),
    key("producer.id.expiration.check.interval.ms", Int, "600000").low().at_least(1).internal()
        .doc("How often partitions are looked at for producers to forget."),
    key("producer.id.expiration.ms", Int, "86400000").low().at_least(1).cluster_wide()
        .doc("How long a partition remembers an idempotent producer that has stopped writing."),
];

#[rustfmt::skip]
pub(super) const LOG: &[Definition] = &[
    key("log.cleaner.delete.retention.ms", Long, "86400000").at_least(0).cluster_wide()
        .doc("The default of the topics' `delete.retention.ms`."),
    key("log.cleaner.max.compaction.lag.ms", Long, "9223372036854775807").at_least(1).cluster_wide()
        .doc("The default of the topics' `max.compaction.lag.ms`."),
    key("log.cleaner.min.cleanable.ratio", Double, "0.5").between(0, 1).cluster_wide()
        .doc("The default of the topics' `min.cleanable.dirty.ratio`."),
    key("log.cleaner.min.compaction.lag.ms", Long, "0").at_least(0).cluster_wide()
        .doc("The default of the topics' `min.compaction.lag.ms`."),
    key("log.cleanup.policy", List, "delete").valid(Validator::ListOf(CLEANUP_POLICIES)).cluster_wide()
        .doc("The default of the topics' `cleanup.policy`."),
    key("log.flush.interval.messages", Long, "9223372036854775807").high().at_least(1).cluster_wide()
        .doc("The default of the topics' `flush.messages`."),
    key("log.flush.interval.ms", Long, "").null().high().cluster_wide().from(FLUSH)
        .doc("The default of the topics' `flush.ms`; where it is not set, `log.flush.scheduler.interval.ms`."),
    key("log.flush.scheduler.interval.ms", Long, "9223372036854775807").high()
        .doc("The default of `log.flush.interval.ms`. Under `durability=os` logs are looked at every second for what has waited too long; otherwise every acknowledged record is flushed anyway."),
    key("log.flush.offset.checkpoint.interval.ms", Int, "60000").high().at_least(0)
        .doc("How often the recovery points are written down at the latest; a start after a crash reads the log from there."),
    key("log.flush.start.offset.checkpoint.interval.ms", Int, "60000").high().at_least(0)
        .doc("How often the log start offsets are written down."),
    key("log.index.interval.bytes", Int, "4096").at_least(0).cluster_wide()
        .doc("The default of the topics' `index.interval.bytes`."),
    key("log.index.size.max.bytes", Int, "10485760").at_least(4).cluster_wide()
        .doc("The default of the topics' `segment.index.bytes`."),
    key("log.local.retention.bytes", Long, "-2").at_least(-2).cluster_wide()
        .doc("The default of the topics' `local.retention.bytes`."),
    key("log.local.retention.ms", Long, "-2").at_least(-2).cluster_wide()
        .doc("The default of the topics' `local.retention.ms`."),
    key("log.message.timestamp.after.max.ms", Long, "3600000").at_least(0).cluster_wide()
        .doc("The default of the topics' `message.timestamp.after.max.ms`."),
    key("log.message.timestamp.before.max.ms", Long, "9223372036854775807").at_least(0).cluster_wide()
        .doc("The default of the topics' `message.timestamp.before.max.ms`."),
    key("log.message.timestamp.type", String, "CreateTime").one_of(TIMESTAMP_TYPES).cluster_wide()
        .doc("The default of the topics' `message.timestamp.type`."),
    key("log.preallocate", Boolean, "false").cluster_wide()
        .doc("The default of the topics' `preallocate`."),
    key("log.retention.bytes", Long, "-1").high().cluster_wide()
        .doc("The default of the topics' `retention.bytes`."),
    key("log.retention.check.interval.ms", Long, "300000").at_least(1)
        .doc("How often logs are looked at for segments to delete."),
    key("log.retention.hours", Int, "168").high().from(RETENTION)
        .doc("The default of the topics' `retention.ms`, in hours; `log.retention.minutes` and `log.retention.ms` go before it."),
    key("log.retention.minutes", Int, "").null().high().from(RETENTION)
        .doc("The default of the topics' `retention.ms`, in minutes; `log.retention.ms` goes before it."),
    key("log.retention.ms", Long, "").null().high().cluster_wide().from(RETENTION)
        .doc("The default of the topics' `retention.ms`; where it is not set, `log.retention.minutes`, then `log.retention.hours`."),
    key("log.roll.hours", Int, "168").high().at_least(1).from(ROLL)
        .doc("The default of the topics' `segment.ms`, in hours; `log.roll.ms` goes before it."),
    key("log.roll.jitter.hours", Int, "0").high().at_least(0).from(JITTER)
        .doc("The default of the topics' `segment.jitter.ms`, in hours; `log.roll.jitter.ms` goes before it."),
    key("log.roll.jitter.ms", Long, "").null().high().cluster_wide().from(JITTER)
        .doc("The default of the topics' `segment.jitter.ms`; where it is not set, `log.roll.jitter.hours`."),
    key("log.roll.ms", Long, "").null().high().cluster_wide().from(ROLL)
        .doc("The default of the topics' `segment.ms`; where it is not set, `log.roll.hours`."),
    key("log.segment.bytes", Int, "1073741824").high().at_least(1_048_576).cluster_wide()
        .doc("The default of the topics' `segment.bytes`."),
    key("log.segment.delete.delay.ms", Long, "60000").high().at_least(0).cluster_wide()
        .doc("The default of the topics' `file.delete.delay.ms`."),
    key("num.recovery.threads.per.data.dir", Int, "2").high().at_least(1)
        .doc("How many threads recover one log directory at the start. In Kafka the key may change at run time; here the directories are open by then."),
    key("replica.high.watermark.checkpoint.interval.ms", Long, "5000").high()
        .doc("How often the high watermarks are written down."),
    key("metadata.log.max.record.bytes.between.snapshots", Long, "20971520").high().at_least(1)
        .doc("After so many bytes of metadata records a snapshot is written."),
    key("metadata.log.max.snapshot.interval.ms", Long, "3600000").high().at_least(0)
        .doc("A snapshot of the metadata is written at least so often when something has changed; 0 leaves it to the bytes."),
    key("metadata.log.segment.bytes", Int, "1073741824").high().at_least(8_388_608)
        .doc("The size at which the metadata log begins a new segment."),
    key("metadata.log.segment.ms", Long, "604800000").high()
        .doc("The age at which the metadata log begins a new segment."),
    key("metadata.max.retention.bytes", Long, "104857600").high()
        .doc("The size of metadata log and snapshots together at which old ones are deleted."),
    key("metadata.max.retention.ms", Long, "604800000").high()
        .doc("The age at which old metadata segments and snapshots are deleted."),
];

#[rustfmt::skip]
pub(super) const GROUPS: &[Definition] = &[
    key("group.initial.rebalance.delay.ms", Int, "0").kafka_default("3000")
        .doc("How long the first rebalance of an empty group waits for further members."),
    key("group.max.session.timeout.ms", Int, "1800000")
        .doc("The longest session timeout that a classic group's member may ask for."),
    key("group.max.size", Int, "2147483647").at_least(1)
        .doc("How many members a classic group may have."),
    key("group.min.session.timeout.ms", Int, "6000")
        .doc("The shortest session timeout that a classic group's member may ask for."),
    key("offset.metadata.max.bytes", Int, "4096").high()
        .doc("The longest text that may go with a committed offset."),
    key("offsets.commit.timeout.ms", Int, "5000").high().at_least(1)
        .doc("How long an offset commit may wait for its record to be written."),
    key("offsets.retention.check.interval.ms", Long, "600000").high().at_least(1)
        .doc("How often groups are looked at for expired offsets."),
    key("offsets.retention.minutes", Int, "10080").high().at_least(1)
        .doc("How long the offsets of a group without members, or of partitions that no member subscribes to, are kept."),
    key("offsets.topic.compression.codec", Int, "0").high()
        .doc("The codec of the offsets topic's batches: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
    key("offsets.topic.num.partitions", Int, "50").high().at_least(1)
        .doc("The partitions of `__consumer_offsets`; a group's place follows from it, so it only counts before the topic exists."),
    key("offsets.topic.replication.factor", Short, "1").kafka_default("3").high().at_least(1)
        .doc("The replication factor of `__consumer_offsets`."),
    key("offsets.topic.segment.bytes", Int, "104857600").high().at_least(1)
        .doc("The size at which `__consumer_offsets` begins a new segment."),
];
