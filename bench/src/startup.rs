//! From nothing at all to the first acknowledged record: process, empty directory, topic, record.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use millstream_testkit::{Target, millstream_binary};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::fleet::Subject;

pub(crate) fn first_ack(subject: Subject, directory: &Path) -> Result<Duration> {
    match subject {
        Subject::Millstream | Subject::MillstreamOs => millstream(subject, directory),
        // Its format step belongs to it; the launcher waits for both.
        Subject::Kafka | Subject::KafkaFlushing => {
            let started = Instant::now();
            let mut broker = Target::start(subject.options().dir(directory))?;
            acknowledged(broker.bootstrap())?;
            let elapsed = started.elapsed();
            broker.stop()?;
            Ok(elapsed)
        }
        Subject::Floor => bail!("the floor is not started from nothing"),
    }
}

/// The client is there before the broker and tries again and again, as clients do.
fn millstream(subject: Subject, directory: &Path) -> Result<Duration> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let mut command = Command::new(millstream_binary()?);
    command.args(["up", "--console-port", "0", "--output", "json", "--data"]).arg(directory);
    command.args(["--listen", &format!("PLAINTEXT://127.0.0.1:{port}")]).args(subject.options().arguments);
    let started = Instant::now();
    let _process = Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    acknowledged(&format!("127.0.0.1:{port}"))?;
    Ok(started.elapsed())
}

fn acknowledged(bootstrap: &str) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("reconnect.backoff.ms", "2")
        .set("reconnect.backoff.max.ms", "5")
        .set("retry.backoff.ms", "5")
        .set("topic.metadata.refresh.fast.interval.ms", "5")
        .set("log_level", "0")
        .create()?;
    producer.send(BaseRecord::<(), str>::to("first").payload("hello")).map_err(|(error, _)| error)?;
    Ok(producer.flush(Duration::from_secs(60))?)
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
