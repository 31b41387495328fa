//! Starting, stopping, and what is found in between.

use millstream_metadata::{ActivationError, BrokerEpoch, Replay, snapshot};
use millstream_record::{
    kraft::MetadataRecord,
    messages::{BeginTransactionRecord, FeatureLevelRecord, PartitionRecord, ProducerIdsRecord, TopicRecord},
};
use millstream_types::{LeaderEpoch, Offset, PartitionId, TimestampMs, Uuid};

use crate::node::{DIRECTORY, NODE, TestNode, replayed};

fn leader_epoch(node: &TestNode) -> i32 {
    node.image().topics().partition("a", PartitionId(0)).unwrap().leader_epoch.0
}

#[test]
fn an_empty_directory_begins_as_kafka_begins_one() {
    let node = TestNode::started();
    assert_eq!(node.image().metadata_version(), 25);
    let broker = node.image().broker(NODE).unwrap();
    // Leader change 0, transaction 1 to 3, registration 4: as in Kafka its offset is the broker's epoch.
    assert_eq!(broker.epoch(), BrokerEpoch(4));
    assert!(!broker.is_fenced());
    assert_eq!(broker.log_dirs(), [DIRECTORY]);
    assert_eq!(node.replay.epoch(), LeaderEpoch(1));
    assert_eq!(replayed(&node.log), node.replay);
}

#[test]
fn every_start_and_every_clean_stop_begins_a_leader_epoch() {
    let mut node = TestNode::started();
    node.create("a", 1, &[]);
    assert_eq!(leader_epoch(&node), 0);
    node.stop();
    let broker = node.image().broker(NODE).unwrap();
    assert!(broker.is_fenced() && broker.is_in_controlled_shutdown());
    assert_eq!(node.image().topics().partition("a", PartitionId(0)).unwrap().leader, None);
    assert_eq!(leader_epoch(&node), 1);
    node.start(None).unwrap();
    assert_eq!(leader_epoch(&node), 2);
    // Killed: nothing is written at the end.
    node.start(None).unwrap();
    assert_eq!(leader_epoch(&node), 3);
    assert_eq!(node.image().topics().partition("a", PartitionId(0)).unwrap().leader, Some(NODE));
    assert_eq!(node.replay.epoch(), LeaderEpoch(3));
}

#[test]
fn an_older_level_is_raised_and_a_newer_one_refused() {
    let feature = |level| -> MetadataRecord {
        let name = "metadata.version".to_owned();
        FeatureLevelRecord { name, feature_level: level, ..Default::default() }.into()
    };
    let mut node = TestNode::new();
    node.start(Some(&[feature(14)])).unwrap();
    assert_eq!(node.image().metadata_version(), 25);
    let mut node = TestNode::new();
    assert_eq!(node.start(Some(&[feature(31)])), Err(ActivationError::MetadataVersion(31)));
    let mut node = TestNode::new();
    assert_eq!(node.start(Some(&[])), Err(ActivationError::NoMetadataVersion));
}

#[test]
fn topics_in_the_bootstrap_records_are_led_from_the_start() {
    let id = Uuid(77);
    let mut records = millstream_metadata::default_bootstrap();
    records.push(TopicRecord { name: "a".into(), topic_id: id, ..Default::default() }.into());
    let partition = PartitionRecord {
        partition_id: 0,
        topic_id: id,
        replicas: vec![NODE.0],
        isr: vec![NODE.0],
        leader: NODE.0,
        leader_epoch: 7,
        partition_epoch: 1,
        ..Default::default()
    };
    records.push(partition.into());
    let mut node = TestNode::new();
    node.start(Some(&records)).unwrap();
    assert_eq!(leader_epoch(&node), 8);
    let partition = node.image().topics().partition("a", PartitionId(0)).unwrap();
    assert_eq!(partition.directory(NODE), Some(DIRECTORY), "the directory that was missing is filled in");
}

