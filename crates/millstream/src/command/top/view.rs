//! What two looks at the cluster come to: tables of what there is, and of how quickly it changes.

use serde_json::{Map, Value, json};

use super::sample::{BrokerSample, GroupSample, Sample, TopicSample};
use crate::command::{lag::short, output::Section};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum View {
    #[default]
    Topics,
    Groups,
    Brokers,
}

impl View {
    pub(super) const ALL: [Self; 3] = [Self::Topics, Self::Groups, Self::Brokers];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Topics => "Topics",
            Self::Groups => "Groups",
            Self::Brokers => "Brokers",
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::Topics => &TOPICS,
            Self::Groups => &GROUPS,
            Self::Brokers => &BROKERS,
        }
    }
}

pub(super) struct Column {
    pub(super) head: &'static str,
    key: &'static str,
}

const fn column(head: &'static str, key: &'static str) -> Column {
    Column { head, key }
}

const TOPICS: [Column; 9] = [
    column("TOPIC", "topic"),
    column("IN/S", "records_in_per_second"),
    column("OUT/S", "records_out_per_second"),
    column("RECORDS", "records"),
    column("BYTES/S", "bytes_in_per_second"),
    column("SIZE", "size_bytes"),
    column("PARTS", "partitions"),
    column("REPL", "replicas"),
    column("AILING", "ailing_partitions"),
];
const GROUPS: [Column; 7] = [
    column("GROUP", "group"),
    column("STATE", "state"),
    column("MEMBERS", "members"),
    column("LAG", "lag"),
    column("BEHIND", "lag_seconds"),
    column("READ/S", "records_read_per_second"),
    column("TOPICS", "topics"),
];
const BROKERS: [Column; 8] = [
    column("BROKER", "broker"),
    column("STATE", "state"),
    column("ADDRESS", "address"),
    column("RACK", "rack"),
    column("LEADS", "partitions_led"),
    column("REPLICAS", "replicas"),
    column("SIZE", "size_bytes"),
    column("IN/S", "records_in_per_second"),
];

pub(super) struct Table {
    pub(super) view: View,
    pub(super) rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Text(String),
    /// What a thing is called that has a number for a name.
    Id(i32),
    Count(i64),
    /// In bytes.
    Size(u64),
    /// Records a second.
    Rate(f64),
    /// Bytes a second.
    ByteRate(f64),
    Seconds(f64),
    Unknown,
}

impl Cell {
    /// Short, for a terminal.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Id(id) => id.to_string(),
            Self::Count(count) => count.to_string(),
            Self::Rate(rate) if *rate == 0.0 => "0".to_owned(),
            Self::Rate(rate) if *rate < 10.0 => format!("{rate:.1}"),
            Self::Rate(rate) => format!("{rate:.0}"),
            Self::Size(bytes) => bytes_text(*bytes as f64),
            Self::ByteRate(bytes) => bytes_text(*bytes),
            Self::Seconds(seconds) => short(*seconds),
            Self::Unknown => "-".to_owned(),
        }
    }

    pub(super) fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    /// For sorting; what is not known comes before everything else.
    pub(super) fn order(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => self.number().total_cmp(&other.number()),
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::Id(id) => f64::from(*id),
            Self::Count(count) => *count as f64,
            Self::Size(bytes) => *bytes as f64,
            Self::Rate(number) | Self::ByteRate(number) | Self::Seconds(number) => *number,
            Self::Text(_) | Self::Unknown => f64::NEG_INFINITY,
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Id(id) => json!(id),
            Self::Count(count) => json!(count),
            Self::Size(bytes) => json!(bytes),
            Self::Rate(number) | Self::ByteRate(number) | Self::Seconds(number) => json!(number),
            Self::Unknown => Value::Null,
        }
    }

    fn in_bytes(self) -> Self {
        match self {
            Self::Rate(rate) => Self::ByteRate(rate),
            other => other,
        }
    }
}

fn bytes_text(bytes: f64) -> String {
    let units = ["B", "K", "M", "G", "T", "P"];
    let mut amount = bytes.max(0.0);
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    if unit == 0 || amount >= 100.0 {
        format!("{amount:.0}{}", units[unit])
    } else {
        format!("{amount:.1}{}", units[unit])
    }
}

impl Table {
    pub(super) fn columns(&self) -> &'static [Column] {
        self.view.columns()
    }

    fn value(&self) -> Value {
        let row = |row: &Vec<Cell>| -> Value {
            let keys = self.columns().iter().map(|column| column.key.to_owned());
            keys.zip(row.iter().map(Cell::value)).collect::<Map<_, _>>().into()
        };
        self.rows.iter().map(row).collect()
    }
}

