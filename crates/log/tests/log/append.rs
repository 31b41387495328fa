//! What an append does and refuses.

use bytes::Bytes;
use millstream_log::{
    AppendOptions, CleanupPolicy, Isolation, LogConfig, Origin, ReadError, ReadRequest, TopicCompression,
};
use millstream_record::{
    Compression,
    batch::{BatchBuilder, BatchHeader, BatchOptions, TimestampType, set_base_offset},
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, TimestampMs};

use crate::support::*;

#[test]
fn what_was_appended_is_read_back_after_the_flush_and_after_a_restart() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    assert_eq!(append(&log, plain(3, 10)).base_offset, Offset(0));
    let info = append(&log, plain(2, 10));
    assert_eq!((info.base_offset, info.last_offset, info.end_offset()), (Offset(3), Offset(4), Offset(5)));
    dirs.flush();
    assert_eq!(log.high_watermark(), Offset(5));
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), [0, 1, 2, 3, 4]);
    assert_eq!(offsets(&read_all(&log, 4, Isolation::ReadUncommitted)), [3, 4]);
    dirs.close(NOW);
    drop((log, dirs));
    let dirs = data.open();
    assert!(dirs.recovery().clean);
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(log.topic_id(), TOPIC_ID);
    assert_eq!(log.high_watermark(), Offset(5));
    assert_eq!(append(&log, plain(1, 10)).base_offset, Offset(5));
    dirs.flush();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), [0, 1, 2, 3, 4, 5]);
    let beyond = ReadRequest {
        offset: Offset(7),
        max_bytes: 1,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
    };
    assert!(matches!(log.read(beyond), Err(ReadError::OutOfRange { .. })));
}

#[test]
fn a_retried_batch_gets_its_original_offset_and_a_gap_is_refused() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    for n in 0..7 {
        assert_eq!(append(&log, produced(9, 0, n * 2, 2)).base_offset, Offset(i64::from(n) * 2));
    }
    let again = append(&log, produced(9, 0, 4, 2));
    assert!(again.duplicate);
    assert_eq!((again.base_offset, again.last_offset), (Offset(4), Offset(5)));
    assert_eq!(again.log_append_time, Some(NOW));
    assert_eq!(log.log_end_offset(), Offset(14));
    let code = |sequence, count| try_append(&log, produced(9, 0, sequence, count)).unwrap_err().error_code();
    assert_eq!(code(20, 2), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(code(2, 2), ErrorCode::OutOfOrderSequenceNumber, "the sixth batch back is forgotten");
    assert_eq!(
        code(4, 3),
        ErrorCode::OutOfOrderSequenceNumber,
        "the same start with another length is no retry"
    );
}

#[test]
fn an_unknown_producer_may_begin_at_any_sequence_and_sequences_wrap_to_zero() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    append(&log, produced(1, 0, i32::MAX - 1, 2));
    append(&log, produced(1, 0, 0, 1));
    append(&log, produced(1, 0, 1, 1));
    assert!(append(&log, produced(1, 0, i32::MAX - 1, 2)).duplicate);
    let across = produced(2, 0, i32::MAX, 3);
    append(&log, across.clone());
    assert!(append(&log, across).duplicate);
    append(&log, produced(2, 0, 2, 1));
}

#[test]
fn an_older_epoch_is_fenced_and_a_newer_one_begins_at_zero() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    append(&log, produced(1, 3, 0, 5));
    let code = |epoch, sequence| try_append(&log, produced(1, epoch, sequence, 1)).unwrap_err().error_code();
    assert_eq!(code(2, 5), ErrorCode::InvalidProducerEpoch);
    assert_eq!(code(4, 5), ErrorCode::OutOfOrderSequenceNumber);
    append(&log, produced(1, 4, 0, 1));
    assert_eq!(code(3, 5), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn silent_producers_are_forgotten_after_the_expiration_and_may_then_begin_anywhere() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    append(&log, produced(1, 0, 0, 5));
    dirs.set_producer_id_expiration_ms(1_000_000);
    dirs.tick(NOW.plus_ms(999_999));
    assert_eq!(log.active_producers().len(), 1);
    dirs.tick(NOW.plus_ms(2_000_000));
    assert_eq!(log.active_producers().len(), 0);
    append(&log, produced(1, 0, 99, 1));
}

