//! Produce: what the broker changes in a batch, what it refuses, idempotence.

use bytes::{BufMut, BytesMut};
use millstream_protocol::messages::produce_response::PartitionProduceResponse;
use millstream_record::{
    BatchBuilder, BatchOptions, Compression, TimestampType,
    batch::{recompute_crc, set_base_offset, set_leader_epoch, set_max_timestamp},
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, TimestampMs, Uuid};

use crate::{
    session::{
        Session, batch, batch_at, batch_with, code, decoded, headers, idempotent, now_ms, produce_request,
        values,
    },
    shared::broker,
};

#[test]
fn the_broker_sets_offset_and_leader_epoch_of_a_batch() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-rewrites", &[]);
    session.append("produce-rewrites", 0, batch(&["before"]));
    let time = now_ms() - 5_000;
    let mut sent = BytesMut::from(&batch_at(&[time, time + 7])[..]);
    set_leader_epoch(&mut sent, LeaderEpoch(77));
    assert_eq!(session.append("produce-rewrites", 0, sent.clone().freeze()), 1);
    let header = headers(&session.fetch("produce-rewrites", 1))[0];
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1, 0));
    assert_eq!((header.base_timestamp, header.max_timestamp), (time, time + 7));
    set_base_offset(&mut sent, Offset(4711));
    let refused = session.produce("produce-rewrites", 0, sent.freeze());
    assert_eq!(code(refused.error_code), ErrorCode::InvalidRecord, "offsets are the broker's to give");
}

#[test]
fn a_maximal_timestamp_that_lies_is_corrected() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-max-timestamp", &[]);
    let time = now_ms() - 5_000;
    let mut sent = BytesMut::from(&batch_at(&[time, time + 7])[..]);
    set_max_timestamp(&mut sent, TimestampMs(time + 1_000));
    recompute_crc(&mut sent);
    session.append("produce-max-timestamp", 0, sent.freeze());
    assert_eq!(headers(&session.fetch("produce-max-timestamp", 0))[0].max_timestamp, time + 7);
    assert_eq!(session.list_offset("produce-max-timestamp", 0, time + 8).offset, -1);
}

#[test]
fn log_append_time_is_told_stamped_and_found() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-append-time", &[("message.timestamp.type", "LogAppendTime")]);
    let before = now_ms();
    let answer = session.produce("produce-append-time", 0, batch_at(&[1_000, 2_000]));
    let stamped = answer.log_append_time_ms;
    assert!((before..=now_ms()).contains(&stamped), "{stamped}");
    let data = session.fetch("produce-append-time", 0);
    let header = headers(&data)[0];
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.max_timestamp, stamped);
    assert_eq!(decoded(&data)[0].records[0].timestamp, TimestampMs(stamped));
    assert_eq!(session.list_offset("produce-append-time", 0, stamped).offset, 0);

    session.topic("produce-create-time", &[]);
    assert_eq!(session.produce("produce-create-time", 0, batch(&["a"])).log_append_time_ms, -1);
}

#[test]
fn timestamps_outside_the_topics_range_are_refused_record_by_record() {
    let target = broker();
    let mut session = Session::open(&target);
    let range = [("message.timestamp.before.max.ms", "60000"), ("message.timestamp.after.max.ms", "60000")];
    session.topic("produce-range", &range);
    let now = now_ms();
    let early = session.produce("produce-range", 0, batch_at(&[now, now - 70_000, now]));
    assert_eq!(code(early.error_code), ErrorCode::InvalidTimestamp);
    assert_eq!(early.record_errors.iter().map(|e| e.batch_index).collect::<Vec<_>>(), [1]);
    assert!(early.record_errors[0].batch_index_error_message.is_some() && early.error_message.is_some());
    assert_eq!(early.base_offset, -1);
    let late = session.produce("produce-range", 0, batch_at(&[now + 70_000]));
    assert_eq!(code(late.error_code), ErrorCode::InvalidTimestamp);
    assert_eq!(session.append("produce-range", 0, batch_at(&[now - 50_000, now + 50_000])), 0);
}

#[test]
fn the_topics_compression_type_recompresses() {
    let target = broker();
    let mut session = Session::open(&target);
    let zstd = BatchOptions { compression: Compression::Zstd, ..Default::default() };
    let texts = ["tick ".repeat(100), "tock ".repeat(100)];
    for (kind, expected) in [
        ("gzip", Compression::Gzip),
        ("lz4", Compression::Lz4),
        ("snappy", Compression::Snappy),
        ("uncompressed", Compression::None),
        ("producer", Compression::Zstd),
    ] {
        let topic = format!("produce-compression-{kind}");
        session.topic(&topic, &[("compression.type", kind)]);
        session.append(&topic, 0, batch_with(zstd, &texts));
        let data = session.fetch(&topic, 0);
        assert_eq!(headers(&data)[0].attributes.compression().unwrap(), expected, "{kind}");
        assert_eq!(values(&data), texts);
    }
}

