//! The subjects of the comparison, all running at once and loaded one at a time. Dropping the fleet ends
//! them.

use std::{fmt, path::Path};

use anyhow::{Context, Result, ensure};
use millstream_testkit::{Kind, Running, Target, TargetOptions};
use serde::{Deserialize, Serialize};

use crate::{floor::client::Floor, usage};

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
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
                // Kafka's defaults, which the launcher shortens for tests.
                let mut options = options
                    .kind(Kind::Kafka)
                    .set("broker.heartbeat.interval.ms", 2_000)
                    .set("broker.session.timeout.ms", 9_000);
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
    floor: Option<Floor>,
}

impl Fleet {
    pub(crate) fn start(subjects: &[Subject], directory: &Path) -> Result<Self> {
        let mut fleet = Self { brokers: Vec::new(), floor: None };
        for subject in subjects {
            eprintln!("starting {subject}");
            let root = directory.join(format!("{subject:?}"));
            if *subject == Subject::Floor {
                fleet.floor = Some(Floor::start(&root)?);
            } else {
                fleet.brokers.push((*subject, Target::start(subject.options().dir(&root))?));
            }
        }
        Ok(fleet)
    }

    /// Only while it runs: whoever loads a broker that has ended would wait until every limit is over.
    pub(crate) fn broker(&self, subject: Subject) -> Result<&Running> {
        let found = self.brokers.iter().find(|(each, _)| *each == subject);
        let (_, broker) = found.with_context(|| format!("{subject} is not running"))?;
        ensure!(usage::is_alive(broker.pid()?), "{subject} has ended; it said:\n{}", broker.output());
        Ok(broker)
    }

    pub(crate) fn brokers(&self) -> impl Iterator<Item = &Running> {
        self.brokers.iter().map(|(_, broker)| broker)
    }

    pub(crate) fn floor(&self) -> Result<&Floor> {
        self.floor.as_ref().context("the floor is not running")
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