/// The three tables of one moment.
pub(super) struct Tables {
    pub(super) cluster: String,
    /// Of the whole cluster.
    pub(super) records_per_second: f64,
    all: [Table; 3],
}

impl Tables {
    pub(super) fn of(before: Option<&Sample>, now: &Sample) -> Self {
        let change = Change::between(before, now);
        let topics: Vec<_> = now.topics.iter().map(|topic| change.topic(topic)).collect();
        let rate = |row: &Vec<Cell>| if let Cell::Rate(rate) = row[1] { rate } else { 0.0 };
        let records_per_second = topics.iter().map(rate).sum();
        let groups = now.groups.iter().map(|group| change.group(group)).collect();
        let brokers = now.brokers.iter().map(|broker| change.broker(broker)).collect();
        let table = |view, rows| Table { view, rows };
        Self {
            cluster: now.cluster.clone(),
            records_per_second,
            all: [table(View::Topics, topics), table(View::Groups, groups), table(View::Brokers, brokers)],
        }
    }

    pub(super) fn table(&self, view: View) -> &Table {
        &self.all[view as usize]
    }

    pub(super) fn sections(&self) -> Vec<Section> {
        let section = |table: &Table| {
            let heads: Vec<&'static str> = table.columns().iter().map(|column| column.head).collect();
            let name = ["topic", "group", "broker"][table.view as usize];
            let mut section = Section::new(name, &heads);
            table.rows.iter().for_each(|row| section.row(row.iter().map(Cell::text)));
            section
        };
        self.all.iter().map(section).collect()
    }

    pub(super) fn value(&self) -> Value {
        json!({
            "cluster_id": self.cluster,
            "records_in_per_second": self.records_per_second,
            "topics": self.table(View::Topics).value(),
            "groups": self.table(View::Groups).value(),
            "brokers": self.table(View::Brokers).value(),
        })
    }
}

/// What happened since the look before, if there was one.
struct Change<'a> {
    before: Option<&'a Sample>,
    now: &'a Sample,
    seconds: Option<f64>,
}

impl<'a> Change<'a> {
    fn between(before: Option<&'a Sample>, now: &'a Sample) -> Self {
        let seconds = before.map(|before| now.at.saturating_duration_since(before.at).as_secs_f64());
        Self { before, now, seconds: seconds.filter(|seconds| *seconds > 0.0) }
    }

    /// What was made anew begins anew: nothing goes back.
    fn rate(&self, before: Option<i64>, now: i64) -> Cell {
        match (before, self.seconds) {
            (Some(before), Some(seconds)) => Cell::Rate((now - before).max(0) as f64 / seconds),
            _ => Cell::Unknown,
        }
    }

    fn group_before(&self, name: &str) -> Option<&'a GroupSample> {
        self.before?.groups.iter().find(|group| group.name == name)
    }

    /// What all groups together have read of a topic; unknown if no group commits offsets for it.
    fn read_of(&self, topic: &str) -> Cell {
        let read = self.now.groups.iter().filter_map(|group| {
            let now = *group.committed.get(topic)?;
            let before = self.group_before(&group.name).and_then(|group| group.committed.get(topic).copied());
            match self.rate(before, now) {
                Cell::Rate(rate) => Some(rate),
                _ => None,
            }
        });
        read.reduce(|one, other| one + other).map_or(Cell::Unknown, Cell::Rate)
    }

    fn topic(&self, topic: &TopicSample) -> Vec<Cell> {
        let before = self.before.and_then(|before| before.topics.iter().find(|old| old.name == topic.name));
        let signed = |bytes: Option<u64>| bytes.and_then(|bytes| i64::try_from(bytes).ok());
        let bytes_rate = signed(topic.bytes).map_or(Cell::Unknown, |now| {
            self.rate(before.and_then(|before| signed(before.bytes)), now).in_bytes()
        });
        vec![
            Cell::Text(topic.name.clone()),
            self.rate(before.map(|before| before.ends), topic.ends),
            self.read_of(&topic.name),
            Cell::Count(topic.records),
            bytes_rate,
            topic.bytes.map_or(Cell::Unknown, Cell::Size),
            count(topic.partitions),
            count(topic.replicas),
            count(topic.ailing),
        ]
    }

    fn group(&self, group: &GroupSample) -> Vec<Cell> {
        let all = |group: &GroupSample| group.committed.values().sum();
        vec![
            Cell::Text(group.name.clone()),
            Cell::Text(group.state.clone()),
            count(group.members),
            Cell::Count(group.lag),
            group.seconds.map_or(Cell::Unknown, Cell::Seconds),
            self.rate(self.group_before(&group.name).map(all), all(group)),
            count(group.committed.len()),
        ]
    }

    fn broker(&self, one: &BrokerSample) -> Vec<Cell> {
        let before = self.before.and_then(|before| before.brokers.iter().find(|old| old.id == one.id));
        // What it has just begun to lead did not arrive just now.
        let before = before.filter(|before| before.leads == one.leads);
        let state = match (&one.broker, one.is_controller) {
            (None, _) => "away",
            (Some(_), true) => "controller",
            (Some(_), false) => "up",
        };
        let text = |text: Option<String>| text.map_or(Cell::Unknown, Cell::Text);
        vec![
            Cell::Id(one.id.0),
            Cell::Text(state.to_owned()),
            text(one.broker.as_ref().map(|broker| broker.address())),
            text(one.broker.as_ref().and_then(|broker| broker.rack.clone())),
            count(one.leads),
            count(one.replicas),
            one.bytes.map_or(Cell::Unknown, Cell::Size),
            self.rate(before.map(|before| before.ends), one.ends),
        ]
    }
}

