//! Changes to stored settings, and whether a resource's settings may stand together.
//! `ConfigurationControlManager`, `ControllerConfigurationValidator`, `LogConfig.validate`,
//! `GroupConfig.validate`, `ClientMetricsConfigs.validate`, `DynamicBrokerConfig`.

use std::collections::BTreeSet;

use crate::{
    BrokerLayers, ConfigError, Definition, Kind, Properties, Scope, UpdateMode, Value, find,
    topic::{self, TopicConfig},
    value::split_list,
};

/// One operation of IncrementalAlterConfigs on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set,
    Delete,
    Append,
    Subtract,
}

impl AlterOp {
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Delete => "DELETE",
            Self::Append => "APPEND",
            Self::Subtract => "SUBTRACT",
        }
    }
}

/// The setting after the operation; `None` is not set. Lists that are not set begin as the key's default.
pub fn apply_incremental(
    scope: Scope,
    name: &str,
    op: AlterOp,
    current: Option<&str>,
    operand: Option<&str>,
) -> Result<Option<String>, ConfigError> {
    if op == AlterOp::Delete {
        return Ok(None);
    }
    let operand = operand.ok_or_else(|| ConfigError::NullValue(name.to_owned()))?;
    if op == AlterOp::Set {
        return Ok(Some(operand.to_owned()));
    }
    let definition = find(scope, name).filter(|definition| definition.kind == Kind::List);
    let Some(definition) = definition else {
        // Kafka says APPEND for either operation only where it was APPEND.
        return Err(ConfigError::NotAList { op: op.name(), name: name.to_owned() });
    };
    let mut list = split_list(current.or(definition.default).unwrap_or(""));
    for element in operand.split(',') {
        match op {
            AlterOp::Append if !list.iter().any(|old| old == element) => list.push(element.to_owned()),
            AlterOp::Subtract => {
                if let Some(place) = list.iter().position(|old| old == element) {
                    list.remove(place);
                }
            }
            _ => {}
        }
    }
    Ok(Some(list.join(",")))
}

/// Whether a topic may have these settings.
pub fn validate_topic(settings: &Properties, layers: &BrokerLayers) -> Result<(), ConfigError> {
    if let Some(unknown) = settings.keys().find(|name| find(Scope::Topic, name).is_none()) {
        return Err(ConfigError::UnknownTopicKey(unknown.clone()));
    }
    for (name, text) in settings {
        let definition = find(Scope::Topic, name).expect("unknown keys were refused above");
        definition.parse(text)?;
    }
    let number = |name| {
        let value = topic::effective(name, settings, layers)?;
        Ok::<_, ConfigError>(value.as_ref().and_then(Value::as_i64).unwrap_or(i64::MAX))
    };
    let (low, high) = ("min.compaction.lag.ms", "max.compaction.lag.ms");
    let (low_value, high_value) = (number(low)?, number(high)?);
    if low_value > high_value {
        return Err(ConfigError::TopicConflict { low, low_value, high, high_value });
    }
    if settings.get("remote.storage.enable").is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
        return Err(ConfigError::RemoteStorageDisabled);
    }
    TopicConfig::resolve(settings, layers).map(|_| ())
}

/// Whether these settings may be stored for one broker (`per_broker`) or as the default of all. `set` are
/// those that the request sets: only they must be dynamic, for a directory of Kafka's may hold others.
/// Keys that Kafka does not know are stored too: plug-ins and listeners have their own.
pub fn validate_broker(
    settings: &Properties,
    set: &[&str],
    per_broker: bool,
    layers: &BrokerLayers,
) -> Result<(), ConfigError> {
    let of_request = || {
        let sorted: BTreeSet<&str> = set.iter().copied().collect();
        sorted.into_iter().filter_map(|name| find(Scope::Broker, name))
    };
    let names =
        |definitions: Vec<&Definition>| definitions.iter().map(|d| d.name).collect::<Vec<_>>().join(", ");
    let fixed = names(of_request().filter(|d| !d.is_dynamic()).collect());
    if !fixed.is_empty() {
        return Err(ConfigError::NotDynamic(fixed));
    }
    let per_broker_only = names(of_request().filter(|d| d.update == UpdateMode::PerBroker).collect());
    if !per_broker && !per_broker_only.is_empty() {
        return Err(ConfigError::PerBrokerOnly(per_broker_only));
    }
    for definition in of_request() {
        settings.get(definition.name).map(|text| definition.parse(text)).transpose()?;
    }
    let mut after = layers.clone();
    let layer = if per_broker { &mut after.dynamic } else { &mut after.dynamic_default };
    layer.clone_from(settings);
    crate::broker::check_requirements(&after)
}