#[test]
fn the_broker_writes_base_offset_and_leader_epoch_and_nothing_else_changes() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(3, 10));
    let sent = plain(2, 50);
    let at = AppendOptions { leader_epoch: LeaderEpoch(7), ..options(Origin::Client) };
    log.append(sent.clone(), at).unwrap();
    dirs.flush();
    let file = std::fs::read(data.log_file(0)).unwrap();
    let stored = &file[file.len() - sent.len()..];
    let header = BatchHeader::parse(stored).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (3, 7));
    assert_eq!(stored[16..], sent[16..]);
    header.verify_crc(stored).unwrap();
    let older = AppendOptions { leader_epoch: LeaderEpoch(6), ..options(Origin::Client) };
    assert_eq!(log.append(plain(1, 1), older).unwrap_err().error_code(), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn log_append_time_is_stamped_and_answered() {
    let data = Data::new();
    let dirs = data.open();
    let config = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
    let log = create(&dirs, config);
    for bytes in [plain(2, 10), compressed(Compression::Lz4, 2)] {
        let later = AppendOptions { now: NOW.plus_ms(77), ..options(Origin::Client) };
        let info = log.append(bytes, later).unwrap();
        assert_eq!(info.log_append_time, Some(NOW.plus_ms(77)));
    }
    dirs.flush();
    let batches = read_all(&log, 0, Isolation::ReadUncommitted);
    assert_eq!(batches.len(), 2);
    for batch in batches {
        assert_eq!(batch.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert!(batch.records.iter().all(|record| record.timestamp == NOW.plus_ms(77)));
    }
}

#[test]
fn the_brokers_own_max_timestamp_replaces_the_producers() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    let mut bytes = plain(2, 10).to_vec();
    millstream_record::batch::set_max_timestamp(&mut bytes, TimestampMs(5));
    append(&log, Bytes::from(bytes));
    dirs.flush();
    assert_eq!(read_all(&log, 0, Isolation::ReadUncommitted)[0].header.max_timestamp, NOW.0);
}

#[test]
fn timestamps_outside_the_topics_range_are_refused_record_by_record() {
    let data = Data::new();
    let dirs = data.open();
    let config =
        LogConfig { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 500, ..LogConfig::default() };
    let log = create(&dirs, config);
    let with_times = |times: &[i64]| {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for time in times {
            builder.append(NOW.plus_ms(*time), None, Some(b"v"), &[]);
        }
        builder.build()
    };
    append(&log, with_times(&[-1000, 0, 500]));
    let error = try_append(&log, with_times(&[0, -1001, 501])).unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::InvalidTimestamp);
    let indexes: Vec<i32> = error.record_errors().iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [1, 2]);
}

#[test]
fn a_compacted_topic_refuses_records_without_a_key() {
    let data = Data::new();
    let dirs = data.open();
    let policy = CleanupPolicy { delete: false, compact: true };
    let log = create(&dirs, LogConfig { cleanup_policy: policy, ..LogConfig::default() });
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NOW, Some(b"k"), Some(b"v"), &[]).append(NOW, None, Some(b"v"), &[]);
    let error = try_append(&log, builder.build()).unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::InvalidRecord);
    assert_eq!(error.record_errors().len(), 1);
    assert_eq!(error.record_errors()[0].0, 1);
    assert_eq!(log.log_end_offset(), Offset(0));
}

#[test]
fn the_topics_codec_replaces_the_producers_and_keeps_the_sequence() {
    let data = Data::new();
    let dirs = data.open();
    let compression = TopicCompression::Codec { codec: Compression::Zstd, level: Some(3) };
    let log = create(&dirs, LogConfig { compression, ..LogConfig::default() });
    let sent = BatchOptions {
        compression: Compression::Gzip,
        producer: Some(producer(5, 0, 0)),
        ..BatchOptions::default()
    };
    append(&log, batch(sent, 20, 100));
    assert!(append(&log, batch(sent, 20, 100)).duplicate);
    dirs.flush();
    let stored = read_all(&log, 0, Isolation::ReadUncommitted);
    assert_eq!(stored[0].header.attributes.compression(), Ok(Compression::Zstd));
    assert_eq!(stored[0].records.len(), 20);
    log.update_config(LogConfig {
        compression: TopicCompression::Codec { codec: Compression::None, level: None },
        ..LogConfig::default()
    });
    append(&log, compressed(Compression::Snappy, 4));
    dirs.flush();
    let stored = read_all(&log, 20, Isolation::ReadUncommitted);
    assert_eq!(stored[0].header.attributes.compression(), Ok(Compression::None));
}

