//! `kafka-console-consumer`: records on standard output (`ConsoleConsumer`).

mod deserializer;
pub(super) mod formatter;
pub(super) mod source;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use millstream_types::{Offset, PartitionId};

use self::{
    formatter::{Formatter, Written},
    source::{Source, Start, Wanted},
};
use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    options::{BOOTSTRAP_SERVER, Flag, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
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
        Flag::new("from-beginning", "Begin with the oldest record instead of the next one."),
        Flag::new("max-messages", "Stop after this many records.").takes("COUNT"),
        Flag::new("timeout-ms", "Stop when nothing has come for so long.").takes("MS"),
        Flag::new("group", "The consumer group to read as.").takes("GROUP"),
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
            let outcome = block_on(settings.consume(&mut read));
            if !output::flush() {
                output::say("Unable to write to standard out, closing consumer.");
            }
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
    start: Start,
    formatter: Formatter,
    max_messages: Option<u64>,
    timeout: Option<Duration>,
    skip_errors: bool,
}

impl Settings {
    fn of(given: &Given) -> Outcome<Self> {
        if given.has("topic") == given.has("include") {
            return Err(Exit::usage(
                "Exactly one of the following arguments is required: [topic], [include]",
            ));
        }
        given.require(&["bootstrap-server"])?;
        let start = start(given)?;
        let property = either(given, "command-property", "consumer-property")?;
        let config = either(given, "command-config", "consumer.config")?;
        let print = either(given, "formatter-property", "property")?;
        let mut properties = Properties::read_if_given(given.one(config)?)?;
        properties.extend(Properties::parse(given.all(property)));
        let group = group(given, &properties)?;
        properties.set("bootstrap.servers", given.one("bootstrap-server")?.unwrap_or_default());
        properties.set("isolation.level", given.one("isolation-level")?.unwrap_or_default());
        properties.set_default("client.id", "console-consumer");
        let start = with_reset(given, start, &mut properties)?;
        let mut printing = Properties::read_if_given(given.one("formatter-config")?)?;
        printing.extend(Properties::parse(given.all(print)));
        for (option, key) in
            [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")]
        {
            if let Some(class) = given.one(option)? {
                printing.set(key, class);
            }
        }
        let formatter = Formatter::new(given.one("formatter")?.unwrap_or(formatter::DEFAULT), &printing)?;
        // No limit, or one below zero, is none.
        let max_messages = given.number::<i32>("max-messages")?.and_then(|count| u64::try_from(count).ok());
        let timeout = given.number::<i64>("timeout-ms")?.and_then(|ms| u64::try_from(ms).ok());
        if let Some(group) = group {
            return Err(Exit::failure(format!(
                "reading as a member of group {group} is not supported by this tool yet; without --group it reads all partitions itself"
            )));
        }
        Ok(Self {
            properties,
            wanted: Wanted::of(given)?,
            start,
            formatter,
            max_messages,
            timeout: timeout.map(Duration::from_millis),
            skip_errors: given.has("skip-message-on-error"),
        })
    }

    /// Counts what was taken, whether or not it could be printed; None as long as it never began.
    async fn consume(&self, count: &mut Option<u64>) -> Outcome {
        // Nobody knows what a consumer that never started would have said.
        let logged = |exit: Exit| exit.map(|sentence| format!("ERROR {sentence}"));
        let cluster = Cluster::prepare(&self.properties, true).await.map_err(logged)?;
        let read = count.insert(0);
        if self.max_messages == Some(0) {
            return Ok(());
        }
        let mut source = Source::new(&cluster, &self.wanted, self.start);
        let mut last = Instant::now();
        loop {
            let wait = self.timeout.map_or(Duration::from_secs(1), |limit| {
                limit.saturating_sub(last.elapsed()).min(Duration::from_secs(1))
            });
            let records = tokio::select! {
                records = source.poll(wait) => records.map_err(logged)?,
                _ = tokio::signal::ctrl_c() => return Err(Exit::silent(130)),
            };
            if !records.is_empty() {
                last = Instant::now();
            }
            for record in &records {
                *read += 1;
                match self.formatter.write(record) {
                    Ok(Written::Yes) => {}
                    Ok(Written::Gone) => return Ok(()),
                    Err(reason) if self.skip_errors => {
                        output::say(&format!("ERROR a record was skipped: {reason}"))
                    }
                    Err(reason) => return Err(Exit::failure(format!("ERROR {reason}"))),
                }
                if self.max_messages.is_some_and(|max| *read >= max) {
                    return Ok(());
                }
            }
            if !output::flush() {
                return Ok(());
            }
            if self.timeout.is_some_and(|limit| last.elapsed() >= limit) {
                return Ok(());
            }
        }
    }
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

fn start(given: &Given) -> Outcome<Start> {
    if given.has("partition") {
        given.number::<i32>("partition")?;
        if !given.has("topic") {
            return Err(Exit::usage("The topic is required when partition is specified."));
        }
    }
    if given.has("offset") && !given.has("partition") {
        return Err(Exit::usage("The partition is required when offset is specified."));
    }
    if given.has("from-beginning") && given.has("offset") {
        return Err(Exit::usage("Options from-beginning and offset cannot be specified together."));
    }
    if given.has("group") && given.has("partition") {
        return Err(Exit::usage("Options group and partition cannot be specified together."));
    }
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
    let option = given.one("group")?;
    match (option, properties.get("group.id")) {
        (Some(one), Some(other)) if one != other => Err(Exit::usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: '{one}', '{other}'"
        ))),
        (one, other) => Ok(one.or(other).filter(|name| !name.is_empty()).map(str::to_owned)),
    }
}

/// `auto.offset.reset` says the same as `--from-beginning`, or it is a contradiction.
fn with_reset(given: &Given, start: Start, properties: &mut Properties) -> Outcome<Start> {
    let Some(reset) = properties.get("auto.offset.reset").map(str::to_owned) else { return Ok(start) };
    if given.has("from-beginning") && reset != "earliest" {
        return Err(Exit::failure(format!(
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
        )));
    }
    match reset.as_str() {
        "earliest" if !given.has("partition") => Ok(Start::Earliest),
        "earliest" | "latest" | "none" => Ok(start),
        _ => Err(Exit::failure(format!(
            "ERROR Invalid value {reset} for configuration auto.offset.reset: it is none of earliest, latest and none"
        ))),
    }
}

impl Wanted {
    fn of(given: &Given) -> Outcome<Self> {
        if let Some(list) = given.one("include")? {
            return Ok(Self::Pattern(
                super::pattern::Pattern::new(list)
                    .ok_or_else(|| Exit::failure(format!("ERROR {list} is not a regular expression")))?,
            ));
        }
        let topic = given.one("topic")?.unwrap_or_default().to_owned();
        Ok(match given.number::<i32>("partition")? {
            Some(number) => Self::Partition(topic, PartitionId(number)),
            None => Self::Topic(topic),
        })
    }
}
