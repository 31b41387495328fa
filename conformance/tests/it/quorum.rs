//! Our `kafka-metadata-quorum` changes who votes among the controllers of a KRaft cluster (KIP-853), which only a
//! real Kafka has.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use millstream_testkit::{Process, Program, java_class, kafka_missing, millstream_binary, skip, wait_until};

const LIMIT: Duration = Duration::from_secs(240);

/// A node in its own directory, formatted by our tool.
struct Node {
    properties: String,
    directory: String,
    process: Process,
}

impl Node {
    fn start(root: &Path, id: u16, roles: &str, listeners: &str, voter: u16, how: &str) -> Self {
        let directory = root.join(format!("node-{id}")).display().to_string();
        let properties = root.join(format!("node-{id}.properties"));
        let text = format!(
            "process.roles={roles}\nnode.id={id}\nlisteners={listeners}\nlog.dirs={directory}\n\
             controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=127.0.0.1:{voter}\n"
        );
        fs::write(&properties, text).expect("written");
        let properties = properties.display().to_string();
        let format = ["kafka-storage", "format", "-t", "bWlsbHN0cmVhbS10ZXN0cw", "-c", &properties, how];
        ours(&format.map(str::to_owned)).expect("formatted");
        let program = java_class("kafka.Kafka").expect("java").arg(&properties);
        let process = program.start(&root.join(format!("node-{id}.log"))).expect("it starts");
        Self { properties, directory, process }
    }

    fn directory_id(&self) -> String {
        let meta = fs::read_to_string(Path::new(&self.directory).join("meta.properties")).expect("formatted");
        let id = meta.lines().find_map(|line| line.strip_prefix("directory.id="));
        id.expect("an id").to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.kill());
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Standard output of a tool that ends well, or else what it said.
fn ours(words: &[String]) -> Result<String, String> {
    let program = Program::new(millstream_binary().expect("a millstream")).args(words.iter().cloned());
    let finished = program.run().expect("our tool runs");
    if finished.status.success() { Ok(finished.stdout) } else { Err(finished.stderr) }
}

#[test]
fn a_controller_is_made_a_voter_and_a_follower_again() {
    if std::env::var("MILLSTREAM_TARGET").as_deref() != Ok("kafka") {
        // Millstream has one node and no listener for controllers.
        return;
    }
    if let Some(missing) = kafka_missing() {
        return skip("voters", &missing);
    }
    let root = tempfile::tempdir().expect("a directory");
    let (clients, first, second) = (free_port(), free_port(), free_port());
    let listeners = format!("PLAINTEXT://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{first}");
    let _leader = Node::start(root.path(), 1, "broker,controller", &listeners, first, "--standalone");
    let listeners = format!("CONTROLLER://127.0.0.1:{second}");
    let follower = Node::start(root.path(), 2, "controller", &listeners, first, "--no-initial-controllers");
    let at = [
        "kafka-metadata-quorum".to_owned(),
        "--bootstrap-controller".to_owned(),
        format!("127.0.0.1:{first}"),
    ];
    let quorum = |words: &[&str]| {
        ours(&at.iter().cloned().chain(words.iter().map(|word| (*word).to_owned())).collect::<Vec<_>>())
    };
    let role = || {
        let said = quorum(&["describe", "--replication"]).unwrap_or_default();
        let row = said.lines().find(|line| line.starts_with("2 ")).map(str::to_owned);
        row.and_then(|row| row.split_whitespace().last().map(str::to_owned))
    };
    let wait_for = |wanted: &str| {
        wait_until(wanted, LIMIT, || Ok((role().as_deref() == Some(wanted)).then_some(())))
            .expect("the role");
    };
    wait_for("Observer");
    let id = follower.directory_id();
    let shown = format!("controller 2 with directory id {id}");
    let endpoint = format!("and endpoints: CONTROLLER://127.0.0.1:{second}");
    let add = ["--command-config", &follower.properties, "add-controller"];
    assert_eq!(quorum(&add), Ok(format!("Added {shown} {endpoint}\n")));
    wait_for("Follower");
    let twice = quorum(&add).expect_err("it votes already");
    assert!(twice.contains("DuplicateVoterException"), "{twice}");
    // The one that does not lead sends whoever asks to the one that does.
    let elsewhere = [&at[0], &at[1], &format!("127.0.0.1:{second}"), "describe", "--status"];
    let status = ours(&elsewhere.map(str::to_owned)).expect("an answer");
    assert!(status.contains("LeaderId:               1"), "{status}");
    let remove = ["remove-controller", "-i", "2", "-d", &id];
    assert_eq!(quorum(&remove), Ok(format!("Removed  KRaft {shown}\n")));
    let again = quorum(&remove).expect_err("it votes no more");
    assert!(again.contains("VoterNotFoundException"), "{again}");
}
