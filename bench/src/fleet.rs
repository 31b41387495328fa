//! The subjects of the comparison, all running at once and loaded one at a time. Dropping the fleet ends
//! them.

use std::{fmt, path::Path};

use anyhow::Result;
use millstream_testkit::{Kind, Running, Target, TargetOptions};

use crate::{Options, floor::client::Floor};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Millstream,
    /// `--durability os`: acknowledged before it is flushed.
    MillstreamOs,
    Kafka,
    /// `log.flush.interval.messages=1`
    KafkaFlushing,
    /// No broker: a loop that receives, writes and flushes.
    Floor,
}

impl Subject {
    pub(crate) const ALL: [Self; 5] =
        [Self::Millstream, Self::MillstreamOs, Self::Kafka, Self::KafkaFlushing, Self::Floor];
    pub(crate) const BROKERS: [Self; 4] =
        [Self::Millstream, Self::MillstreamOs, Self::Kafka, Self::KafkaFlushing];

    /// How it is started, from an empty directory. Brokers only.
    pub(crate) fn options(self) -> TargetOptions {
        // Deleted topics must not fill the disk while the next run is measured.
        let options = TargetOptions::default().set("log.segment.delete.delay.ms", 1_000);
        match self {
            Self::Millstream | Self::Floor => options.kind(Kind::Millstream),
            Self::MillstreamOs => {
                let mut options = options.kind(Kind::Millstream);
                options.arguments = vec!["--durability".to_owned(), "os".to_owned()];
                options
            }
            Self::Kafka | Self::KafkaFlushing => {
                let mut options = options.kind(Kind::Kafka);
                if self == Self::KafkaFlushing {
                    options = options.set("log.flush.interval.messages", 1);
                }
                options.java_options = JAVA_OPTIONS.map(str::to_owned).to_vec();
                options
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Millstream => "Millstream",
            Self::MillstreamOs => "Millstream, durability os",
            Self::Kafka => "Kafka",
            Self::KafkaFlushing => "Kafka, flushing",
            Self::Floor => "floor",
        })
    }
}

/// What Kafka's own start script gives the broker.
const JAVA_OPTIONS: [&str; 8] = [
    "-Xms1G",
    "-Xmx1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

pub(crate) struct Fleet {
    brokers: Vec<(Subject, Running)>,
    pub(crate) floor: Floor,
}

impl Fleet {
    pub(crate) fn start(options: &Options, directory: &Path) -> Result<Self> {
        let mut brokers = Vec::new();
        for subject in Subject::BROKERS {
            if options.quick && subject == Subject::MillstreamOs {
                continue;
            }
            eprintln!("starting {subject}");
            let root = directory.join(format!("{subject:?}"));
            brokers.push((subject, Target::start(subject.options().dir(&root))?));
        }
        Ok(Self { brokers, floor: Floor::start(&directory.join("floor"))? })
    }

    pub(crate) fn brokers(&self) -> impl Iterator<Item = (Subject, &Running)> {
        self.brokers.iter().map(|(subject, running)| (*subject, running))
    }

    /// SIGTERM to all of them, and waits.
    pub(crate) fn stop(self) -> Result<()> {
        for (subject, mut running) in self.brokers {
            let status = running.stop()?;
            if !status.success() && !matches!(subject, Subject::Kafka | Subject::KafkaFlushing) {
                eprintln!("{subject} ended with {status}");
            }
        }
        Ok(())
    }
}
