//! The directory goes from Millstream to Apache Kafka and back, in place: each finds everything that the
//! other wrote, and writes on. Both are started here, so nothing is left for a run against Kafka alone.

use std::path::Path;

use millstream_record::{BatchOptions, Compression};
use millstream_testkit::{Kind, Running, Target, TargetOptions, kafka_missing, kafka_tool, skip};
use millstream_types::{ErrorCode, Uuid};

use crate::{
    semantics::{
        committed::{commit, commit_request, committed},
        groups::find_coordinator,
    },
    session::{Session, batch_with, idempotent},
};

const TOPIC: &str = "handover";
const GROUP: &str = "handover-group";

/// On Kafka alone there is nothing to hand over; without one there is nobody to hand over to.
fn nobody_to_hand_over_to() -> bool {
    let missing = kafka_missing();
    if let Some(missing) = &missing {
        skip("hand-over to Apache Kafka", missing);
    }
    missing.is_some() || Kind::from_env().unwrap() == Kind::Kafka
}

fn start(kind: Kind, directory: &Path) -> Running {
    Target::start(TargetOptions::default().kind(kind).dir(directory)).unwrap()
}

/// What must be the same at each owner of the directory.
struct Story {
    topic_id: Uuid,
    cluster_id: Option<String>,
    producer_id: i64,
    /// All values of the topic so far.
    values: Vec<String>,
}

impl Story {
    fn begin(target: &Running) -> Self {
        let mut session = Session::open(target);
        let topic_id = session.topic(TOPIC, &[("retention.ms", "-1"), ("segment.bytes", "1048576")]);
        let producer_id = session.new_producer_id();
        let cluster_id = session.metadata(None, false).cluster_id;
        Self { topic_id, cluster_id, producer_id, values: Vec::new() }
    }

    /// Writes in every codec and as the idempotent producer; commits; grows a topic of its own.
    fn go_on(&mut self, target: &Running, chapter: &str) {
        let mut session = Session::open(target);
        for codec in Compression::ALL {
            let value = format!("{chapter} {}", codec.name());
            let options = BatchOptions { compression: codec, ..Default::default() };
            assert_eq!(session.append(TOPIC, 0, batch_with(options, &[&value])), self.values.len() as i64);
            self.values.push(value);
        }
        let sequence = self.values.iter().filter(|v| v.ends_with("idempotent")).count() as i32;
        let value = format!("{chapter} idempotent");
        session.append(TOPIC, 0, idempotent(self.producer_id, 0, sequence, &[&value]));
        self.values.push(value);
        find_coordinator(&mut session, GROUP);
        let request = commit_request(GROUP, TOPIC, 0, self.values.len() as i64);
        assert_eq!(commit(&mut session, &request), ErrorCode::None);
        session.topic_of(&format!("of-{chapter}"), 2, &[]);
    }

    /// Everything that was told so far is here.
    fn check(&self, target: &Running, chapters: &[&str]) {
        let mut session = Session::open(target);
        session.wait_served(TOPIC, 0);
        assert_eq!(session.metadata(None, false).cluster_id, self.cluster_id);
        assert_eq!(session.describe(TOPIC).topic_id, self.topic_id);
        assert_eq!(session.values(TOPIC), self.values);
        find_coordinator(&mut session, GROUP);
        let found = committed(&mut session, GROUP, TOPIC, 0);
        assert_eq!(found.committed_offset, self.values.len() as i64);
        for chapter in chapters {
            assert_eq!(session.describe(&format!("of-{chapter}")).partitions.len(), 2, "{chapter}");
        }
        assert!(session.new_producer_id() > self.producer_id, "no producer id is given twice");
        let arguments = ["--entity-type", "topics", "--entity-name", TOPIC, "--describe"];
        let configs = kafka_tool("kafka-configs").unwrap().args(["--bootstrap-server", target.bootstrap()]);
        let said = configs.args(arguments).run().unwrap().ok().unwrap();
        assert!(said.contains("retention.ms=-1"), "{said}");
    }
}

#[test]
fn a_directory_goes_to_apache_kafka_and_back_with_everything_in_it() {
    if nobody_to_hand_over_to() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut millstream = start(Kind::Millstream, directory.path());
    let mut story = Story::begin(&millstream);
    story.go_on(&millstream, "first");
    assert!(millstream.stop().unwrap().success());

    let mut kafka = start(Kind::Kafka, directory.path());
    story.check(&kafka, &["first"]);
    story.go_on(&kafka, "second");
    kafka.stop().unwrap();

    let mut millstream = start(Kind::Millstream, directory.path());
    story.check(&millstream, &["first", "second"]);
    story.go_on(&millstream, "third");
    assert!(millstream.stop().unwrap().success());

    let kafka = start(Kind::Kafka, directory.path());
    story.check(&kafka, &["first", "second", "third"]);
}

#[test]
fn a_directory_that_apache_kafka_began_is_opened_in_place() {
    if nobody_to_hand_over_to() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut kafka = start(Kind::Kafka, directory.path());
    let mut story = Story::begin(&kafka);
    story.go_on(&kafka, "first");
    kafka.stop().unwrap();

    let mut millstream = start(Kind::Millstream, directory.path());
    story.check(&millstream, &["first"]);
    story.go_on(&millstream, "second");
    assert!(millstream.stop().unwrap().success());

    let kafka = start(Kind::Kafka, directory.path());
    story.check(&kafka, &["first", "second"]);
}
