//! Three real Kafkas: brokers that are killed, stopped and started again, leaders that change and partitions
//! that move, while records are written and a group reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_client::{
    AssignmentStrategy, Client, ClientConfig, Consumer, ConsumerConfig, ConsumerEvent, Delivery, Error,
    NewTopic, OffsetReset, Producer, ProducerConfig, ProducerRecord,
};
use millstream_protocol::messages::{
    AlterPartitionReassignmentsRequest, ElectLeadersRequest,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
};
use millstream_testkit::{Cluster, kafka_missing, skip};
use millstream_types::{BrokerId, ErrorCode, Offset, PartitionId, TopicName, TopicPartition};
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{SECOND, partition};

/// What is waited for ends the wait; three JVMs on a busy machine take their time.
const LIMIT: Duration = Duration::from_secs(300);
const PARTITIONS: i32 = 4;
/// Records that are written and read after each blow before the next may come.
const PROGRESS: usize = 400;

/// Calls may take as long as a broker takes to come back.
fn client(cluster: &Cluster) -> Client {
    let patient = |servers: &str| ClientConfig { default_api_timeout: LIMIT, ..ClientConfig::new(servers) };
    Client::new(patient(&cluster.bootstrap())).unwrap()
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < LIMIT, "waited in vain: {what}");
        tokio::time::sleep(SECOND / 10).await;
    }
}

/// Writes `PARTITION:NUMBER` to each partition in turn until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicUsize>,
    sending: JoinHandle<()>,
    /// The offsets of each partition's records in their order.
    confirming: JoinHandle<Vec<Vec<Option<Offset>>>>,
}

impl Writer {
    fn start(client: Client, topic: TopicName) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let acked: Arc<AtomicUsize> = Arc::default();
        let (sent, mut deliveries) = mpsc::channel::<(i32, Delivery)>(2_000);
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&acked));
        let sending = tokio::spawn(async move {
            let config = ProducerConfig { delivery_timeout: 2 * LIMIT, ..ProducerConfig::default() };
            let producer = Producer::new(client, config).unwrap();
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    let value = Some(Bytes::from(format!("{partition}:{number}")));
                    let record = ProducerRecord {
                        partition: Some(PartitionId(partition)),
                        ..ProducerRecord::new(topic.clone(), None, value)
                    };
                    sent.send((partition, producer.send(record).await.unwrap())).await.unwrap();
                }
                number += 1;
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            producer.flush().await.unwrap();
        });
        let confirming = tokio::spawn(async move {
            let mut offsets = vec![Vec::new(); PARTITIONS as usize];
            while let Some((partition, delivery)) = deliveries.recv().await {
                offsets[partition as usize].push(delivery.await.unwrap().offset);
                count.fetch_add(1, Ordering::Relaxed);
            }
            offsets
        });
        Self { stop, acked, sending, confirming }
    }

    fn acked(&self) -> usize {
        self.acked.load(Ordering::Relaxed)
    }

    async fn finish(self) -> Vec<Vec<Option<Offset>>> {
        self.stop.store(true, Ordering::Relaxed);
        self.sending.await.unwrap();
        self.confirming.await.unwrap()
    }
}

/// What a group has read and committed.
#[derive(Default)]
struct Reached {
    /// Behind the last record that any member has read.
    read: BTreeMap<TopicPartition, i64>,
    committed: BTreeMap<TopicPartition, i64>,
    records: usize,
}

/// Reads as a member and commits what it has read; sees that nothing is left out or out of order, and that
/// nothing that was committed is read again.
async fn read(mut consumer: Consumer, reached: Arc<Mutex<Reached>>, stop: Arc<AtomicBool>) {
    let mut next: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        match consumer.next(SECOND).await.unwrap() {
            Some(ConsumerEvent::Records(records)) => note(&mut next, &mut reached.lock(), &records),
            Some(ConsumerEvent::Revoked(partitions) | ConsumerEvent::Lost(partitions)) => {
                next.retain(|partition, _| !partitions.contains(partition));
                continue;
            }
            Some(ConsumerEvent::Assigned(_)) | None => continue,
        }
        let tried = next.clone();
        match consumer.commit().await {
            Ok(()) => {
                let mut reached = reached.lock();
                for (partition, at) in tried {
                    let committed = reached.committed.entry(partition).or_default();
                    *committed = at.max(*committed);
                }
            }
            Err(error) => {
                let code = error.code();
                let behind = [
                    ErrorCode::UnknownMemberId,
                    ErrorCode::IllegalGeneration,
                    ErrorCode::RebalanceInProgress,
                ];
                assert!(code.is_some_and(|code| behind.contains(&code)), "{error}");
            }
        }
    }
    consumer.close().await.unwrap();
}

