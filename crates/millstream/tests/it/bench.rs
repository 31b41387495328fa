//! `bench` against a real broker: that what it counts is there, and that results are kept and compared. How
//! quick anything is, is not asked.

use std::path::Path;

use millstream_testkit::Finished;
use serde_json::Value;

use crate::command::{BOOTSTRAP, failed, json, ok, program};

fn run(results: &Path, words: &str) -> Finished {
    let program = program(words).env("MILLSTREAM_BOOTSTRAP", BOOTSTRAP.as_str());
    program.env("XDG_DATA_HOME", results.display().to_string()).run().unwrap()
}

#[test]
fn what_is_produced_is_there_and_is_consumed() {
    let results = tempfile::tempdir().unwrap();
    let run = |words: &str| run(results.path(), words);
    let words = "bench produce -t measured -p 3 -n 5000 -s 64 --keys 10 -z lz4 --keep --producers 2 --save one -o json";
    let produced: Value = serde_json::from_str(&run(words).ok().unwrap()).unwrap();
    assert_eq!((&produced["records"], &produced["topic"]), (&5000.into(), &"measured".into()));
    assert_eq!(produced["settings"]["compression"], "lz4");
    assert!(produced["latency_ms"]["p99"].as_f64().unwrap() > 0.0);
    let counted = json("topic count measured -o json");
    let counted: i64 = counted.as_array().unwrap().iter().map(|one| one["records"].as_i64().unwrap()).sum();
    assert_eq!(counted, 5000);

    let words = "bench consume -t measured --consumers 2 --at-least 1 -o json";
    let consumed: Value = serde_json::from_str(&run(words).ok().unwrap()).unwrap();
    assert_eq!((&consumed["records"], &consumed["bytes"]), (&5000.into(), &produced["bytes"]));

    for consumers in [1, 2] {
        let words = format!("bench consume -t measured -n 10 --consumers {consumers} -o json");
        let some: Value = serde_json::from_str(&run(&words).ok().unwrap()).unwrap();
        assert_eq!(some["records"], 10, "no more than was asked for");
    }

    let again = run("bench produce -t measured -n 100 --save two --compare one --at-least 1000000x");
    assert_eq!(again.status.code(), Some(4), "{}", again.stderr);
    assert!(
        again.stderr.contains("times as many records/s, 1000000 times were to be reached"),
        "{}",
        again.stderr
    );
    assert!(again.stderr.contains("they differ in compression (lz4 and none)"), "{}", again.stderr);
    let compared = run("bench compare one two -o csv").ok().unwrap();
    assert!(compared.contains("records,5000.00,100.00,0.02\n"), "{compared}");
    assert_eq!(run("bench ls -o name").ok().unwrap(), "one\ntwo\n");
    assert_eq!(run("bench show nosuch").status.code(), Some(3));
}

#[test]
fn records_are_timed_from_end_to_end_and_the_topic_goes_again() {
    for rate in [0, 500] {
        let words = format!("bench e2e -t timed-{rate} -p 2 -n 50 --rate {rate} -o json");
        let measured = json(&words);
        assert_eq!(measured["records"], 50);
        let p50 = |what: &str| measured[what]["p50"].as_f64().unwrap();
        assert!(p50("latency_ms") > 0.0 && p50("acknowledged_ms") > 0.0, "{measured}");
        assert_eq!(ok(&format!("topic ls timed-{rate} -o name")), "");
    }
    let (code, said) = failed("bench consume -t no-such-topic");
    assert_eq!(code, 3, "{said}");
    let (code, said) = failed("bench e2e --size 5");
    assert_eq!(code, 2, "{said}");
}
