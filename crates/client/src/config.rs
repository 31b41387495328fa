//! Configuration under Kafka's names and with Kafka's defaults. Each struct takes `key=value` pairs with
//! `set`, or is filled in directly.

mod consumer;

use std::{fmt::Display, str::FromStr, time::Duration};

use millstream_record::Compression;

pub use self::consumer::{ConsumerConfig, IsolationLevel, OffsetReset};
use crate::{Error, Result};

/// What every client needs.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `bootstrap.servers`: where to learn of the cluster, `host:port` each; any one that answers will do.
    pub bootstrap_servers: Vec<String>,
    /// `bootstrap.controllers` sets it: the addresses are those of KRaft controllers, which serve nothing but
    /// administration (KIP-919).
    pub bootstraps_controllers: bool,
    /// `client.id`, by which brokers' logs, metrics and quotas know this client.
    pub client_id: String,
    /// `request.timeout.ms`: how long one request may go unanswered before the connection is given up.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: how long a call may take, its retries included.
    pub default_api_timeout: Duration,
    /// `retry.backoff.ms`: the pause before the first retry; it doubles with each.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`
    pub retry_backoff_max: Duration,
    /// `metadata.max.age.ms`: after this long the cluster is asked anew even if nothing went wrong.
    pub metadata_max_age: Duration,
    /// `socket.connection.setup.timeout.ms`
    pub socket_connection_setup_timeout: Duration,
    /// `connections.max.idle.ms`: a connection without requests for so long is closed.
    pub connections_max_idle: Duration,
    /// `metadata.recovery.strategy`: `rebootstrap` (true) asks the `bootstrap.servers` again when no broker
    /// that is known answers (KIP-899).
    pub rebootstrap: bool,
    /// `metadata.recovery.rebootstrap.trigger.ms`: also when the cluster could not be asked for so long
    /// (KIP-1102).
    pub rebootstrap_trigger: Duration,
    /// `allow.auto.create.topics`: whether asking for a topic may create it, if the broker does that.
    pub allow_auto_create_topics: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: Vec::new(),
            bootstraps_controllers: false,
            client_id: "millstream".to_owned(),
            request_timeout: Duration::from_secs(30),
            default_api_timeout: Duration::from_secs(60),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            metadata_max_age: Duration::from_secs(300),
            socket_connection_setup_timeout: Duration::from_secs(10),
            connections_max_idle: Duration::from_secs(540),
            rebootstrap: true,
            rebootstrap_trigger: Duration::from_secs(300),
            allow_auto_create_topics: true,
        }
    }
}

impl ClientConfig {
    /// `servers` as in `bootstrap.servers`: a comma-separated list.
    pub fn new(servers: &str) -> Self {
        Self { bootstrap_servers: comma_separated(servers), ..Self::default() }
    }

    /// Sets one key by Kafka's name; false if it is not one of these.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "bootstrap.servers" => self.bootstrap_servers = comma_separated(value),
            "bootstrap.controllers" => {
                self.bootstrap_servers = comma_separated(value);
                self.bootstraps_controllers = true;
            }
            "client.id" => self.client_id = value.to_owned(),
            "request.timeout.ms" => self.request_timeout = millis(key, value)?,
            "default.api.timeout.ms" => self.default_api_timeout = millis(key, value)?,
            "retry.backoff.ms" => self.retry_backoff = millis(key, value)?,
            "retry.backoff.max.ms" => self.retry_backoff_max = millis(key, value)?,
            "metadata.max.age.ms" => self.metadata_max_age = millis(key, value)?,
            "socket.connection.setup.timeout.ms" => {
                self.socket_connection_setup_timeout = millis(key, value)?
            }
            "connections.max.idle.ms" => self.connections_max_idle = millis(key, value)?,
            "metadata.recovery.strategy" => {
                self.rebootstrap = match value.to_ascii_lowercase().as_str() {
                    "rebootstrap" => true,
                    "none" => false,
                    _ => return Err(Error::config(key, format!("{value:?} is not rebootstrap or none"))),
                };
            }
            "metadata.recovery.rebootstrap.trigger.ms" => self.rebootstrap_trigger = millis(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// How many copies must have a record before the producer is told so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// `0`: nobody is asked; a lost record stays unnoticed.
    None,
    /// `1`
    Leader,
    /// `all`: every replica in sync, and what else the broker promises of it.
    #[default]
    All,
}

impl Acks {
    pub(crate) fn to_wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            other => Err(format!("{other:?} is not 0, 1 or all")),
        }
    }
}