#[test]
fn a_partition_on_another_broker_is_refused_by_name() {
    let mut node = TestNode::started();
    node.create("a", 1, &[]);
    let id = node.image().topics().get("a").unwrap().id;
    let elsewhere = PartitionRecord {
        partition_id: 1,
        topic_id: id,
        replicas: vec![2, 1],
        isr: vec![2],
        leader: 2,
        leader_epoch: 0,
        partition_epoch: 0,
        ..Default::default()
    };
    node.commit(&[elsewhere.into()]);
    assert_eq!(
        node.start(None).unwrap_err().to_string(),
        "partition a-1 has its replicas on the brokers [2, 1], but this is node 1: a single node can only open a directory whose partitions are on it alone"
    );
}

#[test]
fn an_unfinished_transaction_counts_for_nothing_and_is_aborted_at_the_start() {
    let mut node = TestNode::started();
    let before = node.image().clone();
    let topic = TopicRecord { name: "half".into(), topic_id: Uuid(9), ..Default::default() };
    node.commit(&[BeginTransactionRecord::default().into(), topic.into()]);
    assert_eq!(node.image(), &before);
    assert!(node.replay.is_in_transaction());
    node.start(None).unwrap();
    assert!(!node.replay.is_in_transaction());
    assert!(node.image().topics().is_empty());
}

#[test]
fn the_log_goes_on_after_a_snapshot() {
    let mut node = TestNode::started();
    node.create("a", 2, &[("retention.ms", "5")]);
    let (id, bytes) = snapshot::write(&node.replay, TimestampMs(5)).unwrap();
    assert_eq!(id.end, node.replay.next_offset());
    let mut other = TestNode::on(snapshot::read(id, &bytes).unwrap(), Vec::new());
    assert_eq!(other.replay, node.replay);
    for node in [&mut node, &mut other] {
        node.start(None).unwrap();
        node.create("b", 1, &[]);
    }
    assert_eq!(other.image(), node.image());
}

#[test]
fn a_log_that_lacks_what_its_snapshot_holds_is_not_taken_for_one_that_has_it() {
    let mut node = TestNode::started();
    node.create("a", 1, &[]);
    let (id, bytes) = snapshot::write(&node.replay, TimestampMs(5)).unwrap();
    let mut replay = snapshot::read(id, &bytes).unwrap();
    let begin = millstream_metadata::leader_change_batch(NODE, LeaderEpoch(2), Offset(0), TimestampMs(6));
    let error = replay.apply_batch(&begin.unwrap()).unwrap_err();
    assert!(error.to_string().ends_with("the log lacks what the snapshot holds"), "{error}");
    let records = millstream_metadata::default_bootstrap();
    assert!(replay.apply_records(&records, Offset(1), LeaderEpoch(2), TimestampMs(6)).is_err());
}

#[test]
fn a_log_with_a_gap_or_an_older_epoch_is_refused() {
    let node = TestNode::started();
    let first = millstream_metadata::leader_change_batch(NODE, LeaderEpoch(5), Offset(3), TimestampMs(1));
    let mut replay = Replay::default();
    let error = replay.apply_batch(&first.unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "metadata batch at offset 3, after the log or snapshot that ends at 0");
    let mut replay = node.replay.clone();
    let next = replay.next_offset();
    let older = millstream_metadata::leader_change_batch(NODE, LeaderEpoch(0), next, TimestampMs(1));
    assert!(replay.apply_batch(&older.unwrap()).is_err());
}

#[test]
fn records_that_do_not_fit_are_errors_that_say_why() {
    let node = TestNode::started();
    let error = |record: MetadataRecord| node.image().clone().apply(&record).unwrap_err().to_string();
    let partition = PartitionRecord { topic_id: Uuid(5), ..Default::default() };
    assert_eq!(error(partition.into()), format!("no topic has the id {}", Uuid(5)));
    let topic = TopicRecord { name: "a/b".into(), ..Default::default() };
    assert!(error(topic.into()).starts_with("topic 'a/b': "));
    let mut image = node.image().clone();
    let ids = |next| ProducerIdsRecord { next_producer_id: next, ..Default::default() };
    image.apply(&ids(5000).into()).unwrap();
    assert_eq!(
        image.apply(&ids(4000).into()).unwrap_err().to_string(),
        "the next producer id went back from 5000 to 4000"
    );
}

#[test]
fn a_clean_stop_without_a_registration_has_nothing_to_say() {
    assert_eq!(millstream_metadata::shut_down(Replay::default().image(), NODE), Vec::<Vec<_>>::new());
}
