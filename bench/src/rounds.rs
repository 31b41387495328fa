//! The rounds: every scenario for every subject, then again. Each run is saved when it ends; one that fails
//! is noted, and the rest goes on.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use millstream_testkit::Running;

use crate::{
    Place, cold,
    fleet::{Fleet, Subject},
    growth, java, latency, payload,
    plan::{Codec, Extent, Scenario, Throughput},
    samples::{Figures, Metric, Run, Samples, percentile},
    startup, throughput,
    throughput::Portions,
    topics::Topic,
    usage,
};

pub(crate) fn run(
    place: &Place,
    samples: &mut Samples,
    saved: impl Fn(&Samples) -> Result<()>,
) -> Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("millstream-bench-");
    let directory = match &place.dir {
        Some(parent) => builder.tempdir_in(parent)?,
        None => builder.tempdir()?,
    };
    let path = directory.path().to_owned();
    ctrlc::set_handler(move || {
        eprintln!("\ninterrupted; --resume goes on");
        // The brokers end with this process; until then they may still make files.
        let gone = (0..20).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            std::fs::remove_dir_all(&path).is_ok()
        });
        if !gone {
            eprintln!("{} could not be removed", path.display());
        }
        std::process::exit(130);
    })?;
    let extent = samples.began.extent.clone();
    check_space(directory.path(), &extent)?;
    eprintln!("this takes about {} minutes", extent.takes().as_secs().div_ceil(60));
    let (alone, together): (Vec<_>, Vec<_>) = extent
        .runs()
        .filter(|(round, scenario, subject)| !samples.has(*scenario, *subject, *round))
        .partition(|(_, scenario, _)| scenario.is_alone());
    let mut rounds = Rounds { samples, saved: &saved, started: Instant::now() };
    rounds.measure(alone, |_, scenario, subject| {
        // Nothing of it is left when the next begins.
        let directory = tempfile::tempdir_in(directory.path())?;
        alone_of(scenario, subject, directory.path())
    })?;
    if together.is_empty() {
        return Ok(());
    }
    let fleet = Fleet::start(&extent.subjects(), directory.path())?;
    // What a broker does by itself after its start should be over.
    std::thread::sleep(extent.duration().min(Duration::from_secs(3)));
    let mut warm = false;
    rounds.measure(together, |samples, scenario, subject| {
        if !warm && scenario != Scenario::MemoryIdle {
            fleet.brokers().try_for_each(|broker| warm_up(broker, &extent.of_warm_up()))?;
            warm = true;
        }
        match subject {
            Subject::Floor => floor_of(fleet.floor()?, samples, scenario),
            _ => broker_of(fleet.broker(subject)?, scenario, &extent),
        }
    })?;
    fleet.stop()
}

/// A JVM is slow until it has compiled what it does often; nobody's first scenario should be about that.
fn warm_up(broker: &Running, extent: &Extent) -> Result<()> {
    let load = Throughput { size: 100, partitions: 12, codec: Codec::Lz4, payload: payload::Kind::Json };
    throughput::broker(broker, &load, extent)?;
    let topic = Topic::create(broker, "warm-up", 1)?;
    latency::run(broker.bootstrap(), &topic.name, 10_000, extent.duration())?;
    Ok(())
}

/// Recovery and cold reads keep their gigabytes once; what is deleted goes a moment later.
fn check_space(directory: &Path, extent: &Extent) -> Result<()> {
    let largest = extent.scenarios().into_iter().map(|scenario| match scenario {
        Scenario::Restart(restart) => restart.megabytes,
        Scenario::Cold { megabytes } => megabytes,
        _ => extent.bytes_max() / 1_000_000,
    });
    let wanted = 2 * largest.max().unwrap_or(0);
    let disk = rustix::fs::statvfs(directory)?;
    let free = disk.f_bavail * disk.f_frsize / 1_000_000;
    ensure!(free > wanted, "{} has {free} MB free, {wanted} MB are needed (--dir)", directory.display());
    Ok(())
}

struct Rounds<'a, S> {
    samples: &'a mut Samples,
    saved: &'a S,
    started: Instant,
}

