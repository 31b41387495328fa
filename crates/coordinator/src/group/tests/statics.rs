//! Static members (KIP-345) and the assignment that their leader skips (KIP-814). The answers were asked
//! of Kafka, JoinGroup v9 and v8.

use super::*;

fn member_sync(member: &str, instance: &str, generation: i32) -> SyncGroup {
    SyncGroup { group_instance_id: Some(instance.to_owned()), ..syncing(member, generation) }
}

/// A stable group of i1, who leads, and i2, in generation 2; their member ids.
fn stable_pair(bench: &mut Bench) -> [String; 2] {
    let first = bench.join(with_instance("i1")).member_id;
    let second = bench.start_join(with_instance("i2"));
    let leader = bench.join(JoinGroup { member_id: first.clone(), ..with_instance("i1") });
    let second = bench.joined(second).member_id;
    assert_eq!((leader.generation_id, leader.members.len()), (Some(GenerationId(2)), 2));
    let ids = [first, second];
    let follower = bench.ask(GroupEvent::SyncGroup(member_sync(&ids[1], "i2", 2)));
    let assignments = ids.iter().map(|id| (id.clone(), Bytes::from(id.clone()))).collect();
    bench.sync(SyncGroup { assignments, ..member_sync(&ids[0], "i1", 2) });
    bench.synced(follower);
    ids
}

#[test]
fn a_static_member_joins_without_being_sent_back_for_an_id() {
    let mut bench = Bench::new();
    let joined = bench.join(with_instance("i1"));
    assert_eq!(joined.error, ErrorCode::None);
    assert!(joined.member_id.starts_with("i1-"));
    assert_eq!(joined.members[0].group_instance_id.as_deref(), Some("i1"));
}

#[test]
fn a_returning_follower_takes_its_place_without_a_rebalance() {
    let mut bench = Bench::new();
    let ids = stable_pair(&mut bench);
    let records = bench.log.len();
    let back = bench.join(with_instance("i2"));
    assert_eq!(
        (back.error, back.generation_id, back.leader.as_str()),
        (ErrorCode::None, Some(GenerationId(2)), &*ids[0])
    );
    assert_ne!(back.member_id, ids[1]);
    assert_eq!((back.skip_assignment, back.members.len()), (false, 0));
    assert_eq!(bench.state(), GroupState::Stable);
    let [GroupRecord::Group { value: Some(value), .. }] = &bench.records_from(records)[..] else { panic!() };
    assert!(
        value.members.iter().any(|member| member.member_id == back.member_id && member.assignment == ids[1])
    );
    // Its part of the assignment waits for it.
    assert_eq!(bench.sync(member_sync(&back.member_id, "i2", 2)).assignment, ids[1]);
}

#[test]
fn a_returning_leader_is_told_to_skip_the_assignment() {
    let mut bench = Bench::new();
    stable_pair(&mut bench);
    let back = bench.join(with_instance("i1"));
    assert!(back.skip_assignment);
    assert_eq!((back.leader.as_str(), back.members.len()), (back.member_id.as_str(), 2));
}

#[test]
fn an_older_returning_leader_is_shown_its_former_id_as_the_leader() {
    let mut bench = Bench::new();
    let ids = stable_pair(&mut bench);
    let back = bench.join(JoinGroup { supports_skipping_assignment: false, ..with_instance("i1") });
    assert_eq!((back.skip_assignment, back.leader.as_str(), back.members.len()), (false, &*ids[0], 0));
}

#[test]
fn the_former_self_of_a_returned_member_is_fenced() {
    let mut bench = Bench::new();
    let ids = stable_pair(&mut bench);
    let back = bench.join(with_instance("i2")).member_id;
    assert_eq!(bench.heartbeat_as(&ids[1], Some("i2"), 2), ErrorCode::FencedInstanceId);
    assert_eq!(bench.heartbeat(&ids[1], 2), ErrorCode::UnknownMemberId);
    assert_eq!(bench.sync(member_sync(&ids[1], "i2", 2)).error, ErrorCode::FencedInstanceId);
    let rejoin = JoinGroup { member_id: ids[1].clone(), ..with_instance("i2") };
    assert_eq!(bench.join(rejoin).error, ErrorCode::FencedInstanceId);
    let commit = OffsetCommit {
        group_instance_id: Some("i2".to_owned()),
        ..member_commit(&ids[1], 2, &[("t", 0, 1)])
    };
    assert_eq!(bench.commit(commit), [ErrorCode::FencedInstanceId]);
    assert_eq!(bench.leave(&[(&ids[1], Some("i2"))]), [ErrorCode::FencedInstanceId]);
    assert_eq!(bench.heartbeat_as(&back, Some("i2"), 2), ErrorCode::None);
}

