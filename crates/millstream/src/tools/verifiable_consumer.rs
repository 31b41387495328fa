//! `kafka-verifiable-consumer`: a line of JSON for whatever happens to a member of a group: partitions that
//! come and go, records, commits (`VerifiableConsumer`).

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use millstream_client::{CommittedOffset, Consumer, ConsumerEvent, ConsumerRecord, Error};
use millstream_types::{Offset, TopicPartition};
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, block_on_beside_others},
    events::event,
    exit::{Exit, Outcome},
    interrupts::Interrupts,
    kafka_error,
    options::{Flag, Given, argparse::Grammar},
    output,
    properties::Properties,
    run_verbs,
    wanted::Wanted,
};

const RANGE: &str = "org.apache.kafka.clients.consumer.RangeAssignor";

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "verifiable-consumer",
    summary: "Reads a topic as a member of a group and tells, as JSON, of everything that happens to it.",
    flags: &[
        Flag::new("bootstrap-server", "Brokers to ask first.").takes("HOST:PORT,…").required(),
        Flag::new("topic", "The topic to read.").takes("TOPIC").required(),
        Flag::new("group-protocol", "Only classic.").takes("PROTOCOL").default("classic"),
        Flag::new("group-remote-assignor", "Of the group protocol consumer, which is not spoken.")
            .takes("NAME"),
        Flag::new("group-id", "The group to be a member of.").takes("GROUP").required(),
        Flag::new("group-instance-id", "The name of a static member.").takes("NAME"),
        Flag::new("max-messages", "How many records; -1 for no end.")
            .takes("COUNT")
            .number("Integer")
            .default("-1"),
        Flag::new("session-timeout", "How long the group does without a heartbeat.")
            .takes("MS")
            .number("Integer")
            .default("30000"),
        Flag::new("verbose", "Also tell of each record."),
        Flag::new("enable-autocommit", "Let the consumer commit by the clock instead of after each read."),
        Flag::new("reset-policy", "Where to begin without a committed offset: earliest, latest or none.")
            .takes("POLICY")
            .default("earliest"),
        Flag::new("assignment-strategy", "The Java class that shares partitions out.")
            .takes("CLASS")
            .default(RANGE),
        Flag::new("consumer.config", "").takes("FILE").hidden(),
        Flag::new("command-config", "A Java properties file with the consumer's configuration.")
            .takes("FILE"),
    ],
    groups: &[],
    verbs: &[],
    examples: &[
        "--bootstrap-server localhost:9092 --topic orders --group-id check --max-messages 100",
        "--bootstrap-server localhost:9092 --topic orders --group-id check --verbose",
    ],
    help_code: 1,
};

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
    run_verbs(&GRAMMAR, arguments, |exit| exit, |given| block_on_beside_others(act(given)))
}

async fn act(given: &Given) -> Outcome {
    let properties = properties(given)?;
    let mut interrupts = Interrupts::new()?;
    let cluster = Cluster::prepare(&properties, true).await?;
    let mut consumer = Consumer::new(cluster.client.clone(), cluster.consumer.clone());
    let max = given.last("max-messages").and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1);
    let mut watching = Watching {
        left: u64::try_from(max).ok(),
        is_verbose: given.has("verbose"),
        commits: !given.has("enable-autocommit"),
        is_heard: true,
    };
    event("startup_complete", json!({}));
    let topic = given.last("topic").unwrap_or_default().to_owned();
    let outcome = match Wanted::Topic(topic).begin(&mut consumer) {
        Ok(()) => tokio::select! {
            watched = watching.run(&mut consumer) => watched.or_else(|error| stopped(&error)),
            exit = interrupts.next() => Err(exit),
        },
        Err(error) => stopped(&error),
    };
    // Kafka's tool says so on its way out of the JVM: before it is done if it is told to stop, and after.
    if outcome.is_err() {
        event("shutdown_requested", json!({}));
    }
    let held = consumer.assignment();
    drop(consumer.close().await);
    if !held.is_empty() {
        event("partitions_revoked", json!({ "partitions": held.iter().map(named).collect::<Vec<_>>() }));
    }
    event("shutdown_complete", json!({}));
    if outcome.is_ok() {
        event("shutdown_requested", json!({}));
    }
    outcome
}

/// Kafka's tool ends with 0 whatever made its consumer stop.
fn stopped(error: &Error) -> Outcome {
    output::say(&format!("ERROR {}", kafka_error::message(error)));
    Ok(())
}

