//! `kafka-verifiable-producer`: increasing numbers, and a line of JSON for each that was written
//! (`VerifiableProducer`).

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_client::{Delivery, Producer, ProducerRecord};
use millstream_types::{TimestampMs, TopicName};
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    kafka_error,
    options::{
        Flag, Given,
        argparse::{Grammar, Group},
    },
    output,
    properties::Properties,
    run_verbs,
};
use crate::command::time;

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
    let cluster = Cluster::prepare(&properties, true).await?;
    let topic = given.last("topic").unwrap_or_default();
    let topic = TopicName::parse(topic).map_err(|error| Exit::failure(error.to_string()))?;
    let producer = Producer::new(cluster.client.clone(), cluster.producer.clone())?;
    event("startup_complete", json!({}));
    let mut tally = Tally::default();
    let interrupted = tokio::select! {
        outcome = produce(given, &topic, &producer, &mut tally) => { outcome?; false }
        _ = tokio::signal::ctrl_c() => true,
    };
    event("shutdown_complete", json!({}));
    let seconds = tally.started.elapsed().as_secs_f64().max(0.001);
    event(
        "tool_data",
        json!({
            "sent": tally.sent,
            "acked": tally.acked,
            "target_throughput": number(given, "throughput").unwrap_or(-1),
            "avg_throughput": tally.acked as f64 / seconds,
        }),
    );
    if interrupted { Err(Exit::silent(130)) } else { Ok(()) }
}

struct Tally {
    started: Instant,
    sent: u64,
    acked: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { started: Instant::now(), sent: 0, acked: 0 }
    }
}

type Waiting = (Option<String>, String, Delivery);

async fn produce(given: &Given, topic: &TopicName, producer: &Producer, tally: &mut Tally) -> Outcome {
    let max = number(given, "max-messages").and_then(|count| u64::try_from(count).ok());
    let throughput = number(given, "throughput").filter(|rate| *rate > 0);
    let create_time = number(given, "message-create-time").filter(|time| *time >= 0);
    let repeating = number(given, "repeating-keys").filter(|count| *count > 0);
    let mut under_way: std::collections::VecDeque<Waiting> = std::collections::VecDeque::new();
    let mut index = 0u64;
    while max.is_none_or(|max| index < max) {
        let value = match given.last("value-prefix") {
            Some(prefix) => format!("{prefix}.{index}"),
            None => index.to_string(),
        };
        let key = repeating.map(|count| (index % count.unsigned_abs()).to_string());
        let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
        let mut record = ProducerRecord::new(topic.clone(), key.as_ref().map(bytes), Some(bytes(&value)));
        record.timestamp = create_time.map(|first| TimestampMs(first.saturating_add_unsigned(index)));
        tally.sent += 1;
        match producer.send(record).await {
            Ok(delivery) => under_way.push_back((key, value, delivery)),
            Err(error) => failed(topic, key, &value, &error),
        }
        while under_way.len() > UNDER_WAY_MAX {
            settle(topic, under_way.pop_front(), tally).await;
        }
        index += 1;
        if let Some(rate) = throughput {
            let due = tally.started + Duration::from_secs_f64(index as f64 / rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
    }
    producer.flush().await?;
    while !under_way.is_empty() {
        settle(topic, under_way.pop_front(), tally).await;
    }
    Ok(())
}

async fn settle(topic: &TopicName, waiting: Option<Waiting>, tally: &mut Tally) {
    let Some((key, value, delivery)) = waiting else { return };
    match delivery.await {
        Ok(written) => {
            tally.acked += 1;
            event(
                "producer_send_success",
                json!({
                    "key": key,
                    "value": value,
                    "topic": topic.as_str(),
                    "partition": written.partition.partition.0,
                    "offset": written.offset.map_or(-1, |offset| offset.0),
                }),
            );
        }
        Err(error) => failed(topic, key, &value, &error),
    }
}

fn failed(topic: &TopicName, key: Option<String>, value: &str, error: &millstream_client::Error) {
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

/// One line of JSON, with the time first.
fn event(name: &str, fields: Value) {
    let mut all = serde_json::Map::new();
    all.insert("timestamp".to_owned(), json!(time::now().0));
    all.insert("name".to_owned(), json!(name));
    if let Value::Object(fields) = fields {
        all.extend(fields);
    }
    output::line(&Value::Object(all).to_string());
    output::flush();
}
