//! librdkafka, by its batch interfaces, which are its quickest.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use rdkafka::{
    ClientConfig, ClientContext,
    message::DeliveryResult,
    producer::{BaseRecord, ProducerContext, ThreadedProducer},
};

use super::load::{Meter, PARTITIONS, Report, SILENCE_MAX, Task, WARM_UP};
use crate::{
    consume,
    produce::{self, Limit},
};

pub(super) fn run(
    bootstrap: &str,
    topic: &str,
    task: Task,
    duration: Duration,
    records: u64,
) -> Result<Report> {
    match task {
        Task::Produce { batch, .. } => {
            let values = task.values();
            let mut settings = vec![("enable.idempotence", "true".to_owned())];
            settings.extend(batch.map(|bytes| ("batch.size", bytes.to_string())));
            let produce = |duration| {
                let limit = Limit { duration, bytes: u64::MAX };
                produce::run_with(bootstrap, topic, &task.throughput(), &values, limit, settings.clone())
            };
            produce(WARM_UP)?;
            let meter = Meter::start()?;
            let produced = produce(duration)?;
            meter.report(produced.records, Vec::new())
        }
        Task::Consume { .. } => {
            let (mut meter, mut before) = (Meter::start()?, 0);
            consume::run_watched(bootstrap, topic, PARTITIONS, records, |read| {
                if before == 0 && read >= records / 10 {
                    (meter, before) = (Meter::start()?, read);
                }
                Ok(())
            })?;
            meter.report(records - before, Vec::new())
        }
        Task::Await => awaited(bootstrap, topic, task, duration),
    }
}

fn awaited(bootstrap: &str, topic: &str, task: Task, duration: Duration) -> Result<Report> {
    let (tell, answers) = mpsc::channel();
    let producer: ThreadedProducer<Answers> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("enable.idempotence", "true")
        .create_with_context(Answers(tell))?;
    let values = task.values();
    let (started, mut meter, mut micros) = (Instant::now(), Meter::start()?, Vec::new());
    let mut is_warm = false;
    for value in values.iter().cycle() {
        if !is_warm && started.elapsed() >= WARM_UP {
            (is_warm, meter) = (true, Meter::start()?);
            micros.clear();
        }
        if is_warm && meter.elapsed() >= duration {
            break;
        }
        let record = BaseRecord::<(), [u8]>::to(topic).partition(0).payload(value.as_slice());
        let sent = Instant::now();
        producer.send(record).map_err(|(error, _)| error)?;
        let answer = answers.recv_timeout(SILENCE_MAX)?;
        answer.map_err(|error| anyhow!(error))?;
        micros.push(sent.elapsed().as_micros() as u32);
    }
    meter.report(micros.len() as u64, micros)
}

/// Hands deliveries over to the thread that waits for them.
struct Answers(mpsc::Sender<Result<(), String>>);

impl ClientContext for Answers {}

impl ProducerContext for Answers {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let answer = result.as_ref().map(drop).map_err(|(error, _)| error.to_string());
        // Nobody waits any more once it is over.
        self.0.send(answer).ok();
    }
}
