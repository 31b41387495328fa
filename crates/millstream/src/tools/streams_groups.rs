//! `kafka-streams-groups`: groups of Kafka Streams under the streams protocol (`StreamsGroupCommand`, KIP-1071).

mod change;
mod describe;

use std::process::ExitCode;

use millstream_client::Error;

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    group_kinds::{NO_BROKERS, all, check_belonging, list, states},
    kafka_error,
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output, run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-streams-groups",
    summary: "Lists, shows, resets and deletes groups of Kafka Streams that use the streams protocol.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("list", "List the groups, with --state also in which state they are."),
        Flag::new("describe", "Show the group's lag, or --members or --state."),
        Flag::new("delete", "Delete groups without members."),
        Flag::new("reset-offsets", "Make a group without members read from elsewhere on."),
        Flag::new("delete-offsets", "Make a group forget how far it has read topics."),
        Flag::new("group", "A group; may be repeated with --delete.").takes("GROUP"),
        Flag::new("all-groups", "All streams groups."),
        Flag::new("input-topic", "A topic that is read, or some of its partitions: t:0,1; may be repeated.")
            .takes("TOPIC"),
        Flag::new("all-input-topics", "All topics that are read."),
        Flag::new("members", "With --describe: the members and their tasks."),
        Flag::new("offsets", "With --describe: the lag, which is also the default."),
        Flag::new("state", "With --describe: the state. With --list: only groups in these.")
            .may_take("STATE,…"),
        Flag::new("verbose", "With --describe: more."),
        Flag::new("to-offset", "To this offset.").takes("OFFSET"),
        Flag::new("from-file", "To the offsets of a CSV file.").takes("FILE"),
        Flag::new(
            "to-datetime",
            "To the first record at this time or later, in UTC unless it says another zone.",
        )
        .takes("TIME"),
        Flag::new("by-duration", "To the first record that is not older than this: PT1H30M.")
            .takes("DURATION"),
        Flag::new("to-earliest", "To the beginning."),
        Flag::new("to-latest", "To the end."),
        Flag::new("to-current", "To where it is."),
        Flag::new("shift-by", "So many records on, or back if negative.").takes("COUNT"),
        Flag::new("delete-internal-topic", "With --execute: delete this topic of the group's own as well.")
            .takes("TOPIC"),
        Flag::new("delete-all-internal-topics", "Delete all topics of the group's own as well."),
        Flag::new("dry-run", "Only show what would be done."),
        Flag::new("execute", "Do it."),
        Flag::new("export", "Print the plan as CSV."),
        Flag::new("timeout", "How long one answer may take.").takes("MS").default("5000"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list --state",
        "--bootstrap-server localhost:9092 --describe --group word-count --members",
        "--bootstrap-server localhost:9092 --reset-offsets --group word-count --all-input-topics --to-earliest --execute",
    ],
};

const ACTIONS: [&str; 5] = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
const SCENARIOS: [&str; 8] = [
    "to-offset",
    "to-datetime",
    "by-duration",
    "to-earliest",
    "to-latest",
    "to-current",
    "shift-by",
    "from-file",
];
const KIND: &str = "streams";
const STATES: [&str; 6] = ["Assigning", "Dead", "Empty", "NotReady", "Reconciling", "Stable"];

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            check(given)?;
            let states = states(given, &STATES)?;
            block_on(async { Ok(act(given, &states).await) })?.inspect_err(|exit| {
                if !exit.with_help {
                    // What goes wrong on the way is said on standard output as well.
                    output::line(&format!(
                        "\nError: Executing streams group command failed due to {}",
                        exit.sentence()
                    ));
                }
            })
        },
    )
}

fn thrown(error: &Error) -> Exit {
    Exit::failure(kafka_error::exception(error))
}

