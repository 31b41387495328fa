//! DeleteGroups, OffsetDelete, and topics that are gone.

use super::*;

fn delete_offsets(bench: &mut Bench, topics: &[(&str, &[i32])]) -> OffsetDeleteResponse {
    let topics = topics.iter().map(|(topic, partitions)| {
        ((*topic).to_owned(), partitions.iter().map(|partition| PartitionId(*partition)).collect())
    });
    let request = OffsetDelete { group_id: GROUP.to_owned(), topics: topics.collect() };
    let token = bench.ask(GroupEvent::OffsetDelete(request));
    match bench.answer(token) {
        GroupResponse::OffsetDelete(response) => response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_an_empty_group_that_exists_is_deleted() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    assert_eq!(bench.delete(GROUP), ErrorCode::NonEmptyGroup);
    assert_eq!(bench.delete("unknown"), ErrorCode::GroupIdNotFound);
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(bench.delete(GROUP), ErrorCode::None);
    assert_eq!(bench.state(), GroupState::Dead);
    assert_eq!(bench.delete(GROUP), ErrorCode::GroupIdNotFound);
}

/// Asked: Kafka writes the tombstones in this order, the group's even if it never had a record.
#[test]
fn a_deleted_groups_offsets_go_first_and_then_the_group() {
    let mut bench = Bench::new();
    bench.commit(simple_commit(GROUP, &[("t", 1, 5), ("s", 0, 7)]));
    let records = bench.log.len();
    assert_eq!(bench.delete(GROUP), ErrorCode::None);
    assert_eq!(
        bench.records_from(records),
        [offset_tombstone(GROUP, "s", 0), offset_tombstone(GROUP, "t", 1), group_tombstone(GROUP)]
    );
    assert_eq!(bench.fetch_offset(GROUP, "t", 1), None);
    bench.restart();
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn offsets_are_deleted_one_by_one() {
    let mut bench = Bench::new();
    bench.commit(simple_commit(GROUP, &[("t", 0, 5), ("t", 1, 5)]));
    let records = bench.log.len();
    let response = delete_offsets(&mut bench, &[("t", &[1, 9])]);
    // What is not there is deleted without a record.
    let none = ErrorCode::None;
    assert_eq!(response.topics, [("t".to_owned(), vec![(PartitionId(1), none), (PartitionId(9), none)])]);
    assert_eq!(bench.records_from(records), [offset_tombstone(GROUP, "t", 1)]);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(5));
}

/// Asked.
#[test]
fn offsets_of_topics_that_consumers_read_stay() {
    let mut bench = Bench::new();
    let ids = [bench.join(consumer("a", &["t"])).member_id];
    bench.sync_all(&ids, 1);
    bench.commit(member_commit(&ids[0], 1, &[("t", 0, 5), ("old", 0, 5)]));
    let response = delete_offsets(&mut bench, &[("t", &[0]), ("old", &[0])]);
    let error = |index: usize| response.topics[index].1[0].1;
    assert_eq!([error(0), error(1)], [ErrorCode::GroupSubscribedToTopic, ErrorCode::None]);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(5));
    assert_eq!(bench.fetch_offset(GROUP, "old", 0), None);
}

#[test]
fn consumers_with_unreadable_metadata_count_as_reading_everything() {
    let mut bench = Bench::new();
    let request = JoinGroup { protocols: protocols(&["x"]), ..consumer("a", &[]) };
    let ids = [bench.join(request).member_id];
    bench.sync_all(&ids, 1);
    let response = delete_offsets(&mut bench, &[("any", &[0])]);
    assert_eq!(response.topics[0].1[0].1, ErrorCode::GroupSubscribedToTopic);
}

/// Asked: a group in use that does not speak the consumer protocol cannot say what it reads.
#[test]
fn offsets_of_other_groups_in_use_are_not_deleted() {
    let mut bench = Bench::new();
    assert_eq!(delete_offsets(&mut bench, &[]).error, ErrorCode::GroupIdNotFound);
    bench.stable(&["a"]);
    assert_eq!(delete_offsets(&mut bench, &[("t", &[0])]).error, ErrorCode::NonEmptyGroup);
    let request = OffsetDelete { group_id: String::new(), topics: Vec::new() };
    let token = bench.ask(GroupEvent::OffsetDelete(request));
    let expected = OffsetDeleteResponse { error: ErrorCode::InvalidGroupId, topics: Vec::new() };
    assert_eq!(bench.answer(token), GroupResponse::OffsetDelete(expected));
}

#[test]
fn offsets_go_with_their_topic_in_every_group() {
    let mut bench = Bench::new();
    bench.commit(simple_commit("g1", &[("t", 0, 5), ("s", 0, 7)]));
    bench.commit(simple_commit("g2", &[("t", 3, 5)]));
    let records = bench.log.len();
    let token = bench.ask(GroupEvent::TopicsDeleted { topics: vec![(topic("t"), topic_id("t"))] });
    assert_eq!(bench.answer(token), GroupResponse::TopicsDeleted);
    assert_eq!(bench.records_from(records), [offset_tombstone("g1", "t", 0), offset_tombstone("g2", "t", 3)]);
    assert_eq!(bench.fetch_offset("g1", "s", 0), Some(7));
}

#[test]
fn offsets_of_a_new_topic_of_the_same_name_stay() {
    let mut bench = Bench::new();
    bench.commit(simple_commit(GROUP, &[("t", 0, 5)]));
    let mut old = simple_commit(GROUP, &[("t", 1, 5)]);
    old.partitions[0].topic_id = Uuid::ZERO;
    bench.commit(old);
    let records = bench.log.len();
    bench.ask(GroupEvent::TopicsDeleted { topics: vec![(topic("t"), Uuid(77))] });
    assert_eq!(bench.records_from(records), [offset_tombstone(GROUP, "t", 1)], "of an unknown id");
}
