//! `kafka-console-producer`: a record for each line of standard input (`ConsoleProducer`).

mod lines;

use std::{
    collections::VecDeque,
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
};

use millstream_client::{Delivery, Error, Producer};
use tokio::sync::mpsc;

use self::lines::LineReader;
use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    interrupts::Interrupts,
    kafka_error,
    options::{BOOTSTRAP_SERVER, Flag, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-console-producer",
    summary: "Writes each line of standard input to a topic as a record.",
    flags: &[
        BOOTSTRAP_SERVER,
        Flag::new("topic", "Where the records go.").takes("TOPIC"),
        Flag::new("command-property", "A producer's configuration key; may be repeated.").takes("KEY=VALUE"),
        Flag::new("command-config", "A Java properties file with the producer's configuration.").takes("FILE"),
        Flag::new("producer-property", "").takes("KEY=VALUE").hidden(),
        Flag::new("producer.config", "").takes("FILE").hidden(),
        Flag::new(
            "reader-property",
            "How lines are read; may be repeated: parse.key, key.separator (tab), parse.headers, headers.delimiter (tab), headers.separator (,), headers.key.separator (:), ignore.error, null.marker.",
        )
        .takes("KEY=VALUE"),
        Flag::new("reader-config", "A Java properties file of the same.").takes("FILE"),
        Flag::new("property", "").takes("KEY=VALUE").hidden(),
        Flag::new("line-reader", "The Java class that reads lines; only Kafka's own is built in.")
            .takes("CLASS")
            .default(lines::CLASS),
        Flag::new("sync", "Wait for each record before the next line is read."),
        Flag::new("compression-codec", "none, gzip, snappy, lz4 or zstd; gzip if no codec is named.").may_take("CODEC"),
        Flag::new("batch-size", "Bytes of a batch.").takes("BYTES").default("16384"),
        Flag::new("max-partition-memory-bytes", "").takes("BYTES").default("16384").hidden(),
        Flag::new("message-send-max-retries", "How often a failed batch is sent again.").takes("COUNT").default("3"),
        Flag::new("retry-backoff-ms", "The pause before that.").takes("MS").default("100"),
        Flag::new("timeout", "How long a batch waits for more lines.").takes("MS").default("1000"),
        Flag::new("request-required-acks", "0, 1 or all.").takes("ACKS").default("-1"),
        Flag::new("request-timeout-ms", "How long the broker has to answer.").takes("MS").default("1500"),
        Flag::new("metadata-expiry-ms", "How old what is known of the cluster may become.").takes("MS").default("300000"),
        Flag::new("max-block-ms", "How long a line may wait for room or for the topic.").takes("MS").default("60000"),
        Flag::new("max-memory-bytes", "Bytes of records on their way.").takes("BYTES").default("33554432"),
        Flag::new("socket-buffer-size", "The socket's send buffer.").takes("BYTES").default("102400"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic orders",
        "--bootstrap-server localhost:9092 --topic orders --reader-property parse.key=true --reader-property key.separator=:",
    ],
};

/// Lines read ahead of the producer.
const LINES_MAX: usize = 1024;

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            given.require(&["topic"])?;
            block_on(act(given))
        },
    )
}

async fn act(given: &Given) -> Outcome {
    let (properties, reader) = settings(given)?;
    let cluster = Cluster::prepare(&properties, true).await.map_err(|exit| {
        exit.map(|reason| {
            format!("org.apache.kafka.common.KafkaException: Failed to construct kafka producer\n{reason}")
        })
    })?;
    let mut interrupts = Interrupts::new()?;
    let producer =
        Producer::new(cluster.client.clone(), cluster.producer.clone()).map_err(config_exception)?;
    let mut sending = Sending {
        topic: given.one("topic")?.unwrap_or_default().to_owned(),
        reader,
        producer,
        sync: given.has("sync"),
        number: 0,
        under_way: VecDeque::new(),
    };
    let mut lines = read_lines();
    let outcome = tokio::select! {
        outcome = sending.run(&mut lines) => outcome,
        exit = interrupts.next() => Err(exit),
    };
    // What was read before is sent all the same. Whoever interrupts twice does not want to wait.
    tokio::select! {
        () = sending.finish() => outcome,
        exit = interrupts.next() => Err(exit),
    }
}

struct Sending {
    topic: String,
    reader: LineReader,
    producer: Producer,
    sync: bool,
    /// Of the line read last, from 1 on.
    number: u64,
    /// Lines whose fate is not known yet, in order.
    under_way: VecDeque<(u64, Delivery)>,
}

impl Sending {
    /// Up to the end of the input, or a line that is no record.
    async fn run(&mut self, lines: &mut mpsc::Receiver<Vec<u8>>) -> Outcome {
        while let Some(line) = lines.recv().await {
            self.number += 1;
            let record = self.reader.record(&self.topic, &line, self.number)?;
            match self.producer.send(record).await {
                Ok(delivery) => self.under_way.push_back((self.number, delivery)),
                // `max.block.ms` is over.
                Err(Error::Timeout { limit, .. }) => say_failed(
                    self.number,
                    &format!(
                        "org.apache.kafka.common.errors.TimeoutException: Topic {} not present in metadata after {} ms.",
                        self.topic,
                        limit.as_millis()
                    ),
                ),
                Err(error) => say_failed(self.number, &kafka_error::exception(&error)),
            }
            self.settle(if self.sync { 0 } else { LINES_MAX }).await;
        }
        Ok(())
    }

