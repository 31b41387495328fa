//! Fetch: sizes, waiting, sessions, errors.

use std::time::{Duration, Instant};

use millstream_protocol::messages::{
    FetchRequest,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    fetch_response::{FetchResponse, PartitionData},
};
use millstream_types::{ErrorCode, Uuid};

use crate::{
    session::{Session, batch, code, fetch_request, headers, values},
    shared::broker,
};

#[test]
fn a_fetch_inside_a_batch_returns_the_whole_batch() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-inside", &[]);
    session.append("fetch-inside", 0, batch(&["a", "b", "c"]));
    session.append("fetch-inside", 0, batch(&["d", "e"]));
    let data = session.fetch("fetch-inside", 1);
    assert_eq!(values(&data), ["a", "b", "c", "d", "e"]);
    assert_eq!(headers(&data)[0].base_offset, 0);
    assert_eq!(values(&session.fetch("fetch-inside", 4)), ["d", "e"]);
    let end = session.fetch("fetch-inside", 5);
    assert_eq!((code(end.error_code), end.records.map(|r| r.len())), (ErrorCode::None, Some(0)));
}

/// What a replica asks for counts as what it has, and may be more than consumers are given.
#[test]
fn whoever_says_that_he_is_a_replica_is_told_that_he_is_none() {
    let target = broker();
    let mut session = Session::open(&target);
    let topic_id = session.topic("fetch-replica", &[]);
    session.append("fetch-replica", 0, batch(&["a"]));
    for version in [4, 12, 15, 18] {
        for replica_id in [1_000, i32::MAX] {
            let mut request = fetch_request("fetch-replica", &[(0, 0)]);
            request.topics[0].topic_id = topic_id;
            match version {
                15.. => request.replica_state.replica_id = replica_id,
                _ => request.replica_id = replica_id,
            }
            let data = session.call(version, &request).responses.remove(0).partitions.remove(0);
            let records = data.records.map(|records| records.len());
            let answer = (code(data.error_code), data.high_watermark, records);
            let expected = (ErrorCode::NotLeaderOrFollower, -1, Some(0));
            assert_eq!(answer, expected, "version {version}, replica {replica_id}");
        }
    }
    assert_eq!(values(&session.fetch("fetch-replica", 0)), ["a"]);
}

#[test]
fn a_first_batch_larger_than_every_limit_is_returned_whole() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-large", &[]);
    session.append("fetch-large", 0, batch(&["x".repeat(20_000)]));
    session.append("fetch-large", 0, batch(&["y".repeat(20_000)]));
    let mut request = fetch_request("fetch-large", &[(0, 0)]);
    request.max_bytes = 1;
    request.topics[0].partitions[0].partition_max_bytes = 1;
    let data = session.fetch_once(&request).responses.remove(0).partitions.remove(0);
    assert_eq!(values(&data), ["x".repeat(20_000)]);
}

#[test]
fn later_partitions_count_against_the_size_of_the_whole_request() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic_of("fetch-sizes", 3, &[]);
    for partition in 0..3 {
        session.append("fetch-sizes", partition, batch(&["x".repeat(10_000)]));
    }
    let mut request = fetch_request("fetch-sizes", &[(0, 0), (1, 0), (2, 0)]);
    let sizes = |response: FetchResponse| {
        let partitions = &response.responses[0].partitions;
        partitions.iter().map(|p| !p.records.as_ref().unwrap().is_empty()).collect::<Vec<_>>()
    };
    request.max_bytes = 1;
    assert_eq!(sizes(session.fetch_once(&request)), [true, false, false]);
    request.max_bytes = 25_000;
    assert_eq!(sizes(session.fetch_once(&request)), [true, true, false]);
    request.max_bytes = 100_000;
    assert_eq!(sizes(session.fetch_once(&request)), [true, true, true]);
}

#[test]
fn the_size_of_a_partition_limits_whole_batches_after_the_first() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-partition-size", &[]);
    let one = batch(&["x".repeat(1_000)]);
    for _ in 0..5 {
        session.append("fetch-partition-size", 0, one.clone());
    }
    let mut request = fetch_request("fetch-partition-size", &[(0, 0)]);
    request.topics[0].partitions[0].partition_max_bytes = i32::try_from(one.len() * 3).unwrap();
    let data = session.fetch_once(&request).responses.remove(0).partitions.remove(0);
    assert_eq!(headers(&data).len(), 3);
}

