//! `kafka-storage format`, `kafka-server-start` and `kafka-server-stop` together. Stopping is tried in a
//! namespace of its own, since it means every broker on the machine.

use std::{fs, path::Path, process::Command};

use millstream_testkit::{Program, skip};

use super::{binary, free_port};

/// `unshare` with which a process sees no others.
const ALONE: [&str; 6] = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--"];

fn can_be_alone() -> bool {
    Command::new("unshare").args(ALONE).arg("true").output().is_ok_and(|tried| tried.status.success())
}

fn write_config(directory: &Path, name: &str, node: i32, port: u16) {
    let logs = directory.join(format!("logs-{node}"));
    let text = format!(
        "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={node}@localhost:9093\n\
         controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://localhost:{port},CONTROLLER://localhost:9093\n\
         log.dirs={}\n",
        logs.display()
    );
    fs::write(directory.join(name), text).unwrap();
}

/// Waits until a broker answers, at most a minute. The tool itself, like Kafka's, does not wait.
const ANSWERS: &str = "answers() {\n\
                       for _ in $(seq 300); do\n\
                       $M kafka-broker-api-versions --bootstrap-server localhost:$1 >/dev/null && return\n\
                       sleep 0.2\n\
                       done\n\
                       return 1; }\n";

fn alone(directory: &Path, script: &str) -> (i32, String, String) {
    let script = format!("M={}\n{ANSWERS}{script}", binary());
    let program = Program::new("unshare").args(ALONE).args(["bash", "-c", &script]).directory(directory);
    let finished = program.env("HOME", directory.display().to_string()).run().unwrap();
    (finished.status.code().unwrap_or(-1), finished.stdout, finished.stderr)
}

#[test]
fn brokers_are_started_in_the_background_and_stopped_by_number_or_all_at_once() {
    if !can_be_alone() {
        return skip("kafka-server-stop", "no namespace of processes can be made here");
    }
    let directory = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port()];
    write_config(directory.path(), "one.properties", 1, ports[0]);
    write_config(directory.path(), "two.properties", 2, ports[1]);
    let script = format!(
        "$M kafka-server-stop; echo none $?\n\
         $M kafka-storage format -t MkU3OEVBNTcwNTJENDM2Qg -c one.properties\n\
         LOG_DIR=out $M kafka-server-start -daemon one.properties || exit 7\n\
         $M kafka-server-start two.properties --override log.retention.hours=1 --override no.such.key=1 >two.out 2>&1 &\n\
         two=$!\n\
         answers {one} && answers {two} || {{ cat out/kafkaServer.out two.out; exit 8; }}\n\
         $M kafka-configs --bootstrap-server localhost:{two} --describe --all --entity-type brokers --entity-name 2 | grep -c '^  log.retention.hours=1 '\n\
         $M kafka-server-stop --node-id=2; echo one $?\n\
         wait $two; echo ended $?\n\
         answers {one} && echo still there\n\
         $M kafka-server-stop; echo all $?\n\
         for _ in $(seq 600); do $M kafka-server-stop >/dev/null || break; sleep 0.1; done\n\
         $M kafka-server-stop; echo none $?\n",
        one = ports[0],
        two = ports[1],
    );
    let (code, stdout, stderr) = alone(directory.path(), &script);
    let said: Vec<&str> = stdout
        .lines()
        .filter(|line| !line.starts_with("Formatting") && !line.starts_with("Bootstrap"))
        .collect();
    assert_eq!(
        said,
        [
            "No kafka server to stop",
            "none 1",
            "1",
            "one 0",
            "ended 0",
            "still there",
            "all 0",
            "No kafka server to stop",
            "none 1"
        ],
        "{code}: {stdout}\n{stderr}"
    );
    let two = fs::read_to_string(directory.path().join("two.out")).unwrap();
    assert!(two.contains("no.such.key is not a key of Kafka"), "an unknown key is no error: {two}");
    assert!(fs::read_to_string(directory.path().join("out/kafkaServer.out")).unwrap().contains("is ready"));
}
