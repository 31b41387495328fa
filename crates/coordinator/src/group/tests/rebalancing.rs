//! From one generation to the next, and the time that it may take.

use super::*;

#[test]
fn the_first_rebalance_ends_at_once_unless_configured() {
    let mut bench = Bench::new();
    assert_eq!(bench.join(old_dynamic("a")).generation_id, Some(GenerationId(1)));
}

#[test]
fn with_an_initial_delay_the_first_rebalance_waits_for_more_members() {
    let mut bench = Bench::with(GroupConfig { initial_rebalance_delay_ms: 3_000, ..GroupConfig::default() });
    let a = bench.start_join(old_dynamic("a"));
    bench.pass(2_000);
    let b = bench.start_join(old_dynamic("b"));
    // b's coming extends the delay by one step from the first deadline on.
    bench.pass(3_999);
    assert!(bench.is_waiting(a) && bench.is_waiting(b));
    bench.pass(1);
    assert_eq!(bench.joined(a).members.len(), 2);
    assert_eq!(bench.joined(b).generation_id, Some(GenerationId(1)));
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout_however_many_come() {
    let mut bench = Bench::with(GroupConfig { initial_rebalance_delay_ms: 3_000, ..GroupConfig::default() });
    let quick = |client| JoinGroup { rebalance_timeout_ms: 7_000, ..old_dynamic(client) };
    let first = bench.start_join(quick("a"));
    for _ in 0..6 {
        bench.pass(1_000);
        bench.start_join(quick("b"));
    }
    bench.pass(999);
    assert!(bench.is_waiting(first));
    bench.pass(1);
    assert_eq!(bench.joined(first).members.len(), 7);
}

#[test]
fn dynamic_members_that_do_not_rejoin_in_time_are_out() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let leader = bench.start_join(known(&ids[0], "a"));
    for _ in 0..REBALANCE_MS / 5_000 - 1 {
        bench.pass(5_000);
        assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
        assert!(bench.is_waiting(leader));
    }
    bench.pass(5_000);
    let joined = bench.joined(leader);
    assert_eq!((joined.generation_id, joined.members.len()), (Some(GenerationId(2)), 1));
    assert_eq!(bench.heartbeat(&ids[1], 2), ErrorCode::UnknownMemberId);
}

#[test]
fn the_longest_rebalance_timeout_of_the_members_counts() {
    let mut bench = Bench::new();
    let a = bench.join(JoinGroup {
        rebalance_timeout_ms: 90_000,
        session_timeout_ms: 600_000,
        ..old_dynamic("a")
    });
    bench.sync(syncing(&a.member_id, 1));
    let b = bench.start_join(old_dynamic("b"));
    bench.pass(89_999);
    assert!(bench.is_waiting(b));
    bench.pass(1);
    assert_eq!(bench.joined(b).members.len(), 1);
}

#[test]
fn when_the_leader_does_not_rejoin_another_leads() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    bench.leave(&[(&ids[0], None)]);
    let joined = bench.join(known(&ids[1], "b"));
    assert_eq!((joined.leader.as_str(), joined.members.len()), (ids[1].as_str(), 1));
}

#[test]
fn a_rebalance_waits_for_pending_members_too() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    let pending = bench.join(dynamic("b")).member_id;
    let leader = bench.start_join(known(&ids[0], "a"));
    let newcomer = bench.ask(GroupEvent::JoinGroup(known(&pending, "b")));
    assert_eq!(bench.joined(leader).members.len(), 2);
    assert_eq!(bench.joined(newcomer).generation_id, Some(GenerationId(2)));
}

#[test]
fn a_pending_member_that_gives_up_no_longer_holds_the_rebalance() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    bench.join(dynamic("b"));
    let leader = bench.start_join(known(&ids[0], "a"));
    bench.pass(SESSION_MS);
    assert_eq!(bench.joined(leader).members.len(), 1);
}

#[test]
fn the_last_members_end_empties_the_group_even_while_others_are_pending() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    bench.join(JoinGroup { session_timeout_ms: 600_000, ..dynamic("b") });
    let records = bench.log.len();
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(bench.state(), GroupState::Empty);
    let [GroupRecord::Group { value: Some(value), .. }] = &bench.records_from(records)[..] else { panic!() };
    assert_eq!((value.generation, &value.protocol, &value.leader, value.members.len()), (2, &None, &None, 0));
    assert_eq!(value.protocol_type, "connect");
}

#[test]
fn a_member_that_waits_needs_no_heartbeats() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let leader = bench.start_join(known(&ids[0], "a"));
    for _ in 0..4 {
        bench.pass(SESSION_MS - 1);
        assert_eq!(bench.heartbeat(&ids[1], 1), ErrorCode::RebalanceInProgress);
    }
    bench.join(known(&ids[1], "b"));
    assert_eq!(bench.joined(leader).members.len(), 2);
    // From the answer on, its session runs again.
    bench.pass(SESSION_MS - 1);
    assert_eq!(bench.heartbeat(&ids[0], 2), ErrorCode::None);
}

#[test]
fn a_new_member_that_waits_for_five_minutes_is_given_up() {
    let mut bench = Bench::new();
    let slow = |client| JoinGroup { rebalance_timeout_ms: 1_000_000, ..old_dynamic(client) };
    let ids = [bench.join(slow("a")).member_id];
    bench.sync_all(&ids, 1);
    let newcomer = bench.start_join(slow("b"));
    for _ in 0..30 {
        assert!(bench.is_waiting(newcomer));
        bench.pass(9_999);
        assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::RebalanceInProgress);
    }
    bench.pass(300_000 - 30 * 9_999);
    let answer = bench.joined(newcomer);
    assert_eq!((answer.error, answer.member_id.as_str()), (ErrorCode::UnknownMemberId, ""));
}

#[test]
fn silent_static_members_alone_make_no_generation() {
    let mut bench = Bench::new();
    let silent = JoinGroup { rebalance_timeout_ms: 1, session_timeout_ms: 90_000, ..with_instance("i") };
    let id = bench.join(silent).member_id;
    bench.sync(SyncGroup { group_instance_id: Some("i".to_owned()), ..syncing(&id, 1) });
    let guest = bench.start_join(with_instance("guest"));
    assert_eq!(bench.leave(&[("", Some("guest"))]), [ErrorCode::None]);
    assert_eq!(bench.joined(guest).error, ErrorCode::UnknownMemberId);
    // The time to rejoin is over after a minute, again and again: the only timeout left is 1 ms.
    bench.pass(89_999);
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    bench.pass(1);
    assert_eq!(bench.state(), GroupState::Empty);
    assert_eq!(bench.join(old_dynamic("a")).generation_id, Some(GenerationId(3)));
}
