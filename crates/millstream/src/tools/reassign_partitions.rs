//! `kafka-reassign-partitions`: moves partitions to other brokers, and to other directories of theirs
//! (`ReassignPartitionsCommand`).

mod execute;
mod generate;
mod plan;
mod throttle;
mod verify;

use std::process::ExitCode;

use millstream_client::{Admin, Error, Reassignment};
use millstream_types::BrokerId;

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    json, kafka_error,
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-reassign-partitions",
    summary: "Moves partitions to other brokers and directories.",
    flags: &[
        BOOTSTRAP_SERVER,
        Flag::new("bootstrap-controller", "Controllers to ask, instead of brokers.").takes("HOST:PORT,…"),
        COMMAND_CONFIG,
        Flag::new("generate", "Propose where partitions of topics could be; changes nothing."),
        Flag::new("execute", "Begin the moves of a file."),
        Flag::new("verify", "Tell how far the moves of a file are; takes limits off when they are done."),
        Flag::new("cancel", "Stop the moves of a file."),
        Flag::new("list", "Show all moves that are under way."),
        Flag::new(
            "reassignment-json-file",
            "The moves: {\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,2],\"log_dirs\":[\"any\",\"/data\"]}],\"version\":1}; log_dirs may be left out.",
        )
        .takes("FILE"),
        Flag::new(
            "topics-to-move-json-file",
            "With --generate: {\"topics\":[{\"topic\":\"t\"}],\"version\":1}.",
        )
        .takes("FILE"),
        Flag::new("broker-list", "With --generate: where they may go.").takes("ID,…"),
        Flag::new("disable-rack-aware", "With --generate: whatever the racks."),
        Flag::new("throttle", "Bytes a second between brokers.").takes("BYTES").default("-1"),
        Flag::new("replica-alter-log-dirs-throttle", "Bytes a second between directories.")
            .takes("BYTES")
            .default("-1"),
        Flag::new("timeout", "How long to wait, in milliseconds, for a move to another directory to begin.")
            .takes("MS")
            .default("10000"),
        Flag::new("additional", "With --execute: beside moves that are under way, or to change their limits."),
        Flag::new("preserve-throttles", "Leave limits as they are."),
        Flag::new(
            "disallow-replication-factor-change",
            "With --execute: refuse what would change how many replicas there are.",
        ),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --generate --topics-to-move-json-file topics.json --broker-list 1,2,3",
        "--bootstrap-server localhost:9092 --execute --reassignment-json-file moves.json --throttle 50000000",
        "--bootstrap-server localhost:9092 --verify --reassignment-json-file moves.json",
    ],
};

/// Each action with the options that it needs and those that it takes.
const ACTIONS: [(&str, &[&str], &[&str]); 5] = [
    ("generate", &["topics-to-move-json-file", "broker-list"], &["disable-rack-aware"]),
    (
        "execute",
        &["reassignment-json-file"],
        &[
            "additional",
            "throttle",
            "replica-alter-log-dirs-throttle",
            "timeout",
            "disallow-replication-factor-change",
        ],
    ),
    ("verify", &["reassignment-json-file"], &["preserve-throttles"]),
    ("cancel", &["reassignment-json-file"], &["bootstrap-controller", "preserve-throttles", "timeout"]),
    ("list", &[], &["bootstrap-controller"]),
];

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let as_usage = |exit: Exit| Exit::usage(exit.sentence());
    run_options(&SPEC, arguments, as_usage, |given| {
        let action = check(given)?;
        block_on(async { act(given, action).await.map_err(Exit::into_stdout) })
    })
}

