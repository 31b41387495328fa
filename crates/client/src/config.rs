//! Configuration under Kafka's names and with Kafka's defaults. Each struct is filled in directly or takes
//! `key=value` pairs with `set`; [`Configuration`] reads what Kafka's clients are configured by, a map of texts or a
//! properties file. What the keys are is said by their definitions in `millstream_config`.

mod consumer;
mod producer;
mod values;

use std::{collections::BTreeMap, fs, path::Path, str::FromStr, time::Duration};

use millstream_config::{Scope, all, nearest, parse_properties};

use self::values::keys;
pub use self::{
    consumer::{ConsumerConfig, IsolationLevel, OffsetReset},
    producer::{Acks, Partitioner, ProducerConfig},
};
use crate::{Error, Result};

keys! {
    /// What every client needs.
    pub struct ClientConfig of Client {
        /// Where to learn of the cluster, `host:port` each; any one that answers will do.
        pub bootstrap_servers: Vec<String> = "bootstrap.servers",
        /// In their place addresses of KRaft controllers, which serve nothing but administration (KIP-919).
        pub bootstrap_controllers: Vec<String> = "bootstrap.controllers",
        /// By which brokers' logs, metrics and quotas know this client.
        pub client_id: String = "client.id",
        /// How long one request may go unanswered before the connection is given up.
        pub request_timeout: Duration = "request.timeout.ms",
        /// How long a call may take, its retries included.
        pub default_api_timeout: Duration = "default.api.timeout.ms",
        /// The pause before the first retry; it doubles with each.
        pub retry_backoff: Duration = "retry.backoff.ms",
        pub retry_backoff_max: Duration = "retry.backoff.max.ms",
        /// After this long the cluster is asked anew even if nothing went wrong.
        pub metadata_max_age: Duration = "metadata.max.age.ms",
        pub socket_connection_setup_timeout: Duration = "socket.connection.setup.timeout.ms",
        /// A connection without requests for so long is closed.
        pub connections_max_idle: Duration = "connections.max.idle.ms",
        /// None: the operating system's choice.
        pub send_buffer_bytes: Option<u32> = "send.buffer.bytes",
        /// None: the operating system's choice.
        pub receive_buffer_bytes: Option<u32> = "receive.buffer.bytes",
        pub metadata_recovery: MetadataRecovery = "metadata.recovery.strategy",
        /// With [`MetadataRecovery::Rebootstrap`], also when the cluster could not be asked for so long (KIP-1102).
        pub rebootstrap_trigger: Duration = "metadata.recovery.rebootstrap.trigger.ms",
        /// Whether asking for a topic may create it, if the broker does that.
        pub allow_auto_create_topics: bool = "allow.auto.create.topics",
        /// Of how many windows rates, averages and maxima are made.
        pub metrics_num_samples: u32 = "metrics.num.samples",
        /// How long each window is.
        pub metrics_sample_window: Duration = "metrics.sample.window.ms",
        ..
    }
}

impl ClientConfig {
    /// `servers` as in `bootstrap.servers`: a comma-separated list.
    pub fn new(servers: &str) -> Self {
        let parts = servers.split(',').map(str::trim).filter(|part| !part.is_empty());
        Self { bootstrap_servers: parts.map(str::to_owned).collect(), ..Self::default() }
    }

    /// Whom to ask first.
    pub(crate) fn bootstrap(&self) -> &[String] {
        if self.bootstraps_controllers() { &self.bootstrap_controllers } else { &self.bootstrap_servers }
    }

    pub(crate) fn bootstraps_controllers(&self) -> bool {
        !self.bootstrap_controllers.is_empty()
    }

    pub(crate) fn rebootstraps(&self) -> bool {
        self.metadata_recovery == MetadataRecovery::Rebootstrap
    }
}

/// `metadata.recovery.strategy`: what to do when no broker that is known answers (KIP-899).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetadataRecovery {
    /// Go on with those that are known.
    None,
    /// Ask the `bootstrap.servers` again.
    #[default]
    Rebootstrap,
}

