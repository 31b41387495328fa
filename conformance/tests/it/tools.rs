//! Kafka's own command line tools against the target.

use std::{fs, path::PathBuf, sync::Arc};

use millstream_testkit::{Running, kafka_missing, kafka_tool, skip, wait_until};
use serde_json::Value;

use crate::shared::broker;

/// The shared target, unless Kafka's tools cannot run here.
fn broker_and_tools() -> Option<Arc<Running>> {
    match kafka_missing() {
        Some(missing) => {
            skip("Kafka's command line tools", &missing);
            None
        }
        None => Some(broker()),
    }
}

/// Runs a tool against the target; its standard output if it ended well.
fn tool(target: &Running, name: &str, arguments: &[&str]) -> String {
    tool_with_input(target, name, arguments, "")
}

fn tool_with_input(target: &Running, name: &str, arguments: &[&str], input: &str) -> String {
    let program = kafka_tool(name).unwrap().args(["--bootstrap-server", target.bootstrap()]);
    program.args(arguments.iter().copied()).input(input).run().unwrap().ok().unwrap()
}

/// What a tool says, on both its outputs, when it must fail.
fn refusal(target: &Running, name: &str, arguments: &[&str]) -> String {
    let program = kafka_tool(name).unwrap().args(["--bootstrap-server", target.bootstrap()]);
    let finished = program.args(arguments.iter().copied()).run().unwrap();
    assert!(!finished.status.success(), "{}: it went well: {}", finished.name, finished.stdout);
    format!("{}{}", finished.stdout, finished.stderr)
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

fn create(target: &Running, topic: &str, partitions: &str) {
    tool(target, "kafka-topics", &["--create", "--topic", topic, "--partitions", partitions]);
}

/// Writes `count` records `KEY-i TAB VALUE-i` with the console producer.
fn write(target: &Running, topic: &str, count: usize) {
    let lines: String = (0..count).map(|i| format!("key-{i}\tvalue-{i}\n")).collect();
    let arguments = ["--topic", topic, "--reader-property", "parse.key=true"];
    tool_with_input(target, "kafka-console-producer", &arguments, &lines);
}

#[test]
fn kafka_topics_creates_describes_alters_and_deletes() {
    let Some(target) = broker_and_tools() else { return };
    let topics = |arguments: &[&str]| tool(&target, "kafka-topics", arguments);
    let configs = ["--config", "retention.ms=7200000", "--config", "cleanup.policy=compact,delete"];
    topics(&[&["--create", "--topic", "tools.topics", "--partitions", "3"][..], &configs].concat());
    let described = topics(&["--describe", "--topic", "tools.topics"]);
    assert_says(&described, &["PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=7200000"]);
    assert_says(&described, &["cleanup.policy=compact,delete", "Partition: 2\tLeader: ", "Elr:"]);
    topics(&["--alter", "--topic", "tools.topics", "--partitions", "5"]);
    assert_says(&topics(&["--describe", "--topic", "tools.topics"]), &["PartitionCount: 5"]);
    assert_says(&topics(&["--describe", "--under-replicated-partitions"]), &[]);
    let again = refusal(&target, "kafka-topics", &["--create", "--topic", "tools.topics"]);
    assert_says(&again, &["Topic 'tools.topics' already exists."]);
    let collides = refusal(&target, "kafka-topics", &["--create", "--topic", "tools_topics"]);
    assert_says(&collides, &["Topic 'tools_topics' collides with existing topic: tools.topics"]);
    topics(&["--delete", "--topic", "tools.topics"]);
    assert!(!topics(&["--list"]).contains("tools.topics"));
}

#[test]
fn kafka_configs_changes_topics_and_brokers() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-configs", "1");
    let configs = |arguments: &[&str]| tool(&target, "kafka-configs", arguments);
    let topic = ["--entity-type", "topics", "--entity-name", "tools-configs"];
    let with = |more: &[&'static str]| [&topic[..], more].concat();
    configs(&with(&["--alter", "--add-config", "retention.ms=3600000,cleanup.policy=[compact,delete]"]));
    let described = configs(&with(&["--describe"]));
    assert_says(&described, &["retention.ms=3600000", "DYNAMIC_TOPIC_CONFIG:retention.ms=3600000"]);
    assert_says(&described, &["cleanup.policy=compact,delete", "DEFAULT_CONFIG:log.cleanup.policy=delete"]);
    configs(&with(&["--alter", "--delete-config", "retention.ms"]));
    assert!(!configs(&with(&["--describe"])).contains("retention.ms"));
    assert_says(
        &configs(&with(&["--describe", "--all"])),
        &["retention.ms=604800000", "max.message.bytes=1048588"],
    );
    let refused = refusal(&target, "kafka-configs", &with(&["--alter", "--add-config", "retention.ms=soon"]));
    assert_says(&refused, &["Invalid value soon for configuration retention.ms: Not a number of type LONG"]);

    let brokers = ["--entity-type", "brokers", "--entity-default"];
    let with = |more: &[&'static str]| [&brokers[..], more].concat();
    configs(&with(&["--alter", "--add-config", "log.index.interval.bytes=8192"]));
    assert_says(&configs(&with(&["--describe"])), &["log.index.interval.bytes=8192"]);
    configs(&with(&["--alter", "--delete-config", "log.index.interval.bytes"]));
    assert!(!configs(&with(&["--describe"])).contains("log.index.interval.bytes"));
}

#[test]
fn the_console_producer_and_consumer_carry_keys_headers_and_nulls() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-console", "1");
    let properties = ["parse.key=true", "parse.headers=true", "null.marker=NULL"];
    let mut arguments = vec!["--topic", "tools-console", "--compression-codec", "zstd"];
    arguments.extend(properties.iter().flat_map(|p| ["--reader-property", p]));
    let lines = "h1:v1,h2:größe\tk1\tfirst\nNULL\tNULL\tNULL\nh1:a,h1:b\tk3\tlast\n";
    tool_with_input(&target, "kafka-console-producer", &arguments, lines);
    let mut arguments = vec!["--topic", "tools-console", "--from-beginning", "--max-messages", "3"];
    let properties = ["print.key=true", "print.headers=true", "print.offset=true", "print.partition=true"];
    arguments.extend(properties.iter().flat_map(|p| ["--formatter-property", p]));
    let read = tool(&target, "kafka-console-consumer", &arguments);
    let expected = "Partition:0\tOffset:0\th1:v1,h2:größe\tk1\tfirst\n\
                    Partition:0\tOffset:1\tNO_HEADERS\tnull\tnull\n\
                    Partition:0\tOffset:2\th1:a,h1:b\tk3\tlast\n";
    assert_eq!(read, expected);
}

#[test]
fn kafka_consumer_groups_lists_describes_resets_and_deletes() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-groups", "1");
    write(&target, "tools-groups", 10);
    let group = ["--group", "tools-group"];
    let consumer = ["--topic", "tools-groups", "--from-beginning", "--max-messages", "10"];
    tool(&target, "kafka-console-consumer", &[&consumer[..], &group].concat());
    let groups = |arguments: &[&str]| tool(&target, "kafka-consumer-groups", arguments);
    assert_says(&groups(&["--list"]), &["tools-group"]);
    assert_says(&groups(&["--list", "--state"]), &["tools-group", "Empty"]);
    let with = |more: &[&'static str]| [&group[..], more].concat();
    assert_eq!(offsets_and_lag(&groups(&with(&["--describe"]))), (10, 10, 0));
    assert_says(&groups(&with(&["--describe", "--state"])), &["Empty"]);
    let reset = ["--reset-offsets", "--topic", "tools-groups", "--shift-by", "-4", "--execute"];
    groups(&with(&reset));
    assert_eq!(offsets_and_lag(&groups(&with(&["--describe"]))), (6, 10, 4));
    groups(&with(&["--delete-offsets", "--topic", "tools-groups"]));
    assert!(!groups(&with(&["--describe"])).contains("tools-groups"));
    groups(&with(&["--delete"]));
    assert!(!groups(&["--list"]).lines().any(|line| line.trim() == "tools-group"));
}

/// CURRENT-OFFSET, LOG-END-OFFSET and LAG of the only partition in what `--describe` prints.
fn offsets_and_lag(described: &str) -> (i64, i64, i64) {
    let row = described.lines().find(|line| line.contains("tools-groups")).expect(described);
    let numbers: Vec<i64> = row.split_whitespace().skip(2).filter_map(|word| word.parse().ok()).collect();
    // PARTITION comes before the three.
    (numbers[1], numbers[2], numbers[3])
}

#[test]
fn kafka_get_offsets_answers_for_every_kind_of_time() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-offsets", "2");
    write(&target, "tools-offsets", 20);
    let offsets =
        |time: &str| tool(&target, "kafka-get-offsets", &["--topic", "tools-offsets", "--time", time]);
    let sum =
        |text: &str| text.lines().map(|l| l.rsplit(':').next().unwrap().parse::<i64>().unwrap()).sum::<i64>();
    assert_eq!(offsets("earliest"), "tools-offsets:0:0\ntools-offsets:1:0\n");
    assert_eq!(sum(&offsets("latest")), 20);
    assert_eq!(sum(&offsets("0")), 0);
    assert_eq!(offsets("max-timestamp").lines().count(), 2);
    assert_says(
        &tool(&target, "kafka-get-offsets", &["--topic-partitions", "tools-offsets:1"]),
        &["tools-offsets:1:"],
    );
}

