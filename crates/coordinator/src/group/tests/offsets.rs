//! OffsetCommit and OffsetFetch.

use millstream_types::LeaderEpoch;

use super::*;
use crate::group::records::StoredOffset;

#[test]
fn who_needs_no_group_commits_all_the_same() {
    let mut bench = Bench::new();
    assert_eq!(bench.commit(simple_commit("solo", &[("t", 0, 5), ("t", 1, 7)])), [ErrorCode::None; 2]);
    assert_eq!(bench.fetch_offset("solo", "t", 1), Some(7));
    let stored = StoredOffset {
        offset: Offset(5),
        leader_epoch: None,
        metadata: String::new(),
        committed_at: START,
        expires_at: None,
        topic_id: Some(topic_id("t")),
    };
    let (group_id, topic, partition) = ("solo".to_owned(), topic("t"), PartitionId(0));
    assert_eq!(
        bench.records_from(0)[0],
        GroupRecord::Offset { group_id, topic, partition, value: Some(stored) },
        "and no record of a group",
    );
    assert_eq!(bench.log.len(), 2);
}

/// Asked: the empty group id is one to commit under; fetching what nobody has committed is no error.
#[test]
fn offsets_of_unknown_groups_topics_and_partitions_are_absent() {
    let mut bench = Bench::new();
    assert_eq!(bench.commit(simple_commit("", &[("t", 0, 5)])), [ErrorCode::None]);
    assert_eq!(bench.fetch_offset("", "t", 0), Some(5));
    assert_eq!(bench.fetch_offset("", "t", 1), None);
    assert_eq!(bench.fetch_offset("", "unknown", 0), None);
    assert_eq!(bench.fetch_offset("", "no topic's name", 0), None);
    assert_eq!(bench.fetch_offset("unknown", "t", 0), None);
    assert_eq!(bench.fetch(fetch_all("unknown")), []);
}

#[test]
fn all_that_was_committed_comes_back() {
    let mut bench = Bench::new();
    let mut request = simple_commit(GROUP, &[("t", 1, 5), ("s", 0, 7)]);
    request.partitions[0].metadata = Some("noté".to_owned());
    request.partitions[0].leader_epoch = Some(LeaderEpoch(3));
    bench.commit(request);
    let offset = |partition, offset, leader_epoch: Option<i32>, metadata: &str| CommittedOffset {
        partition: PartitionId(partition),
        offset: Some(Offset(offset)),
        leader_epoch: leader_epoch.map(LeaderEpoch),
        metadata: metadata.to_owned(),
        error: ErrorCode::None,
    };
    let expected = [
        ("s".to_owned(), vec![offset(0, 7, None, "")]),
        ("t".to_owned(), vec![offset(1, 5, Some(3), "noté")]),
    ];
    assert_eq!(bench.fetch(fetch_all(GROUP)), expected);
    bench.restart();
    assert_eq!(bench.fetch(fetch_all(GROUP)), expected);
}

#[test]
fn a_later_commit_replaces_an_earlier_one_even_backwards() {
    let mut bench = Bench::new();
    bench.commit(simple_commit(GROUP, &[("t", 0, 5)]));
    bench.commit(simple_commit(GROUP, &[("t", 0, 3)]));
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(3));
}

/// Kafka counts UTF-16 code units, not bytes.
#[test]
fn metadata_that_is_too_long_fails_its_partition_alone() {
    let mut bench = Bench::with(GroupConfig { offset_metadata_max: 4, ..GroupConfig::default() });
    let mut request = simple_commit(GROUP, &[("t", 0, 1), ("t", 1, 1), ("t", 2, 1)]);
    request.partitions[0].metadata = Some("12345".to_owned());
    request.partitions[1].metadata = Some("éé🙂".to_owned());
    let errors = bench.commit(request);
    assert_eq!(errors, [ErrorCode::OffsetMetadataTooLarge, ErrorCode::None, ErrorCode::None]);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), None);
    assert_eq!(bench.fetch_offset(GROUP, "t", 1), Some(1));
}

#[test]
fn a_member_commits_in_its_generation_only() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    let offsets = [("t", 0, 1)];
    assert_eq!(bench.commit(member_commit(&ids[0], 1, &offsets)), [ErrorCode::None]);
    assert_eq!(bench.commit(member_commit(&ids[0], 0, &offsets)), [ErrorCode::IllegalGeneration]);
    assert_eq!(bench.commit(member_commit(&ids[0], -1, &offsets)), [ErrorCode::IllegalGeneration]);
    assert_eq!(bench.commit(member_commit("other", 1, &offsets)), [ErrorCode::UnknownMemberId]);
    // Asked: no stranger commits while there are members.
    assert_eq!(bench.commit(simple_commit(GROUP, &offsets)), [ErrorCode::UnknownMemberId]);
}

/// Asked. Below version 9 the API says ILLEGAL_GENERATION.
#[test]
fn committing_as_a_member_of_no_group_is_refused() {
    let mut bench = Bench::new();
    assert_eq!(bench.commit(member_commit("m", 1, &[("t", 0, 1)])), [ErrorCode::GroupIdNotFound]);
    assert_eq!(bench.log, []);
}

/// Asked.
#[test]
fn a_member_may_commit_while_it_is_told_to_rejoin_but_not_before_its_assignment() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a", "b"]);
    bench.start_join(known(&ids[0], "a"));
    assert_eq!(bench.commit(member_commit(&ids[1], 1, &[("t", 0, 1)])), [ErrorCode::None]);
    bench.join(known(&ids[1], "b"));
    assert_eq!(bench.commit(member_commit(&ids[1], 2, &[("t", 0, 1)])), [ErrorCode::RebalanceInProgress]);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    for offset in 0..5 {
        bench.pass(SESSION_MS - 1);
        assert_eq!(bench.commit(member_commit(&ids[0], 1, &[("t", 0, offset)])), [ErrorCode::None]);
    }
    bench.pass(SESSION_MS);
    assert_eq!(bench.state(), GroupState::Empty);
}

#[test]
fn once_the_members_are_gone_anyone_may_commit() {
    let mut bench = Bench::new();
    let ids = bench.stable(&["a"]);
    bench.leave(&[(&ids[0], None)]);
    assert_eq!(bench.commit(simple_commit(GROUP, &[("t", 0, 9)])), [ErrorCode::None]);
    assert_eq!(bench.commit(member_commit(&ids[0], 2, &[("t", 0, 9)])), [ErrorCode::UnknownMemberId]);
}

/// From OffsetFetch version 10 on the topic's id is compared.
#[test]
fn an_offset_of_an_earlier_topic_of_the_same_name_does_not_count() {
    let mut bench = Bench::new();
    bench.commit(simple_commit(GROUP, &[("t", 0, 5)]));
    let mut fetch_with = |topic_id| {
        let topics =
            vec![OffsetFetchTopic { topic: "t".to_owned(), topic_id, partitions: vec![PartitionId(0)] }];
        bench.fetch(OffsetFetch { topics: Some(topics), ..fetch_all(GROUP) })[0].1[0].offset
    };
    assert_eq!(fetch_with(Some(topic_id("t"))), Some(Offset(5)));
    assert_eq!(fetch_with(Some(Uuid(77))), None);
    assert_eq!(fetch_with(None), Some(Offset(5)));
}
