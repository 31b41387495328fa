//! `millstream produce`: each line of standard input, or of files, becomes a record.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::PathBuf,
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

use super::{
    connect::{ConnectArguments, interrupted},
    envelope,
    failure::{Failure, is_not_found, usage},
    key_value::KeyValue,
    output::{counted, say, write},
    topic::{find, parse_name},
};

/// Lines read ahead of the producer.
const LINES_AHEAD: usize = 1024;
/// Records whose fate is not known yet.
const DELIVERIES_OPEN: usize = 20_000;

/// How long a broker may take to create a topic that was asked for.
const AUTO_CREATE_WAIT: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The topic; one that does not exist is made if the broker has auto.create.topics.enable
    name: String,
    /// Files whose lines are the records [default: standard input]
    files: Vec<PathBuf>,
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
    /// What ends a record [default: a line's end, of either kind]
    #[arg(short = 'D', long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// A key or value that is this text is null: a tombstone
    #[arg(short = 'Z', long, value_name = "TEXT")]
    null: Option<String>,
    /// Lines are JSON objects {"key", "value", "headers", "partition", "timestamp"}, as `cat --json` prints them, and
    /// `cat -J`, and kcat
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

pub(super) fn codec(name: &str) -> Result<Compression> {
    Compression::from_name(name)
        .ok_or_else(|| anyhow!("expected none, gzip, snappy, lz4 or zstd, found {name:?}"))
}

fn delimiter(text: &str) -> Result<u8> {
    match text {
        "\\n" => Ok(b'\n'),
        "\\t" => Ok(b'\t'),
        "\\0" => Ok(0),
        text if text.len() == 1 => Ok(text.as_bytes()[0]),
        _ => Err(anyhow!("expected one character, \\n, \\t or \\0, found {text:?}")),
    }
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    arguments.connect.clone().run_to_its_end(produce(arguments))
}

async fn produce(arguments: Arguments) -> Result<()> {
    if arguments.key_separator.as_deref() == Some("") {
        return Err(usage("--key-separator: between key and value there must be something"));
    }
    let topic = parse_name(&arguments.name)?;
    let inputs = inputs(&arguments.files)?;
    let mut connected = arguments.connect.connect_with_auto_create().await?;
    find_or_auto_create(&connected.client, &topic).await?;
    let config = &mut connected.producer;
    config.compression_type = arguments.compression.unwrap_or(config.compression_type);
    if let Some(acks) = arguments.acks {
        config.acks = acks;
        config.enable_idempotence &= acks == Acks::All;
    }
    let producer = Producer::new(connected.client, connected.producer)?;
    if arguments.files.is_empty() && io::stdin().is_terminal() {
        say("one record a line; ctrl-D ends");
    }
    let mut lines = read_lines(inputs, arguments.delimiter);
    let mut sent = Sent { report: arguments.report, open: VecDeque::new(), written: 0 };
    let outcome = tokio::select! {
        outcome = send_all(&arguments, &topic, &producer, &mut lines, &mut sent) => outcome,
        () = interrupted() => Err(Failure::Interrupted.into()),
    };
    // What was handed over is on its way, whatever came after it. Who interrupts twice does not want to wait.
    let settled = tokio::select! {
        settled = sent.settle_all(&producer) => settled,
        () = interrupted() => Err(Failure::Interrupted.into()),
    };
    say(&format!("{} written to {topic}", counted(sent.written, "record")));
    settled.and(outcome)
}

async fn send_all(
    arguments: &Arguments,
    topic: &TopicName,
    producer: &Producer,
    lines: &mut mpsc::Receiver<Line>,
    sent: &mut Sent,
) -> Result<()> {
    while let Some(Line { place, text }) = lines.recv().await {
        let text = text.with_context(|| place.file.clone())?;
        let record = record(arguments, topic, &text).with_context(|| place.to_string())?;
        let delivery = producer.send(record).await.with_context(|| place.to_string())?;
        sent.open.push_back((place, delivery));
        if sent.open.len() >= DELIVERIES_OPEN {
            sent.settle_first().await?;
        }
    }
    Ok(())
}

/// Lets the broker make a topic that does not exist. One that makes none never says so: it goes on
/// answering that the topic is unknown.
async fn find_or_auto_create(client: &Client, topic: &TopicName) -> Result<()> {
    match find(&client.admin(), topic).await {
        Err(error) if is_not_found(&error) => match timeout(AUTO_CREATE_WAIT, client.topic(topic)).await {
            Ok(Ok(_)) => {
                say(&format!("topic {topic} did not exist; the broker made it"));
                Ok(())
            }
            _ => Err(error),
        },
        found => found.map(|_| ()),
    }
}

/// Where a line came from.
#[derive(Clone, Debug)]
struct Place {
    file: String,
    line: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.file.as_str() {
            STDIN => write!(f, "line {}", self.line),
            file => write!(f, "{file}, line {}", self.line),
        }
    }
}

struct Line {
    place: Place,
    text: io::Result<Vec<u8>>,
}

const STDIN: &str = "standard input";

type Input = (String, Box<dyn BufRead + Send>);

/// Opens everything before anything is written.
fn inputs(files: &[PathBuf]) -> Result<Vec<Input>> {
    if files.is_empty() {
        return Ok(vec![(STDIN.to_owned(), Box::new(BufReader::new(io::stdin())))]);
    }
    let open = |path: &PathBuf| {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok((name, Box::new(BufReader::new(file)) as Box<dyn BufRead + Send>)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Failure::NotFound(format!("{name} does not exist")).into())
            }
            Err(error) => Err(anyhow!(error).context(name)),
        }
    };
    files.iter().map(open).collect()
}

/// The inputs, line by line without line ends, read by a thread of its own.
fn read_lines(inputs: Vec<Input>, delimiter: Option<u8>) -> mpsc::Receiver<Line> {
    let (lines, received) = mpsc::channel(LINES_AHEAD);
    thread::spawn(move || {
        for (file, input) in inputs {
            for (line, text) in (1..).zip(input.split(delimiter.unwrap_or(b'\n'))) {
                let text = text.map(|mut text| {
                    if delimiter.is_none() {
                        text.pop_if(|last| *last == b'\r');
                    }
                    text
                });
                let is_broken = text.is_err();
                let line = Line { place: Place { file: file.clone(), line }, text };
                if lines.blocking_send(line).is_err() || is_broken {
                    return;
                }
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
    open: VecDeque<(Place, Delivery)>,
    written: u64,
}

impl Sent {
    async fn settle_first(&mut self) -> Result<()> {
        // It stays in the row while it is waited for: the wait may be cut short.
        let Some((_, delivery)) = self.open.front_mut() else { return Ok(()) };
        let fate = delivery.await;
        let Some((place, _)) = self.open.pop_front() else { return Ok(()) };
        let written =
            fate.with_context(|| format!("{place} (the {} before it were written)", self.written))?;
        self.written += 1;
        if self.report {
            let report = json!({
                "line": place.line,
                "topic": written.partition.topic.as_str(),
                "partition": written.partition.partition.0,
                "offset": written.offset.map(|offset| offset.0),
                "timestamp": written.timestamp.0,
            });
            write(format!("{report}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Of several failures the first.
    async fn settle_all(&mut self, producer: &Producer) -> Result<()> {
        producer.flush().await?;
        let mut outcome = Ok(());
        while !self.open.is_empty() {
            outcome = outcome.and(self.settle_first().await);
        }
        outcome
    }
}