#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// `acks`
    pub acks: Acks,
    /// `enable.idempotence`: retries neither duplicate nor reorder records. Needs `acks=all`.
    pub enable_idempotence: bool,
    /// `linger.ms`: how long a batch that is not full waits for more records.
    pub linger: Duration,
    /// `batch.size`: a batch is closed when it holds this many bytes.
    pub batch_size: usize,
    /// `compression.type`
    pub compression_type: Compression,
    /// `compression.gzip.level`, `compression.zstd.level`
    pub compression_level: Option<i32>,
    /// `max.in.flight.requests.per.connection`
    pub max_in_flight: usize,
    /// `max.request.size`
    pub max_request_size: usize,
    /// `delivery.timeout.ms`: from `send` to the answer, lingering and retries included.
    pub delivery_timeout: Duration,
    /// `transactional.id`: records are written in transactions, and whoever had the id before is fenced.
    pub transactional_id: Option<String>,
    /// `transaction.timeout.ms`: a transaction that is open for longer is aborted by the broker.
    pub transaction_timeout: Duration,
    /// `buffer.memory`: `send` waits while this many bytes are on their way.
    pub buffer_memory: usize,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            enable_idempotence: true,
            linger: Duration::from_millis(5),
            batch_size: 16 << 10,
            compression_type: Compression::None,
            compression_level: None,
            max_in_flight: 5,
            max_request_size: 1 << 20,
            delivery_timeout: Duration::from_secs(120),
            transactional_id: None,
            transaction_timeout: Duration::from_secs(60),
            buffer_memory: 32 << 20,
        }
    }
}

impl ProducerConfig {
    /// Sets one key by Kafka's name; false if it is not one of these.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "acks" => self.acks = parse(key, value)?,
            "enable.idempotence" => self.enable_idempotence = parse(key, value)?,
            "linger.ms" => self.linger = millis(key, value)?,
            "batch.size" => self.batch_size = parse(key, value)?,
            "compression.type" => {
                let unknown =
                    || Error::config(key, format!("{value:?} is not none, gzip, snappy, lz4 or zstd"));
                self.compression_type = Compression::from_name(value).ok_or_else(unknown)?;
            }
            "compression.gzip.level" | "compression.lz4.level" | "compression.zstd.level" => {
                self.compression_level = Some(parse(key, value)?);
            }
            "max.in.flight.requests.per.connection" => self.max_in_flight = parse(key, value)?,
            "max.request.size" => self.max_request_size = parse(key, value)?,
            "delivery.timeout.ms" => self.delivery_timeout = millis(key, value)?,
            "transactional.id" => {
                self.transactional_id = Some(value.to_owned()).filter(|text| !text.is_empty());
            }
            "transaction.timeout.ms" => self.transaction_timeout = millis(key, value)?,
            "buffer.memory" => self.buffer_memory = parse(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Refuses combinations that cannot keep their promises.
    pub(crate) fn check(&self) -> Result<()> {
        if self.enable_idempotence && self.acks != Acks::All {
            return Err(Error::config("acks", "must be all when enable.idempotence is true"));
        }
        // A broker remembers the last five batches of a producer, no more.
        if self.enable_idempotence && self.max_in_flight > 5 {
            return Err(Error::config(
                "max.in.flight.requests.per.connection",
                format!("{} is more than 5, the most with enable.idempotence", self.max_in_flight),
            ));
        }
        if self.transactional_id.is_some() && !self.enable_idempotence {
            return Err(Error::config("enable.idempotence", "must be true with a transactional.id"));
        }
        if self.max_in_flight == 0 {
            return Err(Error::config("max.in.flight.requests.per.connection", "must be at least 1"));
        }
        Ok(())
    }
}

fn comma_separated(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn millis(key: &str, value: &str) -> Result<Duration> {
    parse(key, value).map(Duration::from_millis)
}

fn parse<T: FromStr<Err: Display>>(key: &str, value: &str) -> Result<T> {
    value.parse().map_err(|error| Error::config(key, format!("{value:?}: {error}")))
}

/// How long a duration is in Kafka's 32-bit milliseconds.
pub(crate) fn as_millis_i32(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kafkas_and_unknown_ones_are_left_to_the_caller() {
        let mut client = ClientConfig::new(" a:1, b:2,");
        assert_eq!(client.bootstrap_servers, ["a:1", "b:2"]);
        assert_eq!(client.set("request.timeout.ms", "5"), Ok(true));
        assert_eq!(client.request_timeout, Duration::from_millis(5));
        assert_eq!(client.set("linger.ms", "5"), Ok(false));
        assert!(matches!(client.set("request.timeout.ms", "soon"), Err(Error::Config { .. })));

        let mut producer = ProducerConfig::default();
        assert_eq!(producer.set("compression.type", "zstd"), Ok(true));
        assert_eq!(producer.compression_type, Compression::Zstd);
        assert!(producer.set("compression.type", "brotli").is_err());
        assert_eq!(producer.set("acks", "1"), Ok(true));
    }

    #[test]
    fn idempotence_demands_acks_all_and_at_most_five_in_flight() {
        assert!(ProducerConfig::default().check().is_ok());
        assert!(ProducerConfig { acks: Acks::Leader, ..ProducerConfig::default() }.check().is_err());
        assert!(ProducerConfig { max_in_flight: 6, ..ProducerConfig::default() }.check().is_err());
        let careless = ProducerConfig {
            acks: Acks::None,
            enable_idempotence: false,
            max_in_flight: 6,
            ..ProducerConfig::default()
        };
        assert!(careless.check().is_ok());
    }
}
