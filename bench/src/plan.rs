//! What is measured, for whom, how often, and about how long that takes.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{fleet::Subject, payload};

/// And until all brokers are warm.
const START_OF_FLEET: Duration = Duration::from_secs(45);

/// How much of it is measured.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// Rounds over all scenarios and subjects [default: 3, with --long 5]
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds that one producing run goes on [default: 3, with --long 30]
    #[arg(long)]
    seconds: Option<u64>,
    /// Bytes after which a producing run ends in any case, in MiB [default: 4096]
    #[arg(long)]
    mebibytes: Option<u64>,
    /// Only scenarios whose name contains this, such as `throughput 100 B`; repeat for more
    #[arg(long)]
    only: Vec<String>,
    /// Only these, with commas between them
    #[arg(long, value_enum, value_delimiter = ',')]
    subjects: Vec<Subject>,
    /// Longer runs, 20 GB to recover, 10 GB cold: hours
    #[arg(long, conflicts_with = "quick")]
    long: bool,
    /// One short round of small scenarios: does it all work?
    #[arg(long)]
    quick: bool,
}

impl Extent {
    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }

    /// Whether it is less than what RESULTS.md in the repository should show.
    pub(crate) fn is_partial(&self) -> bool {
        let whole = Self { long: true, ..Self::default() };
        *self != whole
    }

    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or_else(|| self.choose(1, 3, 5))
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or_else(|| self.choose(1, 3, 30)))
    }

    /// At a steady rate, longer tells nothing more.
    pub(crate) fn growth_duration(&self) -> Duration {
        self.duration().min(Duration::from_secs(10))
    }

    /// Long enough for a JVM to have compiled what it does often.
    pub(crate) fn of_warm_up(&self) -> Self {
        Self { seconds: Some(self.duration().as_secs().min(10)), ..self.clone() }
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.mebibytes.unwrap_or_else(|| self.choose(256, 4096, 4096)) << 20
    }

    pub(crate) fn subjects(&self) -> Vec<Subject> {
        let wanted = |subject: &Subject| self.subjects.is_empty() || self.subjects.contains(subject);
        Subject::ALL.into_iter().filter(wanted).collect()
    }

    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        let mut all = vec![Scenario::Start];
        all.extend(self.restarts().into_iter().map(Scenario::Restart));
        all.push(Scenario::MemoryIdle);
        all.extend(self.throughput().into_iter().map(Scenario::Throughput));
        let rates = self.choose(vec![1_000], vec![1_000, 10_000], vec![1_000, 10_000]);
        all.extend(rates.into_iter().map(|rate| Scenario::Latency { rate }));
        all.push(Scenario::Cold { megabytes: self.choose(250, 2_000, 10_000) });
        for along in [Along::Partitions, Along::Connections] {
            let counts = self.choose(vec![1, 10], vec![1, 10, 100, 1_000], vec![1, 10, 100, 1_000]);
            all.extend(counts.into_iter().map(|count| Scenario::Growth(Growth { along, count })));
        }
        let java = [(5_000_000, 100), (1_000_000, 1024)];
        let java = self.choose(vec![(100_000, 100)], java.to_vec(), java.to_vec());
        all.extend(java.into_iter().map(|(records, size)| Scenario::Java { records, size }));
        all.push(Scenario::MemoryAfter);
        all.retain(|scenario| self.wants(&scenario.to_string()));
        all
    }

    /// The subjects of a scenario, in the order in which they are measured.
    fn subjects_of(&self, scenario: Scenario) -> Vec<Subject> {
        // Of the others --quick and the usual extent tell enough; an hour a round is long as it is.
        let judged = |subject: &Subject| {
            matches!(subject, Subject::Millstream | Subject::Kafka | Subject::Floor) || !self.long
        };
        let measured = |subject: &Subject| match scenario {
            Scenario::Restart(_) => matches!(subject, Subject::Millstream | Subject::Kafka),
            Scenario::Start | Scenario::MemoryIdle | Scenario::MemoryAfter | Scenario::Java { .. } => {
                *subject != Subject::Floor
            }
            // Flushing for each batch, it cannot follow the rate.
            Scenario::Growth(_) => *subject != Subject::KafkaFlushing && judged(subject),
            Scenario::Throughput(_) | Scenario::Cold { .. } => judged(subject),
            Scenario::Latency { .. } => true,
        };
        self.subjects().into_iter().filter(measured).collect()
    }

    fn rounds_of(&self, scenario: Scenario) -> u32 {
        match scenario {
            Scenario::MemoryIdle => 1,
            Scenario::Java { .. } => self.rounds().min(self.choose(1, 1, 3)),
            Scenario::Cold { .. } | Scenario::Growth(_) => self.rounds().min(self.choose(1, 2, 5)),
            Scenario::Restart(restart) if restart.megabytes > 1_000 => self.rounds().min(3),
            _ => self.rounds(),
        }
    }

    /// Everything to be measured, round by round, so that what the machine does meanwhile meets all alike.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u32, Scenario, Subject)> {
        let scenarios = self.scenarios();
        (1..=self.rounds()).flat_map(move |round| {
            let due =
                scenarios.clone().into_iter().filter(move |scenario| round <= self.rounds_of(*scenario));
            due.flat_map(move |scenario| {
                self.subjects_of(scenario).into_iter().map(move |subject| (round, scenario, subject))
            })
        })
    }

    /// About how long all of it takes.
    pub(crate) fn takes(&self) -> Duration {
        let all = self.runs().map(|(_, scenario, subject)| scenario.takes(subject, self));
        all.sum::<Duration>() + START_OF_FLEET
    }

    fn restarts(&self) -> Vec<Restart> {
        let small = Restart { megabytes: 1_000, partitions: 100 };
        let large = Restart { megabytes: 20_000, partitions: 1_000 };
        self.choose(vec![Restart { megabytes: 100, partitions: 10 }], vec![small], vec![small, large])
    }

    fn throughput(&self) -> Vec<Throughput> {
        use payload::Kind::{Json, Random};
        // What is compressed should be compressible; what is not, should not flatter a disk that compresses.
        let usual = [(Codec::None, Random), (Codec::Lz4, Json)];
        let others = [(Codec::None, Json), (Codec::Lz4, Random)];
        let mut all = Vec::new();
        for partitions in self.choose(vec![12], vec![1, 12, 100], vec![1, 12, 100]) {
            for size in [100, 1024] {
                let all_payloads = self.long && partitions == 1;
                for (codec, payload) in usual.into_iter().chain(others.into_iter().filter(|_| all_payloads)) {
                    all.push(Throughput { size, partitions, codec, payload });
                }
            }
        }
        all
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    fn choose<T>(&self, quick: T, usual: T, long: T) -> T {
        match (self.quick, self.long) {
            (true, _) => quick,
            (_, true) => long,
            _ => usual,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// From nothing to a first acknowledgement, and to a first record read by a new group.
    Start,
    Restart(Restart),
    /// Resident memory before anything was asked for.
    MemoryIdle,
    Throughput(Throughput),
    /// Records a second, in an open loop: sent on time whether the earlier ones are answered or not.
    Latency {
        rate: u32,
    },
    /// Latency while somebody reads what is no longer in memory.
    Cold {
        megabytes: u64,
    },
    Growth(Growth),
    /// Kafka's own performance tools.
    Java {
        records: u64,
        size: usize,
    },
    /// Resident memory after all runs of a round.
    MemoryAfter,
}

/// After `kill -9`, to the first acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) megabytes: u64,
    pub(crate) partitions: i32,
}

/// As many records as possible, then all of them read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throughput {
    pub(crate) size: usize,
    pub(crate) partitions: i32,
    pub(crate) codec: Codec,
    pub(crate) payload: payload::Kind,
}

