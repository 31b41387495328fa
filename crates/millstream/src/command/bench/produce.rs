//! `bench produce`

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use millstream_client::{Acks, Client, Delivery, Producer, ProducerConfig, ProducerRecord};
use millstream_record::Compression;
use millstream_types::TopicName;
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    ResultArguments,
    end_to_end::turn,
    payload::Payloads,
    progress::{Counters, Progress},
    report::Report,
    topic::TopicArguments,
};
use crate::command::{
    connect::{ConnectArguments, interrupted},
    failure::{Failure, usage},
    output::say,
    produce::codec,
    time,
};

/// Records whose fate is not known yet, of one producer; what they may take is limited by `buffer.memory`.
const DELIVERIES_OPEN: usize = 100_000;
/// A value that fits no request is refused at once.
const SIZE_MAX: usize = 64 << 20;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    topic: TopicArguments,
    /// How many records [default: as many as fit into the time]
    #[arg(short = 'n', long)]
    records: Option<u64>,
    /// How long [default: 10s, or until all records are written]
    #[arg(long = "for", value_name = "TIME", value_parser = time::duration)]
    duration: Option<Duration>,
    /// Bytes of a value
    #[arg(short, long, default_value_t = 100)]
    size: usize,
    /// Records a second, of all producers together [default: as quickly as they are taken]
    #[arg(short, long)]
    rate: Option<u64>,
    /// How many producers, each with connections of its own
    #[arg(long, default_value_t = 1)]
    producers: usize,
    /// How many different keys [default: records have no key]
    #[arg(short, long)]
    keys: Option<u64>,
    /// all, 1 or 0
    #[arg(long)]
    acks: Option<Acks>,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_name = "CODEC", value_parser = codec)]
    compression: Option<Compression>,
    /// How long a batch waits for more records: `linger.ms`
    #[arg(long, value_name = "MS")]
    linger: Option<u64>,
    /// Bytes of a batch: `batch.size`
    #[arg(long, value_name = "BYTES")]
    batch: Option<usize>,
    #[command(flatten)]
    result: ResultArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

impl Arguments {
    fn check(&self) -> Result<()> {
        if self.producers == 0 || self.producers > 1000 {
            return Err(usage(format!("--producers {}: expected 1 to 1000", self.producers)));
        }
        if self.size > SIZE_MAX {
            return Err(usage(format!("--size {}: expected {SIZE_MAX} at most", self.size)));
        }
        if self.rate == Some(0) || self.keys == Some(0) {
            return Err(usage("--rate and --keys: expected at least 1"));
        }
        Ok(())
    }

    fn configure(&self, config: &mut ProducerConfig) {
        if let Some(acks) = self.acks {
            config.acks = acks;
            config.enable_idempotence &= acks == Acks::All;
        }
        config.compression_type = self.compression.unwrap_or(config.compression_type);
        config.linger = self.linger.map_or(config.linger, Duration::from_millis);
        config.batch_size = self.batch.unwrap_or(config.batch_size);
    }

