//! The first days of a course, walked as docs/guide/first-days.md tells it: with the binary, Kafka's tools by
//! name, and Python. The page and this walk hold each other to account.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use millstream_testkit::{Finished, Process, Program, cache_dir, skip, wait_until};
use rustix::process::Signal;
use serde_json::Value;

const PAGE: &str = include_str!("../../../../docs/guide/first-days.md");
const WALK: &str = include_str!("days.rs");
const LIMIT: Duration = Duration::from_secs(90);
/// What the page has that a test has of its own: a platform that runs, Python's environment.
const ELSEWHERE: [&str; 3] = [
    "millstream up",
    "python3 -m venv .venv && . .venv/bin/activate && pip install kafka-python",
    "export PATH=\"$PWD/bin:$PATH\"",
];

/// A platform that runs, and a learner's directory beside it.
struct Platform {
    directory: PathBuf,
    bootstrap: String,
}

static PLATFORM: LazyLock<Platform> = LazyLock::new(|| {
    // The platform dies with the thread that started it, which must therefore outlive every test.
    let (ready, started) = mpsc::channel();
    thread::spawn(move || {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data").display().to_string();
        let words = [
            "up",
            "--listen",
            "PLAINTEXT://localhost:0",
            "--console-port",
            "0",
            "--output",
            "json",
            "--data",
        ];
        let up = Program::new(env!("CARGO_BIN_EXE_millstream")).args(words).arg(data);
        let mut process = up.start(&root.path().join("output.log")).unwrap();
        let line: Value = wait_until("the ready line", LIMIT, || {
            assert_eq!(process.ended()?, None, "{}", process.output());
            Ok(process.output().lines().find_map(|line| serde_json::from_str(line).ok()))
        })
        .unwrap();
        let directory = root.path().to_owned();
        ready
            .send(Platform { directory, bootstrap: line["bootstrap"].as_str().unwrap().to_owned() })
            .unwrap();
        loop {
            thread::park();
        }
    });
    let platform = started.recv().unwrap();
    shell(&platform, "millstream install-tools bin").run().unwrap().ok().unwrap();
    platform
});

/// A line of shell in the learner's directory, with the page's address turned into the platform's.
fn shell(platform: &Platform, line: &str) -> Program {
    let line = line.replace("localhost:9092", &platform.bootstrap);
    let binary = Path::new(env!("CARGO_BIN_EXE_millstream")).parent().unwrap();
    let own = [binary.to_owned(), platform.directory.join("bin"), python()];
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(own.into_iter().chain(env::split_paths(&path))).unwrap();
    let shell = Program::new("bash").args(["-euo", "pipefail", "-c", &line]).directory(&platform.directory);
    shell.env("PATH", path.to_str().unwrap()).env("MILLSTREAM_BOOTSTRAP", &platform.bootstrap)
}

/// Where kafka-python is, once `conformance/install.sh` has been there.
fn python() -> PathBuf {
    cache_dir().unwrap().join("clients/kafka-python/venv/bin")
}

fn has_python(test: &str) -> bool {
    let is_there = python().join("python3").exists();
    if !is_there {
        skip(test, "kafka-python: run conformance/install.sh kafka-python");
    }
    is_there
}

/// A command of the page, as it stands there.
fn shown(line: &str) -> Program {
    assert!(PAGE.contains(&format!("\n$ {line}\n")), "the page does not show {line}");
    shell(&PLATFORM, line)
}

fn finished(line: &str) -> Finished {
    let finished = shown(line).run().unwrap();
    assert!(finished.status.success(), "{finished:?}");
    finished
}

fn run(line: &str) -> String {
    finished(line).stdout
}

/// What the page shows of a program in Python, as the file that it is called there.
fn write_program(name: &str) {
    let behind = PAGE.split_once(&format!("`{name}`")).unwrap().1;
    let program = behind.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let program = program.replace("localhost:9092", &PLATFORM.bootstrap);
    std::fs::write(PLATFORM.directory.join(name), program).unwrap();
}

#[test]
fn everything_on_the_page_is_tried() {
    let commands = PAGE.lines().filter_map(|line| line.strip_prefix("$ "));
    for command in commands.filter(|command| !ELSEWHERE.contains(command)) {
        let quoted = command.replace('\\', "\\\\").replace('"', "\\\"");
        assert!(WALK.contains(&quoted), "nobody tries {command}");
    }
}

#[test]
fn day_1_a_platform_and_a_record() {
    assert!(run("millstream cluster show").starts_with("cluster\t"));
    let written = finished("echo 'hello, stream' | millstream produce first");
    assert_eq!(written.stderr, "topic first did not exist; the broker made it\n1 record written to first\n");
    assert!(PAGE.contains(&written.stderr));
    assert_eq!(run("millstream cat first --exit"), "hello, stream\n");
}

