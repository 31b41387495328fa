//! `kafka-consumer-groups`: groups, their offsets and lag, and moving them (`ConsumerGroupCommand`).
//!
//! Kafka's tool ends with 0 even when what it did failed, after saying so on standard output.

mod change;
mod describe;
pub(super) mod reset;

use std::process::ExitCode;

use fancy_regex::Regex;
use millstream_client::{Admin, Error, GroupListing};
use millstream_types::{ErrorCode, TopicName, TopicPartition};

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    group_kinds::{NO_BROKERS, check_belonging},
    groups::title,
    kafka_error,
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION, elements},
    output, run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-consumer-groups",
    summary: "Lists and describes consumer groups with their lag, moves and deletes their offsets.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("list", "Ids of all groups."),
        Flag::new("describe", "Partitions of a group with offsets, lag and who reads them."),
        Flag::new("reset-offsets", "Move what an inactive group has committed; see --execute."),
        Flag::new("delete-offsets", "Forget what a group committed for topics."),
        Flag::new("delete", "Delete inactive groups."),
        Flag::new("validate-regex", "Check a regular expression for a subscription.").takes("REGEX"),
        Flag::new("group", "A group; may be repeated.").takes("GROUP"),
        Flag::new("all-groups", "All groups."),
        Flag::new("topic", "A topic, or partitions of it: orders:0,1; may be repeated.").takes("TOPIC"),
        Flag::new("all-topics", "All topics that the group committed offsets for."),
        Flag::new("members", "With --describe: the members."),
        Flag::new("offsets", "With --describe: offsets and lag, as without it."),
        Flag::new(
            "state",
            "With --describe: the group's state. With --list: states, or only groups in these.",
        )
        .may_take("STATE,…"),
        Flag::new("type", "With --list: types, or only groups of these: classic, consumer.")
            .may_take("TYPE,…"),
        Flag::new("verbose", "With --describe: more columns."),
        Flag::new("timeout", "How long to wait for the group to settle.").takes("MS").default("30000"),
        Flag::new("dry-run", "With --reset-offsets: show what would be done."),
        Flag::new("execute", "With --reset-offsets: do it."),
        Flag::new("export", "With --reset-offsets: as CSV, which --from-file reads."),
        Flag::new("to-earliest", "To the beginning."),
        Flag::new("to-latest", "To the end."),
        Flag::new("to-current", "To what is committed."),
        Flag::new("to-offset", "To this offset.").takes("OFFSET"),
        Flag::new("shift-by", "This many records on, or back.").takes("COUNT"),
        Flag::new("to-datetime", "To the first record of a time, 2026-01-31T12:00:00.000.").takes("TIME"),
        Flag::new("by-duration", "To what is this old: P1DT2H for a day and two hours.").takes("DURATION"),
        Flag::new("from-file", "To what a CSV file says.").takes("FILE"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list",
        "--bootstrap-server localhost:9092 --describe --group billing",
        "--bootstrap-server localhost:9092 --reset-offsets --group billing --topic orders --to-earliest --execute",
    ],
};

const ACTIONS: [&str; 6] =
    ["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"];
const SCENARIOS: [&str; 8] = [
    "to-offset",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "shift-by",
    "from-file",
    "to-current",
];

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            check(given)?;
            if let Some(regex) = given.one("validate-regex")? {
                validate(regex);
                return Ok(());
            }
            match block_on(act(given)) {
                Err(exit) if !exit.with_help => {
                    failed(exit.sentence());
                    Ok(())
                }
                outcome => outcome,
            }
        },
    )
}

/// What went wrong, on both outputs as with Kafka's tool, which prints its stack trace on the other.
fn failed(sentence: &str) {
    output::line(&format!("\nError: Executing consumer group command failed due to {sentence}"));
    output::flush();
    output::say(sentence);
}

/// An error with its exception's name, as the future of an admin call throws it.
fn thrown(error: &Error) -> Exit {
    Exit::failure(kafka_error::exception(error))
}