fn note(
    next: &mut BTreeMap<TopicPartition, i64>,
    reached: &mut Reached,
    records: &[millstream_client::ConsumerRecord],
) {
    let Some(first) = records.first() else { return };
    let (which, first) = (first.partition.clone(), first.offset.0);
    match next.get(&which) {
        Some(expected) => assert_eq!(first, *expected, "{which}"),
        None => {
            let read = reached.read.get(&which).copied().unwrap_or(0);
            let committed = reached.committed.get(&which).copied().unwrap_or(0);
            assert!((committed..=read).contains(&first), "{which}: {first} is not in {committed}..={read}");
        }
    }
    for (expected, record) in (first..).zip(records) {
        assert_eq!(record.offset.0, expected, "{which}");
    }
    let end = first + i64::try_from(records.len()).unwrap();
    reached.records += records.len();
    let read = reached.read.entry(which.clone()).or_default();
    *read = end.max(*read);
    next.insert(which, end);
}

/// A topic under fire: one writer and a group of two readers.
struct Load {
    topic: TopicName,
    writer: Writer,
    reached: Arc<Mutex<Reached>>,
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
}

impl Load {
    async fn start(cluster: &Cluster, name: &'static str, replicas: i16) -> Self {
        let topic = TopicName::from_static(name);
        let admin = client(cluster).admin();
        let new = NewTopic {
            name: name.to_owned(),
            partitions: Some(PARTITIONS),
            replication_factor: Some(replicas),
            configs: BTreeMap::from([("min.insync.replicas".to_owned(), replicas.min(2).to_string())]),
            ..NewTopic::default()
        };
        admin.create_topics(&[new], false).await.unwrap()[name].clone().unwrap();
        let (reached, stop) = (Arc::<Mutex<Reached>>::default(), Arc::<AtomicBool>::default());
        let reader = |_| {
            let config = ConsumerConfig {
                group_id: Some(format!("readers of {name}")),
                auto_offset_reset: OffsetReset::Earliest,
                enable_auto_commit: false,
                session_timeout: 20 * SECOND,
                heartbeat_interval: SECOND,
                assignment_strategies: vec![AssignmentStrategy::CooperativeSticky],
                ..ConsumerConfig::default()
            };
            let mut consumer = Consumer::new(client(cluster), config);
            consumer.subscribe([topic.clone()]).unwrap();
            tokio::spawn(read(consumer, Arc::clone(&reached), Arc::clone(&stop)))
        };
        let readers = (0..2).map(reader).collect();
        let writer = Writer::start(client(cluster), topic.clone());
        let load = Self { topic, writer, reached, stop, readers };
        load.goes_on("in the beginning").await;
        load
    }

    /// More records are acknowledged, and more are read, of every partition.
    async fn goes_on(&self, when: &str) {
        let acked = self.writer.acked() + PROGRESS;
        eventually(&format!("records are written {when}"), async || self.writer.acked() >= acked).await;
        let before = self.reached.lock().read.clone();
        let read = || {
            let reached = self.reached.lock();
            (0..PARTITIONS).map(|index| partition(&self.topic, index)).all(|partition| {
                reached.read.get(&partition).copied().unwrap_or(0)
                    > before.get(&partition).copied().unwrap_or(0)
            })
        };
        eventually(&format!("all partitions are read {when}"), async || {
            assert!(self.readers.iter().all(|reader| !reader.is_finished()), "a reader has failed {when}");
            read()
        })
        .await;
    }

