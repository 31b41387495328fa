//! Each broker key that may change at run time takes effect while the broker runs: set as the default of
//! all brokers, seen in what the broker then does, and taken back.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::panicking,
    time::Duration,
};

use millstream_protocol::messages::{
    ApiVersionsRequest, DescribeConfigsRequest, DescribeProducersRequest, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::DescribeConfigsResult,
    describe_producers_request::TopicRequest,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use millstream_record::Compression;
use millstream_testkit::{Connection, Kind, Running, Target, TargetOptions, wait_until};
use millstream_types::ErrorCode;

use crate::{
    session::{Session, batch, batch_at, code, decoded, headers, idempotent, now_ms},
    shared::shared,
};

const LIMIT: Duration = Duration::from_secs(30);
pub(crate) const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const SET: i8 = 0;
const DELETE: i8 = 1;
const EARLIEST: i64 = -2;
const HOUR_MS: i64 = 3_600_000;

/// Every key that has a test here.
const TESTED: &[&str] = &[
    "compression.gzip.level",
    "compression.type",
    "compression.zstd.level",
    "log.cleaner.delete.retention.ms",
    "log.cleaner.max.compaction.lag.ms",
    "log.cleaner.min.cleanable.ratio",
    "log.cleaner.min.compaction.lag.ms",
    "log.cleanup.policy",
    "log.flush.interval.messages",
    "log.flush.interval.ms",
    "log.index.interval.bytes",
    "log.index.size.max.bytes",
    "log.local.retention.bytes",
    "log.local.retention.ms",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.type",
    "log.preallocate",
    "log.retention.bytes",
    "log.retention.ms",
    "log.roll.jitter.ms",
    "log.roll.ms",
    "log.segment.bytes",
    "log.segment.delete.delay.ms",
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "message.max.bytes",
    "min.insync.replicas",
    "producer.id.expiration.ms",
];

/// Looks often enough at what is due for a test not to wait long.
const SETTINGS: &[(&str, &str)] = &[
    ("log.initial.task.delay.ms", "100"),
    ("log.retention.check.interval.ms", "300"),
    ("log.flush.offset.checkpoint.interval.ms", "300"),
    ("producer.id.expiration.check.interval.ms", "300"),
];

/// A broker whose defaults this test alone changes for now.
struct Dynamic {
    target: Arc<Running>,
    session: Session,
    changed: Vec<&'static str>,
    _turn: MutexGuard<'static, ()>,
}

impl Dynamic {
    /// The broker that these tests share; one after the other has it.
    fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        // Held while waiting for the turn, so that the broker lives on from test to test.
        let target = shared(SETTINGS);
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let session = Session::open(&target);
        Self { target, session, changed: Vec::new(), _turn: turn }
    }

    /// Sets the default of all brokers and waits until a topic without own settings has it.
    fn set(&mut self, key: &'static str, value: &str, topic: &str, topic_key: &str) {
        self.set_shown(key, value, topic, topic_key, value);
    }

    fn set_shown(&mut self, key: &'static str, value: &str, topic: &str, topic_key: &str, shown: &str) {
        self.changed.push(key);
        assert_eq!(alter(&mut self.session, "", key, Some(value)), ErrorCode::None, "{key}");
        wait_until(&format!("{topic_key} of {topic} to be {shown}"), LIMIT, || {
            let described = describe(&mut self.session, TOPIC, topic, &[topic_key]);
            Ok((described.configs[0].value.as_deref() == Some(shown)).then_some(()))
        })
        .unwrap();
    }

    /// The partition's files whose names end so.
    fn files(&self, topic: &str, end: &str) -> Vec<PathBuf> {
        files(&self.target, topic, end)
    }

    fn segments(&self, topic: &str) -> usize {
        self.files(topic, ".log").len()
    }
}

impl Drop for Dynamic {
    fn drop(&mut self) {
        for key in self.changed.drain(..) {
            // Kafka does not let go of this one.
            let value = (key == "min.insync.replicas").then_some("1");
            let reset = alter(&mut self.session, "", key, value);
            assert!(panicking() || reset == ErrorCode::None, "{key}: {reset}");
        }
        let reset = wait_until("the defaults to be as before", LIMIT, || {
            let left = describe(&mut self.session, BROKER, "", &[]);
            Ok(left.configs.iter().all(|row| row.name == "min.insync.replicas").then_some(()))
        });
        assert!(panicking() || reset.is_ok(), "{reset:?}");
    }
}

