//! Starting a real Apache Kafka: broker and controller in one (KRaft), from jars with `java` directly.
//! Settings that Millstream has by default (replication factor 1 of internal topics, no initial rebalance
//! delay) are given to it; everything else is Kafka's own default.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    paths::kafka_libs,
    ports::free_port,
    process::{Process, Program},
    target::{Place, Ready},
    tools::log4j_configuration,
};

/// Small, and compiled by the quick compiler only: tests start often and run briefly.
const JAVA_OPTIONS: [&str; 5] =
    ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"];

/// What the broker logs last on its way up.
const STARTED: &str = "Kafka Server started";

pub(crate) fn spawn(place: &Place) -> Result<Process> {
    let properties = place.root.join("server.properties");
    fs::write(&properties, server_properties(place)?)?;
    let properties = properties.display().to_string();
    if !place.log_dir().join("meta.properties").exists() {
        format(place, &properties)?;
    }
    let options = &place.options.java_options;
    let mut program = place.wrapped("java");
    program = if options.is_empty() { program.args(JAVA_OPTIONS) } else { program.args(options.clone()) };
    // Each start's output begins anew, so that an earlier "started" is not taken for this one's.
    keep_earlier_output(&place.output_file())?;
    program.args(class_path("INFO")?).args(["kafka.Kafka", &properties]).start(&place.output_file())
}

pub(crate) fn ready(place: &Place, process: &Process) -> Result<Option<Ready>> {
    let port = place.port;
    let ready = || Ready { bootstrap: format!("127.0.0.1:{port}"), line: serde_json::Value::Null };
    Ok(process.output().contains(STARTED).then(ready))
}

/// The arguments of `java` that put Kafka on the class path and its log on standard output or error.
pub(crate) fn class_path(log_level: &str) -> Result<[String; 3]> {
    let libs = kafka_libs()?;
    let log4j = log4j_configuration(&libs, log_level)?;
    Ok([
        format!("-Dlog4j2.configurationFile={}", log4j.display()),
        "-cp".to_owned(),
        format!("{}/*", libs.display()),
    ])
}

fn format(place: &Place, properties: &str) -> Result<()> {
    let id = "bWlsbHN0cmVhbS10ZXN0cw";
    let arguments = ["kafka.tools.StorageTool", "format", "-t", id, "-c", properties];
    let program = Program::new("java").args(JAVA_OPTIONS).args(class_path("ERROR")?).args(arguments);
    program.run()?.ok().with_context(|| format!("formatting {}", place.log_dir().display()))?;
    Ok(())
}

fn server_properties(place: &Place) -> Result<String> {
    let port = place.port;
    let controller = free_port()?;
    let mut properties: Vec<(String, String)> = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", "1".to_owned()),
        ("controller.quorum.voters", format!("1@127.0.0.1:{controller}")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("listeners", format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}")),
        ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
        ("log.dirs", place.log_dir().display().to_string()),
        ("offsets.topic.replication.factor", "1".to_owned()),
        ("transaction.state.log.replication.factor", "1".to_owned()),
        ("transaction.state.log.min.isr", "1".to_owned()),
        ("share.coordinator.state.topic.replication.factor", "1".to_owned()),
        ("share.coordinator.state.topic.min.isr", "1".to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        // After a kill the controller first waits for the earlier registration to expire.
        ("broker.heartbeat.interval.ms", "1000".to_owned()),
        ("broker.session.timeout.ms", "6000".to_owned()),
        // A broker on a busy machine should wait for its controller, not end.
        ("initial.broker.registration.timeout.ms", "240000".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec();
    for (key, value) in &place.options.settings {
        properties.retain(|(known, _)| known != key);
        properties.push((key.clone(), value.clone()));
    }
    Ok(properties.iter().map(|(key, value)| format!("{key}={value}\n")).collect())
}

fn keep_earlier_output(path: &Path) -> Result<()> {
    let mut number = 1;
    while path.with_extension(format!("{number}.log")).exists() {
        number += 1;
    }
    if path.exists() {
        fs::rename(path, path.with_extension(format!("{number}.log")))?;
    }
    Ok(())
}