#[test]
fn a_duplicate_of_one_of_the_last_five_batches_gets_its_first_offset() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-duplicates", &[]);
    let id = session.new_producer_id();
    let sent: Vec<_> =
        (0..6).map(|i| idempotent(id, 0, i * 2, &[format!("{i}a"), format!("{i}b")])).collect();
    for (index, bytes) in (0_i64..).zip(&sent) {
        assert_eq!(session.append("produce-duplicates", 0, bytes.clone()), index * 2);
    }
    for (index, bytes) in (0_i64..).zip(&sent).skip(1) {
        assert_eq!(session.append("produce-duplicates", 0, bytes.clone()), index * 2, "batch {index} again");
    }
    let oldest = session.produce("produce-duplicates", 0, sent[0].clone());
    assert_eq!(code(oldest.error_code), ErrorCode::OutOfOrderSequenceNumber, "five are remembered");
    assert_eq!(session.values("produce-duplicates").len(), 12, "nothing was appended twice");
}

#[test]
fn a_gap_in_the_sequence_is_refused_and_the_next_in_order_taken() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-gap", &[]);
    let id = session.new_producer_id();
    session.append("produce-gap", 0, idempotent(id, 0, 0, &["a", "b"]));
    let gap = session.produce("produce-gap", 0, idempotent(id, 0, 3, &["d"]));
    assert_eq!(code(gap.error_code), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(session.append("produce-gap", 0, idempotent(id, 0, 2, &["c"])), 2);
}

#[test]
fn a_producer_that_the_partition_does_not_know_may_begin_with_any_sequence() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-unknown-id", &[]);
    let id = session.new_producer_id();
    assert_eq!(session.append("produce-unknown-id", 0, idempotent(id, 3, 4711, &["a"])), 0);
    assert_eq!(session.append("produce-unknown-id", 0, idempotent(id, 3, 4712, &["b"])), 1);
}

#[test]
fn a_new_epoch_begins_at_sequence_0_and_fences_the_old() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-epochs", &[]);
    let id = session.new_producer_id();
    session.append("produce-epochs", 0, idempotent(id, 0, 0, &["a"]));
    let wrong = session.produce("produce-epochs", 0, idempotent(id, 1, 1, &["b"]));
    assert_eq!(code(wrong.error_code), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(session.append("produce-epochs", 0, idempotent(id, 1, 0, &["b"])), 1);
    // Produce speaks of an invalid epoch where a coordinator would speak of a fenced producer.
    let old = session.produce("produce-epochs", 0, idempotent(id, 0, 1, &["c"]));
    assert_eq!(code(old.error_code), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn the_sequence_wraps_to_0() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-wrap", &[]);
    let id = session.new_producer_id();
    session.append("produce-wrap", 0, idempotent(id, 0, i32::MAX - 1, &["a", "b", "c"]));
    assert_eq!(session.append("produce-wrap", 0, idempotent(id, 0, 1, &["d"])), 3);
    assert_eq!(
        session.append("produce-wrap", 0, idempotent(id, 0, i32::MAX - 1, &["a", "b", "c"])),
        0,
        "a duplicate"
    );
}

#[test]
fn producer_ids_are_given_once() {
    let target = broker();
    let mut sessions = [Session::open(&target), Session::open(&target)];
    let mut ids: Vec<i64> = (0..40).map(|i| sessions[i % 2].new_producer_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 40);
}

#[test]
fn a_control_batch_from_a_client_is_an_invalid_record() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-control", &[]);
    let answer = session.produce(
        "produce-control",
        0,
        batch_with(BatchOptions { control: true, ..Default::default() }, &["a"]),
    );
    assert_eq!(code(answer.error_code), ErrorCode::InvalidRecord);
    assert_eq!(session.list_offset("produce-control", 0, -1).offset, 0);
}

#[test]
fn records_without_a_key_are_refused_by_name_in_a_compacted_topic() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-compacted", &[("cleanup.policy", "compact")]);
    let now = TimestampMs(now_ms());
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for key in [Some(&b"k"[..]), None, Some(b"l"), None] {
        builder.append(now, key, Some(b"v"), &[]);
    }
    let answer = session.produce("produce-compacted", 0, builder.build());
    assert_eq!(code(answer.error_code), ErrorCode::InvalidRecord);
    assert_eq!(answer.record_errors.iter().map(|e| e.batch_index).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(session.list_offset("produce-compacted", 0, -1).offset, 0, "none of the batch was taken");
}

