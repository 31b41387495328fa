//! Millstream's own client, as a program of its users has it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use millstream_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, ProducerRecord,
};
use millstream_types::{Offset, PartitionId, TopicName, TopicPartition};

use super::load::{Meter, PARTITIONS, Report, SILENCE_MAX, Task, WARM_UP};

/// Records for one partition before those for the next, as the other clients get them.
const RUN: usize = 64;
const FLUSH_MAX: Duration = Duration::from_secs(60);

pub(super) fn run(
    bootstrap: &str,
    topic: &str,
    task: Task,
    duration: Duration,
    records: u64,
) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let topic = TopicName::parse(topic)?;
    let client = || Client::new(ClientConfig::new(bootstrap));
    runtime.block_on(async {
        match task {
            Task::Produce { .. } => {
                produce(producer(client()?, task)?, &topic, task, WARM_UP).await?;
                produce(producer(client()?, task)?, &topic, task, duration).await
            }
            Task::Consume { .. } => consume(client()?, &topic, records).await,
            Task::Await => awaited(producer(client()?, task)?, &topic, task, duration).await,
        }
    })
}

fn producer(client: Client, task: Task) -> Result<Producer> {
    let mut config = ProducerConfig::default();
    config.set("linger.ms", if task == Task::Await { "0" } else { "5" })?;
    config.set("compression.type", task.codec().name())?;
    if let Some(batch) = task.batch() {
        config.set("batch.size", &batch.to_string())?;
    }
    Ok(Producer::new(client, config)?)
}

async fn produce(producer: Producer, topic: &TopicName, task: Task, duration: Duration) -> Result<Report> {
    let values: Vec<Bytes> = task.values().into_iter().map(Bytes::from).collect();
    let meter = Meter::start()?;
    let mut records = 0;
    for (partition, values) in (0..PARTITIONS).cycle().zip(values.chunks_exact(RUN).cycle()) {
        if meter.elapsed() >= duration {
            break;
        }
        for value in values {
            let mut record = ProducerRecord::new(topic.clone(), None, Some(value.clone()));
            record.partition = Some(PartitionId(partition));
            drop(producer.send(record).await?);
        }
        records += RUN as u64;
    }
    producer.flush().await?;
    let report = meter.report(records, Vec::new())?;
    let failed = producer.metrics().into_iter().find(|metric| metric.name == "record-error-total");
    ensure!(failed.is_some_and(|metric| metric.value == 0.0), "records were given up");
    producer.close(FLUSH_MAX).await?;
    Ok(report)
}

async fn awaited(producer: Producer, topic: &TopicName, task: Task, duration: Duration) -> Result<Report> {
    let values: Vec<Bytes> = task.values().into_iter().map(Bytes::from).collect();
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
        let mut record = ProducerRecord::new(topic.clone(), None, Some(value.clone()));
        record.partition = Some(PartitionId(0));
        let sent = Instant::now();
        producer.send(record).await?.await?;
        micros.push(sent.elapsed().as_micros() as u32);
    }
    meter.report(micros.len() as u64, micros)
}

/// Measures what comes behind the first tenth.
async fn consume(client: Client, topic: &TopicName, records: u64) -> Result<Report> {
    let mut consumer = Consumer::new(client, ConsumerConfig::default());
    let partition = |index| TopicPartition::new(topic.clone(), PartitionId(index));
    consumer.assign((0..PARTITIONS).map(|index| (partition(index), Offset(0))));
    let (mut read, mut bytes) = (0, 0);
    let mut warm: Option<(Meter, u64)> = None;
    while read < records {
        let polled = consumer.poll(SILENCE_MAX).await?;
        ensure!(!polled.is_empty(), "{read} of {records} records came, then nothing");
        read += polled.len() as u64;
        bytes += polled.iter().filter_map(|record| record.value.as_ref()).map(Bytes::len).sum::<usize>();
        if warm.is_none() && read >= records / 10 {
            warm = Some((Meter::start()?, read));
        }
    }
    ensure!(bytes > 0, "no values came");
    let (meter, before) = warm.unwrap_or((Meter::start()?, read));
    meter.report(read - before, Vec::new())
}
