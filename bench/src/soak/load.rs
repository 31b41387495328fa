//! What clients do, each kind in a thread of its own until it is stopped. A failure ends its thread and is told.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use millstream_protocol::messages::{
    ApiVersionsRequest, DescribeConfigsRequest, DescribeGroupsRequest, ListGroupsRequest, ListOffsetsRequest,
    MetadataRequest, ProduceRequest,
    describe_configs_request::DescribeConfigsResource,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};
use millstream_record::{BatchBuilder, BatchOptions, Compression};
use millstream_testkit::Connection;
use millstream_types::TimestampMs;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::{payload, wire};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// librdkafka is built without the others.
const CONSUMED_CODECS: [&str; 3] = ["none", "snappy", "lz4"];
const VALUE_BYTES: [usize; 4] = [10, 200, 2_000, 40_000];
const PARTITIONS: i32 = 2;
/// Sent at once by each producer, and how often.
const RECORDS: usize = 20;
const PRODUCE_PAUSE: Duration = Duration::from_millis(50);
const MEMBERS: u64 = 3;
/// How long a member stays in its group, the shortest and the longest.
const STAY: [u64; 2] = [3, 9];
const TOPIC_PAUSE: Duration = Duration::from_millis(500);
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
const ASK_PAUSE: Duration = Duration::from_millis(100);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct Load {
    began: Instant,
    stop: Arc<AtomicBool>,
    clients: Vec<Running>,
}

struct Running {
    what: &'static str,
    done: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

/// What a thread of the load has.
struct Client {
    bootstrap: String,
    stop: Arc<AtomicBool>,
    /// How often it has done what it does.
    done: Arc<AtomicU64>,
}

impl Load {
    pub(super) fn start(bootstrap: &str) -> Result<Self> {
        let admin = admin(bootstrap)?;
        for codec in CODECS {
            let name = topic(codec);
            let topic = NewTopic::new(&name, PARTITIONS, TopicReplication::Fixed(1))
                .set("segment.bytes", "1048576")
                .set("retention.bytes", "4194304");
            created(&admin, &topic)?;
        }
        let mut load = Self { began: Instant::now(), stop: Arc::default(), clients: Vec::new() };
        for codec in CODECS {
            load.add(bootstrap, "records produced", move |client| match codec {
                "gzip" => produce_batches(client, codec, Compression::Gzip),
                "zstd" => produce_batches(client, codec, Compression::Zstd),
                _ => produce(client, codec),
            });
        }
        for member in 0..MEMBERS {
            load.add(bootstrap, "records consumed in a group that members join and leave", move |client| {
                consume(client, member)
            });
        }
        load.add(bootstrap, "topics created, written, read in a group of their own, and deleted", topics);
        load.add(bootstrap, "connections opened and closed, some in the middle of a request", connections);
        load.add(bootstrap, "offsets looked up by time", offsets);
        load.add(bootstrap, "metadata, configurations and groups asked for", ask);
        Ok(load)
    }