fn files(target: &Running, topic: &str, end: &str) -> Vec<PathBuf> {
    let listed = fs::read_dir(target.log_dir().join(format!("{topic}-0"))).unwrap();
    let paths = listed.map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    found.sort();
    found
}

fn describe(session: &mut Session, kind: i8, name: &str, keys: &[&str]) -> DescribeConfigsResult {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: Some(keys).filter(|keys| !keys.is_empty()),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let result = session.call(4, &request).results.remove(0);
    assert_eq!(code(result.error_code), ErrorCode::None, "{:?}", result.error_message);
    result
}

/// Sets or deletes a key of one broker, or with an empty name of all.
fn alter(session: &mut Session, broker: &str, key: &str, value: Option<&str>) -> ErrorCode {
    alter_resource(session, BROKER, broker, key, value)
}

pub(crate) fn alter_resource(
    session: &mut Session,
    kind: i8,
    name: &str,
    key: &str,
    value: Option<&str>,
) -> ErrorCode {
    let config = AlterableConfig {
        name: key.to_owned(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    code(session.call(1, &request).responses[0].error_code)
}

#[test]
fn every_key_that_may_change_has_a_test_and_every_other_one_is_refused() {
    let target = shared(SETTINGS);
    let mut session = Session::open(&target);
    let node = session.metadata(None, false).brokers[0].node_id.to_string();
    let rows = describe(&mut session, BROKER, &node, &[]).configs;
    let of = |name: &str| rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}"));
    assert!(TESTED.iter().all(|name| !of(name).read_only));
    if target.kind() == Kind::Millstream {
        let open: Vec<&str> = rows.iter().filter(|r| !r.read_only).map(|r| r.name.as_str()).collect();
        let mut expected = TESTED.to_vec();
        expected.sort_unstable();
        assert_eq!(
            {
                let mut open = open;
                open.sort_unstable();
                open
            },
            expected
        );
    }
    for row in rows.iter().filter(|row| row.read_only) {
        let value = row.value.as_deref().unwrap_or("1");
        for broker in ["", &node] {
            let refused = alter(&mut session, broker, &row.name, Some(value));
            assert_eq!(refused, ErrorCode::InvalidRequest, "{} of {broker:?}", row.name);
        }
    }
}

#[test]
fn message_max_bytes() {
    let mut dynamic = Dynamic::new();
    dynamic.session.topic("dynamic-message-max", &[]);
    let large = batch(&["x".repeat(5_000)]);
    dynamic.session.append("dynamic-message-max", 0, large.clone());
    dynamic.set("message.max.bytes", "1000", "dynamic-message-max", "max.message.bytes");
    wait_until("a large batch to be refused", LIMIT, || {
        let answer = dynamic.session.produce("dynamic-message-max", 0, large.clone());
        Ok((code(answer.error_code) == ErrorCode::MessageTooLarge).then_some(()))
    })
    .unwrap();
}

#[test]
fn min_insync_replicas() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-min-insync";
    dynamic.session.topic(topic, &[]);
    dynamic.set("min.insync.replicas", "2", topic, "min.insync.replicas");
    // A partition never asks for more than it has replicas.
    dynamic.session.append(topic, 0, batch(&["a"]));
}

/// The newest batch as it is stored, after appending one of text that can be compressed.
fn stored(session: &mut Session, topic: &str) -> (Compression, usize) {
    let mut state = 1_u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("{} ", (state >> 16) % 1000)
    };
    let text: String = (0..20_000).map(|_| word()).collect();
    let offset = session.append(topic, 0, batch(&[text]));
    let data = session.fetch(topic, offset);
    let header = headers(&data)[0];
    assert_eq!(decoded(&data)[0].records.len(), 1);
    (header.attributes.compression().unwrap(), header.size_in_bytes())
}

#[test]
fn compression_type() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-compression";
    dynamic.session.topic(topic, &[]);
    assert_eq!(stored(&mut dynamic.session, topic).0, Compression::None);
    for (name, codec) in [("zstd", Compression::Zstd), ("gzip", Compression::Gzip)] {
        dynamic.set("compression.type", name, topic, "compression.type");
        wait_until("the codec to be used", LIMIT, || {
            Ok((stored(&mut dynamic.session, topic).0 == codec).then_some(()))
        })
        .unwrap();
    }
}