fn properties(given: &Given) -> Outcome<Properties> {
    if given.has("consumer.config") {
        if given.has("command-config") {
            return Err(
                GRAMMAR.error("Options --consumer.config and --command-config are mutually exclusive.")
            );
        }
        output::line(
            "Option --consumer.config has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
    }
    let config = given.last("command-config").or_else(|| given.last("consumer.config"));
    let mut properties = Properties::read_if_given(config).map_err(|exit| GRAMMAR.error(exit.sentence()))?;
    let protocol = given.last("group-protocol").unwrap_or("classic");
    if protocol.eq_ignore_ascii_case("consumer") {
        return Err(Exit::failure(
            "the group protocol consumer (KIP-848) is not spoken by this tool yet; --group-protocol classic is",
        ));
    }
    for (option, key) in [
        ("assignment-strategy", "partition.assignment.strategy"),
        ("group-id", "group.id"),
        ("group-instance-id", "group.instance.id"),
        ("bootstrap-server", "bootstrap.servers"),
        ("reset-policy", "auto.offset.reset"),
        ("session-timeout", "session.timeout.ms"),
    ] {
        if let Some(value) = given.last(option) {
            properties.set(key, value);
        }
    }
    properties.set("enable.auto.commit", given.has("enable-autocommit"));
    Ok(properties)
}

struct Watching {
    /// Records still wanted; None for no end.
    left: Option<u64>,
    is_verbose: bool,
    commits: bool,
    /// Whether anybody reads what is told.
    is_heard: bool,
}

impl Watching {
    async fn run(&mut self, consumer: &mut Consumer) -> Result<(), Error> {
        while self.left != Some(0) && self.is_heard {
            match consumer.next(Duration::MAX).await? {
                Some(ConsumerEvent::Records(records)) => self.take(consumer, &records).await?,
                Some(ConsumerEvent::Assigned(partitions)) => {
                    let partitions: Vec<Value> = partitions.iter().map(named).collect();
                    event("partitions_assigned", json!({ "partitions": partitions }));
                }
                Some(ConsumerEvent::Revoked(partitions) | ConsumerEvent::Lost(partitions)) => {
                    let partitions: Vec<Value> = partitions.iter().map(named).collect();
                    event("partitions_revoked", json!({ "partitions": partitions }));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Tells of the records, as many as are still wanted, then commits them.
    async fn take(&mut self, consumer: &mut Consumer, records: &[ConsumerRecord]) -> Result<(), Error> {
        let wanted = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let taken = &records[..records.len().min(wanted)];
        let (Some(first), Some(last)) = (taken.first(), taken.last()) else { return Ok(()) };
        self.left = self.left.map(|left| left - taken.len() as u64);
        if self.is_verbose {
            taken.iter().for_each(tell_record);
        }
        let partition = &first.partition;
        let mut summary = named(partition);
        summary["count"] = json!(taken.len());
        summary["minOffset"] = json!(first.offset.0);
        summary["maxOffset"] = json!(last.offset.0);
        self.is_heard = event("records_consumed", json!({ "count": records.len(), "partitions": [summary] }));
        if self.commits && self.is_heard {
            return commit(consumer, partition, last.offset.next()).await;
        }
        Ok(())
    }
}

fn tell_record(record: &ConsumerRecord) {
    let text = |bytes: &Option<bytes::Bytes>| {
        bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    event(
        "record_data",
        json!({
            "key": text(&record.key),
            "value": text(&record.value),
            "topic": record.partition.topic.as_str(),
            "partition": record.partition.partition.0,
            "offset": record.offset.0,
        }),
    );
}

/// Commits, and tells how that went; a commit that is refused is no reason to stop.
async fn commit(consumer: &mut Consumer, partition: &TopicPartition, offset: Offset) -> Result<(), Error> {
    let committed = CommittedOffset { offset, leader_epoch: None, metadata: String::new() };
    let outcome = consumer.commit_offsets(BTreeMap::from([(partition.clone(), committed)])).await;
    let mut named = named(partition);
    named["offset"] = json!(offset.0);
    let mut fields = json!({ "offsets": [named] });
    if let Err(error) = &outcome {
        fields["error"] = json!(kafka_error::message(error));
    }
    fields["success"] = json!(outcome.is_ok());
    event("offsets_committed", fields);
    match outcome {
        Err(error) if error.code() == Some(millstream_types::ErrorCode::FencedInstanceId) => Err(error),
        _ => Ok(()),
    }
}

fn named(partition: &TopicPartition) -> Value {
    json!({ "topic": partition.topic.as_str(), "partition": partition.partition.0 })
}