#[test]
fn kafka_delete_records_moves_the_beginning() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-delete", "1");
    write(&target, "tools-delete", 10);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("offsets.json");
    let request = r#"{"partitions":[{"topic":"tools-delete","partition":0,"offset":7}],"version":1}"#;
    fs::write(&file, request).unwrap();
    let said = tool(&target, "kafka-delete-records", &["--offset-json-file", file.to_str().unwrap()]);
    assert_says(&said, &["low_watermark: 7"]);
    let earliest = tool(&target, "kafka-get-offsets", &["--topic", "tools-delete", "--time", "earliest"]);
    assert_eq!(earliest, "tools-delete:0:7\n");
}

#[test]
fn kafka_log_dirs_tells_sizes() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-log-dirs", "2");
    write(&target, "tools-log-dirs", 50);
    let said = tool(&target, "kafka-log-dirs", &["--describe", "--topic-list", "tools-log-dirs"]);
    let json: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let directory = &json["brokers"][0]["logDirs"][0];
    assert_eq!(directory["error"], Value::Null);
    assert_eq!(directory["logDir"], target.log_dir().display().to_string());
    let partitions = directory["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 2);
    let sizes: i64 = partitions.iter().map(|p| p["size"].as_i64().unwrap()).sum();
    assert!(sizes > 0, "{said}");
}