/// A topic compressed with `codec` gets smaller batches when the level goes from low to high.
fn level(key: &'static str, codec: &str, low: &str, high: &str) {
    let mut dynamic = Dynamic::new();
    let topic = format!("dynamic-level-{codec}");
    dynamic.session.topic(&topic, &[("compression.type", codec)]);
    dynamic.set(key, low, &topic, key);
    let (_, default) = stored(&mut dynamic.session, &topic);
    let (_, large) = wait_until("the low level to be used", LIMIT, || {
        let now = stored(&mut dynamic.session, &topic);
        Ok((now.1 >= default).then_some(now))
    })
    .unwrap();
    dynamic.set(key, high, &topic, key);
    wait_until("the high level to be used", LIMIT, || {
        Ok((stored(&mut dynamic.session, &topic).1 < large).then_some(()))
    })
    .unwrap();
}

#[test]
fn compression_gzip_level() {
    level("compression.gzip.level", "gzip", "1", "9");
}

#[test]
fn compression_zstd_level() {
    level("compression.zstd.level", "zstd", "1", "19");
}

#[test]
fn log_message_timestamp_type() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-timestamp-type";
    dynamic.session.topic(topic, &[]);
    let key = "log.message.timestamp.type";
    assert_eq!(dynamic.session.produce(topic, 0, batch(&["a"])).log_append_time_ms, -1);
    dynamic.set(key, "LogAppendTime", topic, "message.timestamp.type");
    wait_until("the broker's time", LIMIT, || {
        let answer = dynamic.session.produce(topic, 0, batch(&["b"]));
        Ok((answer.log_append_time_ms > 0).then_some(()))
    })
    .unwrap();
}

/// A record stamped so far from now is refused once `key` is an hour.
fn timestamp_limit(key: &'static str, topic_key: &str, distance_ms: i64) {
    let mut dynamic = Dynamic::new();
    let topic = key.replace('.', "-");
    dynamic.session.topic(&topic, &[(topic_key, &(100 * HOUR_MS).to_string())]);
    dynamic.session.append(&topic, 0, batch_at(&[now_ms() + distance_ms]));
    let topic = format!("{topic}-default");
    dynamic.session.topic(&topic, &[]);
    dynamic.set(key, &HOUR_MS.to_string(), &topic, topic_key);
    wait_until("the timestamp to be refused", LIMIT, || {
        let answer = dynamic.session.produce(&topic, 0, batch_at(&[now_ms() + distance_ms]));
        Ok((code(answer.error_code) == ErrorCode::InvalidTimestamp).then_some(()))
    })
    .unwrap();
}

#[test]
fn log_message_timestamp_before_max_ms() {
    timestamp_limit("log.message.timestamp.before.max.ms", "message.timestamp.before.max.ms", -2 * HOUR_MS);
}

#[test]
fn log_message_timestamp_after_max_ms() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-timestamp-after";
    dynamic.session.topic(topic, &[]);
    let ahead = || batch_at(&[now_ms() + 2 * HOUR_MS]);
    let refused = dynamic.session.produce(topic, 0, ahead());
    assert_eq!(code(refused.error_code), ErrorCode::InvalidTimestamp, "an hour is the default");
    let day = (24 * HOUR_MS).to_string();
    dynamic.set("log.message.timestamp.after.max.ms", &day, topic, "message.timestamp.after.max.ms");
    wait_until("the timestamp to be accepted", LIMIT, || {
        Ok((dynamic.session.produce(topic, 0, ahead()).error_code == 0).then_some(()))
    })
    .unwrap();
}

#[test]
fn log_cleanup_policy() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-cleanup";
    dynamic.session.topic(topic, &[]);
    dynamic.session.append(topic, 0, batch(&["no key"]));
    dynamic.set("log.cleanup.policy", "compact", topic, "cleanup.policy");
    wait_until("records without a key to be refused", LIMIT, || {
        let answer = dynamic.session.produce(topic, 0, batch(&["no key"]));
        Ok((code(answer.error_code) == ErrorCode::InvalidRecord).then_some(()))
    })
    .unwrap();
}

