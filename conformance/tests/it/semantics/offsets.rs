//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords.

use millstream_protocol::messages::{
    DeleteRecordsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_records_response::DeleteRecordsPartitionResult,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    offset_for_leader_epoch_response::EpochEndOffset,
};
use millstream_types::ErrorCode;

use crate::{
    session::{Session, batch, batch_at, code, now_ms, values},
    shared::broker,
};

#[test]
fn the_special_times_have_their_answers() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("offsets-special", &[]);
    session.append("offsets-special", 0, batch(&["a", "b", "c"]));
    let mut ask = |time: i64| {
        let answer = session.list_offset_version(11, "offsets-special", 0, time);
        (code(answer.error_code), answer.offset, answer.timestamp, answer.leader_epoch)
    };
    assert_eq!(ask(-1), (ErrorCode::None, 3, -1, 0), "latest");
    assert_eq!(ask(-2), (ErrorCode::None, 0, -1, 0), "earliest");
    assert_eq!(ask(-4), (ErrorCode::None, 0, -1, 0), "earliest local");
    assert_eq!(ask(-5), (ErrorCode::None, -1, -1, -1), "latest in remote storage");
    assert_eq!(ask(-6), (ErrorCode::None, -1, -1, -1), "earliest pending upload");
}

#[test]
fn each_special_time_is_unsupported_before_the_version_that_brought_it() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("offsets-versions", &[]);
    session.append("offsets-versions", 0, batch(&["a"]));
    for (time, first) in [(-3, 7), (-4, 8), (-5, 9), (-6, 11)] {
        for version in 1..=11 {
            let answer = session.list_offset_version(version, "offsets-versions", 0, time);
            let expected = if version < first { ErrorCode::UnsupportedVersion } else { ErrorCode::None };
            assert_eq!(code(answer.error_code), expected, "time {time} in version {version}");
        }
    }
    let answer = session.list_offset_version(11, "offsets-versions", 0, -7);
    assert_eq!(code(answer.error_code), ErrorCode::UnsupportedVersion, "a time that does not exist");
}

#[test]
fn a_partition_asked_for_twice_is_an_invalid_request() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("offsets-twice", &[]);
    let partition = || ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let topic = ListOffsetsTopic {
        name: "offsets-twice".to_owned(),
        partitions: vec![partition(), partition()],
        ..Default::default()
    };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    for answer in &session.call(8, &request).topics[0].partitions {
        assert_eq!(code(answer.error_code), ErrorCode::InvalidRequest);
    }
}

#[test]
fn unknown_partitions_and_epochs_are_errors() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("offsets-errors", &[]);
    let error = |session: &mut Session, topic: &str, partition| {
        code(session.list_offset(topic, partition, -1).error_code)
    };
    assert_eq!(error(&mut session, "offsets-no-such-topic", 0), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(error(&mut session, "offsets-errors", 1), ErrorCode::UnknownTopicOrPartition);
    let partition = ListOffsetsPartition { timestamp: -1, current_leader_epoch: 9, ..Default::default() };
    let topic = ListOffsetsTopic {
        name: "offsets-errors".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    assert_eq!(
        code(session.call(8, &request).topics[0].partitions[0].error_code),
        ErrorCode::UnknownLeaderEpoch
    );
}

#[test]
fn a_timestamp_finds_the_first_record_at_or_after_it_inside_its_batch() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("offsets-time", &[]);
    let base = now_ms() - 100_000;
    session.append("offsets-time", 0, batch_at(&[base, base + 10, base + 20]));
    session.append("offsets-time", 0, batch_at(&[base + 30, base + 5, base + 40]));
    let mut ask = |time: i64| {
        let answer = session.list_offset("offsets-time", 0, time);
        assert_eq!(code(answer.error_code), ErrorCode::None);
        (answer.offset, answer.timestamp - if answer.timestamp < 0 { 0 } else { base })
    };
    assert_eq!(ask(0), (0, 0));
    assert_eq!(ask(base), (0, 0));
    assert_eq!(ask(base + 1), (1, 10));
    assert_eq!(ask(base + 20), (2, 20));
    assert_eq!(ask(base + 21), (3, 30));
    assert_eq!(ask(base + 31), (5, 40));
    assert_eq!(ask(base + 41), (-1, -1), "no record is that young");
}

