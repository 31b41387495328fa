//! What the cluster tells of itself: producers, log directories, quorum, features, elections.

use millstream_conformance::stored::batch_headers;
use millstream_protocol::messages::{
    DescribeClusterRequest, DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest,
    ElectLeadersRequest, ListPartitionReassignmentsRequest, UpdateFeaturesRequest,
    describe_log_dirs_request::DescribableLogDirTopic,
    describe_producers_request::TopicRequest,
    describe_producers_response::PartitionResponse,
    describe_quorum_request::{PartitionData, TopicData},
    elect_leaders_request::TopicPartitions,
    update_features_request::FeatureUpdateKey,
};
use millstream_types::ErrorCode;

use crate::{
    session::{Session, batch, code, idempotent},
    shared::broker,
};

fn producers(session: &mut Session, topic: &str, partition: i32) -> PartitionResponse {
    let topic =
        TopicRequest { name: topic.to_owned(), partition_indexes: vec![partition], ..Default::default() };
    let request = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
    session.call(0, &request).topics.remove(0).partitions.remove(0)
}

#[test]
fn the_producers_of_a_partition_are_told_with_their_last_sequence() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("cluster-producers", &[]);
    assert!(producers(&mut session, "cluster-producers", 0).active_producers.is_empty());
    let id = session.new_producer_id();
    session.append("cluster-producers", 0, idempotent(id, 0, 0, &["a", "b"]));
    session.append("cluster-producers", 0, idempotent(id, 0, 2, &["c"]));
    session.append("cluster-producers", 0, batch(&["without a producer id"]));
    let found = producers(&mut session, "cluster-producers", 0);
    assert_eq!(code(found.error_code), ErrorCode::None);
    let [producer] = &found.active_producers[..] else { panic!("{found:?}") };
    assert_eq!((producer.producer_id, producer.producer_epoch, producer.last_sequence), (id, 0, 2));
    assert_eq!((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1));
    let stored = batch_headers(&target.log_dir(), "cluster-producers", 0).unwrap();
    assert_eq!(producer.last_timestamp, stored[1].max_timestamp);
    let unknown = producers(&mut session, "cluster-no-such-topic", 0);
    assert_eq!(code(unknown.error_code), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_log_directory_tells_the_size_of_its_partitions() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic_of("cluster-sizes", 2, &[]);
    let sent = batch(&["x".repeat(1_234)]);
    session.append("cluster-sizes", 0, sent.clone());
    session.append("cluster-sizes", 0, sent.clone());
    let topic = DescribableLogDirTopic {
        topic: "cluster-sizes".to_owned(),
        partitions: vec![0, 1],
        ..Default::default()
    };
    let request = DescribeLogDirsRequest { topics: Some(vec![topic]), ..Default::default() };
    let answer = session.call(4, &request);
    assert_eq!(code(answer.error_code), ErrorCode::None);
    let [directory] = &answer.results[..] else { panic!("{answer:?}") };
    assert_eq!(directory.log_dir, target.log_dir().display().to_string());
    assert!(0 < directory.usable_bytes && directory.usable_bytes < directory.total_bytes);
    let mut sizes: Vec<_> = directory.topics[0]
        .partitions
        .iter()
        .map(|p| (p.partition_index, p.partition_size, p.offset_lag))
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [(0, 2 * sent.len() as i64, 0), (1, 0, 0)]);
}

#[test]
fn the_only_voter_leads_the_quorum() {
    let target = broker();
    let mut session = Session::open(&target);
    let node = session.metadata(None, false).brokers[0].node_id;
    let partition = PartitionData { partition_index: 0, ..Default::default() };
    let topic = TopicData {
        topic_name: "__cluster_metadata".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let answer = session.call(2, &DescribeQuorumRequest { topics: vec![topic], ..Default::default() });
    assert_eq!(code(answer.error_code), ErrorCode::None);
    let quorum = &answer.topics[0].partitions[0];
    assert_eq!((code(quorum.error_code), quorum.leader_id), (ErrorCode::None, node));
    assert!(quorum.leader_epoch > 0 && quorum.high_watermark > 0);
    assert_eq!(quorum.current_voters.iter().map(|v| v.replica_id).collect::<Vec<_>>(), [node]);
    assert!(quorum.current_voters[0].log_end_offset >= quorum.high_watermark);
}

#[test]
fn the_cluster_is_described_as_metadata_describes_it() {
    let target = broker();
    let mut session = Session::open(&target);
    let metadata = session.metadata(None, false);
    let described = session.call(1, &DescribeClusterRequest { endpoint_type: 1, ..Default::default() });
    assert_eq!((code(described.error_code), described.endpoint_type), (ErrorCode::None, 1));
    assert_eq!(
        (Some(described.cluster_id), described.controller_id),
        (metadata.cluster_id, metadata.controller_id)
    );
    let of_metadata = &metadata.brokers[0];
    let [broker] = &described.brokers[..] else { panic!("one broker was expected") };
    assert_eq!(
        (broker.broker_id, &broker.host, broker.port),
        (of_metadata.node_id, &of_metadata.host, of_metadata.port)
    );
    let controllers = session.call(1, &DescribeClusterRequest { endpoint_type: 2, ..Default::default() });
    assert_eq!(code(controllers.error_code), ErrorCode::MismatchedEndpointType);
}

#[test]
fn no_election_is_needed_where_the_preferred_replica_leads() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("cluster-election", &[]);
    let partitions =
        |topic: &str| TopicPartitions { topic: topic.to_owned(), partitions: vec![0], ..Default::default() };
    let request = ElectLeadersRequest {
        election_type: 0,
        topic_partitions: Some(vec![partitions("cluster-election"), partitions("cluster-no-such-topic")]),
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = session.call(2, &request);
    assert_eq!(code(answer.error_code), ErrorCode::None);
    let of = |topic: &str| {
        let result = answer.replica_election_results.iter().find(|r| r.topic == topic).unwrap();
        code(result.partition_result[0].error_code)
    };
    assert_eq!(of("cluster-election"), ErrorCode::ElectionNotNeeded);
    assert_eq!(of("cluster-no-such-topic"), ErrorCode::UnknownTopicOrPartition);
    let all = ElectLeadersRequest { topic_partitions: None, timeout_ms: 10_000, ..Default::default() };
    let results = session.call(2, &all).replica_election_results;
    assert!(results.iter().all(|topic| topic.partition_result.is_empty()), "none needs one: {results:?}");
}

#[test]
fn no_reassignments_are_under_way() {
    let target = broker();
    let request =
        ListPartitionReassignmentsRequest { timeout_ms: 10_000, topics: None, ..Default::default() };
    let answer = Session::open(&target).call(0, &request);
    assert_eq!((code(answer.error_code), answer.topics), (ErrorCode::None, Vec::new()));
}

#[test]
fn features_that_are_unknown_or_out_of_range_are_not_updated() {
    let target = broker();
    let mut session = Session::open(&target);
    let mut update = |feature: &str, level: i16, upgrade_type: i8| {
        let update = FeatureUpdateKey {
            feature: feature.to_owned(),
            max_version_level: level,
            upgrade_type,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            timeout_ms: 10_000,
            feature_updates: vec![update],
            validate_only: true,
            ..Default::default()
        };
        code(session.call(1, &request).error_code)
    };
    assert_eq!(update("no.such.feature", 1, 1), ErrorCode::InvalidUpdateVersion);
    assert_eq!(update("metadata.version", 9_999, 1), ErrorCode::InvalidUpdateVersion);
    assert_eq!(update("metadata.version", 1, 1), ErrorCode::InvalidUpdateVersion);
}
