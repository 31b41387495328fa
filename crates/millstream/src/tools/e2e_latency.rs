//! `kafka-e2e-latency`: how long one record takes from the producer to a consumer (`EndToEndLatency`).

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_client::{Consumer, ConsumerRecord, NewTopic, Producer, ProducerRecord};
use millstream_record::Header;
use millstream_types::{TopicName, TopicPartition};

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    kafka_error,
    options::{BOOTSTRAP_SERVER, Flag, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options, wanted,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-e2e-latency",
    summary: "Writes records one at a time, reads each back, and measures how long both together take.",
    flags: &[
        BOOTSTRAP_SERVER,
        Flag::new("topic", "Where the records go; created if it is not there.").takes("TOPIC"),
        Flag::new("num-records", "How many records.").takes("COUNT"),
        Flag::new("producer-acks", "1 or all.").takes("ACKS"),
        Flag::new("record-size", "Bytes of a value.").takes("BYTES"),
        Flag::new("record-key-size", "Bytes of a key.").may_take("BYTES").number("Integer").default("0"),
        Flag::new("num-headers", "How many headers each record has.")
            .may_take("COUNT")
            .number("Integer")
            .default("0"),
        Flag::new("record-header-key-size", "Bytes of a header's key.")
            .may_take("BYTES")
            .number("Integer")
            .default("0"),
        Flag::new("record-header-size", "Bytes of a header's value; -1 for none.")
            .may_take("BYTES")
            .number("Integer")
            .default("0"),
        Flag::new("command-config", "A Java properties file with the clients' configuration.")
            .may_take("FILE"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic latency --num-records 1000 --producer-acks all --record-size 512",
    ],
};

/// How long a record may take to come back.
const POLL_LIMIT: Duration = Duration::from_secs(60);

const REQUIRED: [&str; 5] = ["bootstrap-server", "topic", "num-records", "producer-acks", "record-size"];

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let is_named = |argument: &String| REQUIRED.iter().any(|name| *argument == format!("--{name}"));
    let positional = !arguments.is_empty() && !arguments.iter().any(is_named);
    let arguments = match (positional, arguments.len()) {
        (false, _) => arguments.to_vec(),
        (true, 5 | 6) => named(arguments),
        (true, count) => {
            output::say(&format!(
                "Invalid number of arguments. Expected 5 or 6 positional arguments, but got {count}. Usage: bootstrap-server topic num-records producer-acks record-size [optional] command-config"
            ));
            return ExitCode::from(1);
        }
    };
    run_options(
        &SPEC,
        &arguments,
        |exit| exit,
        |given| {
            given.require(&REQUIRED)?;
            block_on(Plan::of(given)?.run())
        },
    )
}

/// The command line of Kafka before 4.2: values alone, in this order.
fn named(values: &[String]) -> Vec<String> {
    output::line(
        "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. Please use named arguments instead: --bootstrap-server, --topic, --num-records, --producer-acks, --record-size, --command-config",
    );
    let names = REQUIRED.into_iter().chain(["command-config"]);
    names.zip(values).flat_map(|(name, value)| [format!("--{name}"), value.clone()]).collect()
}

struct Plan {
    properties: Properties,
    acks: String,
    topic: String,
    count: usize,
    value_size: usize,
    key_size: usize,
    headers: usize,
    header_key_size: usize,
    /// None for headers without a value.
    header_size: Option<usize>,
}

