//! What has a configuration, as it is named on the command line.

use std::{fmt, str::FromStr};

use anyhow::{Result, anyhow};
use millstream_client::{Admin, ConfigEntry, ConfigResource, ConfigResourceKind, ConfigSource};
use millstream_types::{BrokerId, TopicName};

use crate::command::{failure::Failure, topic};

/// `topic/NAME`, `broker/ID`, `broker/default`, `logger/ID`, `group/NAME`, `client-metrics/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command) struct Resource(pub(super) ConfigResource);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    Topic,
    Broker,
    Group,
    ClientMetrics,
}

impl Resource {
    pub(in crate::command) fn new(resource: ConfigResource) -> Self {
        Self(resource)
    }

    /// Whether a value was set for just this resource.
    pub(in crate::command) fn is_own(&self, source: ConfigSource) -> bool {
        match &self.0 {
            ConfigResource::Topic(_) => source == ConfigSource::Topic,
            ConfigResource::Broker(_) => source == ConfigSource::DynamicBroker,
            ConfigResource::BrokerDefault => source == ConfigSource::DynamicDefaultBroker,
            ConfigResource::BrokerLogger(_) => source == ConfigSource::DynamicBrokerLogger,
            ConfigResource::ClientMetrics(_) => source == ConfigSource::ClientMetrics,
            ConfigResource::Group(_) => source == ConfigSource::Group,
        }
    }

    /// All its keys, or a failure that says what to do.
    pub(in crate::command) async fn describe(&self, admin: &Admin) -> Result<Vec<ConfigEntry>> {
        match &self.0 {
            ConfigResource::Topic(name) => drop(topic::find(admin, name).await?),
            ConfigResource::Broker(id) | ConfigResource::BrokerLogger(id) => {
                let brokers = admin.describe_cluster().await?.brokers;
                if !brokers.iter().any(|broker| broker.id == *id) {
                    let text =
                        format!("there is no broker {id}; `millstream broker ls` lists those that there are");
                    return Err(Failure::NotFound(text).into());
                }
            }
            _ => {}
        }
        Ok(admin.describe_configs(&self.0).await?)
    }
}

impl FromStr for Resource {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let expected = || {
            anyhow!(
                "expected topic/NAME, broker/ID, broker/default, logger/ID, group/NAME or client-metrics/NAME, found {text:?}"
            )
        };
        let (kind, name) = text.split_once('/').ok_or_else(expected)?;
        if name.is_empty() {
            return Err(expected());
        }
        let broker = || {
            let id = name.parse::<i32>().ok().filter(|id| *id >= 0).map(BrokerId);
            id.ok_or_else(|| anyhow!("{text}: a broker's id is a number"))
        };
        Ok(Self(match kind {
            "topic" => ConfigResource::Topic(TopicName::parse(name).map_err(|error| anyhow!("{error}"))?),
            "broker" if name == "default" => ConfigResource::BrokerDefault,
            "broker" => ConfigResource::Broker(broker()?),
            "logger" | "broker-logger" => ConfigResource::BrokerLogger(broker()?),
            "group" => ConfigResource::Group(name.to_owned()),
            "client-metrics" => ConfigResource::ClientMetrics(name.to_owned()),
            _ => return Err(expected()),
        }))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ConfigResource::Topic(name) => write!(f, "topic/{name}"),
            ConfigResource::Broker(id) => write!(f, "broker/{id}"),
            ConfigResource::BrokerDefault => f.write_str("broker/default"),
            ConfigResource::BrokerLogger(id) => write!(f, "logger/{id}"),
            ConfigResource::ClientMetrics(name) => write!(f, "client-metrics/{name}"),
            ConfigResource::Group(name) => write!(f, "group/{name}"),
        }
    }
}

/// Everything that may have a configuration of its own, of a kind or of all.
pub(super) async fn all(admin: &Admin, kind: Option<Kind>) -> Result<Vec<Resource>> {
    let is_wanted = |one| kind.is_none_or(|kind| kind == one);
    let mut all = Vec::new();
    if is_wanted(Kind::Topic) {
        all.extend(admin.list_topics().await?.into_iter().map(|topic| ConfigResource::Topic(topic.name)));
    }
    if is_wanted(Kind::Broker) {
        all.push(ConfigResource::BrokerDefault);
        let brokers = admin.describe_cluster().await?.brokers;
        all.extend(brokers.into_iter().map(|broker| ConfigResource::Broker(broker.id)));
    }
    if is_wanted(Kind::Group) {
        let names = admin.list_config_resources(ConfigResourceKind::Group).await?;
        all.extend(names.into_iter().map(ConfigResource::Group));
    }
    if is_wanted(Kind::ClientMetrics) {
        let names = admin.list_config_resources(ConfigResourceKind::ClientMetrics).await?;
        all.extend(names.into_iter().map(ConfigResource::ClientMetrics));
    }
    Ok(all.into_iter().map(Resource).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_as_they_are_written() {
        for text in
            ["topic/orders", "broker/1", "broker/default", "logger/2", "group/a/b", "client-metrics/all"]
        {
            assert_eq!(text.parse::<Resource>().unwrap().to_string(), text);
        }
        for wrong in ["orders", "topic/", "topic/a b", "broker/x", "broker/-1", "user/me", "/"] {
            assert!(wrong.parse::<Resource>().is_err(), "{wrong}");
        }
    }
}
