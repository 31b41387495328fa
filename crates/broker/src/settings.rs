//! The settings in force: what the process was started with under what the metadata log has set since.

use std::sync::Arc;

use millstream_config::{BrokerConfig, BrokerLayers, CompressionType, ConfigError, Properties, TopicConfig};
use millstream_coordinator::group::GroupConfig;
use millstream_log::{CleanupPolicy, LogConfig, TopicCompression};
use millstream_record::{Compression, batch::TimestampType};
use tokio::sync::watch;
use tracing::warn;

/// Settings as they are now; replaced as a whole when the metadata changes them.
pub(crate) struct Current {
    pub(crate) layers: BrokerLayers,
    pub(crate) broker: BrokerConfig,
}

pub(crate) struct DynamicSettings {
    current: watch::Sender<Arc<Current>>,
}

impl DynamicSettings {
    /// From the file and the command line alone.
    pub(crate) fn new(fixed: Properties) -> Result<Arc<Self>, ConfigError> {
        let layers = BrokerLayers::fixed(fixed);
        let broker = BrokerConfig::resolve(&layers)?;
        Ok(Arc::new(Self { current: watch::Sender::new(Arc::new(Current { layers, broker })) }))
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.borrow())
    }

    /// Wakes whenever they change.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    /// At start: what the process has found out about itself counts as if it had been set, as DescribeConfigs
    /// shows it.
    pub(crate) fn complete(&self, effective: Properties) -> Result<(), ConfigError> {
        let mut layers = self.current().layers.clone();
        layers.fixed.extend(effective);
        let broker = BrokerConfig::resolve(&layers)?;
        self.current.send_replace(Arc::new(Current { layers, broker }));
        Ok(())
    }

    /// Takes over what the metadata log says; true if anything changed. A stored value that is no longer
    /// valid (a directory from elsewhere) is left out, and said.
    pub(crate) fn update(&self, dynamic: Properties, dynamic_default: Properties) -> bool {
        let before = self.current();
        if before.layers.dynamic == dynamic && before.layers.dynamic_default == dynamic_default {
            return false;
        }
        let mut layers = BrokerLayers { dynamic, dynamic_default, fixed: before.layers.fixed.clone() };
        for error in layers.drop_invalid_dynamic() {
            warn!(%error, "a stored broker setting is left out");
        }
        match BrokerConfig::resolve(&layers) {
            Ok(broker) => {
                self.current.send_replace(Arc::new(Current { layers, broker }));
                true
            }
            Err(error) => {
                warn!(%error, "the stored broker settings are left out");
                false
            }
        }
    }
}

impl Current {
    /// A topic's settings over the broker's, as its logs take them. Values that are stored were valid.
    pub(crate) fn log_config(&self, overrides: &Properties) -> LogConfig {
        let topic = TopicConfig::resolve(overrides, &self.layers).unwrap_or_else(|error| {
            warn!(%error, "a stored topic setting is left out");
            self.broker.topic_defaults.clone()
        });
        log_config(&topic)
    }

    /// The metadata log's own: small segments, and nothing is dropped by age; snapshots decide.
    pub(crate) fn metadata_log_config(&self) -> LogConfig {
        let limits = &self.broker.metadata_log;
        LogConfig {
            segment_bytes: limits.segment_bytes,
            segment_ms: limits.segment_ms,
            retention_bytes: None,
            retention_ms: None,
            ..LogConfig::default()
        }
    }

    pub(crate) fn group_config(&self) -> GroupConfig {
        let (groups, offsets) = (&self.broker.groups, &self.broker.offsets);
        GroupConfig {
            max_size: usize::try_from(groups.limits.members_max).unwrap_or(usize::MAX),
            session_timeout_min_ms: groups.limits.session_timeout_min_ms,
            session_timeout_max_ms: groups.limits.session_timeout_max_ms,
            initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms.into(),
            offset_metadata_max: usize::try_from(offsets.metadata_max_bytes).unwrap_or(usize::MAX),
            offsets_retention_ms: offsets.retention_ms,
            offsets_retention_check_interval_ms: i64::try_from(offsets.retention_check_interval_ms)
                .unwrap_or(i64::MAX),
        }
    }
}

fn log_config(topic: &TopicConfig) -> LogConfig {
    LogConfig {
        segment_bytes: topic.segment_bytes,
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        segment_index_bytes: topic.segment_index_bytes,
        index_interval_bytes: topic.index_interval_bytes,
        preallocate: topic.preallocate,
        flush_messages: topic.flush_messages.unwrap_or(i64::MAX),
        flush_ms: topic.flush_ms.unwrap_or(i64::MAX),
        retention_bytes: topic.retention_bytes,
        retention_ms: topic.retention_ms,
        cleanup_policy: CleanupPolicy {
            delete: topic.cleanup_policy.delete,
            compact: topic.cleanup_policy.compact,
        },
        file_delete_delay_ms: topic.file_delete_delay_ms,
        max_message_bytes: usize::try_from(topic.max_message_bytes).unwrap_or(usize::MAX),
        compression: compression(topic.compression),
        timestamp_type: match topic.message_timestamp_type {
            millstream_config::TimestampType::CreateTime => TimestampType::CreateTime,
            millstream_config::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
        timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
    }
}

fn compression(kind: CompressionType) -> TopicCompression {
    let with = |codec, level| TopicCompression::Codec { codec, level };
    match kind {
        CompressionType::Producer => TopicCompression::Producer,
        CompressionType::Uncompressed => with(Compression::None, None),
        CompressionType::Gzip(level) => with(Compression::Gzip, level.and_then(|l| i32::try_from(l).ok())),
        CompressionType::Snappy => with(Compression::Snappy, None),
        CompressionType::Lz4(level) => with(Compression::Lz4, Some(level)),
        CompressionType::Zstd(level) => with(Compression::Zstd, Some(level)),
    }
}
