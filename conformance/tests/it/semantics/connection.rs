//! Handshake, framing, the order of answers, hostile bytes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream_protocol::{
    ApiKey, Request, encode_request,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeConfigsRequest,
        DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
        LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetFetchRequest,
        ProduceRequest, SyncGroupRequest,
    },
};
use millstream_testkit::{Connection, Target, TargetOptions, wait_until};
use millstream_types::{
    ErrorCode,
    codec::{Reader, Writer},
};

use crate::{
    session::{Session, batch, code, fetch_request, frame, produce_request},
    shared::broker,
};

#[test]
fn api_versions_of_an_unknown_version_is_answered_in_version_0_with_its_own_range() {
    let target = broker();
    let mut connection = Connection::open(target.bootstrap()).unwrap();
    connection.send_bytes(&frame(18, 99, 2, &[1, 1, 0])).unwrap();
    let mut reader = Reader::new(connection.receive_frame().unwrap());
    assert_eq!(reader.i32(), Ok(77), "correlation id");
    let response = ApiVersionsResponse::read(&mut reader, 0).unwrap();
    assert!(reader.is_empty());
    assert_eq!(code(response.error_code), ErrorCode::UnsupportedVersion);
    let range = response.api_keys.iter().find(|k| k.api_key == 18).unwrap();
    assert_eq!((range.min_version, range.max_version), (0, 4));
    // The connection goes on in a version that both know.
    assert_eq!(connection.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
}

#[test]
fn a_client_software_name_that_breaks_the_rules_is_an_invalid_request() {
    let target = broker();
    let mut session = Session::open(&target);
    let named = |name: &str| ApiVersionsRequest {
        client_software_name: name.to_owned(),
        client_software_version: "1.0".to_owned(),
        ..Default::default()
    };
    for name in ["", "-millstream", "mill stream", "millstream!"] {
        assert_eq!(code(session.call(3, &named(name)).error_code), ErrorCode::InvalidRequest, "{name:?}");
    }
    assert_eq!(code(session.call(3, &named("mill-stream.1")).error_code), ErrorCode::None);
}

#[test]
fn every_api_is_advertised_in_kafkas_range_and_produce_from_version_0() {
    let target = broker();
    let answer = Session::open(&target).call(0, &ApiVersionsRequest::default());
    let range = |key: ApiKey| {
        let found = answer.api_keys.iter().find(|k| k.api_key == key as i16);
        found.map(|k| (k.min_version, k.max_version))
    };
    let expected = [
        // librdkafka decides by version 0 of Produce whether to compress; it is not otherwise served.
        (ApiKey::Produce, 0, 13),
        (ApiKey::Fetch, 4, 18),
        (ApiKey::ListOffsets, 1, 11),
        (ApiKey::Metadata, 0, 13),
        (ApiKey::OffsetCommit, 2, 10),
        (ApiKey::OffsetFetch, 1, 10),
        (ApiKey::FindCoordinator, 0, 6),
        // Versions 0 and 1 are still spoken by older clients.
        (ApiKey::JoinGroup, 0, 9),
        (ApiKey::Heartbeat, 0, 4),
        (ApiKey::LeaveGroup, 0, 5),
        (ApiKey::SyncGroup, 0, 5),
        (ApiKey::DescribeGroups, 0, 6),
        (ApiKey::ListGroups, 0, 5),
        (ApiKey::ApiVersions, 0, 4),
        (ApiKey::CreateTopics, 2, 7),
        (ApiKey::DeleteTopics, 1, 6),
        (ApiKey::DeleteRecords, 0, 2),
        (ApiKey::InitProducerId, 0, 5),
        (ApiKey::OffsetForLeaderEpoch, 2, 4),
        (ApiKey::DescribeConfigs, 1, 4),
        (ApiKey::AlterConfigs, 0, 2),
        (ApiKey::DescribeLogDirs, 1, 5),
        (ApiKey::CreatePartitions, 0, 3),
        (ApiKey::DeleteGroups, 0, 2),
        (ApiKey::ElectLeaders, 0, 2),
        (ApiKey::IncrementalAlterConfigs, 0, 1),
        (ApiKey::ListPartitionReassignments, 0, 0),
        (ApiKey::OffsetDelete, 0, 0),
        (ApiKey::DescribeQuorum, 0, 2),
        (ApiKey::UpdateFeatures, 0, 2),
        (ApiKey::DescribeCluster, 0, 2),
        (ApiKey::DescribeProducers, 0, 0),
        (ApiKey::ListConfigResources, 0, 1),
        (ApiKey::DescribeTopicPartitions, 0, 0),
    ];
    for (key, min, max) in expected {
        assert_eq!(range(key), Some((min, max)), "{key:?}");
    }
}

#[test]
fn an_answer_omits_tagged_fields_that_hold_their_default() {
    let target = broker();
    let mut connection = Connection::open(target.bootstrap()).unwrap();
    let request = ApiVersionsRequest {
        client_software_name: "a".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    connection.send(3, &request).unwrap();
    let frame = connection.receive_frame().unwrap();
    let mut reader = Reader::new(frame.slice(4..));
    let answer = ApiVersionsResponse::read(&mut reader, 3).unwrap();
    let mut writer = Writer::new();
    answer.write(&mut writer, 3).unwrap();
    // Old librdkafka gives up on an answer that spells its defaults out; our writer leaves them out.
    assert_eq!(writer.into_bytes(), frame.slice(4..));
}

/// Asks in every version of the API; the answer must be one to that version, with no byte left over.
fn in_every_version<R: Request>(session: &mut Session, lowest: i16, request: impl Fn(i16) -> R) {
    for version in lowest..=R::MAX_VERSION {
        session.call(version, &request(version));
    }
}

#[test]
fn every_version_is_answered_in_its_own_form_without_tagged_fields_where_there_are_none() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("connection-versions", &[]);
    let s = &mut session;
    in_every_version(s, 0, |v| ApiVersionsRequest {
        client_software_name: if v >= 3 { "a".to_owned() } else { String::new() },
        client_software_version: if v >= 3 { "1".to_owned() } else { String::new() },
        ..Default::default()
    });
    in_every_version(s, 0, |v| MetadataRequest {
        topics: if v == 0 { Some(Vec::new()) } else { None },
        ..Default::default()
    });
    let group = || "connection-versions".to_owned();
    in_every_version(s, 0, |v| FindCoordinatorRequest {
        key: if v < 4 { group() } else { String::new() },
        coordinator_keys: if v >= 4 { vec![group()] } else { Vec::new() },
        ..Default::default()
    });
    in_every_version(s, 3, |v| {
        let mut request = produce_request(1, "connection-versions", 0, batch(&["v"]));
        if v >= 13 {
            request.topic_data.clear();
        }
        request
    });
    in_every_version(s, 4, |v| {
        let mut request = fetch_request("connection-versions", &[(0, 0)]);
        if v >= 13 {
            request.topics.clear();
        }
        request
    });
    in_every_version(s, 1, |_| ListOffsetsRequest { replica_id: -1, ..Default::default() });
    in_every_version(s, 0, |_| HeartbeatRequest {
        group_id: group(),
        member_id: "x".to_owned(),
        ..Default::default()
    });
    in_every_version(s, 0, |_| SyncGroupRequest {
        group_id: group(),
        member_id: "x".to_owned(),
        ..Default::default()
    });
    in_every_version(s, 0, |_| LeaveGroupRequest { group_id: group(), ..Default::default() });
    in_every_version(s, 0, |_| JoinGroupRequest {
        group_id: String::new(),
        session_timeout_ms: 1,
        ..Default::default()
    });
    in_every_version(s, 0, |_| DescribeGroupsRequest { groups: vec![group()], ..Default::default() });
    in_every_version(s, 0, |_| ListGroupsRequest::default());
    in_every_version(s, 1, |v| OffsetFetchRequest {
        group_id: if v < 8 { group() } else { String::new() },
        topics: if (2..8).contains(&v) { None } else { Some(Vec::new()) },
        ..Default::default()
    });
    in_every_version(s, 1, |_| DescribeConfigsRequest::default());
    in_every_version(s, 0, |_| DescribeClusterRequest::default());
}

#[test]
fn unknown_tagged_fields_of_a_request_are_ignored() {
    let target = broker();
    let mut session = Session::open(&target);
    let request = MetadataRequest {
        topics: Some(Vec::new()),
        unknown_tagged_fields: vec![(1234, Bytes::from_static(b"from the future"))],
        ..Default::default()
    };
    assert!(!session.call(12, &request).brokers.is_empty());
}

#[test]
fn requests_on_a_connection_are_answered_in_order() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("connection-order", &[]);
    let mut slow = fetch_request("connection-order", &[(0, 0)]);
    (slow.max_wait_ms, slow.min_bytes) = (400, 1);
    let connection = &mut session.0;
    // The fetch has nothing to return for a while, and everything after it waits for it.
    let fetch = connection.send(12, &slow).unwrap();
    let metadata = connection.send(12, &MetadataRequest::default()).unwrap();
    let versions = connection.send(0, &ApiVersionsRequest::default()).unwrap();
    let produce = connection.send(9, &produce_request(-1, "connection-order", 0, batch(&["v"]))).unwrap();
    assert_eq!(connection.receive::<FetchRequest>(12).unwrap().0, fetch);
    assert_eq!(connection.receive::<MetadataRequest>(12).unwrap().0, metadata);
    assert_eq!(connection.receive::<ApiVersionsRequest>(0).unwrap().0, versions);
    assert_eq!(connection.receive::<ProduceRequest>(9).unwrap().0, produce);
}