#[test]
fn a_batch_beyond_the_topics_limit_is_too_large() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-size", &[("max.message.bytes", "1000")]);
    let exact = 1000 - batch(&[""]).len() - 2;
    assert_eq!(batch(&["x".repeat(exact)]).len(), 1000);
    assert_eq!(session.append("produce-size", 0, batch(&["x".repeat(exact)])), 0);
    let large = session.produce("produce-size", 0, batch(&["x".repeat(exact + 1)]));
    assert_eq!(code(large.error_code), ErrorCode::MessageTooLarge);
    let packed = BatchOptions { compression: Compression::Gzip, ..Default::default() };
    assert_eq!(
        session.append("produce-size", 0, batch_with(packed, &["x".repeat(5_000)])),
        1,
        "as it is sent counts"
    );
}

#[test]
fn a_batch_that_is_damaged_is_corrupt() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-corrupt", &[]);
    let mut damaged = BytesMut::from(&batch(&["a good value"])[..]);
    let last = damaged.len() - 3;
    damaged[last] ^= 1;
    assert_eq!(
        code(session.produce("produce-corrupt", 0, damaged.freeze()).error_code),
        ErrorCode::CorruptMessage
    );
    assert_eq!(session.append("produce-corrupt", 0, batch(&["a good value"])), 0);
}

#[test]
fn a_request_holds_exactly_one_batch_of_the_current_format_for_each_partition() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-one-batch", &[]);
    let mut two = BytesMut::from(&batch(&["a"])[..]);
    two.put_slice(&batch(&["b"]));
    assert_eq!(
        code(session.produce("produce-one-batch", 0, two.freeze()).error_code),
        ErrorCode::InvalidRecord
    );
    let mut old_format = BytesMut::from(&batch(&["a"])[..]);
    old_format[16] = 1;
    let answer = session.produce("produce-one-batch", 0, old_format.freeze());
    assert_eq!(code(answer.error_code), ErrorCode::InvalidRecord);
    assert_eq!(
        code(session.produce("produce-one-batch", 0, Vec::new()).error_code),
        ErrorCode::InvalidRecord
    );
    assert_eq!(session.list_offset("produce-one-batch", 0, -1).offset, 0);
}

#[test]
fn acks_other_than_0_1_and_all_are_invalid() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-acks", &[]);
    for acks in [2, -2] {
        let answer = session.produce_version(9, acks, "produce-acks", 0, batch(&["a"]));
        assert_eq!(code(answer.error_code), ErrorCode::InvalidRequiredAcks);
    }
    assert_eq!(session.produce_version(9, 1, "produce-acks", 0, batch(&["a"])).base_offset, 0);
}

#[test]
fn no_more_in_sync_replicas_are_demanded_than_there_are_replicas() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-isr", &[("min.insync.replicas", "2")]);
    assert_eq!(session.append("produce-isr", 0, batch(&["a"])), 0);
}

#[test]
fn zstd_is_refused_before_the_version_that_brought_it() {
    let target = broker();
    let mut session = Session::open(&target);
    session.topic("produce-zstd", &[]);
    let packed = BatchOptions { compression: Compression::Zstd, ..Default::default() };
    let old = session.produce_version(6, -1, "produce-zstd", 0, batch_with(packed, &["a"]));
    assert_eq!(code(old.error_code), ErrorCode::UnsupportedCompressionType);
    assert_eq!(session.produce_version(7, -1, "produce-zstd", 0, batch_with(packed, &["a"])).base_offset, 0);
}

#[test]
fn one_partition_that_fails_does_not_fail_the_others() {
    let target = broker();
    let mut session = Session::open(&target);
    let topic_id = session.topic("produce-mixed", &[]);
    let mut request = produce_request(-1, "produce-mixed", 0, batch(&["a"]));
    request.topic_data[0]
        .partition_data
        .extend(produce_request(-1, "", 5, batch(&["b"])).topic_data.remove(0).partition_data);
    request.topic_data.extend(produce_request(-1, "produce-no-such-topic", 0, batch(&["c"])).topic_data);
    let answers: Vec<PartitionProduceResponse> =
        session.call(9, &request).responses.into_iter().flat_map(|t| t.partition_responses).collect();
    let errors: Vec<_> = answers.iter().map(|a| (a.index, code(a.error_code), a.base_offset)).collect();
    assert!(errors.contains(&(0, ErrorCode::None, 0)), "{errors:?}");
    assert!(errors.contains(&(5, ErrorCode::UnknownTopicOrPartition, -1)), "{errors:?}");
    assert!(errors.contains(&(0, ErrorCode::UnknownTopicOrPartition, -1)), "{errors:?}");

    let mut by_id = produce_request(-1, "", 0, batch(&["d"]));
    by_id.topic_data[0].topic_id = topic_id;
    assert_eq!(session.call(13, &by_id).responses[0].partition_responses[0].base_offset, 1);
    by_id.topic_data[0].topic_id = Uuid(0x1234_5678_9abc_4def_8000_0000_0000_0002);
    let unknown = session.call(13, &by_id).responses.remove(0).partition_responses.remove(0);
    assert_eq!(code(unknown.error_code), ErrorCode::UnknownTopicId);
}
