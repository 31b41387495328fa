//! The testkit against itself: a target starts, answers, is killed and comes back.

use millstream_testkit::{Kind, Target, TargetOptions, kafka_tool};

#[test]
fn a_real_kafka_survives_a_kill_and_a_restart_on_its_port() {
    let mut kafka = Target::start(TargetOptions::default().kind(Kind::Kafka)).unwrap();
    let bootstrap = kafka.bootstrap().to_owned();
    let topics = |arguments: &[&str]| {
        let tool = kafka_tool("kafka-topics")
            .unwrap()
            .args(["--bootstrap-server", bootstrap.as_str()]);
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