fn count(number: usize) -> Cell {
    Cell::Count(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use millstream_client::Broker;
    use millstream_types::BrokerId;

    use super::*;

    /// A cluster with one topic, which has `records` records of which a group has read `read`; of its two
    /// brokers one is away.
    pub(in crate::command::top) fn cluster(start: Instant, seconds: u64, records: i64, read: i64) -> Sample {
        let broker = |id: i32, broker: Option<Broker>| BrokerSample {
            id: BrokerId(id),
            is_controller: broker.is_some(),
            broker,
            leads: 3,
            replicas: 3,
            ends: records,
            bytes: Some(2048),
        };
        let there = Broker { id: BrokerId(1), host: "one".to_owned(), port: 9092, rack: None };
        Sample {
            at: start + Duration::from_secs(seconds),
            cluster: "c".to_owned(),
            topics: vec![TopicSample {
                name: "Orders".to_owned(),
                partitions: 3,
                replicas: 2,
                ailing: 3,
                ends: records,
                records,
                bytes: Some(2048),
            }],
            groups: vec![GroupSample {
                name: "billing".to_owned(),
                state: "Stable".to_owned(),
                members: 2,
                lag: records - read,
                seconds: Some(90.0),
                committed: [("Orders".to_owned(), read)].into(),
            }],
            brokers: vec![broker(1, Some(there)), broker(2, None)],
        }
    }

    #[test]
    fn rates_are_what_came_between_two_looks() {
        let start = Instant::now();
        let tables = Tables::of(Some(&cluster(start, 0, 100, 40)), &cluster(start, 2, 150, 50));
        assert_eq!(tables.records_per_second, 25.0);
        let topic = &tables.table(View::Topics).rows[0];
        assert_eq!(topic[1..3], [Cell::Rate(25.0), Cell::Rate(5.0)]);
        let texts: Vec<String> = tables.table(View::Groups).rows[0].iter().map(Cell::text).collect();
        assert_eq!(texts, ["billing", "Stable", "2", "100", "90s", "5.0", "1"]);
        let value = tables.value();
        assert_eq!(value["topics"][0]["records_in_per_second"], 25.0);
        assert_eq!(value["groups"][0]["lag"], 100);
        assert_eq!(
            (&value["brokers"][0]["state"], &value["brokers"][1]["state"]),
            (&"controller".into(), &"away".into())
        );
    }

    #[test]
    fn what_was_made_anew_or_not_seen_before_has_no_rate() {
        let start = Instant::now();
        let anew = Tables::of(Some(&cluster(start, 0, 100, 40)), &cluster(start, 2, 50, 0));
        assert_eq!(anew.records_per_second, 0.0);
        let first = Tables::of(None, &cluster(start, 2, 50, 0));
        assert_eq!(first.table(View::Topics).rows[0][1..3], [Cell::Unknown, Cell::Unknown]);
    }

    #[test]
    fn bytes_are_short() {
        assert_eq!([0.0, 1023.0, 1536.0, 200.0 * 1024.0].map(bytes_text), ["0B", "1023B", "1.5K", "200K"]);
    }
}
