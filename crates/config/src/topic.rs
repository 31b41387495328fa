//! A topic's configuration, resolved: its own settings over the broker's. `LogConfig`.

use crate::{BrokerLayers, ConfigError, Properties, Scope, Value, keys::known};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// `compression.type` with the level of its codec; `None` is the codec's own choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// Batches are stored as they come.
    Producer,
    Uncompressed,
    Gzip(Option<u32>),
    Snappy,
    Lz4(i32),
    Zstd(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// Everything that the log and the produce path need to know of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    pub cleanup_policy: CleanupPolicy,
    pub compression: CompressionType,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    /// `None`: never because of this.
    pub flush_messages: Option<i64>,
    pub flush_ms: Option<i64>,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: u32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: u32,
    pub preallocate: bool,
    /// `None`: without limit.
    pub retention_bytes: Option<u64>,
    pub retention_ms: Option<i64>,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
}

impl TopicConfig {
    /// The topic's own settings over the broker's layers. Errors only for values that are not valid,
    /// which are never stored by us.
    pub fn resolve(overrides: &Properties, layers: &BrokerLayers) -> Result<Self, ConfigError> {
        Resolver { overrides, layers }.resolve()
    }
}

/// The value of a topic key: its own, the broker's, the default. `None` for a key that is null.
pub(crate) fn effective(
    name: &str,
    overrides: &Properties,
    layers: &BrokerLayers,
) -> Result<Option<Value>, ConfigError> {
    let definition = known(Scope::Topic, name);
    if let Some(text) = overrides.get(name) {
        return definition.parse(text).map(Some);
    }
    let from_broker = layers.first_of(definition.synonyms)?;
    let Some(value) = from_broker else {
        return definition.default.map(|text| definition.parse(text)).transpose();
    };
    // Kafka reads every negative `log.retention.ms` as "without limit", but a topic's only as -1.
    let value = match value {
        Value::Number(n) if name == "retention.ms" && n < -1 => Value::Number(-1),
        value => value,
    };
    Ok(Some(value))
}

struct Resolver<'a> {
    overrides: &'a Properties,
    layers: &'a BrokerLayers,
}

