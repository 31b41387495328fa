//! `kafka-console-share-consumer`: records of a topic that a share group deals out, each acknowledged when it
//! is printed (`ConsoleShareConsumer`, KIP-932).

mod member;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use self::member::{Acknowledgement, Delivered, Member};
use super::{
    cluster::{Cluster, block_on},
    console_consumer::{
        either,
        formatter::{DEFAULT, Formatter, Written},
    },
    exit::{Exit, Outcome},
    options::{BOOTSTRAP_SERVER, Flag, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-console-share-consumer",
    summary: "Prints the records of a topic that a share group deals out to this member.",
    flags: &[
        BOOTSTRAP_SERVER,
        Flag::new("topic", "The topic to read.").takes("TOPIC"),
        Flag::new("group", "The share group; console-share-consumer without it.").takes("GROUP"),
        Flag::new("max-messages", "Stop after this many records.").takes("COUNT"),
        Flag::new("timeout-ms", "Stop when nothing has come for so long.").takes("MS"),
        Flag::new("reject", "Reject records, which are not delivered again, instead of accepting them."),
        Flag::new("release", "Release records, which are delivered again, instead of accepting them."),
        Flag::new("reject-message-on-error", "Reject a record that cannot be printed, and go on."),
        Flag::new(
            "formatter-property",
            "What is printed, as for kafka-console-consumer; print.delivery=true for how often; may be repeated.",
        )
        .takes("KEY=VALUE"),
        Flag::new("formatter-config", "A Java properties file of the same.").takes("FILE"),
        Flag::new("formatter", "The Java class that prints: Kafka's own three are built in.")
            .takes("CLASS")
            .default(DEFAULT),
        Flag::new("key-deserializer", "The Java class that reads keys; Kafka's own are built in.").takes("CLASS"),
        Flag::new("value-deserializer", "The Java class that reads values; Kafka's own are built in.").takes("CLASS"),
        Flag::new("property", "").takes("KEY=VALUE").hidden(),
        Flag::new("command-property", "A consumer's configuration key; may be repeated.").takes("KEY=VALUE"),
        Flag::new("command-config", "A Java properties file with the consumer's configuration.").takes("FILE"),
        Flag::new("consumer-property", "").takes("KEY=VALUE").hidden(),
        Flag::new("consumer-config", "").takes("FILE").hidden(),
        Flag::new("enable-systest-events", "Also tell when the tool has shut down."),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic jobs --group workers",
        "--bootstrap-server localhost:9092 --topic jobs --group workers --max-messages 1 --release",
    ],
};

const GROUP_DEFAULT: &str = "console-share-consumer";

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
    topic: String,
    group: String,
    formatter: Formatter,
    max_messages: Option<u64>,
    timeout: Option<Duration>,
    acknowledgement: Acknowledgement,
    reject_errors: bool,
}

impl Settings {
    fn of(given: &Given) -> Outcome<Self> {
        if !given.has("topic") {
            return Err(Exit::usage("--topic is a required argument"));
        }
        given.require(&["bootstrap-server"])?;
        if given.has("reject") && given.has("release") {
            return Err(Exit::usage("At most one of --reject and --release may be specified."));
        }
        let property = either(given, "command-property", "consumer-property")?;
        let config = either(given, "command-config", "consumer-config")?;
        let print = either(given, "formatter-property", "property")?;
        let mut properties = Properties::read_if_given(given.one(config)?)?;
        properties.extend(Properties::parse(given.all(property)));
        let group = match (given.one("group")?, properties.get("group.id")) {
            (Some(one), Some(other)) if one != other => {
                return Err(Exit::usage(format!(
                    "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer-config') do not match. Detected group ids: '{one}', '{other}'"
                )));
            }
            (one, other) => one.or(other).unwrap_or(GROUP_DEFAULT).to_owned(),
        };
        properties.set("bootstrap.servers", given.one("bootstrap-server")?.unwrap_or_default());
        properties.set_default("client.id", GROUP_DEFAULT);
        let mut printing = Properties::read_if_given(given.one("formatter-config")?)?;
        printing.extend(Properties::parse(given.all(print)));
        for (option, key) in
            [("key-deserializer", "key.deserializer"), ("value-deserializer", "value.deserializer")]
        {
            if let Some(class) = given.one(option)? {
                printing.set(key, class);
            }
        }
        let max_messages = given.number::<i32>("max-messages")?.and_then(|count| u64::try_from(count).ok());
        let timeout = given.number::<i64>("timeout-ms")?.and_then(|ms| u64::try_from(ms).ok());
        let acknowledgement = match () {
            () if given.has("reject") => Acknowledgement::Reject,
            () if given.has("release") => Acknowledgement::Release,
            () => Acknowledgement::Accept,
        };
        Ok(Self {
            properties,
            topic: given.one("topic")?.unwrap_or_default().to_owned(),
            group,
            formatter: Formatter::new(given.one("formatter")?.unwrap_or(DEFAULT), &printing)?,
            max_messages,
            timeout: timeout.map(Duration::from_millis),
            acknowledgement,
            reject_errors: given.has("reject-message-on-error"),
        })
    }

    async fn consume(&self, count: &mut Option<u64>) -> Outcome {
        let logged = |exit: Exit| exit.map(|sentence| format!("ERROR {sentence}"));
        let cluster = Cluster::prepare(&self.properties, false).await.map_err(logged)?;
        *count = Some(0);
        // What goes wrong with the group is told, and no failure of the tool, as in Kafka.
        let mut member = Member::new(cluster.client.clone(), &self.group, &self.topic).map_err(logged)?;
        let outcome = self.deliver(&mut member, count).await;
        member.close().await;
        match outcome {
            Err(exit) if exit.with_help => Err(exit),
            Err(exit) => {
                output::say(&format!("ERROR {}", exit.sentence()));
                Ok(())
            }
            Ok(done) => done,
        }
    }

    /// The outer failure is the group's, the inner one the tool's.
    async fn deliver(&self, member: &mut Member, count: &mut Option<u64>) -> Outcome<Outcome> {
        let read = count.get_or_insert(0);
        let mut last = Instant::now();
        while self.max_messages.is_none_or(|max| *read < max) {
            let delivered = tokio::select! {
                delivered = member.poll() => delivered?,
                _ = tokio::signal::ctrl_c() => return Ok(Err(Exit::silent(130))),
            };
            if !delivered.is_empty() {
                last = Instant::now();
            }
            for one in &delivered {
                if self.max_messages.is_some_and(|max| *read >= max) {
                    // The group gives it to somebody else.
                    member.acknowledge(one, Acknowledgement::Release);
                    continue;
                }
                *read += 1;
                match self.print(member, one) {
                    Ok(Written::Yes) => {}
                    Ok(Written::Gone) => return Ok(Ok(())),
                    Err(exit) => return Ok(Err(exit)),
                }
            }
            if !output::flush() || self.timeout.is_some_and(|limit| last.elapsed() >= limit) {
                break;
            }
        }
        Ok(Ok(()))
    }

    fn print(&self, member: &mut Member, one: &Delivered) -> Outcome<Written> {
        match self.formatter.write_delivered(&one.record, Some(one.count)) {
            Ok(written) => {
                member.acknowledge(one, self.acknowledgement);
                Ok(written)
            }
            Err(reason) if self.reject_errors => {
                output::say(&format!("ERROR a record was rejected: {reason}"));
                member.acknowledge(one, Acknowledgement::Reject);
                Ok(Written::Yes)
            }
            Err(reason) => Err(Exit::failure(format!("ERROR {reason}"))),
        }
    }
}