    fn add(
        &mut self,
        bootstrap: &str,
        what: &'static str,
        work: impl FnOnce(&Client) -> Result<()> + Send + 'static,
    ) {
        let done = Arc::new(AtomicU64::new(0));
        let client =
            Client { bootstrap: bootstrap.to_owned(), stop: Arc::clone(&self.stop), done: Arc::clone(&done) };
        self.clients.push(Running { what, done, thread: thread::spawn(move || work(&client)) });
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How often each thing was done, and what went wrong. What was never done went wrong.
    pub(super) fn stop(self) -> (Vec<(&'static str, u64)>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut done, mut failures): (Vec<(&'static str, u64)>, Vec<String>) = Default::default();
        for Running { what, done: count, thread } in self.clients {
            let outcome = thread.join().unwrap_or_else(|_| Err(anyhow!("a panic")));
            failures.extend(outcome.err().map(|error| format!("{what}: {error:#}")));
            let count = count.load(Ordering::Relaxed);
            match done.iter_mut().find(|(known, _)| *known == what) {
                Some((_, sum)) => *sum += count,
                None => done.push((what, count)),
            }
        }
        let never = done.iter().filter(|(_, count)| *count == 0);
        failures.extend(never.map(|(what, _)| format!("{what}: none")));
        (done, failures)
    }
}

impl Client {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn did(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer> {
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false");
        Ok(config.set("auto.offset.reset", "earliest").create()?)
    }
}

fn topic(codec: &str) -> String {
    format!("soak-{codec}")
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(ClientConfig::new().set("bootstrap.servers", bootstrap).create()?)
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(ANSWER_LIMIT))
}

fn created(admin: &AdminClient<DefaultClientContext>, topic: &NewTopic<'_>) -> Result<()> {
    for one in pollster::block_on(admin.create_topics([topic], &options()))? {
        one.map_err(|(name, code)| anyhow!("{name} cannot be created: {code}"))?;
    }
    Ok(())
}

fn produce(client: &Client, codec: &str) -> Result<()> {
    let mut config = client.config();
    config.set("compression.codec", codec).set("enable.idempotence", "true").set("linger.ms", "5");
    let producer: BaseProducer = config.create()?;
    let topic = topic(codec);
    let values = VALUE_BYTES.map(|size| payload::values(payload::Kind::Json, size));
    let mut round = 0;
    while client.goes_on() {
        // Mostly small ones.
        let size = if round % 10 == 0 { 3 } else { round % 3 };
        for value in values[size].iter().cycle().skip(round * RECORDS % 1000).take(RECORDS) {
            let record = BaseRecord::<(), Vec<u8>>::to(&topic).payload(value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        client.did(RECORDS as u64);
        producer.poll(PRODUCE_PAUSE);
        thread::sleep(PRODUCE_PAUSE);
        round += 1;
    }
    Ok(producer.flush(ANSWER_LIMIT)?)
}

fn produce_batches(client: &Client, codec: &str, compression: Compression) -> Result<()> {
    let topic = topic(codec);
    let values = VALUE_BYTES.map(|size| payload::values(payload::Kind::Json, size));
    let mut connection = Connection::open(&client.bootstrap)?;
    let mut round = 0;
    while client.goes_on() {
        let mut batch = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
        for value in values[round % 4].iter().cycle().skip(round * RECORDS % 1000).take(RECORDS) {
            batch.append(TimestampMs(now_ms()?), None, Some(value), &[]);
        }
        let partition = i32::try_from(round % 2)?;
        connection.send_bytes(&wire::produce_frame(&topic, partition, &batch.build())?)?;
        wire::check(&connection.receive::<ProduceRequest>(wire::PRODUCE_VERSION)?.1)?;
        client.did(RECORDS as u64);
        thread::sleep(2 * PRODUCE_PAUSE);
        round += 1;
    }
    Ok(())
}

fn now_ms() -> Result<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_millis())?)
}

/// Joins the group, reads and commits for a while, and leaves it again.
fn consume(client: &Client, member: u64) -> Result<()> {
    let names = CONSUMED_CODECS.map(topic);
    let mut stays = (STAY[0]..=STAY[1]).cycle().skip(member as usize);
    while client.goes_on() {
        let consumer = client.consumer("soak")?;
        consumer.subscribe(&names.each_ref().map(String::as_str))?;
        let stay = Duration::from_secs(stays.next().context("no end of stays")?);
        let joined = Instant::now();
        while client.goes_on() && joined.elapsed() < stay {
            let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
            let message = message?;
            client.did(1);
            if joined.elapsed().as_millis().is_multiple_of(50) {
                consumer.commit_message(&message, CommitMode::Async)?;
            }
        }
    }
    Ok(())
}

