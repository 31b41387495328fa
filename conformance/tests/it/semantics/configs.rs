//! Describing and altering configurations.

use std::time::Duration;

use millstream_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    alter_configs_request,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
    incremental_alter_configs_request as incremental,
};
use millstream_testkit::wait_until;
use millstream_types::ErrorCode;

use crate::{
    session::{Session, batch, code},
    shared::{broker, shared},
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// `ConfigSource` on the wire.
const DYNAMIC_TOPIC: i8 = 1;
const DYNAMIC_DEFAULT_BROKER: i8 = 3;
const DEFAULT: i8 = 5;

fn describe(session: &mut Session, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configuration_keys: keys.map(|keys| keys.iter().map(|k| (*k).to_owned()).collect()),
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    session.call(4, &request).results.remove(0)
}

fn key(session: &mut Session, kind: i8, name: &str, key: &str) -> DescribeConfigsResourceResult {
    let mut found = describe(session, kind, name, Some(&[key]));
    assert_eq!(code(found.error_code), ErrorCode::None, "{:?}", found.error_message);
    assert_eq!(found.configs.len(), 1, "{key}");
    found.configs.remove(0)
}

/// Waits until a key has this value: what the controller has answered reaches Kafka's broker a little later.
fn becomes(session: &mut Session, topic: &str, name: &str, value: &str) {
    wait_until(&format!("{name} to be {value}"), Duration::from_secs(20), || {
        Ok((key(session, TOPIC, topic, name).value.as_deref() == Some(value)).then_some(()))
    })
    .unwrap();
}

fn alter(session: &mut Session, kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) -> ErrorCode {
    let config = |(name, operation, value): &(&str, i8, Option<&str>)| incremental::AlterableConfig {
        name: (*name).to_owned(),
        config_operation: *operation,
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = incremental::AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: changes.iter().map(config).collect(),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let response = session.call(1, &request).responses.remove(0);
    assert_eq!(response.error_message.is_some(), response.error_code != 0, "{response:?}");
    code(response.error_code)
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

#[test]
fn a_topics_configuration_is_listed_whole_with_sources_synonyms_and_documentation() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("configs-described", &[("retention.ms", "1234567")]);
    let all = describe(&mut session, TOPIC, "configs-described", None).configs;
    let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
    for name in [
        "cleanup.policy",
        "compression.type",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "index.interval.bytes",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "preallocate",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.index.bytes",
        "segment.jitter.ms",
        "segment.ms",
        "unclean.leader.election.enable",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    let of = |name: &str| all.iter().find(|c| c.name == name).unwrap();
    let retention = of("retention.ms");
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1234567"), DYNAMIC_TOPIC));
    let chain: Vec<_> = retention.synonyms.iter().map(|s| (s.name.as_str(), s.source)).collect();
    assert_eq!(chain, [("retention.ms", DYNAMIC_TOPIC)], "log.retention.ms is not set anywhere");
    let policy = of("cleanup.policy");
    assert_eq!(
        (policy.value.as_deref(), policy.config_source, policy.config_type),
        (Some("delete"), DEFAULT, 7)
    );
    let chain: Vec<_> = policy.synonyms.iter().map(|s| (s.name.as_str(), s.source)).collect();
    assert_eq!(chain, [("log.cleanup.policy", DEFAULT)]);
    assert!(all.iter().all(|c| c.documentation.as_ref().is_some_and(|d| !d.is_empty())));
    assert!(all.iter().all(|c| !c.read_only && !c.is_sensitive));
}

#[test]
fn keys_that_were_asked_for_are_described_and_unknown_ones_left_out() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("configs-keys", &[]);
    let found = describe(&mut session, TOPIC, "configs-keys", Some(&["retention.ms", "no.such.key"])).configs;
    assert_eq!(found.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["retention.ms"]);
    let unknown = describe(&mut session, TOPIC, "configs-no-such-topic", None);
    assert_eq!(code(unknown.error_code), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(
        code(describe(&mut session, TOPIC, "not a topic!", None).error_code),
        ErrorCode::InvalidTopicException
    );
}

#[test]
fn altering_the_old_way_resets_what_is_not_named() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("configs-replaced", &[("retention.ms", "1234567"), ("segment.ms", "7654321")]);
    let config = alter_configs_request::AlterableConfig {
        name: "segment.ms".to_owned(),
        value: Some("5555555".to_owned()),
        ..Default::default()
    };
    let resource = alter_configs_request::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "configs-replaced".to_owned(),
        configs: vec![config],
        ..Default::default()
    };
    let request = AlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(code(session.call(2, &request).responses[0].error_code), ErrorCode::None);
    becomes(&mut session, "configs-replaced", "segment.ms", "5555555");
    let retention = key(&mut session, TOPIC, "configs-replaced", "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("604800000"), DEFAULT));
}

#[test]
fn altering_by_increments_sets_deletes_appends_and_subtracts() {
    let target = broker();
    let mut session = Session::open(&target);
    let topic = "configs-increments";
    session.topic(topic, &[("retention.ms", "1234567")]);
    let changes = [("segment.ms", SET, Some("7654321")), ("cleanup.policy", APPEND, Some("compact"))];
    assert_eq!(alter(&mut session, TOPIC, topic, &changes), ErrorCode::None);
    becomes(&mut session, topic, "segment.ms", "7654321");
    becomes(&mut session, topic, "cleanup.policy", "delete,compact");
    assert_eq!(key(&mut session, TOPIC, topic, "retention.ms").value.as_deref(), Some("1234567"));
    let changes = [("cleanup.policy", SUBTRACT, Some("delete")), ("segment.ms", DELETE, None)];
    assert_eq!(alter(&mut session, TOPIC, topic, &changes), ErrorCode::None);
    becomes(&mut session, topic, "cleanup.policy", "compact");
    assert_eq!(key(&mut session, TOPIC, topic, "segment.ms").config_source, DEFAULT);
}

#[test]
fn a_change_that_cannot_be_is_refused_whole() {
    let target = broker();
    let mut session = Session::open(&target);
    let topic = "configs-refused";
    session.topic(topic, &[]);
    let mut refused = |changes: &[(&str, i8, Option<&str>)]| alter(&mut session, TOPIC, topic, changes);
    let both = [("retention.ms", SET, Some("1")), ("segment.bytes", SET, Some("1"))];
    assert_eq!(refused(&both), ErrorCode::InvalidConfig);
    assert_eq!(refused(&[("no.such.key", SET, Some("1"))]), ErrorCode::InvalidConfig);
    assert_eq!(refused(&[("retention.ms", SET, None)]), ErrorCode::InvalidRequest);
    assert_eq!(refused(&[("retention.ms", APPEND, Some("1"))]), ErrorCode::InvalidConfig, "not a list");
    let twice = [("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)];
    assert_eq!(refused(&twice), ErrorCode::InvalidRequest);
    let unknown = alter(&mut session, TOPIC, "configs-no-such-topic", &[("retention.ms", SET, Some("1"))]);
    assert_eq!(unknown, ErrorCode::UnknownTopicOrPartition);
    assert_eq!(key(&mut session, TOPIC, topic, "retention.ms").config_source, DEFAULT);
}

#[test]
fn a_new_limit_of_a_topic_takes_effect_at_once() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("configs-effect", &[]);
    let large = batch(&["x".repeat(5_000)]);
    session.append("configs-effect", 0, large.clone());
    let limit = [("max.message.bytes", SET, Some("1000"))];
    assert_eq!(alter(&mut session, TOPIC, "configs-effect", &limit), ErrorCode::None);
    wait_until("the limit to hold", Duration::from_secs(20), || {
        let answer = session.produce("configs-effect", 0, large.clone());
        Ok((code(answer.error_code) == ErrorCode::MessageTooLarge).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_brokers_configuration_is_listed_and_its_read_only_keys_are_refused() {
    let target = broker();
    let mut session = Session::open(&target);
    let node = session.metadata(None, false).brokers[0].node_id.to_string();
    let all = describe(&mut session, BROKER, &node, None).configs;
    let of = |name: &str| all.iter().find(|c| c.name == name).unwrap_or_else(|| panic!("{name}"));
    for name in ["log.dirs", "node.id", "num.partitions", "offsets.topic.num.partitions"] {
        assert!(of(name).read_only, "{name}");
    }
    for name in ["message.max.bytes", "log.retention.ms", "log.segment.bytes", "log.cleanup.policy"] {
        assert!(!of(name).read_only, "{name}");
    }
    let refused = alter(&mut session, BROKER, &node, &[("num.partitions", SET, Some("7"))]);
    assert_eq!(refused, ErrorCode::InvalidRequest);
    let unknown = describe(&mut session, BROKER, "4711", None);
    assert_eq!(code(unknown.error_code), ErrorCode::InvalidRequest);
}

#[test]
fn a_default_of_all_brokers_reaches_topics_that_do_not_set_it() {
    let target = shared(&[("log.retention.hours", "100")]);
    let mut session = Session::open(&target);
    session.topic("configs-inherits", &[]);
    let before = key(&mut session, TOPIC, "configs-inherits", "segment.bytes");
    assert_eq!((before.value.as_deref(), before.config_source), (Some("1073741824"), DEFAULT));
    let retention = key(&mut session, TOPIC, "configs-inherits", "retention.ms");
    assert_eq!(retention.value.as_deref(), Some("360000000"), "the file's hours");
    assert_eq!(
        alter(&mut session, BROKER, "", &[("log.segment.bytes", SET, Some("123456789"))]),
        ErrorCode::None
    );
    millstream_testkit::wait_until(
        "the default to reach the topic",
        std::time::Duration::from_secs(20),
        || {
            let now = key(&mut session, TOPIC, "configs-inherits", "segment.bytes");
            let inherited =
                (now.value.as_deref(), now.config_source) == (Some("123456789"), DYNAMIC_DEFAULT_BROKER);
            Ok(inherited.then_some(()))
        },
    )
    .unwrap();
    assert_eq!(alter(&mut session, BROKER, "", &[("log.segment.bytes", DELETE, None)]), ErrorCode::None);
}

#[test]
fn resources_with_configurations_are_listed_by_type() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("configs-resources", &[]);
    let all =
        session.call(1, &ListConfigResourcesRequest { resource_types: vec![TOPIC], ..Default::default() });
    assert_eq!(code(all.error_code), ErrorCode::None);
    assert!(
        all.config_resources
            .iter()
            .any(|r| r.resource_name == "configs-resources" && r.resource_type == TOPIC)
    );
    assert!(all.config_resources.iter().all(|r| r.resource_type == TOPIC));
    let unknown =
        session.call(1, &ListConfigResourcesRequest { resource_types: vec![77], ..Default::default() });
    assert_eq!(code(unknown.error_code), ErrorCode::UnsupportedVersion);
}
