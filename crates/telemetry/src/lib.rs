//! What Millstream tells about itself: metrics under the names that Kafka dashboards chart
//! (jmx_exporter's `kafka_<domain>_<type>_<name>`), and logs. It knows no part of the platform; the
//! parts hold these handles and count.

mod logs;
mod metrics;

pub use logs::{LogFormat, ROOT_LOGGER, init_logs, log_level, set_log_level};
pub use metrics::{ErrorLabels, Metrics, RequestLabels, TopicMetrics};
pub use prometheus_client::{
    collector::Collector, encoding::DescriptorEncoder, encoding::EncodeLabelSet, encoding::EncodeMetric,
    metrics as kinds,
};
pub use tracing::Level;