    /// Waits for the oldest records until no more than `left` are under way. One that was not written is
    /// told of, and no reason to stop: Kafka's tool ends with 0 even so.
    async fn settle(&mut self, left: usize) {
        while self.under_way.len() > left {
            let Some((number, delivery)) = self.under_way.front_mut() else { return };
            if let Err(error) = delivery.await {
                say_failed(*number, &kafka_error::exception(&error));
            }
            self.under_way.pop_front();
        }
    }

    async fn finish(&mut self) {
        // Whether it went well the records know.
        drop(self.producer.flush().await);
        self.settle(0).await;
    }
}

fn say_failed(number: u64, reason: &str) {
    output::say(&format!("ERROR line {number} was not written: {reason}"));
}

fn config_exception(error: Error) -> Exit {
    Exit::failure(format!("org.apache.kafka.common.config.ConfigException: {error}"))
}

/// The producer's properties, and the reader of lines.
fn settings(given: &Given) -> Outcome<(Properties, LineReader)> {
    let property = given.either("command-property", "producer-property")?;
    let config = given.either("command-config", "producer.config")?;
    let read = given.either("reader-property", "property")?;
    for (old, new) in [
        ("producer-property", "command-property"),
        ("producer.config", "command-config"),
        ("property", "reader-property"),
    ] {
        if given.has(old) {
            output::line(&format!(
                "Warning: --{old} is deprecated and will be removed in a future version. Use --{new} instead."
            ));
        }
    }
    let bootstrap = given.one("bootstrap-server")?;
    let is_address = |one: &str| {
        one.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    match bootstrap {
        None => return Err(Exit::usage("Error while validating the bootstrap address")),
        Some(list) if !list.split(',').all(is_address) => {
            return Err(Exit::usage("Please provide valid host:port like host1:9091,host2:9092\n "));
        }
        Some(_) => {}
    }
    let with_class = |class: &'static str| move |exit: Exit| exit.map(|reason| format!("{class}: {reason}"));
    let no_file = with_class("java.nio.file.NoSuchFileException");
    let mut properties = Properties::read_if_given(given.one(config)?).map_err(no_file)?;
    properties.extend(Properties::parse(given.all(property)));
    properties.set("bootstrap.servers", bootstrap.unwrap_or_default());
    add_options(given, &mut properties)?;
    properties.configure().map_err(with_class("org.apache.kafka.common.config.ConfigException"))?;
    let class = given.one("line-reader")?.unwrap_or(lines::CLASS);
    if class != lines::CLASS {
        return Err(Exit::failure(format!(
            "java.lang.ClassNotFoundException: {class}\nno Java classes can be loaded; built in is {}",
            lines::CLASS
        )));
    }
    let mut reader = Properties::read_if_given(given.one("reader-config")?).map_err(no_file)?;
    reader.extend(Properties::parse(given.all(read)));
    Ok((properties, LineReader::new(&reader)?))
}

/// Options of the command line have the last word where they are given, and the first otherwise.
fn add_options(given: &Given, properties: &mut Properties) -> Outcome {
    let mut settle = |option: &'static str, key: &str, value: Option<String>| {
        let Some(value) = value else { return };
        if given.has(option) { properties.set(key, value) } else { properties.set_default(key, value) }
    };
    let codec = given.has("compression-codec").then(|| given.last("compression-codec").unwrap_or("gzip"));
    settle("compression-codec", "compression.type", Some(codec.unwrap_or("none").to_owned()));
    for (option, key) in [
        ("batch-size", "batch.size"),
        ("message-send-max-retries", "retries"),
        ("request-timeout-ms", "request.timeout.ms"),
        ("socket-buffer-size", "send.buffer.bytes"),
    ] {
        settle(option, key, given.number::<i32>(option)?.map(|number| number.to_string()));
    }
    for (option, key) in [
        ("retry-backoff-ms", "retry.backoff.ms"),
        ("timeout", "linger.ms"),
        ("metadata-expiry-ms", "metadata.max.age.ms"),
        ("max-block-ms", "max.block.ms"),
        ("max-memory-bytes", "buffer.memory"),
    ] {
        settle(option, key, given.number::<i64>(option)?.map(|number| number.to_string()));
    }
    settle("request-required-acks", "acks", given.one("request-required-acks")?.map(str::to_owned));
    let acks = properties.get("acks").unwrap_or("-1");
    if acks != "-1" && acks != "all" {
        properties.set_default("enable.idempotence", "false");
    }
    properties.set_default("client.id", "console-producer");
    Ok(())
}

/// Lines of standard input, read by a thread of their own since reading them cannot be interrupted. With a
/// terminal, a prompt for each.
fn read_lines() -> mpsc::Receiver<Vec<u8>> {
    let (lines, received) = mpsc::channel(LINES_MAX);
    let prompts = io::stdin().is_terminal();
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            if prompts {
                print_prompt();
            }
            let mut line = Vec::new();
            match input.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if line.last() == Some(&b'\n') {
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
            }
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    received
}

fn print_prompt() {
    let mut out = io::stdout().lock();
    // Whoever does not see the prompt can type all the same.
    drop(out.write_all(b">").and_then(|()| out.flush()));
}
