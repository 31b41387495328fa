//! `kafka-metadata-quorum`: how the metadata quorum is doing (`MetadataQuorumCommand`).

mod voters;

use std::process::ExitCode;

use millstream_client::{Admin, Quorum, QuorumReplica};
use millstream_types::{BrokerId, TimestampMs};

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    get_offsets::timed_out,
    kafka_error,
    options::{
        Flag, Given,
        argparse::{Grammar, Group, Verb},
    },
    output, run_verbs, table,
};
use crate::command::time;

const DRY_RUN: Flag = Flag::new("dry-run", "Only say what would be done.");

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "kafka-metadata-quorum",
    summary: "Tells how the metadata quorum of a cluster is doing.",
    flags: &[
        Flag::new("bootstrap-server", "Brokers to ask first.").takes("HOST:PORT,…"),
        Flag::new("bootstrap-controller", "Controllers to ask, instead of brokers.").takes("HOST:PORT,…"),
        Flag::new("command-config", "A Java properties file with the client's configuration.").takes("FILE"),
    ],
    groups: &[Group { names: &["bootstrap-server", "bootstrap-controller"], required: true }],
    verbs: &[
        Verb {
            name: "describe",
            help: "Show the leader and the replicas.",
            flags: &[
                Flag::new("status", "Leader, high watermark, voters and observers."),
                Flag::new("replication", "How far each replica is."),
                Flag::new("human-readable", "With --replication: times as how long ago."),
            ],
            groups: &[],
        },
        Verb {
            name: "add-controller",
            help: "Let a controller vote; --command-config is its own server.properties, on its own machine.",
            flags: &[DRY_RUN],
            groups: &[],
        },
        Verb {
            name: "remove-controller",
            help: "Let a controller vote no more.",
            flags: &[
                Flag::new("controller-directory-id", "The directory.id of its meta.properties.")
                    .short('d')
                    .takes("ID")
                    .required(),
                Flag::new("controller-id", "Its node.id.")
                    .short('i')
                    .takes("ID")
                    .number("Integer")
                    .required(),
                DRY_RUN,
            ],
            groups: &[],
        },
    ],
    examples: &[
        "--bootstrap-server localhost:9092 describe --status",
        "--bootstrap-server localhost:9092 describe --replication --human-readable",
        "--bootstrap-controller localhost:9093 remove-controller -i 3 -d JEXY6aqzQY-32P5TStzaFg --dry-run",
    ],
    help_code: 0,
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_verbs(&GRAMMAR, arguments, |exit| exit, |given| block_on(act(given)))
}

async fn act(given: &Given) -> Outcome {
    match given.command {
        "add-controller" => return voters::add(given).await,
        "remove-controller" => return voters::remove(given).await,
        _ => {}
    }
    let admin = connect(given, "listNodes").await?;
    match (given.has("status"), given.has("replication")) {
        (true, true) => {
            return Err(Exit::failure(
                "Only one of --status or --replication should be specified with describe sub-command",
            ));
        }
        (false, false) => {
            return Err(Exit::failure(
                "One of --status or --replication must be specified with describe sub-command",
            ));
        }
        (true, false) if given.has("human-readable") => {
            return Err(Exit::failure(
                "The option --human-readable is only supported along with --replication",
            ));
        }
        _ => {}
    }
    let failed = |error| Exit::failure(kafka_error::exception(&error));
    let quorum = admin.describe_quorum().await.map_err(failed)?;
    if given.has("status") {
        let id = admin.describe_cluster().await.map_err(failed)?.cluster_id;
        status(&id, &quorum);
    } else {
        replication(&quorum, given.has("human-readable"));
    }
    Ok(())
}

async fn connect(given: &Given, call: &str) -> Outcome<Admin> {
    let cluster = Cluster::admin_of(given, given.last("command-config"), call).await;
    Ok(cluster.map_err(|exit| exit.map(timed_out))?.admin_client())
}

