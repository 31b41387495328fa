//! JoinGroup.

use super::*;

#[test]
fn a_member_without_id_is_given_one_and_asked_to_come_back_with_it() {
    let mut bench = Bench::new();
    let first = bench.join(dynamic("c"));
    assert_eq!(first.error, ErrorCode::MemberIdRequired);
    assert_eq!(first.member_id, "c-00000001-0000-4000-8000-000000000001");
    assert_eq!((first.generation_id, first.leader.as_str(), first.members.len()), (None, "", 0));
    // Asked: the group is there from now on, and its first record is that of an empty group.
    assert_eq!(bench.state(), GroupState::Empty);
    assert_eq!(bench.log.len(), 1);

    let second = bench.join(known(&first.member_id, "c"));
    assert_eq!(second.error, ErrorCode::None);
    assert_eq!(second.generation_id, Some(GenerationId(1)));
    assert_eq!(second.protocol_type.as_deref(), Some("connect"));
    assert_eq!(second.protocol_name.as_deref(), Some("range"));
    assert_eq!(second.leader, first.member_id);
    assert_eq!(
        second.members,
        [JoinedMember {
            member_id: first.member_id,
            group_instance_id: None,
            metadata: Bytes::from("range")
        }]
    );
    assert_eq!(bench.log.len(), 1, "a generation is written down when it is assigned, not before");
}

#[test]
fn an_old_client_joins_at_once() {
    let mut bench = Bench::new();
    let joined = bench.join(old_dynamic("c"));
    assert_eq!((joined.error, joined.generation_id), (ErrorCode::None, Some(GenerationId(1))));
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
}

#[test]
fn a_pending_member_that_does_not_come_back_is_forgotten_after_its_session_timeout() {
    let mut bench = Bench::new();
    let id = bench.join(dynamic("c")).member_id;
    bench.pass(SESSION_MS - 1);
    assert_eq!(bench.join(known(&id, "c")).error, ErrorCode::None);
    let late = bench.join(dynamic("d")).member_id;
    bench.pass(SESSION_MS);
    let answer = bench.join(known(&late, "d"));
    assert_eq!((answer.error, answer.member_id), (ErrorCode::UnknownMemberId, late));
}

/// Asked: a member id in a group that does not exist, an empty group id, a session timeout out of range.
#[test]
fn what_cannot_be_joined_is_refused_with_the_members_id() {
    let mut bench = Bench::new();
    let cases = [
        (known("who", "c"), ErrorCode::UnknownMemberId),
        (JoinGroup { group_id: String::new(), ..dynamic("c") }, ErrorCode::InvalidGroupId),
        (JoinGroup { session_timeout_ms: 5_999, ..known("who", "c") }, ErrorCode::InvalidSessionTimeout),
        (JoinGroup { session_timeout_ms: 1_800_001, ..known("who", "c") }, ErrorCode::InvalidSessionTimeout),
    ];
    for (request, error) in cases {
        let member_id = request.member_id.clone();
        let answer = bench.join(request);
        assert_eq!((answer.error, answer.member_id), (error, member_id));
    }
    assert_eq!(bench.log, [], "nothing of this makes a group");
}

/// Asked: such a group is there afterwards, empty, without a protocol type, and written down.
#[test]
fn without_protocol_or_type_nobody_joins() {
    for request in [
        JoinGroup { protocols: Vec::new(), ..dynamic("c") },
        JoinGroup { protocol_type: String::new(), ..dynamic("c") },
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.join(request).error, ErrorCode::InconsistentGroupProtocol);
        let group = bench.describe();
        assert_eq!((group.state, group.protocol_type.as_str()), (GroupState::Empty, ""));
        assert_eq!(bench.log.len(), 1);
    }
}

#[test]
fn nobody_joins_with_another_type_or_without_a_protocol_that_all_support() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let other_type = JoinGroup { protocol_type: "consumer".to_owned(), ..dynamic("b") };
    assert_eq!(bench.join(other_type).error, ErrorCode::InconsistentGroupProtocol);
    let other_protocol = JoinGroup { protocols: protocols(&["sticky"]), ..dynamic("b") };
    assert_eq!(bench.join(other_protocol).error, ErrorCode::InconsistentGroupProtocol);
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn an_empty_group_takes_any_type() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(bench.describe().protocol_type, "connect");
    bench.join(consumer("b", &["t"]));
    assert_eq!(bench.describe().protocol_type, "consumer");
}

#[test]
fn the_protocol_with_the_most_votes_that_all_support_wins() {
    let mut bench = Bench::new();
    let join =
        |client: &str, names: &[&str]| JoinGroup { protocols: protocols(names), ..old_dynamic(client) };
    let joins = [
        bench.ask_only(GroupEvent::JoinGroup(join("a", &["only-a", "x", "y"]))),
        bench.ask_only(GroupEvent::JoinGroup(join("b", &["y", "x"]))),
        bench.ask_only(GroupEvent::JoinGroup(join("c", &["y", "x", "z"]))),
    ];
    bench.run_due();
    for token in joins {
        assert_eq!(bench.joined(token).protocol_name.as_deref(), Some("y"));
    }
}

