//! Files that Kafka 4.3.1 wrote are understood, and nothing of them is lost.

use bytes::Bytes;
use millstream_metadata::{
    BrokerEpoch, Image, QuorumState, Replay, ResourceType,
    snapshot::{self, SnapshotId},
};
use millstream_record::kraft::MetadataRecord;
use millstream_types::{BrokerId, LeaderEpoch, Offset, PartitionId, ProducerId, TimestampMs};

use crate::node::{TestNode, replay_onto, replayed};

const STATIC_LOG: &[u8] = include_bytes!("../fixtures/kafka-4.3.1/static-voter/00000000000000000000.log");
const STATIC_QUORUM: &str = include_str!("../fixtures/kafka-4.3.1/static-voter/quorum-state");
const STATIC_BOOTSTRAP: &[u8] = include_bytes!("../fixtures/kafka-4.3.1/static-voter/bootstrap.checkpoint");
const DYNAMIC_LOG: &[u8] = include_bytes!("../fixtures/kafka-4.3.1/dynamic-voter/00000000000000000000.log");
const DYNAMIC_QUORUM: &str = include_str!("../fixtures/kafka-4.3.1/dynamic-voter/quorum-state");
const DYNAMIC_BOOTSTRAP: &[u8] = include_bytes!("../fixtures/kafka-4.3.1/dynamic-voter/bootstrap.checkpoint");
const DYNAMIC_FORMAT: &[u8] =
    include_bytes!("../fixtures/kafka-4.3.1/dynamic-voter/00000000000000000000-0000000000.checkpoint");
const DYNAMIC_SNAPSHOT: &[u8] =
    include_bytes!("../fixtures/kafka-4.3.1/dynamic-voter/00000000000000000055-0000000002.checkpoint");
const DYNAMIC_SNAPSHOT_NAME: &str = "00000000000000000055-0000000002.checkpoint";

fn dynamic_snapshot() -> Replay {
    let id = SnapshotId::parse(DYNAMIC_SNAPSHOT_NAME).unwrap();
    snapshot::read(id, &Bytes::from_static(DYNAMIC_SNAPSHOT)).unwrap()
}

#[test]
fn a_log_of_kafka_is_replayed() {
    let replay = replayed(STATIC_LOG);
    let image = replay.image();
    assert_eq!(image.metadata_version(), 25);
    let topic = image.topics().get("a").unwrap();
    assert_eq!(topic.id.to_string(), "gIOj1DQaT6m3WbYwKwSJJA");
    assert_eq!(image.topics().len(), 1, "b and x.y were deleted");
    let partition = &topic.partitions[&PartitionId(2)];
    assert_eq!(partition.replicas, [BrokerId(1)]);
    assert_eq!(partition.directories[0].to_string(), "4GKhFDj1mu-3rP_LFoVlJg");
    assert_eq!(partition.leader, None, "nobody leads after a clean stop");
    assert_eq!(partition.leader_epoch, LeaderEpoch(5), "stopped, started, killed, started, stopped");
    assert_eq!(image.configs().topic("a")["retention.ms"], "5000");
    assert_eq!(image.configs().of(ResourceType::Broker, "1").unwrap()["log.retention.ms"], "100000");
    assert_eq!(image.next_producer_id(), ProducerId(1000));
    let broker = image.broker(BrokerId(1)).unwrap();
    assert_eq!(broker.epoch(), BrokerEpoch(35));
    assert!(broker.is_fenced() && broker.is_in_controlled_shutdown());
    let state = QuorumState::parse(STATIC_QUORUM).unwrap();
    assert_eq!((state.epoch, replay.epoch()), (LeaderEpoch(3), LeaderEpoch(3)));
    assert_eq!(replay.voters().check_only(BrokerId(1), Some(&state)), Ok(()));
    assert!(replay.voters().check_only(BrokerId(2), Some(&state)).is_err());
}

#[test]
fn a_snapshot_of_kafka_says_what_its_log_says() {
    let from_snapshot = dynamic_snapshot();
    let from_log = replayed(DYNAMIC_LOG);
    assert_eq!(from_snapshot.image(), from_log.image());
    assert_eq!(from_snapshot, from_log);
    assert_eq!(from_log.next_offset(), Offset(55));
    assert_eq!(from_log.voters().kraft_version, 1);
    assert!(from_log.image().kept().has_acls());
}

#[test]
fn a_log_that_begins_before_the_snapshot_goes_on_from_it() {
    let mut replay = dynamic_snapshot();
    replay_onto(&mut replay, DYNAMIC_LOG);
    assert_eq!(replay, dynamic_snapshot());
}

#[test]
fn nothing_of_kafkas_is_lost_in_our_snapshot_of_it() {
    for log in [STATIC_LOG, DYNAMIC_LOG] {
        let replay = replayed(log);
        let (id, bytes) = snapshot::write(&replay, TimestampMs(1)).unwrap();
        assert_eq!(snapshot::read(id, &bytes).unwrap(), replay);
    }
}