#[test]
fn log_segment_bytes() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-segment-bytes";
    dynamic.session.topic(topic, &[]);
    let large = batch(&["x".repeat(600_000)]);
    for _ in 0..3 {
        dynamic.session.append(topic, 0, large.clone());
    }
    assert_eq!(dynamic.segments(topic), 1);
    dynamic.set("log.segment.bytes", "1048576", topic, "segment.bytes");
    wait_until("a new segment", LIMIT, || {
        dynamic.session.append(topic, 0, large.clone());
        Ok((dynamic.segments(topic) > 1).then_some(()))
    })
    .unwrap();
}

#[test]
fn log_roll_ms() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-roll";
    dynamic.session.topic(topic, &[]);
    let mut at = now_ms() - HOUR_MS;
    let mut later = || {
        at += 5_000;
        batch_at(&[at])
    };
    dynamic.session.append(topic, 0, later());
    dynamic.session.append(topic, 0, later());
    assert_eq!(dynamic.segments(topic), 1);
    dynamic.set("log.roll.ms", "1000", topic, "segment.ms");
    wait_until("a new segment", LIMIT, || {
        dynamic.session.append(topic, 0, later());
        Ok((dynamic.segments(topic) > 1).then_some(()))
    })
    .unwrap();
}

/// What belongs to a segment's whole life counts for those that begin later, so these tests set the key
/// first, watch it on one topic and then use another.
fn fresh(dynamic: &mut Dynamic, name: &str, keys: &[(&'static str, &str, &str)], own: &[(&str, &str)]) {
    let watched = format!("{name}-watched");
    dynamic.session.topic(&watched, &[]);
    for (key, value, topic_key) in keys {
        dynamic.set(key, value, &watched, topic_key);
    }
    dynamic.session.topic(name, own);
}

#[test]
fn log_roll_jitter_ms() {
    let mut dynamic = Dynamic::new();
    let hour = HOUR_MS.to_string();
    let first = now_ms() - 2 * HOUR_MS;
    let almost_an_hour = first + HOUR_MS - 10;
    let mut segments = |name: &str, keys: &[(&'static str, &str, &str)]| {
        fresh(&mut dynamic, name, keys, &[]);
        dynamic.session.append(name, 0, batch_at(&[first]));
        dynamic.session.append(name, 0, batch_at(&[almost_an_hour]));
        dynamic.segments(name)
    };
    let roll = ("log.roll.ms", hour.as_str(), "segment.ms");
    assert_eq!(segments("dynamic-no-jitter", &[roll]), 1);
    // A random time below an hour is taken off; that it is below ten milliseconds is unlikely six times over.
    let jitter = ("log.roll.jitter.ms", hour.as_str(), "segment.jitter.ms");
    let names: Vec<String> = (0..6).map(|n| format!("dynamic-jitter-{n}")).collect();
    assert!(names.iter().any(|name| segments(name, &[jitter]) > 1));
}

#[test]
fn log_index_interval_bytes() {
    let mut dynamic = Dynamic::new();
    // Rolled segments have indexes of their true size.
    let mut index_bytes = |name: &str, keys: &[(&'static str, &str, &str)]| {
        fresh(&mut dynamic, name, keys, &[("segment.ms", "100000")]);
        for n in 0..5 {
            dynamic.session.append(name, 0, batch_at(&[now_ms() - HOUR_MS + n]));
        }
        dynamic.session.append(name, 0, batch_at(&[now_ms()]));
        assert_eq!(dynamic.segments(name), 2);
        let index = dynamic.files(name, "00000000000000000000.log").remove(0).with_extension("index");
        wait_until("the index of the first segment", LIMIT, || {
            let bytes = fs::metadata(&index)?.len();
            Ok((bytes <= 40).then_some(bytes))
        })
        .unwrap()
    };
    assert_eq!(index_bytes("dynamic-index-default", &[]), 0);
    let every_batch = ("log.index.interval.bytes", "1", "index.interval.bytes");
    assert_eq!(index_bytes("dynamic-index-interval", &[every_batch]), 32);
}

#[test]
fn log_index_size_max_bytes() {
    let mut dynamic = Dynamic::new();
    let keys = [
        ("log.index.interval.bytes", "1", "index.interval.bytes"),
        ("log.index.size.max.bytes", "64", "segment.index.bytes"),
    ];
    fresh(&mut dynamic, "dynamic-index-size", &keys, &[]);
    for n in 0..20 {
        dynamic.session.append("dynamic-index-size", 0, batch_at(&[now_ms() - HOUR_MS + n]));
    }
    assert!(dynamic.segments("dynamic-index-size") > 1, "an index of eight entries is full");
}

#[test]
fn log_preallocate() {
    let mut dynamic = Dynamic::new();
    let preallocate = ("log.preallocate", "true", "preallocate");
    fresh(&mut dynamic, "dynamic-preallocate", &[preallocate], &[("segment.bytes", "1048576")]);
    let file = dynamic.files("dynamic-preallocate", ".log").remove(0);
    assert_eq!(fs::metadata(file).unwrap().len(), 1_048_576);
}

#[test]
fn log_retention_bytes() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-retention-bytes";
    dynamic.session.topic(topic, &[("segment.bytes", "1048576")]);
    for _ in 0..3 {
        dynamic.session.append(topic, 0, batch(&["x".repeat(600_000)]));
    }
    assert_eq!(dynamic.session.list_offset(topic, 0, EARLIEST).offset, 0);
    dynamic.set("log.retention.bytes", "1000", topic, "retention.bytes");
    wait_until("segments to go", LIMIT, || {
        Ok((dynamic.session.list_offset(topic, 0, EARLIEST).offset > 0).then_some(()))
    })
    .unwrap();
}

#[test]
fn log_retention_ms_and_log_segment_delete_delay_ms() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-retention";
    dynamic.session.topic(topic, &[]);
    dynamic.session.append(topic, 0, batch_at(&[now_ms() - HOUR_MS]));
    dynamic.set("log.segment.delete.delay.ms", "60000", topic, "file.delete.delay.ms");
    dynamic.set("log.retention.ms", "1000", topic, "retention.ms");
    wait_until("the old segment to go", LIMIT, || {
        Ok((dynamic.session.list_offset(topic, 0, EARLIEST).offset == 1).then_some(()))
    })
    .unwrap();
    wait_until("its file to be renamed", LIMIT, || {
        Ok((dynamic.files(topic, ".log.deleted").len() == 1).then_some(()))
    })
    .unwrap();
    dynamic.set("log.segment.delete.delay.ms", "1", topic, "file.delete.delay.ms");
    dynamic.session.append(topic, 0, batch_at(&[now_ms() - HOUR_MS]));
    wait_until("the next one to go", LIMIT, || {
        Ok((dynamic.session.list_offset(topic, 0, EARLIEST).offset == 2).then_some(()))
    })
    .unwrap();
    let second = "00000000000000000001.log";
    wait_until("its file to be removed", LIMIT, || {
        let left =
            dynamic.files(topic, second).len() + dynamic.files(topic, &format!("{second}.deleted")).len();
        Ok((left == 0).then_some(()))
    })
    .unwrap();
}

#[test]
fn producer_id_expiration_ms() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-producers";
    dynamic.session.topic(topic, &[]);
    let id = dynamic.session.new_producer_id();
    dynamic.session.append(topic, 0, idempotent(id, 0, 0, &["a"]));
    let active = |session: &mut Session| {
        let asked = TopicRequest { name: topic.to_owned(), partition_indexes: vec![0], ..Default::default() };
        let request = DescribeProducersRequest { topics: vec![asked], ..Default::default() };
        session.call(0, &request).topics[0].partitions[0].active_producers.len()
    };
    assert_eq!(active(&mut dynamic.session), 1);
    dynamic.changed.push("producer.id.expiration.ms");
    assert_eq!(alter(&mut dynamic.session, "", "producer.id.expiration.ms", Some("1")), ErrorCode::None);
    wait_until("the producer to be forgotten", LIMIT, || {
        Ok((active(&mut dynamic.session) == 0).then_some(()))
    })
    .unwrap();
}

/// Nothing in this broker acts on them yet, or only on what compaction keeps; topics inherit them at once.
#[test]
fn defaults_of_compaction_and_tiers_reach_topics() {
    let mut dynamic = Dynamic::new();
    let topic = "dynamic-inherits";
    dynamic.session.topic(topic, &[]);
    dynamic.set("log.cleaner.delete.retention.ms", "1234", topic, "delete.retention.ms");
    dynamic.set("log.cleaner.max.compaction.lag.ms", "12345", topic, "max.compaction.lag.ms");
    dynamic.set("log.cleaner.min.compaction.lag.ms", "123", topic, "min.compaction.lag.ms");
    dynamic.set("log.cleaner.min.cleanable.ratio", "0.25", topic, "min.cleanable.dirty.ratio");
    dynamic.set("log.local.retention.bytes", "-1", topic, "local.retention.bytes");
    dynamic.set("log.local.retention.ms", "12", topic, "local.retention.ms");
}

/// Without a flush of its own the log of a broker that leaves flushing to the system has no recovery point.
#[test]
fn log_flush_interval_messages_and_log_flush_interval_ms() {
    let mut options = TargetOptions::default();
    if Kind::from_env().unwrap() == Kind::Millstream {
        options.arguments = vec!["--durability".to_owned(), "os".to_owned()];
    }
    let options = SETTINGS.iter().fold(options, |options, (key, value)| options.set(key, value));
    let options = options.set("log.flush.scheduler.interval.ms", 500);
    let target = Target::start(options.set("log.flush.interval.ms", i64::MAX)).unwrap();
    let mut session = Session::open(&target);
    let recovery_point = |topic: &str| {
        let text = fs::read_to_string(target.log_dir().join("recovery-point-offset-checkpoint"));
        let line = |line: &str| line.strip_prefix(&format!("{topic} 0 ")).map(str::to_owned);
        text.unwrap_or_default().lines().find_map(line)
    };
    for (key, value, topic) in [
        ("log.flush.interval.messages", "1", "dynamic-flush-messages"),
        ("log.flush.interval.ms", "100", "dynamic-flush-ms"),
    ] {
        session.topic(topic, &[]);
        session.append(topic, 0, batch(&["a"]));
        assert_ne!(recovery_point(topic).as_deref(), Some("1"), "{key}");
        assert_eq!(alter(&mut session, "", key, Some(value)), ErrorCode::None);
        let mut end = 1;
        wait_until(&format!("a flush by {key}"), LIMIT, || {
            let reached = recovery_point(topic).and_then(|offset| offset.parse().ok()).unwrap_or(0);
            if reached == 0 && end < 100 {
                session.append(topic, 0, batch(&["b"]));
                end += 1;
            }
            Ok((reached > 0).then_some(()))
        })
        .unwrap();
        assert_eq!(alter(&mut session, "", key, None), ErrorCode::None);
    }
}

/// Opens a connection and asks something; an error when it is closed or not served in time.
fn serve(target: &Running, limit: Duration) -> anyhow::Result<Connection> {
    let mut connection = Connection::open(target.bootstrap())?;
    connection.set_answer_limit(limit)?;
    connection.call(0, &ApiVersionsRequest::default())?;
    Ok(connection)
}

/// Sets a limit and opens connections until one is not served; those that were, in their order.
fn fill(
    target: &Running,
    session: &mut Session,
    settings: &[(&str, &str)],
    limit: Duration,
) -> Vec<Connection> {
    drop(serve(target, LIMIT).unwrap());
    for (key, value) in settings {
        assert_eq!(alter(session, "", key, Some(value)), ErrorCode::None, "{key}");
    }
    let mut served = Vec::new();
    wait_until("a connection to be refused", LIMIT, || match serve(target, limit) {
        Ok(connection) => {
            served.push(connection);
            Ok(None)
        }
        Err(_) => Ok(Some(())),
    })
    .unwrap();
    served
}

#[test]
fn max_connections_per_ip_and_its_overrides() {
    let target = Target::start(TargetOptions::default()).unwrap();
    let mut session = Session::open(&target);
    let held = fill(&target, &mut session, &[("max.connections.per.ip", "20")], LIMIT);
    assert!(serve(&target, LIMIT).is_err(), "as long as the others are open");
    let exception = [("max.connections.per.ip.overrides", "127.0.0.1:1000")];
    assert_eq!(alter(&mut session, "", exception[0].0, Some(exception[0].1)), ErrorCode::None);
    wait_until("the exception to count", LIMIT, || Ok(serve(&target, LIMIT).ok())).unwrap();
    assert_eq!(alter(&mut session, "", exception[0].0, None), ErrorCode::None);
    wait_until("the exception to be gone", LIMIT, || Ok(serve(&target, LIMIT).is_err().then_some(())))
        .unwrap();
    drop(held);
    wait_until("room for another one", LIMIT, || Ok(serve(&target, LIMIT).ok())).unwrap();
}

#[test]
fn max_connections() {
    let target = Target::start(TargetOptions::default()).unwrap();
    let mut session = Session::open(&target);
    let held = fill(&target, &mut session, &[("max.connections", "20")], Duration::from_secs(2));
    let mut waiting = Connection::open(target.bootstrap()).unwrap();
    waiting.send(0, &ApiVersionsRequest::default()).unwrap();
    drop(held);
    waiting.receive::<ApiVersionsRequest>(0).expect("it was not refused, it had to wait");
}

#[test]
fn lowering_max_connections_closes_those_that_were_used_least_recently() {
    // Of Kafka's network threads each knows its own connections alone.
    let target = Target::start(TargetOptions::default().set("num.network.threads", 1)).unwrap();
    let mut connections: Vec<Connection> = (0..10).map(|_| serve(&target, LIMIT).unwrap()).collect();
    let mut session = Session::open(&target);
    let used_again = [0, 3, 4];
    for index in used_again {
        connections[index].call(0, &ApiVersionsRequest::default()).unwrap();
    }
    // Four of the ten and the one that sets it.
    assert_eq!(alter(&mut session, "", "max.connections", Some("5")), ErrorCode::None);
    for (index, connection) in connections.iter_mut().enumerate() {
        if used_again.contains(&index) || index == 9 {
            connection.call(0, &ApiVersionsRequest::default()).unwrap();
        } else {
            connection.expect_close().unwrap_or_else(|error| panic!("connection {index}: {error}"));
        }
    }
    assert_eq!(alter(&mut session, "", "max.connections", None), ErrorCode::None);
    if target.kind() == Kind::Millstream {
        let said = target.output();
        assert!(said.contains("max.connections is now 5: the 6 connections"), "{said}");
    }
}

#[test]
fn max_connection_creation_rate() {
    let target = Target::start(TargetOptions::default()).unwrap();
    let mut session = Session::open(&target);
    let rate = [("max.connection.creation.rate", "1")];
    let mut connections = fill(&target, &mut session, &rate, Duration::from_millis(400));
    connections.push(serve(&target, LIMIT).expect("it was delayed, not refused"));
}

#[test]
fn a_loggers_level() {
    let target = Target::start(TargetOptions::default()).unwrap();
    let mut session = Session::open(&target);
    let node = session.metadata(None, false).brokers[0].node_id.to_string();
    let logger = match target.kind() {
        Kind::Millstream => "millstream_broker",
        Kind::Kafka => "kafka.request.logger",
    };
    let level = |session: &mut Session| {
        let mut described = describe(session, BROKER_LOGGER, &node, &[logger]).configs;
        (described.len() == 1).then(|| described.remove(0).value.unwrap())
    };
    let mut set =
        |logger: &str, value: Option<&str>| alter_resource(&mut session, BROKER_LOGGER, &node, logger, value);
    assert_eq!(set("no.such.logger", Some("DEBUG")), ErrorCode::InvalidConfig);
    assert_eq!(set(logger, Some("LOUD")), ErrorCode::InvalidConfig);
    assert_eq!(set("root", None), ErrorCode::InvalidRequest);
    assert_eq!(set(logger, Some("TRACE")), ErrorCode::None);
    assert_eq!(level(&mut session).as_deref(), Some("TRACE"));
    if target.kind() == Kind::Millstream {
        let mut stranger = Connection::open(target.bootstrap()).unwrap();
        stranger.send_bytes(b"\0\0\0\x02no").unwrap();
        stranger.expect_close().unwrap();
        wait_until("the broker to say so", LIMIT, || {
            Ok(target.output().contains("header cannot be read").then_some(()))
        })
        .unwrap();
    }
    let back = alter_resource(&mut session, BROKER_LOGGER, &node, logger, None);
    assert_eq!(back, ErrorCode::None);
    assert_ne!(level(&mut session).as_deref(), Some("TRACE"));
}
