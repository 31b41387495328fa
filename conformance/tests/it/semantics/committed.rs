//! Committed offsets: who may commit, what comes back, when it goes away.

use std::time::Duration;

use millstream_conformance::clients::Tier;
use millstream_protocol::messages::{
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    offset_fetch_response::OffsetFetchResponsePartitions,
};
use millstream_testkit::wait_until;
use millstream_types::{ErrorCode, Uuid};

use super::groups::{Member, find_coordinator, group_broker, subscription};
use crate::{
    session::{Session, code},
    shared::shared,
};

/// A commit outside of any membership unless changed.
pub(crate) fn commit_request(group: &str, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        committed_leader_epoch: 0,
        committed_metadata: Some("as far as here".to_owned()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    OffsetCommitRequest { group_id: group.to_owned(), topics: vec![topic], ..Default::default() }
}

pub(crate) fn commit(session: &mut Session, request: &OffsetCommitRequest) -> ErrorCode {
    code(session.call(9, request).topics[0].partitions[0].error_code)
}

pub(crate) fn committed(
    session: &mut Session,
    group: &str,
    topic: &str,
    partition: i32,
) -> OffsetFetchResponsePartitions {
    let topics = OffsetFetchRequestTopics {
        name: topic.to_owned(),
        partition_indexes: vec![partition],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics: Some(vec![topics]),
        ..Default::default()
    };
    let mut answer =
        session.call(9, &OffsetFetchRequest { groups: vec![group], ..Default::default() }).groups.remove(0);
    assert_eq!(code(answer.error_code), ErrorCode::None);
    answer.topics.remove(0).partitions.remove(0)
}

#[test]
fn a_commit_comes_back_with_its_metadata_and_leader_epoch() {
    let target = group_broker();
    let mut session = Session::open(&target);
    session.topic("committed-round-trip", &[]);
    find_coordinator(&mut session, "committed-round-trip");
    let request = commit_request("committed-round-trip", "committed-round-trip", 0, 42);
    assert_eq!(commit(&mut session, &request), ErrorCode::None);
    let found = committed(&mut session, "committed-round-trip", "committed-round-trip", 0);
    assert_eq!((found.committed_offset, found.committed_leader_epoch), (42, 0));
    assert_eq!(found.metadata.as_deref(), Some("as far as here"));
    let all = OffsetFetchRequestGroup {
        group_id: "committed-round-trip".to_owned(),
        topics: None,
        ..Default::default()
    };
    let answer = session.call(9, &OffsetFetchRequest { groups: vec![all], ..Default::default() });
    assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, 42);
}

#[test]
fn a_commit_without_metadata_comes_back_with_an_empty_text() {
    let target = group_broker();
    let mut session = Session::open(&target);
    session.topic("committed-null", &[]);
    find_coordinator(&mut session, "committed-null");
    let mut request = commit_request("committed-null", "committed-null", 0, 1);
    request.topics[0].partitions[0].committed_metadata = None;
    request.topics[0].partitions[0].committed_leader_epoch = -1;
    assert_eq!(commit(&mut session, &request), ErrorCode::None);
    let found = committed(&mut session, "committed-null", "committed-null", 0);
    assert_eq!((found.committed_leader_epoch, found.metadata.as_deref()), (-1, Some("")));
}

#[test]
fn topic_ids_stand_for_names_from_version_10_on() {
    let target = group_broker();
    let mut session = Session::open(&target);
    let topic_id = session.topic("committed-ids", &[]);
    find_coordinator(&mut session, "committed-ids");
    let mut request = commit_request("committed-ids", "", 0, 7);
    request.topics[0].topic_id = topic_id;
    assert_eq!(code(session.call(10, &request).topics[0].partitions[0].error_code), ErrorCode::None);
    assert_eq!(committed(&mut session, "committed-ids", "committed-ids", 0).committed_offset, 7);
    request.topics[0].topic_id = Uuid(0x1234_5678_9abc_4def_8000_0000_0000_0003);
    let unknown = session.call(10, &request).topics.remove(0).partitions.remove(0);
    assert_eq!(code(unknown.error_code), ErrorCode::UnknownTopicId);
}

