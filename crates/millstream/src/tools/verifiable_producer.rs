//! `kafka-verifiable-producer`: increasing numbers, and a line of JSON for each that was written
//! (`VerifiableProducer`).

use std::{
    collections::VecDeque,
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_client::{Delivery, Producer, ProducerRecord};
use millstream_types::{TimestampMs, TopicName};
use serde_json::json;

use super::{
    cluster::{Cluster, block_on},
    events::event,
    exit::{Exit, Outcome},
    interrupts::Interrupts,
    kafka_error,
    options::{
        Flag, Given,
        argparse::{Grammar, Group},
    },
    output,
    properties::Properties,
    run_verbs,
};

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "verifiable-producer",
    summary: "Writes increasing numbers to a topic and tells of each, as JSON, whether it was written.",
    flags: &[
        Flag::new("topic", "Where the numbers go.").takes("TOPIC").required(),
        Flag::new("bootstrap-server", "Brokers to ask first.").takes("HOST:PORT,…"),
        Flag::new("max-messages", "How many; -1 for no end.").takes("COUNT").number("Integer").default("-1"),
        Flag::new("throughput", "At most so many a second; -1 for no limit.")
            .takes("RATE")
            .number("Long")
            .default("-1"),
        Flag::new("acks", "0, 1 or -1.").takes("ACKS").number("Integer").default("-1"),
        Flag::new("producer.config", "").takes("FILE").hidden(),
        Flag::new("command-config", "A Java properties file with the producer's configuration.")
            .takes("FILE"),
        Flag::new("message-create-time", "The first record's time; each has one more.")
            .takes("MS")
            .number("Long")
            .default("-1"),
        Flag::new("value-prefix", "A number in front of each value, and a dot.")
            .takes("NUMBER")
            .number("Integer"),
        Flag::new("repeating-keys", "Keys from 0 up to below this, again and again.")
            .takes("COUNT")
            .number("Integer"),
    ],
    groups: &[Group { names: &["bootstrap-server"], required: true }],
    verbs: &[],
    examples: &["--bootstrap-server localhost:9092 --topic orders --max-messages 100"],
    help_code: 1,
};

/// Records that may be under way before the next one is made.
const UNDER_WAY_MAX: usize = 10_000;

pub(super) fn run(arguments: &[String]) -> ExitCode {
    // Without anything to go by this tool explains itself and means no harm.
    if arguments.is_empty() {
        return run_verbs(
            &Grammar { help_code: 0, ..GRAMMAR },
            &["--help".to_owned()],
            |exit| exit,
            |_| Ok(()),
        );
    }
    run_verbs(&GRAMMAR, arguments, |exit| exit, |given| block_on(act(given)))
}

fn number(given: &Given, name: &'static str) -> Option<i64> {
    given.last(name).and_then(|text| text.parse().ok())
}

