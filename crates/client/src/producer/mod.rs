//! Writing records: batches by partition, idempotent unless told otherwise, retried until
//! `delivery.timeout.ms`.

mod accumulator;
mod delivery;
mod partitioner;
mod queue;
mod request;
mod sender;
#[cfg(test)]
mod tests;
mod transaction;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use millstream_record::{BatchBuilder, Header};
use millstream_types::{ErrorCode, PartitionId, TimestampMs, TopicName, TopicPartition, Uuid};
use parking_lot::Mutex;
use tokio::{
    sync::{SemaphorePermit, mpsc, oneshot},
    time::timeout,
};

use self::{
    accumulator::NewRecord,
    partitioner::Partitioner,
    sender::{Command, Records},
    transaction::Transactions,
};
pub use self::{
    delivery::{Delivery, RecordMetadata},
    transaction::ConsumerGroupMetadata,
};
use crate::{
    Client, Error, Metric, Result,
    config::ProducerConfig,
    metrics::{ProducerMeters, Windows},
};

/// Commands that may wait for the sending task.
const COMMANDS_MAX: usize = 16;

/// A record to be written.
#[derive(Clone, Debug)]
pub struct ProducerRecord {
    pub topic: TopicName,
    /// None: by the key's hash, or wherever a record without a key is best.
    pub partition: Option<PartitionId>,
    /// None: now.
    pub timestamp: Option<TimestampMs>,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

impl ProducerRecord {
    pub fn new(topic: TopicName, key: Option<Bytes>, value: Option<Bytes>) -> Self {
        Self { topic, partition: None, timestamp: None, key, value, headers: Vec::new() }
    }
}

const CLOSED: Error = Error::Closed("the producer");

/// Writes records; safe to use from many tasks. Records of one partition keep the order in which their
/// `send`s returned.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    config: ProducerConfig,
    commands: mpsc::Sender<Command>,
    partitioner: Mutex<Partitioner>,
    records: Arc<Records>,
    /// With a `transactional.id`.
    transactions: Option<Arc<Transactions>>,
    meters: Arc<ProducerMeters>,
}

impl Producer {
    pub fn new(client: Client, config: ProducerConfig) -> Result<Self> {
        let config = config.checked(client.config())?;
        let (commands, received) = mpsc::channel(COMMANDS_MAX);
        let timeout = config.transaction_timeout;
        let transactions = config.transactional_id.clone().map(|id| Arc::new(Transactions::new(id, timeout)));
        let meters = Arc::new(ProducerMeters::new(Windows::of(client.config())));
        let (sends, counts) = (transactions.clone(), Arc::clone(&meters));
        let records = Arc::new(Records::new(&config, client.config()));
        let shared = Arc::clone(&records);
        tokio::spawn(sender::run(client.clone(), config.clone(), sends, counts, shared, received));
        // Any number will do; producers that start together should not all start with one partition.
        let start = Uuid::random().0 as u32;
        let partitioner = Mutex::new(Partitioner::new(start, config.partitioner));
        Ok(Self { client, config, commands, partitioner, records, transactions, meters })
    }

