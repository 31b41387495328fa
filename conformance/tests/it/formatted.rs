//! A directory that our `kafka-storage format` made: Millstream starts on it, and Apache Kafka takes it over
//! with what was written; and the other way round.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use millstream_testkit::{
    Process, Program, java_class, kafka_missing, kafka_tool, millstream_binary, skip, wait_until,
};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(120);
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

struct Node {
    directory: tempfile::TempDir,
    port: u16,
}

impl Node {
    /// `quorum`: the line that says who votes, with `{c}` for the controller's port.
    fn new(quorum: &str) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, controller) = (free(), free());
        let node = Self { directory: tempfile::tempdir().unwrap(), port };
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\n{}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             log.dirs={}\noffsets.topic.replication.factor=1\n",
            quorum.replace("{c}", &controller.to_string()),
            node.path().join("logs").display()
        );
        fs::write(node.config(), text).unwrap();
        node
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn config(&self) -> String {
        self.path().join("server.properties").display().to_string()
    }

    fn ours(&self, tool: &str) -> Program {
        Program::new(millstream_binary().unwrap()).arg(tool)
    }

    fn start_millstream(&self) -> Process {
        let start = self.ours("kafka-server-start").arg(self.config());
        let mut process = start.start(&self.path().join("millstream.log")).unwrap();
        self.wait(&mut process);
        process
    }

    fn start_kafka(&self) -> Process {
        let start = java_class("kafka.Kafka").unwrap().arg(self.config());
        let mut process = start.start(&self.path().join("kafka.log")).unwrap();
        self.wait(&mut process);
        process
    }

    fn wait(&self, process: &mut Process) {
        wait_until("the broker", LIMIT, || {
            assert_eq!(process.ended()?, None, "{}", process.output());
            let listed = self.with("kafka-topics").arg("--list").limit(Duration::from_secs(90)).run()?;
            Ok(listed.status.success().then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error}: {}", process.output()));
    }

    fn with(&self, tool: &str) -> Program {
        self.ours(tool).args(["--bootstrap-server", &format!("127.0.0.1:{}", self.port)])
    }

    fn write(&self, lines: &str) {
        self.with("kafka-console-producer")
            .args(["--topic", "kept"])
            .input(lines)
            .run()
            .unwrap()
            .ok()
            .unwrap();
    }

    fn read(&self, count: usize) -> String {
        let options = ["--topic", "kept", "--partition", "0", "--offset", "earliest", "--max-messages"];
        let read = self.with("kafka-console-consumer").args(options).arg(count.to_string());
        read.run().unwrap().ok().unwrap()
    }

    /// Millstream, Kafka, Millstream.
    fn live(&self) {
        for (number, is_kafka) in [false, true, false].into_iter().enumerate() {
            let mut process = if is_kafka { self.start_kafka() } else { self.start_millstream() };
            if number == 0 {
                let create =
                    self.with("kafka-topics").args(["--create", "--topic", "kept", "--partitions", "1"]);
                create.run().unwrap().ok().unwrap();
            }
            self.write(&format!("{number}\n"));
            let expected: String = (0..=number).map(|number| format!("{number}\n")).collect();
            assert_eq!(self.read(number + 1), expected);
            process.signal(Signal::TERM).unwrap();
            process.wait(LIMIT).unwrap();
        }
    }
}

#[test]
fn a_directory_that_we_format_is_started_by_both() {
    if let Some(missing) = kafka_missing() {
        return skip("formatted directories on Kafka", &missing);
    }
    for (quorum, option) in [
        ("controller.quorum.voters=1@127.0.0.1:{c}", None),
        ("controller.quorum.bootstrap.servers=127.0.0.1:{c}", Some("--standalone")),
    ] {
        let node = Node::new(quorum);
        let format = node.ours("kafka-storage").args(["format", "-t", CLUSTER, "-c", &node.config()]);
        format.args(option).run().unwrap().ok().unwrap();
        node.live();
    }
}

#[test]
fn a_directory_that_kafka_formats_is_started_by_both() {
    if let Some(missing) = kafka_missing() {
        return skip("directories that Kafka formats", &missing);
    }
    let node = Node::new("controller.quorum.bootstrap.servers=127.0.0.1:{c}");
    let format = kafka_tool("kafka-storage").unwrap();
    let format = format.args(["format", "--standalone", "-t", CLUSTER, "-c", &node.config()]);
    format.run().unwrap().ok().unwrap();
    node.live();
}
