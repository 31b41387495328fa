//! The client for programs without an async runtime: the same calls, each of which blocks its thread until it
//! is done. A runtime with a thread of its own does the work, so fetches, sends and heartbeats go on while the
//! caller's code does something else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use millstream_types::{Offset, TimestampMs, TopicName, TopicPartition};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    ClientConfig, Commit, CommittedOffset, ConsumerConfig, ConsumerEvent, ConsumerGroupMetadata,
    ConsumerRecord, ConsumerWaker, Error, Generation, ListedOffset, ProducerConfig, ProducerRecord, Progress,
    RecordMetadata, Result,
};

/// The runtime, which lives as long as anything that works on it.
#[derive(Clone, Debug)]
struct Worker(Arc<Owned>);

#[derive(Debug)]
struct Owned(Option<Runtime>);

impl Worker {
    fn start() -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("kafka-client")
            .enable_all()
            .build()
            .map_err(|error| Error::config("the client's thread", error))?;
        Ok(Self(Arc::new(Owned(Some(runtime)))))
    }

    fn handle(&self) -> &Handle {
        self.0.0.as_ref().expect("it is taken on dropping only").handle()
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        if Handle::try_current().is_ok() {
            return Err(Error::IllegalState(
                "a blocking call within an async runtime would hold it up; use the async client there",
            ));
        }
        self.handle().block_on(future)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Not as the runtime would by itself: it waits, which must not be within another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// As [`crate::Client`].
#[derive(Clone, Debug)]
pub struct Client {
    client: crate::Client,
    worker: Worker,
}

impl Client {
    /// Nothing is connected yet; the first call does that.
    pub fn new(config: ClientConfig) -> Result<Self> {
        Ok(Self { client: crate::Client::new(config)?, worker: Worker::start()? })
    }

    /// The async client that this one is made of.
    pub fn client(&self) -> &crate::Client {
        &self.client
    }

    /// Waits for any of the async client's calls, those of `Client::admin` for instance.
    pub fn wait<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.worker.wait(call)
    }

    pub fn producer(&self, config: ProducerConfig) -> Result<Producer> {
        let _context = self.worker.handle().enter();
        let producer = crate::Producer::new(self.client.clone(), config)?;
        Ok(Producer { producer, worker: self.worker.clone() })
    }

    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        let consumer = crate::Consumer::new(self.client.clone(), config);
        Consumer { consumer, worker: self.worker.clone() }
    }
}

/// As [`crate::Producer`]. What is not yet written when it is dropped together with its client is lost:
/// [`Producer::close`] waits for it.
#[derive(Debug)]
pub struct Producer {
    producer: crate::Producer,
    worker: Worker,
}

/// A record's fate, some time after `send`.
#[derive(Debug)]
pub struct Delivery {
    delivery: crate::Delivery,
    worker: Worker,
}

impl Delivery {
    /// Waits until the record is written, or cannot be.
    pub fn wait(self) -> Result<RecordMetadata> {
        self.worker.wait(self.delivery)
    }
}

impl Producer {
    /// Hands a record over, as soon as there is room for it.
    pub fn send(&self, record: ProducerRecord) -> Result<Delivery> {
        let delivery = self.worker.wait(self.producer.send(record))?;
        Ok(Delivery { delivery, worker: self.worker.clone() })
    }

    pub fn flush(&self) -> Result<()> {
        self.worker.wait(self.producer.flush())
    }

    pub fn close(self, limit: Duration) -> Result<()> {
        self.worker.wait(self.producer.close(limit))
    }

    pub fn init_transactions(&self) -> Result<()> {
        self.worker.wait(self.producer.init_transactions())
    }

    pub fn begin_transaction(&self) -> Result<()> {
        self.producer.begin_transaction()
    }

    pub fn send_offsets_to_transaction(
        &self,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
        group: &ConsumerGroupMetadata,
    ) -> Result<()> {
        self.worker.wait(self.producer.send_offsets_to_transaction(offsets, group))
    }

    pub fn commit_transaction(&self) -> Result<()> {
        self.worker.wait(self.producer.commit_transaction())
    }

