//! What a topic's configuration means to its logs. `LogConfig`; the defaults are Kafka's.

use millstream_record::{Compression, batch::TimestampType};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    pub preallocate: bool,
    /// `flush.messages`; only [`Durability::Os`](crate::Durability::Os) has use for it.
    pub flush_messages: i64,
    /// `flush.ms`; likewise.
    pub flush_ms: i64,
    /// `retention.bytes`; None is without limit.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; None is without limit.
    pub retention_ms: Option<i64>,
    pub cleanup_policy: CleanupPolicy,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `max.message.bytes`, of a whole batch.
    pub max_message_bytes: usize,
    pub compression: TopicCompression,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
}

/// `cleanup.policy`; both may be set, and since Kafka 4.2 neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// `compression.type`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCompression {
    /// As the producer sent it.
    Producer,
    /// With this codec, whatever the producer used; `level` is the codec's own, None its default.
    Codec { codec: Compression, level: Option<i32> },
}

impl Default for LogConfig {
    fn default() -> Self {
        const HOUR_MS: i64 = 60 * 60 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * HOUR_MS,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            preallocate: false,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            retention_bytes: None,
            retention_ms: Some(7 * 24 * HOUR_MS),
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            file_delete_delay_ms: 60_000,
            max_message_bytes: (1 << 20) + 12,
            compression: TopicCompression::Producer,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: HOUR_MS,
        }
    }
}
