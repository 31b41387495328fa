//! Decisions about settings, features and producer ids. Every message was given by Kafka 4.3.1.

use millstream_config::AlterOp;
use millstream_metadata::{
    ConfigChange, ConfigOp, ConfigReplacement, ConfigResource, PRODUCER_ID_BLOCK, ResourceType, UpgradeType,
    allocate_producer_ids, alter_configs, features, incremental_alter_configs, update_features,
};
use millstream_types::ProducerId;

use crate::node::{NODE, TestNode, properties};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

fn change(kind: i8, name: &str, ops: &[(&str, i8, Option<&str>)]) -> ConfigChange {
    let op = |(name, op, value): &(&str, i8, Option<&str>)| ConfigOp {
        name: (*name).to_owned(),
        op: AlterOp::from_code(*op),
        value: value.map(str::to_owned),
    };
    let resource = ConfigResource::new(ResourceType::from_code(kind), name);
    ConfigChange { resource, ops: ops.iter().map(op).collect() }
}

fn set(kind: i8, name: &str, key: &str, value: &str) -> ConfigChange {
    change(kind, name, &[(key, 0, Some(value))])
}

/// Commits what is accepted; the code and message of what is not.
fn alter(node: &mut TestNode, changes: &[ConfigChange]) -> Vec<(i16, String)> {
    let decision = incremental_alter_configs(node.image(), node.node(), changes, false);
    node.commit(&decision.records);
    node.reload();
    let shown = |result: Result<(), millstream_metadata::Failure>| match result {
        Ok(()) => (0, String::new()),
        Err(failure) => (failure.code.code(), failure.message.unwrap_or_default()),
    };
    decision.results.into_iter().map(|(_, result)| shown(result)).collect()
}

