//! `kafka-delete-records`: moves the beginnings of partitions up (`DeleteRecordsCommand`).

use std::{collections::BTreeMap, fs, process::ExitCode};

use millstream_types::{Offset, PartitionId, TopicName, TopicPartition};
use serde_json::Value;

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    kafka_error,
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output, run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-delete-records",
    summary: "Deletes the records before given offsets.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new(
            "offset-json-file",
            "A JSON file: {\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"offset\":5}]}; offset -1 deletes all there is.",
        )
        .takes("FILE"),
        HELP,
        VERSION,
    ],
    examples: &["--bootstrap-server localhost:9092 --offset-json-file before.json"],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            given.require(&["bootstrap-server", "offset-json-file"])?;
            block_on(act(given))
        },
    )
}

async fn act(given: &Given) -> Outcome {
    let path = given.one("offset-json-file")?.unwrap_or_default();
    let text = fs::read_to_string(path).map_err(|_| Exit::failure(format!("Unable to read file {path}")))?;
    let wanted = parse(&text)?;
    output::line("Executing records delete operation");
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let cluster =
        Cluster::admin(bootstrap, given.one("command-config")?, "deleteRecords(api=METADATA)").await;
    let results = match cluster {
        Ok(cluster) => cluster.admin_client().delete_records(&wanted).await?,
        // Kafka's tool ends well when nobody was there to refuse.
        Err(exit) if exit.sentence().starts_with("Timed out") => {
            let reason = format!("org.apache.kafka.common.errors.TimeoutException: {}", exit.sentence());
            output::line("Records delete operation completed:");
            for partition in wanted.keys() {
                output::line(&format!("partition: {partition}\terror: {reason}"));
            }
            return Ok(());
        }
        Err(exit) => return Err(exit),
    };
    output::line("Records delete operation completed:");
    for (partition, result) in results {
        output::line(&match result {
            Ok(start) => format!("partition: {partition}\tlow_watermark: {start}"),
            Err(error) => format!("partition: {partition}\terror: {}", kafka_error::exception(&error)),
        });
    }
    Ok(())
}

fn parse(text: &str) -> Outcome<BTreeMap<TopicPartition, Option<Offset>>> {
    let json: Value = serde_json::from_str(text)
        .map_err(|error| Exit::failure(format!("The input string is not a valid JSON\n{error}")))?;
    if let Some(version) = json.get("version").filter(|version| version.as_i64() != Some(1)) {
        return Err(Exit::failure(format!("Not supported version field value {version}")));
    }
    let missing = || Exit::failure("Missing partitions field");
    let partitions = json.get("partitions").ok_or_else(missing)?.as_array().ok_or_else(missing)?;
    let mut wanted = BTreeMap::new();
    let mut twice = Vec::new();
    for entry in partitions {
        let field = |name: &str| {
            entry.get(name).ok_or_else(|| Exit::failure(format!("Field `{name}` is missing in {entry}")))
        };
        let number = |name: &str| {
            let value = field(name)?;
            value.as_i64().ok_or_else(|| Exit::failure(format!("Field `{name}` is no whole number: {value}")))
        };
        let topic = field("topic")?;
        let topic = topic.as_str().and_then(|name| TopicName::parse(name).ok());
        let topic =
            topic.ok_or_else(|| Exit::failure(format!("Field `topic` is no topic's name in {entry}")))?;
        let partition = PartitionId(i32::try_from(number("partition")?).unwrap_or(-1));
        let offset = number("offset")?;
        let which = TopicPartition::new(topic, partition);
        if wanted.insert(which.clone(), Offset::from_wire(offset)).is_some() {
            twice.push(which.to_string());
        }
    }
    match twice.is_empty() {
        true => Ok(wanted),
        false => Err(Exit::failure(format!(
            "Offset json file contains duplicate topic partitions: {}",
            twice.join(",")
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
        assert_eq!(refusal("nonsense"), "The input string is not a valid JSON");
        assert_eq!(refusal("{\"version\":1}"), "Missing partitions field");
        assert_eq!(refusal("{\"version\":2,\"partitions\":[]}"), "Not supported version field value 2");
        assert!(refusal("{\"partitions\":[{\"topic\":\"t\"}]}").starts_with("Field `partition` is missing"));
        let twice = r#"{"partitions":[{"topic":"t","partition":0,"offset":1},{"topic":"t","partition":0,"offset":2}]}"#;
        assert_eq!(refusal(twice), "Offset json file contains duplicate topic partitions: t-0");
        let all = parse(r#"{"partitions":[{"topic":"t","partition":0,"offset":-1}]}"#).unwrap();
        assert_eq!(all.into_values().collect::<Vec<_>>(), [None]);
    }
}