#[test]
fn day_2_a_key_is_always_on_the_same_partition_and_day_9_a_group_shares_them() {
    let created = "kafka-topics.sh --bootstrap-server localhost:9092 --create --topic orders --partitions 3";
    assert_eq!(run(created), "Created topic orders.\n");
    let partitions =
        run("millstream topic show orders").lines().filter(|row| row.starts_with("partition\t")).count();
    assert_eq!(partitions, 3);
    let written = finished(
        "for who in ada ben cem dia; do for n in 1 2 3; do echo \"$who:order $n\"; done; done | millstream produce orders -K :",
    );
    assert_eq!(written.stderr, "12 records written to orders\n");
    let counts = run("millstream cat orders --exit -f '%k is on %p\\n' | sort | uniq -c");
    assert_eq!(counts.lines().count(), 4, "{counts}");
    assert!(PAGE.contains(&counts), "{counts}");
    run(
        "echo 'ada:order 4' | kafka-console-producer.sh --bootstrap-server localhost:9092 --topic orders --reader-property parse.key=true --reader-property key.separator=:",
    );
    let ada = run(
        "kafka-console-consumer.sh --bootstrap-server localhost:9092 --topic orders --from-beginning --max-messages 13 --formatter-property print.partition=true --formatter-property print.key=true | grep ada",
    );
    assert_eq!(ada.lines().count(), 4, "{ada}");
    assert!(PAGE.contains(&ada), "{ada}");
    day_9();
}

#[test]
fn day_3_the_cluster_answers_from_the_learners_shell() {
    run("millstream install-tools bin");
    run("kafka-topics.sh --bootstrap-server localhost:9092 --list");
    let versions = run("kafka-broker-api-versions.sh --bootstrap-server localhost:9092 | head -n 1");
    assert!(versions.contains(PLATFORM.bootstrap.as_str()) && versions.contains("-> ("), "{versions}");
    // How full the disk is that this runs on is not the platform's business.
    let health = shown("millstream cluster health").run().unwrap();
    let is_full = health.stdout.lines().all(|line| line.starts_with("disk-filling\t"));
    assert!(health.stderr == "healthy\n" || (is_full && !health.stdout.is_empty()), "{health:?}");
}

#[test]
fn day_4_a_hundred_and_more_records_by_kafkas_tools() {
    run("kafka-topics.sh --bootstrap-server localhost:9092 --create --topic numbers --partitions 2");
    run("seq 120 | kafka-console-producer.sh --bootstrap-server localhost:9092 --topic numbers");
    let offsets = run("kafka-get-offsets.sh --bootstrap-server localhost:9092 --topic numbers");
    let ends = offsets.lines().map(|line| line.rsplit(':').next().unwrap().parse::<i64>().unwrap());
    assert_eq!(ends.sum::<i64>(), 120, "{offsets}");
    let read = finished(
        "kafka-console-consumer.sh --bootstrap-server localhost:9092 --topic numbers --group counters --from-beginning --max-messages 120 | sort -n | tail -n 1",
    );
    assert_eq!(read.stdout, "120\n");
    assert!(read.stderr.contains("Processed a total of 120 messages"), "{}", read.stderr);
    let group = run("kafka-consumer-groups.sh --bootstrap-server localhost:9092 --describe --group counters");
    let lags: Vec<&str> = group
        .lines()
        .filter(|line| line.starts_with("counters"))
        .map(|line| line.split_whitespace().nth(5).unwrap())
        .collect();
    assert_eq!(lags, ["0", "0"], "{group}");
    let counted = run("millstream topic count numbers");
    let counts = counted.lines().map(|line| line.rsplit('\t').next().unwrap().parse::<i64>().unwrap());
    assert_eq!(counts.sum::<i64>(), 120, "{counted}");
}