    /// Ends it and judges: every acknowledged record is in its partition once, in order, at the offset that
    /// the producer was told, and the group has read all.
    async fn judge(self, cluster: &Cluster) {
        let Self { topic, writer, reached, stop, readers } = self;
        let offsets = writer.finish().await;
        let ends: Vec<i64> = offsets.iter().map(|offsets| i64::try_from(offsets.len()).unwrap()).collect();
        let all = (0..).zip(&ends).map(|(index, end)| (partition(&topic, index), *end)).collect();
        eventually("the group reads to the end", async || reached.lock().read == all).await;
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.await.unwrap();
        }
        let mut consumer = Consumer::new(client(cluster), ConsumerConfig::default());
        consumer.assign((0..PARTITIONS).map(|index| (partition(&topic, index), Offset::ZERO)));
        let mut seen = vec![Vec::new(); PARTITIONS as usize];
        let enough = |seen: &[Vec<_>]| seen.iter().zip(&ends).all(|(seen, end)| seen.len() as i64 >= *end);
        while !enough(&seen) {
            let records = consumer.poll(LIMIT).await.unwrap();
            assert!(!records.is_empty(), "of {ends:?} there are {:?}", seen.iter().map(Vec::len));
            for record in records {
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                seen[record.partition.partition.0 as usize].push((record.offset, value));
            }
        }
        let partitions = (0..PARTITIONS).map(|index| partition(&topic, index));
        for (partition, end) in partitions.clone().zip(&ends) {
            let found = &consumer.end_offsets([partition.clone()]).await.unwrap()[&partition];
            assert_eq!(
                found.clone().unwrap().offset,
                Some(Offset(*end)),
                "{partition} has more than it should"
            );
        }
        for ((index, seen), offsets) in (0..).zip(seen).zip(&offsets) {
            for (number, ((offset, value), told)) in (0..).zip(seen.into_iter().zip(offsets)) {
                assert_eq!((offset.0, value), (number, format!("{index}:{number}")), "{topic}-{index}");
                assert!(
                    told.is_none_or(|told| told == offset),
                    "{topic}-{index}: told {told:?}, is {offset}"
                );
            }
        }
        eprintln!(
            "{topic}: {} records, {} read by the group",
            ends.iter().sum::<i64>(),
            reached.lock().records
        );
    }
}

/// Waits until all replicas of a topic's partitions are in sync.
async fn whole(client: &Client, topic: &TopicName) {
    eventually("all replicas are in sync", async || {
        let described = client.admin().describe_topics(std::slice::from_ref(topic)).await.unwrap();
        let topic = described[topic].clone().unwrap();
        topic.partitions.values().all(|p| p.in_sync_replicas.len() == p.replicas.len() && p.leader.is_some())
    })
    .await;
}

async fn leader(client: &Client, partition: &TopicPartition) -> BrokerId {
    let mut leader = None;
    eventually("the partition has a leader", async || {
        let topics = [partition.topic.clone()];
        let described = client.admin().describe_topics(&topics).await.unwrap();
        leader = described[&partition.topic].clone().unwrap().partitions[&partition.partition].leader;
        leader.is_some()
    })
    .await;
    leader.unwrap()
}

/// Gives partitions these replicas, the preferred leader first, and waits until that is so.
async fn reassign(client: &Client, topic: &TopicName, replicas: &[Vec<BrokerId>]) {
    let partition = |(index, replicas): (i32, &Vec<BrokerId>)| ReassignablePartition {
        partition_index: index,
        replicas: Some(replicas.iter().map(|id| id.0).collect()),
        ..Default::default()
    };
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: topic.to_string(),
            partitions: (0..).zip(replicas).map(partition).collect(),
            ..Default::default()
        }],
        timeout_ms: 60_000,
        ..Default::default()
    };
    eventually("the move is accepted", async || {
        let Ok(connection) = client.any_broker().await else { return false };
        let Ok(answer) = connection.call(&request).await else { return false };
        let codes = answer.responses.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
        answer.error_code == 0
            && codes.clone().count() == replicas.len()
            && codes.clone().all(|code| code == 0)
    })
    .await;
    eventually("the partitions have moved", async || {
        let described = client.admin().describe_topics(std::slice::from_ref(topic)).await.unwrap();
        let topic = described[topic].clone().unwrap();
        topic.partitions.values().zip(replicas).all(|(partition, replicas)| {
            partition.replicas == *replicas && partition.in_sync_replicas.len() == replicas.len()
        })
    })
    .await;
}

/// The first of each partition's replicas leads.
async fn elect_preferred(client: &Client, topic: &TopicName) {
    // Of all partitions there are.
    let request = ElectLeadersRequest {
        election_type: 0,
        topic_partitions: None,
        timeout_ms: 20_000,
        ..Default::default()
    };
    eventually("the preferred replicas lead", async || {
        if let Ok(connection) = client.any_broker().await {
            drop(connection.call(&request).await);
        }
        let described = client.admin().describe_topics(std::slice::from_ref(topic)).await.unwrap();
        let topic = described[topic].clone().unwrap();
        topic.partitions.values().all(|partition| partition.leader == partition.replicas.first().copied())
    })
    .await;
}

fn number(id: BrokerId) -> u16 {
    u16::try_from(id.0).unwrap()
}

