//! What the log brings back.

use super::*;

#[test]
fn a_stable_group_goes_on_after_a_restart() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let before = bench.describe();
    bench.restart();
    assert_eq!(bench.describe(), before);
    assert_eq!(ids.each_heartbeat(&mut bench, 1), [ErrorCode::None; 2]);
    assert_eq!(bench.sync(syncing(&ids[1], 1)).assignment, ids[1]);
}

#[test]
fn members_have_a_whole_session_after_a_restart() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    bench.pass(SESSION_MS - 1);
    bench.restart();
    bench.pass(SESSION_MS - 1);
    assert_eq!(bench.state(), GroupState::Stable);
    bench.pass(1);
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn a_rebalance_that_was_not_completed_is_forgotten() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    bench.start_join(known(&ids[0], "a"));
    bench.restart();
    assert_eq!(bench.state(), GroupState::Stable);
    assert_eq!(bench.heartbeat(&ids[0], 1), ErrorCode::None);
}

#[test]
fn static_members_are_known_after_a_restart() {
    let mut bench = Bench::new();
    let id = bench.join(with_instance("i")).member_id;
    bench.sync(SyncGroup { group_instance_id: Some("i".to_owned()), ..syncing(&id, 1) });
    bench.restart();
    let back = bench.join(with_instance("i"));
    assert_eq!((back.generation_id, back.skip_assignment), (Some(GenerationId(1)), true));
    assert_eq!(bench.heartbeat_as(&id, Some("i"), 1), ErrorCode::FencedInstanceId);
}

#[test]
fn an_empty_groups_generation_goes_on() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    bench.leave(&[(&ids[0], None)]);
    bench.restart();
    assert_eq!(bench.state(), GroupState::Empty);
    assert_eq!(bench.join(old_dynamic("b")).generation_id, Some(GenerationId(3)));
}

#[test]
fn what_consumers_read_is_known_after_a_restart() {
    let mut bench = Bench::new();
    let ids = [bench.join(consumer("a", &["t"])).member_id];
    bench.sync_all(&ids, 1);
    bench.restart();
    let request = OffsetDelete {
        group_id: GROUP.to_owned(),
        topics: vec![("t".to_owned(), vec![PartitionId(0)]), ("u".to_owned(), vec![PartitionId(0)])],
    };
    let token = bench.ask(GroupEvent::OffsetDelete(request));
    let GroupResponse::OffsetDelete(response) = bench.answer(token) else { panic!() };
    let errors: Vec<_> = response.topics.iter().map(|(_, partitions)| partitions[0].1).collect();
    assert_eq!(errors, [ErrorCode::GroupSubscribedToTopic, ErrorCode::None]);
}

#[test]
fn unloading_answers_everyone_who_waits() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    let join = bench.start_join(known(&ids[0], "a"));
    let other = JoinGroup { group_id: "h".to_owned(), ..old_dynamic("x") };
    let joins = [0, 1].map(|_| bench.ask_only(GroupEvent::JoinGroup(other.clone())));
    bench.run_due();
    let x = joins.map(|token| bench.joined(token).member_id);
    let sync = bench.ask(GroupEvent::SyncGroup(SyncGroup { group_id: "h".to_owned(), ..syncing(&x[1], 1) }));

    let mut answers = bench.shard.unload();
    answers.sort_by_key(|(token, _)| *token);
    let expected = [
        (join, JoinGroupResponse::failed(ErrorCode::NotCoordinator, &ids[0])),
        (sync, SyncGroupResponse::failed(ErrorCode::NotCoordinator)),
    ];
    assert_eq!(answers, expected);
    assert_eq!(bench.shard.next_deadline(), None);
    assert_eq!(bench.shard.durable(), new_shard(&bench.config, 0).durable());
}

trait EachHeartbeat {
    fn each_heartbeat(&self, bench: &mut Bench, generation: i32) -> Vec<ErrorCode>;
}

impl EachHeartbeat for Vec<String> {
    fn each_heartbeat(&self, bench: &mut Bench, generation: i32) -> Vec<ErrorCode> {
        self.iter().map(|id| bench.heartbeat(id, generation)).collect()
    }
}
