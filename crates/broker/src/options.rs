//! What the broker is started with, parsed: listeners and directories. Kafka's own configuration keys
//! are in `millstream-config`.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
};

use millstream_config::Properties;
use millstream_log::{Durability, FlushWith, Progress};

/// Where a socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub host: Host,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `localhost`: 127.0.0.1 and ::1.
    Loopback,
    /// Empty, as in `PLAINTEXT://:9092`: every interface.
    Any,
    Address(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerOptions {
    pub name: String,
    pub endpoint: Endpoint,
    /// Told to clients; `None`: the local address of their own connection.
    pub advertised: Option<Advertised>,
}

/// A host, by name or address, and a port, as clients are told them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    pub host: String,
    pub port: u16,
}

/// What a broker is started with.
#[derive(Clone)]
pub struct BrokerOptions {
    /// Kafka's keys, from the file and the command line.
    pub settings: Properties,
    /// Holds `kafka/`, which is a Kafka log directory and nothing else, and `millstream/` for the rest.
    pub data: PathBuf,
    pub durability: Durability,
    pub flush_with: FlushWith,
    /// Told of each partition as recovery comes to it.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenerParseError {
    #[error("'{0}' is not a listener: expected NAME://HOST:PORT, such as PLAINTEXT://127.0.0.1:9092")]
    Shape(String),
    #[error("'{text}': the port '{port}' is not a number from 0 to 65535")]
    Port { text: String, port: String },
    #[error(
        "'{text}': listen addresses are 'localhost', an IP address or nothing (all interfaces), not '{host}'"
    )]
    Host { text: String, host: String },
}

/// `NAME`, `HOST` and `PORT` of `NAME://HOST:PORT`; a host in brackets is an IPv6 address.
fn split(text: &str) -> Result<(&str, &str, u16), ListenerParseError> {
    let shape = || ListenerParseError::Shape(text.to_owned());
    let (name, rest) = text.split_once("://").ok_or_else(shape)?;
    let (host, port) = rest.rsplit_once(':').ok_or_else(shape)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    if name.is_empty() || !name.chars().all(legal) {
        return Err(shape());
    }
    let number = port
        .parse()
        .map_err(|_| ListenerParseError::Port { text: text.to_owned(), port: port.to_owned() })?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    Ok((name, host, number))
}

impl FromStr for ListenerOptions {
    type Err = ListenerParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, host, port) = split(text)?;
        let host =
            match host {
                "" | "0.0.0.0" => Host::Any,
                "localhost" => Host::Loopback,
                address => Host::Address(address.parse().map_err(|_| ListenerParseError::Host {
                    text: text.to_owned(),
                    host: address.to_owned(),
                })?),
            };
        let host = if host == Host::Address(Ipv6Addr::UNSPECIFIED.into()) { Host::Any } else { host };
        Ok(Self { name: name.to_ascii_uppercase(), endpoint: Endpoint { host, port }, advertised: None })
    }
}

/// An element of `advertised.listeners`: for which listener, and what clients of it are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdvertisedListener {
    pub(crate) name: String,
    pub(crate) advertised: Advertised,
}

impl FromStr for AdvertisedListener {
    type Err = ListenerParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, host, port) = split(text)?;
        if host.is_empty() {
            return Err(ListenerParseError::Host { text: text.to_owned(), host: host.to_owned() });
        }
        let advertised = Advertised { host: host.to_owned(), port };
        Ok(Self { name: name.to_ascii_uppercase(), advertised })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_written_as_kafka_writes_them() {
        let parse =
            |text: &str| text.parse::<ListenerOptions>().map(|l| (l.name, l.endpoint.host, l.endpoint.port));
        assert_eq!(parse("PLAINTEXT://:9092"), Ok(("PLAINTEXT".into(), Host::Any, 9092)));
        assert_eq!(parse("plaintext://localhost:0"), Ok(("PLAINTEXT".into(), Host::Loopback, 0)));
        let loopback = Host::Address(Ipv6Addr::LOCALHOST.into());
        assert_eq!(parse("A://[::1]:1"), Ok(("A".into(), loopback, 1)));
        assert!(matches!(parse("localhost:9092"), Err(ListenerParseError::Shape(_))));
        assert!(matches!(parse("A://h:99999"), Err(ListenerParseError::Port { .. })));
        assert!(matches!(parse("A://no.such.host:1"), Err(ListenerParseError::Host { .. })));
    }
}