#[test]
fn a_commit_for_an_unknown_partition_is_refused() {
    let target = group_broker();
    let mut session = Session::open(&target);
    session.topic("committed-partition", &[]);
    find_coordinator(&mut session, "committed-partition");
    let unknown = commit_request("committed-partition", "committed-partition", 1, 42);
    assert_eq!(commit(&mut session, &unknown), ErrorCode::UnknownTopicOrPartition);
    let unknown = commit_request("committed-partition", "committed-no-such-topic", 0, 42);
    assert_eq!(commit(&mut session, &unknown), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn metadata_beyond_the_limit_is_refused() {
    let target = group_broker();
    let mut session = Session::open(&target);
    session.topic("committed-large", &[]);
    find_coordinator(&mut session, "committed-large");
    let mut request = commit_request("committed-large", "committed-large", 0, 42);
    request.topics[0].partitions[0].committed_metadata = Some("x".repeat(4_097));
    assert_eq!(commit(&mut session, &request), ErrorCode::OffsetMetadataTooLarge);
    request.topics[0].partitions[0].committed_metadata = Some("x".repeat(4_096));
    assert_eq!(commit(&mut session, &request), ErrorCode::None);
}

#[test]
fn what_was_never_committed_is_minus_one_without_an_error() {
    let target = group_broker();
    let mut session = Session::open(&target);
    session.topic("committed-never", &[]);
    find_coordinator(&mut session, "committed-never");
    let found = committed(&mut session, "committed-never", "committed-never", 0);
    assert_eq!((found.committed_offset, code(found.error_code)), (-1, ErrorCode::None));
    assert_eq!((found.committed_leader_epoch, found.metadata.as_deref()), (-1, Some("")));
}

#[test]
fn commits_of_members_are_fenced_by_member_and_generation() {
    let target = group_broker();
    let mut member = Member::new(&target, "committed-fenced");
    member.session.topic("committed-fenced", &[]);
    member.settle();
    let mut request = commit_request("committed-fenced", "committed-fenced", 0, 5);
    let with = |request: &mut OffsetCommitRequest, generation: i32, id: &str| {
        request.generation_id_or_member_epoch = generation;
        request.member_id = id.to_owned();
        request.clone()
    };
    let (generation, id) = (member.generation, member.join.member_id.clone());
    let session = &mut member.session;
    assert_eq!(commit(session, &with(&mut request, generation, &id)), ErrorCode::None);
    assert_eq!(commit(session, &with(&mut request, generation + 1, &id)), ErrorCode::IllegalGeneration);
    assert_eq!(commit(session, &with(&mut request, generation, "other")), ErrorCode::UnknownMemberId);
    assert_eq!(
        commit(session, &with(&mut request, -1, "")),
        ErrorCode::UnknownMemberId,
        "the group has members"
    );
    let mut unknown = commit_request("committed-fenced-unknown", "committed-fenced", 0, 5);
    find_coordinator(session, "committed-fenced-unknown");
    let unknown = with(&mut unknown, 3, "x");
    assert_eq!(commit(session, &unknown), ErrorCode::GroupIdNotFound);
    let older = session.call(8, &unknown).topics.remove(0).partitions.remove(0);
    assert_eq!(code(older.error_code), ErrorCode::IllegalGeneration, "before version 9");
}

#[test]
fn offsets_of_a_topic_that_is_still_subscribed_are_not_deleted() {
    let target = group_broker();
    let mut member = Member::new(&target, "committed-delete");
    for topic in ["committed-delete", "committed-delete-other"] {
        member.session.topic(topic, &[]);
    }
    for topic in ["committed-delete", "committed-delete-other"] {
        let request = commit_request("committed-delete", topic, 0, 5);
        assert_eq!(commit(&mut member.session, &request), ErrorCode::None);
    }
    member.join.protocols[0].metadata = subscription(&["committed-delete"], "");
    member.settle();
    let mut delete = |topic: &str| {
        let partitions = vec![OffsetDeleteRequestPartition { partition_index: 0 }];
        let topics = vec![OffsetDeleteRequestTopic { name: topic.to_owned(), partitions }];
        let request = OffsetDeleteRequest { group_id: "committed-delete".to_owned(), topics };
        let answer = member.session.call(0, &request);
        assert_eq!(code(answer.error_code), ErrorCode::None);
        code(answer.topics[0].partitions[0].error_code)
    };
    assert_eq!(delete("committed-delete"), ErrorCode::GroupSubscribedToTopic);
    assert_eq!(delete("committed-delete-other"), ErrorCode::None);
    assert_eq!(committed(&mut member.session, "committed-delete", "committed-delete", 0).committed_offset, 5);
    assert_eq!(
        committed(&mut member.session, "committed-delete", "committed-delete-other", 0).committed_offset,
        -1
    );
}

#[test]
fn offsets_expire_only_in_a_group_that_is_empty() {
    if Tier::from_env().unwrap() < Tier::Conformance {
        eprintln!("a minute is the shortest retention: this belongs to MILLSTREAM_TIER=conformance");
        return;
    }
    let target =
        shared(&[("offsets.retention.minutes", "1"), ("offsets.retention.check.interval.ms", "500")]);
    let mut member = Member::new(&target, "committed-expiry-kept");
    member.session.topic("committed-expiry", &[]);
    let kept = commit_request("committed-expiry-kept", "committed-expiry", 0, 5);
    assert_eq!(commit(&mut member.session, &kept), ErrorCode::None);
    // Of a group with members, only offsets of topics that none of them subscribes to may go.
    member.join.protocols[0].metadata = subscription(&["committed-expiry"], "");
    member.settle();
    find_coordinator(&mut member.session, "committed-expiry-gone");
    let gone = commit_request("committed-expiry-gone", "committed-expiry", 0, 5);
    assert_eq!(commit(&mut member.session, &gone), ErrorCode::None);
    wait_until("the empty group's offset to expire", Duration::from_secs(90), || {
        member.heartbeat();
        let found = committed(&mut member.session, "committed-expiry-gone", "committed-expiry", 0);
        Ok((found.committed_offset == -1).then_some(()))
    })
    .unwrap();
    assert_eq!(
        committed(&mut member.session, "committed-expiry-kept", "committed-expiry", 0).committed_offset,
        5
    );
}
