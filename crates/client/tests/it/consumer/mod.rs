//! The consumer as a member of groups, and alone.

mod commits;
mod members;
mod mixed;
mod positions;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_client::{
    AssignmentStrategy, Client, Consumer, ConsumerConfig, ConsumerEvent, OffsetReset, Producer,
    ProducerConfig, ProducerRecord,
};
use millstream_types::{Offset, PartitionId, TopicName, TopicPartition};
use parking_lot::Mutex;
use tokio::{sync::oneshot, task::JoinHandle};

use super::{SECOND, fresh_name};

/// A machine under load may be slow; what is waited for ends the wait.
const LIMIT: Duration = Duration::from_secs(60);

/// A member of a group of its own that begins at the beginning.
fn config(group: &str) -> ConsumerConfig {
    ConsumerConfig {
        group_id: Some(group.to_owned()),
        auto_offset_reset: OffsetReset::Earliest,
        session_timeout: 10 * SECOND,
        heartbeat_interval: SECOND / 2,
        enable_auto_commit: false,
        assignment_strategies: vec![AssignmentStrategy::Range],
        fetch_max_wait: SECOND / 5,
        ..ConsumerConfig::default()
    }
}

fn fresh_group() -> String {
    fresh_name("group").to_string()
}

/// Writes so many records to each of the partitions, from `from` on: `PARTITION:NUMBER`.
async fn produce(client: &Client, topic: &TopicName, partitions: i32, from: usize, count: usize) {
    let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    let mut deliveries = Vec::new();
    for number in from..from + count {
        for partition in 0..partitions {
            let value = Some(Bytes::from(format!("{partition}:{number}")));
            let record = ProducerRecord {
                partition: Some(PartitionId(partition)),
                ..ProducerRecord::new(topic.clone(), None, value)
            };
            deliveries.push(producer.send(record).await.unwrap());
        }
    }
    producer.flush().await.unwrap();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < LIMIT, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a member has lived through.
#[derive(Clone, Debug, Default)]
struct Seen {
    assignment: BTreeSet<TopicPartition>,
    records: Vec<(TopicPartition, Offset)>,
    /// All but the records.
    events: Vec<ConsumerEvent>,
    polls: usize,
}

impl Seen {
    fn offsets(&self, partition: &TopicPartition) -> Vec<i64> {
        self.records.iter().filter(|(of, _)| of == partition).map(|(_, offset)| offset.0).collect()
    }
}

/// A consumer at work in a task of its own.
struct Member {
    seen: Arc<Mutex<Seen>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Consumer>,
}

impl Member {
    fn start(client: &Client, config: ConsumerConfig, topics: &[&TopicName]) -> Self {
        let mut consumer = Consumer::new(client.clone(), config);
        consumer.subscribe(topics.iter().copied().cloned()).unwrap();
        Self::run(consumer)
    }

    fn run(mut consumer: Consumer) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let notes = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Err(oneshot::error::TryRecvError::Empty) = stopped.try_recv() {
                let event = consumer.next(SECOND / 10).await.unwrap();
                let mut notes = notes.lock();
                notes.polls += 1;
                match event {
                    Some(ConsumerEvent::Records(records)) => {
                        notes.records.extend(records.into_iter().map(|r| (r.partition, r.offset)));
                    }
                    Some(event) => {
                        notes.events.push(event);
                        notes.assignment = consumer.assignment();
                    }
                    None => notes.assignment = consumer.assignment(),
                }
            }
            consumer
        });
        Self { seen, stop, task }
    }

    fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    fn count(&self) -> usize {
        self.seen.lock().assignment.len()
    }

    async fn stop(self) -> Consumer {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }

    async fn close(self) {
        self.stop().await.close().await.unwrap();
    }
}

/// The members have these numbers of partitions, and no partition is in two hands.
async fn shares(members: &[&Member], expected: &[usize]) {
    let settled = || {
        let mut counts: Vec<usize> = members.iter().map(|member| member.count()).collect();
        counts.sort_unstable();
        let all: BTreeSet<_> = members.iter().flat_map(|member| member.seen().assignment).collect();
        counts == expected && all.len() == expected.iter().sum::<usize>()
    };
    eventually(&format!("shares of {expected:?}"), settled).await;
}
