//! The producer's configuration.

use std::{str::FromStr, time::Duration};

use millstream_record::Compression;

use super::{ClientConfig, values::keys};
use crate::{Error, Result};

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

/// How a key becomes a partition. Keyless records go to one partition until a batch's worth has gone there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partitioner {
    /// As Java's producer: `murmur2_random`.
    #[default]
    Murmur2,
    /// As librdkafka's: `consistent_random`.
    Crc32,
}

impl FromStr for Partitioner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "murmur2_random" => Ok(Self::Murmur2),
            "consistent_random" => Ok(Self::Crc32),
            other => Err(format!("{other:?} is not murmur2_random or consistent_random")),
        }
    }
}

keys! {
    /// What a producer has beside a [`ClientConfig`].
    pub struct ProducerConfig of Producer {
        pub acks: Acks = "acks",
        /// Retries neither duplicate nor reorder records. Needs `acks=all`.
        pub enable_idempotence: bool = "enable.idempotence",
        /// How long a batch that is not full waits for more records.
        pub linger: Duration = "linger.ms",
        /// A batch is closed when it holds this many bytes.
        pub batch_size: usize = "batch.size",
        pub compression_type: Compression = "compression.type",
        /// None: gzip's own choice.
        pub compression_gzip_level: Option<i32> = "compression.gzip.level",
        pub compression_zstd_level: i32 = "compression.zstd.level",
        pub max_in_flight: usize = "max.in.flight.requests.per.connection",
        pub max_request_size: usize = "max.request.size",
        /// How often a batch is sent again that failed in a way that may pass.
        pub retries: u32 = "retries",
        /// From `send` to the answer, lingering and retries included.
        pub delivery_timeout: Duration = "delivery.timeout.ms",
        /// How long `send` waits for a topic's metadata and for room in `buffer.memory`.
        pub max_block: Duration = "max.block.ms",
        /// `send` waits while this many bytes are on their way.
        pub buffer_memory: usize = "buffer.memory",
        /// How a key becomes a partition.
        pub partitioner: Partitioner = "partitioner",
        /// Whether records with a key are spread as those without one are.
        pub partitioner_ignore_keys: bool = "partitioner.ignore.keys",
        /// Records are written in transactions, and whoever had the id before is fenced.
        pub transactional_id: Option<String> = "transactional.id",
        /// A transaction that is open for longer is aborted by the broker.
        pub transaction_timeout: Duration = "transaction.timeout.ms",
        ..
    }
}

/// A broker remembers the last five batches of a producer, no more.
const IN_FLIGHT_MAX: usize = 5;

impl ProducerConfig {
    pub(crate) fn compression_level(&self) -> Option<i32> {
        match self.compression_type {
            Compression::Gzip => self.compression_gzip_level,
            Compression::Zstd => Some(self.compression_zstd_level),
            _ => None,
        }
    }

    /// Gives idempotence up where `acks` and `retries` do not allow it and nobody has asked for it.
    pub(super) fn relax(&mut self) {
        if self.acks != Acks::All || self.retries == 0 {
            tracing::debug!("no idempotence without acks=all and retries");
            self.enable_idempotence = false;
        }
    }

    /// Refuses combinations that cannot keep their promises, and gives a record time for one request at least.
    pub(crate) fn checked(mut self, client: &ClientConfig) -> Result<Self> {
        if self.enable_idempotence && self.retries == 0 {
            let reason = "Must set retries to non-zero when using the idempotent producer.";
            return Err(Error::config("retries", reason));
        }
        if self.enable_idempotence && self.acks != Acks::All {
            let reason = "Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.";
            return Err(Error::config("acks", reason));
        }
        let key = "max.in.flight.requests.per.connection";
        if self.enable_idempotence && self.max_in_flight > IN_FLIGHT_MAX {
            let reason = format!(
                "To use the idempotent producer, {key} must be set to at most {IN_FLIGHT_MAX}. Current value is {}.",
                self.max_in_flight
            );
            return Err(Error::config(key, reason));
        }
        if self.transactional_id.is_some() && !self.enable_idempotence {
            let reason = "Cannot set a transactional.id without also enabling idempotence.";
            return Err(Error::config("transactional.id", reason));
        }
        if self.max_in_flight == 0 {
            return Err(Error::config(key, "0 is not at least 1"));
        }
        let needed = self.linger.saturating_add(client.request_timeout);
        if self.delivery_timeout < needed {
            if self.delivery_timeout != Self::default().delivery_timeout {
                let reason = format!(
                    "{} ms should be equal to or larger than linger.ms + request.timeout.ms, {} ms",
                    self.delivery_timeout.as_millis(),
                    needed.as_millis()
                );
                return Err(Error::config("delivery.timeout.ms", reason));
            }
            tracing::debug!(delivery_timeout = ?needed, "made longer for linger.ms and request.timeout.ms");
            self.delivery_timeout = needed;
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut ProducerConfig)) -> Result<ProducerConfig> {
        let mut config = ProducerConfig::default();
        change(&mut config);
        config.checked(&ClientConfig::default())
    }

    #[test]
    fn idempotence_demands_acks_all_and_at_most_five_in_flight_and_retries() {
        assert!(check(|_| {}).is_ok());
        assert!(check(|config| config.acks = Acks::Leader).is_err());
        assert!(check(|config| config.max_in_flight = 6).is_err());
        assert!(check(|config| config.retries = 0).is_err());
        let careless = |config: &mut ProducerConfig| {
            (config.acks, config.enable_idempotence, config.max_in_flight) = (Acks::None, false, 6);
            config.retries = 0;
        };
        assert!(check(careless).is_ok());
        let transactional = |config: &mut ProducerConfig| {
            (config.transactional_id, config.enable_idempotence) = (Some("t".to_owned()), false);
        };
        assert!(check(transactional).is_err());
    }

    #[test]
    fn a_record_has_time_for_lingering_and_one_request() {
        let short = Duration::from_millis(100);
        let refused = check(|config| config.delivery_timeout = short).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "delivery.timeout.ms: 100 ms should be equal to or larger than linger.ms + request.timeout.ms, 30005 ms"
        );
        // What nobody has asked for is made to fit.
        let hour = Duration::from_secs(3600);
        let fitting = check(|config| config.linger = hour).unwrap();
        assert_eq!(fitting.delivery_timeout, hour + Duration::from_secs(30));
    }
}
