//! `kafka-log-dirs`: what lies in the brokers' log directories, as one line of JSON (`LogDirsCommand`).

use std::{collections::BTreeSet, process::ExitCode};

use millstream_client::LogDir;
use millstream_types::BrokerId;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    get_offsets::timed_out,
    kafka_error,
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output, run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-log-dirs",
    summary: "Tells the size of every replica in the brokers' log directories, as JSON.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("describe", "The only thing there is to do."),
        Flag::new("topic-list", "Only these topics.").takes("TOPIC,…").default(""),
        Flag::new("broker-list", "Only these brokers.").takes("ID,…").default(""),
        HELP,
        VERSION,
    ],
    examples: &["--bootstrap-server localhost:9092 --describe --topic-list orders"],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            given.require(&["bootstrap-server", "describe"])?;
            block_on(act(given))
        },
    )
}

async fn act(given: &Given) -> Outcome {
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let cluster = Cluster::admin(bootstrap, given.one("command-config")?, "listNodes").await;
    let cluster = cluster.map_err(|exit| exit.map(timed_out))?;
    let admin = cluster.admin_client();
    let existing: BTreeSet<BrokerId> =
        admin.describe_cluster().await?.brokers.iter().map(|one| one.id).collect();
    let mut asked = BTreeSet::new();
    for id in given.one("broker-list")?.unwrap_or_default().split(',').filter(|id| !id.is_empty()) {
        let malformed = |_| Exit::failure(format!("For input string: \"{id}\""));
        asked.insert(BrokerId(id.parse().map_err(malformed)?));
    }
    let unknown: Vec<BrokerId> = asked.difference(&existing).copied().collect();
    if !unknown.is_empty() {
        return Err(Exit::failure(format!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            join(&unknown),
            join(&existing)
        )));
    }
    let asked = if asked.is_empty() { existing } else { asked };
    let topics: BTreeSet<&str> =
        given.one("topic-list")?.unwrap_or_default().split(',').filter(|name| !name.is_empty()).collect();
    output::line("Querying brokers for log directories information");
    let dirs = admin.describe_log_dirs().await?;
    output::line(&format!("Received log directory information from brokers {}", join(&asked)));
    let brokers = dirs.iter().filter(|(id, _)| asked.contains(id)).map(|(id, dirs)| {
        json!({ "broker": id.0, "logDirs": dirs.iter().map(|dir| directory(dir, &topics)).collect::<Value>() })
    });
    output::line(&json!({ "brokers": brokers.collect::<Value>(), "version": 1 }).to_string());
    Ok(())
}

fn directory(dir: &LogDir, topics: &BTreeSet<&str>) -> Value {
    let shown =
        dir.replicas.iter().filter(|(which, _)| topics.is_empty() || topics.contains(which.topic.as_str()));
    let partitions = shown.map(|(which, replica)| {
        json!({
            "partition": which.to_string(),
            "size": replica.size_bytes,
            "offsetLag": replica.offset_lag,
            "isFuture": replica.is_future,
        })
    });
    json!({
        "partitions": partitions.collect::<Value>(),
        "error": dir.error.as_ref().map(kafka_error::class),
        "logDir": dir.path,
    })
}

fn join<'a>(ids: impl IntoIterator<Item = &'a BrokerId>) -> String {
    ids.into_iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}
