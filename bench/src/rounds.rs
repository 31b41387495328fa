//! The rounds: every scenario for every subject, then again. What one run leaves in the page cache is
//! written out before the next begins.

use std::path::Path;

use anyhow::{Context, Result};
use millstream_testkit::Running;

use crate::{
    Options, consume,
    fleet::{Fleet, Subject},
    java, latency, payload,
    plan::{self, Throughput},
    produce::{self, Limit},
    samples::{Metric, Samples, percentile},
    startup,
    topics::Topics,
    usage,
};

pub(crate) fn run(options: &Options) -> Result<Samples> {
    let directory = match &options.dir {
        Some(parent) => tempfile::Builder::new().prefix("millstream-bench-").tempdir_in(parent)?,
        None => tempfile::Builder::new().prefix("millstream-bench-").tempdir()?,
    };
    let path = directory.path().to_owned();
    ctrlc::set_handler(move || {
        // The brokers end with this process.
        drop(std::fs::remove_dir_all(&path));
        std::process::exit(130);
    })?;
    let mut samples = Samples::default();
    if plan::wanted(options, plan::START) {
        for round in 0..options.rounds() {
            starts(directory.path(), round, &mut samples)?;
        }
    }
    let fleet = Fleet::start(options, directory.path())?;
    // What a broker does by itself after its start should be over.
    std::thread::sleep(options.duration().min(std::time::Duration::from_secs(3)));
    memory(&fleet, plan::MEMORY_IDLE, &mut samples)?;
    for round in 1..=options.rounds() {
        eprintln!("round {round} of {}", options.rounds());
        let mut run = Run { options, fleet: &fleet, samples: &mut samples, round };
        for load in plan::throughput(options) {
            run.throughput(&load)?;
        }
        for rate in plan::latency_rates(options) {
            run.latency(rate)?;
        }
        for (records, size) in plan::java(options) {
            run.java(records, size)?;
        }
    }
    memory(&fleet, plan::MEMORY_AFTER, &mut samples)?;
    fleet.stop()?;
    Ok(samples)
}

fn starts(directory: &Path, round: u32, samples: &mut Samples) -> Result<()> {
    for subject in [Subject::Millstream, Subject::Kafka] {
        let root = directory.join(format!("start-{subject:?}-{round}"));
        let elapsed = startup::first_ack(subject, &root).with_context(|| format!("start of {subject}"))?;
        eprintln!("{subject}: first acknowledgement after {} ms", elapsed.as_millis());
        samples.add(plan::START, subject, Metric::FirstAckMs, elapsed.as_secs_f64() * 1e3);
    }
    Ok(())
}

fn memory(fleet: &Fleet, scenario: &str, samples: &mut Samples) -> Result<()> {
    for (subject, broker) in fleet.brokers() {
        samples.add(scenario, subject, Metric::RssMib, usage::rss_mib(broker.pid()?)?);
    }
    Ok(())
}

struct Run<'a> {
    options: &'a Options,
    fleet: &'a Fleet,
    samples: &'a mut Samples,
    round: u32,
}