async fn act(given: &Given) -> Outcome {
    if given.has("producer.config") {
        if given.has("command-config") {
            return Err(
                GRAMMAR.error("Options --producer.config and --command-config are mutually exclusive.")
            );
        }
        output::line(
            "Option --producer.config has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
    }
    let config = given.last("command-config").or_else(|| given.last("producer.config"));
    let mut properties = Properties::read_if_given(config).map_err(|exit| GRAMMAR.error(exit.sentence()))?;
    properties.set("bootstrap.servers", given.last("bootstrap-server").unwrap_or_default());
    let acks = number(given, "acks").unwrap_or(-1);
    properties.set("acks", acks);
    if acks != -1 {
        properties.set_default("enable.idempotence", "false");
    }
    properties.set_default("client.id", "verifiable-producer");
    let mut interrupts = Interrupts::new()?;
    let cluster = Cluster::prepare(&properties, true).await?;
    let topic = given.last("topic").unwrap_or_default();
    let topic = TopicName::parse(topic).map_err(|error| Exit::failure(error.to_string()))?;
    let producer = Producer::new(cluster.client.clone(), cluster.producer.clone())?;
    event("startup_complete", json!({}));
    let mut producing =
        Producing { topic, producer, started: Instant::now(), sent: 0, acked: 0, under_way: VecDeque::new() };
    let outcome = tokio::select! {
        () = producing.run(given) => Ok(()),
        exit = interrupts.next() => Err(exit),
    };
    // What is under way is waited for, unless somebody interrupts twice.
    let outcome = tokio::select! {
        () = producing.finish() => outcome,
        exit = interrupts.next() => Err(exit),
    };
    event("shutdown_complete", json!({}));
    let seconds = producing.started.elapsed().as_secs_f64().max(0.001);
    event(
        "tool_data",
        json!({
            "sent": producing.sent,
            "acked": producing.acked,
            "target_throughput": number(given, "throughput").unwrap_or(-1),
            "avg_throughput": producing.acked as f64 / seconds,
        }),
    );
    outcome
}

/// A key and a value under way.
type Waiting = (Option<String>, String, Delivery);

struct Producing {
    topic: TopicName,
    producer: Producer,
    started: Instant,
    sent: u64,
    acked: u64,
    under_way: VecDeque<Waiting>,
}

impl Producing {
    async fn run(&mut self, given: &Given) {
        let max = number(given, "max-messages").and_then(|count| u64::try_from(count).ok());
        let throughput = number(given, "throughput").filter(|rate| *rate > 0);
        let create_time = number(given, "message-create-time").filter(|time| *time >= 0);
        let repeating = number(given, "repeating-keys").filter(|count| *count > 0);
        while max.is_none_or(|max| self.sent < max) {
            let index = self.sent;
            let value = match given.last("value-prefix") {
                Some(prefix) => format!("{prefix}.{index}"),
                None => index.to_string(),
            };
            let key = repeating.map(|count| (index % count.unsigned_abs()).to_string());
            let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
            let mut record =
                ProducerRecord::new(self.topic.clone(), key.as_ref().map(bytes), Some(bytes(&value)));
            record.timestamp = create_time.map(|first| TimestampMs(first.saturating_add_unsigned(index)));
            match self.producer.send(record).await {
                Ok(delivery) => self.under_way.push_back((key, value, delivery)),
                Err(error) => failed(&self.topic, key.as_deref(), &value, &error),
            }
            self.sent += 1;
            self.settle(UNDER_WAY_MAX).await;
            if let Some(rate) = throughput {
                let due = self.started + Duration::from_secs_f64(self.sent as f64 / rate as f64);
                self.settle_until(due).await;
            }
        }
    }

    async fn finish(&mut self) {
        // Whether it went well the records know.
        drop(self.producer.flush().await);
        self.settle(0).await;
    }

    /// Tells what became of records until their number is due, as soon as it is known.
    async fn settle_until(&mut self, due: Instant) {
        // Whatever is not known by then is asked for the next time.
        drop(tokio::time::timeout_at(due.into(), self.settle(0)).await);
        tokio::time::sleep_until(due.into()).await;
    }

    /// Waits for the oldest records until no more than `left` are under way, and tells what became of them.
    async fn settle(&mut self, left: usize) {
        while self.under_way.len() > left {
            let Some((key, value, delivery)) = self.under_way.front_mut() else { return };
            match delivery.await {
                Ok(written) => {
                    self.acked += 1;
                    event(
                        "producer_send_success",
                        json!({
                            "key": key,
                            "value": value,
                            "topic": self.topic.as_str(),
                            "partition": written.partition.partition.0,
                            "offset": written.offset.map_or(-1, |offset| offset.0),
                        }),
                    );
                }
                Err(error) => failed(&self.topic, key.as_deref(), value, &error),
            }
            self.under_way.pop_front();
        }
    }
}

fn failed(topic: &TopicName, key: Option<&str>, value: &str, error: &millstream_client::Error) {
    event(
        "producer_send_error",
        json!({
            "key": key,
            "value": value,
            "topic": topic.as_str(),
            "exception": kafka_error::class(error),
            "message": kafka_error::message(error),
        }),
    );
}