impl FromStr for MetadataRecovery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            _ if text.eq_ignore_ascii_case("rebootstrap") => Ok(Self::Rebootstrap),
            _ if text.eq_ignore_ascii_case("none") => Ok(Self::None),
            other => Err(format!("{other:?} is not rebootstrap or none")),
        }
    }
}

/// What one set of properties says to a client, to its producers and to its consumers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    pub client: ClientConfig,
    pub producer: ProducerConfig,
    pub consumer: ConsumerConfig,
}

impl Configuration {
    /// Of a properties file of Java's. Keys that no client knows are warned of.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let name = path.as_ref().display().to_string();
        let bytes = fs::read(path.as_ref()).map_err(|error| Error::config(&name, error))?;
        // Java reads these files as ISO 8859-1, whose letters are Unicode's first 256.
        let text: String = bytes.into_iter().map(char::from).collect();
        Self::from_properties(parse_properties(&text).map_err(|error| Error::config(&name, error))?)
    }

    /// Of a map, or pairs of which a later one goes before an earlier. Keys that no client knows are warned of.
    pub fn from_properties<K, V>(properties: impl IntoIterator<Item = (K, V)>) -> Result<Self>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let (configuration, unknown) = Self::read(properties)?;
        if !unknown.is_empty() {
            let keys = SCOPES.into_iter().flat_map(all).map(|definition| definition.name);
            let keys: Vec<&str> = keys.collect();
            let meant: Vec<&str> =
                unknown.iter().filter_map(|key| nearest(key, keys.iter().copied())).collect();
            tracing::warn!(?meant, "These configurations '{unknown:?}' were supplied but are not used yet.");
        }
        Ok(configuration)
    }

    /// As [`Configuration::from_properties`], but returns the keys that no client knows and says nothing.
    pub fn read<K, V>(properties: impl IntoIterator<Item = (K, V)>) -> Result<(Self, Vec<String>)>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let properties = properties.into_iter().map(|(key, value)| (key.into(), value.into()));
        let properties: BTreeMap<String, String> = properties.collect();
        let (mut configuration, mut unknown) = (Self::default(), Vec::new());
        for (key, value) in &properties {
            if !configuration.set(key, value)? {
                unknown.push(key.clone());
            }
        }
        if !properties.contains_key("enable.idempotence") && configuration.producer.transactional_id.is_none()
        {
            configuration.producer.relax();
        }
        Ok((configuration, unknown))
    }

    /// Sets one key by Kafka's name; false if no client has it.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        Ok(self.client.set(key, value)? || self.producer.set(key, value)? || self.consumer.set(key, value)?)
    }
}

const SCOPES: [Scope; 3] = [Scope::Client, Scope::Producer, Scope::Consumer];

