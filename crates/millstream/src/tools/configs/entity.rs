//! Whose configuration it is, from the many ways to say it.

use std::net::ToSocketAddrs;

use millstream_client::ConfigResource;
use millstream_types::{BrokerId, TopicName};

use super::Failed;
use crate::tools::{
    exit::{Exit, Outcome},
    options::Given,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Topics,
    Clients,
    Users,
    Brokers,
    Ips,
    ClientMetrics,
    Groups,
    BrokerLoggers,
}

/// In the order in which Kafka lists them, each with its own option for a name, and for the default.
const KINDS: [(Kind, &str, &str, Option<&str>); 8] = [
    (Kind::Topics, "topics", "topic", None),
    (Kind::Clients, "clients", "client", Some("client-defaults")),
    (Kind::Users, "users", "user", Some("user-defaults")),
    (Kind::Brokers, "brokers", "broker", Some("broker-defaults")),
    (Kind::Ips, "ips", "ip", Some("ip-defaults")),
    (Kind::ClientMetrics, "client-metrics", "client-metrics", None),
    (Kind::Groups, "groups", "group", None),
    (Kind::BrokerLoggers, "broker-loggers", "broker-logger", None),
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        KINDS.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }

    /// One of them.
    pub(super) fn one(self) -> &'static str {
        self.name().strip_suffix('s').unwrap_or_default()
    }

    pub(super) fn is_quota(self) -> bool {
        matches!(self, Self::Users | Self::Clients | Self::Ips)
    }

    /// Where the values of an entity itself come from.
    pub(super) fn source(self, is_default: bool) -> &'static str {
        match self {
            Self::Topics => "DYNAMIC_TOPIC_CONFIG",
            Self::Brokers if is_default => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            Self::Brokers => "DYNAMIC_BROKER_CONFIG",
            Self::BrokerLoggers => "DYNAMIC_BROKER_LOGGER_CONFIG",
            Self::ClientMetrics => "DYNAMIC_CLIENT_METRICS_CONFIG",
            Self::Groups => "DYNAMIC_GROUP_CONFIG",
            Self::Users | Self::Clients | Self::Ips => "",
        }
    }
}

#[derive(Debug)]
pub(super) struct Entity {
    pub(super) kind: Kind,
    /// Empty for the default; None for all.
    pub(super) name: Option<String>,
    /// All that were given: of a user's client there are two.
    pub(super) kinds: Vec<Kind>,
    pub(super) names: Vec<String>,
}

impl Entity {
    pub(super) fn of(given: &Given) -> Outcome<Self> {
        let mut kinds: Vec<Kind> = Vec::new();
        let mut names: Vec<String> = Vec::new();
        let mut typed: Vec<&str> = given.all("entity-type").collect();
        for (_, name, option, default) in KINDS {
            let times =
                given.all(option).count() + usize::from(default.is_some_and(|default| given.has(default)));
            typed.extend(std::iter::repeat_n(name, times));
        }
        let mut twice: Vec<&str> = typed.clone();
        twice.sort_unstable();
        if let Some(pair) = twice.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Exit::failure(format!("Duplicate entity type(s) specified: {}", pair[0])));
        }
        for name in typed {
            let all: Vec<&str> = KINDS.iter().map(|row| row.1).collect();
            let unknown = || {
                Exit::failure(format!(
                    "Invalid entity type {name}, the entity type must be one of {} with a --bootstrap-server or --bootstrap-controller argument",
                    all.join(", ")
                ))
            };
            kinds.push(KINDS.iter().find(|row| row.1 == name).ok_or_else(unknown)?.0);
        }
        let spelled_out = ["entity-name", "entity-default"];
        names.extend(given.in_order(&spelled_out).map(|(_, value)| value.unwrap_or_default().to_owned()));
        for (_, _, option, default) in KINDS {
            names.extend(given.all(option).map(str::to_owned));
            if default.is_some_and(|default| given.has(default)) {
                names.push(String::new());
            }
        }
        let Some(kind) = kinds.first().copied() else {
            return Err(Exit::failure("At least one entity type must be specified"));
        };
        if kinds.len() > 1 && !kinds.iter().all(|kind| matches!(kind, Kind::Users | Kind::Clients)) {
            return Err(Exit::failure("Only 'users' and 'clients' entity types may be specified together"));
        }
        let own = KINDS.iter().any(|(_, _, option, default)| {
            given.has(option) || default.is_some_and(|default| given.has(default))
        });
        if own && ["entity-type", "entity-name", "entity-default"].iter().any(|option| given.has(option)) {
            return Err(Exit::failure(
                "--entity-{type,name,default} should not be used in conjunction with specific entity flags",
            ));
        }
        Ok(Self { kind, name: names.first().cloned(), kinds, names })
    }

    pub(super) fn check(&self, alter: bool, given_default: bool) -> Outcome {
        let kind = self.kind.name();
        if let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) {
            if matches!(self.kind, Kind::Brokers | Kind::BrokerLoggers) && name.parse::<i32>().is_err() {
                return Err(Exit::failure(format!(
                    "The entity name for {kind} must be a valid integer broker id, but it is: {name}"
                )));
            }
            if self.kind == Kind::Ips && (name, 0).to_socket_addrs().is_err() {
                return Err(Exit::failure(format!(
                    "The entity name for {kind} must be a valid IP or resolvable host, but it is: {name}"
                )));
            }
        }
        let is_named = self.name.as_ref().is_some_and(|name| !name.is_empty());
        if !alter {
            let has_default = matches!(self.kind, Kind::Users | Kind::Clients | Kind::Brokers | Kind::Ips);
            if !has_default && self.name.as_deref() == Some("") && given_default {
                return Err(Exit::failure(format!(
                    "--entity-default must not be specified with --describe of {kind}"
                )));
            }
            return match self.kind {
                Kind::BrokerLoggers if !is_named => {
                    Err(Exit::failure(format!("An entity name must be specified with --describe of {kind}")))
                }
                _ => Ok(()),
            };
        }
        match self.kind {
            Kind::Users | Kind::Clients | Kind::Brokers | Kind::Ips if self.name.is_none() => {
                Err(Exit::failure(
                    "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
                ))
            }
            Kind::Topics | Kind::BrokerLoggers | Kind::ClientMetrics | Kind::Groups if !is_named => {
                Err(Exit::failure(format!("An entity name must be specified with --alter of {kind}")))
            }
            _ => Ok(()),
        }
    }

    /// For a name that was checked.
    pub(super) fn resource(&self, name: &str) -> Result<ConfigResource, Failed> {
        let id = || BrokerId(name.parse().unwrap_or(-1));
        Ok(match self.kind {
            Kind::Topics => {
                let refused =
                    |error| Failed::Refused(Exit::failure(format!("Topic name is invalid: {error}")));
                ConfigResource::Topic(TopicName::parse(name).map_err(refused)?)
            }
            Kind::Brokers if name.is_empty() => ConfigResource::BrokerDefault,
            Kind::Brokers => ConfigResource::Broker(id()),
            Kind::BrokerLoggers => ConfigResource::BrokerLogger(id()),
            Kind::ClientMetrics => ConfigResource::ClientMetrics(name.to_owned()),
            Kind::Groups | Kind::Users | Kind::Clients | Kind::Ips => ConfigResource::Group(name.to_owned()),
        })
    }
}