fn check(given: &Given) -> Outcome<&'static str> {
    let chosen: Vec<_> = ACTIONS.iter().filter(|(action, ..)| given.has(action)).collect();
    let [(action, required, permitted)] = chosen[..] else {
        let names: Vec<String> = ACTIONS.iter().map(|(action, ..)| format!("--{action}")).collect();
        return Err(Exit::usage(format!("Command must include exactly one action: {}", names.join(", "))));
    };
    match (given.has("bootstrap-server"), given.has("bootstrap-controller")) {
        (true, true) => {
            return Err(Exit::usage(
                "Please don't specify both --bootstrap-server and --bootstrap-controller",
            ));
        }
        (false, false) => {
            return Err(Exit::usage("Please specify either --bootstrap-server or --bootstrap-controller"));
        }
        _ => {}
    }
    given.require(required)?;
    let always = ["bootstrap-server", "command-config", *action];
    let known = |name: &str| always.contains(&name) || required.contains(&name) || permitted.contains(&name);
    match SPEC.flags.iter().find(|flag| given.has(flag.name) && !known(flag.name)) {
        Some(flag) => {
            Err(Exit::usage(format!("Option \"[{}]\" can't be used with action \"[{action}]\"", flag.name)))
        }
        None => Ok(*action),
    }
}

/// What is wrong with what was asked for, as Kafka's tool says it.
fn wrong(sentence: impl std::fmt::Display) -> Exit {
    Exit::failure(format!("Error: {sentence}"))
}

/// What Java's future throws.
fn thrown(error: Error) -> Exit {
    wrong(kafka_error::exception(&error))
}

fn as_wrong(exit: Exit) -> Exit {
    exit.map(|sentence| format!("Error: {sentence}"))
}

fn ids(brokers: &[BrokerId]) -> String {
    brokers.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}

/// `text` and an s where there is not just one.
fn plural(text: &str, count: usize) -> String {
    if count == 1 { text.to_owned() } else { format!("{text}s") }
}

async fn act(given: &Given, action: &str) -> Outcome {
    let mut properties = Properties::read_if_given(given.one("command-config")?).map_err(as_wrong)?;
    properties.set_default("client.id", "reassign-partitions-tool");
    // Files are judged before anybody is asked for anything.
    let text = |option| match given.one(option)? {
        Some(path) => json::read_text(path).map_err(as_wrong),
        None => Ok(String::new()),
    };
    let (moves, topics) = (text("reassignment-json-file")?, text("topics-to-move-json-file")?);
    let admin = async || -> Outcome<Admin> {
        let cluster = Cluster::administer_of(given, properties.clone(), "listPartitionReassignments").await;
        let late = |exit: Exit| as_wrong(exit.map(super::get_offsets::timed_out));
        Ok(cluster.map_err(late)?.admin_client())
    };
    match action {
        "generate" => {
            let brokers = given.one("broker-list")?.unwrap_or_default();
            let wanted = generate::Wanted::parse(&topics, brokers).map_err(as_wrong)?;
            generate::run(&wanted, &admin().await?, !given.has("disable-rack-aware")).await
        }
        "execute" => execute::run(given, &moves, admin).await,
        "verify" => {
            let plan = plan::Plan::parse(&moves).map_err(as_wrong)?;
            verify::run(&plan, &admin().await?, given.has("preserve-throttles")).await
        }
        "cancel" => execute::cancel(given, &moves, admin).await,
        _ => list(&admin().await?).await,
    }
}

async fn list(admin: &Admin) -> Outcome {
    let moving = admin.list_reassignments(None).await.map_err(thrown)?;
    if moving.is_empty() {
        output::line("No partition reassignments found.");
        return Ok(());
    }
    output::line("Current partition reassignments:");
    for (partition, Reassignment { replicas, adding, removing }) in moving {
        let some = |what: &str, brokers: &[BrokerId]| match brokers.is_empty() {
            true => String::new(),
            false => format!(" {what}: {}.", ids(brokers)),
        };
        output::line(&format!(
            "{partition}: replicas: {}.{}{}",
            ids(&replicas),
            some("adding", &adding),
            some("removing", &removing)
        ));
    }
    Ok(())
}
