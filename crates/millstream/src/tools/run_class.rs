//! `kafka-run-class`: a tool by the name of the Java class that it is in Kafka.

use std::process::ExitCode;

use super::{named, output};

/// The classes behind the scripts. Those in Scala had other names before Kafka 4, which scripts still use.
const CLASSES: &[(&str, &str)] = &[
    ("kafka.admin.ConfigCommand", "kafka-configs"),
    ("kafka.tools.DumpLogSegments", "kafka-dump-log"),
    ("kafka.tools.GetOffsetShell", "kafka-get-offsets"),
    ("kafka.tools.StorageTool", "kafka-storage"),
    ("org.apache.kafka.shell.MetadataShell", "kafka-metadata-shell"),
    ("org.apache.kafka.tools.AclCommand", "kafka-acls"),
    ("org.apache.kafka.tools.BrokerApiVersionsCommand", "kafka-broker-api-versions"),
    ("org.apache.kafka.tools.ClientMetricsCommand", "kafka-client-metrics"),
    ("org.apache.kafka.tools.ClusterTool", "kafka-cluster"),
    ("org.apache.kafka.tools.ConsoleProducer", "kafka-console-producer"),
    ("org.apache.kafka.tools.ConsumerPerformance", "kafka-consumer-perf-test"),
    ("org.apache.kafka.tools.DelegationTokenCommand", "kafka-delegation-tokens"),
    ("org.apache.kafka.tools.DeleteRecordsCommand", "kafka-delete-records"),
    ("org.apache.kafka.tools.DumpLogSegments", "kafka-dump-log"),
    ("org.apache.kafka.tools.EndToEndLatency", "kafka-e2e-latency"),
    ("org.apache.kafka.tools.FeatureCommand", "kafka-features"),
    ("org.apache.kafka.tools.GetOffsetShell", "kafka-get-offsets"),
    ("org.apache.kafka.tools.GroupsCommand", "kafka-groups"),
    ("org.apache.kafka.tools.LeaderElectionCommand", "kafka-leader-election"),
    ("org.apache.kafka.tools.LogDirsCommand", "kafka-log-dirs"),
    ("org.apache.kafka.tools.MetadataQuorumCommand", "kafka-metadata-quorum"),
    ("org.apache.kafka.tools.ProducerPerformance", "kafka-producer-perf-test"),
    ("org.apache.kafka.tools.ReplicaVerificationTool", "kafka-replica-verification"),
    ("org.apache.kafka.tools.StreamsResetter", "kafka-streams-application-reset"),
    ("org.apache.kafka.tools.TopicCommand", "kafka-topics"),
    ("org.apache.kafka.tools.TransactionsCommand", "kafka-transactions"),
    ("org.apache.kafka.tools.VerifiableConsumer", "kafka-verifiable-consumer"),
    ("org.apache.kafka.tools.VerifiableProducer", "kafka-verifiable-producer"),
    ("org.apache.kafka.tools.consumer.ConsoleConsumer", "kafka-console-consumer"),
    ("org.apache.kafka.tools.consumer.ConsoleShareConsumer", "kafka-console-share-consumer"),
    ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "kafka-consumer-groups"),
    ("org.apache.kafka.tools.consumer.group.ShareGroupCommand", "kafka-share-groups"),
    ("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "kafka-reassign-partitions"),
    ("org.apache.kafka.tools.streams.StreamsGroupCommand", "kafka-streams-groups"),
];

pub(super) fn run(arguments: &[String]) -> ExitCode {
    // Options of the JVM's stand before the class.
    let mut words = arguments.iter().skip_while(|word| word.starts_with('-'));
    let Some(class) = words.next() else {
        output::line(
            "USAGE: kafka-run-class CLASS OPTIONS\n\nexamples:\n  kafka-run-class org.apache.kafka.tools.GetOffsetShell --bootstrap-server localhost:9092\n\nclasses:",
        );
        let mut listed: Vec<&str> = available().map(|(class, _)| class).collect();
        listed.sort_unstable();
        for class in listed {
            output::line(&format!("  {class}"));
        }
        output::flush();
        return ExitCode::FAILURE;
    };
    let Some(tool) =
        available().find(|(known, _)| *known == class.as_str()).and_then(|(_, tool)| named(tool))
    else {
        output::say(&format!(
            "Error: Could not find or load main class {class}\nno Java runs here; kafka-run-class alone lists the classes that are built in"
        ));
        return ExitCode::FAILURE;
    };
    (tool.run)(&words.cloned().collect::<Vec<_>>())
}

/// Classes whose tool there is.
fn available() -> impl Iterator<Item = (&'static str, &'static str)> {
    CLASSES.iter().copied().filter(|(_, tool)| named(tool).is_some())
}

#[test]
fn every_class_leads_to_a_tool_and_is_there_once() {
    let mut classes: Vec<&str> = CLASSES.iter().map(|row| row.0).collect();
    classes.sort_unstable();
    classes.dedup();
    assert_eq!(classes.len(), CLASSES.len());
    let tool = |class: &str| available().find(|row| row.0 == class).map(|row| row.1);
    assert_eq!(tool("org.apache.kafka.tools.GetOffsetShell"), Some("kafka-get-offsets"));
    assert_eq!(tool("kafka.tools.GetOffsetShell"), Some("kafka-get-offsets"));
    assert_eq!(tool("org.example.Main"), None);
}