async fn start_again(cluster: &mut Cluster, id: BrokerId) {
    let node = cluster.node(number(id));
    tokio::task::block_in_place(|| node.start_again().and_then(|()| node.wait_ready())).unwrap();
}

async fn no_acked_record_is_lost_doubled_or_out_of_order_while_brokers_die(cluster: &mut Cluster) {
    let watch = client(cluster);
    let load = Load::start(cluster, "mortal", 3).await;
    let group = format!("readers of {}", load.topic);
    let mut struck = BTreeSet::new();
    for round in 0..3 {
        whole(&watch, &load.topic).await;
        // The leader of a partition; the group's coordinator; whoever was spared so far, which is only
        // stopped.
        let (victim, is_killed) = match round {
            0 => (leader(&watch, &partition(&load.topic, 0)).await, true),
            1 => (watch.admin().group_coordinator(&group).await.unwrap().id, true),
            _ => ([1, 2, 3].map(BrokerId).into_iter().find(|id| !struck.contains(id)).unwrap(), false),
        };
        struck.insert(victim);
        tokio::task::block_in_place(|| {
            let node = cluster.node(number(victim));
            if is_killed { node.kill() } else { node.stop().map(drop) }
        })
        .unwrap();
        load.goes_on(&format!("without broker {victim}, round {round}")).await;
        start_again(cluster, victim).await;
        load.goes_on(&format!("with broker {victim} back, round {round}")).await;
    }
    whole(&watch, &load.topic).await;
    elect_preferred(&watch, &load.topic).await;
    load.goes_on("after an election").await;
    let turned = [[2, 3, 1], [3, 1, 2], [1, 2, 3], [2, 1, 3]].map(|ids| ids.map(BrokerId).to_vec());
    reassign(&watch, &load.topic, &turned).await;
    elect_preferred(&watch, &load.topic).await;
    load.goes_on("under other leaders").await;
    load.judge(cluster).await;
}

/// One copy, which travels: the log itself moves, and with it what the broker remembers of the producer.
async fn nor_while_partitions_move(cluster: &Cluster) {
    let watch = client(cluster);
    let load = Load::start(cluster, "moved", 1).await;
    for round in 0..3 {
        let homes = [0, 1, 2, 3].map(|index| vec![BrokerId(1 + (index + round) % 3)]);
        reassign(&watch, &load.topic, &homes).await;
        load.goes_on(&format!("after move {round}")).await;
    }
    load.judge(cluster).await;
}

/// A topic of one partition with a producer of its own.
struct Small {
    topic: TopicName,
    partition: TopicPartition,
    producer: Producer,
}

impl Small {
    async fn make(cluster: &Cluster, new: NewTopic) -> Self {
        let client = client(cluster);
        let topic = TopicName::parse(&new.name).unwrap();
        client.admin().create_topics(&[new], false).await.unwrap()[topic.as_str()].clone().unwrap();
        let producer = Producer::new(client, ProducerConfig::default()).unwrap();
        Self { partition: partition(&topic, 0), topic, producer }
    }

    async fn write(&self, count: usize) {
        for number in 0..count {
            let value = Some(Bytes::from(number.to_string()));
            let record = ProducerRecord {
                partition: Some(PartitionId(0)),
                ..ProducerRecord::new(self.topic.clone(), None, value)
            };
            self.producer.send(record).await.unwrap().await.unwrap();
        }
    }

    /// Reads so many records, from the beginning or wherever the consumer stands.
    async fn read(&self, consumer: &mut Consumer, count: usize) -> Vec<i64> {
        let (mut offsets, started) = (Vec::new(), Instant::now());
        while offsets.len() < count {
            assert!(started.elapsed() < LIMIT, "{}: of {count} records only {offsets:?}", self.topic);
            offsets.extend(consumer.poll(SECOND).await.unwrap().into_iter().map(|record| record.offset.0));
        }
        offsets
    }

    fn reader(&self, cluster: &Cluster, config: ConsumerConfig) -> Consumer {
        let mut consumer = Consumer::new(client(cluster), config);
        consumer.assign_partitions([self.partition.clone()]);
        consumer.seek(self.partition.clone(), Offset::ZERO);
        consumer
    }
}

