//! The testkit against itself: a target starts, answers, is killed and comes back.

use std::time::Duration;

use millstream_protocol::messages::ApiVersionsRequest;
use millstream_testkit::{Connection, Kind, Program, Target, TargetOptions, kafka_missing, kafka_tool, skip};

#[test]
fn a_real_kafka_survives_a_kill_and_a_restart_on_its_port() {
    if let Some(missing) = kafka_missing() {
        return skip("a real Kafka's restart", &missing);
    }
    let mut kafka = Target::start(TargetOptions::default().kind(Kind::Kafka)).unwrap();
    let bootstrap = kafka.bootstrap().to_owned();
    let topics = |arguments: &[&str]| {
        let tool = kafka_tool("kafka-topics").unwrap().args(["--bootstrap-server", bootstrap.as_str()]);
        tool.args(arguments.iter().copied()).run().unwrap().ok().unwrap()
    };
    topics(&["--create", "--topic", "survivor"]);
    kafka.kill().unwrap();
    assert!(kafka.pid().is_err());
    kafka.restart().unwrap();
    assert_eq!(kafka.bootstrap(), bootstrap);
    assert_eq!(topics(&["--list"]).trim(), "survivor");
    assert!(kafka.stop().is_ok());
    assert!(kafka.log_dir().join("survivor-0").is_dir());
}

#[test]
fn a_millstream_survives_a_kill_and_a_restart_on_its_port() {
    let mut millstream = Target::start(TargetOptions::default().kind(Kind::Millstream)).unwrap();
    let bootstrap = millstream.bootstrap().to_owned();
    millstream.kill().unwrap();
    assert!(Connection::open(&bootstrap).is_err());
    millstream.restart().unwrap();
    assert_eq!(millstream.bootstrap(), bootstrap);
    let mut connection = Connection::open(&bootstrap).unwrap();
    assert_eq!(connection.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
    assert!(millstream.stop().unwrap().success());
    assert!(millstream.log_dir().join("meta.properties").exists());
}

#[test]
fn a_broker_that_cannot_start_says_why() {
    let options = TargetOptions::default().kind(Kind::Millstream).set("no.such.key", 1);
    let error = format!("{:#}", Target::start(options).err().unwrap());
    assert!(error.contains("no.such.key") && error.contains("the broker ended with"), "{error}");
}

#[test]
fn a_program_that_takes_too_long_is_killed() {
    let sleeper = Program::new("sleep").arg("1000").limit(Duration::from_millis(50));
    let error = format!("{:#}", sleeper.run().err().unwrap());
    assert!(error.contains("sleep 1000"), "{error}");
}
