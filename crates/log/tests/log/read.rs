//! What a read returns, and lookups by time and epoch.

use std::os::unix::fs::FileExt;

use millstream_log::{
    AppendOptions, ColdReads, Isolation, LogConfig, LogDirs, OpenOptions, Origin, ReadError, ReadRequest,
};
use millstream_record::{
    Compression,
    batch::{BatchBuilder, BatchOptions, TimestampType, batches},
};
use millstream_types::{LeaderEpoch, Offset, TimestampMs, codec::Payload};

use crate::support::*;

fn request(offset: i64, max_bytes: usize, at_least_one: bool) -> ReadRequest {
    ReadRequest { offset: Offset(offset), max_bytes, at_least_one, isolation: Isolation::ReadUncommitted }
}

#[test]
fn whole_batches_are_returned_and_the_first_even_if_it_is_too_large() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    let size = plain(2, 100).len();
    for _ in 0..10 {
        append(&log, plain(2, 100));
    }
    dirs.flush();
    let read =
        |offset, max_bytes, at_least_one| log.read(request(offset, max_bytes, at_least_one)).unwrap().records;
    assert_eq!(read(0, size - 1, false).len(), 0);
    assert_eq!(read(0, size - 1, true).len(), size);
    assert_eq!(read(0, 1, true).len(), size);
    assert_eq!(read(0, 3 * size + size / 2, false).len(), 3 * size);
    assert_eq!(read(5, 2 * size, false).len(), 2 * size);
    assert_eq!(batches(&read(5, size, false)).next().unwrap().unwrap().header.base_offset, 4);
    assert_eq!(read(0, 1 << 20, false).len(), 10 * size);
    assert_eq!(read(20, 1 << 20, true).len(), 0);
}

#[test]
fn a_large_fetch_is_a_piece_of_the_file_and_a_small_one_a_copy() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    for _ in 0..10 {
        append(&log, plain(10, 1000));
    }
    dirs.flush();
    let size = plain(10, 1000).len();
    for (offset, max_bytes) in [(0, 2 * size), (30, 2 * size), (0, 1 << 20), (50, 4 * size + 1)] {
        let copied = log.read(request(offset, max_bytes, true)).unwrap();
        let fetched = log.fetch(request(offset, max_bytes, true), ColdReads::Refuse).unwrap();
        let records = match fetched.records {
            Payload::Memory(bytes) => {
                assert_eq!(bytes.len(), 2 * size, "so few are copied");
                bytes.to_vec()
            }
            Payload::File(slice) => {
                let mut bytes = vec![0; slice.length];
                slice.file.read_exact_at(&mut bytes, slice.position).unwrap();
                bytes
            }
        };
        assert_eq!(records, copied.records);
        assert_eq!(fetched.high_watermark, copied.high_watermark);
    }
}

#[test]
fn what_is_in_no_cache_is_read_only_where_waiting_is_allowed() {
    // Not in memory, as the system's temporary directory may be.
    let data = Data { root: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    for _ in 0..100 {
        append(&log, plain(10, 10_000));
    }
    dirs.flush();
    let fetch = |cold| log.fetch(request(500, 1 << 20, true), cold);
    assert!(fetch(ColdReads::Refuse).is_ok());
    let file = std::fs::File::open(data.log_file(0)).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert!(matches!(fetch(ColdReads::Refuse), Err(ReadError::WouldBlock)));
    assert!(fetch(ColdReads::Wait).is_ok());
    assert!(fetch(ColdReads::Refuse).is_ok(), "now it is in the cache");
}

#[test]
fn nothing_is_seen_before_it_is_durable() {
    let data = Data::new();
    let mut options = data.options();
    options.committer_threads = false;
    let dirs = millstream_log::LogDirs::open(options).unwrap();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(2, 10));
    assert_eq!((log.high_watermark(), log.log_end_offset()), (Offset(0), Offset(2)));
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), [0; 0]);
    assert_eq!(offsets(&read_all(&log, 0, Isolation::LogEnd)), [0, 1]);
    dirs.flush();
    append(&log, plain(2, 10));
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), [0, 1]);
    assert_eq!(log.durable_offset(), Offset(2));
}

#[test]
fn every_offset_of_many_segments_can_be_read_from() {
    let data = Data::new();
    let dirs = data.open();
    let config = LogConfig { segment_bytes: 3000, index_interval_bytes: 200, ..LogConfig::default() };
    let log = create(&dirs, config);
    for n in 0..200 {
        append(&log, plain(1 + n % 3, 20));
    }
    dirs.flush();
    let end = log.log_end_offset().0;
    assert!(log.segment_count() > 5);
    let check = |log: &millstream_log::Log| {
        for offset in 0..end {
            let records = log.read(request(offset, 1, true)).unwrap().records;
            let header = batches(&records).next().unwrap().unwrap().header;
            assert!((header.base_offset..=header.last_offset().0).contains(&offset), "{offset}");
        }
        assert_eq!(offsets(&read_all(log, 0, Isolation::ReadUncommitted)), (0..end).collect::<Vec<_>>());
    };
    check(&log);
    dirs.close(NOW);
    drop((log, dirs));
    let dirs = data.open();
    check(&dirs.get(&partition()).unwrap());
}

