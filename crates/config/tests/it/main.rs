//! Every key of Kafka 4.3.1 is defined here as Kafka defines it, and every difference is listed.

use std::collections::{BTreeMap, BTreeSet};

use millstream_config::{Definition, Effect, Importance, Scope, UpdateMode, all, find};

const KAFKA: &str = include_str!("../fixtures/kafka-4.3.1-config-keys.tsv");

struct Row {
    scope: Scope,
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    importance: &'static str,
    valid: &'static str,
    internal: bool,
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut cells = line.split('\t');
        let scope = match cells.next()? {
            "broker" => Scope::Broker,
            "topic" => Scope::Topic,
            "group" => Scope::Group,
            "cm" => Scope::ClientMetrics,
            "client" => Scope::Client,
            "producer" => Scope::Producer,
            "consumer" => Scope::Consumer,
            _ => return None,
        };
        let mut cell = || cells.next().unwrap_or("");
        Some(Row {
            scope,
            name: cell(),
            kind: cell(),
            default: cell(),
            importance: cell(),
            valid: cell(),
            internal: cell() == "INTERNAL",
        })
    };
    KAFKA.lines().filter_map(row).collect()
}

/// The keys of one of the lists at the end.
fn list(name: &str) -> BTreeSet<&'static str> {
    let line = KAFKA.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    line.expect("the fixture has the list").split(',').collect()
}

/// Rows of Kafka's against definitions of ours; `differs` says how, if they do.
fn differences(differs: impl Fn(&Row, &Definition) -> Option<String>) -> BTreeMap<&'static str, String> {
    let compare = |row: Row| {
        let definition = find(row.scope, row.name).unwrap_or_else(|| panic!("{} is not defined", row.name));
        Some((row.name, differs(&row, definition)?))
    };
    rows().into_iter().filter_map(compare).collect()
}

#[test]
fn every_key_of_kafka_is_defined_and_no_other() {
    let known: BTreeSet<_> = rows().iter().map(|row| (row.scope, row.name)).collect();
    let scopes = [Scope::Broker, Scope::Topic, Scope::Group, Scope::ClientMetrics];
    let clients = [Scope::Client, Scope::Producer, Scope::Consumer];
    let ours: BTreeSet<_> = scopes
        .into_iter()
        .chain(clients)
        .flat_map(all)
        .map(|definition| (definition.scope, definition.name))
        .collect();
    assert_eq!(known.difference(&ours).count(), 0);
    let beyond: Vec<_> = ours.difference(&known).map(|(_, name)| *name).collect();
    // Kafka takes these three of a broker's dynamic keys from elsewhere (`QuotaConfig`).
    let quotas = [
        "follower.replication.throttled.rate",
        "leader.replication.throttled.rate",
        "replica.alter.log.dirs.io.max.bytes.per.second",
    ];
    // This one is librdkafka's.
    assert_eq!(beyond, [&quotas[..], &["partitioner"]].concat());
}

#[test]
fn types_and_importances_are_kafkas() {
    let found = differences(|row, definition| {
        let importance = match definition.importance {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        };
        let ours = (definition.kind.name(), importance, definition.internal);
        (ours != (row.kind, row.importance, row.internal)).then(|| format!("{ours:?}"))
    });
    assert_eq!(found, BTreeMap::new());
}

#[test]
fn defaults_are_kafkas_or_say_that_they_are_not() {
    let found = differences(|row, definition| {
        let default = definition.kafka_default.or(definition.default);
        let kafka = row.default.replace("class ", "");
        let kafka = match row.kind {
            "LIST" => kafka.trim_matches(['[', ']']).replace(", ", ","),
            _ => kafka.to_owned(),
        };
        let same = match default {
            None => kafka == "<null>" || kafka == "<required>",
            Some(text) => kafka == text,
        };
        (!same).then(|| format!("{default:?}"))
    });
    // Kafka asks for them; a node of Millstream needs no set-up.
    let expected = [("node.id", r#"Some("1")"#), ("process.roles", r#"Some("broker,controller")"#)];
    let expected = expected.map(|(name, ours)| (name, ours.to_owned()));
    assert_eq!(found, BTreeMap::from(expected));
}

#[test]
fn ranges_are_kafkas() {
    let found = differences(|row, definition| {
        let ours = definition.valid_values();
        let kafka = match row.valid {
            "non-empty string" => "not empty",
            "non-null string" | "non-empty list" => "",
            other => other,
        };
        // Of what is refused only the default is taken.
        let is_refused = matches!(definition.effect, Effect::Refused(_));
        (ours != kafka && !is_refused).then_some(ours)
    });
    let expected = [
        // A share of time, in a key without effect.
        ("remote.log.manager.task.retry.jitter", String::new()),
        // Kafka's default is not one of its own valid values, which it reads in any case.
        ("share.acquire.mode", "(case insensitive) [batch_optimized, record_limit]".to_owned()),
    ];
    assert_eq!(found, BTreeMap::from(expected));
}

#[test]
fn only_what_kafka_lets_change_at_run_time_does() {
    let (dynamic, per_broker) = (list("dynamic"), list("per-broker"));
    let found: Vec<_> = all(Scope::Broker)
        .filter(|definition| {
            let kafka = match dynamic.contains(definition.name) {
                true if per_broker.contains(definition.name) => UpdateMode::PerBroker,
                true => UpdateMode::ClusterWide,
                false => UpdateMode::ReadOnly,
            };
            definition.update != kafka
        })
        .map(|definition| definition.name)
        .collect();
    // Sockets are opened once, and logs are recovered once.
    let expected = ["listener.security.protocol.map", "listeners", "num.recovery.threads.per.data.dir"];
    assert_eq!(BTreeSet::from_iter(found), BTreeSet::from(expected));
}
