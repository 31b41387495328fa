//! Kafka's tools by name, as far as there is nothing of Kafka's to compare them with.

use millstream_testkit::{Program, Running, Target, TargetOptions};

use super::binary;

fn tool(words: &[&str]) -> Program {
    Program::new(binary()).args(words.iter().copied())
}

fn said(words: &[&str]) -> String {
    tool(words).run().unwrap().ok().unwrap()
}

fn with_topic(name: &str) -> Running {
    let broker = Target::start(TargetOptions::default()).unwrap();
    let at = broker.bootstrap();
    said(&["kafka-topics", "--bootstrap-server", at, "--create", "--topic", name, "--partitions", "2"]);
    broker
}

#[test]
fn the_metadata_of_a_running_broker_is_a_tree() {
    let broker = with_topic("shown");
    let log = broker.log_dir().join("__cluster_metadata-0/00000000000000000000.log");
    let log = log.display().to_string();
    let shell = |words: &[&str]| said(&[&["kafka-metadata-shell", "--snapshot", &log], words].concat());
    assert_eq!(shell(&["cat", "/image/topics/byName/shown/name"]), "shown\n");
    assert!(shell(&["cat", "/image/topics/byName/shown/1"]).starts_with("PartitionRegistration(replicas=["));
    assert_eq!(shell(&["ls", "/image/topics/byName/shown"]), "0\n1\nid\nname\n");
    assert!(shell(&["find", "/image/topics/byName"]).contains("/image/topics/byName/shown/0\n"));
    assert!(shell(&["cat", "/image/nope"]).contains("No such file or directory"));

    let typed = tool(&["kafka-metadata-shell", "-s", &log]).input("cd /image/topics\npwd\nls\nexit\nls\n");
    assert_eq!(typed.run().unwrap().ok().unwrap(), "/image/topics\nbyId\nbyName\n");
}

#[test]
fn a_java_class_is_the_tool_that_it_is_in_kafka() {
    let broker = with_topic("by-class");
    let class = "org.apache.kafka.tools.TopicCommand";
    let run = ["kafka-run-class", "-Xmx256m", class, "--bootstrap-server", broker.bootstrap(), "--list"];
    assert_eq!(said(&run), "by-class\n");
    let unknown = tool(&["kafka-run-class", "org.example.Main"]).run().unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(unknown.stderr.starts_with("Error: Could not find or load main class org.example.Main"));
}