/// A group key, its lower and its upper bound.
type GroupBound = (&'static str, Option<&'static str>, Option<&'static str>);

const GROUP_BOUNDS: &[GroupBound] = &[
    (
        "consumer.heartbeat.interval.ms",
        Some("group.consumer.min.heartbeat.interval.ms"),
        Some("group.consumer.max.heartbeat.interval.ms"),
    ),
    (
        "consumer.session.timeout.ms",
        Some("group.consumer.min.session.timeout.ms"),
        Some("group.consumer.max.session.timeout.ms"),
    ),
    (
        "consumer.assignment.interval.ms",
        Some("group.consumer.min.assignment.interval.ms"),
        Some("group.consumer.max.assignment.interval.ms"),
    ),
    (
        "share.heartbeat.interval.ms",
        Some("group.share.min.heartbeat.interval.ms"),
        Some("group.share.max.heartbeat.interval.ms"),
    ),
    (
        "share.session.timeout.ms",
        Some("group.share.min.session.timeout.ms"),
        Some("group.share.max.session.timeout.ms"),
    ),
    (
        "share.record.lock.duration.ms",
        Some("group.share.min.record.lock.duration.ms"),
        Some("group.share.max.record.lock.duration.ms"),
    ),
    (
        "share.delivery.count.limit",
        Some("group.share.min.delivery.count.limit"),
        Some("group.share.max.delivery.count.limit"),
    ),
    (
        "share.partition.max.record.locks",
        Some("group.share.min.partition.max.record.locks"),
        Some("group.share.max.partition.max.record.locks"),
    ),
    (
        "share.assignment.interval.ms",
        Some("group.share.min.assignment.interval.ms"),
        Some("group.share.max.assignment.interval.ms"),
    ),
    (
        "streams.heartbeat.interval.ms",
        Some("group.streams.min.heartbeat.interval.ms"),
        Some("group.streams.max.heartbeat.interval.ms"),
    ),
    (
        "streams.session.timeout.ms",
        Some("group.streams.min.session.timeout.ms"),
        Some("group.streams.max.session.timeout.ms"),
    ),
    ("streams.num.standby.replicas", None, Some("group.streams.max.standby.replicas")),
    (
        "streams.assignment.interval.ms",
        Some("group.streams.min.assignment.interval.ms"),
        Some("group.streams.max.assignment.interval.ms"),
    ),
];

/// Whether a group may have these settings.
pub fn validate_group(settings: &Properties, layers: &BrokerLayers) -> Result<(), ConfigError> {
    for (name, text) in settings {
        let definition =
            find(Scope::Group, name).ok_or_else(|| ConfigError::UnknownGroupKey(name.clone()))?;
        definition.parse(text)?;
    }
    let broker = |bound: &str| Ok::<_, ConfigError>(layers.value(bound)?.as_ref().and_then(Value::as_i64));
    for &(name, low, high) in GROUP_BOUNDS {
        let Some(text) = settings.get(name) else { continue };
        let Ok(number) = text.trim().parse::<i64>() else { continue };
        if let Some(bound) = low
            && broker(bound)?.is_some_and(|low| number < low)
        {
            return Err(ConfigError::GroupBound { name, relation: "greater than or equal to", bound });
        }
        if let Some(bound) = high
            && broker(bound)?.is_some_and(|high| number > high)
        {
            return Err(ConfigError::GroupBound { name, relation: "less than or equal to", bound });
        }
    }
    Ok(())
}

const CLIENT_LABELS: [&str; 6] = [
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Whether a client metrics subscription may have these settings.
pub fn validate_client_metrics(settings: &Properties) -> Result<(), ConfigError> {
    for (name, text) in settings {
        let definition = find(Scope::ClientMetrics, name)
            .ok_or_else(|| ConfigError::UnknownClientMetricsKey(name.clone()))?;
        match definition.parse(text)? {
            Value::Number(interval) if !(100..=3_600_000).contains(&interval) => {
                return Err(ConfigError::ClientMetricsInterval(interval));
            }
            Value::List(patterns) if name == "match" => {
                let bad = patterns.iter().find(|pattern| !is_match_pattern(pattern));
                bad.map_or(Ok(()), |bad| Err(ConfigError::ClientMetricsMatch(bad.clone())))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// `LABEL=PATTERN`. The pattern is a Java regular expression, of which only the balance of brackets is
/// checked here: nothing matches against it.
fn is_match_pattern(text: &str) -> bool {
    let Some((label, pattern)) = text.split_once('=') else { return false };
    let balance = pattern.bytes().try_fold(0_i32, |depth, byte| match byte {
        b'(' => Some(depth + 1),
        b')' if depth == 0 => None,
        b')' => Some(depth - 1),
        _ => Some(depth),
    });
    CLIENT_LABELS.contains(&label.trim()) && !pattern.trim().is_empty() && balance == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn topic_error(pairs: &[(&str, &str)]) -> String {
        validate_topic(&settings(pairs), &BrokerLayers::default()).unwrap_err().to_string()
    }

    /// Key, value, and what Kafka 4.3.1 said.
    const REFUSED: &[(&str, &str, &str)] = &[
        ("retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"),
        (
            "retention.ms",
            "abc",
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        ("nonsense", "1", "Unknown topic config name: nonsense"),
        ("message.format.version", "2.0", "Unknown topic config name: message.format.version"),
        (
            "cleanup.policy",
            "foo",
            "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        ("cleanup.policy", "compact,,delete", "Configuration 'cleanup.policy' values must not be empty."),
        (
            "compression.type",
            "none",
            "Invalid value none for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
        (
            "compression.gzip.level",
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        (
            "compression.lz4.level",
            "18",
            "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "leader.replication.throttled.replicas",
            "1:2,*",
            "Invalid value [1:2, *] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
        (
            "segment.bytes",
            "14",
            "Invalid value 14 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            "segment.bytes",
            "3000000000",
            "Invalid value 3000000000 for configuration segment.bytes: Not a number of type INT",
        ),
        ("segment.bytes", "", "Invalid value  for configuration segment.bytes: Not a number of type INT"),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
    ];

    #[test]
    fn a_topics_bad_value_is_refused_in_kafkas_words() {
        for (name, value, message) in REFUSED {
            assert_eq!(topic_error(&[(name, value)]), *message);
        }
        assert_eq!(
            topic_error(&[("max.compaction.lag.ms", "5"), ("min.compaction.lag.ms", "10")]),
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"
        );
    }

    #[test]
    fn what_kafka_accepts_of_a_topic_is_accepted() {
        for (name, value) in [
            ("cleanup.policy", "delete,delete"),
            ("cleanup.policy", ""),
            ("cleanup.policy", " compact , delete "),
            ("preallocate", " TRUE "),
            ("leader.replication.throttled.replicas", "*"),
            ("leader.replication.throttled.replicas", "0:1,1:1"),
            ("internal.segment.bytes", "5000"),
            ("remote.log.copy.disable", "true"),
            ("local.retention.ms", "99999999999"),
            ("retention.bytes", "-5"),
            ("min.insync.replicas", "5"),
        ] {
            let settings = settings(&[(name, value)]);
            assert_eq!(validate_topic(&settings, &BrokerLayers::default()), Ok(()), "{name}={value}");
        }
    }

    #[test]
    fn lists_are_appended_to_and_subtracted_from_their_default() {
        let change = |op, current, operand| {
            apply_incremental(Scope::Topic, "cleanup.policy", op, current, Some(operand)).unwrap().unwrap()
        };
        assert_eq!(change(AlterOp::Append, None, "compact"), "delete,compact");
        assert_eq!(change(AlterOp::Append, Some("delete,compact"), "compact"), "delete,compact");
        assert_eq!(change(AlterOp::Subtract, Some("delete,compact"), "delete"), "compact");
        assert_eq!(change(AlterOp::Subtract, Some("compact"), "compact"), "");
        let error = apply_incremental(Scope::Topic, "retention.ms", AlterOp::Append, None, Some("5"));
        assert_eq!(
            error.unwrap_err().to_string(),
            "Can't APPEND to key retention.ms because its type is not LIST."
        );
    }

    fn broker_error(per_broker: bool, pairs: &[(&str, &str)]) -> String {
        let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        let result = validate_broker(&settings(pairs), &names, per_broker, &BrokerLayers::default());
        result.unwrap_err().to_string()
    }

    #[test]
    fn only_dynamic_broker_keys_can_be_altered() {
        assert_eq!(
            broker_error(true, &[("num.partitions", "1"), ("log.retention.hours", "1")]),
            "Cannot update these configs dynamically: [log.retention.hours, num.partitions]"
        );
        assert_eq!(
            broker_error(true, &[("num.io.threads", "4")]),
            "Cannot update these configs dynamically: [num.io.threads]",
            "in Kafka it can be altered, but here it would have no effect"
        );
        assert_eq!(
            broker_error(true, &[("log.retention.ms", "0")]),
            "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"
        );
        assert_eq!(
            broker_error(true, &[("log.segment.bytes", "0")]),
            "Invalid value 0 for configuration log.segment.bytes: Value must be at least 1048576"
        );
        let custom = settings(&[("my.custom", "x"), ("log.retention.ms", "-2")]);
        let set = ["my.custom", "log.retention.ms"];
        assert_eq!(validate_broker(&custom, &set, true, &BrokerLayers::default()), Ok(()));
        let of_kafka = settings(&[("num.io.threads", "4"), ("log.retention.ms", "1")]);
        assert_eq!(
            validate_broker(&of_kafka, &["log.retention.ms"], true, &BrokerLayers::default()),
            Ok(()),
            "what a directory of Kafka's holds already does not stand in the way"
        );
    }

    #[test]
    fn a_groups_settings_stay_within_the_brokers_bounds() {
        let error = |pairs: &[(&str, &str)]| {
            validate_group(&settings(pairs), &BrokerLayers::default()).unwrap_err().to_string()
        };
        assert_eq!(
            error(&[("consumer.session.timeout.ms", "1")]),
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"
        );
        assert_eq!(
            error(&[("streams.num.standby.replicas", "9")]),
            "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas"
        );
        assert_eq!(error(&[("xx", "1")]), "Unknown group config name: xx");
        assert_eq!(
            error(&[("share.auto.offset.reset", "foo")]),
            "Invalid value foo for configuration share.auto.offset.reset: Invalid value `foo` for configuration share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'."
        );
    }

    #[test]
    fn a_client_metrics_subscription_is_checked() {
        let error =
            |name, value| validate_client_metrics(&settings(&[(name, value)])).unwrap_err().to_string();
        assert_eq!(
            error("interval.ms", "50"),
            "Invalid value 50 for interval.ms, interval must be between 100 and 3600000 (1 hour)"
        );
        for bad in ["foo", "foo=bar", "client_id=("] {
            assert_eq!(error("match", bad), format!("Illegal client matching pattern: {bad}"));
        }
        assert_eq!(error("foo", "x"), "Unknown client metrics configuration: foo");
        assert_eq!(validate_client_metrics(&settings(&[("match", "client_id=a.*")])), Ok(()));
    }
}