/// How long a duration is in Kafka's 32-bit milliseconds.
pub(crate) fn as_millis_i32(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Write};

    use millstream_record::Compression;

    use super::*;

    #[test]
    fn every_key_with_an_effect_has_a_field_and_no_other_has() {
        for (scope, fields) in
            SCOPES.into_iter().zip([ClientConfig::KEYS, ProducerConfig::KEYS, ConsumerConfig::KEYS])
        {
            let with_effect = all(scope).filter(|definition| definition.is_honoured());
            let with_effect: BTreeSet<&str> = with_effect.map(|definition| definition.name).collect();
            assert_eq!(with_effect, fields.iter().copied().collect(), "{scope:?}");
        }
    }

    #[test]
    fn keys_are_kafkas_and_unknown_ones_are_left_to_the_caller() {
        let mut client = ClientConfig::new(" a:1, b:2,");
        assert_eq!(client.bootstrap_servers, ["a:1", "b:2"]);
        assert_eq!(client.set("request.timeout.ms", "5"), Ok(true));
        assert_eq!(client.request_timeout, Duration::from_millis(5));
        assert_eq!(client.set("linger.ms", "5"), Ok(false));
        assert_eq!(client.set("connections.max.idle.ms", "-1"), Ok(true));
        assert!(client.connections_max_idle > Duration::from_secs(86_400 * 365));
        assert_eq!(client.set("bootstrap.servers", "a:1,,b:2,"), Ok(true));
        assert_eq!(client.bootstrap_servers, ["a:1", "b:2"]);

        let mut producer = ProducerConfig::default();
        assert_eq!(producer.set("compression.type", "zstd"), Ok(true));
        assert_eq!(producer.compression_type, Compression::Zstd);
        assert_eq!(producer.set("acks", "1"), Ok(true));
        // Of Kafka's Java clients, without effect.
        assert_eq!(producer.set("key.serializer", "org.example.Mine"), Ok(true));
    }

    #[test]
    fn a_value_is_refused_with_the_key_what_was_found_and_what_is_expected() {
        let refusal =
            |key: &str, value: &str| Configuration::default().set(key, value).expect_err(key).to_string();
        for (key, value, expected) in [
            ("linger.ms", "soon", "Not a number of type LONG"),
            ("linger.ms", "-1", "Value must be at least 0"),
            ("batch.size", "3000000000", "Not a number of type INT"),
            ("acks", "7", "String must be one of: all, -1, 0, 1"),
            ("compression.type", "brotli", "String must be one of: none, gzip, snappy, lz4, zstd"),
            ("enable.auto.commit", "perhaps", "Expected value to be either true or false"),
            ("max.poll.records", "0", "Value must be at least 1"),
            ("transactional.id", "", "String must be non-empty"),
            (
                "partition.assignment.strategy",
                "best",
                "\"best\" is not range, roundrobin, sticky, cooperative-sticky or its class",
            ),
        ] {
            assert_eq!(
                refusal(key, value),
                format!("Invalid value {value} for configuration {key}: {expected}")
            );
        }
    }

    #[test]
    fn what_it_would_be_unsafe_to_leave_out_is_refused() {
        let mut all = Configuration::default();
        assert_eq!(all.set("security.protocol", "plaintext"), Ok(true));
        assert_eq!(all.set("group.protocol", "CLASSIC"), Ok(true));
        for (key, value) in [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.jaas.config", "secret"),
            ("group.protocol", "consumer"),
            ("partitioner.class", "org.example.Mine"),
        ] {
            let refusal = all.set(key, value).expect_err(key).to_string();
            assert!(refusal.contains("not supported"), "{refusal}");
            assert!(!refusal.contains("secret"), "{refusal}");
        }
    }

    #[test]
    fn a_map_says_everything_and_what_no_client_knows_is_named() {
        let pairs = [("linger.ms", "7"), ("group.id", "g"), ("client.id", "me"), ("linger", "7")];
        let (read, unknown) = Configuration::read(BTreeMap::from(pairs)).unwrap();
        assert_eq!(read.producer.linger, Duration::from_millis(7));
        assert_eq!((read.consumer.group_id.as_deref(), read.client.client_id.as_str()), (Some("g"), "me"));
        assert_eq!(unknown, ["linger"]);
    }

    #[test]
    fn idempotence_is_given_up_in_silence_only_where_nobody_asked_for_it() {
        let read = |pairs: &[(&str, &str)]| {
            Configuration::read(pairs.iter().copied()).unwrap().0.producer.enable_idempotence
        };
        assert!(read(&[]));
        assert!(!read(&[("acks", "1")]));
        assert!(!read(&[("retries", "0")]));
        assert!(read(&[("acks", "1"), ("enable.idempotence", "true")]));
        assert!(read(&[("max.in.flight.requests.per.connection", "6")]));
    }

    #[test]
    fn files_are_read_as_java_reads_them() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# a comment\nclient.id : caf\xe9\nbootstrap.servers=a:1,\\\n  b:2\n").unwrap();
        let read = Configuration::from_file(file.path()).unwrap();
        assert_eq!(read.client.client_id, "caf\u{e9}");
        assert_eq!(read.client.bootstrap_servers, ["a:1", "b:2"]);
        file.write_all(b"acks=\\u12").unwrap();
        assert!(matches!(Configuration::from_file(file.path()), Err(Error::Config { .. })));
        assert!(matches!(Configuration::from_file("/nowhere"), Err(Error::Config { .. })));
    }
}
