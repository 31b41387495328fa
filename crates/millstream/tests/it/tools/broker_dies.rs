//! A console producer whose broker is killed and returns loses nothing that it did not report as lost.

use std::{collections::BTreeSet, thread, time::Duration};

use millstream_testkit::{Target, TargetOptions, wait_until};

use super::{LIMIT, Running, ok, record_count, values};

const LINES: usize = 4000;

#[test]
fn a_console_producer_survives_its_broker() {
    let mut target = Target::start(TargetOptions::default()).unwrap();
    let bootstrap = target.bootstrap().to_owned();
    ok(&format!("kafka-topics --bootstrap-server {bootstrap} --create --topic survives --partitions 1"));
    let mut producer = Running::start(&format!(
        "kafka-console-producer --bootstrap-server {bootstrap} --topic survives --timeout 5 --batch-size 512"
    ));
    let mut input = producer.input.take().unwrap();
    let feeding = thread::spawn(move || {
        for number in 0..LINES {
            std::io::Write::write_all(&mut input, format!("line {number}\n").as_bytes()).unwrap();
            // So that the broker dies in the midst of it.
            thread::sleep(Duration::from_micros(500));
        }
    });
    wait_until(
        "the first records",
        LIMIT,
        || Ok((record_count(&bootstrap, "survives") >= 300).then_some(())),
    )
    .unwrap();
    target.kill().unwrap();
    target.restart().unwrap();
    feeding.join().unwrap();
    let (code, _, stderr) = producer.end();
    assert_eq!(code, Some(0), "{stderr}");

    let lost = stderr.lines().filter_map(|line| line.strip_prefix("ERROR line ")?.split(' ').next());
    let lost: BTreeSet<usize> = lost.map(|number| number.parse().unwrap()).collect();
    let count = record_count(&bootstrap, "survives");
    let written = values(&bootstrap, "survives", count);
    // Lines are counted from 1 on.
    let expected: Vec<String> = (0..LINES).map(|number| format!("line {number}")).collect();
    assert!(lost.is_empty(), "two minutes are enough for a restart: {stderr}");
    assert_eq!(written, expected, "each line once, in order");
}
