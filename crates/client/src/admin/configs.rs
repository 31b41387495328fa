//! Configuration of topics and brokers: reading it with its sources, and changing single keys (KIP-339).

use millstream_protocol::messages::{
    DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::DescribeConfigsResourceResult,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
};
use millstream_types::{BrokerId, TopicName};

use super::{Admin, check};
use crate::{Connection, Error, Result};

/// Whose configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigResource {
    Topic(TopicName),
    Broker(BrokerId),
    /// What holds for brokers that say nothing else.
    BrokerDefault,
    Group(String),
}

impl ConfigResource {
    fn to_wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.to_string()),
            Self::Broker(id) => (4, id.to_string()),
            Self::BrokerDefault => (4, String::new()),
            Self::Group(group) => (32, group.clone()),
        }
    }
}

impl std::fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "configuration of topic {name}"),
            Self::Broker(id) => write!(f, "configuration of broker {id}"),
            Self::BrokerDefault => f.write_str("default configuration of brokers"),
            Self::Group(group) => write!(f, "configuration of group {group}"),
        }
    }
}

/// Where a value comes from (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    DynamicBrokerLogger,
    ClientMetrics,
    Group,
    Unknown(i8),
}

impl ConfigSource {
    fn from_wire(raw: i8) -> Self {
        match raw {
            1 => Self::Topic,
            2 => Self::DynamicBroker,
            3 => Self::DynamicDefaultBroker,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::DynamicBrokerLogger,
            7 => Self::ClientMetrics,
            8 => Self::Group,
            raw => Self::Unknown(raw),
        }
    }

    /// Kafka's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "DYNAMIC_TOPIC_CONFIG",
            Self::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            Self::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::StaticBroker => "STATIC_BROKER_CONFIG",
            Self::Default => "DEFAULT_CONFIG",
            Self::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::Group => "DYNAMIC_GROUP_CONFIG",
            Self::Unknown(_) => "UNKNOWN",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// None for what is secret or has no value.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_read_only: bool,
    pub is_sensitive: bool,
    /// Every place that could decide the value, the one that does first.
    pub synonyms: Vec<ConfigSynonym>,
    pub documentation: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: String,
    pub value: Option<String>,
    pub source: ConfigSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigChange {
    Set(String),
    /// Back to the default.
    Delete,
    /// To a list.
    Append(String),
    /// From a list.
    Subtract(String),
}

impl ConfigChange {
    fn to_wire(&self) -> (i8, Option<String>) {
        match self {
            Self::Set(value) => (0, Some(value.clone())),
            Self::Delete => (1, None),
            Self::Append(value) => (2, Some(value.clone())),
            Self::Subtract(value) => (3, Some(value.clone())),
        }
    }
}

impl Admin {
    /// All keys of a resource, sorted as the broker sorts them.
    pub async fn describe_configs(&self, resource: &ConfigResource) -> Result<Vec<ConfigEntry>> {
        let (resource_type, resource_name) = resource.to_wire();
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name,
                configuration_keys: None,
                ..Default::default()
            }],
            include_synonyms: true,
            ..DescribeConfigsRequest::default()
        };
        let ask = || async { self.keeper(resource).await?.call(&request).await };
        let answer = self.client.retry(&resource.to_string(), ask).await?;
        let result = answer.results.into_iter().next();
        let result =
            result.ok_or_else(|| Error::malformed("the answer to DescribeConfigs", "no resource in it"))?;
        check(result.error_code, resource.to_string(), result.error_message)?;
        Ok(result.configs.into_iter().map(entry).collect())
    }

    /// Changes single keys; the others stay as they are.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[(String, ConfigChange)],
        validate_only: bool,
    ) -> Result<()> {
        let (resource_type, resource_name) = resource.to_wire();
        let configs = changes.iter().map(|(name, change)| {
            let (config_operation, value) = change.to_wire();
            AlterableConfig { name: name.clone(), config_operation, value, ..Default::default() }
        });
        let configs = configs.collect();
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name,
                configs,
                ..Default::default()
            }],
            validate_only,
            ..IncrementalAlterConfigsRequest::default()
        };
        let ask = || async { self.keeper(resource).await?.call(&request).await };
        let answer = self.client.retry(&resource.to_string(), ask).await?;
        let result = answer.responses.into_iter().next();
        let result = result
            .ok_or_else(|| Error::malformed("the answer to IncrementalAlterConfigs", "no resource in it"))?;
        check(result.error_code, resource.to_string(), result.error_message)
    }

    /// A broker answers for itself; everything else any broker knows.
    async fn keeper(&self, resource: &ConfigResource) -> Result<Connection> {
        match resource {
            ConfigResource::Broker(id) => {
                if !self.client.metadata().brokers.contains_key(id) {
                    self.client.refresh([]).await?;
                }
                self.client.broker(*id).await
            }
            _ => self.client.any_broker().await,
        }
    }
}

fn entry(raw: DescribeConfigsResourceResult) -> ConfigEntry {
    let synonyms = raw.synonyms.into_iter().map(|synonym| ConfigSynonym {
        name: synonym.name,
        value: synonym.value,
        source: ConfigSource::from_wire(synonym.source),
    });
    ConfigEntry {
        name: raw.name,
        value: raw.value,
        source: ConfigSource::from_wire(raw.config_source),
        is_read_only: raw.read_only,
        is_sensitive: raw.is_sensitive,
        synonyms: synonyms.collect(),
        documentation: raw.documentation,
    }
}
