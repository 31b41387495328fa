//! `millstream topic produce`: each line of standard input becomes a record.

use std::{
    collections::VecDeque,
    io::{self, BufRead, IsTerminal},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use millstream_client::{Acks, Client, Delivery, Producer, ProducerRecord};
use millstream_record::{Compression, Header};
use millstream_types::{PartitionId, TopicName};
use serde_json::json;
use tokio::{sync::mpsc, time::timeout};

use super::{KeyValue, envelope, find, parse_name};
use crate::command::{
    connect::ConnectArguments,
    failure::NotFound,
    output::{counted, write},
};

/// Lines read ahead of the producer.
const LINES_AHEAD: usize = 1024;
/// Records whose fate is not known yet.
const DELIVERIES_OPEN: usize = 20_000;

/// How long a broker may take to create a topic that was asked for.
const AUTO_CREATE_WAIT: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The topic; one that does not exist is made if the broker has auto.create.topics.enable
    name: String,
    /// What stands between key and value on a line [default: lines have no key]
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(short, long, conflicts_with_all = ["key_separator", "json"])]
    key: Option<String>,
    /// A header of every record; repeat for more
    #[arg(short = 'H', long, value_name = "NAME=VALUE")]
    header: Vec<KeyValue>,
    /// The partition of every record [default: by key as Java does, else spread]
    #[arg(short, long)]
    partition: Option<i32>,
    /// A key or value that is this text is null: a tombstone
    #[arg(short = 'Z', long, value_name = "TEXT")]
    null: Option<String>,
    /// Lines are JSON objects {"key", "value", "headers", "partition", "timestamp"}, as `topic cat --json` prints them
    #[arg(short, long, conflicts_with_all = ["key_separator", "null"])]
    json: bool,
    /// none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, value_name = "CODEC", value_parser = codec)]
    compression: Option<Compression>,
    /// all, 1 or 0
    #[arg(long)]
    acks: Option<Acks>,
    /// Print where each record was written, a JSON object a line
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

fn codec(name: &str) -> Result<Compression> {
    Compression::from_name(name)
        .ok_or_else(|| anyhow!("expected none, gzip, snappy, lz4 or zstd, found {name:?}"))
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let topic = parse_name(&arguments.name)?;
    let mut connected = arguments.connect.connect_with_auto_create().await?;
    find_or_auto_create(&connected.client, &topic).await?;
    let config = &mut connected.producer;
    config.compression_type = arguments.compression.unwrap_or(config.compression_type);
    if let Some(acks) = arguments.acks {
        config.acks = acks;
        config.enable_idempotence &= acks == Acks::All;
    }
    let producer = Producer::new(connected.client, connected.producer)?;
    if io::stdin().is_terminal() {
        eprintln!("one record a line; ctrl-D ends");
    }
    let mut lines = read_lines();
    let mut sent = Sent { report: arguments.report, open: VecDeque::new(), written: 0 };
    let mut number = 0u64;
    while let Some(line) = lines.recv().await {
        number += 1;
        let line = line.context("standard input")?;
        let record = record(&arguments, &topic, &line).with_context(|| format!("line {number}"))?;
        let delivery = producer.send(record).await.with_context(|| format!("line {number}"))?;
        sent.open.push_back((number, delivery));
        if sent.open.len() >= DELIVERIES_OPEN {
            sent.settle_first().await?;
        }
    }
    producer.flush().await?;
    while !sent.open.is_empty() {
        sent.settle_first().await?;
    }
    eprintln!("{} written to {topic}", counted(sent.written, "record"));
    Ok(())
}

/// Lets the broker make a topic that does not exist. One that makes none never says so: it goes on
/// answering that the topic is unknown.
async fn find_or_auto_create(client: &Client, topic: &TopicName) -> Result<()> {
    match find(&client.admin(), topic).await {
        Err(error) if error.is::<NotFound>() => match timeout(AUTO_CREATE_WAIT, client.topic(topic)).await {
            Ok(Ok(_)) => {
                eprintln!("topic {topic} did not exist; the broker made it");
                Ok(())
            }
            _ => Err(error),
        },
        found => found.map(|_| ()),
    }
}

/// Standard input, line by line without line ends, read by a thread of its own.
fn read_lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (lines, received) = mpsc::channel(LINES_AHEAD);
    thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let line = line.map(|mut line| {
                line.pop_if(|last| *last == b'\r');
                line
            });
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    received
}

fn record(arguments: &Arguments, topic: &TopicName, line: &[u8]) -> Result<ProducerRecord> {
    let mut record = if arguments.json {
        envelope::from_json(std::str::from_utf8(line)?, topic)?
    } else {
        let (key, value) = match &arguments.key_separator {
            Some(separator) => split(line, separator).map(|(key, value)| (Some(key), value))?,
            None => (arguments.key.as_ref().map(String::as_bytes), line),
        };
        let or_null = |text: &[u8]| {
            let is_null = arguments.null.as_ref().is_some_and(|null| null.as_bytes() == text);
            (!is_null).then(|| Bytes::copy_from_slice(text))
        };
        ProducerRecord::new(topic.clone(), key.and_then(or_null), or_null(value))
    };
    record.partition = arguments.partition.map(PartitionId).or(record.partition);
    let header = |pair: &KeyValue| Header::new(pair.key.clone(), Some(Bytes::from(pair.value.clone())));
    record.headers.extend(arguments.header.iter().map(header));
    Ok(record)
}

fn split<'a>(line: &'a [u8], separator: &str) -> Result<(&'a [u8], &'a [u8])> {
    let at = line.windows(separator.len().max(1)).position(|window| window == separator.as_bytes());
    let at = at.ok_or_else(|| anyhow!("no key separator {separator:?} in it"))?;
    Ok((&line[..at], &line[at + separator.len()..]))
}

/// Records on their way, in the order of their lines.
struct Sent {
    report: bool,
    open: VecDeque<(u64, Delivery)>,
    written: u64,
}

impl Sent {
    async fn settle_first(&mut self) -> Result<()> {
        let Some((line, delivery)) = self.open.pop_front() else { return Ok(()) };
        let written = delivery
            .await
            .with_context(|| format!("line {line} (the {} before it were written)", self.written))?;
        self.written += 1;
        if self.report {
            let place = json!({
                "line": line,
                "topic": written.partition.topic.as_str(),
                "partition": written.partition.partition.0,
                "offset": written.offset.map(|offset| offset.0),
                "timestamp": written.timestamp.0,
            });
            write(format!("{place}\n").as_bytes())?;
        }
        Ok(())
    }
}
