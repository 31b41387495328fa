//! Why a setting is refused. The texts are Kafka's where Kafka has one, since clients show them.

use millstream_types::ErrorCode;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Invalid { name: String, value: String, reason: String },
    #[error("Configuration '{name}' values must not be empty.")]
    EmptyElement { name: String },
    #[error("Unknown topic config name: {0}")]
    UnknownTopicKey(String),
    #[error("Unknown group config name: {0}")]
    UnknownGroupKey(String),
    #[error("Unknown client metrics configuration: {0}")]
    UnknownClientMetricsKey(String),
    #[error(
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    )]
    RemoteStorageDisabled,
    #[error("conflict topic config setting {low} ({low_value}) > {high} ({high_value})")]
    TopicConflict { low: &'static str, low_value: i64, high: &'static str, high_value: i64 },
    #[error("{name} must be {relation} {bound}")]
    GroupBound { name: &'static str, relation: &'static str, bound: &'static str },
    #[error("Cannot update these configs dynamically: [{0}]")]
    NotDynamic(String),
    #[error("Cannot update these configs at default cluster level, broker id must be specified: [{0}]")]
    PerBrokerOnly(String),
    #[error("requirement failed: {0}")]
    Requirement(String),
    #[error("Invalid value {0} for interval.ms, interval must be between 100 and 3600000 (1 hour)")]
    ClientMetricsInterval(i64),
    #[error("Illegal client matching pattern: {0}")]
    ClientMetricsMatch(String),
    #[error("Can't {op} to key {name} because its type is not LIST.")]
    NotAList { op: &'static str, name: String },
    #[error("Null value not supported for : {0}")]
    NullValue(String),
    #[error("{0}")]
    Start(String),
}

impl ConfigError {
    pub(crate) fn invalid(name: &str, value: impl ToString, reason: impl Into<String>) -> Self {
        Self::Invalid { name: name.to_owned(), value: value.to_string(), reason: reason.into() }
    }

    /// What AlterConfigs answers with for a topic, group or client metrics resource. For a broker Kafka
    /// answers INVALID_REQUEST whatever was wrong with the values.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownClientMetricsKey(_)
            | Self::NotDynamic(_)
            | Self::PerBrokerOnly(_)
            | Self::Requirement(_)
            | Self::ClientMetricsInterval(_)
            | Self::NullValue(_) => ErrorCode::InvalidRequest,
            _ => ErrorCode::InvalidConfig,
        }
    }
}
