//! The consumer's configuration.

use std::{str::FromStr, time::Duration};

use super::values::keys;
use crate::{AssignmentStrategy, Result};

/// `isolation.level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    #[default]
    ReadUncommitted,
    /// Records of open and aborted transactions are not seen.
    ReadCommitted,
}

impl IsolationLevel {
    pub(crate) fn to_wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

impl FromStr for IsolationLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read_uncommitted" => Ok(Self::ReadUncommitted),
            "read_committed" => Ok(Self::ReadCommitted),
            other => Err(format!("{other:?} is not read_uncommitted or read_committed")),
        }
    }
}

/// `auto.offset.reset`: where to read a partition from that has no committed offset, or one that is not
/// there any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    Earliest,
    #[default]
    Latest,
    /// Nowhere: it is an error.
    None,
    /// From the first record that is not older than this (KIP-1106).
    ByDuration(Duration),
}

impl FromStr for OffsetReset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.split_once(':') {
            None if text.eq_ignore_ascii_case("earliest") => Some(Self::Earliest),
            None if text.eq_ignore_ascii_case("latest") => Some(Self::Latest),
            None if text.eq_ignore_ascii_case("none") => Some(Self::None),
            Some((kind, duration)) if kind.eq_ignore_ascii_case("by_duration") => {
                iso_duration(duration).map(Self::ByDuration)
            }
            _ => None,
        };
        // In Kafka's words, point for point.
        let forms = "'earliest', 'latest', 'none' or of the format 'by_duration:<PnDTnHnMn.nS.>'";
        parsed.ok_or_else(|| {
            format!("Invalid value `{text}` for configuration auto.offset.reset. The value must be either {forms}.")
        })
    }
}

/// `PnDTnHnMn.nS`, as Java's `Duration` reads it, but never negative.
fn iso_duration(text: &str) -> Option<Duration> {
    let upper = text.to_ascii_uppercase();
    let rest = upper.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut seconds = 0u64;
    let mut add = |count: &str, unit: u64| -> Option<()> {
        let count: u64 = count.bytes().all(|b| b.is_ascii_digit()).then(|| count.parse().ok())??;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        Some(())
    };
    if !days.is_empty() {
        add(days.strip_suffix('D')?, 86_400)?;
    }
    let mut time = time;
    for (letter, unit) in [('H', 3_600), ('M', 60)] {
        if let Some((count, rest)) = time.split_once(letter) {
            add(count, unit)?;
            time = rest;
        }
    }
    let mut nanos = 0;
    if !time.is_empty() {
        let (whole, fraction) =
            time.strip_suffix('S')?.split_once(['.', ',']).unwrap_or((&time[..time.len() - 1], ""));
        add(whole, 1)?;
        if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        nanos = format!("{fraction:0<9}").parse().ok()?;
    }
    Some(Duration::new(seconds, nanos))
}

keys! {
    /// What a consumer has beside a [`ClientConfig`](super::ClientConfig).
    pub struct ConsumerConfig of Consumer {
        /// None for a consumer that neither subscribes nor commits.
        pub group_id: Option<String> = "group.id",
        /// A static member, which may restart without a rebalance (KIP-345).
        pub group_instance_id: Option<String> = "group.instance.id",
        /// How long the coordinator waits for a heartbeat.
        pub session_timeout: Duration = "session.timeout.ms",
        pub heartbeat_interval: Duration = "heartbeat.interval.ms",
        /// A member that does not poll for so long leaves its group.
        pub max_poll_interval: Duration = "max.poll.interval.ms",
        /// The most that one poll returns.
        pub max_poll_records: usize = "max.poll.records",
        /// The one it likes best first.
        pub assignment_strategies: Vec<AssignmentStrategy> = "partition.assignment.strategy",
        /// What earlier polls returned is committed by later ones, and on closing.
        pub enable_auto_commit: bool = "enable.auto.commit",
        pub auto_commit_interval: Duration = "auto.commit.interval.ms",
        pub auto_offset_reset: OffsetReset = "auto.offset.reset",
        /// Whether a pattern matches no internal topic.
        pub exclude_internal_topics: bool = "exclude.internal.topics",
        pub client_rack: Option<String> = "client.rack",
        /// The broker answers when it has this much, or `fetch_max_wait` is over.
        pub fetch_min_bytes: i32 = "fetch.min.bytes",
        pub fetch_max_wait: Duration = "fetch.max.wait.ms",
        /// Of one answer; a first batch that is larger is sent all the same.
        pub fetch_max_bytes: i32 = "fetch.max.bytes",
        pub max_partition_fetch_bytes: i32 = "max.partition.fetch.bytes",
        pub isolation_level: IsolationLevel = "isolation.level",
        ..
        /// How many bytes one batch may hold once it is decompressed. Not a key of Kafka's.
        pub max_decompressed_bytes: usize = 1 << 30,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_go_by_name_or_by_javas_class() {
        let mut config = ConsumerConfig::default();
        let both = "org.apache.kafka.clients.consumer.StickyAssignor, roundrobin";
        assert_eq!(config.set("partition.assignment.strategy", both), Ok(true));
        assert_eq!(
            config.assignment_strategies,
            [AssignmentStrategy::Sticky, AssignmentStrategy::RoundRobin]
        );
        assert!(config.set("partition.assignment.strategy", "best").is_err());
    }

    #[test]
    fn an_offset_reset_may_be_a_duration() {
        let seconds = |text: &str| match text.parse() {
            Ok(OffsetReset::ByDuration(duration)) => Some(duration.as_secs_f64()),
            _ => None,
        };
        assert_eq!(seconds("by_duration:PT1H30M"), Some(5400.0));
        assert_eq!(seconds("by_duration:P1DT1.5S"), Some(86401.5));
        assert_eq!(seconds("by_duration:PT0S"), Some(0.0));
        assert_eq!(seconds("BY_DURATION:p2d"), Some(172_800.0));
        for wrong in ["PT", "P", "1H", "PT-1H", "PT1", "PT1X", "P1H", "PT1M1H", "PTS", "PT1.1234567890S", ""]
        {
            assert_eq!(seconds(&format!("by_duration:{wrong}")), None, "{wrong}");
        }
        assert_eq!("earliest".parse(), Ok(OffsetReset::Earliest));
        assert_eq!("none".parse(), Ok(OffsetReset::None));
        assert!("soon".parse::<OffsetReset>().is_err());
    }
}
