//! What leaves the log's beginning, and when.

use std::{path::Path, sync::Arc};

use millstream_log::{CleanupPolicy, Intervals, Isolation, Log, LogConfig, LogDirs, LogError, OpenOptions};
use millstream_types::{BrokerId, ErrorCode, Offset};

use crate::{
    disk::{Disk, Fault},
    support::*,
};

const DAY_MS: i64 = 86_400_000;

fn open(data: &Data) -> LogDirs {
    let intervals = Intervals { retention_check_ms: 0, ..Intervals::default() };
    LogDirs::open(OpenOptions { intervals, ..data.options() }).unwrap()
}

/// Ten segments of one batch each, at offsets 0, 2, 4 …
fn ten_segments(dirs: &LogDirs, config: LogConfig) -> Arc<Log> {
    let segment_bytes = plain(2, 10).len() as u32;
    let log = create(dirs, LogConfig { segment_bytes, ..config });
    for _ in 0..10 {
        append(&log, plain(2, 10));
    }
    dirs.flush();
    assert_eq!(log.segment_count(), 10);
    log
}

fn files(data: &Data, extension: &str) -> usize {
    let listed = std::fs::read_dir(data.partition_dir()).unwrap();
    listed.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == extension)).count()
}

#[test]
fn segments_beyond_the_size_go_and_their_files_after_the_delay() {
    let data = Data::new();
    let dirs = open(&data);
    let size = plain(2, 10).len() as u64;
    let log = ten_segments(&dirs, LogConfig { retention_bytes: Some(3 * size + 1), ..LogConfig::default() });
    dirs.tick(NOW);
    assert_eq!((log.segment_count(), log.log_start_offset()), (4, Offset(12)));
    assert_eq!(offsets(&read_all(&log, 12, Isolation::ReadUncommitted)), (12..20).collect::<Vec<_>>());
    assert_eq!((files(&data, "log"), files(&data, "deleted") >= 18), (4, true));
    dirs.tick(NOW.plus_ms(59_999));
    assert!(files(&data, "deleted") >= 18);
    dirs.tick(NOW.plus_ms(60_000));
    assert_eq!(files(&data, "deleted"), 0);
    dirs.close(NOW);
    drop((log, dirs));
    let log = open(&data).get(&partition()).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(12), Offset(20)));
}

#[test]
fn expired_segments_go_the_active_one_as_well() {
    let data = Data::new();
    let dirs = open(&data);
    let log = ten_segments(&dirs, LogConfig { retention_ms: Some(DAY_MS), ..LogConfig::default() });
    dirs.tick(NOW.plus_ms(DAY_MS));
    assert_eq!(log.segment_count(), 10);
    dirs.tick(NOW.plus_ms(DAY_MS + 1));
    assert_eq!((log.segment_count(), log.size_bytes()), (1, 0));
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(20), Offset(20)));
    assert_eq!(append(&log, plain(1, 1)).base_offset, Offset(20));
    dirs.flush();
    drop((log, dirs));
    let log = open(&data).get(&partition()).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(20), Offset(21)));
}

#[test]
fn a_compacted_topic_is_not_shortened_by_age_or_size() {
    let data = Data::new();
    let dirs = open(&data);
    let config = LogConfig {
        retention_ms: Some(1),
        retention_bytes: Some(1),
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..LogConfig::default()
    };
    let log = ten_segments(&dirs, config);
    dirs.tick(NOW.plus_ms(DAY_MS));
    assert_eq!(log.segment_count(), 10);
}

#[test]
fn deleted_records_are_gone_at_once_and_their_segments_with_the_next_tick() {
    let data = Data::new();
    let dirs = open(&data);
    let log = ten_segments(&dirs, LogConfig::default());
    assert_eq!(log.delete_records_to(Some(Offset(7))).unwrap(), Offset(7));
    assert_eq!(log.delete_records_to(Some(Offset(3))).unwrap(), Offset(7));
    let error = log.delete_records_to(Some(Offset(21))).unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::OffsetOutOfRange);
    assert!(matches!(error, LogError::OutOfRange { .. }));
    assert_eq!(offsets(&read_all(&log, 7, Isolation::ReadUncommitted))[0], 6, "its batch begins before");
    dirs.tick(NOW);
    assert_eq!(log.segment_count(), 7);
    let text = std::fs::read_to_string(data.kafka().join("log-start-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\nt 0 7\n");
    drop((log, dirs));
    let dirs = open(&data);
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(log.log_start_offset(), Offset(7));
    assert_eq!(log.delete_records_to(None).unwrap(), Offset(20));
    dirs.tick(NOW);
    assert_eq!(log.segment_count(), 1);
    dirs.close(NOW);
    drop((log, dirs));
    let log = open(&data).get(&partition()).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(20), Offset(20)));
}