#[test]
fn the_verifiable_producer_and_consumer_agree() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-verifiable", "3");
    let arguments = ["--topic", "tools-verifiable", "--max-messages", "1000", "--acks", "-1"];
    let said = tool(&target, "kafka-verifiable-producer", &arguments);
    let produced = events(&said);
    assert_eq!(produced.iter().filter(|e| e["name"] == "producer_send_success").count(), 1000);
    let summary = produced.iter().find(|e| e["name"] == "tool_data").unwrap();
    assert_eq!((&summary["sent"], &summary["acked"]), (&1000.into(), &1000.into()));
    let arguments =
        ["--topic", "tools-verifiable", "--group-id", "tools-verifiable", "--max-messages", "1000"];
    let options = ["--reset-policy", "earliest", "--verbose"];
    let said = tool(&target, "kafka-verifiable-consumer", &[&arguments[..], &options].concat());
    let consumed = events(&said);
    let mut values: Vec<i64> = consumed
        .iter()
        .filter(|e| e["name"] == "record_data")
        .map(|e| e["value"].as_str().unwrap().parse().unwrap())
        .collect();
    values.sort_unstable();
    assert_eq!(values, (0..1000).collect::<Vec<_>>());
    let committed = consumed.iter().filter(|e| e["name"] == "offsets_committed");
    assert!(committed.clone().count() > 0 && committed.clone().all(|e| e["success"] == true), "{said}");
}

fn events(said: &str) -> Vec<Value> {
    said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn both_perf_tests_run_through() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-perf", "2");
    let producer = kafka_tool("kafka-producer-perf-test").unwrap();
    let arguments =
        ["--topic", "tools-perf", "--num-records", "20000", "--record-size", "100", "--throughput", "-1"];
    let said = producer
        .args(arguments)
        .args(["--bootstrap-server", target.bootstrap()])
        .run()
        .unwrap()
        .ok()
        .unwrap();
    assert_says(&said, &["20000 records sent", "99.9th"]);
    let arguments = ["--topic", "tools-perf", "--num-records", "20000", "--hide-header"];
    let said = tool(&target, "kafka-consumer-perf-test", &arguments);
    let fields: Vec<&str> = said.lines().last().unwrap().split(", ").collect();
    assert_eq!(fields[4].parse::<f64>().unwrap() as i64, 20_000, "data.consumed.in.nMsg in {said}");
}

