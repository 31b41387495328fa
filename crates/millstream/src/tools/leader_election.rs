//! `kafka-leader-election`: elects leaders of partitions (`LeaderElectionCommand`).

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use millstream_client::{ElectionType, Error};
use millstream_types::{ErrorCode, PartitionId, TopicPartition};
use serde_json::Value;

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
    name: "kafka-leader-election",
    summary: "Has leaders of partitions elected: the preferred replica, or, where none leads, any replica.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("admin.config", "").takes("FILE").hidden(),
        Flag::new(
            "election-type",
            "preferred: the first of the replicas. unclean: any replica, records may be lost. Required.",
        )
        .takes("TYPE"),
        Flag::new("topic", "A topic; with --partition.").takes("TOPIC"),
        Flag::new("partition", "A partition of it.").takes("NUMBER"),
        Flag::new("all-topic-partitions", "All partitions that have something to elect."),
        Flag::new(
            "path-to-json-file",
            "Partitions from a JSON file: {\"partitions\":[{\"topic\":\"t\",\"partition\":1}]}.",
        )
        .takes("FILE"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --election-type preferred --all-topic-partitions",
        "--bootstrap-server localhost:9092 --election-type unclean --topic orders --partition 3",
    ],
};

const TIMEOUT_MS: u32 = 30_000;

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            check(given)?;
            block_on(act(given))
        },
    )
}

fn check(given: &Given) -> Outcome {
    let required = ["bootstrap-server", "election-type"];
    let missing: Vec<&str> = required.into_iter().filter(|name| !given.has(name)).collect();
    if !missing.is_empty() {
        return Err(Exit::failure(format!("Missing required option(s): {}", missing.join(", "))));
    }
    given.forbid("admin.config", &["command-config"])?;
    const WHICH: [&str; 3] = ["topic", "all-topic-partitions", "path-to-json-file"];
    if WHICH.iter().filter(|name| given.has(name)).count() != 1 {
        return Err(Exit::failure(format!(
            "One and only one of the following options is required: {}",
            WHICH.join(", ")
        )));
    }
    match (given.has("topic"), given.has("partition")) {
        (true, false) => Err(Exit::failure("Missing required option(s): partition")),
        (false, true) => Err(Exit::failure("Option partition is only allowed if topic is used")),
        _ => Ok(()),
    }
}

async fn act(given: &Given) -> Outcome {
    let name = given.one("election-type")?.unwrap_or_default();
    let (kind, kind_name) = match name.to_ascii_lowercase().as_str() {
        "preferred" => (ElectionType::Preferred, "PREFERRED"),
        "unclean" => (ElectionType::Unclean, "UNCLEAN"),
        _ => return Err(Exit::failure(format!("Cannot parse argument '{name}' of option election-type"))),
    };
    let mut partitions = match given.one("path-to-json-file")? {
        Some(path) => Some(parse(&json::read_text(path)?)?),
        None => None,
    };
    if let (Some(topic), Some(number)) = (given.one("topic")?, given.number("partition")?) {
        let partition = TopicPartition::new(json::topic_name(topic)?, PartitionId(number));
        partitions = Some(BTreeSet::from([partition]));
    }
    let config = given.either("command-config", "admin.config")?;
    if config == "admin.config" {
        output::line(
            "Option --admin.config has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
    }
    let mut properties = Properties::read_if_given(given.one(config)?)?;
    properties.set_default("default.api.timeout.ms", TIMEOUT_MS);
    properties.set_default("request.timeout.ms", TIMEOUT_MS / 2);
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let late = || {
        let sentence = "Timeout waiting for election results";
        output::line(sentence);
        Exit::failure(sentence)
    };
    let cluster = Cluster::administer(properties, bootstrap, "electLeaders").await;
    let cluster =
        cluster.map_err(|exit| if exit.sentence().starts_with("Timed out") { late() } else { exit })?;
    let results = cluster.admin_client().elect_leaders(kind, partitions.as_ref()).await;
    let results = results.map_err(|error| match (&error, error.code()) {
        (Error::Timeout { .. }, _) => late(),
        (_, Some(ErrorCode::ClusterAuthorizationFailed)) => {
            let sentence = "Not authorized to perform leader election";
            output::line(sentence);
            Exit::failure(sentence)
        }
        _ => {
            let future = "java.util.concurrent.ExecutionException: ";
            Exit::failure(format!("{future}{}", kafka_error::exception(&error)))
        }
    })?;
    report(kind_name, &results)
}

fn report(kind_name: &str, results: &BTreeMap<TopicPartition, Result<(), Error>>) -> Outcome {
    let (mut elected, mut idle, mut failures) = (Vec::new(), Vec::new(), 0);
    for (partition, result) in results {
        match result {
            Ok(()) => elected.push(partition.to_string()),
            Err(error) if error.code() == Some(ErrorCode::ElectionNotNeeded) => {
                idle.push(partition.to_string());
            }
            Err(_) => failures += 1,
        }
    }
    if !elected.is_empty() {
        output::line(&format!(
            "Successfully completed leader election ({kind_name}) for partitions {}",
            elected.join(", ")
        ));
    }
    if !idle.is_empty() {
        output::line(&format!("Valid replica already elected for partitions {}", idle.join(", ")));
    }
    for (partition, result) in results {
        if let Err(error) = result
            && error.code() != Some(ErrorCode::ElectionNotNeeded)
        {
            output::line(&format!(
                "Error completing leader election ({kind_name}) for partition: {partition}: {}",
                kafka_error::exception(error)
            ));
        }
    }
    match failures {
        0 => Ok(()),
        failures => Err(Exit::failure(format!("{failures} replica(s) could not be elected"))),
    }
}

fn parse(text: &str) -> Outcome<BTreeSet<TopicPartition>> {
    let json: Value = serde_json::from_str(text)
        .map_err(|error| Exit::failure(format!("Replica election data is empty\n{error}")))?;
    let missing = || Exit::failure("Replica election data is missing \"partitions\" field");
    let list = json::array(json::object_field(&json, "partitions")?.ok_or_else(missing)?)?;
    let (mut wanted, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for entry in list {
        let partition = json::partition(entry)?;
        if !wanted.insert(partition.clone()) {
            twice.insert(partition.to_string());
        }
    }
    match twice.is_empty() {
        true => Ok(wanted),
        false => Err(Exit::failure(format!(
            "Replica election data contains duplicate partitions: [{}]",
            twice.into_iter().collect::<Vec<_>>().join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_refused_by_what_is_wrong_with_them() {
        let refusal =
            |text: &str| parse(text).unwrap_err().sentence().lines().next().unwrap_or_default().to_owned();
        assert_eq!(refusal("nonsense"), "Replica election data is empty");
        assert_eq!(refusal("{}"), "Replica election data is missing \"partitions\" field");
        let twice = r#"{"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":1}]}"#;
        assert_eq!(refusal(twice), "Replica election data contains duplicate partitions: [t-1]");
        assert_eq!(parse(r#"{"partitions":[]}"#).unwrap().len(), 0);
    }
}
