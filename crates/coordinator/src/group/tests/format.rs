//! The records as bytes, against those that a real Apache Kafka 4.3.1 wrote into its `__consumer_offsets`
//! (read from its segment files; the same operations as in the tests).

use millstream_record::messages::{GroupMetadataValue, group_metadata_value::MemberMetadata};
use millstream_types::LeaderEpoch;

use super::*;
use crate::group::records::StoredOffset;

fn hex(text: &str) -> Bytes {
    let digit = |c: u8| char::from(c).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect::<Vec<_>>().into()
}

fn check(record: &GroupRecord, key: &str, value: Option<&str>) {
    let bytes = CoordinatorRecord { key: hex(key), value: value.map(hex) };
    assert_eq!(record.encode().unwrap(), bytes);
    assert_eq!(GroupRecord::decode(&bytes).unwrap().as_ref(), Some(record));
}

fn group(value: Option<GroupMetadataValue>) -> GroupRecord {
    GroupRecord::Group { group_id: "jg".to_owned(), value }
}

fn offset(partition: i32, value: Option<StoredOffset>) -> GroupRecord {
    GroupRecord::Offset {
        group_id: "g".to_owned(),
        topic: topic("t"),
        partition: PartitionId(partition),
        value,
    }
}

#[test]
fn a_new_groups_record_is_kafkas() {
    let value = GroupMetadataValue {
        protocol: None,
        leader: None,
        current_state_timestamp: 1_795_517_604_971,
        ..GroupMetadataValue::default()
    };
    check(&group(Some(value)), "000200026a67", Some("0003000000000000ffffffff000001a20d30646b00000000"));
}

#[test]
fn a_stable_groups_record_is_kafkas() {
    let id = "cid-68f8724e-c515-4154-a42e-da49fcfa544d";
    let member = MemberMetadata {
        member_id: id.to_owned(),
        client_id: "cid".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout: 20_000,
        session_timeout: 10_000,
        subscription: Bytes::from_static(&[1, 2]),
        assignment: Bytes::from_static(&[9]),
        ..MemberMetadata::default()
    };
    let value = GroupMetadataValue {
        protocol_type: "connect".to_owned(),
        generation: 1,
        protocol: Some("p1".to_owned()),
        leader: Some(id.to_owned()),
        current_state_timestamp: 1_795_517_605_107,
        members: vec![member],
        ..GroupMetadataValue::default()
    };
    let bytes = "00030007636f6e6e656374000000010002703100286369642d36386638373234652d633531352d343135342d61343265\
                 2d646134396663666135343464000001a20d3064f30000000100286369642d36386638373234652d633531352d343135\
                 342d613432652d646134396663666135343464ffff0003636964000a2f3132372e302e302e3100004e20000027100000\
                 000201020000000109";
    check(&group(Some(value)), "000200026a67", Some(bytes));
}

#[test]
fn an_emptied_groups_record_is_kafkas() {
    let value = GroupMetadataValue {
        protocol_type: "connect".to_owned(),
        generation: 2,
        protocol: None,
        leader: None,
        current_state_timestamp: 1_795_517_606_498,
        ..GroupMetadataValue::default()
    };
    let bytes = "00030007636f6e6e65637400000002ffffffff000001a20d306a6200000000";
    check(&group(Some(value)), "000200026a67", Some(bytes));
    check(&group(None), "000200026a67", None);
}

/// Written for requests of every version that carry no retention: version 4 with the topic's id.
#[test]
fn a_committed_offsets_record_is_kafkas() {
    let stored = StoredOffset {
        offset: Offset(7),
        leader_epoch: Some(LeaderEpoch(0)),
        metadata: String::new(),
        committed_at: TimestampMs(1_795_517_603_746),
        expires_at: None,
        topic_id: Some("lUFfNOk7T_CTqCIVCt0dVQ".parse().unwrap()),
    };
    let bytes = "000400000000000000070000000001000001a20d305fa201001095415f34e93b4ff093a822150add1d55";
    check(&offset(1, Some(stored)), "000100016700017400000001", Some(bytes));
    check(&offset(0, None), "000100016700017400000000", None);
}

/// OffsetCommit v3 with a retention of 5 s: version 1, the only one with a time of expiry.
#[test]
fn an_expiring_offsets_record_is_kafkas() {
    let stored = StoredOffset {
        offset: Offset(3),
        leader_epoch: None,
        metadata: "hi".to_owned(),
        committed_at: TimestampMs(1_795_517_603_634),
        expires_at: Some(TimestampMs(1_795_517_608_634)),
        topic_id: None,
    };
    let bytes = "0001000000000000000300026869000001a20d305f32000001a20d3072ba";
    check(&offset(0, Some(stored)), "000100016700017400000000", Some(bytes));
}

#[test]
fn the_oldest_offset_records_are_read() {
    let key = hex("000000016700017400000002");
    let value = hex("0000000000000000002a0001780000000000000007");
    let stored = StoredOffset {
        offset: Offset(42),
        leader_epoch: None,
        metadata: "x".to_owned(),
        committed_at: TimestampMs(7),
        expires_at: None,
        topic_id: None,
    };
    let decode =
        |value| GroupRecord::decode(&CoordinatorRecord { key: key.clone(), value }).unwrap().unwrap();
    assert_eq!(decode(Some(value)), offset(2, Some(stored)));
    assert_eq!(decode(None), offset(2, None));
}

#[test]
fn records_that_cannot_be_used_change_nothing_and_say_why() {
    let mut bench = Bench::new();
    let unusable = [
        // Cut off, a topic name that cannot be, an unknown version, members without a protocol.
        ("0001000167", Some("0004"), "the record at offset 9 cannot be used: "),
        ("00010001670001 2f00000000", Some("0004"), "illegal"),
        ("000100016700017400000000", Some("00630000"), "version"),
        (
            "000200026a67",
            Some("00030000000000000000ffff0000000000000000000000010001780000ffff000163000168"),
            "",
        ),
        // A member of a consumer group (KIP-848).
        ("000500016700016d", Some("0000"), "a kind of record that is not kept here"),
    ];
    for (key, value, reason) in unusable {
        let record = CoordinatorRecord { key: hex(&key.replace(' ', "")), value: value.map(hex) };
        let error =
            bench.shard.replay(&record, RecordOrigin { offset: Offset(9), producer: None }).unwrap_err();
        assert!(error.to_string().contains(reason) || reason == "illegal", "{error}");
    }
    assert_eq!(bench.shard.durable(), Bench::new().shard.durable());
}