#[test]
fn days_5_and_6_a_pipeline_in_python_whose_lag_is_zero() {
    if !has_python("days_5_and_6_a_pipeline_in_python_whose_lag_is_zero") {
        return;
    }
    write_program("producer.py");
    write_program("consumer.py");
    run("millstream topic create clicks -p 3");
    assert_eq!(run("python3 producer.py"), "50 clicks sent\n");
    let click: Value = serde_json::from_str(&run("millstream cat clicks --exit -n 1")).unwrap();
    assert!(click["user"].as_str().unwrap().starts_with("user-"), "{click}");
    let record: Value =
        serde_json::from_str(&run("millstream cat clicks --exit --json | head -n 1")).unwrap();
    assert!(record["value"].as_str().unwrap().contains(record["key"].as_str().unwrap()), "{record}");

    let all = "user-0 10\nuser-1 10\nuser-2 10\nuser-3 10\nuser-4 10\n";
    assert!(PAGE.contains(all));
    assert_eq!(run("python3 consumer.py"), all);
    let shown = run("millstream group show counting");
    assert_eq!(shown.lines().filter(|row| row.starts_with("offset\tclicks\t")).count(), 3, "{shown}");
    let lag = run("millstream group lag counting --max 0");
    assert!(lag.starts_with("counting\tclicks\t0\t0.0\t"), "{lag}");
    let described =
        run("kafka-consumer-groups.sh --bootstrap-server localhost:9092 --describe --group counting");
    let rows: Vec<Vec<&str>> = described
        .lines()
        .filter(|line| line.starts_with("counting"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row[3] == row[4] && row[5] == "0"), "{described}");
    let history = run("millstream group history counting");
    assert_eq!(history.lines().filter(|line| line.contains("\tcommitted\tclicks-")).count(), 3, "{history}");
    assert!(history.contains("\tgeneration\t"), "{history}");

    // And once more, from where it was.
    run("python3 producer.py");
    assert_eq!(run("python3 consumer.py"), all);
    run("millstream group lag counting --max 0");
}

/// Waits until the members of the team have so many partitions, the one with most first.
fn wait_for_shares(expected: &[usize]) {
    let shares = || {
        let show = shell(&PLATFORM, "millstream group show team -o json").run()?;
        let Ok(group) = serde_json::from_str::<Value>(&show.stdout) else { return Ok(None) };
        let members = group["members"].as_array().unwrap().iter();
        let mut shares: Vec<usize> = members.map(|one| one["partitions"].as_array().unwrap().len()).collect();
        shares.sort_by(|one, other| other.cmp(one));
        Ok((group["state"] == "Stable" && shares == expected).then_some(()))
    };
    wait_until(&format!("members with {expected:?} partitions"), LIMIT, shares).unwrap();
}

fn day_9() {
    let log = |name: &str| PLATFORM.directory.join(name);
    let watch = shown("millstream group watch team").start(&log("watch.log")).unwrap();
    wait_until("the watch", LIMIT, || Ok(watch.output().contains("waiting for it").then_some(()))).unwrap();
    let member = |name: &str| -> Process {
        let line = "kafka-console-consumer.sh --bootstrap-server localhost:9092 --topic orders --group team";
        assert!(PAGE.contains(line));
        // Not below a shell, which would get the ctrl-C in its stead.
        shell(&PLATFORM, &format!("exec {line}")).start(&log(name)).unwrap()
    };
    let mut members = vec![member("one.log"), member("two.log"), member("three.log")];
    wait_for_shares(&[1, 1, 1]);
    // Nobody is quicker than the watch looks.
    let seen = |what: &'static str| {
        wait_until(what, LIMIT, || Ok(watch.output().contains(what).then_some(()))).unwrap();
    };
    seen("\tstate\t-\tStable (was ");
    let shown = run("millstream group show team");
    assert_eq!(shown.lines().filter(|row| row.starts_with("member\t")).count(), 3, "{shown}");
    let described =
        run("kafka-consumer-groups.sh --bootstrap-server localhost:9092 --describe --group team --members");
    let rows: Vec<&str> = described.lines().filter(|line| line.starts_with("team")).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row.trim_end().ends_with(" 1")), "{described}");

    let mut leaver = members.remove(0);
    leaver.signal(Signal::INT).unwrap();
    assert_eq!(leaver.wait(LIMIT).unwrap().code(), Some(130), "{}", leaver.output());
    wait_for_shares(&[2, 1]);
    members.extend([member("again.log"), member("four.log")]);
    wait_for_shares(&[1, 1, 1, 0]);
    seen("\tnothing\n");
    for one in &members {
        one.signal(Signal::INT).unwrap();
    }
    for one in &mut members {
        one.wait(LIMIT).unwrap();
    }

    let told = |what: &str| watch.output().matches(what).count();
    wait_until("the end of the team", LIMIT, || Ok((told("\tleft\t") == 5).then_some(()))).unwrap();
    assert_eq!(told("\tjoined\t"), 5, "{}", watch.output());
    let history = run("millstream group history team --generations");
    let of_three = |line: &&str| line.matches(": orders-").count() == 3;
    assert!(history.lines().filter(of_three).count() >= 2, "{history}");
    assert!(history.lines().last().unwrap().contains("no members"), "{history}");
}