#[test]
fn a_return_with_other_metadata_for_the_same_protocol_is_no_rebalance() {
    let mut bench = Bench::new();
    stable_pair(&mut bench);
    let changed =
        JoinGroup { protocols: vec![("range".to_owned(), Bytes::from("new"))], ..with_instance("i1") };
    let back = bench.join(changed);
    assert!(back.skip_assignment);
    let seen = back.members.iter().find(|member| member.member_id == back.member_id).unwrap();
    assert_eq!(seen.metadata, "new");
}

#[test]
fn a_return_that_changes_the_groups_protocol_is_a_rebalance() {
    let mut bench = Bench::new();
    let both = |names| JoinGroup { protocols: protocols(names), ..with_instance("i1") };
    let id = bench.join(both(&["range", "sticky"])).member_id;
    bench.sync(member_sync(&id, "i1", 1));
    let back = bench.join(both(&["sticky", "range"]));
    assert_eq!((back.generation_id, back.protocol_name.as_deref()), (Some(GenerationId(2)), Some("sticky")));
}

#[test]
fn a_return_while_the_assignment_is_awaited_rebalances_and_fences_the_waiting_sync() {
    let mut bench = Bench::new();
    let ids = stable_pair(&mut bench);
    let leader = bench.start_join(JoinGroup { member_id: ids[0].clone(), ..with_instance("i1") });
    bench.join(JoinGroup { member_id: ids[1].clone(), ..with_instance("i2") });
    bench.joined(leader);
    let former = bench.ask(GroupEvent::SyncGroup(member_sync(&ids[1], "i2", 3)));
    let back = bench.start_join(with_instance("i2"));
    assert_eq!(bench.synced(former).error, ErrorCode::FencedInstanceId);
    assert_eq!(bench.state(), GroupState::PreparingRebalance);
    // Asked: an administrator takes it out by its instance, and its JoinGroup ends without an id.
    assert_eq!(bench.leave(&[("", Some("i2"))]), [ErrorCode::None]);
    let answer = bench.joined(back);
    assert_eq!((answer.error, answer.member_id.as_str()), (ErrorCode::UnknownMemberId, ""));
}

#[test]
fn a_return_while_members_join_fences_the_waiting_join() {
    let mut bench = Bench::new();
    let ids = stable_pair(&mut bench);
    let former = bench.start_join(JoinGroup { member_id: ids[0].clone(), ..with_instance("i1") });
    let back = bench.start_join(with_instance("i1"));
    let fenced = bench.joined(former);
    assert_eq!((fenced.error, fenced.member_id.as_str()), (ErrorCode::FencedInstanceId, &*ids[0]));
    bench.join(JoinGroup { member_id: ids[1].clone(), ..with_instance("i2") });
    assert_eq!(bench.joined(back).members.len(), 2);
}

#[test]
fn a_silent_static_member_stays_through_a_rebalance_until_its_session_ends() {
    let mut bench = Bench::new();
    let slow = |instance| JoinGroup { session_timeout_ms: 120_000, ..with_instance(instance) };
    let ids = [bench.join(slow("i1")).member_id];
    bench.sync(member_sync(&ids[0], "i1", 1));
    let other = bench.start_join(old_dynamic("b"));
    bench.pass(REBALANCE_MS);
    let joined = bench.joined(other);
    assert_eq!((joined.members.len(), joined.leader.as_str()), (2, joined.member_id.as_str()));
}

#[test]
fn an_unknown_member_id_with_an_instance_is_refused() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    let ghost = JoinGroup { member_id: "ghost".to_owned(), ..with_instance("i") };
    let answer = bench.join(ghost);
    assert_eq!((answer.error, answer.member_id.as_str()), (ErrorCode::UnknownMemberId, "ghost"));
}

#[test]
fn a_pending_member_cannot_turn_static() {
    let mut bench = Bench::new();
    let id = bench.join(dynamic("c")).member_id;
    let answer = bench.join(JoinGroup { member_id: id, ..with_instance("i") });
    assert_eq!(answer.error, ErrorCode::UnknownServerError);
}