#[test]
fn the_maximal_timestamp_is_answered_with_the_offset_of_its_record() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("offsets-max", &[]);
    assert_eq!(session.list_offset("offsets-max", 0, -3).offset, -1, "of an empty partition");
    let base = now_ms() - 100_000;
    session.append("offsets-max", 0, batch_at(&[base, base + 50, base + 20]));
    session.append("offsets-max", 0, batch_at(&[base + 30]));
    let answer = session.list_offset("offsets-max", 0, -3);
    assert_eq!((answer.offset, answer.timestamp), (1, base + 50));
}

fn epoch_end(session: &mut Session, current: i32, epoch: i32, replica: i32) -> EpochEndOffset {
    let partition = OffsetForLeaderPartition {
        partition: 0,
        current_leader_epoch: current,
        leader_epoch: epoch,
        ..Default::default()
    };
    let topic = OffsetForLeaderTopic {
        topic: "offsets-epoch".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request =
        OffsetForLeaderEpochRequest { replica_id: replica, topics: vec![topic], ..Default::default() };
    session.call(4, &request).topics.remove(0).partitions.remove(0)
}

#[test]
fn the_end_of_a_leader_epoch_is_told_without_fencing_when_none_is_claimed() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("offsets-epoch", &[]);
    session.append("offsets-epoch", 0, batch(&["a", "b"]));
    let mut ask = |current: i32, epoch: i32, replica: i32| {
        let answer = epoch_end(&mut session, current, epoch, replica);
        (code(answer.error_code), answer.leader_epoch, answer.end_offset)
    };
    assert_eq!(ask(-1, 0, -1), (ErrorCode::None, 0, 2));
    assert_eq!(ask(-1, 0, -2), (ErrorCode::None, 0, 2), "a replica id of -2 is a debugging consumer");
    assert_eq!(ask(0, 0, -1), (ErrorCode::None, 0, 2));
    assert_eq!(ask(-1, 3, -1), (ErrorCode::None, -1, -1), "an epoch that is not there yet");
    assert_eq!(ask(4, 0, -1), (ErrorCode::UnknownLeaderEpoch, -1, -1));
}

pub(crate) fn delete_records(
    session: &mut Session,
    topic: &str,
    partition: i32,
    offset: i64,
) -> DeleteRecordsPartitionResult {
    let partition = DeleteRecordsPartition { partition_index: partition, offset, ..Default::default() };
    let topic =
        DeleteRecordsTopic { name: topic.to_owned(), partitions: vec![partition], ..Default::default() };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    session.call(2, &request).topics.remove(0).partitions.remove(0)
}

#[test]
fn deleted_records_are_gone_and_the_beginning_moves() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("offsets-delete", &[]);
    session.append("offsets-delete", 0, batch(&["a", "b", "c"]));
    session.append("offsets-delete", 0, batch(&["d"]));
    let low = |session: &mut Session, offset| {
        let answer = delete_records(session, "offsets-delete", 0, offset);
        (code(answer.error_code), answer.low_watermark)
    };
    assert_eq!(low(&mut session, 1), (ErrorCode::None, 1));
    assert_eq!(session.list_offset("offsets-delete", 0, -2).offset, 1);
    assert_eq!(code(session.fetch("offsets-delete", 0).error_code), ErrorCode::OffsetOutOfRange);
    let data = session.fetch("offsets-delete", 1);
    assert_eq!((data.log_start_offset, values(&data)), (1, ["a", "b", "c", "d"].map(str::to_owned).to_vec()));
    assert_eq!(low(&mut session, 0), (ErrorCode::None, 1), "what is gone stays gone");
    assert_eq!(low(&mut session, 5), (ErrorCode::OffsetOutOfRange, -1));
    assert_eq!(low(&mut session, -1), (ErrorCode::None, 4), "up to the high watermark");
    assert_eq!(session.append("offsets-delete", 0, batch(&["e"])), 4);
    let unknown = delete_records(&mut session, "offsets-no-such-topic", 0, 0);
    assert_eq!((code(unknown.error_code), unknown.low_watermark), (ErrorCode::UnknownTopicOrPartition, -1));
}