fn check(given: &Given) -> Outcome {
    let both = |option: &str, takes: &str| Exit::usage(format!("Option [{option}] {takes}"));
    check_belonging(given)?;
    if !ACTIONS.iter().any(|action| given.has(action)) {
        return Err(Exit::usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex",
        ));
    }
    if !given.has("validate-regex") {
        given.require(&["bootstrap-server"])?;
    }
    let some_group = given.has("group") || given.has("all-groups");
    let one_of_groups = "takes one of these options: [group], [all-groups]";
    if given.has("describe") {
        if !some_group {
            return Err(both("describe", one_of_groups));
        }
        if ["members", "offsets", "state"].iter().filter(|option| given.has(option)).count() > 1 {
            return Err(both(
                "describe",
                "takes at most one of these options: [members], [offsets], [state]",
            ));
        }
        if given.all("state").next().is_some() {
            return Err(both("describe", "does not take a value for [state]"));
        }
    }
    if given.has("delete") {
        if !some_group {
            return Err(both("delete", one_of_groups));
        }
        if given.has("topic") {
            return Err(Exit::usage(
                "The consumer does not support topic-specific offset deletion from a consumer group.",
            ));
        }
    }
    if given.has("delete-offsets") && !(given.has("group") && given.has("topic")) {
        return Err(both("delete-offsets", "takes the following options: [group], [topic]"));
    }
    if given.has("reset-offsets") {
        check_reset(given, some_group)?;
    }
    given
        .forbid("group", &["all-groups"])
        .map_err(|_| Exit::usage("Option \"[group]\" can't be used with option \"[all-groups]\""))
}

fn check_reset(given: &Given, some_group: bool) -> Outcome {
    if given.has("dry-run") && given.has("execute") {
        return Err(Exit::usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]"));
    }
    if !given.has("dry-run") && !given.has("execute") {
        output::say("WARN: nothing is changed without --execute; say --dry-run if that is what you want");
    }
    if !some_group {
        return Err(Exit::usage("Option [reset-offsets] takes one of these options: [group], [all-groups]"));
    }
    let used: Vec<&&str> = SCENARIOS.iter().filter(|scenario| given.has(scenario)).collect();
    if let [first, second, ..] = used[..] {
        return Err(Exit::usage(format!("Option \"[{first}]\" can't be used with option \"[{second}]\"")));
    }
    Ok(())
}

/// Kafka's brokers match subscriptions with RE2, which knows neither look-around nor back references.
fn validate(text: &str) {
    let looks = ["(?=", "(?!", "(?<=", "(?<!", "(?>"].iter().any(|look| text.contains(look));
    let verdict = if looks {
        "invalid: invalid or unsupported Perl syntax.".to_owned()
    } else {
        match Regex::new(text) {
            Ok(_) => "valid.".to_owned(),
            Err(error) => format!("invalid: {error}."),
        }
    };
    output::line(&format!("The regular expression `{text}` is {verdict}"));
}

async fn act(given: &Given) -> Outcome {
    let no_file = |exit: Exit| {
        exit.map(|sentence| match sentence.starts_with('/') {
            true => format!("java.nio.file.NoSuchFileException: {sentence}"),
            false => sentence.to_owned(),
        })
    };
    given.number::<i64>("timeout")?;
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let cluster = Cluster::admin(bootstrap, given.one("command-config")?, "findAllBrokers").await;
    let cluster = cluster.map_err(no_file).map_err(|exit| {
        exit.map(|sentence| match sentence.starts_with("Timed out") {
            true => NO_BROKERS.to_owned(),
            false => sentence.to_owned(),
        })
    })?;
    let admin = cluster.admin_client();
    if given.has("list") {
        list(given, &admin).await
    } else if given.has("describe") {
        for group in groups(given, &admin).await? {
            describe::run(given, &admin, &group).await?;
        }
        Ok(())
    } else if given.has("delete") {
        change::delete(&groups(given, &admin).await?, &admin).await
    } else if given.has("delete-offsets") {
        change::delete_offsets(given, &admin).await
    } else {
        reset::run(given, &admin, &groups(given, &admin).await?).await
    }
}

/// The groups that are meant.
async fn groups(given: &Given, admin: &Admin) -> Outcome<Vec<String>> {
    if !given.has("all-groups") {
        return Ok(given.all("group").map(str::to_owned).collect());
    }
    let all = admin.list_groups().await?;
    Ok(all.into_iter().filter(is_consumers).map(|group| group.id).collect())
}