    pub fn abort_transaction(&self) -> Result<()> {
        self.worker.wait(self.producer.abort_transaction())
    }
}

/// As [`crate::Consumer`]. It stays a member of its group while the caller's code runs, for
/// `max.poll.interval.ms` between two polls. Dropped without [`Consumer::close`] it may leave its group
/// without a word.
#[derive(Debug)]
pub struct Consumer {
    consumer: crate::Consumer,
    worker: Worker,
}

/// What to read.
impl Consumer {
    pub fn subscribe(&mut self, topics: impl IntoIterator<Item = TopicName>) -> Result<()> {
        let _context = self.worker.handle().enter();
        self.consumer.subscribe(topics)
    }

    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<()> {
        let _context = self.worker.handle().enter();
        self.consumer.subscribe_pattern(pattern)
    }

    pub fn unsubscribe(&mut self) {
        self.consumer.unsubscribe();
    }

    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, Offset)>) {
        self.consumer.assign(partitions);
    }

    pub fn assign_partitions(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.consumer.assign_partitions(partitions);
    }

    pub fn subscription(&self) -> &BTreeSet<TopicName> {
        self.consumer.subscription()
    }

    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.consumer.assignment()
    }

    pub fn generation(&self) -> Option<Generation> {
        self.consumer.generation()
    }

    pub fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.consumer.group_metadata()
    }

    pub fn enforce_rebalance(&self, reason: &str) {
        self.consumer.enforce_rebalance(reason);
    }
}

/// Reading, and from where.
impl Consumer {
    pub fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>> {
        self.worker.wait(self.consumer.poll(wait))
    }

    pub fn next(&mut self, wait: Duration) -> Result<Option<ConsumerEvent>> {
        self.worker.wait(self.consumer.next(wait))
    }

    /// Ends a wait from another thread.
    pub fn waker(&self) -> ConsumerWaker {
        self.consumer.waker()
    }

    pub fn progress(&self, partition: &TopicPartition) -> Option<Progress> {
        self.consumer.progress(partition)
    }

    pub fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        self.worker.wait(self.consumer.position(partition))
    }

    pub fn positions(&self) -> BTreeMap<TopicPartition, CommittedOffset> {
        self.consumer.positions()
    }

    pub fn seek(&mut self, partition: TopicPartition, offset: Offset) {
        self.consumer.seek(partition, offset);
    }

    pub fn seek_to_beginning(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.consumer.seek_to_beginning(partitions);
    }

    pub fn seek_to_end(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.consumer.seek_to_end(partitions);
    }

    pub fn pause(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.consumer.pause(partitions);
    }

    pub fn resume(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.consumer.resume(partitions);
    }

    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        self.consumer.paused()
    }

    pub fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        self.worker.wait(self.consumer.beginning_offsets(partitions))
    }

    pub fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        self.worker.wait(self.consumer.end_offsets(partitions))
    }

    pub fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, TimestampMs)>,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        self.worker.wait(self.consumer.offsets_for_times(times))
    }
}

/// Committing and closing.
impl Consumer {
    pub fn commit(&mut self) -> Result<()> {
        self.worker.wait(self.consumer.commit())
    }

    pub fn commit_offsets(&mut self, offsets: BTreeMap<TopicPartition, CommittedOffset>) -> Result<()> {
        self.worker.wait(self.consumer.commit_offsets(offsets))
    }

    pub fn commit_record(&mut self, record: &ConsumerRecord) -> Result<()> {
        self.worker.wait(self.consumer.commit_record(record))
    }

    /// Without waiting: what became of it, [`crate::blocking::Client::wait`] tells.
    pub fn commit_async(&mut self) -> Result<Commit> {
        let _context = self.worker.handle().enter();
        self.consumer.commit_async()
    }

    pub fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>> {
        self.worker.wait(self.consumer.committed(partitions))
    }

    /// Commits if `enable.auto.commit`, and leaves the group.
    pub fn close(self) -> Result<()> {
        self.worker.wait(self.consumer.close())
    }
}