/// The same load, spread over more and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    pub(crate) along: Along,
    pub(crate) count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Along {
    Partitions,
    Connections,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Lz4,
}

impl Codec {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
        }
    }
}

impl Scenario {
    /// Whether it starts its brokers itself, while no others run.
    pub(crate) fn is_alone(self) -> bool {
        matches!(self, Self::Start | Self::Restart(_))
    }

    /// About how long a run of one subject takes, seen on two virtual processors with a disk of 400 MB/s.
    pub(crate) fn takes(self, subject: Subject, extent: &Extent) -> Duration {
        let kafka = matches!(subject, Subject::Kafka | Subject::KafkaFlushing);
        let run = extent.duration().as_secs_f64();
        let seconds = match self {
            Self::Start => {
                if kafka {
                    6.0
                } else {
                    1.0
                }
            }
            Self::Restart(Restart { megabytes, .. }) => {
                let gigabytes = megabytes as f64 / 1e3;
                if kafka { 22.0 + 12.0 * gigabytes } else { 2.0 + 5.0 * gigabytes }
            }
            Self::MemoryIdle | Self::MemoryAfter => 0.0,
            Self::Throughput(load) => {
                let bytes_per_second = if load.size < 1024 { 200e6 } else { 600e6 };
                2.5 + 1.7 * run.min(extent.bytes_max() as f64 / bytes_per_second)
            }
            Self::Latency { .. } => 1.5 + run,
            Self::Cold { megabytes } => 4.0 + megabytes as f64 / 150.0 + 2.0 * run,
            Self::Growth(growth) => {
                let first_writes = if kafka && growth.along == Along::Partitions { 0.04 } else { 0.002 };
                3.0 + f64::from(growth.count) * first_writes + extent.growth_duration().as_secs_f64()
            }
            Self::Java { records, size } => 6.0 + records as f64 * size as f64 / 5e7,
        };
        Duration::from_secs_f64(seconds)
    }
}