impl Resolver<'_> {
    fn resolve(&self) -> Result<TopicConfig, ConfigError> {
        let policy = self.list("cleanup.policy")?;
        let has = |word: &str| policy.iter().any(|element| element == word);
        let never = |n: i64| (n < i64::MAX).then_some(n);
        let segment_bytes = match effective("internal.segment.bytes", self.overrides, self.layers)? {
            Some(Value::Number(n)) => u32::try_from(n).unwrap_or(0).max(1),
            _ => self.u32("segment.bytes")?,
        };
        Ok(TopicConfig {
            cleanup_policy: CleanupPolicy { delete: has("delete"), compact: has("compact") },
            compression: self.compression()?,
            delete_retention_ms: self.number("delete.retention.ms")?,
            file_delete_delay_ms: self.number("file.delete.delay.ms")?,
            flush_messages: never(self.number("flush.messages")?),
            flush_ms: never(self.number("flush.ms")?),
            index_interval_bytes: self.u32("index.interval.bytes")?,
            max_compaction_lag_ms: self.number("max.compaction.lag.ms")?,
            max_message_bytes: self.u32("max.message.bytes")?,
            message_timestamp_after_max_ms: self.number("message.timestamp.after.max.ms")?,
            message_timestamp_before_max_ms: self.number("message.timestamp.before.max.ms")?,
            message_timestamp_type: match self.text("message.timestamp.type")?.as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: self.double("min.cleanable.dirty.ratio")?,
            min_compaction_lag_ms: self.number("min.compaction.lag.ms")?,
            min_insync_replicas: self.u32("min.insync.replicas")?,
            preallocate: self.bool("preallocate")?,
            retention_bytes: u64::try_from(self.number("retention.bytes")?).ok(),
            retention_ms: Some(self.number("retention.ms")?).filter(|ms| *ms >= 0),
            segment_bytes,
            segment_index_bytes: self.u32("segment.index.bytes")?,
            segment_jitter_ms: self.number("segment.jitter.ms")?,
            segment_ms: self.number("segment.ms")?,
        })
    }

    fn compression(&self) -> Result<CompressionType, ConfigError> {
        let level = |name| self.number(name).map(|n| i32::try_from(n).expect("levels are of type INT"));
        Ok(match self.text("compression.type")?.as_str() {
            "uncompressed" => CompressionType::Uncompressed,
            "gzip" => CompressionType::Gzip(u32::try_from(level("compression.gzip.level")?).ok()),
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4(level("compression.lz4.level")?),
            "zstd" => CompressionType::Zstd(level("compression.zstd.level")?),
            _ => CompressionType::Producer,
        })
    }

    fn value(&self, name: &str) -> Result<Value, ConfigError> {
        let value = effective(name, self.overrides, self.layers)?;
        Ok(value.unwrap_or_else(|| panic!("topic key {name} has a default")))
    }

    fn number(&self, name: &str) -> Result<i64, ConfigError> {
        Ok(self.value(name)?.as_i64().unwrap_or_else(|| panic!("{name} is a number")))
    }

    fn u32(&self, name: &str) -> Result<u32, ConfigError> {
        let number = self.number(name)?;
        Ok(u32::try_from(number).unwrap_or_else(|_| panic!("{name} is of type INT and not negative")))
    }

    fn double(&self, name: &str) -> Result<f64, ConfigError> {
        Ok(self.value(name)?.as_f64().unwrap_or_else(|| panic!("{name} is a double")))
    }

    fn bool(&self, name: &str) -> Result<bool, ConfigError> {
        Ok(self.value(name)?.as_bool().unwrap_or_else(|| panic!("{name} is a boolean")))
    }

    fn text(&self, name: &str) -> Result<String, ConfigError> {
        Ok(self.value(name)?.to_string())
    }

    fn list(&self, name: &str) -> Result<Vec<String>, ConfigError> {
        Ok(self.value(name)?.as_list().unwrap_or_else(|| panic!("{name} is a list")).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn a_topic_without_settings_has_kafkas_defaults() {
        let config = TopicConfig::resolve(&Properties::new(), &BrokerLayers::default()).unwrap();
        assert_eq!(config.retention_ms, Some(604_800_000));
        assert_eq!(config.retention_bytes, None);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(config.segment_ms, 604_800_000);
        assert_eq!(config.flush_messages, None);
        assert_eq!(config.compression, CompressionType::Producer);
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: false });
    }

    #[test]
    fn the_finer_unit_of_a_broker_key_goes_before_the_coarser() {
        let mut layers = BrokerLayers::fixed(properties(&[("log.retention.hours", "2")]));
        let retention = |layers: &BrokerLayers| {
            TopicConfig::resolve(&Properties::new(), layers).map(|c| c.retention_ms).unwrap()
        };
        assert_eq!(retention(&layers), Some(7_200_000));
        layers.fixed.insert("log.retention.minutes".into(), "3".into());
        assert_eq!(retention(&layers), Some(180_000));
        layers.dynamic_default.insert("log.retention.ms".into(), "4".into());
        assert_eq!(retention(&layers), Some(4));
        layers.dynamic.insert("log.retention.ms".into(), "-5".into());
        assert_eq!(retention(&layers), None);
    }

    #[test]
    fn a_topics_own_setting_goes_before_the_brokers() {
        let layers = BrokerLayers::fixed(properties(&[("log.segment.bytes", "2097152")]));
        let own = properties(&[("segment.bytes", "1048576"), ("cleanup.policy", "compact,delete")]);
        let config = TopicConfig::resolve(&own, &layers).unwrap();
        assert_eq!(config.segment_bytes, 1_048_576);
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
    }

    #[test]
    fn tests_may_have_segments_below_the_lower_limit() {
        let own = properties(&[("internal.segment.bytes", "5000")]);
        assert_eq!(TopicConfig::resolve(&own, &BrokerLayers::default()).unwrap().segment_bytes, 5000);
    }
}