#[test]
fn only_the_leader_learns_who_is_there() {
    let mut bench = Bench::new();
    let joins = ["a", "b"].map(|client| bench.ask_only(GroupEvent::JoinGroup(old_dynamic(client))));
    bench.run_due();
    let [a, b] = joins.map(|token| bench.joined(token));
    assert_eq!((a.leader.as_str(), b.leader.as_str()), (a.member_id.as_str(), a.member_id.as_str()));
    assert_eq!((a.members.len(), b.members.len()), (2, 0));
}

#[test]
fn a_member_that_joins_again_unchanged_is_told_the_generation_it_is_in() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let again = bench.join(known(&ids[1], "b"));
    assert_eq!((again.error, again.generation_id), (ErrorCode::None, Some(GenerationId(1))));
    assert_eq!((again.leader.as_str(), again.members.len()), (ids[0].as_str(), 0));
    assert_eq!(bench.state(), GroupState::Stable);
}

#[test]
fn while_the_assignment_is_awaited_joining_again_unchanged_repeats_the_answer() {
    let mut bench = Bench::new();
    let first = bench.join(old_dynamic("a"));
    let again = bench.join(JoinGroup { member_id: first.member_id.clone(), ..old_dynamic("a") });
    assert_eq!(again, first);
    assert_eq!(bench.state(), GroupState::CompletingRebalance);
}

#[test]
fn new_metadata_or_a_leader_that_joins_again_rebalance_the_group() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let leader = bench.start_join(known(&ids[0], "a"));
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    let follower = bench.ask(GroupEvent::JoinGroup(known(&ids[1], "b")));
    assert_eq!(bench.joined(leader).generation_id, Some(GenerationId(2)));
    assert_eq!(bench.joined(follower).generation_id, Some(GenerationId(2)));
    bench.sync_all(&ids, 2);

    let changed = JoinGroup { protocols: protocols(&["sticky", "range"]), ..known(&ids[1], "b") };
    bench.start_join(changed);
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
}

#[test]
fn new_metadata_while_the_assignment_is_awaited_rebalances_too() {
    let mut bench = Bench::new();
    let ids = [bench.join(old_dynamic("a")).member_id];
    let changed = JoinGroup { protocols: protocols(&["sticky", "range"]), ..known(&ids[0], "a") };
    let joined = bench.join(changed);
    assert_eq!(
        (joined.generation_id, joined.protocol_name.as_deref()),
        (Some(GenerationId(2)), Some("sticky"))
    );
}

#[test]
fn a_repeated_join_takes_over_from_the_one_that_waits() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let first = bench.start_join(known(&ids[0], "a"));
    let second = bench.start_join(known(&ids[0], "a"));
    assert_eq!(bench.joined(first).error, ErrorCode::RebalanceInProgress);
    bench.join(known(&ids[1], "b"));
    assert_eq!(bench.joined(second).error, ErrorCode::None);
}

#[test]
fn a_full_group_takes_no_more_members_but_keeps_its_own() {
    let mut bench = Bench::with(GroupConfig { max_size: 2, ..GroupConfig::default() });
    let ids = bench.stable(&["a", "b"]);
    let refused = bench.join(dynamic("c"));
    assert_eq!((refused.error, refused.member_id.as_str()), (ErrorCode::GroupMaxSizeReached, ""));
    assert_eq!(bench.join(known(&ids[1], "b")).error, ErrorCode::None);
}

#[test]
fn of_too_many_pending_members_the_last_to_come_are_refused() {
    let mut bench = Bench::with(GroupConfig { max_size: 1, ..GroupConfig::default() });
    let ids = ["a", "b"].map(|client| bench.join(dynamic(client)).member_id);
    let joins = [("a", &ids[0]), ("b", &ids[1])]
        .map(|(client, id)| bench.ask_only(GroupEvent::JoinGroup(known(id, client))));
    bench.run_due();
    assert_eq!(bench.joined(joins[0]).error, ErrorCode::None);
    assert_eq!(bench.joined(joins[1]).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn a_group_that_was_read_back_too_large_shrinks_to_its_limit() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b", "c"]);
    bench.config.max_size = 2;
    bench.restart();
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    let joins = [("a", &ids[0]), ("b", &ids[1])].map(|(client, id)| bench.start_join(known(id, client)));
    assert_eq!(bench.join(known(&ids[2], "c")).error, ErrorCode::GroupMaxSizeReached);
    for token in joins {
        assert_eq!(bench.joined(token).generation_id, Some(GenerationId(2)));
    }
}
