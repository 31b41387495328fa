//! `bench e2e`: each record carries when it was sent; a consumer that reads along tells how long it took.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use bytes::{BufMut, Bytes, BytesMut};
use millstream_client::{Acks, Consumer, IsolationLevel, Producer, ProducerConfig, ProducerRecord};
use millstream_types::{Offset, PartitionId, TopicName, TopicPartition, Uuid};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    ResultArguments,
    progress::{Counters, Progress},
    report::{self, Latency, Report},
    topic::TopicArguments,
};
use crate::command::{
    connect::{ConnectArguments, Connected, interrupted},
    failure::{Failure, usage},
    output::say,
    position::bounds,
    time,
};

/// The run, and the time since its start.
const STAMP_BYTES: usize = 16 + 8;
/// How long the last records may take to arrive.
const LAST_RECORDS_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    topic: TopicArguments,
    /// How many records [default: as many as fit into the time]
    #[arg(short = 'n', long)]
    records: Option<u64>,
    /// How long [default: 10s, or until all records are read]
    #[arg(long = "for", value_name = "TIME", value_parser = time::duration)]
    duration: Option<Duration>,
    /// Bytes of a value
    #[arg(short, long, default_value_t = 100)]
    size: usize,
    /// Records a second, or 0 for one after the other, each sent when the one before it has been read
    #[arg(short, long, default_value_t = 1000)]
    rate: u64,
    /// all or 1
    #[arg(long)]
    acks: Option<Acks>,
    /// How long a batch waits for more records: `linger.ms`
    #[arg(long, value_name = "MS", default_value_t = 0)]
    linger: u64,
    #[command(flatten)]
    result: ResultArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

impl Arguments {
    fn configure(&self, config: &mut ProducerConfig) -> Result<()> {
        if !(STAMP_BYTES..=64 << 20).contains(&self.size) {
            return Err(usage(format!(
                "--size {}: expected at least {STAMP_BYTES}, for a time is in it",
                self.size
            )));
        }
        if self.acks == Some(Acks::None) {
            return Err(usage("--acks 0: nobody would say when a record was written"));
        }
        if let Some(acks) = self.acks {
            config.acks = acks;
            config.enable_idempotence &= acks == Acks::All;
        }
        config.linger = Duration::from_millis(self.linger);
        Ok(())
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let earlier = arguments.result.earlier()?;
    let mut config = ProducerConfig::default();
    arguments.configure(&mut config)?;
    let mut connected = arguments.connect.connect().await?;
    arguments.configure(&mut connected.producer)?;
    let topic = arguments.topic.make(&connected.client).await?;
    let name = topic.name().clone();
    let partitions: Vec<TopicPartition> = topic
        .topic
        .partitions
        .keys()
        .map(|partition: &PartitionId| TopicPartition::new(name.clone(), *partition))
        .collect();
    let settings = [
        ("acks", if connected.producer.acks == Acks::All { "all" } else { "1" }.to_owned()),
        ("linger_ms", arguments.linger.to_string()),
        ("size", arguments.size.to_string()),
        ("rate", arguments.rate.to_string()),
        ("partitions", partitions.len().to_string()),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value)).into();
    let measured = measure(&arguments, connected, &name, &partitions).await;
    topic.clean_up().await;
    let Measured { volume, acknowledged, latency, outcome } = measured?;
    let mut report = Report::new("e2e", name.as_str(), settings, volume);
    (report.latency_ms, report.acknowledged_ms) = (latency, acknowledged);
    if outcome.is_err() {
        say("what was measured until then:");
        arguments.result.output.print(&report.answer())?;
        return outcome;
    }
    arguments.result.finish(&report, earlier.as_ref())
}

struct Measured {
    volume: report::Volume,
    acknowledged: Option<Latency>,
    latency: Option<Latency>,
    outcome: Result<()>,
}