#[test]
fn sizes_beyond_the_topics_limits_are_refused() {
    let data = Data::new();
    let dirs = data.open();
    let sent = plain(1, 1000);
    let config = LogConfig { max_message_bytes: sent.len(), ..LogConfig::default() };
    let log = create(&dirs, config.clone());
    append(&log, sent);
    let code = |bytes| try_append(&log, bytes).unwrap_err().error_code();
    assert_eq!(code(plain(1, 1001)), ErrorCode::MessageTooLarge);
    log.update_config(LogConfig { segment_bytes: 500, ..config });
    assert_eq!(code(plain(1, 1000)), ErrorCode::RecordListTooLarge);
}

#[test]
fn bytes_that_are_no_single_whole_batch_are_refused() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    let good = plain(2, 10);
    let code = |bytes: Vec<u8>| try_append(&log, Bytes::from(bytes)).unwrap_err().error_code();
    assert_eq!(code(Vec::new()), ErrorCode::InvalidRecord);
    for length in [1, 11, 60, good.len() - 1] {
        assert_eq!(code(good[..length].to_vec()), ErrorCode::CorruptMessage, "{length}");
    }
    assert_eq!(code([&good[..], &good[..]].concat()), ErrorCode::InvalidRecord);
    assert_eq!(code([&good[..], &good[..20]].concat()), ErrorCode::CorruptMessage);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(code(flipped), ErrorCode::CorruptMessage);
    let mut moved = good.to_vec();
    set_base_offset(&mut moved, Offset(5));
    assert_eq!(code(moved), ErrorCode::InvalidRecord);
    let mut old = good.to_vec();
    old[16] = 1;
    assert_eq!(code(old), ErrorCode::InvalidRecord);
    let control = batch(BatchOptions { control: true, ..BatchOptions::default() }, 1, 10);
    assert_eq!(code(control.to_vec()), ErrorCode::InvalidRecord);
    assert_eq!(log.log_end_offset(), Offset(0));
    append(&log, good);
}

#[test]
fn the_brokers_own_batches_are_appended_together() {
    let data = Data::new();
    let dirs = data.open();
    let log = dirs.metadata_log();
    let three = [plain(2, 10), plain(1, 10), plain(3, 10)].concat();
    let info = log.append(Bytes::from(three), options(Origin::Metadata)).unwrap();
    assert_eq!((info.base_offset, info.last_offset), (Offset(0), Offset(5)));
    dirs.flush();
    let batches = read_all(&log, 0, Isolation::ReadUncommitted);
    let bases: Vec<i64> = batches.iter().map(|batch| batch.header.base_offset).collect();
    assert_eq!(bases, [0, 2, 3]);
}

#[test]
fn an_append_of_many_threads_loses_and_reorders_nothing() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig { segment_bytes: 20_000, ..LogConfig::default() });
    std::thread::scope(|scope| {
        for id in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..100 {
                    append(log, produced(id, 0, n * 3, 3));
                }
            });
        }
    });
    dirs.flush();
    let batches = read_all(&log, 0, Isolation::ReadUncommitted);
    assert_eq!(offsets(&batches), (0..1200).collect::<Vec<_>>());
    for id in 0..4 {
        let of_one = batches.iter().filter(|batch| batch.header.producer_id == id);
        let sequences: Vec<i32> = of_one.map(|batch| batch.header.base_sequence).collect();
        assert_eq!(sequences, (0..100).map(|n| n * 3).collect::<Vec<_>>());
    }
}

#[test]
fn a_batch_that_opens_to_far_more_than_its_size_is_not_judged_quickly_and_appends_like_any_other() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    let quickly = |bytes: Bytes| log.judge_quickly(bytes, options(Origin::Client));
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let compressed = |count, value_bytes| {
            batch(BatchOptions { compression: codec, ..BatchOptions::default() }, count, value_bytes)
        };
        assert!(quickly(compressed(10, 6 << 10)).unwrap().is_some(), "{codec}: 60 KiB");
        let bomb = compressed(2, 2 << 20);
        assert!(quickly(bomb.clone()).unwrap().is_none(), "{codec}: 4 MiB");
        let end = log.log_end_offset();
        let judged = log.judge(bomb, options(Origin::Client)).unwrap();
        assert_eq!(log.append_judged(judged, options(Origin::Client)).unwrap().base_offset, end);
    }
    assert!(quickly(plain(2, 200 << 10)).unwrap().is_some(), "what is not compressed is not opened");
    let mut damaged = compressed(Compression::Gzip, 2).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(quickly(damaged.into()).unwrap_err().error_code(), ErrorCode::CorruptMessage);
}