fn check(given: &Given) -> Outcome {
    check_belonging(given)?;
    let refuse = |option: &str, takes: &str| Err(Exit::usage(format!("Option [{option}] {takes}")));
    given.require(&["bootstrap-server"])?;
    let some_group = given.has("group") || given.has("all-groups");
    let one_of_groups = "takes one of these options: [all-groups], [group]";
    if given.has("describe") {
        if !some_group {
            return refuse("describe", one_of_groups);
        }
        if ["members", "offsets", "state"].iter().filter(|option| given.has(option)).count() > 1 {
            return refuse("describe", "takes at most one of these options: [members], [offsets], [state]");
        }
        if given.all("state").next().is_some() {
            return refuse("describe", "does not take a value for [state]");
        }
    }
    if given.has("delete") {
        if !some_group {
            return refuse("delete", one_of_groups);
        }
        if given.has("input-topic") {
            return Err(Exit::usage(
                "Kafka Streams does not support topic-specific offset deletion from a streams group.",
            ));
        }
    }
    if given.has("delete-offsets") {
        let some_topic = given.has("input-topic") || given.has("all-input-topics");
        if !given.has("group") || !some_topic {
            return refuse(
                "delete-offsets",
                "takes the [group] and one of these options: [all-input-topics], [input-topic]",
            );
        }
        if given.all("group").count() > 1 {
            let groups: Vec<&str> = given.all("group").collect();
            return refuse(
                "delete-offsets",
                &format!("supports only one [group] at a time, but found: [{}]", groups.join(", ")),
            );
        }
    }
    if given.has("reset-offsets") {
        check_reset(given, some_group)?;
    } else if given.has("dry-run") || given.has("execute") {
        return Err(Exit::usage("Only Option [reset-offsets] accepts [execute] or [dry-run]"));
    }
    given.forbid("group", &["all-groups", "list"])?;
    given.forbid("input-topic", &["list", "describe"])?;
    if ACTIONS.iter().filter(|action| given.has(action)).count() != 1 {
        return Err(Exit::usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, or --delete-offsets.",
        ));
    }
    Ok(())
}

fn check_reset(given: &Given, some_group: bool) -> Outcome {
    let refuse = |takes: &str| Err(Exit::usage(format!("Option [reset-offsets] {takes}")));
    match (given.has("dry-run"), given.has("execute")) {
        (true, true) => return refuse("only accepts one of [execute] and [dry-run]"),
        (false, false) => return refuse("takes the option: [execute] or [dry-run]"),
        _ => {}
    }
    if !some_group {
        return refuse("takes one of these options: [all-groups], [group]");
    }
    for option in ["delete-internal-topic", "delete-all-internal-topics"] {
        if given.has(option) && given.has("dry-run") {
            return Err(Exit::usage(format!(
                "Option [reset-offsets] takes [{option}] when [execute] is used."
            )));
        }
    }
    for scenario in SCENARIOS {
        let others = SCENARIOS.map(|other| if other == scenario { "" } else { other });
        given.forbid(scenario, &others)?;
    }
    Ok(())
}

async fn act(given: &Given, states: &[&str]) -> Outcome {
    given.number::<i64>("timeout")?;
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let cluster = Cluster::admin(bootstrap, given.one("command-config")?, "findAllBrokers").await;
    let late = |exit: Exit| {
        exit.map(|sentence| match sentence.starts_with("Timed out") {
            true => NO_BROKERS.to_owned(),
            false => sentence.to_owned(),
        })
    };
    let admin = cluster.map_err(late)?.admin_client();
    if given.has("list") {
        return list(given, KIND, states, &admin).await;
    }
    let groups: Vec<String> = match given.has("all-groups") {
        true => all(&admin, KIND).await?.into_iter().map(|group| group.id).collect(),
        false => given.all("group").map(str::to_owned).collect(),
    };
    if given.has("describe") {
        for group in &groups {
            describe::run(given, &admin, group).await?;
        }
        Ok(())
    } else if given.has("delete") {
        change::delete(given, &admin, &groups).await
    } else if given.has("delete-offsets") {
        change::delete_offsets(given, &admin).await
    } else {
        change::reset(given, &admin, &groups).await
    }
}