impl Run<'_> {
    fn throughput(&mut self, load: &Throughput) -> Result<()> {
        let values = payload::values(load.codec.payload(), load.size);
        for (subject, broker) in self.fleet.brokers() {
            self.throughput_of(subject, broker, load, &values)
                .with_context(|| format!("{subject}, {}", load.name("produce")))?;
        }
        self.floor_throughput(load)
    }

    fn throughput_of(
        &mut self,
        subject: Subject,
        broker: &Running,
        load: &Throughput,
        values: &[Vec<u8>],
    ) -> Result<()> {
        let topics = Topics::of(broker.bootstrap())?;
        let topic = format!("bench-{}-{}-{}-{}", load.size, load.partitions, load.codec.name(), self.round);
        topics.create(&topic, load.partitions)?;
        let (pid, bootstrap) = (broker.pid()?, broker.bootstrap());

        rustix::fs::sync();
        let before = usage::cpu(pid)?;
        let produced = produce::run(bootstrap, &topic, load, values, self.limit())?;
        let cpu = usage::cpu(pid)? - before;
        self.note(subject, &load.name("produce"), produced.records, produced.elapsed, cpu);
        let bytes = log_bytes(&broker.log_dir(), &topic)?;
        let per_record = bytes as f64 / produced.records as f64;
        self.samples.add(&load.name("produce"), subject, Metric::DiskBytes, per_record);

        rustix::fs::sync();
        let before = usage::cpu(pid)?;
        let elapsed = consume::run(bootstrap, &topic, load.partitions, produced.records)?;
        let cpu = usage::cpu(pid)? - before;
        self.note(subject, &load.name("consume"), produced.records, elapsed, cpu);
        topics.delete(&topic)
    }

    fn floor_throughput(&mut self, load: &Throughput) -> Result<()> {
        let floor = &self.fleet.floor;
        let name = load.name("produce");
        let per_record = self
            .samples
            .last(&name, Subject::Millstream, Metric::DiskBytes)
            .context("the floor comes after Millstream")?;
        rustix::fs::sync();
        let before = usage::cpu(floor.pid())?;
        let produced = floor.produce(load, per_record, self.limit())?;
        let cpu = usage::cpu(floor.pid())? - before;
        self.note(Subject::Floor, &name, produced.records, produced.elapsed, cpu);
        let before = usage::cpu(floor.pid())?;
        let elapsed = floor.consume(load)?;
        let cpu = usage::cpu(floor.pid())? - before;
        self.note(Subject::Floor, &load.name("consume"), produced.records, elapsed, cpu);
        floor.clear()
    }

    fn latency(&mut self, rate: u32) -> Result<()> {
        let duration = self.options.duration();
        for (subject, broker) in self.fleet.brokers() {
            let topics = Topics::of(broker.bootstrap())?;
            let topic = format!("bench-latency-{rate}-{}", self.round);
            topics.create(&topic, 1)?;
            rustix::fs::sync();
            let latencies = latency::run(broker.bootstrap(), &topic, rate, duration)
                .with_context(|| format!("{subject}, {}", plan::latency_name(rate)))?;
            self.note_latencies(subject, rate, latencies);
            topics.delete(&topic)?;
        }
        rustix::fs::sync();
        let latencies = self.fleet.floor.latency(rate, duration)?;
        self.note_latencies(Subject::Floor, rate, latencies);
        self.fleet.floor.clear()
    }

    fn java(&mut self, records: u64, size: usize) -> Result<()> {
        for (subject, broker) in self.fleet.brokers() {
            let topics = Topics::of(broker.bootstrap())?;
            let topic = format!("bench-java-{size}-{}", self.round);
            topics.create(&topic, 1)?;
            rustix::fs::sync();
            let produced = java::produce(broker.bootstrap(), &topic, records, size)?;
            let consumed = java::consume(broker.bootstrap(), &topic, records)?;
            eprintln!("{subject}, java {size} B: {produced:.0}/s in, {consumed:.0}/s out");
            self.samples.add(&plan::java_name("produce", size), subject, Metric::Rate, produced);
            self.samples.add(&plan::java_name("consume", size), subject, Metric::Rate, consumed);
            topics.delete(&topic)?;
        }
        Ok(())
    }

    fn limit(&self) -> Limit {
        Limit { duration: self.options.duration(), bytes: self.options.bytes_max() }
    }

    fn note(
        &mut self,
        subject: Subject,
        scenario: &str,
        records: u64,
        elapsed: std::time::Duration,
        cpu: std::time::Duration,
    ) {
        let rate = records as f64 / elapsed.as_secs_f64();
        let cpu_per_million = cpu.as_secs_f64() / records as f64 * 1e6;
        eprintln!("{subject}, {scenario}: {rate:.0}/s, {cpu_per_million:.3} s of CPU per million");
        self.samples.add(scenario, subject, Metric::Rate, rate);
        self.samples.add(scenario, subject, Metric::CpuPerMillion, cpu_per_million);
    }

    fn note_latencies(&mut self, subject: Subject, rate: u32, mut micros: Vec<u32>) {
        let scenario = plan::latency_name(rate);
        let parts = [(Metric::P50Ms, 0.5), (Metric::P99Ms, 0.99), (Metric::P999Ms, 0.999)];
        let found = parts.map(|(metric, part)| (metric, percentile(&mut micros, part)));
        eprintln!("{subject}, {scenario}: {:.2} / {:.2} / {:.2} ms", found[0].1, found[1].1, found[2].1);
        for (metric, value) in found {
            self.samples.add(&scenario, subject, metric, value);
        }
    }
}

/// Of the topic's segments.
fn log_bytes(log_dir: &Path, topic: &str) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(log_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let partition = name.to_str().and_then(|name| name.strip_prefix(topic)?.strip_prefix('-'));
        if partition.is_none_or(|number| number.parse::<u32>().is_err()) {
            continue;
        }
        for file in std::fs::read_dir(entry.path())? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == "log") {
                bytes += file.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}