type Case = (ConfigChange, i16, &'static str);

fn refused_of_topics() -> Vec<Case> {
    vec![
        (
            set(TOPIC, "t1", "retention.ms", "-2"),
            40,
            "Invalid value -2 for configuration retention.ms: Value must be at least -1",
        ),
        (set(TOPIC, "t1", "nonsense", "abc"), 40, "Unknown topic config name: nonsense"),
        (
            change(TOPIC, "t1", &[("retention.ms", 2, Some("5"))]),
            40,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            change(TOPIC, "t1", &[("nonsense", 2, Some("5"))]),
            40,
            "Can't APPEND to key nonsense because its type is not LIST.",
        ),
        (
            change(TOPIC, "t1", &[("retention.ms", 0, None)]),
            42,
            "Null value not supported for : retention.ms",
        ),
        (
            change(TOPIC, "t1", &[("retention.ms", 0, Some("1")), ("retention.ms", 0, Some("1"))]),
            42,
            "Error due to duplicate config keys",
        ),
        (set(TOPIC, "none", "retention.ms", "1"), 3, "The topic 'none' does not exist."),
        (set(TOPIC, "", "retention.ms", "1"), 42, "Default topic resources are not allowed."),
        (
            set(TOPIC, "a/b", "retention.ms", "1"),
            17,
            "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
    ]
}

fn refused_of_others() -> Vec<Case> {
    vec![
        (set(9, "x", "retention.ms", "1"), 42, "Unknown resource type 9"),
        (set(0, "x", "retention.ms", "1"), 42, "Unknown resource type 0"),
        (set(BROKER, "7", "log.retention.ms", "1"), 42, "Unexpected broker id, expected 1, but received 7"),
        (set(BROKER, "x", "log.retention.ms", "1"), 42, "Node id must be an integer, but it is: x"),
        (set(BROKER, "1", "node.id", "1"), 42, "Cannot update these configs dynamically: [node.id]"),
        (
            set(BROKER, "", "num.partitions", "1"),
            42,
            "Cannot update these configs dynamically: [num.partitions]",
        ),
        (
            set(BROKER, "1", "log.retention.ms", "0"),
            42,
            "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
        ),
        (
            set(BROKER, "1", "log.segment.bytes", "0"),
            42,
            "Invalid value 0 for configuration log.segment.bytes: Value must be at least 1048576",
        ),
        (
            set(GROUP, "g", "consumer.session.timeout.ms", "1"),
            40,
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (set(GROUP, "g", "xx", "1"), 40, "Unknown group config name: xx"),
        (
            set(GROUP, "", "consumer.session.timeout.ms", "50000"),
            42,
            "Default group resources are not allowed.",
        ),
        (
            set(CLIENT_METRICS, "cm", "interval.ms", "50"),
            42,
            "Invalid value 50 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
        ),
        (set(CLIENT_METRICS, "cm", "match", "foo"), 40, "Illegal client matching pattern: foo"),
        (set(CLIENT_METRICS, "cm", "foo", "x"), 42, "Unknown client metrics configuration: foo"),
        (set(CLIENT_METRICS, "", "interval.ms", "50000"), 42, "Subscription name can't be empty"),
    ]
}

#[test]
fn a_change_that_kafka_refuses_is_refused_in_its_words() {
    let mut node = TestNode::started();
    node.create("t1", 1, &[]);
    for (change, code, message) in refused_of_topics().into_iter().chain(refused_of_others()) {
        assert_eq!(alter(&mut node, &[change]), [(code, message.to_owned())]);
    }
    let twice = [set(TOPIC, "t1", "retention.ms", "1"), set(TOPIC, "t1", "retention.ms", "2")];
    let expected = (42, "Each resource must appear at most once.".to_owned());
    assert_eq!(alter(&mut node, &twice), [expected.clone(), expected]);
    assert_eq!(node.image().configs().resources().count(), 0);
}

#[test]
fn settings_are_set_appended_to_and_taken_back() {
    let mut node = TestNode::started();
    node.create("t1", 1, &[]);
    let steps: Vec<(ConfigChange, Option<&str>)> = vec![
        (change(TOPIC, "t1", &[("cleanup.policy", 2, Some("compact"))]), Some("delete,compact")),
        (change(TOPIC, "t1", &[("cleanup.policy", 3, Some("delete"))]), Some("compact")),
        (change(TOPIC, "t1", &[("cleanup.policy", 3, Some("compact"))]), Some("")),
        (change(TOPIC, "t1", &[("cleanup.policy", 1, None)]), None),
    ];
    for (change, expected) in steps {
        assert_eq!(alter(&mut node, &[change])[0].0, 0);
        let settings = node.image().configs().topic("t1");
        assert_eq!(settings.get("cleanup.policy").map(String::as_str), expected);
    }
    assert_eq!(node.image().configs().resources().count(), 0, "a resource without settings is none");
}

#[test]
fn what_one_resource_is_refused_does_not_stop_the_others() {
    let mut node = TestNode::started();
    node.create("t1", 1, &[]);
    node.create("t2", 1, &[]);
    let changes = [
        change(TOPIC, "t1", &[("retention.ms", 0, Some("1")), ("segment.ms", 0, Some("0"))]),
        set(TOPIC, "t2", "retention.ms", "2"),
        set(GROUP, "g", "consumer.session.timeout.ms", "50000"),
        set(BROKER, "", "log.retention.ms", "3"),
    ];
    let codes: Vec<_> = alter(&mut node, &changes).into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [40, 0, 0, 0]);
    assert!(node.image().configs().topic("t1").is_empty(), "a resource is altered wholly or not at all");
    assert_eq!(node.layers.dynamic_default, properties(&[("log.retention.ms", "3")]));
}

#[test]
fn a_replacement_takes_back_what_it_does_not_name() {
    let mut node = TestNode::started();
    node.create("t1", 1, &[("retention.ms", "5"), ("segment.ms", "6")]);
    let resource = ConfigResource::new(ResourceType::Topic, "t1");
    let settings = vec![("retention.ms".to_owned(), Some("7".to_owned()))];
    let replacement = ConfigReplacement { resource, settings };
    let decision = alter_configs(node.image(), node.node(), &[replacement], false);
    assert_eq!(decision.records.len(), 2);
    node.commit(&decision.records);
    assert_eq!(*node.image().configs().topic("t1"), properties(&[("retention.ms", "7")]));
}

#[test]
fn setting_what_is_set_is_recorded_for_brokers_alone() {
    let mut node = TestNode::started();
    node.create("t1", 1, &[("retention.ms", "5")]);
    let records = |node: &TestNode, change| {
        incremental_alter_configs(node.image(), node.node(), &[change], false).records.len()
    };
    assert_eq!(records(&node, set(TOPIC, "t1", "retention.ms", "5")), 0);
    alter(&mut node, &[set(BROKER, "1", "log.retention.ms", "5")]);
    assert_eq!(records(&node, set(BROKER, "1", "log.retention.ms", "5")), 1);
}

#[test]
fn features_are_finalized_only_as_far_as_they_are_supported() {
    let node = TestNode::started();
    let update = |name: &str, level, upgrade| {
        let updates = [(name.to_owned(), level, upgrade)];
        let result = update_features(node.image(), NODE, &updates, false);
        result.map(|records| records.len()).map_err(|failure| (failure.code.code(), failure.message.unwrap()))
    };
    let refused = |text: &str| {
        let prefix = "The update failed for all features since the following feature had an error: Invalid update version";
        Err((95, format!("{prefix} {text}")))
    };
    let up = UpgradeType::Upgrade;
    assert_eq!(
        update("metadata.version", 99, up),
        refused("99 for feature metadata.version. Local controller 1 only supports versions 25-30")
    );
    assert_eq!(
        update("foo", 1, up),
        refused("1 for feature foo. Local controller 1 does not support this feature.")
    );
    assert_eq!(
        update("group.version", 1, up),
        refused("1 for feature group.version. Local controller 1 only supports versions 0-0")
    );
    assert_eq!(
        update("group.version", -1, up),
        refused("-1 for feature group.version. A feature version cannot be less than 0.")
    );
    assert_eq!(
        update("metadata.version", 26, UpgradeType::from_code(0)),
        refused("26 for feature metadata.version. The controller does not support the given upgrade type.")
    );
    assert_eq!(update("metadata.version", 30, up), Ok(1));
    assert_eq!(update("metadata.version", 25, up), Ok(0));
    assert_eq!(features::advertised(node.image()), [("metadata.version", 25)]);
}

#[test]
fn a_level_goes_down_only_when_that_is_said() {
    let mut node = TestNode::started();
    let to = |level, upgrade| [("metadata.version".to_owned(), level, upgrade)];
    let records = update_features(node.image(), NODE, &to(30, UpgradeType::Upgrade), false).unwrap();
    node.commit(&records);
    let failure = update_features(node.image(), NODE, &to(25, UpgradeType::Upgrade), false).unwrap_err();
    assert!(failure.message.unwrap().ends_with(
        "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
    ));
    let records = update_features(node.image(), NODE, &to(25, UpgradeType::SafeDowngrade), false).unwrap();
    node.commit(&records);
    assert_eq!(node.image().metadata_version(), 25);
}

#[test]
fn producer_ids_are_given_in_blocks_that_never_overlap() {
    let mut node = TestNode::started();
    let mut next = 0;
    for _ in 0..3 {
        let block = allocate_producer_ids(node.image(), NODE).unwrap();
        assert_eq!((block.first, block.end), (ProducerId(next), ProducerId(next + PRODUCER_ID_BLOCK)));
        node.commit(&[block.record]);
        next += PRODUCER_ID_BLOCK;
    }
    assert_eq!(node.image().next_producer_id(), ProducerId(3000));
}