#[test]
fn a_write_without_acks_takes_no_place_among_the_answers() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("connection-acks-0", &[]);
    let connection = &mut session.0;
    connection.send(9, &produce_request(0, "connection-acks-0", 0, batch(&["first"]))).unwrap();
    connection.send(9, &produce_request(0, "connection-acks-0", 0, batch(&["second"]))).unwrap();
    let metadata = connection.send(12, &MetadataRequest::default()).unwrap();
    assert_eq!(connection.receive::<MetadataRequest>(12).unwrap().0, metadata);
    session.append("connection-acks-0", 0, batch(&["third"]));
    assert_eq!(session.values("connection-acks-0"), ["first", "second", "third"]);
}

#[test]
fn a_write_without_acks_that_fails_closes_the_connection() {
    let target = broker();
    let mut connection = Connection::open(target.bootstrap()).unwrap();
    connection.send(9, &produce_request(0, "connection-no-such-topic", 0, batch(&["v"]))).unwrap();
    connection.expect_close().unwrap();
}

#[test]
fn versions_that_are_gone_and_keys_that_do_not_exist_close_the_connection() {
    let target = broker();
    let refused = [
        ("Fetch 3, which would need down-conversion", frame(1, 3, 1, &[0; 40])),
        ("Produce 2", frame(0, 2, 1, &[0; 40])),
        ("Metadata 99", frame(3, 99, 2, &[0; 10])),
        ("LeaderAndIsr", frame(4, 0, 1, &[0; 10])),
        ("a key that never was", frame(9999, 0, 1, &[])),
        ("a negative key", frame(-5, 0, 1, &[])),
    ];
    for (what, bytes) in refused {
        let mut connection = Connection::open(target.bootstrap()).unwrap();
        connection.send_bytes(&bytes).unwrap();
        connection.expect_close().unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[test]
fn lengths_that_lie_close_the_connection_and_nothing_else() {
    let target = broker();
    let mut announced_too_much = 0x7fff_ffff_u32.to_be_bytes().to_vec();
    announced_too_much.extend_from_slice(b"GET / HTTP/1.1");
    let lies = [
        ("a frame of 2 GB", announced_too_much),
        ("a negative frame", (-1_i32).to_be_bytes().to_vec()),
        ("an array of 2^31-1 topics", frame(3, 1, 1, &0x7fff_ffff_u32.to_be_bytes())),
        ("a compact array of 54 million topics", frame(3, 9, 2, &[0xff, 0xff, 0xff, 0x19])),
        ("a string longer than the frame", frame(10, 0, 1, &[0x7f, 0xff, b'x'])),
        ("a negative string length", frame(10, 0, 1, &[0x80, 0x00])),
        ("a header cut short", vec![0, 0, 0, 3, 0, 3, 0]),
    ];
    for (what, bytes) in lies {
        let mut connection = Connection::open(target.bootstrap()).unwrap();
        connection.send_bytes(&bytes).unwrap();
        connection.set_answer_limit(Duration::from_secs(10)).unwrap();
        connection.expect_close().unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    assert!(!Session::open(&target).metadata(None, false).brokers.is_empty());
}

#[test]
fn half_a_request_holds_nobody_else_up() {
    let target = broker();
    let mut halves: Vec<Connection> =
        (0..50).map(|_| Connection::open(target.bootstrap()).unwrap()).collect();
    for connection in &mut halves {
        connection.send_bytes(&[0, 0, 0, 100, 0, 3]).unwrap();
    }
    assert!(!Session::open(&target).metadata(None, false).brokers.is_empty());
}

#[test]
fn a_connection_that_nothing_passes_over_is_closed_after_a_while_and_one_in_use_is_not() {
    const IDLE_MS: u64 = 2_000;
    let target = Target::start(TargetOptions::default().set("connections.max.idle.ms", IDLE_MS)).unwrap();
    let mut session = Session::open(&target);
    session.topic("connection-idle", &[]);
    let value = vec![b'x'; 1_000_000];
    for _ in 0..20 {
        session.append("connection-idle", 0, batch(&[&value]));
    }
    let open = || Connection::open(target.bootstrap()).unwrap();
    let (mut silent, mut half, mut deaf, mut slow) = (open(), open(), open(), open());
    half.send_bytes(&[0, 0, 0, 100, 0, 3]).unwrap();
    deaf.send(12, &fetch_request("connection-idle", &[(0, 0)])).unwrap();
    let request = encode_request(&MetadataRequest::default(), 12, 7, Some("slow")).unwrap();
    let mut request = request.into_iter().flatten();
    let opened = Instant::now();
    let (mut sent, mut closed) = (0, [false; 2]);
    // A byte every now and then is use, and so is a request.
    wait_until("the idle ones to be closed", Duration::from_secs(60), || {
        if opened.elapsed() > Duration::from_millis(sent * IDLE_MS / 4)
            && let Some(byte) = request.next()
        {
            slow.send_bytes(&[byte]).unwrap();
            session.call(0, &ApiVersionsRequest::default());
            sent += 1;
        }
        for (connection, closed) in [&mut silent, &mut half].into_iter().zip(&mut closed) {
            connection.set_answer_limit(Duration::from_millis(1)).unwrap();
            *closed = *closed || connection.expect_close().is_ok();
        }
        Ok((closed == [true; 2] && sent >= 8).then_some(()))
    })
    .unwrap();
    assert!(opened.elapsed() > Duration::from_millis(IDLE_MS), "closed too early");
    slow.send_bytes(&request.collect::<Vec<u8>>()).unwrap();
    assert!(!slow.receive::<MetadataRequest>(12).unwrap().1.brokers.is_empty());
    // What the kernel had taken is still there to be read, the rest is not.
    deaf.receive::<FetchRequest>(12).unwrap_err();
}