    /// Hands a record over. Returns as soon as there is room for it in `buffer.memory`; the [`Delivery`]
    /// tells when and where it was written.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery> {
        let transaction = self.transactions.as_ref().map(|transactions| transactions.open()).transpose()?;
        let ProducerRecord { topic, partition, timestamp, key, value, headers } = record;
        let bytes = BatchBuilder::record_size_max(key.as_deref(), value.as_deref(), &headers);
        let limit = self.config.max_request_size.min(self.config.buffer_memory);
        let too_large = Error::RecordTooLarge { bytes, limit };
        let permits = u32::try_from(bytes).ok().filter(|_| bytes <= limit).ok_or(too_large)?;
        // Who always finds room must let the sender have its turn all the same.
        tokio::task::coop::consume_budget().await;
        let mut patience = self.config.max_block;
        let partition = self.choose(&topic, partition, key.as_deref(), bytes, &mut patience).await?;
        let timestamp = timestamp.unwrap_or_else(now);
        let record = NewRecord { timestamp, key, value, headers };
        let memory = self.reserve(permits, patience).await?;
        let partition = TopicPartition::new(topic, partition);
        let (batch, index) = self.records.append(Instant::now, &partition, &record, transaction)?;
        // Free again when the batch has met its fate.
        memory.forget();
        Ok(batch.delivery(index, timestamp))
    }

    /// A share of `buffer.memory`.
    async fn reserve(&self, permits: u32, patience: Duration) -> Result<SemaphorePermit<'_>> {
        // Mostly there is room, and then no clock is looked at.
        if let Some(memory) = self.records.try_reserve(permits) {
            return Ok(memory);
        }
        let (waiting, held) = (Instant::now(), self.meters.waiting.hold());
        let waited = timeout(patience, self.records.reserve(permits)).await;
        drop(held);
        self.meters.waited_for_buffer(waiting.elapsed());
        if waited.is_err() {
            self.meters.buffer_exhausted();
        }
        waited.map_err(|_| self.blocked("room in buffer.memory"))?
    }

    fn blocked(&self, what: &str) -> Error {
        Error::Timeout { what: what.to_owned(), limit: self.config.max_block, last: None }
    }

    async fn choose(
        &self,
        topic: &TopicName,
        wanted: Option<PartitionId>,
        key: Option<&[u8]>,
        bytes: usize,
        patience: &mut Duration,
    ) -> Result<PartitionId> {
        let count = match self.client.partition_count(topic) {
            Some(known) => known,
            None => {
                let waiting = Instant::now();
                let known = timeout(*patience, self.client.topic(topic)).await;
                self.meters.waited_for_metadata(waiting.elapsed());
                *patience = patience.saturating_sub(waiting.elapsed());
                known.map_err(|_| self.blocked(&format!("metadata of topic {topic}")))??.partitions.len()
            }
        };
        let count = u32::try_from(count).unwrap_or(0);
        let key = key.filter(|_| !self.config.partitioner_ignore_keys);
        match wanted {
            Some(partition) if u32::try_from(partition.0).is_ok_and(|index| index < count) => Ok(partition),
            None if count > 0 => {
                let mut partitioner = self.partitioner.lock();
                Ok(partitioner.partition(topic, key, count, bytes, self.config.batch_size))
            }
            _ => {
                let what = wanted.map_or(topic.to_string(), |partition| format!("{topic}-{partition}"));
                let message = format!("the topic has {count} partitions");
                Err(Error::kafka(ErrorCode::UnknownTopicOrPartition, what, Some(message)))
            }
        }
    }

    /// Sends everything that was handed over so far without lingering, and waits until all of it has met
    /// its fate.
    pub async fn flush(&self) -> Result<()> {
        let (done, flushed) = oneshot::channel();
        self.commands.send(Command::Flush(done)).await.map_err(|_| CLOSED)?;
        let waiting = Instant::now();
        let outcome = flushed.await.map_err(|_| CLOSED);
        self.meters.flushed(waiting.elapsed());
        outcome
    }

    /// What it has done so far, and what its client has sent and received, by Kafka's names.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut report = self.client.report("producer");
        let metadata_age = self.client.metadata_age().unwrap_or_default().as_secs_f64();
        let (all, free) = (self.config.buffer_memory, self.records.memory_available());
        for (name, value) in [
            ("buffer-total-bytes", all as f64),
            ("buffer-available-bytes", free as f64),
            ("metadata-age", metadata_age),
        ] {
            report.add("metrics", name, value);
        }
        self.meters.report(&mut report);
        report.finish()
    }

    /// Waits so long for everything that was handed over to be written; what is not by then is given up, and
    /// its [`Delivery`] says so. A transaction that is open stays so, and is aborted by the broker.
    pub async fn close(self, limit: Duration) -> Result<()> {
        match tokio::time::timeout(limit, self.flush()).await {
            Ok(flushed) => flushed,
            Err(_) => {
                self.commands.send(Command::Abandon).await.map_err(|_| CLOSED)?;
                Err(Error::Timeout { what: "closing the producer".to_owned(), limit, last: None })
            }
        }
    }
}

fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
