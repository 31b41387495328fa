//! Kafka's configuration keys: one [`Definition`] each, from which come parsing and validation, the
//! broker's typed views, the answers to DescribeConfigs, and the reference documentation; the client's typed views
//! are in `client`.
//!
//! Must not know: files, the network, the metadata log. Layers of settings come in as [`Properties`].
//! Invariants: every key of Kafka 4.3.1 has exactly one definition per scope, with Kafka's type, range
//! and update mode; a default of ours that differs says so in the definition ([`Definition::kafka_default`]);
//! typed views never look a key up by name once they are resolved.
//! Source: `ConfigDef`, `KafkaConfig`, `LogConfig`, `GroupConfig`, `ClientMetricsConfigs` and
//! `DynamicBrokerConfig` of Kafka 4.3.1, whose answers the tests pin.

mod alter;
mod broker;
mod definition;
mod describe;
mod duration;
mod error;
mod keys;
mod layers;
mod load;
mod nearest;
mod reference;
mod topic;
mod value;

pub use alter::{
    AlterOp, apply_incremental, validate_broker, validate_client_metrics, validate_group, validate_topic,
};
pub use broker::{
    BrokerConfig, ConnectionLimits, FetchConfig, GroupLimits, GroupsConfig, InternalTopic, MetadataLogConfig,
    NetworkConfig, OffsetsConfig, StorageConfig, TopicsConfig,
};
pub use definition::{Definition, Effect, Importance, Kind, Scope, Synonym, Unit, UpdateMode, Why};
pub use describe::{
    Entry, EntrySynonym, describe_broker, describe_client_metrics, describe_default_broker, describe_group,
    describe_topic,
};
pub use error::ConfigError;
pub use keys::{all, find};
pub use layers::{BrokerLayers, Source};
pub use load::{
    LoadError, Loaded, Notice, ProgramOptions, from_millstream_toml, from_server_properties, from_set,
    parse_properties,
};
pub use nearest::nearest;
pub use reference::{client_reference, reference};
pub use topic::{CleanupPolicy, CompressionType, TimestampType, TopicConfig};
pub use value::Value;

/// A set of settings as text, by key, in the keys' order.
pub type Properties = std::collections::BTreeMap<String, String>;