impl<S: Fn(&Samples) -> Result<()>> Rounds<'_, S> {
    fn measure(
        &mut self,
        due: Vec<(u32, Scenario, Subject)>,
        mut run: impl FnMut(&Samples, Scenario, Subject) -> Result<Figures>,
    ) -> Result<()> {
        for (round, scenario, subject) in due {
            let minutes = self.started.elapsed().as_secs() / 60;
            eprint!("[{minutes} min] round {round}, {scenario}, {subject}: ");
            rustix::fs::sync();
            let outcome = run(self.samples, scenario, subject);
            match &outcome {
                Ok(figures) => eprintln!("{}", shown(figures)),
                Err(error) => eprintln!("{error:#}"),
            }
            let failure = outcome.as_ref().err().map(|error| format!("{error:#}"));
            let figures = outcome.unwrap_or_default();
            self.samples.add(Run { scenario: scenario.to_string(), subject, round, figures, failure })?;
            (self.saved)(self.samples)?;
        }
        Ok(())
    }
}

fn alone_of(scenario: Scenario, subject: Subject, directory: &Path) -> Result<Figures> {
    match scenario {
        Scenario::Start => startup::from_nothing(subject, directory),
        Scenario::Restart(restart) => startup::after_kill(subject, restart, directory),
        _ => bail!("this is measured while all run"),
    }
}

fn broker_of(broker: &Running, scenario: Scenario, extent: &Extent) -> Result<Figures> {
    match scenario {
        Scenario::MemoryIdle | Scenario::MemoryAfter => {
            Ok(Figures::from([(Metric::RssMib, usage::rss_mib(broker.pid()?)?)]))
        }
        Scenario::Throughput(load) => throughput::broker(broker, &load, extent),
        Scenario::Latency { rate } => {
            let topic = Topic::create(broker, "latency", 1)?;
            Ok(percentiles(latency::run(broker.bootstrap(), &topic.name, rate, extent.duration())?))
        }
        Scenario::Cold { megabytes } => cold::broker(broker, megabytes, extent),
        Scenario::Growth(growth) => growth::broker(broker, growth, extent),
        Scenario::Java { records, size } => {
            let topic = Topic::create(broker, "java", 1)?;
            let produced = java::produce(broker.bootstrap(), &topic.name, records, size)?;
            let consumed = java::consume(broker.bootstrap(), &topic.name, records)?;
            Ok(Figures::from([(Metric::ProducedPerSecond, produced), (Metric::ConsumedPerSecond, consumed)]))
        }
        Scenario::Start | Scenario::Restart(_) => bail!("this is measured while nothing else runs"),
    }
}

fn floor_of(floor: &crate::floor::client::Floor, samples: &Samples, scenario: Scenario) -> Result<Figures> {
    let extent = &samples.began.extent;
    match scenario {
        Scenario::Throughput(load) => throughput::floor(floor, &load, portions(samples, load)?, extent),
        Scenario::Latency { rate } => {
            let latencies = floor.latency(rate, extent.duration());
            floor.clear()?;
            Ok(percentiles(latencies?))
        }
        Scenario::Cold { megabytes } => cold::floor(floor, megabytes, extent),
        Scenario::Growth(growth) => growth::floor(floor, growth, extent),
        _ => bail!("the floor has nothing like it"),
    }
}

/// What the client sent to the first of the brokers measured, in this round.
fn portions(samples: &Samples, load: Throughput) -> Result<Portions> {
    let scenario = Scenario::Throughput(load);
    let of = |subject, metric| samples.last(scenario, subject, metric);
    let found = Subject::ALL.into_iter().find_map(|subject| {
        Some(Portions {
            record_bytes: of(subject, Metric::RecordBytes)?,
            batch_bytes: of(subject, Metric::BatchBytes)?,
            records_per_second: of(subject, Metric::ProducedPerSecond)?,
        })
    });
    found.context("the floor gets the batches that a broker got before it, and there is none")
}

fn percentiles(mut micros: Vec<u32>) -> Figures {
    let parts = [(Metric::P50Ms, 0.5), (Metric::P99Ms, 0.99), (Metric::P999Ms, 0.999)];
    parts.map(|(metric, part)| (metric, percentile(&mut micros, part))).into()
}

fn shown(figures: &Figures) -> String {
    let figures = figures.iter().map(|(metric, value)| match *value {
        value if value >= 1_000.0 => format!("{metric:?} {value:.0}"),
        value => format!("{metric:?} {value:.3}"),
    });
    figures.collect::<Vec<_>>().join(", ")
}
