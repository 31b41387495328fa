//! Kafka's quickstart, with the commands as they stand on its page, but for the ports and the directory.

use std::{fs, path::Path, process::Command};

use millstream_testkit::{Process, Program, wait_until};
use rustix::process::Signal;

use super::{LIMIT, Running, binary, free_port};

/// A directory that looks like that of Kafka's archive.
struct Kafka {
    directory: tempfile::TempDir,
    port: u16,
}

impl Kafka {
    fn install() -> Self {
        let kafka = Self { directory: tempfile::tempdir().unwrap(), port: free_port() };
        let install = Program::new(binary()).args(["install-tools", "bin", "--config", "config"]);
        install.directory(kafka.path()).run().unwrap().ok().unwrap();
        let file = kafka.path().join("config/server.properties");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, kafka.moved(&text)).unwrap();
        kafka
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Away from ports and directories that others use.
    fn moved(&self, text: &str) -> String {
        let here = self.path().join("kraft-combined-logs");
        text.replace("localhost:9092", &format!("localhost:{}", self.port))
            .replace("/tmp/kraft-combined-logs", &here.display().to_string())
    }

    fn shell(&self, commands: &str) -> Program {
        Program::new("bash").args(["-euc", &self.moved(commands)]).directory(self.path())
    }

    fn run(&self, commands: &str) -> String {
        self.shell(commands).run().unwrap().ok().unwrap()
    }
}

fn wait_for_broker(kafka: &Kafka, broker: &mut Process) {
    wait_until("the broker", LIMIT, || {
        assert_eq!(broker.ended()?, None, "{}", broker.output());
        Ok(broker.output().contains("is ready").then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error} in {}: {}", kafka.path().display(), broker.output()));
}

#[test]
fn kafkas_quickstart_works_as_it_is_written() {
    let kafka = Kafka::install();
    // Step 2: start the Kafka environment.
    let formatted = kafka.run(
        r#"KAFKA_CLUSTER_ID="$(bin/kafka-storage.sh random-uuid)"
           bin/kafka-storage.sh format --standalone -t $KAFKA_CLUSTER_ID -c config/server.properties"#,
    );
    assert!(formatted.contains("kraft-combined-logs with metadata.version 4.3-IV0."), "{formatted}");
    let start = Program::new(kafka.path().join("bin/kafka-server-start.sh")).arg("config/server.properties");
    let mut broker = start.directory(kafka.path()).start(&kafka.path().join("output.log")).unwrap();
    wait_for_broker(&kafka, &mut broker);

    // Step 3: create a topic to store your events.
    let created =
        kafka.run("bin/kafka-topics.sh --create --topic quickstart-events --bootstrap-server localhost:9092");
    assert_eq!(created, "Created topic quickstart-events.\n");
    let described = kafka
        .run("bin/kafka-topics.sh --describe --topic quickstart-events --bootstrap-server localhost:9092");
    let mut rows = described.lines();
    let head = rows.next().unwrap();
    assert!(head.starts_with("Topic: quickstart-events\tTopicId: "), "{described}");
    assert!(head.contains("\tPartitionCount: 1\tReplicationFactor: 1\t"), "{described}");
    let row = "\tTopic: quickstart-events\tPartition: 0\tLeader: 1\tReplicas: 1\tIsr: 1\t";
    assert!(rows.next().unwrap().starts_with(row), "{described}");

    // Step 4: write some events into the topic.
    let write = kafka
        .shell("bin/kafka-console-producer.sh --topic quickstart-events --bootstrap-server localhost:9092");
    let written = write.input("This is my first event\nThis is my second event\n").run().unwrap();
    assert_eq!(written.ok().unwrap(), "");

    // Step 5: read the events, until ctrl-C.
    let bootstrap = format!("localhost:{}", kafka.port);
    let read = ["--topic", "quickstart-events", "--from-beginning", "--bootstrap-server", &bootstrap];
    let mut command = Command::new(kafka.path().join("bin/kafka-console-consumer.sh"));
    let mut consumer = Running::of(command.args(read));
    assert_eq!(consumer.line(), "This is my first event");
    assert_eq!(consumer.line(), "This is my second event");
    consumer.signal(Signal::INT);
    assert_eq!(consumer.end().0, Some(130));

    // Step 8: terminate the Kafka environment, with ctrl-C, and delete its data.
    broker.signal(Signal::INT).unwrap();
    assert!(broker.wait(LIMIT).unwrap().success(), "{}", broker.output());
    kafka.run("rm -rf /tmp/kraft-combined-logs");

    // And from the beginning.
    kafka.run(
        r#"KAFKA_CLUSTER_ID="$(bin/kafka-storage.sh random-uuid)"
           bin/kafka-storage.sh format --standalone -t $KAFKA_CLUSTER_ID -c config/server.properties"#,
    );
    let start = Program::new(kafka.path().join("bin/kafka-server-start.sh")).arg("config/server.properties");
    let mut broker = start.directory(kafka.path()).start(&kafka.path().join("again.log")).unwrap();
    wait_for_broker(&kafka, &mut broker);
    assert_eq!(kafka.run("bin/kafka-topics.sh --list --bootstrap-server localhost:9092"), "\n");
}