impl Plan {
    fn of(given: &Given) -> Outcome<Self> {
        let acks = given.one("producer-acks")?.unwrap_or_default();
        if !["1", "all"].contains(&acks) {
            return Err(Exit::usage(
                "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' or 'all'.",
            ));
        }
        let number = |name: &'static str| given.number::<i32>(name).map(Option::unwrap_or_default);
        let size = |name: &'static str| -> Outcome<usize> {
            let refused = |_| Exit::usage(format!("Value for --{name} must be a non-negative integer."));
            usize::try_from(number(name)?).map_err(refused)
        };
        let count = usize::try_from(number("num-records")?).unwrap_or(0);
        if count == 0 {
            return Err(Exit::usage("Value for --num-records must be a positive integer."));
        }
        let value_size = size("record-size")?;
        let key_size = size("record-key-size")?;
        let header_key_size = size("record-header-key-size")?;
        let header_size = number("record-header-size")?;
        if header_size < -1 {
            return Err(Exit::usage(
                "Value for --record-header-size must be a non-negative integer or -1 for null header value.",
            ));
        }
        let mut properties = Properties::read_if_given(given.one("command-config")?)?;
        properties.set("bootstrap.servers", given.one("bootstrap-server")?.unwrap_or_default());
        Ok(Self {
            acks: acks.to_owned(),
            properties,
            topic: given.one("topic")?.unwrap_or_default().to_owned(),
            count,
            value_size,
            key_size,
            header_key_size,
            headers: size("num-headers")?,
            header_size: usize::try_from(header_size).ok(),
        })
    }

    async fn run(&self) -> Outcome {
        let mut properties = self.properties.clone();
        properties.set("group.id", wanted::random_group("test-group"));
        for (key, value) in [
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "latest"),
            // Nothing may wait for more.
            ("fetch.max.wait.ms", "0"),
            ("linger.ms", "0"),
            ("acks", self.acks.as_str()),
        ] {
            properties.set(key, value);
        }
        if self.acks == "1" {
            properties.set_default("enable.idempotence", "false");
        }
        let cluster = Cluster::prepare(&properties, true).await?;
        cluster.reach("Timed out waiting for a node assignment. Call: listTopics").await?;
        let topic = TopicName::parse(&self.topic).map_err(|error| Exit::failure(error.to_string()))?;
        let partitions = self.partitions(&cluster, &topic).await?;
        let mut consumer = Consumer::new(cluster.client.clone(), cluster.consumer.clone());
        consumer.assign_partitions(partitions.iter().cloned());
        consumer.seek_to_end(partitions.iter().cloned());
        for partition in &partitions {
            consumer.position(partition).await?;
        }
        let producer = Producer::new(cluster.client.clone(), cluster.producer.clone())?;
        let latencies = self.measure(&topic, &producer, &mut consumer).await;
        // As Kafka's tool, which commits also when it fails.
        drop(consumer.commit().await);
        drop(consumer.close().await);
        report(&latencies?);
        Ok(())
    }

    async fn partitions(&self, cluster: &Cluster, topic: &TopicName) -> Outcome<Vec<TopicPartition>> {
        let admin = cluster.admin_client();
        if !admin.list_topics().await?.iter().any(|known| known.name == *topic) {
            output::line(&format!(
                "Topic \"{topic}\" does not exist. Will create topic with 1 partition(s) and replication factor = 1"
            ));
            let created = create(cluster, topic).await;
            if created.is_err() {
                output::line(&format!("Creation of topic {topic} failed"));
            }
            created?;
        }
        let described = cluster.client.topic(topic).await?;
        Ok(described.partitions.keys().map(|number| TopicPartition::new(topic.clone(), *number)).collect())
    }

    async fn measure(
        &self,
        topic: &TopicName,
        producer: &Producer,
        consumer: &mut Consumer,
    ) -> Outcome<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(self.count);
        let mut letters = Letters(0x2545_f491_4f6c_dd1d);
        for index in 0..self.count {
            let key = letters.next(self.key_size);
            let value = letters.next(self.value_size);
            let mut record = ProducerRecord::new(topic.clone(), Some(key), Some(value));
            record.headers = (0..self.headers)
                .map(|_| Header {
                    key: letters.next(self.header_key_size),
                    value: self.header_size.map(|size| letters.next(size)),
                })
                .collect();
            let sent = record.clone();
            let began = Instant::now();
            producer.send(record).await?.await?;
            let records = poll(consumer).await?;
            let elapsed = began.elapsed();
            check(&sent, &records)?;
            if index % 1000 == 0 {
                output::line(&format!("{index}\t{:?}", elapsed.as_nanos() as f64 / 1e6));
                output::flush();
            }
            latencies.push(elapsed);
        }
        Ok(latencies)
    }
}

async fn create(cluster: &Cluster, topic: &TopicName) -> Outcome {
    let new = NewTopic {
        name: topic.to_string(),
        partitions: Some(1),
        replication_factor: Some(1),
        ..NewTopic::default()
    };
    let created = cluster.admin_client().create_topics(&[new], false).await?;
    match created.into_values().next() {
        Some(Err(error)) => Err(Exit::failure(kafka_error::exception(&error))),
        _ => Ok(()),
    }
}

/// The next records; none if none come in time.
async fn poll(consumer: &mut Consumer) -> Outcome<Vec<ConsumerRecord>> {
    let until = Instant::now() + POLL_LIMIT;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let records = consumer.poll(left).await?;
        if !records.is_empty() || left.is_zero() {
            return Ok(records);
        }
    }
}

/// What came back must be what was sent, and nothing else.
fn check(sent: &ProducerRecord, records: &[ConsumerRecord]) -> Outcome {
    let text = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "null".to_owned(),
    };
    let Some(record) = records.first() else {
        return Err(Exit::failure(format!(
            "poll() timed out before finding a result (timeout:[{}ms])",
            POLL_LIMIT.as_millis()
        )));
    };
    for (what, sent, read) in [("value", &sent.value, &record.value), ("key", &sent.key, &record.key)] {
        if sent != read {
            return Err(Exit::failure(format!(
                "The message {what} read [{}] did not match the message {what} sent [{}]",
                text(read),
                text(sent)
            )));
        }
    }
    if sent.headers != record.headers {
        return Err(Exit::failure("The message headers read did not match the message headers sent"));
    }
    match records.len() {
        1 => Ok(()),
        count => {
            Err(Exit::failure(format!("Only one result was expected during this test. We found [{count}]")))
        }
    }
}

fn report(latencies: &[Duration]) {
    let total: Duration = latencies.iter().sum();
    let average = total.as_nanos() as f64 / latencies.len().max(1) as f64 / 1e6;
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| {
        let index = (sorted.len() as f64 * share) as usize;
        sorted.get(index).map_or(0, Duration::as_millis)
    };
    output::line(&format!("Avg latency: {average:.4} ms"));
    output::line(&format!("Percentiles: 50th = {}, 99th = {}, 99.9th = {}", at(0.5), at(0.99), at(0.999)));
}

/// Runs of one letter each, the same in every run of the tool.
struct Letters(u64);

impl Letters {
    fn next(&mut self, size: usize) -> Bytes {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Bytes::from(vec![b'A' + (self.0 % 26) as u8; size])
    }
}
