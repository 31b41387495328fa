//! LeaveGroup.

use super::*;

#[test]
fn a_member_that_leaves_makes_the_others_rebalance() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    assert_eq!(bench.leave(&[(&ids[1], None)]), [ErrorCode::None]);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    assert_eq!(bench.join(known(&ids[0], "a")).generation_id, Some(GenerationId(2)));
}

/// Asked: one request, an answer for each of its members.
#[test]
fn every_leaving_member_has_its_own_answer() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    let answers = bench.leave(&[(&ids[0], None), ("unknown", None), ("", Some("i")), ("", None)]);
    let unknown = ErrorCode::UnknownMemberId;
    assert_eq!(answers, [ErrorCode::None, unknown, unknown, unknown]);
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn the_last_to_leave_leaves_an_empty_group_behind_in_the_log() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let records = bench.log.len();
    bench.leave(&[(&ids[0], None), (&ids[1], None)]);
    let [GroupRecord::Group { value: Some(value), .. }] = &bench.records_from(records)[..] else { panic!() };
    assert_eq!((value.generation, value.members.len(), value.current_state_timestamp), (2, 0, START.0));
}

#[test]
fn leaving_a_group_that_does_not_exist_is_each_members_error() {
    let mut bench = Bench::new();
    assert_eq!(bench.leave(&[("m", None)]), [ErrorCode::UnknownMemberId]);
    let request = LeaveGroup { group_id: String::new(), members: Vec::new() };
    let token = bench.ask(GroupEvent::LeaveGroup(request));
    let expected = LeaveGroupResponse { error: ErrorCode::InvalidGroupId, members: Vec::new() };
    assert_eq!(bench.answer(token), GroupResponse::LeaveGroup(expected));
}

#[test]
fn leaving_while_others_wait_lets_them_go_on() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let leader = bench.start_join(known(&ids[0], "a"));
    bench.leave(&[(&ids[1], None)]);
    assert_eq!(bench.joined(leader).members.len(), 1);
}

#[test]
fn a_pending_member_can_leave() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    let pending = bench.join(dynamic("b")).member_id;
    assert_eq!(bench.leave(&[(&pending, None)]), [ErrorCode::None]);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::None, "nobody who was in the group has gone");
    assert_eq!(bench.join(known(&pending, "b")).error, ErrorCode::UnknownMemberId);
}

#[test]
fn the_waiting_requests_of_a_member_that_leaves_are_answered() {
    let mut bench = Bench::new();
    let joins = ["a", "b"].map(|client| bench.ask_only(GroupEvent::JoinGroup(old_dynamic(client))));
    bench.run_due();
    let ids = joins.map(|token| bench.joined(token).member_id);
    let sync = bench.ask(GroupEvent::SyncGroup(syncing(&ids[1], 1)));
    bench.leave(&[(&ids[1], None)]);
    assert_eq!(bench.synced(sync).error, ErrorCode::UnknownMemberId);

    let ids = [ids[0].clone()];
    bench.join(known(&ids[0], "a"));
    bench.sync_all(&ids, 2);
    bench.join(dynamic("c"));
    let join = bench.start_join(known(&ids[0], "a"));
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(bench.joined(join).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_clock_that_is_set_expires_no_member_and_keeps_none_for_longer() {
    for by_ms in [3_600_000, -3_600_000] {
        let mut bench = Bench::new();
        let ids = bench.stable(&["a"]);
        bench.set_clock(by_ms);
        assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::None);
        bench.set_clock(by_ms);
        bench.pass(SESSION_MS - 1);
        assert_eq!(bench.state(), GroupState::Stable);
        bench.pass(1);
        assert_eq!(bench.state(), GroupState::Empty);
    }
}
