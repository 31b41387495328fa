//! Kafka's own command line tools, by the names of their scripts, and other classes on Kafka's jars.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    kafka::class_path,
    paths::kafka_libs,
    process::{Finished, Program},
};

/// The script's name, and the class that it starts.
const TOOLS: &[(&str, &str)] = &[
    ("kafka-acls", "org.apache.kafka.tools.AclCommand"),
    ("kafka-broker-api-versions", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("kafka-client-metrics", "org.apache.kafka.tools.ClientMetricsCommand"),
    ("kafka-cluster", "org.apache.kafka.tools.ClusterTool"),
    ("kafka-configs", "kafka.admin.ConfigCommand"),
    ("kafka-console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("kafka-console-producer", "org.apache.kafka.tools.ConsoleProducer"),
    ("kafka-console-share-consumer", "org.apache.kafka.tools.consumer.ConsoleShareConsumer"),
    ("kafka-consumer-groups", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("kafka-consumer-perf-test", "org.apache.kafka.tools.ConsumerPerformance"),
    ("kafka-delegation-tokens", "org.apache.kafka.tools.DelegationTokenCommand"),
    ("kafka-delete-records", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("kafka-dump-log", "org.apache.kafka.tools.DumpLogSegments"),
    ("kafka-e2e-latency", "org.apache.kafka.tools.EndToEndLatency"),
    ("kafka-features", "org.apache.kafka.tools.FeatureCommand"),
    ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell"),
    ("kafka-groups", "org.apache.kafka.tools.GroupsCommand"),
    ("kafka-leader-election", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("kafka-log-dirs", "org.apache.kafka.tools.LogDirsCommand"),
    ("kafka-metadata-quorum", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("kafka-metadata-shell", "org.apache.kafka.shell.MetadataShell"),
    ("kafka-producer-perf-test", "org.apache.kafka.tools.ProducerPerformance"),
    ("kafka-reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("kafka-replica-verification", "org.apache.kafka.tools.ReplicaVerificationTool"),
    ("kafka-server-start", "kafka.Kafka"),
    ("kafka-share-groups", "org.apache.kafka.tools.consumer.group.ShareGroupCommand"),
    ("kafka-storage", "kafka.tools.StorageTool"),
    ("kafka-streams-application-reset", "org.apache.kafka.tools.StreamsResetter"),
    ("kafka-streams-groups", "org.apache.kafka.tools.streams.StreamsGroupCommand"),
    ("kafka-topics", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-transactions", "org.apache.kafka.tools.TransactionsCommand"),
    ("kafka-verifiable-consumer", "org.apache.kafka.tools.VerifiableConsumer"),
    ("kafka-verifiable-producer", "org.apache.kafka.tools.VerifiableProducer"),
];

/// Why a real Kafka and its tools cannot run here, if they cannot.
pub fn kafka_missing() -> Option<String> {
    if let Err(error) = kafka_libs() {
        return Some(format!("{error:#}"));
    }
    let version = java().arg("-version").run().and_then(Finished::ok);
    version.err().map(|error| format!("java does not run: {error:#}"))
}

/// One of Kafka's tools by its script's name, `kafka-topics` for instance.
pub fn kafka_tool(name: &str) -> Result<Program> {
    java_class(kafka_tool_class(name)?)
}

/// The Java class behind a script's name.
pub fn kafka_tool_class(name: &str) -> Result<&'static str> {
    let class = TOOLS.iter().find(|(script, _)| *script == name).map(|(_, class)| *class);
    class.with_context(|| format!("no tool is named {name}"))
}

/// Any class on Kafka's jars.
pub fn java_class(class: &str) -> Result<Program> {
    Ok(java().args(class_path("ERROR")?).arg(class))
}

/// A single-file Java program, compiled as it starts, on the jars of `libs` or else Kafka's.
pub fn java_source(file: &Path, libs: Option<&Path>) -> Result<Program> {
    let program = java();
    let program = match libs {
        Some(libs) => program.arg("-cp").arg(format!("{}/*", libs.display())),
        None => program.args(class_path("ERROR")?),
    };
    Ok(program.arg(file.display().to_string()))
}

fn java() -> Program {
    Program::new("java").args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
}

/// A log4j configuration for standard error at `level`, beside the jars; written once, by whoever is first.
pub(crate) fn log4j_configuration(libs: &Path, level: &str) -> Result<PathBuf> {
    let path = libs.with_file_name(format!("log4j2-{level}.properties"));
    let text = format!(
        "rootLogger.level = {level}\n\
         rootLogger.appenderRef.stderr.ref = STDERR\n\
         appender.stderr.type = Console\n\
         appender.stderr.name = STDERR\n\
         appender.stderr.target = SYSTEM_ERR\n\
         appender.stderr.layout.type = PatternLayout\n\
         appender.stderr.layout.pattern = [%d] %p %m (%c)%n\n"
    );
    if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
        let mut whole =
            tempfile::NamedTempFile::new_in(libs.parent().context("the jars have no directory")?)?;
        std::io::Write::write_all(&mut whole, text.as_bytes())?;
        whole.persist(&path)?;
    }
    Ok(path)
}