#[test]
fn the_cluster_describes_itself() {
    let Some(target) = broker_and_tools() else { return };
    let program = kafka_tool("kafka-cluster").unwrap().args(["cluster-id", "--bootstrap-server"]);
    let cluster_id = program.arg(target.bootstrap()).run().unwrap().ok().unwrap();
    assert_says(&cluster_id, &["Cluster ID: "]);
    let quorum = tool(&target, "kafka-metadata-quorum", &["describe", "--status"]);
    assert_says(
        &quorum,
        &["LeaderId:", "LeaderEpoch:", "HighWatermark:", "CurrentVoters:", "MaxFollowerLag:         0"],
    );
    assert_says(&quorum, &[cluster_id.trim().trim_start_matches("Cluster ID: ")]);
    assert_says(
        &tool(&target, "kafka-metadata-quorum", &["describe", "--replication"]),
        &["Leader", "LogEndOffset"],
    );
    let features = tool(&target, "kafka-features", &["describe"]);
    assert_says(&features, &["Feature: metadata.version", "Feature: kraft.version"]);
    let versions = tool(&target, "kafka-broker-api-versions", &[]);
    for api in [
        "Produce(0): 0 to 13 [usable: 13]",
        "Fetch(1): 4 to 18 [usable: 18]",
        "JoinGroup(11): 0 to 9 [usable: 9]",
    ] {
        assert_says(&versions, &[api]);
    }
}

#[test]
fn kafka_dump_log_reads_everything_that_was_written() {
    let Some(target) = broker_and_tools() else { return };
    create(&target, "tools-dump", "1");
    write(&target, "tools-dump", 30);
    let group =
        ["--topic", "tools-dump", "--group", "tools-dump", "--from-beginning", "--max-messages", "30"];
    tool(&target, "kafka-console-consumer", &group);
    let data = files_of(&target, |name| name == "tools-dump-0");
    let said = dump(&data, &["--deep-iteration", "--print-data-log"]);
    assert_says(&said, &["isvalid: true", "payload: value-29", "key: key-0", "producerId: "]);
    let offsets = files_of(&target, |name| name.starts_with("__consumer_offsets-"));
    assert_says(&dump(&offsets, &["--offsets-decoder"]), &["\"group\":\"tools-dump\"", "\"offset\":30"]);
    let metadata = files_of(&target, |name| name == "__cluster_metadata-0");
    let said = dump(&metadata, &["--cluster-metadata-decoder"]);
    assert_says(
        &said,
        &["\"type\":\"TOPIC_RECORD\"", "\"name\":\"tools-dump\"", "\"type\":\"PARTITION_RECORD\""],
    );
}

/// The segments, and the time indexes that have entries, of the partitions with such a directory name.
fn files_of(target: &Running, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in fs::read_dir(target.log_dir()).unwrap().map(|e| e.unwrap()) {
        if wanted(&directory.file_name().to_string_lossy()) {
            let entries = fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().path());
            files
                .extend(entries.filter(|p| {
                    p.extension().is_some_and(|e| e == "log") && p.metadata().unwrap().len() > 0
                }));
        }
    }
    assert!(!files.is_empty(), "no such partition in {}", target.log_dir().display());
    files
}

fn dump(files: &[PathBuf], options: &[&str]) -> String {
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    let run = || {
        let program = kafka_tool("kafka-dump-log").unwrap().args(["--files", &names.join(",")]);
        program.args(options.iter().copied()).run().unwrap().ok()
    };
    // The broker writes on meanwhile: a batch caught half-written is no fault of what was written.
    let said =
        wait_until("dump-log to read the files", std::time::Duration::from_secs(20), || Ok(run().ok()))
            .unwrap();
    assert!(!said.contains("isvalid: false") && !said.contains("mismatch"), "{said}");
    said
}
