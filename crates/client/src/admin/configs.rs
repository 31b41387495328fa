//! Configuration of topics and brokers: reading it with its sources, changing single keys (KIP-339) or all.

use std::collections::BTreeMap;

use millstream_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    alter_configs_request,
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
    /// The log levels of a broker.
    BrokerLogger(BrokerId),
    /// A subscription to the metrics of clients (KIP-714).
    ClientMetrics(String),
    Group(String),
}

impl ConfigResource {
    fn to_wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.to_string()),
            Self::Broker(id) => (4, id.to_string()),
            Self::BrokerDefault => (4, String::new()),
            Self::BrokerLogger(id) => (8, id.to_string()),
            Self::ClientMetrics(name) => (16, name.clone()),
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
            Self::BrokerLogger(id) => write!(f, "log levels of broker {id}"),
            Self::ClientMetrics(name) => write!(f, "client metrics subscription {name}"),
            Self::Group(group) => write!(f, "configuration of group {group}"),
        }
    }
}

/// A kind of resource of which some have a configuration of their own, as the wire has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigResourceKind {
    ClientMetrics = 16,
    Group = 32,
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
    /// The resources of a kind that have a configuration of their own (KIP-1142): groups, or subscriptions to
    /// the metrics of clients.
    pub async fn list_config_resources(&self, kind: ConfigResourceKind) -> Result<Vec<String>> {
        let request = ListConfigResourcesRequest { resource_types: vec![kind as i8], ..Default::default() };
        let ask = || async {
            let connection = self.client.any_broker().await?;
            let version = match connection.version_of::<ListConfigResourcesRequest>() {
                // Older brokers have neither.
                Err(Error::UnsupportedApi { .. }) => return Ok(Vec::new()),
                version => version?,
            };
            if version == 0 && kind != ConfigResourceKind::ClientMetrics {
                // The first version listed nothing else.
                return Ok(Vec::new());
            }
            let answer = connection.send(version, &request).await?;
            check(answer.error_code, "list of configured resources", None)?;
            Ok(answer.config_resources.into_iter().map(|one| one.resource_name).collect())
        };
        self.client.retry("list of configured resources", ask).await
    }

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

    /// Makes these the only keys that are set; all others go back to their defaults. What brokers before Kafka 2.3
    /// have instead of [`Admin::alter_configs`].
    pub async fn replace_configs(
        &self,
        resource: &ConfigResource,
        configs: &BTreeMap<String, String>,
        validate_only: bool,
    ) -> Result<()> {
        let (resource_type, resource_name) = resource.to_wire();
        let configs = configs.iter().map(|(name, value)| alter_configs_request::AlterableConfig {
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        });
        let resources = vec![alter_configs_request::AlterConfigsResource {
            resource_type,
            resource_name,
            configs: configs.collect(),
            ..Default::default()
        }];
        let request = AlterConfigsRequest { resources, validate_only, ..AlterConfigsRequest::default() };
        let ask = || async { self.keeper(resource).await?.call(&request).await };
        let answer = self.client.retry(&resource.to_string(), ask).await?;
        let result = answer.responses.into_iter().next();
        let result =
            result.ok_or_else(|| Error::malformed("the answer to AlterConfigs", "no resource in it"))?;
        check(result.error_code, resource.to_string(), result.error_message)
    }

    /// A broker answers for itself; everything else any broker knows.
    async fn keeper(&self, resource: &ConfigResource) -> Result<Connection> {
        match resource {
            ConfigResource::Broker(id) | ConfigResource::BrokerLogger(id) => {
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
