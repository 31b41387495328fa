//! The guide to the tools, and the examples that `--help` shows: each command works as it is written, on a
//! broker that has just been started.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use millstream_testkit::{Finished, Program, Running as Broker, Target, TargetOptions, repository};

use super::{LIMIT, Running, binary};

const WRITTEN: &str = "localhost:9092";

/// A directory to work in: the tools on the path, the broker's data in `data`.
struct Place {
    broker: Broker,
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let broker = Target::start(TargetOptions::default().set("node.id", 1)).unwrap();
        let place = Self { broker, directory: tempfile::tempdir().unwrap() };
        symlink(place.broker.data_dir(), place.path("data")).unwrap();
        symlink(binary(), place.path("millstream")).unwrap();
        Program::new(binary()).args(["install-tools", &place.name("tools")]).run().unwrap().ok().unwrap();
        let tools: Vec<PathBuf> =
            fs::read_dir(place.path("tools")).unwrap().map(|entry| entry.unwrap().path()).collect();
        for tool in tools {
            let plain = tool.with_extension("");
            symlink(&tool, plain).unwrap();
        }
        symlink(binary(), place.path("tools/millstream")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn here(&self, text: &str) -> String {
        text.replace(WRITTEN, self.broker.bootstrap())
    }

    fn environment(&self) -> String {
        format!("{}:{}", self.name("tools"), std::env::var("PATH").unwrap())
    }

    /// Runs lines of a shell; the first that fails ends it.
    fn run(&self, script: &str) -> Finished {
        let script = format!("set -euo pipefail\n{}", self.here(script));
        let program = Program::new("bash").args(["-c", &script]).directory(self.directory.path());
        program.env("PATH", self.environment()).limit(LIMIT * 3).run().unwrap()
    }

    /// Starts a tool that goes on until it is stopped.
    fn start(&self, line: &str) -> Running {
        let line = format!("exec {}", self.here(line));
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &line]).current_dir(self.directory.path()).env("PATH", self.environment());
        Running::of(&mut command)
    }
}

/// The blocks of a page that are marked as to be run.
fn blocks(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let behind = text.split("```sh\n").skip(1);
    behind.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_examples_of_the_guide_work_as_they_are_written() {
    let guide = repository().join("docs/guide");
    let mut pages: Vec<PathBuf> =
        fs::read_dir(guide.join("kafka-tools")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.push(guide.join("kafka-tools.md"));
    pages.sort();
    for page in pages {
        let place = Place::new();
        let blocks = blocks(&page);
        assert!(!blocks.is_empty(), "{}", page.display());
        for block in blocks {
            let finished = place.run(&block);
            let code = finished.status.code();
            assert_eq!(code, Some(0), "{}:\n{block}\n{}", page.display(), finished.stderr);
            assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
            for said in ["does not support", "Error", "ERROR"] {
                assert!(!finished.stdout.contains(said), "{block}\n{}", finished.stdout);
            }
        }
    }
}

/// What the examples are about.
const STAGE: &str = r#"
kafka-topics --bootstrap-server localhost:9092 --create --topic payments --partitions 4
kafka-topics --bootstrap-server localhost:9092 --create --topic jobs
kafka-topics --bootstrap-server localhost:9092 --create --topic lines
echo '{"topics":[{"topic":"orders"}],"version":1}' > topics.json
echo '{"partitions":[{"topic":"payments","partition":0,"replicas":[1]}],"version":1}' > moves.json
echo '{"partitions":[{"topic":"payments","partition":0,"offset":0}],"version":1}' > before.json
touch sasl.properties
millstream install-tools bin --config config
cp config/server.properties server.properties; echo "log.dirs=$PWD/node" >> server.properties
"#;

/// Examples that go on until they are stopped.
const ENDLESS: [&str; 4] = [
    "kafka-console-consumer",
    "kafka-verifiable-consumer",
    "kafka-console-share-consumer",
    "kafka-replica-verification",
];

/// Tools of which no example does anything on Millstream yet, which lacks what they are for.
const NOT_SERVED: [&str; 3] = ["kafka-acls", "kafka-console-share-consumer", "kafka-delegation-tokens"];

/// They start and stop brokers: `server.rs` and `quickstart.rs` try them.
const ELSEWHERE: [&str; 2] = ["kafka-server-start", "kafka-server-stop"];

fn examples(place: &Place, tool: &str) -> Vec<String> {
    let shown = |option: &str| {
        let finished = place.run(&format!("{tool} {option} < /dev/null || true"));
        finished.stdout + &finished.stderr
    };
    let mut text = shown("--help");
    // To some --help is an address, and they show it when they are given nothing. `kafka-server-stop` alone would
    // stop every broker on the machine.
    if !text.contains("examples:\n") && !ELSEWHERE.contains(&tool) {
        text = shown("");
    }
    let (_, lines) = text.split_once("examples:\n").unwrap_or_else(|| panic!("{tool}: {text}"));
    lines.lines().take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_tool_shows_examples_that_work() {
    let place = Place::new();
    place.run(STAGE).ok().unwrap();
    let mut tools: Vec<String> = fs::read_dir(place.path("tools"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("kafka-") && !name.ends_with(".sh"))
        .collect();
    // What the others read is written first.
    let order = |name: &str| match name {
        "kafka-topics" => 0,
        "kafka-console-producer" | "kafka-producer-perf-test" => 1,
        "kafka-console-consumer" => 2,
        _ => 3,
    };
    tools.sort_by_key(|name| (order(name), name.clone()));
    assert!(tools.len() > 30, "{tools:?}");
    let mut writer = None;
    for tool in tools {
        let examples = examples(&place, &tool);
        assert!(!examples.is_empty(), "{tool}");
        if ELSEWHERE.contains(&tool.as_str()) {
            continue;
        }
        let working = examples.iter().filter(|line| works(&place, &tool, line)).count();
        let expected = usize::from(!NOT_SERVED.contains(&tool.as_str()));
        assert!(working >= expected, "{tool}: none of {examples:#?} works");
        if tool == "kafka-topics" {
            // Whoever waits for new records gets some.
            let line =
                "kafka-verifiable-producer --bootstrap-server localhost:9092 --topic orders --throughput 50";
            writer = Some(place.start(line));
        }
    }
    drop(writer);
}

/// Whether it does what it says; what it does wrong in another way than not being served is a failure here.
fn works(place: &Place, tool: &str, line: &str) -> bool {
    assert!(line.starts_with(tool), "{line}");
    // With --timeout-ms too, as long as somebody writes.
    if ENDLESS.contains(&tool) && !line.contains("--max-messages") {
        let mut running = place.start(line);
        if tool == "kafka-console-share-consumer" {
            let (code, _, stderr) = running.end();
            assert!(code == Some(0) && stderr.contains("does not support"), "{line}: {stderr}");
            return false;
        }
        running.line();
        running.signal(rustix::process::Signal::INT);
        let (code, _, stderr) = running.end();
        assert_eq!(code, Some(130), "{line}: {stderr}");
        return true;
    }
    let finished = place.run(&format!("printf '1:one\\n2:two\\n' | {line}"));
    let said = finished.stdout.clone() + &finished.stderr;
    assert!(!said.contains("panicked"), "{line}: {said}");
    if said.contains("does not support") {
        return false;
    }
    finished.status.success()
}