async fn measure(
    arguments: &Arguments,
    connected: Connected,
    topic: &TopicName,
    partitions: &[TopicPartition],
) -> Result<Measured> {
    let client = connected.client;
    let isolation = IsolationLevel::ReadUncommitted;
    let ends: BTreeMap<TopicPartition, Offset> = bounds(&client.admin(), partitions, isolation)
        .await?
        .into_iter()
        .map(|(partition, bounds)| (partition, bounds.end))
        .collect();
    let mut consumer = Consumer::new(client.clone(), connected.consumer);
    consumer.assign(ends);
    let producer = Producer::new(client, connected.producer)?;
    // Connections and metadata are not what is measured.
    warm_up(&producer, &mut consumer, topic).await?;
    let run = Run { id: Uuid::random(), epoch: Instant::now(), topic: topic.clone(), size: arguments.size };
    let counters = Counters::new();
    let progress = Progress::new(&counters, arguments.records);
    let limits = Limits {
        records: arguments.records.unwrap_or(u64::MAX),
        until: match (arguments.duration, arguments.records) {
            (None, None) => Some(Instant::now() + Duration::from_secs(10)),
            (duration, _) => duration.map(|duration| Instant::now() + duration),
        },
    };
    let mut acknowledged = report::histogram();
    let (outcome, per_second) = progress
        .during(async {
            let work = async {
                match arguments.rate {
                    0 => run.in_turn(&producer, &mut consumer, limits, &counters, &mut acknowledged).await,
                    rate => {
                        run.at_rate(producer, &mut consumer, limits, rate, &counters, &mut acknowledged).await
                    }
                }
            };
            tokio::select! {
                outcome = work => outcome,
                () = interrupted() => Err(Failure::Interrupted.into()),
            }
        })
        .await;
    let elapsed = counters.started().elapsed();
    if let Err(error) = &outcome
        && counters.records() == 0
    {
        return Err(anyhow!("nothing was measured: {error:#}"));
    }
    Ok(Measured {
        volume: counters.volume(elapsed, per_second),
        acknowledged: Latency::of(&acknowledged),
        latency: counters.latency(),
        outcome,
    })
}