fn is_consumers(group: &GroupListing) -> bool {
    matches!(group.protocol_type.as_str(), "consumer" | "")
}

const STATES: [&str; 7] =
    ["Stable", "CompletingRebalance", "Empty", "Dead", "Reconciling", "Assigning", "PreparingRebalance"];
const TYPES: [&str; 2] = ["Consumer", "Classic"];

async fn list(given: &Given, admin: &Admin) -> Outcome {
    let wanted = |option: &'static str, all: &[&'static str], what: &str| -> Outcome<Vec<&'static str>> {
        let Some(list) = given.one(option)?.filter(|list| !list.is_empty()) else { return Ok(Vec::new()) };
        let found = elements(list).into_iter().map(|name| {
            let name = name.trim();
            all.iter().find(|known| known.eq_ignore_ascii_case(name)).copied()
        });
        found.collect::<Option<Vec<_>>>().ok_or_else(|| {
            Exit::usage(
                format!("Invalid {what} list '{list}'. Valid {what}s are: {}", all.join(", "))
                    .replace("typess", "types"),
            )
        })
    };
    let states = wanted("state", &STATES, "state")?;
    let types = wanted("type", &TYPES, "types")?;
    let mut rows = Vec::new();
    for group in admin.list_groups().await?.into_iter().filter(is_consumers) {
        let state = group.state.unwrap_or_default();
        let kind = title(group.group_type.as_deref().unwrap_or("classic"));
        if (states.is_empty() || states.contains(&state.as_str()))
            && (types.is_empty() || types.contains(&kind.as_str()))
        {
            rows.push((group.id, kind, state));
        }
    }
    if !given.has("state") && !given.has("type") {
        output::line(&rows.iter().map(|row| row.0.as_str()).collect::<Vec<_>>().join("\n"));
        return Ok(());
    }
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0).max(15) + 10;
    let line = |group: &str, kind: &str, state: &str| {
        let mut text = format!("{group:<width$} ");
        if given.has("type") {
            text += &format!("{kind:<20} ");
        }
        if given.has("state") {
            text += &format!("{state:<20}");
        }
        output::line(&text);
    };
    line("GROUP", "TYPE", "STATE");
    rows.iter().for_each(|(group, kind, state)| line(group, kind, state));
    Ok(())
}

/// The partitions that `--topic` names; topics that are not there, by name.
async fn partitions(given: &Given, admin: &Admin) -> Outcome<(Vec<TopicPartition>, Vec<String>)> {
    partitions_of(given.all("topic"), admin).await
}

/// The partitions that `topic` and `topic:0,1` name; topics that are not there, by name.
pub(super) async fn partitions_of(
    arguments: impl Iterator<Item = &str>,
    admin: &Admin,
) -> Outcome<(Vec<TopicPartition>, Vec<String>)> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for argument in arguments {
        let (topic, numbers) = argument.split_once(':').map_or((argument, None), |(t, n)| (t, Some(n)));
        let mut wanted = Vec::new();
        for number in numbers.into_iter().flat_map(|list| list.split(',')) {
            let malformed =
                |_| Exit::usage(format!("Invalid partition '{number}' specified in topic arg '{argument}''"));
            wanted.push(millstream_types::PartitionId(number.parse().map_err(malformed)?));
        }
        let Ok(name) = TopicName::parse(topic) else {
            missing.push(topic.to_owned());
            continue;
        };
        let described = admin.describe_topics(std::slice::from_ref(&name)).await?.remove(&name);
        match described {
            Some(Ok(_)) if numbers.is_some() => {
                found.extend(wanted.into_iter().map(|number| TopicPartition::new(name.clone(), number)));
            }
            Some(Ok(known)) => {
                found
                    .extend(known.partitions.keys().map(|number| TopicPartition::new(name.clone(), *number)));
            }
            Some(Err(error)) if error.code() != Some(ErrorCode::UnknownTopicOrPartition) => {
                return Err(thrown(&error));
            }
            _ => missing.push(topic.to_owned()),
        }
    }
    Ok((found, missing))
}
