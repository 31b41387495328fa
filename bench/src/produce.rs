//! As many records as the client can send: librdkafka, `acks=all`, `linger.ms=5`.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rdkafka::{
    ClientConfig, ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use crate::plan::Throughput;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) duration: Duration,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Produced {
    pub(crate) records: u64,
    /// From the first record handed over to the last one acknowledged.
    pub(crate) elapsed: Duration,
}

pub(crate) fn run(
    bootstrap: &str,
    topic: &str,
    load: &Throughput,
    values: &[Vec<u8>],
    limit: Limit,
) -> Result<Produced> {
    let producer: BaseProducer<Failures> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("compression.codec", load.codec.name())
        .set("queue.buffering.max.messages", "500000")
        // Failures are counted; that the rest is acknowledged, flush says.
        .set("delivery.report.only.error", "true")
        .create_with_context(Failures(AtomicU64::new(0)))?;
    let partitions = u64::try_from(load.partitions)?;
    let started = Instant::now();
    let mut records = 0_u64;
    let records_max = limit.bytes / load.size as u64;
    while records < records_max {
        let value = &values[(records % values.len() as u64) as usize];
        send(&producer, topic, i32::try_from(records % partitions)?, value)?;
        records += 1;
        if records.is_multiple_of(1024) {
            producer.poll(Duration::ZERO);
            if started.elapsed() >= limit.duration {
                break;
            }
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let elapsed = started.elapsed();
    let failures = producer.context().0.load(Ordering::Relaxed);
    ensure!(failures == 0, "{failures} of {records} records were not acknowledged");
    Ok(Produced { records, elapsed })
}

fn send(producer: &BaseProducer<Failures>, topic: &str, partition: i32, value: &[u8]) -> Result<()> {
    let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(1));
                record = back;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Counts the records that were given up.
struct Failures(AtomicU64);

impl ClientContext for Failures {}

impl ProducerContext for Failures {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