#[test]
fn a_fetch_waits_for_its_bytes_and_no_longer_than_it_may() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-wait", &[]);
    let mut request = fetch_request("fetch-wait", &[(0, 0)]);
    (request.min_bytes, request.max_wait_ms) = (1, 300);
    let started = Instant::now();
    let answer = session.fetch_once(&request);
    assert!(started.elapsed() >= Duration::from_millis(295), "{:?}", started.elapsed());
    assert_eq!(answer.responses[0].partitions[0].records.as_ref().unwrap().len(), 0);

    request.max_wait_ms = 30_000;
    let started = Instant::now();
    session.0.send(12, &request).unwrap();
    Session::open(&target).append("fetch-wait", 0, batch(&["woken"]));
    let (_, answer) = session.0.receive::<FetchRequest>(12).unwrap();
    assert_eq!(values(&answer.responses[0].partitions[0]), ["woken"]);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn min_bytes_counts_all_partitions_together() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic_of("fetch-min", 2, &[]);
    let one = batch(&["x".repeat(500)]);
    let mut request = fetch_request("fetch-min", &[(0, 0), (1, 0)]);
    request.min_bytes = i32::try_from(one.len() * 2).unwrap();
    request.max_wait_ms = 30_000;
    session.0.send(12, &request).unwrap();
    let mut other = Session::open(&target);
    other.append("fetch-min", 0, one.clone());
    other.append("fetch-min", 1, one);
    let (_, answer) = session.0.receive::<FetchRequest>(12).unwrap();
    let counts: Vec<_> = answer.responses[0].partitions.iter().map(|p| values(p).len()).collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn a_fetch_does_not_wait_when_an_offset_is_out_of_range() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic_of("fetch-error-wait", 2, &[]);
    let mut request = fetch_request("fetch-error-wait", &[(0, 0), (1, 100)]);
    (request.min_bytes, request.max_wait_ms) = (1, 30_000);
    let started = Instant::now();
    let partitions = session.fetch_once(&request).responses.remove(0).partitions;
    assert!(started.elapsed() < Duration::from_secs(10));
    let errors: Vec<_> = partitions.iter().map(|p| code(p.error_code)).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::OffsetOutOfRange]);
}

#[test]
fn an_offset_out_of_range_is_an_error_with_nothing_known_about_the_partition() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-range", &[]);
    session.append("fetch-range", 0, batch(&["a"]));
    for offset in [2, 100, -5] {
        let data = session.fetch("fetch-range", offset);
        assert_eq!(code(data.error_code), ErrorCode::OffsetOutOfRange, "offset {offset}");
        assert_eq!((data.high_watermark, data.log_start_offset), (-1, -1));
        assert_eq!(data.records.map(|r| r.len()), Some(0), "empty, not null");
        assert_eq!(data.aborted_transactions.unwrap_or_default(), []);
        // The tag is there in newer versions only when the leader is another.
        assert_eq!((data.current_leader.leader_id, data.current_leader.leader_epoch), (-1, -1));
    }
}

#[test]
fn unknown_topics_and_ids_are_told_apart() {
    let target = broker();
    let mut session = Session::open(&target);
    let data = session.fetch("fetch-no-such-topic", 0);
    assert_eq!(code(data.error_code), ErrorCode::UnknownTopicOrPartition);
    assert_eq!((data.current_leader.leader_id, data.current_leader.leader_epoch), (-1, -1));
    let mut request = fetch_request("", &[(0, 0)]);
    request.topics[0].topic_id = Uuid(0x1234_5678_9abc_4def_8000_0000_0000_0001);
    let response = session.call(13, &request);
    assert_eq!(code(response.error_code), ErrorCode::None);
    assert_eq!(code(response.responses[0].partitions[0].error_code), ErrorCode::UnknownTopicId);
}

#[test]
fn a_consumers_leader_epoch_is_compared_with_the_partitions() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-epoch", &[]);
    session.append("fetch-epoch", 0, batch(&["a"]));
    let epoch = session.describe("fetch-epoch").partitions[0].leader_epoch;
    let mut with = |epoch: i32| {
        let mut request = fetch_request("fetch-epoch", &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        code(session.fetch_once(&request).responses[0].partitions[0].error_code)
    };
    assert_eq!(with(epoch), ErrorCode::None);
    assert_eq!(with(-1), ErrorCode::None);
    assert_eq!(with(epoch + 1), ErrorCode::UnknownLeaderEpoch);
}

#[test]
fn a_last_fetched_epoch_that_the_log_does_not_know_is_out_of_range() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-diverging", &[]);
    session.append("fetch-diverging", 0, batch(&["a", "b"]));
    let mut with = |last_fetched_epoch: i32, offset: i64| {
        let mut request = fetch_request("fetch-diverging", &[(0, offset)]);
        request.topics[0].partitions[0].last_fetched_epoch = last_fetched_epoch;
        session.fetch_once(&request).responses.remove(0).partitions.remove(0)
    };
    assert_eq!(values(&with(0, 0)), ["a", "b"]);
    for offset in [0, 2] {
        let known = with(0, offset);
        assert_eq!((code(known.error_code), known.diverging_epoch.epoch), (ErrorCode::None, -1));
        assert_eq!(code(with(5, offset).error_code), ErrorCode::OffsetOutOfRange);
    }
}

