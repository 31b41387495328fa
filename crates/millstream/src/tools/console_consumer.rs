//! `kafka-console-consumer`: records on standard output (`ConsoleConsumer`).

mod deserializer;
pub(super) mod formatter;

use std::{
    pin::pin,
    process::ExitCode,
    time::{Duration, Instant},
};

use millstream_client::{Consumer, ConsumerRecord};
use millstream_types::{Offset, PartitionId};

use self::formatter::{Formatter, Written};
use super::{
    cluster::{Cluster, block_on_beside_others},
    exit::{Exit, Outcome},
    interrupts::Interrupts,
    kafka_error,
    options::{BOOTSTRAP_SERVER, Flag, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
    wanted::{self, Start, Wanted},
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-console-consumer",
    summary: "Prints the records of topics.",
    flags: &[
        BOOTSTRAP_SERVER,
        Flag::new("topic", "The topic to read.").takes("TOPIC"),
        Flag::new("include", "A Java regular expression over topics, instead of --topic.").takes("REGEX"),
        Flag::new("partition", "Only this partition.").takes("NUMBER"),
        Flag::new("offset", "With --partition: a number, earliest or latest.").takes("OFFSET").default("latest"),
        Flag::new("from-beginning", "Begin with the oldest record instead of the next one, where the group has committed nothing."),
        Flag::new("max-messages", "Stop after this many records.").takes("COUNT"),
        Flag::new("timeout-ms", "Stop when nothing has come for so long.").takes("MS"),
        Flag::new(
            "group",
            "The consumer group to read as a member of; it goes on where the group has committed. Without, a group console-consumer-NNNNN that commits nothing.",
        )
        .takes("GROUP"),
        Flag::new(
            "formatter-property",
            "What is printed; may be repeated: print.timestamp, print.key, print.offset, print.partition, print.headers, print.epoch, print.value (true|false); key.separator, line.separator, headers.separator, null.literal; key.deserializer, value.deserializer, headers.deserializer.",
        )
        .takes("KEY=VALUE"),
        Flag::new("formatter-config", "A Java properties file of the same.").takes("FILE"),
        Flag::new("formatter", "The Java class that prints: Kafka's Default-, Logging- and NoOpMessageFormatter are built in.")
            .takes("CLASS")
            .default(formatter::DEFAULT),
        Flag::new("key-deserializer", "The Java class that reads keys; Kafka's own are built in.").takes("CLASS"),
        Flag::new("value-deserializer", "The Java class that reads values; Kafka's own are built in.").takes("CLASS"),
        Flag::new("property", "").takes("KEY=VALUE").hidden(),
        Flag::new("command-property", "A consumer's configuration key; may be repeated.").takes("KEY=VALUE"),
        Flag::new("command-config", "A Java properties file with the consumer's configuration.").takes("FILE"),
        Flag::new("consumer-property", "").takes("KEY=VALUE").hidden(),
        Flag::new("consumer.config", "").takes("FILE").hidden(),
        Flag::new("isolation-level", "read_committed leaves out what was aborted or is not committed yet.")
            .takes("LEVEL")
            .default("read_uncommitted"),
        Flag::new("skip-message-on-error", "Go on after a record that cannot be printed."),
        Flag::new("enable-systest-events", "Also tell when the tool has shut down."),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic orders --from-beginning",
        "--bootstrap-server localhost:9092 --topic orders --group billing",
        "--bootstrap-server localhost:9092 --include 'orders.*' --timeout-ms 5000",
        "--bootstrap-server localhost:9092 --topic orders --partition 0 --offset 42 --max-messages 1 --formatter-property print.key=true",
    ],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            let settings = Settings::of(given)?;
            let mut read = None;
            let outcome = block_on_beside_others(settings.consume(&mut read));
            if let Some(read) = read {
                output::say(&format!("Processed a total of {read} messages"));
            }
            if given.has("enable-systest-events") {
                output::line("shutdown_complete");
            }
            outcome
        },
    )
}

struct Settings {
    properties: Properties,
    wanted: Wanted,
    printer: Printer,
    timeout: Option<Duration>,
}

impl Settings {
    fn of(given: &Given) -> Outcome<Self> {
        if given.has("topic") == given.has("include") {
            return Err(Exit::usage(
                "Exactly one of the following arguments is required: [topic], [include]",
            ));
        }
        check_partition(given)?;
        given.require(&["bootstrap-server"])?;
        let properties = properties(given)?;
        let start = start(given)?;
        let timeout = given.number::<i64>("timeout-ms")?.and_then(|ms| u64::try_from(ms).ok());
        let formatter = Formatter::new(
            given.one("formatter")?.unwrap_or(formatter::DEFAULT),
            &formatter_properties(given)?,
        )?;
        Ok(Self {
            properties,
            wanted: wanted(given, start)?,
            printer: Printer {
                formatter,
                max_messages: max_messages(given)?,
                skip_errors: given.has("skip-message-on-error"),
            },
            timeout: timeout.map(Duration::from_millis),
        })
    }

