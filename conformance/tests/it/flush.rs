//! Acknowledged means on disk: traced by strace, an answer leaves only after the flush that covers what it
//! acknowledges. Apache Kafka does not promise that, so these run on Millstream alone.

use std::{fs, time::Duration};

use millstream_conformance::trace::{Trace, strace_command};
use millstream_testkit::{Kind, Program, Running, Target, TargetOptions, skip, wait_until};
use millstream_types::ErrorCode;
use tempfile::TempDir;

use crate::{
    semantics::{
        committed::{commit, commit_request},
        groups::find_coordinator,
    },
    session::{Session, batch},
};

/// A Millstream under strace.
struct Traced {
    target: Running,
    directory: TempDir,
}

impl Traced {
    /// None where it cannot be: on Kafka, or without strace.
    fn start(test: &str, arguments: &[&str]) -> Option<Self> {
        if Kind::from_env().unwrap() == Kind::Kafka {
            eprintln!("Apache Kafka does not flush before it acknowledges");
            return None;
        }
        if !Program::new("strace")
            .args(["-o", "/dev/null", "true"])
            .run()
            .is_ok_and(|done| done.status.success())
        {
            skip(test, "strace cannot trace here: conformance/install.sh strace");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let wrapper = strace_command(&directory.path().join("trace"));
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let options = TargetOptions { arguments, ..TargetOptions::default().wrapper(wrapper) };
        let target = Target::start(options).unwrap();
        Some(Self { target, directory })
    }

    /// Stops the broker; what it did.
    fn finish(mut self) -> Trace {
        let process = self.target.pid().unwrap().to_string();
        self.target.stop().unwrap();
        let path = self.directory.path().join("trace");
        // strace writes its last line after the broker is gone.
        let last = |line: &str| {
            line.split_whitespace().next() == Some(&process) && line.ends_with("+++ exited with 0 +++")
        };
        let text = wait_until("the end of the trace", Duration::from_secs(30), || {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            Ok(text.lines().any(last).then_some(text))
        });
        Trace::parse(&text.unwrap())
    }
}

#[test]
fn a_write_is_acknowledged_only_after_its_flush_and_that_of_its_files_names() {
    let Some(traced) = Traced::start("flush before the ack of a write", &[]) else { return };
    let mut session = Session::open(&traced.target);
    let port = session.0.local_port().unwrap();
    session.topic("flush-write", &[("segment.bytes", "1048576")]);
    // Four of these fill a segment, so that new ones are begun on the way.
    let padding = "x".repeat(300_000);
    for i in 0..12 {
        session.append("flush-write", 0, batch(&[format!("payload-{i}-{padding}")]));
    }
    let trace = traced.finish();
    let mut segments = 0;
    for i in 0..12 {
        let payload = format!("payload-{i}-");
        let write = trace.segment_writes("/flush-write-0/", &payload).next().unwrap();
        let answer = trace.answer_after(write, port).unwrap();
        trace.check_flushed(write, answer).unwrap();
        segments = trace.check_names_synced("/flush-write-0", ".log", answer).unwrap();
        assert!(
            trace.check_names_synced("/flush-write-0", "", answer).unwrap() > segments,
            "the directory too"
        );
    }
    assert!(segments >= 4, "{segments} segments: new ones were to be begun");
}

#[test]
fn a_topics_creation_is_acknowledged_only_after_its_record_is_flushed() {
    let Some(traced) = Traced::start("flush before the ack of a topic", &[]) else { return };
    let mut session = Session::open(&traced.target);
    let port = session.0.local_port().unwrap();
    for i in 0..5 {
        session.topic_of(&format!("flush-topic-{i}"), 3, &[]);
    }
    let trace = traced.finish();
    for i in 0..5 {
        let name = format!("flush-topic-{i}");
        let write = trace.segment_writes("/__cluster_metadata-0/", &name).next().unwrap();
        trace.check_flushed(write, trace.answer_after(write, port).unwrap()).unwrap();
    }
}

#[test]
fn an_offset_commit_is_acknowledged_only_after_its_record_is_flushed() {
    let Some(traced) = Traced::start("flush before the ack of a commit", &[]) else { return };
    let mut session = Session::open(&traced.target);
    let port = session.0.local_port().unwrap();
    session.topic("flush-commit", &[]);
    find_coordinator(&mut session, "flush-group");
    for offset in 0..10 {
        let request = commit_request("flush-group", "flush-commit", 0, offset);
        assert_eq!(commit(&mut session, &request), ErrorCode::None);
    }
    let trace = traced.finish();
    let writes: Vec<_> = trace.segment_writes("/__consumer_offsets-", "flush-group").collect();
    assert_eq!(writes.len(), 10, "a record for each commit");
    for write in writes {
        let answer = trace.answer_after(write, port).unwrap();
        trace.check_flushed(write, answer).unwrap();
        trace.check_names_synced("/__consumer_offsets-", "", answer).unwrap();
    }
}

#[test]
fn under_durability_os_answers_do_not_wait_for_a_flush() {
    let Some(traced) = Traced::start("no flush under durability=os", &["--durability", "os"]) else { return };
    let mut session = Session::open(&traced.target);
    let port = session.0.local_port().unwrap();
    session.topic("flush-none", &[]);
    for i in 0..20 {
        session.append("flush-none", 0, batch(&[format!("payload-{i}-")]));
    }
    let trace = traced.finish();
    let flushed = (0..20).filter(|i| {
        let payload = format!("payload-{i}-");
        let write = trace.segment_writes("/flush-none-0/", &payload).next().unwrap();
        trace.check_flushed(write, trace.answer_after(write, port).unwrap()).is_ok()
    });
    assert!(flushed.count() < 20);
}
