//! Ctrl-C in mid-stream, and a reader that goes away: the exit code is Kafka's, and what was reported is true.

use millstream_testkit::{Program, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use super::{LIMIT, Running, bootstrap, create, ok, record_count, run, values};

/// Writes 0, 1, 2 … until it is dropped.
fn numbers(topic: &str) -> Running {
    Running::start(&format!(
        "kafka-verifiable-producer --bootstrap-server {{b}} --topic {topic} --throughput 500"
    ))
}

#[test]
fn an_interrupted_consumer_commits_what_it_has_printed_and_nothing_else() {
    create("int-consumer");
    let _writer = numbers("int-consumer");
    let line = "kafka-console-consumer --bootstrap-server {b} --topic int-consumer --group int-consumer";
    let mut consumer = Running::start(&format!("{line} --from-beginning"));
    let mut printed: Vec<String> = (0..700).map(|_| consumer.line()).collect();
    consumer.signal(Signal::INT);
    let (code, rest, stderr) = consumer.end();
    printed.extend(rest);
    assert_eq!(code, Some(130));
    assert_eq!(printed, (0..printed.len()).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(stderr.contains(&format!("Processed a total of {} messages", printed.len())), "{stderr}");

    // Once more with a limit that lies within a batch.
    let next = run(&format!("{line} --max-messages 3"));
    let expected: String = (printed.len()..printed.len() + 3).map(|number| format!("{number}\n")).collect();
    assert_eq!(next.stdout, expected);
    let described = ok("kafka-consumer-groups --bootstrap-server {b} --describe --group int-consumer");
    let row = described.lines().find(|row| row.starts_with("int-consumer")).unwrap();
    assert_eq!(row.split_whitespace().nth(3), Some((printed.len() + 3).to_string().as_str()), "{described}");
}

#[test]
fn a_terminated_consumer_leaves_its_group_at_once() {
    create("int-terminated");
    let _writer = numbers("int-terminated");
    let line = "kafka-console-consumer --bootstrap-server {b} --topic int-terminated --group int-terminated";
    let mut consumer = Running::start(line);
    consumer.line();
    consumer.signal(Signal::TERM);
    assert_eq!(consumer.end().0, Some(143));
    let state = ok("kafka-consumer-groups --bootstrap-server {b} --describe --group int-terminated --state");
    assert!(state.contains("Empty"), "{state}");
}

#[test]
fn an_interrupted_verifiable_producer_has_written_what_it_said() {
    create("int-verifiable");
    let mut producer = numbers("int-verifiable");
    let mut said: Vec<String> = (0..200).map(|_| producer.line()).collect();
    producer.signal(Signal::INT);
    let (code, rest, _) = producer.end();
    said.extend(rest);
    assert_eq!(code, Some(130));
    let events: Vec<Value> = said.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names[names.len() - 2..], ["shutdown_complete", "tool_data"]);
    let written = events.iter().filter(|event| event["name"] == "producer_send_success");
    let written: Vec<&str> = written.map(|event| event["value"].as_str().unwrap()).collect();
    let totals = events.last().unwrap();
    assert_eq!(totals["acked"], written.len());
    assert_eq!(totals["sent"], totals["acked"], "all that was sent has been waited for");
    assert_eq!(values(bootstrap(), "int-verifiable", written.len()), written);
}

#[test]
fn an_interrupted_console_producer_has_written_a_beginning_of_its_lines() {
    create("int-producer");
    let mut producer =
        Running::start("kafka-console-producer --bootstrap-server {b} --topic int-producer --timeout 5");
    let line = |number: usize| format!("line {number}\n");
    producer.write(&(0..200).map(line).collect::<String>());
    wait_until("200 records", LIMIT, || Ok((record_count(bootstrap(), "int-producer") >= 200).then_some(())))
        .unwrap();
    producer.write(&(200..5000).map(line).collect::<String>());
    producer.signal(Signal::INT);
    let (code, _, stderr) = producer.end();
    assert_eq!((code, stderr.as_str()), (Some(130), ""));
    let count = record_count(bootstrap(), "int-producer");
    let written: String =
        values(bootstrap(), "int-producer", count).iter().map(|value| format!("{value}\n")).collect();
    assert_eq!(written, (0..count).map(line).collect::<String>());
}

#[test]
fn a_reader_that_goes_away_ends_the_tools_well() {
    create("int-pipe");
    let _writer = numbers("int-pipe");
    let binary = super::binary();
    for tool in [
        "kafka-console-consumer --topic int-pipe --group int-pipe --from-beginning",
        "kafka-verifiable-consumer --topic int-pipe --group-id int-pipe-2 --verbose",
        "kafka-configs --describe --all --entity-type brokers --entity-name 1",
        "kafka-broker-api-versions",
    ] {
        let script =
            format!("set -o pipefail; {binary} {tool} --bootstrap-server {} | head -n 1", bootstrap());
        let finished = Program::new("bash").args(["-c", &script]).limit(LIMIT).run().unwrap();
        assert_eq!(finished.status.code(), Some(0), "{tool}: {}", finished.stderr);
        assert_eq!(finished.stdout.lines().count(), 1, "{tool}");
        assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
        if tool.starts_with("kafka-console-consumer") {
            let sentence = "Unable to write to standard out, closing consumer.";
            assert!(finished.stderr.contains(sentence), "{}", finished.stderr);
        }
    }
}
