//! How long a broker takes until it serves: from nothing at all, and after `kill -9` with data to recover.
//! The client is there before the broker and tries again and again, as clients do.

use std::{
    any::Any,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use millstream_testkit::{Target, millstream_binary};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    producer::{BaseProducer, BaseRecord},
};

use crate::{
    fleet::Subject,
    plan::Restart,
    produce::{self, Failures},
    samples::{Figures, Metric},
    topics,
    wire::{self, Batch},
};

/// A broker that recovers gigabytes may take minutes.
const LIMIT: Duration = Duration::from_secs(900);
const TOPIC: &str = "first";
/// As a client makes them whose records have 1 KiB and linger a little.
const BATCH: Batch = Batch { records: 64, value_bytes: 1024 };

/// Process, empty directory, topic, record; and then the record in the hands of a new consumer group.
pub(crate) fn from_nothing(subject: Subject, directory: &Path) -> Result<Figures> {
    let started = Instant::now();
    let (process, bootstrap): (Box<dyn Any>, String) = match subject {
        Subject::Millstream | Subject::MillstreamOs => {
            let (process, bootstrap) = millstream(subject, directory)?;
            (Box::new(process), bootstrap)
        }
        // Its format step belongs to it; the launcher waits for both.
        Subject::Kafka | Subject::KafkaFlushing => {
            let broker = Target::start(subject.options().dir(directory))?;
            let bootstrap = broker.bootstrap().to_owned();
            (Box::new(broker), bootstrap)
        }
        Subject::Floor => bail!("the floor is not started from nothing"),
    };
    acknowledged(&bootstrap, TOPIC)?;
    let acknowledged = started.elapsed();
    let consumer = read(&bootstrap)?;
    let read = started.elapsed();
    drop((consumer, process));
    Ok(Figures::from([
        (Metric::FirstAckMs, acknowledged.as_secs_f64() * 1e3),
        (Metric::FirstReadMs, read.as_secs_f64() * 1e3),
    ]))
}

/// Fills a broker, kills it as soon as everything is acknowledged, and starts it again. What it has to look
/// through is still in the page cache.
pub(crate) fn after_kill(subject: Subject, restart: Restart, directory: &Path) -> Result<Figures> {
    let mut broker = Target::start(subject.options().dir(directory))?;
    let bootstrap = broker.bootstrap().to_owned();
    topics::create(&bootstrap, TOPIC, restart.partitions)?;
    wire::fill(&bootstrap, TOPIC, restart.partitions, restart.megabytes * 1_000_000, BATCH)?;
    broker.kill()?;
    let started = Instant::now();
    broker.start_again()?;
    acknowledged(&bootstrap, TOPIC)?;
    Ok(Figures::from([(Metric::FirstAckMs, started.elapsed().as_secs_f64() * 1e3)]))
}

/// Killed when it is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Not by the launcher, which waits until it is told that the broker serves.
fn millstream(subject: Subject, directory: &Path) -> Result<(Process, String)> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut command = Command::new(millstream_binary()?);
    command.args(["up", "--console-port", "0", "--output", "json", "--data"]).arg(directory);
    command.args(["--listen", &format!("PLAINTEXT://127.0.0.1:{port}")]).args(subject.options().arguments);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok((Process(child), format!("127.0.0.1:{port}")))
}

fn acknowledged(bootstrap: &str, topic: &str) -> Result<()> {
    let limit_ms = LIMIT.as_millis().to_string();
    let producer: BaseProducer<Failures> = impatient(bootstrap)
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("message.timeout.ms", limit_ms)
        .create_with_context(Failures::default())?;
    producer.send(BaseRecord::<(), str>::to(topic).payload("hello")).map_err(|(error, _)| error)?;
    produce::all_acknowledged(&producer, LIMIT)
}

/// The consumer that has read a record; that it leaves its group is not part of that.
fn read(bootstrap: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = impatient(bootstrap)
        .set("group.id", "newcomers")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[TOPIC])?;
    let started = Instant::now();
    while consumer.poll(Duration::from_millis(1)).transpose()?.is_none() {
        ensure!(started.elapsed() < LIMIT, "no record came within {LIMIT:?}");
    }
    Ok(consumer)
}

/// A client that does not sleep on what is measured.
fn impatient(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "2")
        .set("reconnect.backoff.max.ms", "5")
        .set("retry.backoff.ms", "5")
        .set("topic.metadata.refresh.fast.interval.ms", "5")
        .set("log_level", "0");
    config
}