    fn settings(&self, config: &ProducerConfig, partitions: usize) -> BTreeMap<String, String> {
        let acks = match config.acks {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        };
        let text = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        [
            ("acks", acks.to_owned()),
            ("idempotence", config.enable_idempotence.to_string()),
            ("compression", config.compression_type.name().to_owned()),
            ("linger_ms", config.linger.as_millis().to_string()),
            ("batch_size", config.batch_size.to_string()),
            ("size", self.size.to_string()),
            ("producers", self.producers.to_string()),
            ("partitions", partitions.to_string()),
            ("rate", text(self.rate)),
            ("keys", text(self.keys)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// When to stop.
#[derive(Clone, Copy)]
struct Limits {
    records: u64,
    until: Option<Instant>,
    /// Between two records.
    pace: Option<Duration>,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    arguments.check()?;
    let earlier = arguments.result.earlier()?;
    let mut connected = arguments.connect.connect().await?;
    arguments.configure(&mut connected.producer);
    let topic = arguments.topic.make(&connected.client).await?;
    let settings = arguments.settings(&connected.producer, topic.topic.partitions.len());
    let mut clients = vec![connected.client.clone()];
    for _ in 1..arguments.producers {
        clients.push(Client::new(connected.client.config().clone())?);
    }
    let measured = measure(&arguments, clients, &connected.producer, topic.name()).await;
    let name = topic.name().to_string();
    topic.clean_up().await;
    let (volume, latency, outcome) = measured?;
    let mut report = Report::new("produce", &name, settings, volume);
    report.latency_ms = latency;
    if outcome.is_err() {
        arguments.result.output.print(&report.answer())?;
        return outcome;
    }
    arguments.result.finish(&report, earlier.as_ref())
}

type Measured = (super::report::Volume, Option<super::report::Latency>, Result<()>);

async fn measure(
    arguments: &Arguments,
    clients: Vec<Client>,
    config: &ProducerConfig,
    topic: &TopicName,
) -> Result<Measured> {
    let payloads = Arc::new(Payloads::new(arguments.size));
    let producers = clients.len() as u64;
    let duration = match (arguments.duration, arguments.records) {
        (None, None) => Some(Duration::from_secs(10)),
        (duration, _) => duration,
    };
    let counters = Counters::new();
    let mut work = JoinSet::new();
    for (number, client) in (0..).zip(clients) {
        // The first few take what is left over.
        let share = |all: u64| all / producers + u64::from(number < all % producers);
        let limits = Limits {
            records: arguments.records.map_or(u64::MAX, share),
            until: duration.map(|duration| counters.started() + duration),
            pace: arguments.rate.map(|rate| Duration::from_secs_f64(producers as f64 / rate as f64)),
        };
        let one = One {
            producer: Producer::new(client, config.clone())?,
            topic: topic.clone(),
            payloads: Arc::clone(&payloads),
            keys: arguments.keys,
            counters: Arc::clone(&counters),
            first: number,
            step: producers,
        };
        work.spawn(one.run(limits));
    }
    let progress = Progress::new(&counters, arguments.records);
    let (outcome, per_second) = progress
        .during(async {
            tokio::select! {
                outcome = all(&mut work) => outcome,
                () = interrupted() => Err(Failure::Interrupted.into()),
            }
        })
        .await;
    let elapsed = counters.started().elapsed();
    if let Err(error) = &outcome
        && counters.records() == 0
    {
        return Err(anyhow!("nothing was written: {error:#}"));
    }
    if outcome.is_err() {
        say("what was measured until then:");
    }
    Ok((counters.volume(elapsed, per_second), counters.latency(), outcome))
}

/// Waits for all, or for the first that fails.
pub(super) async fn all(work: &mut JoinSet<Result<()>>) -> Result<()> {
    while let Some(done) = work.join_next().await {
        match done {
            Ok(outcome) => outcome?,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    Ok(())
}

/// One producer of a run.
struct One {
    producer: Producer,
    topic: TopicName,
    payloads: Arc<Payloads>,
    keys: Option<u64>,
    counters: Arc<Counters>,
    /// Which records of the run are this producer's.
    first: u64,
    step: u64,
}

impl One {
    async fn run(self, limits: Limits) -> Result<()> {
        let (open, mut settling) = mpsc::channel::<(Instant, usize, Delivery)>(DELIVERIES_OPEN);
        let counters = Arc::clone(&self.counters);
        let settler = tokio::spawn(async move {
            while let Some((since, bytes, delivery)) = settling.recv().await {
                delivery.await?;
                counters.count(1, bytes);
                counters.record(since.elapsed());
            }
            Ok::<_, millstream_client::Error>(())
        });
        let sent = self.send_all(limits, open).await;
        let flushed = self.producer.flush().await;
        let settled = settler.await.map_err(|error| anyhow!("{error}"))?;
        // Why a record was not written says more than that nobody waited for the others.
        settled.context("a record was not written")?;
        sent?;
        Ok(flushed?)
    }

    async fn send_all(&self, limits: Limits, open: mpsc::Sender<(Instant, usize, Delivery)>) -> Result<()> {
        let started = Instant::now();
        let mut due = started;
        for index in 0..limits.records {
            let mut since = Instant::now();
            if limits.until.is_some_and(|until| since >= until) {
                break;
            }
            if let Some(pace) = limits.pace {
                since = turn(due).await;
                due += pace;
            }
            let number = self.first + index * self.step;
            let key = self.keys.map(|keys| Bytes::from(format!("key-{}", number % keys)));
            let value = self.payloads.get(number);
            let bytes = value.len() + key.as_ref().map_or(0, Bytes::len);
            let record = ProducerRecord::new(self.topic.clone(), key, Some(value));
            let delivery = self.producer.send(record).await?;
            if open.send((since, bytes, delivery)).await.is_err() {
                // The settler tells why.
                break;
            }
        }
        Ok(())
    }
}