/// Kafka's own order of records within a kind is a hash map's, so they are compared as sets.
#[test]
fn our_snapshot_has_the_records_of_kafkas() {
    let kafka = snapshot::decode(&Bytes::from_static(DYNAMIC_SNAPSHOT)).unwrap();
    let (id, bytes) = snapshot::write(&replayed(DYNAMIC_LOG), TimestampMs(1_795_517_900_291)).unwrap();
    assert_eq!(id.file_name(), DYNAMIC_SNAPSHOT_NAME);
    assert_eq!(bytes.len(), DYNAMIC_SNAPSHOT.len());
    let ours = snapshot::decode(&bytes).unwrap();
    assert_eq!(ours.voters, kafka.voters);
    assert_eq!(ours.last_contained_log_timestamp, kafka.last_contained_log_timestamp);
    assert_eq!(in_one_order(ours.records), in_one_order(kafka.records));
}

fn in_one_order(records: Vec<MetadataRecord>) -> Vec<String> {
    let text = |record| {
        let record = match record {
            MetadataRecord::RegisterBroker(mut broker) => {
                broker.features.sort_by(|a, b| a.name.cmp(&b.name));
                broker.into()
            }
            MetadataRecord::RegisterController(mut controller) => {
                controller.features.sort_by(|a, b| a.name.cmp(&b.name));
                controller.into()
            }
            other => other,
        };
        format!("{record:?}")
    };
    let mut texts: Vec<String> = records.into_iter().map(text).collect();
    texts.sort();
    texts
}

#[test]
fn a_directory_that_kafka_has_formatted_is_taken_over() {
    for (bootstrap, level) in [(STATIC_BOOTSTRAP, 25), (DYNAMIC_BOOTSTRAP, 30)] {
        let contents = snapshot::decode(&Bytes::from_static(bootstrap)).unwrap();
        let mut node = TestNode::new();
        node.start(Some(&contents.records)).unwrap();
        assert_eq!(node.image().metadata_version(), level);
        for record in &contents.records {
            if let MetadataRecord::FeatureLevel(feature) = record {
                assert_eq!(node.image().feature(&feature.name), feature.feature_level);
            }
        }
    }
    let format = snapshot::read(SnapshotId::default(), &Bytes::from_static(DYNAMIC_FORMAT)).unwrap();
    assert_eq!(format.image(), &Image::default());
    assert_eq!(format.voters().kraft_version, 1);
    assert_eq!(
        format.voters().check_only(BrokerId(1), QuorumState::parse(DYNAMIC_QUORUM).ok().as_ref()),
        Ok(())
    );
}

#[test]
fn a_directory_that_kafka_has_used_is_taken_over() {
    for log in [STATIC_LOG, DYNAMIC_LOG] {
        let before = replayed(log);
        let mut node = TestNode::on(before.clone(), log.to_vec());
        let activation = node.start(None).unwrap();
        assert_eq!(node.image().features(), before.image().features(), "no level is changed");
        assert_eq!(activation.notices.len(), usize::from(before.image().kept().has_acls()));
        let broker = node.image().broker(BrokerId(1)).unwrap();
        assert!(!broker.is_fenced() && !broker.is_in_controlled_shutdown());
        for topic in node.image().topics().iter() {
            for (id, partition) in &topic.partitions {
                let old = before.image().topics().partition(topic.name.as_str(), *id).unwrap();
                assert_eq!(partition.leader, Some(BrokerId(1)));
                assert_eq!(partition.isr, [BrokerId(1)]);
                assert_eq!(partition.leader_epoch.0, old.leader_epoch.0 + 1);
                assert_eq!(partition.eligible_leader_replicas, []);
            }
        }
        assert_eq!(replayed(&node.log), node.replay);
    }
}

#[test]
fn a_snapshot_that_was_cut_short_or_changed_is_refused() {
    let id = SnapshotId::parse(DYNAMIC_SNAPSHOT_NAME).unwrap();
    for length in 0..DYNAMIC_SNAPSHOT.len() {
        assert!(snapshot::read(id, &Bytes::from_static(&DYNAMIC_SNAPSHOT[..length])).is_err(), "{length}");
    }
    for at in 0..DYNAMIC_SNAPSHOT.len() {
        let mut bytes = DYNAMIC_SNAPSHOT.to_vec();
        bytes[at] ^= 0x40;
        // The base offset and the leader epoch are outside of the checksum, and do not matter.
        if let Ok(replay) = snapshot::read(id, &bytes.into()) {
            assert_eq!(replay, dynamic_snapshot());
        }
    }
}

#[test]
fn names_of_snapshots_are_parsed_strictly() {
    let id = SnapshotId { end: Offset(55), epoch: LeaderEpoch(2) };
    assert_eq!(SnapshotId::parse(&id.file_name()), Some(id));
    for other in [
        "00000000000000000055-0000000002.checkpoint.part",
        "00000000000000000055-0000000002.checkpoint.deleted",
        "55-2.checkpoint",
        "bootstrap.checkpoint",
        "+0000000000000000055-0000000002.checkpoint",
        "99999999999999999999-0000000002.checkpoint",
    ] {
        assert_eq!(SnapshotId::parse(other), None, "{other}");
    }
}
