//! Creating, growing, deleting and describing topics.

use std::time::Duration;

use millstream_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeTopicPartitionsRequest,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    create_topics_response::CreatableTopicResult,
    delete_topics_request::DeleteTopicState,
    describe_topic_partitions_request::{Cursor, TopicRequest},
};
use millstream_testkit::wait_until;
use millstream_types::{ErrorCode, Uuid};

use super::{
    committed::{commit, commit_request, committed},
    groups::find_coordinator,
};
use crate::{
    session::{Session, batch, code, fetch_request, idempotent},
    shared::{broker, shared},
};

fn creatable(name: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    }
}

fn with_config(name: &str, key: &str, value: Option<&str>) -> CreatableTopic {
    let config =
        CreatableTopicConfig { name: key.to_owned(), value: value.map(str::to_owned), ..Default::default() };
    CreatableTopic { configs: vec![config], ..creatable(name, 1, 1) }
}

fn with_assignment(name: &str, assignment: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = assignment.iter().map(|(partition_index, brokers)| CreatableReplicaAssignment {
        partition_index: *partition_index,
        broker_ids: brokers.to_vec(),
        ..Default::default()
    });
    CreatableTopic { assignments: assignments.collect(), ..creatable(name, -1, -1) }
}

fn create(session: &mut Session, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
    session.call(7, &CreateTopicsRequest { topics, timeout_ms: 10_000, ..Default::default() }).topics
}

#[test]
fn each_topic_of_a_request_is_created_or_refused_on_its_own() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("topics-there", &[]);
    session.topic("topics.dotted", &[]);
    let node = session.metadata(None, false).brokers[0].node_id;
    let long = "x".repeat(250);
    let cases = [
        (creatable("topics-good", 2, 1), ErrorCode::None),
        (creatable("topics-defaults", -1, -1), ErrorCode::None),
        (with_assignment("topics-assigned", &[(0, &[node]), (1, &[node])]), ErrorCode::None),
        (creatable("topics-there", 1, 1), ErrorCode::TopicAlreadyExists),
        (creatable("topics_dotted", 1, 1), ErrorCode::InvalidTopicException),
        (creatable("topics bad", 1, 1), ErrorCode::InvalidTopicException),
        (creatable("", 1, 1), ErrorCode::InvalidTopicException),
        (creatable("..", 1, 1), ErrorCode::InvalidTopicException),
        (creatable(&long, 1, 1), ErrorCode::InvalidTopicException),
        (creatable("topics-no-partitions", 0, 1), ErrorCode::InvalidPartitions),
        (creatable("topics-negative", -2, 1), ErrorCode::InvalidPartitions),
        (creatable("topics-three-replicas", 1, 3), ErrorCode::InvalidReplicationFactor),
        (creatable("topics-zero-replicas", 1, 0), ErrorCode::InvalidReplicationFactor),
        (with_config("topics-unknown-key", "no.such.key", Some("1")), ErrorCode::InvalidConfig),
        (with_config("topics-wrong-value", "retention.ms", Some("soon")), ErrorCode::InvalidConfig),
        (with_config("topics-out-of-range", "segment.bytes", Some("1")), ErrorCode::InvalidConfig),
        (with_config("topics-null-value", "retention.ms", None), ErrorCode::InvalidConfig),
        (with_config("topics-wrong-policy", "cleanup.policy", Some("burn")), ErrorCode::InvalidConfig),
        (with_assignment("topics-unknown-broker", &[(0, &[node + 7])]), ErrorCode::InvalidReplicaAssignment),
        (with_assignment("topics-gap", &[(1, &[node])]), ErrorCode::InvalidReplicaAssignment),
        (with_assignment("topics-no-replicas", &[(0, &[])]), ErrorCode::InvalidReplicaAssignment),
        (with_assignment("topics-double", &[(0, &[node, node])]), ErrorCode::InvalidReplicaAssignment),
        (
            CreatableTopic { num_partitions: 2, ..with_assignment("topics-both", &[(0, &[node])]) },
            ErrorCode::InvalidRequest,
        ),
    ];
    let results = create(&mut session, cases.iter().map(|(topic, _)| topic.clone()).collect());
    assert_eq!(results.len(), cases.len());
    for (topic, expected) in &cases {
        let result = results.iter().find(|r| r.name == topic.name).unwrap();
        assert_eq!(code(result.error_code), *expected, "{}: {:?}", topic.name, result.error_message);
        assert_eq!(result.error_message.is_some(), *expected != ErrorCode::None, "{}", topic.name);
    }
}