fn topics(client: &Client) -> Result<()> {
    let admin = admin(&client.bootstrap)?;
    let mut round = 0;
    while client.goes_on() {
        let (name, group) = (format!("soak-topic-{round}"), format!("soak-group-{round}"));
        created(&admin, &NewTopic::new(&name, 3, TopicReplication::Fixed(1)))?;
        {
            let producer: BaseProducer = client.config().create()?;
            let record = BaseRecord::<(), [u8]>::to(&name).payload(b"once");
            producer.send(record).map_err(|(error, _)| error)?;
            producer.flush(ANSWER_LIMIT)?;
            let consumer = client.consumer(&group)?;
            consumer.subscribe(&[&name])?;
            let asked = Instant::now();
            let message = loop {
                // It also returns when there was something else to do.
                match consumer.poll(Duration::from_secs(1)) {
                    Some(message) => break message?,
                    None => ensure!(asked.elapsed() < ANSWER_LIMIT, "{name}: its record does not come"),
                }
            };
            consumer.commit_message(&message, CommitMode::Sync)?;
        }
        for one in pollster::block_on(admin.delete_groups(&[&group], &options()))? {
            one.map_err(|(name, code)| anyhow!("{name} cannot be deleted: {code}"))?;
        }
        for one in pollster::block_on(admin.delete_topics(&[&name], &options()))? {
            one.map_err(|(name, code)| anyhow!("{name} cannot be deleted: {code}"))?;
        }
        client.did(1);
        round += 1;
        thread::sleep(TOPIC_PAUSE);
    }
    Ok(())
}

fn connections(client: &Client) -> Result<()> {
    let mut round = 0;
    while client.goes_on() {
        match round % 4 {
            0 => drop(TcpStream::connect(&client.bootstrap)?),
            // Half a request.
            1 => TcpStream::connect(&client.bootstrap)?.write_all(&[0, 0, 0, 100, 0, 3])?,
            // No request; the broker closes.
            2 => {
                let mut stream = TcpStream::connect(&client.bootstrap)?;
                stream.set_read_timeout(Some(ANSWER_LIMIT))?;
                stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
                match stream.read(&mut [0; 16]) {
                    Ok(0) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                    other => bail!("what is no request was answered: {other:?}"),
                }
            }
            _ => {
                let answer = Connection::open(&client.bootstrap)?.call(0, &ApiVersionsRequest::default())?;
                ensure!(answer.error_code == 0, "ApiVersions: {}", answer.error_code);
            }
        }
        client.did(1);
        round += 1;
        thread::sleep(CONNECT_PAUSE);
    }
    Ok(())
}

fn offsets(client: &Client) -> Result<()> {
    const MAX_TIMESTAMP: i64 = -3;
    let mut connection = Connection::open(&client.bootstrap)?;
    while client.goes_on() {
        for timestamp in [MAX_TIMESTAMP, now_ms()? - 3_000] {
            let partition =
                |partition_index| ListOffsetsPartition { partition_index, timestamp, ..Default::default() };
            let topics = CODECS.map(|codec| ListOffsetsTopic {
                name: topic(codec),
                partitions: (0..PARTITIONS).map(partition).collect(),
                ..Default::default()
            });
            let request = ListOffsetsRequest { replica_id: -1, topics: topics.into(), ..Default::default() };
            for topic in connection.call(8, &request)?.topics {
                for partition in topic.partitions {
                    ensure!(partition.error_code == 0, "ListOffsets: {}", partition.error_code);
                    client.did(1);
                }
            }
        }
        thread::sleep(ASK_PAUSE);
    }
    Ok(())
}

fn ask(client: &Client) -> Result<()> {
    const TOPIC: i8 = 2;
    let mut connection = Connection::open(&client.bootstrap)?;
    while client.goes_on() {
        ensure!(!connection.call(12, &MetadataRequest::default())?.brokers.is_empty(), "no broker");
        let resource = DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: topic(CODECS[0]),
            ..Default::default()
        };
        let configs = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let code = connection.call(4, &configs)?.results.first().map(|result| result.error_code);
        ensure!(code == Some(0), "DescribeConfigs: {code:?}");
        let groups = connection.call(4, &ListGroupsRequest::default())?.groups;
        let groups = groups.into_iter().map(|group| group.group_id).collect();
        let described = DescribeGroupsRequest { groups, ..Default::default() };
        let described = connection.call(5, &described)?.groups.len();
        client.did(3 + described as u64);
        thread::sleep(ASK_PAUSE);
    }
    Ok(())
}