async fn warm_up(producer: &Producer, consumer: &mut Consumer, topic: &TopicName) -> Result<()> {
    let record = ProducerRecord::new(topic.clone(), None, Some(Bytes::from_static(b"warm-up")));
    producer.send(record).await?.await.context("the first record")?;
    let deadline = Instant::now() + LAST_RECORDS_LIMIT;
    while consumer.poll(POLL).await?.is_empty() {
        if Instant::now() > deadline {
            bail!("a record that was written is not to be read");
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Limits {
    records: u64,
    until: Option<Instant>,
}

impl Limits {
    fn is_over(&self, sent: u64) -> bool {
        sent >= self.records || self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// Records of one run, told from those of another by its id.
#[derive(Clone)]
struct Run {
    id: Uuid,
    epoch: Instant,
    topic: TopicName,
    size: usize,
}

impl Run {
    fn record(&self, sent: Instant) -> ProducerRecord {
        let mut value = BytesMut::zeroed(self.size);
        let nanos = sent.saturating_duration_since(self.epoch).as_nanos();
        let mut stamp = &mut value[..STAMP_BYTES];
        stamp.put_u128(self.id.0);
        stamp.put_u64(u64::try_from(nanos).unwrap_or(u64::MAX));
        ProducerRecord::new(self.topic.clone(), None, Some(value.freeze()))
    }

    /// How long ago a record was sent; None for what is not of this run.
    fn age(&self, value: Option<&Bytes>) -> Option<Duration> {
        let value = value?;
        let id = u128::from_be_bytes(*value.first_chunk()?);
        let nanos = u64::from_be_bytes(*value.get(16..)?.first_chunk()?);
        let age = self.epoch.elapsed().saturating_sub(Duration::from_nanos(nanos));
        (id == self.id.0).then_some(age)
    }

    /// Takes what can be read in one poll; returns how many records of this run that were.
    async fn take(&self, consumer: &mut Consumer, counters: &Counters) -> Result<u64> {
        let mut taken = 0;
        for record in consumer.poll(POLL).await? {
            if let Some(age) = self.age(record.value.as_ref()) {
                counters.record(age);
                counters.count(1, self.size);
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// One record after the other.
    async fn in_turn(
        &self,
        producer: &Producer,
        consumer: &mut Consumer,
        limits: Limits,
        counters: &Counters,
        acknowledged: &mut hdrhistogram::Histogram<u64>,
    ) -> Result<()> {
        let mut sent = 0;
        while !limits.is_over(sent) {
            let now = Instant::now();
            let delivery = producer.send(self.record(now)).await?;
            sent += 1;
            let deadline = now + LAST_RECORDS_LIMIT;
            let acknowledging = async {
                delivery.await?;
                Ok::<_, millstream_client::Error>(now.elapsed())
            };
            let reading = async {
                while self.take(consumer, counters).await? == 0 {
                    if Instant::now() > deadline {
                        bail!("a record was not read {} s after it was sent", LAST_RECORDS_LIMIT.as_secs());
                    }
                }
                Ok(())
            };
            let (took, read) = tokio::join!(acknowledging, reading);
            report::record(acknowledged, took?);
            read?;
        }
        Ok(())
    }

    /// A record whenever its turn comes, however long the others take.
    async fn at_rate(
        &self,
        producer: Producer,
        consumer: &mut Consumer,
        limits: Limits,
        rate: u64,
        counters: &Counters,
        acknowledged: &mut hdrhistogram::Histogram<u64>,
    ) -> Result<()> {
        let (tell, mut acknowledgements) = mpsc::unbounded_channel();
        let sending: JoinHandle<Result<u64>> =
            tokio::spawn(self.clone().send_all(producer, limits, rate, tell));
        let mut sending = Some(sending);
        let (mut sent, mut read) = (u64::MAX, 0);
        let mut deadline = None;
        while read < sent {
            read += self.take(consumer, counters).await?;
            while let Ok(took) = acknowledgements.try_recv() {
                report::record(acknowledged, took);
            }
            if let Some(ended) = sending.take_if(|sending| sending.is_finished()) {
                sent = ended.await.map_err(|error| anyhow!("{error}"))??;
                deadline = Some(Instant::now() + LAST_RECORDS_LIMIT);
            }
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                bail!(
                    "{read} of {sent} records were read {} s after the last was sent",
                    LAST_RECORDS_LIMIT.as_secs()
                );
            }
        }
        while let Ok(took) = acknowledgements.try_recv() {
            report::record(acknowledged, took);
        }
        Ok(())
    }

    async fn send_all(
        self,
        producer: Producer,
        limits: Limits,
        rate: u64,
        tell: mpsc::UnboundedSender<Duration>,
    ) -> Result<u64> {
        let pace = Duration::from_secs_f64(1.0 / rate as f64);
        let (mut sent, mut due) = (0, Instant::now());
        let (open, mut settling) = mpsc::channel(100_000);
        let settler = tokio::spawn(async move {
            while let Some((since, delivery)) = settling.recv().await {
                let (since, delivery): (Instant, millstream_client::Delivery) = (since, delivery);
                delivery.await?;
                // The run may have been cut short.
                tell.send(since.elapsed()).ok();
            }
            Ok::<_, millstream_client::Error>(())
        });
        while !limits.is_over(sent) {
            let since = turn(due).await;
            let delivery = producer.send(self.record(since)).await?;
            if open.send((since, delivery)).await.is_err() {
                break;
            }
            sent += 1;
            due += pace;
        }
        drop(open);
        producer.flush().await?;
        settler.await.map_err(|error| anyhow!("{error}"))?.context("a record was not written")?;
        Ok(sent)
    }
}

/// Waits for a record's turn; returns since when the record has waited. If its turn came while the one before
/// it was being handed over, that is since its turn; that a clock wakes a little late is nobody's doing.
pub(super) async fn turn(due: Instant) -> Instant {
    if Instant::now() > due {
        return due;
    }
    tokio::time::sleep_until(due.into()).await;
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_knows_its_run_and_its_age() {
        let run = |id| Run {
            id: Uuid(id),
            epoch: Instant::now(),
            topic: TopicName::from_static("t"),
            size: STAMP_BYTES,
        };
        let record = run(7).record(Instant::now());
        let value = record.value.as_ref();
        assert_eq!(value.map(Bytes::len), Some(STAMP_BYTES));
        assert!(run(7).age(value).is_some());
        assert_eq!(run(8).age(value), None);
        assert_eq!(run(7).age(Some(&Bytes::from_static(b"warm-up"))), None);
        assert_eq!(run(7).age(None), None);
    }
}