#[test]
fn a_deletion_of_records_is_on_the_disk_when_it_returns_or_fails() {
    let disk = Disk::default();
    let mut options = OpenOptions::new(vec!["/kafka".into()], "/millstream".into(), BrokerId(1), NOW);
    options.fs = Arc::new(disk.clone());
    options.reserve_bytes = 64 << 10;
    options.committer_threads = false;
    let dirs = LogDirs::open(options).unwrap();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(9, 10));
    dirs.flush();
    let delete =
        |to| dirs.delete_records(&[(log.clone(), Some(Offset(to))), (log.clone(), Some(Offset(99)))]);
    let on_disk = || {
        let bytes = disk.after_power_cut(|| false).bytes(Path::new("/kafka/log-start-offset-checkpoint"));
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    let answers = delete(4);
    assert_eq!(*answers[0].as_ref().unwrap(), Offset(4));
    assert!(matches!(answers[1], Err(LogError::OutOfRange { .. })));
    assert_eq!(on_disk(), "0\n1\nt 0 4\n");
    disk.set_space(Some(5));
    assert!(matches!(delete(5)[0], Err(LogError::Full { .. })));
    assert_eq!((on_disk().as_str(), log.is_offline()), ("0\n1\nt 0 4\n", false));
    disk.set_space(None);
    assert!(delete(5)[0].is_ok());
    assert_eq!(on_disk(), "0\n1\nt 0 5\n");
    disk.set_fault(Fault::Sync);
    assert!(matches!(delete(6)[0], Err(LogError::Offline(_))));
    assert!(log.is_offline());
}

#[test]
fn the_segment_is_left_when_it_is_full_old_or_its_index_is() {
    let data = Data::new();
    let dirs = open(&data);
    let size = plain(2, 10).len() as u32;
    let log = create(&dirs, LogConfig { segment_bytes: 2 * size, ..LogConfig::default() });
    for _ in 0..5 {
        append(&log, plain(2, 10));
    }
    assert_eq!(log.segment_count(), 3);
    log.update_config(LogConfig { segment_ms: 1000, ..LogConfig::default() });
    let at = |ms| {
        let mut builder = millstream_record::batch::BatchBuilder::new(Default::default());
        builder.append(NOW.plus_ms(ms), None, Some(b"v"), &[]);
        builder.build()
    };
    append(&log, at(1000));
    assert_eq!(log.segment_count(), 3);
    append(&log, at(1001));
    assert_eq!(log.segment_count(), 4);
    // Each further batch gets an index entry; the index has room for four.
    log.update_config(LogConfig { index_interval_bytes: 0, segment_index_bytes: 36, ..LogConfig::default() });
    for _ in 0..5 {
        append(&log, at(1001));
    }
    assert_eq!(log.segment_count(), 5);
    dirs.flush();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), (0..17).collect::<Vec<_>>());
}

#[test]
fn the_file_is_preallocated_only_if_asked_and_trimmed_when_left() {
    let data = Data::new();
    let dirs = open(&data);
    let config = LogConfig { segment_bytes: 4096, preallocate: true, ..LogConfig::default() };
    let log = create(&dirs, config);
    let length = |base| std::fs::metadata(data.log_file(base)).unwrap().len();
    assert_eq!(length(0), 4096);
    append(&log, plain(2, 1500));
    append(&log, plain(2, 1500));
    let batch = plain(2, 1500).len() as u64;
    assert_eq!((length(0), length(2)), (batch, 4096));
    dirs.close(NOW);
    assert_eq!(length(2), batch);
    drop((log, dirs));
    let dirs = open(&data);
    assert_eq!(dirs.get(&partition()).unwrap().log_end_offset(), Offset(4));
}
