//! `kafka-share-groups`: groups that share the records of partitions (`ShareGroupCommand`, KIP-932).

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
    name: "kafka-share-groups",
    summary: "Lists, shows, resets and deletes share groups.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("list", "List the share groups, with --state also in which state they are."),
        Flag::new("describe", "Show from where on a group shares, or --members or --state."),
        Flag::new("delete", "Delete groups without members."),
        Flag::new("reset-offsets", "Make a group without members share from elsewhere on."),
        Flag::new("delete-offsets", "Make a group forget topics."),
        Flag::new("group", "A group; may be repeated.").takes("GROUP"),
        Flag::new("all-groups", "All share groups."),
        Flag::new("topic", "A topic, or some of its partitions: t:0,1; may be repeated.").takes("TOPIC"),
        Flag::new("all-topics", "All topics of the group."),
        Flag::new("members", "With --describe: the members."),
        Flag::new("offsets", "With --describe: the offsets, which is also the default."),
        Flag::new("state", "With --describe: the state. With --list: only groups in these.")
            .may_take("STATE,…"),
        Flag::new("verbose", "With --describe: more."),
        Flag::new("to-earliest", "To the beginning."),
        Flag::new("to-latest", "To the end."),
        Flag::new(
            "to-datetime",
            "To the first record at this time or later, in UTC unless it says another zone.",
        )
        .takes("TIME"),
        Flag::new("dry-run", "Only show what would be done."),
        Flag::new("execute", "Do it."),
        Flag::new("timeout", "How long one answer may take.").takes("MS").default("30000"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list --state",
        "--bootstrap-server localhost:9092 --describe --group workers",
        "--bootstrap-server localhost:9092 --reset-offsets --group workers --topic jobs --to-earliest --execute",
    ],
};

const ACTIONS: [&str; 5] = ["list", "describe", "delete", "reset-offsets", "delete-offsets"];
const SCENARIOS: [&str; 3] = ["to-datetime", "to-earliest", "to-latest"];
const KIND: &str = "share";
const STATES: [&str; 3] = ["Stable", "Empty", "Dead"];

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            check(given)?;
            let states = states(given, &STATES)?;
            block_on(async { Ok(act(given, &states).await) })?.or_else(|exit| {
                // What has been said where it went wrong is a failure.
                if exit.with_help || exit.sentence().is_empty() {
                    return Err(exit);
                }
                // Kafka's tool ends well whatever it was that failed.
                told(&exit);
                output::say(exit.sentence());
                Ok(())
            })
        },
    )
}

/// Everything that goes wrong on the way is said on standard output as well.
fn told(exit: &Exit) {
    output::line(&format!("\nError: Executing share group command failed due to {}", exit.sentence()));
    output::flush();
}

fn thrown(error: &Error) -> Exit {
    Exit::failure(kafka_error::message(error))
}

fn check(given: &Given) -> Outcome {
    let refuse = |option: &str, takes: &str| Err(Exit::usage(format!("Option [{option}] {takes}")));
    check_belonging(given)?;
    given.require(&["bootstrap-server"])?;
    let some_group = given.has("group") || given.has("all-groups");
    if given.has("describe") {
        if !some_group {
            return refuse("describe", "takes one of these options: [all-groups], [group]");
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
            return refuse("delete", "takes the options [group] or [all-groups]");
        }
        if given.has("group") && given.has("all-groups") {
            return refuse("delete", "takes either [group] or [all-groups], not both.");
        }
        if given.has("topic") {
            return refuse("delete", "does not take the option: [topic]");
        }
    }
    if given.has("delete-offsets") && !(given.has("group") && given.has("topic")) {
        return refuse("delete-offsets", "takes the following options: [group], [topic]");
    }
    if given.has("reset-offsets") {
        match (given.has("dry-run"), given.has("execute")) {
            (true, true) => return refuse("reset-offsets", "only accepts one of [execute] and [dry-run]"),
            (false, false) => return refuse("reset-offsets", "takes the option: [execute] or [dry-run]"),
            _ => {}
        }
        if !given.has("group") {
            return refuse("reset-offsets", "takes the option: [group]");
        }
        if !given.has("topic") && !given.has("all-topics") {
            return refuse("reset-offsets", "takes one of these options: [all-topics], [topic]");
        }
        if !SCENARIOS.iter().any(|scenario| given.has(scenario)) {
            return refuse(
                "reset-offsets",
                "takes one of these options: [to-datetime], [to-earliest], [to-latest]",
            );
        }
        for scenario in SCENARIOS {
            let others = SCENARIOS.map(|other| if other == scenario { "" } else { other });
            given.forbid(scenario, &others)?;
        }
    }
    given.forbid("group", &["all-groups"])?;
    given.forbid("group", &["list"])?;
    given.forbid("topic", &["list", "describe"])?;
    if ACTIONS.iter().filter(|action| given.has(action)).count() != 1 {
        return Err(Exit::failure(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets.",
        ));
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
        list(given, KIND, states, &admin).await
    } else if given.has("describe") {
        describe::run(given, &admin).await
    } else if given.has("delete") {
        change::delete(given, &admin).await
    } else if given.has("delete-offsets") {
        change::delete_offsets(given, &admin).await
    } else {
        change::reset(given, &admin).await
    }
}