/// By this name a scenario is asked for, and found in the results.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start from nothing"),
            Self::Restart(Restart { megabytes, partitions }) => {
                write!(f, "restart with {} in {partitions} partitions", size(*megabytes))
            }
            Self::MemoryIdle => f.write_str("memory idle"),
            Self::Throughput(load) => write!(f, "throughput {load}"),
            Self::Latency { rate } => write!(f, "latency at {rate}/s"),
            Self::Cold { megabytes } => write!(f, "cold {}", size(*megabytes)),
            Self::Growth(Growth { along: Along::Partitions, count }) => {
                write!(f, "growth, {}", counted(*count, "partition"))
            }
            Self::Growth(Growth { along: Along::Connections, count }) => {
                write!(f, "growth, {}", counted(*count, "connection"))
            }
            Self::Java { records, size } => write!(f, "java {records} × {size} B"),
            Self::MemoryAfter => f.write_str("memory after"),
        }
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, partitions, codec, payload } = self;
        let partitions = counted(partitions.unsigned_abs(), "partition");
        write!(f, "{size} B, {partitions}, {}, {payload}", codec.name())
    }
}

pub(crate) fn size(megabytes: u64) -> String {
    if megabytes.is_multiple_of(1000) {
        format!("{} GB", megabytes / 1000)
    } else {
        format!("{megabytes} MB")
    }
}

fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(extent: &Extent) -> Vec<String> {
        extent.scenarios().iter().map(Scenario::to_string).collect()
    }

    #[test]
    fn no_two_scenarios_share_a_name() {
        let long = Extent { long: true, ..Extent::default() };
        let mut names = names(&long);
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn any_part_of_a_name_asks_for_a_scenario() {
        let only = ["1024 B, 100 partitions", "from nothing"].map(str::to_owned).to_vec();
        let wanted = names(&Extent { only, ..Extent::default() });
        let expected = [
            "start from nothing",
            "throughput 1024 B, 100 partitions, none, incompressible",
            "throughput 1024 B, 100 partitions, lz4, JSON",
        ];
        assert_eq!(wanted, expected);
    }

    #[test]
    fn a_run_with_defaults_takes_at_most_three_quarters_of_an_hour() {
        let takes = Extent::default().takes();
        assert!(takes < Duration::from_secs(45 * 60), "{takes:?}");
    }
}