fn at(times: &[i64]) -> bytes::Bytes {
    let mut builder =
        BatchBuilder::new(BatchOptions { compression: Compression::Lz4, ..BatchOptions::default() });
    for time in times {
        builder.append(TimestampMs(*time), None, Some(b"v"), &[]);
    }
    builder.build()
}

#[test]
fn a_timestamp_finds_the_first_record_at_or_after_it() {
    let data = Data::new();
    let dirs = data.open();
    let config = LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..LogConfig::default() };
    let log = create(&dirs, config);
    for n in 0..50 {
        append(&log, at(&[n * 100, n * 100 + 50]));
    }
    dirs.flush();
    assert!(log.segment_count() > 3);
    let find = |time| {
        let found = log.offset_for_timestamp(TimestampMs(time), Isolation::ReadUncommitted).unwrap();
        found.map(|found| (found.offset.0, found.timestamp.0))
    };
    for n in 0..50 {
        assert_eq!(find(n * 100), Some((n * 2, n * 100)));
        assert_eq!(find(n * 100 + 1), Some((n * 2 + 1, n * 100 + 50)));
        assert_eq!(find(n * 100 + 50), Some((n * 2 + 1, n * 100 + 50)));
    }
    assert_eq!(find(-5), Some((0, 0)));
    assert_eq!(find(4951), None);
    log.delete_records_to(Some(Offset(31))).unwrap();
    assert_eq!(find(0), Some((31, 1550)));
}

/// Whichever bit of a time index is flipped, and whatever time is asked for, the answer is the right one.
#[test]
fn a_wrong_time_index_answers_no_lookup_wrongly() {
    let data = Data::new();
    let config = LogConfig { segment_bytes: 400, index_interval_bytes: 100, ..LogConfig::default() };
    let options = || OpenOptions { defaults: config.clone(), ..data.options() };
    let dirs = LogDirs::open(options()).unwrap();
    let log = create(&dirs, config.clone());
    for n in 0..20 {
        append(&log, at(&[n * 100]));
    }
    assert!(log.segment_count() > 3);
    dirs.close(NOW);
    drop((log, dirs));
    let path = data.partition_dir().join("00000000000000000000.timeindex");
    let right = std::fs::read(&path).unwrap();
    assert!(right.len() >= 2 * 12, "too few entries to be worth flipping");
    for bit in 0..right.len() * 8 {
        let mut wrong = right.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, wrong).unwrap();
        let dirs = LogDirs::open(options()).unwrap();
        let log = dirs.get(&partition()).unwrap();
        for n in 0..20 {
            let found =
                log.offset_for_timestamp(TimestampMs(n * 100 - 50), Isolation::LogEnd).unwrap().unwrap();
            assert_eq!(found.offset, Offset(n), "bit {bit}");
        }
        let last = log.max_timestamp_offset(Isolation::LogEnd).unwrap().unwrap();
        assert_eq!(last.offset, Offset(19), "bit {bit}");
    }
}

#[test]
fn the_largest_timestamp_is_the_first_record_that_has_it() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig { segment_bytes: 200, ..LogConfig::default() });
    let find = || log.max_timestamp_offset(Isolation::ReadUncommitted).unwrap().map(|found| found.offset.0);
    assert_eq!(find(), None);
    for times in [[10, 20, 30], [90, 95, 95], [40, 50, 95], [1, 2, 3]] {
        append(&log, at(&times));
    }
    dirs.flush();
    assert_eq!(find(), Some(4));
}

#[test]
fn under_log_append_time_the_first_record_of_the_batch_has_the_largest_timestamp() {
    let data = Data::new();
    let dirs = data.open();
    let config = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..LogConfig::default() };
    let log = create(&dirs, config);
    append(&log, at(&[1, 2, 3]));
    log.append(at(&[1, 2, 3]), AppendOptions { now: NOW.plus_ms(1), ..options(Origin::Client) }).unwrap();
    dirs.flush();
    let found = log.max_timestamp_offset(Isolation::ReadUncommitted).unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (Offset(3), NOW.plus_ms(1)));
}

#[test]
fn leader_epochs_are_learnt_from_appends_and_kept() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    for epoch in [0, 0, 3, 5] {
        let at = AppendOptions { leader_epoch: LeaderEpoch(epoch), ..options(Origin::Client) };
        log.append(plain(2, 1), at).unwrap();
    }
    let end = |log: &millstream_log::Log, epoch| {
        log.offset_for_leader_epoch(LeaderEpoch(epoch)).map(|(epoch, offset)| (epoch.0, offset.0))
    };
    let check = |log: &millstream_log::Log| {
        assert_eq!(
            [0, 1, 3, 5, 6].map(|epoch| end(log, epoch)),
            [Some((0, 4)), Some((0, 4)), Some((3, 6)), Some((5, 8)), None]
        );
        assert_eq!(log.epoch_at(Offset(4)), Some(LeaderEpoch(3)));
    };
    check(&log);
    dirs.close(NOW);
    drop((log, dirs));
    let text = std::fs::read_to_string(data.partition_dir().join("leader-epoch-checkpoint")).unwrap();
    assert_eq!(text, "0\n3\n0 0\n3 4\n5 6\n");
    let dirs = data.open();
    check(&dirs.get(&partition()).unwrap());
}