    /// Counts what was taken, whether or not it could be printed; None as long as it never began.
    async fn consume(self, count: &mut Option<u64>) -> Outcome {
        let mut interrupts = Interrupts::new()?;
        // Nobody knows what a consumer that never started would have said.
        let logged = |exit: Exit| exit.map(|sentence| format!("ERROR {sentence}"));
        let cluster = Cluster::prepare(&self.properties, true).await.map_err(logged)?;
        let read = count.insert(0);
        if self.printer.max_messages == Some(0) {
            return Ok(());
        }
        let mut consumer = Consumer::new(cluster.client.clone(), cluster.consumer.clone());
        let outcome = match self.wanted.begin(&mut consumer) {
            Ok(()) => {
                let reading = Reading { cluster: &cluster, consumer: &mut consumer, read };
                reading.run(&self.printer, self.timeout, &mut interrupts).await
            }
            Err(error) => stopped(&error),
        };
        tokio::select! {
            closed = consumer.close() => {
                if let Err(error) = closed {
                    output::say(&format!("WARN offsets were not committed: {}", kafka_error::message(&error)));
                }
                outcome
            }
            // Whoever asks twice does not want to wait.
            exit = interrupts.next() => Err(exit),
        }
    }
}

/// Whatever keeps the consumer from going on is told of, and Kafka's tool ends with 0.
fn stopped(error: &millstream_client::Error) -> Outcome {
    output::say(&format!("ERROR {}", kafka_error::message(error)));
    Ok(())
}

struct Reading<'a> {
    cluster: &'a Cluster,
    consumer: &'a mut Consumer,
    read: &'a mut u64,
}

