//! SyncGroup and Heartbeat.

use super::*;

#[test]
fn followers_wait_for_the_leaders_assignment() {
    let mut bench = Bench::new();
    let joins = ["a", "b", "c"].map(|client| bench.ask_only(GroupEvent::JoinGroup(old_dynamic(client))));
    bench.run_due();
    let ids = joins.map(|token| bench.joined(token).member_id);
    let follower = bench.ask(GroupEvent::SyncGroup(syncing(&ids[1], 1)));
    assert!(bench.is_waiting(follower));

    let records = bench.log.len();
    let assignments = vec![
        (ids[0].clone(), Bytes::from("zero")),
        (ids[1].clone(), Bytes::from("one")),
        ("stranger".to_owned(), Bytes::from("nobody's")),
    ];
    let leader = bench.sync(SyncGroup { assignments, ..syncing(&ids[0], 1) });
    assert_eq!(leader.assignment, "zero");
    assert_eq!(
        bench.synced(follower),
        SyncGroupResponse {
            error: ErrorCode::None,
            protocol_type: Some("connect".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignment: Bytes::from("one"),
        }
    );
    // Who comes later gets its part at once; who was given none gets no bytes, which is no error.
    let late = bench.sync(syncing(&ids[2], 1));
    assert_eq!((late.error, late.assignment), (ErrorCode::None, Bytes::new()));

    let [GroupRecord::Group { group_id, value: Some(value) }] = &bench.records_from(records)[..] else {
        panic!("one record");
    };
    assert_eq!(
        (group_id.as_str(), value.generation, value.leader.as_deref()),
        (GROUP, 1, Some(ids[0].as_str()))
    );
    let written: Vec<_> =
        value.members.iter().map(|m| (m.member_id.as_str(), m.assignment.clone())).collect();
    assert_eq!(
        written,
        [(ids[0].as_str(), Bytes::from("zero")), (&ids[1], Bytes::from("one")), (&ids[2], Bytes::new())]
    );
}

/// Asked, but for the unknown group.
#[test]
fn a_sync_that_does_not_fit_is_refused() {
    let mut bench = Bench::new();
    let joined = bench.join(with_instance("i"));
    let id = joined.member_id.as_str();
    let with = |edit: &dyn Fn(&mut SyncGroup)| {
        let mut request = SyncGroup { group_instance_id: Some("i".to_owned()), ..syncing(id, 1) };
        edit(&mut request);
        request
    };
    let cases = [
        (with(&|r| r.group_id = "other".to_owned()), ErrorCode::UnknownMemberId),
        (with(&|r| r.group_id = String::new()), ErrorCode::InvalidGroupId),
        (with(&|r| r.group_instance_id = Some("unknown".to_owned())), ErrorCode::UnknownMemberId),
        (with(&|r| r.member_id = "another".to_owned()), ErrorCode::FencedInstanceId),
        (with(&|r| r.generation_id = GenerationId(0)), ErrorCode::IllegalGeneration),
        (with(&|r| r.protocol_type = Some("consumer".to_owned())), ErrorCode::InconsistentGroupProtocol),
        (with(&|r| r.protocol_name = Some("sticky".to_owned())), ErrorCode::InconsistentGroupProtocol),
    ];
    for (request, error) in cases {
        assert_eq!(bench.sync(request.clone()).error, error, "{request:?}");
    }
    let named = with(&|r| {
        r.protocol_type = Some("connect".to_owned());
        r.protocol_name = Some("range".to_owned());
    });
    assert_eq!(bench.sync(named).error, ErrorCode::None);
}

#[test]
fn during_a_rebalance_members_are_told_to_join_again() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    bench.start_join(known(&ids[0], "a"));
    assert_eq!(bench.sync(syncing(&ids[1], 1)).error, ErrorCode::RebalanceInProgress);
    assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_rebalance_takes_the_assignment_from_those_who_wait_for_it() {
    let mut bench = Bench::new();
    let joins = ["a", "b"].map(|client| bench.ask_only(GroupEvent::JoinGroup(old_dynamic(client))));
    bench.run_due();
    let ids = joins.map(|token| bench.joined(token).member_id);
    let follower = bench.ask(GroupEvent::SyncGroup(syncing(&ids[1], 1)));
    bench.start_join(old_dynamic("c"));
    assert_eq!(bench.synced(follower).error, ErrorCode::RebalanceInProgress);
}

#[test]
fn a_repeated_sync_takes_over_from_the_one_that_waits() {
    let mut bench = Bench::new();
    let joins = ["a", "b"].map(|client| bench.ask_only(GroupEvent::JoinGroup(old_dynamic(client))));
    bench.run_due();
    let ids = joins.map(|token| bench.joined(token).member_id);
    let first = bench.ask(GroupEvent::SyncGroup(syncing(&ids[1], 1)));
    let second = bench.ask(GroupEvent::SyncGroup(syncing(&ids[1], 1)));
    assert_eq!(bench.synced(first).error, ErrorCode::RebalanceInProgress);
    bench.sync(syncing(&ids[0], 1));
    assert_eq!(bench.synced(second).error, ErrorCode::None);
}

#[test]
fn who_does_not_sync_within_the_rebalance_timeout_is_taken_out() {
    let mut bench = Bench::new();
    let joins = ["a", "b"].map(|client| bench.ask_only(GroupEvent::JoinGroup(old_dynamic(client))));
    bench.run_due();
    let ids = joins.map(|token| bench.joined(token).member_id);
    bench.sync(syncing(&ids[0], 1));
    for _ in 0..REBALANCE_MS / 5_000 - 1 {
        bench.pass(5_000);
        assert_eq!(ids.each_ref().map(|id| bench.heartbeat(id, 1)), [ErrorCode::None; 2]);
    }
    bench.pass(5_000);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_heartbeat_needs_its_member_its_generation_and_its_instance() {
    let mut bench = Bench::new();
    assert_eq!(bench.heartbeat("m", 1), ErrorCode::UnknownMemberId);
    let id = bench.join(with_instance("i")).member_id;
    // From the answer to its JoinGroup on, even before the assignment is there.
    assert_eq!(bench.heartbeat_as(&id, Some("i"), 1), ErrorCode::None);
    assert_eq!(bench.heartbeat("m", 1), ErrorCode::UnknownMemberId);
    assert_eq!(bench.heartbeat(&id, 2), ErrorCode::IllegalGeneration);
    assert_eq!(bench.heartbeat_as("m", Some("i"), 1), ErrorCode::FencedInstanceId);
    assert_eq!(bench.heartbeat_as(&id, Some("j"), 1), ErrorCode::UnknownMemberId);
}

#[test]
fn without_heartbeats_a_member_is_gone_after_its_session_timeout() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    bench.pass(SESSION_MS - 1);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::None);
    bench.pass(1);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::UnknownMemberId);
}