async fn a_consumer_reads_from_the_replica_in_its_rack_while_it_is_there(cluster: &mut Cluster) {
    let new = NewTopic { name: "near".to_owned(), partitions: Some(1), ..NewTopic::default() };
    let small = Small::make(cluster, new).await;
    let watch = client(cluster);
    whole(&watch, &small.topic).await;
    let leader = leader(&watch, &small.partition).await;
    let neighbour = [1, 2, 3].map(BrokerId).into_iter().find(|id| *id != leader).unwrap();
    let config =
        ConsumerConfig { client_rack: Some(format!("rack-{neighbour}")), ..ConsumerConfig::default() };
    let mut consumer = small.reader(cluster, config);
    let replica = |consumer: &Consumer| consumer.progress(&small.partition).unwrap().preferred_read_replica;
    small.write(20).await;
    assert_eq!(small.read(&mut consumer, 20).await, (0..20).collect::<Vec<_>>());
    assert_eq!(replica(&consumer), Some(neighbour));
    tokio::task::block_in_place(|| cluster.node(number(neighbour)).kill()).unwrap();
    small.write(20).await;
    assert_eq!(small.read(&mut consumer, 20).await, (20..40).collect::<Vec<_>>());
    start_again(cluster, neighbour).await;
    whole(&watch, &small.topic).await;
}

/// A leader that lacks what its predecessor had: what was read there is gone.
async fn a_log_that_was_cut_is_noticed(cluster: &mut Cluster) {
    let (first, second) = (BrokerId(1), BrokerId(2));
    let configs = [("unclean.leader.election.enable", "true"), ("min.insync.replicas", "1")];
    let new = NewTopic {
        name: "cut".to_owned(),
        assignments: BTreeMap::from([(PartitionId(0), vec![first, second])]),
        configs: configs.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..NewTopic::default()
    };
    let small = Small::make(cluster, new).await;
    let watch = client(cluster);
    small.write(10).await;
    whole(&watch, &small.topic).await;
    tokio::task::block_in_place(|| cluster.node(number(second)).kill()).unwrap();
    eventually("the follower is out of sync", async || {
        let described = watch.admin().describe_topics(std::slice::from_ref(&small.topic)).await.unwrap();
        let topic = described[&small.topic].clone().unwrap();
        topic.partitions[&PartitionId(0)].in_sync_replicas == [first]
    })
    .await;
    small.write(10).await;
    let reading = |auto_offset_reset| ConsumerConfig { auto_offset_reset, ..ConsumerConfig::default() };
    let mut unforgiving = small.reader(cluster, reading(OffsetReset::None));
    let mut forgiving = small.reader(cluster, reading(OffsetReset::Latest));
    for consumer in [&mut unforgiving, &mut forgiving] {
        assert_eq!(small.read(consumer, 20).await, (0..20).collect::<Vec<_>>());
    }
    tokio::task::block_in_place(|| cluster.node(number(first)).kill()).unwrap();
    start_again(cluster, second).await;
    eventually("the follower leads", async || leader(&watch, &small.partition).await == second).await;
    let told = loop {
        match unforgiving.poll(LIMIT).await {
            Ok(records) => assert!(records.is_empty(), "{records:?}"),
            Err(error) => break error,
        }
    };
    let (partition, common) = (small.partition.clone(), Some(Offset(10)));
    assert_eq!(told, Error::Truncated { partition, position: Offset(20), common });
    unforgiving.seek(small.partition.clone(), Offset(10));
    // The broker has lost some of this producer's sequences too.
    small.write(5).await;
    for consumer in [&mut unforgiving, &mut forgiving] {
        assert_eq!(small.read(consumer, 5).await, (10..15).collect::<Vec<_>>());
    }
    start_again(cluster, first).await;
    whole(&watch, &small.topic).await;
}

/// One after the other: three JVMs are enough.
#[tokio::test(flavor = "multi_thread")]
async fn three_brokers_that_die_move_and_disagree() {
    if std::env::var("MILLSTREAM_TIER").as_deref() != Ok("conformance") {
        eprintln!("three brokers belong to MILLSTREAM_TIER=conformance: they take minutes");
        return;
    }
    if let Some(missing) = kafka_missing() {
        return skip("three brokers that die and move", &missing);
    }
    let near = ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector");
    let mut cluster = tokio::task::block_in_place(|| Cluster::start(3, &[near])).unwrap();
    no_acked_record_is_lost_doubled_or_out_of_order_while_brokers_die(&mut cluster).await;
    nor_while_partitions_move(&cluster).await;
    a_consumer_reads_from_the_replica_in_its_rack_while_it_is_there(&mut cluster).await;
    a_log_that_was_cut_is_noticed(&mut cluster).await;
}