impl Reading<'_> {
    async fn run(self, printer: &Printer, timeout: Option<Duration>, interrupts: &mut Interrupts) -> Outcome {
        let mut trouble = pin!(self.cluster.tell_trouble());
        let mut is_told = false;
        let mut last = Instant::now();
        loop {
            let wait = timeout.map_or(Duration::MAX, |limit| limit.saturating_sub(last.elapsed()));
            let polled = tokio::select! {
                polled = self.consumer.poll(wait) => polled,
                exit = interrupts.next() => return Err(exit),
                () = &mut trouble, if !is_told => {
                    is_told = true;
                    continue;
                }
            };
            let records = match polled {
                Ok(records) => records,
                Err(error) => return stopped(&error),
            };
            if !records.is_empty() {
                last = Instant::now();
            }
            if printer.print(self.consumer, &records, self.read)? == After::End
                || timeout.is_some_and(|limit| last.elapsed() >= limit)
            {
                return Ok(());
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    GoOn,
    End,
}

struct Printer {
    formatter: Formatter,
    max_messages: Option<u64>,
    skip_errors: bool,
}

impl Printer {
    /// Prints records that the consumer has just returned. Those that were not printed are not committed
    /// either: the consumer is set back to the first of them.
    fn print(&self, consumer: &mut Consumer, records: &[ConsumerRecord], read: &mut u64) -> Outcome<After> {
        let mut left = records.iter();
        let outcome = self.print_each(&mut left, read);
        let is_heard = output::flush();
        // Of records that nobody may have seen, none counts as seen.
        let unprinted = if is_heard { left.next() } else { records.first() };
        if let Some(first) = unprinted {
            consumer.seek(first.partition.clone(), first.offset);
        }
        if !is_heard {
            output::say("Unable to write to standard out, closing consumer.");
            return Ok(After::End);
        }
        outcome
    }

    fn print_each<'a>(
        &self,
        left: &mut impl Iterator<Item = &'a ConsumerRecord>,
        read: &mut u64,
    ) -> Outcome<After> {
        while self.max_messages.is_none_or(|max| *read < max) {
            let Some(record) = left.next() else { return Ok(After::GoOn) };
            *read += 1;
            match self.formatter.write(record) {
                Ok(Written::Yes) => {}
                Ok(Written::Gone) => return Ok(After::End),
                Err(reason) if self.skip_errors => {
                    output::say(&format!("ERROR a record was skipped: {reason}"))
                }
                Err(reason) => return Err(Exit::failure(format!("ERROR {reason}"))),
            }
        }
        Ok(After::End)
    }
}

/// The consumer's, in which its group is settled, and where to begin without a committed offset.
fn properties(given: &Given) -> Outcome<Properties> {
    let property = either(given, "command-property", "consumer-property")?;
    let config = either(given, "command-config", "consumer.config")?;
    let mut properties = Properties::read_if_given(given.one(config)?)?;
    properties.extend(Properties::parse(given.all(property)));
    let group = group(given, &properties)?;
    if let Some(reset) = properties.get("auto.offset.reset")
        && given.has("from-beginning")
        && reset != "earliest"
    {
        return Err(Exit::failure(format!(
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
        )));
    }
    let reset = if given.has("from-beginning") { "earliest" } else { "latest" };
    properties.set_default("auto.offset.reset", reset);
    properties.set("bootstrap.servers", given.one("bootstrap-server")?.unwrap_or_default());
    properties.set_default("client.id", "console-consumer");
    match given.all("isolation-level").last() {
        Some(level) => properties.set("isolation.level", level),
        None => properties.set_default("isolation.level", "read_uncommitted"),
    }
    if group.is_none() {
        // Nobody comes back to it.
        properties.set_default("enable.auto.commit", "false");
    }
    properties.set("group.id", group.unwrap_or_else(|| wanted::random_group("console-consumer")));
    Ok(properties)
}

fn formatter_properties(given: &Given) -> Outcome<Properties> {
    let print = either(given, "formatter-property", "property")?;
    let mut printing = Properties::read_if_given(given.one("formatter-config")?)?;
    for (option, key) in
        [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")]
    {
        if let Some(class) = given.one(option)? {
            printing.set(key, class);
        }
    }
    printing.extend(Properties::parse(given.all(print)));
    Ok(printing)
}

/// The spelling that was used; the older one is told of.
pub(super) fn either(given: &Given, new: &'static str, old: &'static str) -> Outcome<&'static str> {
    if given.has(new) && given.has(old) {
        return Err(Exit::failure(format!("Options --{old} and --{new} cannot be specified together.")));
    }
    let used = given.either(new, old)?;
    if used == old {
        output::line(&format!(
            "Option --{old} is deprecated and will be removed in a future version. Use --{new} instead."
        ));
    }
    Ok(used)
}

/// No limit, or one below zero, is none. Kafka's tool looks at it last, and reports how far it has come.
fn max_messages(given: &Given) -> Outcome<Option<u64>> {
    let last = |exit: Exit| exit.map(|reason| format!("Processed a total of 0 messages\n{reason}"));
    let count = given.number::<i32>("max-messages").map_err(last)?;
    Ok(count.and_then(|count| u64::try_from(count).ok()))
}

fn check_partition(given: &Given) -> Outcome {
    if given.number::<i32>("partition")?.is_none() {
        return match given.has("offset") {
            true => Err(Exit::usage("The partition is required when offset is specified.")),
            false => Ok(()),
        };
    }
    if !given.has("topic") {
        return Err(Exit::usage("The topic is required when partition is specified."));
    }
    if given.has("from-beginning") && given.has("offset") {
        return Err(Exit::usage("Options from-beginning and offset cannot be specified together."));
    }
    Ok(())
}

/// Where in a partition to begin.
fn start(given: &Given) -> Outcome<Start> {
    if given.has("from-beginning") {
        return Ok(Start::Earliest);
    }
    let text = given.one("offset")?.unwrap_or("latest");
    match text.to_lowercase().as_str() {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        number => match number.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(Start::At(Offset(offset))),
            _ => Err(Exit::usage(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
            ))),
        },
    }
}

/// The group, if one was named; it may be named twice, but not differently.
fn group(given: &Given, properties: &Properties) -> Outcome<Option<String>> {
    let named = match (given.one("group")?, properties.get("group.id")) {
        (Some(one), Some(other)) if one != other => {
            return Err(Exit::usage(format!(
                "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: '{one}', '{other}'"
            )));
        }
        (one, other) => one.or(other).map(str::to_owned),
    };
    if named.is_some() && given.has("partition") {
        return Err(Exit::usage("Options group and partition cannot be specified together."));
    }
    Ok(named)
}

fn wanted(given: &Given, start: Start) -> Outcome<Wanted> {
    if let Some(list) = given.one("include")? {
        return wanted::pattern(list);
    }
    let topic = given.one("topic")?.unwrap_or_default().to_owned();
    Ok(match given.number::<i32>("partition")? {
        Some(number) => Wanted::Partition(topic, PartitionId(number), start),
        None => Wanted::Topic(topic),
    })
}
