//! The consumer's configuration.

use std::{str::FromStr, time::Duration};

use super::{comma_separated, millis, parse};
use crate::{AssignmentStrategy, Error, Result};

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
        match text.split_once(':') {
            None if text.eq_ignore_ascii_case("earliest") => Ok(Self::Earliest),
            None if text.eq_ignore_ascii_case("latest") => Ok(Self::Latest),
            None if text.eq_ignore_ascii_case("none") => Ok(Self::None),
            Some((kind, duration)) if kind.eq_ignore_ascii_case("by_duration") => iso_duration(duration)
                .map(Self::ByDuration)
                .ok_or_else(|| format!("{duration:?} is not a duration such as PT1H30M")),
            _ => Err(format!("{text:?} is not earliest, latest, none or by_duration:PT…")),
        }
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

#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// `group.id`: None for a consumer that neither subscribes nor commits.
    pub group_id: Option<String>,
    /// `group.instance.id`: a static member, which may restart without a rebalance (KIP-345).
    pub group_instance_id: Option<String>,
    /// `session.timeout.ms`: how long the coordinator waits for a heartbeat.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: a member that does not poll for so long leaves its group.
    pub max_poll_interval: Duration,
    /// `max.poll.records`: the most that one poll returns.
    pub max_poll_records: usize,
    /// `partition.assignment.strategy`, the one it likes best first.
    pub assignment_strategies: Vec<AssignmentStrategy>,
    /// `enable.auto.commit`: what earlier polls returned is committed by later ones, and on closing.
    pub enable_auto_commit: bool,
    /// `auto.commit.interval.ms`
    pub auto_commit_interval: Duration,
    /// `auto.offset.reset`
    pub auto_offset_reset: OffsetReset,
    /// `exclude.internal.topics`: whether a pattern matches no internal topic.
    pub exclude_internal_topics: bool,
    /// `client.rack`
    pub client_rack: Option<String>,
    /// `fetch.min.bytes`: the broker answers when it has this much, or `fetch.max.wait.ms` is over.
    pub fetch_min_bytes: i32,
    /// `fetch.max.wait.ms`
    pub fetch_max_wait: Duration,
    /// `fetch.max.bytes`, of one answer; a first batch that is larger is sent all the same.
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes`
    pub max_partition_fetch_bytes: i32,
    /// `isolation.level`
    pub isolation_level: IsolationLevel,
    /// How many bytes one batch may hold once it is decompressed.
    pub max_decompressed_bytes: usize,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group_id: None,
            group_instance_id: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            max_poll_records: 500,
            assignment_strategies: vec![AssignmentStrategy::Range, AssignmentStrategy::CooperativeSticky],
            enable_auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            auto_offset_reset: OffsetReset::Latest,
            exclude_internal_topics: true,
            client_rack: None,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            isolation_level: IsolationLevel::ReadUncommitted,
            max_decompressed_bytes: 1 << 30,
        }
    }
}

impl ConsumerConfig {
    /// Sets one key by Kafka's name; false if it is not one of these.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool> {
        let some = |value: &str| Some(value.to_owned()).filter(|text| !text.is_empty());
        match key {
            "group.id" => self.group_id = some(value),
            "group.instance.id" => self.group_instance_id = some(value),
            // Kafka's default. The other, `consumer` (KIP-848), is not spoken.
            "group.protocol" if value.eq_ignore_ascii_case("classic") => {}
            "group.protocol" => {
                return Err(Error::config(key, format!("{value:?} is not classic")));
            }
            "session.timeout.ms" => self.session_timeout = millis(key, value)?,
            "heartbeat.interval.ms" => self.heartbeat_interval = millis(key, value)?,
            "max.poll.interval.ms" => self.max_poll_interval = positive(key, value)?,
            "max.poll.records" => {
                self.max_poll_records = parse(key, value)?;
                if self.max_poll_records == 0 {
                    return Err(Error::config(key, "must be at least 1"));
                }
            }
            "partition.assignment.strategy" => {
                let names = comma_separated(value);
                self.assignment_strategies =
                    names.iter().map(|name| parse(key, name)).collect::<Result<_>>()?;
            }
            "enable.auto.commit" => self.enable_auto_commit = parse(key, value)?,
            "auto.commit.interval.ms" => self.auto_commit_interval = millis(key, value)?,
            "auto.offset.reset" => self.auto_offset_reset = parse(key, value)?,
            "exclude.internal.topics" => self.exclude_internal_topics = parse(key, value)?,
            "client.rack" => self.client_rack = some(value),
            "fetch.min.bytes" => self.fetch_min_bytes = parse(key, value)?,
            "fetch.max.wait.ms" => self.fetch_max_wait = millis(key, value)?,
            "fetch.max.bytes" => self.fetch_max_bytes = parse(key, value)?,
            "max.partition.fetch.bytes" => self.max_partition_fetch_bytes = parse(key, value)?,
            "isolation.level" => self.isolation_level = parse(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn positive(key: &str, value: &str) -> Result<Duration> {
    let duration = millis(key, value)?;
    if duration.is_zero() { Err(Error::config(key, "must be at least 1")) } else { Ok(duration) }
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
