//! What must be the same after a restart, clean or not.

use millstream_testkit::{Kind, Running, Target, TargetOptions};
use millstream_types::ErrorCode;

use super::{
    committed::{commit, commit_request, committed},
    groups::{Member, find_coordinator},
    offsets::delete_records,
};
use crate::session::{Session, batch, code, idempotent};

/// Lets `before` fill a broker, takes it down both ways, and lets `after` look.
fn across_restarts<T>(before: impl Fn(&Running, &str) -> T, after: impl Fn(&Running, &str, T)) {
    let mut target = Target::start(TargetOptions::default()).unwrap();
    let left = before(&target, "stopped");
    target.stop().unwrap();
    target.restart().unwrap();
    after(&target, "stopped", left);
    let left = before(&target, "killed");
    target.kill().unwrap();
    target.restart().unwrap();
    after(&target, "killed", left);
}

#[test]
fn a_duplicate_is_known_after_a_restart_with_its_first_offset_and_time() {
    across_restarts(
        |target, topic| {
            let mut session = Session::open(target);
            session.topic(topic, &[("message.timestamp.type", "LogAppendTime")]);
            let id = session.new_producer_id();
            let sent: Vec<_> = (0..3).map(|i| idempotent(id, 0, i, &[format!("{i}")])).collect();
            let answers: Vec<_> = sent.iter().map(|bytes| session.produce(topic, 0, bytes.clone())).collect();
            assert!(answers.iter().all(|a| a.error_code == 0));
            (id, sent, answers)
        },
        |target, topic, (id, sent, answers)| {
            let mut session = Session::open(target);
            session.wait_served(topic, 0);
            // Kafka's snapshots keep each producer's last batch alone; Millstream promises the last five.
            let remembered = if target.kind() == Kind::Kafka { 1 } else { 3 };
            for (bytes, before) in sent.into_iter().zip(answers).skip(3 - remembered) {
                let again = session.produce(topic, 0, bytes);
                assert_eq!(code(again.error_code), ErrorCode::None);
                assert_eq!(again.base_offset, before.base_offset);
                assert_eq!(again.log_append_time_ms, before.log_append_time_ms);
            }
            let gap = session.produce(topic, 0, idempotent(id, 0, 7, &["gap"]));
            assert_eq!(code(gap.error_code), ErrorCode::OutOfOrderSequenceNumber);
            assert_eq!(session.append(topic, 0, idempotent(id, 0, 3, &["3"])), 3);
            assert_eq!(session.values(topic), ["0", "1", "2", "3"]);
        },
    );
}

#[test]
fn topics_ids_configurations_and_committed_offsets_outlive_a_restart() {
    across_restarts(
        |target, topic| {
            let mut session = Session::open(target);
            let id = session.topic_of(topic, 2, &[("retention.ms", "1234567")]);
            find_coordinator(&mut session, topic);
            assert_eq!(commit(&mut session, &commit_request(topic, topic, 1, 42)), ErrorCode::None);
            (id, session.metadata(None, false).cluster_id)
        },
        |target, topic, (id, cluster_id)| {
            let mut session = Session::open(target);
            session.wait_served(topic, 1);
            let described = session.describe(topic);
            assert_eq!((described.topic_id, described.partitions.len()), (id, 2));
            assert_eq!(session.metadata(None, false).cluster_id, cluster_id);
            find_coordinator(&mut session, topic);
            let found = committed(&mut session, topic, topic, 1);
            assert_eq!((found.committed_offset, found.metadata.as_deref()), (42, Some("as far as here")));
        },
    );
}

/// Deleted records stay deleted. Apache Kafka notes where a log begins once a minute
/// (`log.flush.start.offset.checkpoint.interval.ms`): after a kill before that they are back.
#[test]
fn deleted_records_stay_deleted_when_the_broker_is_killed_right_after_its_answer() {
    let mut target = Target::start(TargetOptions::default()).unwrap();
    let mut session = Session::open(&target);
    session.topic_of("deleted", 3, &[]);
    for partition in 0..3 {
        session.append("deleted", partition, batch(&["a", "b", "c"]));
        let answer = delete_records(&mut session, "deleted", partition, i64::from(partition));
        assert_eq!((code(answer.error_code), answer.low_watermark), (ErrorCode::None, i64::from(partition)));
    }
    target.kill().unwrap();
    target.restart().unwrap();
    let mut session = Session::open(&target);
    for partition in 0..3 {
        session.wait_served("deleted", partition);
        let begins = if target.kind() == Kind::Kafka { 0 } else { i64::from(partition) };
        assert_eq!(session.list_offset("deleted", partition, -2).offset, begins);
        assert_eq!(session.list_offset("deleted", partition, -1).offset, 3);
    }
}

#[test]
fn members_of_a_group_stay_in_it_across_a_restart() {
    across_restarts(
        |target, group| {
            let mut member = Member::new(target, group);
            member.settle();
            member
        },
        |target, group, before| {
            let mut member = Member::new(target, group);
            (member.join, member.generation) = (before.join, before.generation);
            assert_eq!(member.heartbeat(), ErrorCode::None);
        },
    );
}

#[test]
fn producer_ids_are_not_given_again_after_a_restart() {
    across_restarts(
        |target, _| Session::open(target).new_producer_id(),
        |target, _, before| assert!(Session::open(target).new_producer_id() > before),
    );
}