fn status(cluster_id: &str, quorum: &Quorum) {
    let leader = quorum.voters.iter().find(|voter| Some(voter.id) == quorum.leader);
    let all = || quorum.voters.iter().chain(&quorum.observers);
    let end = leader.and_then(|leader| leader.log_end_offset);
    let lag = |replica: &QuorumReplica| Some(end?.since(replica.log_end_offset?));
    let max_lag = all().filter_map(lag).max().unwrap_or(0);
    let max_time = if max_lag == 0 {
        0
    } else {
        let caught_up = leader.and_then(|leader| leader.last_caught_up);
        let behind = all().filter_map(|replica| Some(caught_up?.since(replica.last_caught_up?)));
        behind.max().unwrap_or(-1)
    };
    let number = |value: Option<String>| value.unwrap_or_else(|| "-1".to_owned());
    for (name, value) in [
        ("ClusterId", cluster_id.to_owned()),
        ("LeaderId", number(quorum.leader.map(|id| id.to_string()))),
        ("LeaderEpoch", number(quorum.leader_epoch.map(|epoch| epoch.to_string()))),
        ("HighWatermark", number(quorum.high_watermark.map(|offset| offset.to_string()))),
        ("MaxFollowerLag", max_lag.to_string()),
        ("MaxFollowerLagTimeMs", max_time.to_string()),
        ("CurrentVoters", nodes(&quorum.voters, quorum)),
        ("CurrentObservers", nodes(&quorum.observers, quorum)),
    ] {
        output::line(&format!("{:<24}{value}", format!("{name}:")));
    }
}

fn nodes(replicas: &[QuorumReplica], quorum: &Quorum) -> String {
    let one = |replica: &QuorumReplica| {
        let mut text = format!("{{\"id\": {}", replica.id);
        if !replica.directory_id.is_zero() {
            text += &format!(", \"directoryId\": \"{}\"", replica.directory_id);
        }
        if let Some(endpoints) = quorum.endpoints.get(&replica.id).filter(|all| !all.is_empty()) {
            let quoted: Vec<String> = endpoints.iter().map(|endpoint| format!("\"{endpoint}\"")).collect();
            text += &format!(", \"endpoints\": [{}]", quoted.join(", "));
        }
        text + "}"
    };
    format!("[{}]", replicas.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn replication(quorum: &Quorum, human: bool) {
    let end = quorum
        .voters
        .iter()
        .find(|voter| Some(voter.id) == quorum.leader)
        .and_then(|leader| leader.log_end_offset);
    let now = time::now();
    let moment = |at: Option<TimestampMs>| match at {
        Some(at) if human => format!("{} ms ago", now.since(at)),
        at => at.map_or_else(|| "-1".to_owned(), |at| at.to_string()),
    };
    let row = |replica: &QuorumReplica, status: &str| {
        let lag = end.zip(replica.log_end_offset).map_or(-1, |(end, own)| end.since(own));
        vec![
            replica.id.to_string(),
            replica.directory_id.to_string(),
            replica.log_end_offset.map_or_else(|| "-1".to_owned(), |offset| offset.to_string()),
            lag.to_string(),
            moment(replica.last_fetch),
            moment(replica.last_caught_up),
            status.to_owned(),
        ]
    };
    let role = |id: BrokerId| if Some(id) == quorum.leader { "Leader" } else { "Follower" };
    let head = [
        "NodeId",
        "DirectoryId",
        "LogEndOffset",
        "Lag",
        "LastFetchTimestamp",
        "LastCaughtUpTimestamp",
        "Status",
    ];
    let mut rows = Vec::new();
    // The leader first, as Kafka shows it.
    let (leaders, followers): (Vec<_>, Vec<_>) =
        quorum.voters.iter().partition(|voter| Some(voter.id) == quorum.leader);
    rows.extend(leaders.into_iter().chain(followers).map(|voter| row(voter, role(voter.id))));
    rows.extend(quorum.observers.iter().map(|observer| row(observer, "Observer")));
    table::print(&head, &rows);
}