#[test]
fn a_topic_named_twice_in_one_request_is_an_invalid_request() {
    let target = broker();
    let mut session = Session::open(&target);
    let results =
        create(&mut session, vec![creatable("topics-twice", 1, 1), creatable("topics-twice", 2, 1)]);
    assert!(results.iter().all(|r| code(r.error_code) == ErrorCode::InvalidRequest), "{results:?}");
    assert_eq!(code(session.describe("topics-twice").error_code), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_created_topic_is_described_with_its_id_and_configuration() {
    let target = shared(&[("num.partitions", "3"), ("auto.create.topics.enable", "false")]);
    let mut session = Session::open(&target);
    let created = create(
        &mut session,
        vec![CreatableTopic {
            num_partitions: -1,
            replication_factor: -1,
            ..with_config("topics-described", "retention.ms", Some("1234567"))
        }],
    )
    .remove(0);
    assert_eq!(
        (code(created.error_code), created.num_partitions, created.replication_factor),
        (ErrorCode::None, 3, 1)
    );
    assert_ne!(created.topic_id, Uuid::default());
    let configs = created.configs.unwrap();
    let retention = configs.iter().find(|c| c.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1234567"), 1));
    let policy = configs.iter().find(|c| c.name == "cleanup.policy").unwrap();
    assert_eq!((policy.value.as_deref(), policy.config_source), (Some("delete"), 5));
    let described = session.describe("topics-described");
    assert_eq!((described.topic_id, described.partitions.len()), (created.topic_id, 3));
}

#[test]
fn a_request_that_only_validates_creates_nothing() {
    let target = broker();
    let mut session = Session::open(&target);
    let mut request = CreateTopicsRequest {
        topics: vec![creatable("topics-validated", 4, 1), creatable("topics-validated-bad", 0, 1)],
        timeout_ms: 10_000,
        validate_only: true,
        ..Default::default()
    };
    let results = session.call(7, &request).topics;
    let of = |name: &str| results.iter().find(|r| r.name == name).unwrap();
    assert_eq!(code(of("topics-validated").error_code), ErrorCode::None);
    assert_eq!(of("topics-validated").num_partitions, 4);
    assert_eq!(code(of("topics-validated-bad").error_code), ErrorCode::InvalidPartitions);
    assert_eq!(code(session.describe("topics-validated").error_code), ErrorCode::UnknownTopicOrPartition);
    request.validate_only = false;
    session.call(7, &request);
    wait_until("the topic", Duration::from_secs(20), || {
        Ok((session.describe("topics-validated").error_code == 0).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_topic_that_is_asked_for_is_created_and_found_soon_after() {
    let target = broker();
    let mut session = Session::open(&target);
    let refused = session.metadata(Some(&["topics-auto"]), false).topics.remove(0);
    assert_eq!(code(refused.error_code), ErrorCode::UnknownTopicOrPartition);
    let first = session.metadata(Some(&["topics-auto"]), true).topics.remove(0);
    let early = [ErrorCode::UnknownTopicOrPartition, ErrorCode::LeaderNotAvailable, ErrorCode::None];
    assert!(early.contains(&code(first.error_code)), "{first:?}");
    wait_until("the topic", Duration::from_secs(20), || {
        Ok((session.metadata(Some(&["topics-auto"]), true).topics[0].error_code == 0).then_some(()))
    })
    .unwrap();
    assert_eq!(session.describe("topics-auto").partitions.len(), 1);
    let invalid = session.metadata(Some(&["topics auto"]), true).topics.remove(0);
    assert_eq!(code(invalid.error_code), ErrorCode::InvalidTopicException);
}

#[test]
fn nothing_is_created_where_the_broker_does_not_want_it() {
    let target = shared(&[("num.partitions", "3"), ("auto.create.topics.enable", "false")]);
    let mut session = Session::open(&target);
    for _ in 0..2 {
        let refused = session.metadata(Some(&["topics-not-auto"]), true).topics.remove(0);
        assert_eq!(code(refused.error_code), ErrorCode::UnknownTopicOrPartition);
    }
    let all = session.metadata(None, true);
    assert!(all.topics.iter().all(|t| t.name.as_deref() != Some("topics-not-auto")));
}

fn delete(session: &mut Session, name: &str) -> ErrorCode {
    let topic = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    code(session.call(6, &request).responses[0].error_code)
}

#[test]
fn a_topic_made_anew_under_an_old_name_has_nothing_of_the_old_one() {
    let target = broker();
    let mut session = Session::open(&target);
    let old = session.topic("topics-anew", &[]);
    let producer = session.new_producer_id();
    session.append("topics-anew", 0, idempotent(producer, 0, 0, &["old", "old"]));
    find_coordinator(&mut session, "topics-anew");
    assert_eq!(commit(&mut session, &commit_request("topics-anew", "topics-anew", 0, 2)), ErrorCode::None);
    let mut full = fetch_request("", &[(0, 0)]);
    full.session_epoch = 0;
    full.topics[0].topic_id = old;
    let fetch_session = session.call(13, &full).session_id;

    assert_eq!(delete(&mut session, "topics-anew"), ErrorCode::None);
    wait_until("the name to be free", Duration::from_secs(20), || {
        Ok((session.describe("topics-anew").error_code != 0).then_some(()))
    })
    .unwrap();
    let new = session.topic("topics-anew", &[]);
    assert_ne!(old, new);
    assert_eq!(session.list_offset("topics-anew", 0, -1).offset, 0);
    let by_old_id = session.call(13, &full);
    assert_eq!(code(by_old_id.responses[0].partitions[0].error_code), ErrorCode::UnknownTopicId);
    let mut next = fetch_request("", &[]);
    next.topics.clear();
    (next.session_id, next.session_epoch) = (fetch_session, 1);
    let in_session = session.call(13, &next);
    let told = in_session.responses.first().map(|t| code(t.partitions[0].error_code));
    assert!(
        [Some(ErrorCode::UnknownTopicId), Some(ErrorCode::InconsistentTopicId)].contains(&told),
        "{told:?}"
    );
    assert_eq!(committed(&mut session, "topics-anew", "topics-anew", 0).committed_offset, -1);
    // To the new partition the producer is a stranger: neither a duplicate nor out of order.
    assert_eq!(session.append("topics-anew", 0, idempotent(producer, 0, 0, &["new", "new"])), 0);
    assert_eq!(session.values("topics-anew"), ["new", "new"]);
}

#[test]
fn topics_are_deleted_by_name_or_id() {
    let target = broker();
    let mut session = Session::open(&target);
    let id = session.topic("topics-delete-id", &[]);
    let by_id = |topic_id| DeleteTopicState { name: None, topic_id, ..Default::default() };
    let unknown = Uuid(0x1234_5678_9abc_4def_8000_0000_0000_0004);
    let request = DeleteTopicsRequest {
        topics: vec![by_id(id), by_id(unknown)],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let responses = session.call(6, &request).responses;
    let of = |id: Uuid| responses.iter().find(|r| r.topic_id == id).unwrap();
    assert_eq!(
        (code(of(id).error_code), of(id).name.as_deref()),
        (ErrorCode::None, Some("topics-delete-id"))
    );
    assert_eq!(code(of(unknown).error_code), ErrorCode::UnknownTopicId);
    assert_eq!(delete(&mut session, "topics-no-such-topic"), ErrorCode::UnknownTopicOrPartition);
    let old = DeleteTopicsRequest {
        topic_names: vec!["topics-no-such-topic".to_owned()],
        timeout_ms: 10_000,
        ..Default::default()
    };
    assert_eq!(code(session.call(1, &old).responses[0].error_code), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic_of("topics-grow", 3, &[]);
    let node = session.metadata(None, false).brokers[0].node_id;
    let mut grow = |count: i32, assignments: Option<Vec<Vec<i32>>>| {
        let assignment = |broker_ids| CreatePartitionsAssignment { broker_ids, ..Default::default() };
        let topic = CreatePartitionsTopic {
            name: "topics-grow".to_owned(),
            count,
            assignments: assignments.map(|all| all.into_iter().map(assignment).collect()),
            ..Default::default()
        };
        let request =
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        code(session.call(3, &request).results[0].error_code)
    };
    assert_eq!(grow(2, None), ErrorCode::InvalidPartitions);
    assert_eq!(grow(3, None), ErrorCode::InvalidPartitions);
    assert_eq!(grow(4, Some(vec![vec![node], vec![node]])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(grow(4, Some(vec![vec![node + 1]])), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(grow(5, Some(vec![vec![node], vec![node]])), ErrorCode::None);
    assert_eq!(grow(6, None), ErrorCode::None);
    wait_until("six partitions", Duration::from_secs(20), || {
        Ok((session.describe("topics-grow").partitions.len() == 6).then_some(()))
    })
    .unwrap();
    let empty = CreatePartitionsRequest { timeout_ms: 10_000, ..Default::default() };
    assert!(session.call(3, &empty).results.is_empty());
    let topic =
        CreatePartitionsTopic { name: "topics-no-such-topic".to_owned(), count: 2, ..Default::default() };
    let unknown = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    assert_eq!(code(session.call(3, &unknown).results[0].error_code), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn added_partitions_can_be_written_at_once() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("topics-grow-write", &[]);
    let topic = CreatePartitionsTopic {
        name: "topics-grow-write".to_owned(),
        count: 2,
        assignments: None,
        ..Default::default()
    };
    let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    session.call(3, &request);
    wait_until("the new partition to take a record", Duration::from_secs(20), || {
        let answer = session.produce("topics-grow-write", 1, batch(&["v"]));
        let early = [ErrorCode::None, ErrorCode::UnknownTopicOrPartition, ErrorCode::NotLeaderOrFollower];
        assert!(early.contains(&code(answer.error_code)), "{answer:?}");
        Ok((answer.error_code == 0).then_some(()))
    })
    .unwrap();
}

#[test]
fn metadata_without_topics_lists_brokers_and_with_null_all_topics() {
    let target = broker();
    let mut session = Session::open(&target);
    let id = session.topic("topics-metadata", &[]);
    let none = session.metadata(Some(&[]), false);
    assert_eq!((none.topics.len(), none.brokers.len()), (0, 1));
    assert!(none.cluster_id.is_some());
    assert_eq!(none.controller_id, none.brokers[0].node_id);
    let all = session.metadata(None, false);
    let found = all.topics.iter().find(|t| t.name.as_deref() == Some("topics-metadata")).unwrap();
    assert_eq!(found.topic_id, id);
    let partition = &found.partitions[0];
    let node = all.brokers[0].node_id;
    assert_eq!(
        (partition.leader_id, &partition.replica_nodes, &partition.isr_nodes),
        (node, &vec![node], &vec![node])
    );
    assert!(partition.offline_replicas.is_empty());
}

#[test]
fn metadata_finds_topics_by_id() {
    let target = broker();
    let mut session = Session::open(&target);
    let id = session.topic("topics-by-id", &[]);
    let mut request = millstream_protocol::messages::MetadataRequest {
        topics: Some(vec![Default::default(), Default::default()]),
        ..Default::default()
    };
    let unknown = Uuid(0x1234_5678_9abc_4def_8000_0000_0000_0005);
    if let Some(topics) = &mut request.topics {
        (topics[0].topic_id, topics[1].topic_id) = (id, unknown);
    }
    let topics = session.call(12, &request).topics;
    let of = |id: Uuid| topics.iter().find(|t| t.topic_id == id).unwrap();
    assert_eq!(of(id).name.as_deref(), Some("topics-by-id"));
    assert_eq!(
        (code(of(unknown).error_code), of(unknown).name.as_deref()),
        (ErrorCode::UnknownTopicId, None)
    );
}

#[test]
fn partitions_are_described_a_page_at_a_time() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic_of("topics-pages", 5, &[]);
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let request = DescribeTopicPartitionsRequest {
            topics: vec![TopicRequest { name: "topics-pages".to_owned(), ..Default::default() }],
            response_partition_limit: 2,
            cursor: cursor.take(),
            ..Default::default()
        };
        let answer = session.call(0, &request);
        let indexes = answer.topics[0].partitions.iter().map(|p| p.partition_index);
        pages.push(indexes.collect::<Vec<_>>());
        let Some(next) = answer.next_cursor else { break };
        cursor = Some(Cursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
            ..Default::default()
        });
    }
    assert_eq!(pages, [vec![0, 1], vec![2, 3], vec![4]]);
    let request = DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "topics-no-such-topic".to_owned(), ..Default::default() }],
        response_partition_limit: 2,
        ..Default::default()
    };
    let unknown = session.call(0, &request).topics.remove(0);
    assert_eq!(code(unknown.error_code), ErrorCode::UnknownTopicOrPartition);
}
