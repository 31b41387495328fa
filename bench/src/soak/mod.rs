//! `make soak`: everything that clients do, at once and for long, and whether the broker grows by it. Its resident
//! memory, open descriptors and threads are read from /proc every few seconds; the medians of the last quarter must
//! not exceed those of the second one by more than a margin. The first quarter fills caches and does not count.

mod load;
mod report;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use millstream_testkit::{Kind, Target, TargetOptions, millstream_binary};

use crate::{Place, machine::Machine, usage};

const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long the load lasts
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
}

/// What the process holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    /// Since the load began.
    at: Duration,
    rss_mib: f64,
    descriptors: usize,
    threads: usize,
}

/// What must not grow.
#[derive(Clone, Copy)]
struct Held {
    name: &'static str,
    of: fn(&Sample) -> f64,
    /// By how much it may have grown: a part of what it was, or so much, whichever is more.
    margin_part: f64,
    margin: f64,
}

const HELD: [Held; 3] = [
    Held { name: "resident memory, MiB", of: |s| s.rss_mib, margin_part: 0.10, margin: 5.0 },
    Held { name: "open descriptors", of: |s| s.descriptors as f64, margin_part: 0.05, margin: 2.0 },
    Held { name: "threads", of: |s| s.threads as f64, margin_part: 0.05, margin: 2.0 },
];

/// The medians that are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Growth {
    second_quarter: f64,
    last_quarter: f64,
    limit: f64,
}

impl Growth {
    fn is_too_much(&self) -> bool {
        self.last_quarter > self.limit
    }
}

impl Held {
    fn growth(&self, samples: &[Sample]) -> Result<Growth> {
        let quarter = samples.len() / 4;
        ensure!(quarter > 0, "{} samples are too few", samples.len());
        let median = |samples: &[Sample]| {
            let mut values: Vec<f64> = samples.iter().map(self.of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let second_quarter = median(&samples[quarter..2 * quarter]);
        let last_quarter = median(&samples[samples.len() - quarter..]);
        let limit = second_quarter + (second_quarter * self.margin_part).max(self.margin);
        Ok(Growth { second_quarter, last_quarter, limit })
    }
}

/// What was seen, for the report.
struct Outcome {
    machine: Machine,
    duration: Duration,
    samples: Vec<Sample>,
    done: Vec<(&'static str, u64)>,
    failures: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let machine = Machine::read(&millstream_binary()?);
    let duration = Duration::from_secs(arguments.minutes * 60);
    let directory = match &place.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    // Segments are short and go soon, or the disk fills and descriptors grow for as long as the load lasts.
    let options = TargetOptions::default()
        .kind(Kind::Millstream)
        .dir(directory.path())
        .set("log.retention.check.interval.ms", 2_000)
        .set("log.segment.delete.delay.ms", 1_000)
        .set("offsets.topic.num.partitions", 4);
    let broker = Target::start(options)?;
    let pid = broker.pid()?;
    eprintln!("soak: {} min against {}", arguments.minutes, broker.bootstrap());
    let load = load::Load::start(broker.bootstrap())?;
    let mut samples = Vec::new();
    while load.elapsed() < duration && usage::is_alive(pid) {
        std::thread::sleep(SAMPLE_INTERVAL);
        let sample = sample(pid, load.elapsed())?;
        if samples.len().is_multiple_of(15) {
            eprintln!("soak: {}", report::line(&sample));
        }
        samples.push(sample);
    }
    let (done, mut failures) = load.stop();
    if !usage::is_alive(pid) {
        failures.push(format!("the broker ended: {}", broker.output()));
    }
    let outcome = Outcome { machine, duration, samples, done, failures };
    let out = place.out.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_owned());
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    fs::write(out.join("soak.svg"), report::plot(&outcome.samples)?)?;
    let text = report::render(&outcome)?;
    fs::write(out.join("SOAK.md"), &text)?;
    println!("{text}");
    ensure!(outcome.failures.is_empty(), "{} things went wrong", outcome.failures.len());
    for held in HELD {
        let growth = held.growth(&outcome.samples)?;
        ensure!(!growth.is_too_much(), "{} grew: {growth:?}", held.name);
    }
    Ok(())
}

fn sample(pid: u32, at: Duration) -> Result<Sample> {
    Ok(Sample {
        at,
        rss_mib: usage::rss_mib(pid)?,
        descriptors: usage::entries(pid, "fd")?,
        threads: usage::entries(pid, "task")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rss_mib: impl Fn(u32) -> f64) -> Vec<Sample> {
        let sample = |n: u32| Sample {
            at: Duration::from_secs(n.into()),
            rss_mib: rss_mib(n),
            descriptors: 100,
            threads: 10,
        };
        (0..40).map(sample).collect()
    }

    #[test]
    fn the_last_quarter_is_compared_with_the_second_and_the_first_does_not_count() {
        let growth = |samples: &[Sample]| HELD[0].growth(samples).unwrap();
        let steady = samples(|n| if n < 10 { f64::from(n) } else { 200.0 });
        assert_eq!(growth(&steady), Growth { second_quarter: 200.0, last_quarter: 200.0, limit: 220.0 });
        assert!(!growth(&steady).is_too_much());
        assert!(growth(&samples(|n| 200.0 + f64::from(2 * n))).is_too_much());
        assert!(!growth(&samples(|n| 200.0 + f64::from(n))).is_too_much());
        assert_eq!(growth(&samples(|_| 20.0)).limit, 25.0);
        assert!(HELD[0].growth(&steady[..3]).is_err());
    }
}