/// An incremental fetch in a session.
fn in_session(session_id: i32, session_epoch: i32) -> FetchRequest {
    let mut request = fetch_request("", &[]);
    request.topics.clear();
    FetchRequest { session_id, session_epoch, ..request }
}

fn partitions(response: &FetchResponse) -> Vec<i32> {
    response.responses.iter().flat_map(|t| &t.partitions).map(|p: &PartitionData| p.partition_index).collect()
}

#[test]
fn a_fetch_session_returns_only_the_partitions_that_have_something_new() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic_of("fetch-session", 3, &[]);
    let mut full = fetch_request("fetch-session", &[(0, 0), (1, 0), (2, 0)]);
    full.session_epoch = 0;
    let first = session.fetch_once(&full);
    let id = first.session_id;
    assert_ne!(id, 0);
    assert_eq!(partitions(&first), [0, 1, 2], "the full answer has them all");
    assert_eq!(partitions(&session.fetch_once(&in_session(id, 1))), [0; 0], "nothing is new");

    session.append("fetch-session", 1, batch(&["a"]));
    let answer = session.fetch_once(&in_session(id, 2));
    assert_eq!(partitions(&answer), [1]);
    assert_eq!(values(&answer.responses[0].partitions[0]), ["a"]);
    // The position did not move: the same records come again.
    assert_eq!(partitions(&session.fetch_once(&in_session(id, 3))), [1]);
    let mut moved = fetch_request("fetch-session", &[(1, 1)]);
    (moved.session_id, moved.session_epoch) = (id, 4);
    assert_eq!(partitions(&session.fetch_once(&moved)), [0; 0]);

    let forgotten =
        ForgottenTopic { topic: "fetch-session".to_owned(), partitions: vec![2], ..Default::default() };
    let mut forget = in_session(id, 5);
    forget.forgotten_topics_data = vec![forgotten];
    session.fetch_once(&forget);
    session.append("fetch-session", 2, batch(&["b"]));
    session.append("fetch-session", 0, batch(&["c"]));
    assert_eq!(partitions(&session.fetch_once(&in_session(id, 6))), [0]);
}

#[test]
fn a_fetch_session_tells_wrong_epochs_and_ids() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-session-errors", &[]);
    let mut full = fetch_request("fetch-session-errors", &[(0, 0)]);
    full.session_epoch = 0;
    let id = session.fetch_once(&full).session_id;
    let error = |session: &mut Session, id: i32, epoch: i32| {
        code(session.call(12, &in_session(id, epoch)).error_code)
    };
    assert_eq!(error(&mut session, id, 7), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(error(&mut session, id, 1), ErrorCode::None);
    assert_eq!(error(&mut session, id ^ 0x5555, 1), ErrorCode::FetchSessionIdNotFound);
    // The last epoch closes the session.
    let closed = session.call(12, &in_session(id, -1));
    assert_eq!((code(closed.error_code), closed.session_id), (ErrorCode::None, 0));
    assert_eq!(error(&mut session, id, 2), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn a_partition_with_an_error_is_told_in_every_answer_of_a_session() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("fetch-session-unknown", &[]);
    let mut full = fetch_request("fetch-session-unknown", &[(0, 0), (8, 0)]);
    full.session_epoch = 0;
    let id = session.fetch_once(&full).session_id;
    for epoch in 1..3 {
        let answer = session.fetch_once(&in_session(id, epoch));
        assert_eq!(partitions(&answer), [8]);
        let failed = &answer.responses[0].partitions[0];
        assert_eq!(code(failed.error_code), ErrorCode::UnknownTopicOrPartition);
    }
}

#[test]
fn a_session_of_topic_ids_is_not_continued_by_names() {
    let target = broker();
    let mut session = Session::open(&target);
    let topic_id = session.topic("fetch-session-ids", &[]);
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let mut full = in_session(0, 0);
    full.topics = vec![FetchTopic { topic_id, partitions: vec![partition], ..Default::default() }];
    let answer = session.call(13, &full);
    assert_eq!(answer.responses[0].topic_id, topic_id);
    let by_name = session.call(12, &in_session(answer.session_id, 1));
    assert_eq!(code(by_name.error_code), ErrorCode::FetchSessionTopicIdError);
}
