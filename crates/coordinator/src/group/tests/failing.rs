//! Records that the log does not take: nothing of them holds, and who waited is told to try again.

use super::*;

#[test]
fn an_offset_that_was_not_written_is_not_committed() {
    let cases = [
        (ErrorCode::KafkaStorageError, ErrorCode::NotCoordinator),
        (ErrorCode::NotLeaderOrFollower, ErrorCode::NotCoordinator),
        (ErrorCode::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::RequestTimedOut, ErrorCode::CoordinatorNotAvailable),
        (ErrorCode::MessageTooLarge, ErrorCode::InvalidCommitOffsetSize),
        (ErrorCode::InvalidRecord, ErrorCode::InvalidRecord),
    ];
    for (error, answer) in cases {
        let mut bench = Bench::new();
        bench.append_error = Some(error);
        assert_eq!(bench.commit(simple_commit(GROUP, &[("t", 0, 5)])), [answer]);
        assert_eq!(bench.fetch_offset(GROUP, "t", 0), None);
        assert_eq!(bench.state(), GroupState::Dead);
    }
}

#[test]
fn an_assignment_that_was_not_written_is_given_to_nobody() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let leader = bench.start_join(known(&ids[0], "a"));
    bench.join(known(&ids[1], "b"));
    bench.joined(leader);
    let follower = bench.ask(GroupEvent::SyncGroup(syncing(&ids[1], 2)));
    bench.append_error = Some(ErrorCode::NotEnoughReplicas);
    assert_eq!(bench.sync(syncing(&ids[0], 2)).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(bench.synced(follower).error, ErrorCode::CoordinatorNotAvailable);
    // The group is back in the generation that is written down; members of the lost one join again.
    assert_eq!(bench.heartbeat(&ids[1], 2), ErrorCode::IllegalGeneration);
    bench.restart();
    assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::None);
}

#[test]
fn a_group_that_was_not_written_does_not_exist() {
    let mut bench = Bench::new();
    bench.append_error = Some(ErrorCode::MessageTooLarge);
    let answer = bench.join(dynamic("a"));
    assert_eq!((answer.error, answer.member_id.as_str()), (ErrorCode::UnknownServerError, ""));
    assert_eq!(bench.state(), GroupState::Dead);

    bench.append_error = Some(ErrorCode::KafkaStorageError);
    let waiting = bench.join(old_dynamic("a"));
    assert_eq!(waiting.error, ErrorCode::NotCoordinator);
    assert_eq!(bench.shard.next_deadline(), new_bench_deadline());
}

fn new_bench_deadline() -> Option<TimestampMs> {
    Bench::new().shard.next_deadline()
}

#[test]
fn a_return_that_was_not_written_fences_nobody() {
    let mut bench = Bench::new();
    let id = bench.join(with_instance("i")).member_id;
    bench.sync(SyncGroup { group_instance_id: Some("i".to_owned()), ..syncing(&id, 1) });
    bench.append_error = Some(ErrorCode::NotEnoughReplicas);
    assert_eq!(bench.join(with_instance("i")).error, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(bench.heartbeat_as(&id, Some("i"), 1), ErrorCode::None);
}

#[test]
fn an_emptiness_that_was_not_written_is_found_again() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    bench.append_error = Some(ErrorCode::KafkaStorageError);
    bench.pass(SESSION_MS);
    assert!(bench.append_error.is_none());
    assert_eq!(bench.state(), GroupState::Stable, "as the log has it");
    bench.pass(SESSION_MS);
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn a_group_that_was_not_deleted_is_still_there() {
    let mut bench = Bench::new();
    bench.commit(simple_commit(GROUP, &[("t", 0, 5)]));
    bench.append_error = Some(ErrorCode::KafkaStorageError);
    assert_eq!(bench.delete(GROUP), ErrorCode::NotCoordinator);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(5));
    assert_eq!(bench.state(), GroupState::Empty);
}

/// A member id is made of two strings and may get longer than a record's strings can be.
#[test]
fn what_no_record_can_hold_is_an_error_and_not_a_panic() {
    let mut bench = Bench::new();
    let long = JoinGroup { group_instance_id: Some("i".repeat(32_767)), ..dynamic("c") };
    let joined = bench.join(long);
    assert_eq!(joined.error, ErrorCode::None);
    let sync = SyncGroup { group_instance_id: Some("i".repeat(32_767)), ..syncing(&joined.member_id, 1) };
    assert_eq!(bench.sync(sync).error, ErrorCode::UnknownServerError);
    assert_eq!(bench.state(), GroupState::Empty);
}
