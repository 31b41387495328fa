//! A disk that is full, fails, or loses power; files that were damaged.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use millstream_log::{
    Durability, FlushWith, Intervals, Isolation, LogConfig, LogDirs, OpenError, OpenOptions, Origin,
    ReadError, ReadRequest,
};
use millstream_record::control::ControlType;
use millstream_types::{BrokerId, ErrorCode, Offset, PartitionId, TopicPartition};

use crate::{
    disk::{Disk, Fault},
    support::*,
    transactions::{end, transactional},
};

fn on_disk(disk: &Disk) -> OpenOptions {
    let dirs = vec![PathBuf::from("/data/kafka")];
    let mut options = OpenOptions::new(dirs, PathBuf::from("/data/millstream"), BrokerId(1), NOW);
    options.fs = Arc::new(disk.clone());
    options.reserve_bytes = 64 << 10;
    options.committer_threads = false;
    options
}

#[test]
fn a_full_disk_refuses_clients_keeps_the_broker_working_and_passes() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk)).unwrap();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(1, 100));
    dirs.flush();
    disk.set_space(Some(150));
    let error = try_append(&log, plain(1, 1000)).unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
    assert!(error.error_code().is_retriable() && !log.is_offline());
    assert_eq!(log.log_end_offset(), Offset(1));
    // The reserve is given up (a file removed from this disk frees nothing by itself).
    disk.set_space(Some(64 << 10));
    let small = try_append(&log, plain(1, 1)).unwrap_err();
    assert_eq!(small.error_code(), ErrorCode::KafkaStorageError);
    log.append(plain(1, 1), options(Origin::Coordinator)).unwrap();
    dirs.metadata_log().append(plain(1, 1), options(Origin::Metadata)).unwrap();
    dirs.tick(NOW);
    assert!(try_append(&log, plain(1, 1)).is_err(), "there is not enough to set aside again");
    disk.set_space(Some(1 << 20));
    dirs.tick(NOW);
    assert_eq!(append(&log, plain(2, 100)).base_offset, Offset(2));
    dirs.flush();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), [0, 1, 2, 3]);
    drop((log, dirs));
    let dirs = LogDirs::open(on_disk(&disk)).unwrap();
    assert_eq!(dirs.recovery().cuts, []);
    assert_eq!(dirs.get(&partition()).unwrap().log_end_offset(), Offset(4));
}

#[test]
fn what_a_full_disk_took_of_a_batch_is_taken_back() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk)).unwrap();
    let log = create(&dirs, LogConfig { segment_bytes: 2000, ..LogConfig::default() });
    let mut appended = 0;
    for room in 0..400 {
        disk.set_space(Some(room * 7));
        if log.append(plain(1, 300), options(Origin::Client)).is_ok() {
            appended += 1;
        }
        disk.set_space(None);
        dirs.tick(NOW);
        assert!(!log.is_offline(), "{room}");
        append(&log, plain(1, 5));
        appended += 1;
    }
    assert!(appended > 450 && appended < 800, "{appended}");
    dirs.flush();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), (0..appended).collect::<Vec<_>>());
}

/// Whatever of the indexes lies below the recovery point survives a power cut.
fn recovery_point_covers_what_is_synced(disk: &Disk) {
    let cut = disk.after_power_cut(|| false);
    let text = cut.bytes(Path::new("/data/kafka/recovery-point-offset-checkpoint")).unwrap_or_default();
    let text = String::from_utf8(text).unwrap();
    let recovery_point = text.lines().nth(2).map_or(0, |line| line[4..].parse::<i64>().unwrap());
    for name in ["index", "timeindex"] {
        let path = PathBuf::from(format!("/data/kafka/t-0/00000000000000000000.{name}"));
        if recovery_point > 0 {
            assert_eq!(cut.bytes(&path), disk.bytes(&path), "{name}, recovery point {recovery_point}");
        }
    }
    if let Some(epochs) = cut.bytes(Path::new("/data/kafka/t-0/leader-epoch-checkpoint")) {
        assert_eq!(String::from_utf8(epochs).unwrap(), "0\n1\n0 0\n");
    } else {
        assert_eq!(recovery_point, 0, "the recovery point passes leader epochs that are not there");
    }
}

#[test]
fn what_a_roll_wrote_before_the_disk_was_full_is_synced_before_the_recovery_point_passes_it() {
    let mut begun = 0;
    for room in 0..100 {
        let disk = Disk::default();
        let options = OpenOptions { flush_with: FlushWith::Fdatasync, ..on_disk(&disk) };
        let dirs = LogDirs::open(options).unwrap();
        let config = LogConfig { segment_bytes: 2000, index_interval_bytes: 100, ..LogConfig::default() };
        let log = create(&dirs, config);
        while log.size_bytes() + plain(1, 100).len() as u64 <= 2000 {
            append(&log, plain(1, 100));
        }
        dirs.flush();
        disk.set_space(Some(room));
        assert!(try_append(&log, plain(1, 100)).is_err());
        let index = disk.bytes(Path::new("/data/kafka/t-0/00000000000000000000.index"));
        begun += i32::from(index.is_some_and(|index| !index.is_empty()));
        disk.set_space(None);
        dirs.tick(NOW);
        append(&log, plain(1, 100));
        assert_eq!(log.segment_count(), 2);
        dirs.tick(NOW.plus_ms(5_000));
        recovery_point_covers_what_is_synced(&disk);
        dirs.flush();
        dirs.tick(NOW.plus_ms(10_000));
        recovery_point_covers_what_is_synced(&disk);
    }
    assert!(begun > 10, "{begun}");
}

#[test]
fn what_a_checkpoint_wrote_before_the_disk_was_full_is_synced_before_the_recovery_point_passes_it() {
    for room in 0..300 {
        let disk = Disk::default();
        let options = OpenOptions { flush_with: FlushWith::Fdatasync, ..on_disk(&disk) };
        let dirs = LogDirs::open(options).unwrap();
        let log = create(&dirs, LogConfig { index_interval_bytes: 100, ..LogConfig::default() });
        for _ in 0..10 {
            append(&log, plain(1, 100));
        }
        dirs.flush();
        disk.set_space(Some(room));
        dirs.tick(NOW.plus_ms(5_000));
        disk.set_space(None);
        recovery_point_covers_what_is_synced(&disk);
        dirs.tick(NOW.plus_ms(10_000));
        recovery_point_covers_what_is_synced(&disk);
        dirs.flush();
        dirs.tick(NOW.plus_ms(15_000));
        recovery_point_covers_what_is_synced(&disk);
        let text = disk.bytes(Path::new("/data/kafka/recovery-point-offset-checkpoint")).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "0\n1\nt 0 10\n", "{room}");
    }
}

#[test]
fn a_failing_write_or_sync_takes_the_directory_offline_and_nothing_is_acknowledged() {
    for fault in [Fault::Write, Fault::Sync] {
        let disk = Disk::default();
        let dirs = LogDirs::open(on_disk(&disk)).unwrap();
        let log = create(&dirs, LogConfig::default());
        append(&log, plain(1, 10));
        dirs.flush();
        disk.set_fault(fault);
        let written = try_append(&log, plain(1, 10));
        assert_eq!(written.is_err(), fault == Fault::Write);
        dirs.flush();
        disk.set_fault(Fault::None);
        assert!(log.is_offline());
        assert_eq!(log.high_watermark(), Offset(1));
        assert!(dirs.dirs()[0].offline.as_ref().unwrap().contains("/data/kafka"), "{:?}", dirs.dirs());
        assert_eq!(try_append(&log, plain(1, 10)).unwrap_err().error_code(), ErrorCode::KafkaStorageError);
        assert!(dirs.create(&partition_two(), TOPIC_ID, LogConfig::default()).is_err());
        dirs.close(NOW);
        drop((log, dirs));
        let dirs = LogDirs::open(on_disk(&disk)).unwrap();
        assert!(!dirs.recovery().clean);
    }
}

#[test]
fn a_want_of_descriptors_fails_requests_and_passes() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk)).unwrap();
    let config = LogConfig { segment_bytes: 1000, index_interval_bytes: 300, ..LogConfig::default() };
    let log = create(&dirs, config.clone());
    while log.segment_count() < 3 {
        append(&log, plain(1, 100));
    }
    dirs.flush();
    dirs.tick(NOW.plus_ms(5_000));
    let end = log.log_end_offset();
    disk.set_fault(Fault::Open);
    let error = loop {
        // Until it has to roll.
        if let Err(error) = try_append(&log, plain(1, 100)) {
            break error;
        }
    };
    assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
    assert!(error.error_code().is_retriable() && error.to_string().contains("ulimit -n"), "{error}");
    let request = ReadRequest {
        offset: Offset(3),
        max_bytes: 1,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
    };
    let error = log.read(request).unwrap_err();
    assert!(matches!(error, ReadError::Descriptors(_)), "{error}");
    let error = dirs.create(&partition_two(), TOPIC_ID, config.clone()).unwrap_err();
    assert!(error.passes() && error.error_code() == ErrorCode::KafkaStorageError, "{error}");
    dirs.tick(NOW.plus_ms(10_000));
    assert!(!log.is_offline());
    disk.set_fault(Fault::None);
    let taken = log.log_end_offset();
    assert!(taken > end);
    append(&log, plain(1, 100));
    dirs.flush();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), (0..=taken.0).collect::<Vec<_>>());
    dirs.create(&partition_two(), TOPIC_ID, config).unwrap();
    dirs.tick(NOW.plus_ms(15_000));
    // Fewer partitions are the cure, so one can be deleted meanwhile.
    disk.set_fault(Fault::Open);
    dirs.delete(&partition_two(), NOW).unwrap();
    assert!(!log.is_offline());
}

#[test]
fn only_so_many_files_are_open_because_they_wait_to_be_synced() {
    const LOGS: i32 = 40;
    for flush_with in [FlushWith::Auto, FlushWith::Fdatasync] {
        let most_open = |unsynced_files_max| {
            let (mut disk, mut most) = (Disk::default(), 0);
            for _ in 0..2 {
                let options = OpenOptions { flush_with, unsynced_files_max, ..on_disk(&disk) };
                let dirs = LogDirs::open(options).unwrap();
                for number in 0..LOGS {
                    let partition = TopicPartition::new(partition().topic, PartitionId(number));
                    let log = dirs.create(&partition, TOPIC_ID, LogConfig::default()).unwrap();
                    append(&log, plain(1, 100));
                }
                dirs.flush();
                dirs.tick(NOW.plus_ms(5_000));
                dirs.get(&partition()).map(|log| append(&log, plain(1, 100))).unwrap();
                most = disk.open_files_most().max(most);
                disk = disk.after_power_cut(|| true);
            }
            let dirs =
                LogDirs::open(OpenOptions { flush_with, unsynced_files_max, ..on_disk(&disk) }).unwrap();
            dirs.close(NOW);
            assert_eq!(dirs.logs().len(), LOGS as usize);
            assert!(dirs.logs().iter().all(|log| log.log_end_offset() >= Offset(2)), "{flush_with:?}");
            disk.open_files_most().max(most)
        };
        // Each log's own file, those of one log more than may be, and those of the directory.
        let room = LOGS as usize + 10 + 5 + 5;
        assert!((LOGS as usize..room).contains(&most_open(10)), "{}", most_open(10));
        assert!(most_open(usize::MAX) > room, "{}", most_open(usize::MAX));
    }
}

#[test]
fn a_segment_that_nobody_reads_any_more_is_closed() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk)).unwrap();
    let before = disk.open_files();
    let log = create(&dirs, LogConfig { segment_bytes: 300, ..LogConfig::default() });
    while log.segment_count() < 30 {
        append(&log, plain(1, 100));
    }
    dirs.flush();
    assert_eq!(disk.open_files(), before + 30);
    let mut now = NOW;
    let mut quiet = || {
        for _ in 0..2 {
            now = now.plus_ms(10_000);
            dirs.tick(now);
            dirs.flush();
        }
    };
    quiet();
    assert_eq!(disk.open_files(), before + 1, "the active segment's is open");
    let all: Vec<_> = (0..log.log_end_offset().0).collect();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), all);
    assert!(disk.open_files() > before + 20);
    append(&log, plain(1, 100));
    quiet();
    assert_eq!(disk.open_files(), before + 1);
}

#[test]
fn a_flush_that_cannot_open_a_directory_is_not_a_failed_one_and_is_done_later() {
    for flush_with in [FlushWith::Auto, FlushWith::Fdatasync] {
        let disk = Disk::default();
        let open = || LogDirs::open(OpenOptions { flush_with, ..on_disk(&disk) }).unwrap();
        let dirs = open();
        let log = create(&dirs, LogConfig { segment_bytes: 300, ..LogConfig::default() });
        let other = dirs.create(&partition_two(), TOPIC_ID, LogConfig::default()).unwrap();
        dirs.flush();
        append(&log, plain(1, 100));
        append(&log, plain(1, 100));
        append(&other, plain(1, 100));
        assert_eq!(log.segment_count(), 2);
        disk.set_busy(true);
        disk.set_fault(Fault::Open);
        dirs.flush();
        // A new segment's name needs its directory, unless the whole file system is synced.
        let expected = if flush_with == FlushWith::Auto { 2 } else { 0 };
        assert_eq!((log.high_watermark(), log.is_offline()), (Offset(expected), false));
        assert_eq!(other.high_watermark(), Offset(1));
        disk.set_fault(Fault::None);
        dirs.flush();
        assert_eq!(log.high_watermark(), Offset(2));
        // A sync that fails is still the end.
        append(&log, plain(1, 100));
        disk.set_fault(Fault::Sync);
        dirs.flush();
        assert!(log.is_offline());
        drop((log, dirs));
        let cut = disk.after_power_cut(|| false);
        let dirs = LogDirs::open(OpenOptions { flush_with, ..on_disk(&cut) }).unwrap();
        assert_eq!(dirs.get(&partition()).unwrap().log_end_offset(), Offset(2));
    }
}

#[test]
fn a_start_without_enough_descriptors_says_so_and_leaves_everything() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk)).unwrap();
    append(&create(&dirs, LogConfig::default()), plain(1, 10));
    dirs.flush();
    drop(dirs);
    disk.set_fault(Fault::Open);
    let error = LogDirs::open(on_disk(&disk)).map(drop).unwrap_err();
    assert!(error.to_string().contains("os error 24"), "{error}");
    disk.set_fault(Fault::None);
    let dirs = LogDirs::open(on_disk(&disk)).unwrap();
    assert_eq!(dirs.get(&partition()).unwrap().log_end_offset(), Offset(1));
}

/// Linux counts what a failed sync did not write as written: a process that starts again without a reboot reads
/// it, and a sync of it does nothing.
#[test]
fn what_a_failed_sync_left_in_memory_alone_is_on_the_disk_after_the_next_start() {
    for flush_with in [FlushWith::Auto, FlushWith::Fdatasync] {
        let disk = Disk::default();
        let open = || LogDirs::open(OpenOptions { flush_with, ..on_disk(&disk) }).unwrap();
        let dirs = open();
        let log = create(&dirs, LogConfig { segment_bytes: 500, ..LogConfig::default() });
        disk.set_fault(Fault::Sync);
        for n in 0..5 {
            append(&log, transactional(1, 0, n * 2, 2));
            end(&log, 1, ControlType::Abort);
        }
        dirs.flush();
        assert!(log.is_offline() && log.segment_count() > 1);
        disk.set_fault(Fault::None);
        drop((log, dirs));
        let dirs = open();
        let log = dirs.get(&partition()).unwrap();
        assert_eq!(log.high_watermark(), Offset(15));
        drop((log, dirs));
        let cut = disk.after_power_cut(|| false);
        let (mut kinds, files) = (BTreeSet::new(), disk.files_below("/data/kafka/t-0"));
        for path in &files {
            assert_eq!(cut.bytes(path), disk.bytes(path), "{}", path.display());
            kinds.extend(path.extension().and_then(|kind| kind.to_str()).map(str::to_owned));
        }
        for kind in ["log", "metadata", "snapshot", "timeindex", "txnindex"] {
            assert!(kinds.contains(kind), "no {kind} among {files:?}");
        }
    }
}

fn partition_two() -> millstream_types::TopicPartition {
    millstream_types::TopicPartition { partition: millstream_types::PartitionId(2), ..partition() }
}

#[test]
fn a_disk_that_does_not_read_takes_the_directory_offline() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk)).unwrap();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(1, 10));
    dirs.flush();
    disk.set_fault(Fault::Read);
    let request = ReadRequest {
        offset: Offset(0),
        max_bytes: 1,
        at_least_one: true,
        isolation: Isolation::ReadUncommitted,
    };
    assert!(matches!(log.read(request), Err(ReadError::Storage(_))));
    assert!(matches!(log.read(request), Err(ReadError::Offline(_))));
}

#[test]
fn one_of_several_directories_may_fail_and_the_others_go_on() {
    let data = Data::new();
    let broken = data.root.path().join("broken");
    std::fs::write(&broken, "a file, not a directory").unwrap();
    let dirs =
        LogDirs::open(OpenOptions { dirs: vec![data.kafka(), broken.clone()], ..data.options() }).unwrap();
    assert!(dirs.dirs()[1].offline.is_some() && dirs.dirs()[0].offline.is_none());
    append(&create(&dirs, LogConfig::default()), plain(1, 10));
    drop(dirs);
    let error = LogDirs::open(OpenOptions { dirs: vec![broken], ..data.options() }).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Storage(_)), "{error}");
}

#[test]
fn a_partition_whose_directory_is_gone_is_not_silently_made_anew() {
    let data = Data::new();
    killed_after(&data, 2, 2);
    std::fs::remove_dir_all(data.partition_dir()).unwrap();
    let dirs = data.open();
    let error = dirs.restore(&partition(), TOPIC_ID, LogConfig::default()).unwrap_err();
    assert!(error.to_string().contains("up to offset 2"), "{error}");
    let other = millstream_types::Uuid(1234);
    dirs.restore(&partition(), other, LogConfig::default()).unwrap();
}

#[test]
fn a_partition_that_may_be_in_a_lost_directory_is_not_made_in_another() {
    let data = Data::new();
    let broken = data.root.path().join("broken");
    std::fs::write(&broken, "a file, not a directory").unwrap();
    let dirs = LogDirs::open(OpenOptions { dirs: vec![data.kafka(), broken], ..data.options() }).unwrap();
    let error = dirs.restore(&partition(), TOPIC_ID, LogConfig::default()).unwrap_err();
    assert_eq!(error.error_code(), ErrorCode::KafkaStorageError);
    create(&dirs, LogConfig::default());
    dirs.restore(&partition(), TOPIC_ID, LogConfig::default()).unwrap();
}

/// Three batches, of which the first `durable` are flushed, in a process that dies.
fn killed_after(data: &Data, durable: usize, total: usize) {
    let dirs = LogDirs::open(OpenOptions { committer_threads: false, ..data.options() }).unwrap();
    let log = create(&dirs, LogConfig::default());
    for n in 0..total {
        append(&log, plain(1, 50));
        if n + 1 == durable {
            dirs.flush();
        }
    }
}

fn batch_bytes() -> u64 {
    plain(1, 50).len() as u64
}

#[test]
fn a_torn_tail_is_cut_off_kept_and_reported() {
    let data = Data::new();
    killed_after(&data, 2, 4);
    let file = std::fs::OpenOptions::new().write(true).open(data.log_file(0)).unwrap();
    file.set_len(3 * batch_bytes() + 30).unwrap();
    let torn = std::fs::read(data.log_file(0)).unwrap()[3 * batch_bytes() as usize..].to_vec();
    let dirs = data.open();
    let cut = &dirs.recovery().cuts[0];
    assert_eq!((cut.offset, cut.position, cut.bytes), (Offset(3), 3 * batch_bytes(), 30));
    assert_eq!(cut.path, data.log_file(0));
    assert_eq!(std::fs::read(&cut.saved[0]).unwrap(), torn);
    assert!(cut.saved[0].starts_with(data.bounds()));
    let log = dirs.get(&partition()).unwrap();
    assert_eq!((log.log_end_offset(), log.high_watermark()), (Offset(3), Offset(3)));
    assert_eq!(std::fs::metadata(data.log_file(0)).unwrap().len(), 3 * batch_bytes());
    assert_eq!(append(&log, plain(1, 1)).base_offset, Offset(3));
    drop((log, dirs));
    assert_eq!(data.open().recovery().cuts, []);
}

#[test]
fn a_tail_of_zeros_is_cut_off_and_not_kept() {
    let data = Data::new();
    killed_after(&data, 2, 2);
    let file = std::fs::OpenOptions::new().write(true).open(data.log_file(0)).unwrap();
    file.set_len(2 * batch_bytes() + 5000).unwrap();
    let dirs = data.open();
    let cut = &dirs.recovery().cuts[0];
    assert_eq!((cut.bytes, cut.saved.len()), (5000, 0));
}

#[test]
fn damage_to_what_was_durable_takes_the_partition_offline_and_changes_nothing() {
    let data = Data::new();
    killed_after(&data, 3, 4);
    let path = data.log_file(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let position = batch_bytes() as usize + 80;
    bytes[position] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let dirs = data.open();
    assert!(dirs.get(&partition()).is_none());
    let offline = dirs.offline(&partition()).unwrap();
    assert!(offline.reason.contains(&path.display().to_string()), "{}", offline.reason);
    assert!(offline.reason.contains("offset 1"), "{}", offline.reason);
    assert_eq!(dirs.recovery().offline, [offline]);
    assert!(dirs.create(&partition(), TOPIC_ID, LogConfig::default()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    // A topic that is damaged can still be deleted.
    dirs.delete(&partition(), NOW).unwrap();
    assert!(dirs.offline(&partition()).is_none());
    create(&dirs, LogConfig::default());
}

#[test]
fn a_log_that_is_shorter_than_what_was_durable_is_offline() {
    let data = Data::new();
    killed_after(&data, 3, 3);
    let file = std::fs::OpenOptions::new().write(true).open(data.log_file(0)).unwrap();
    file.set_len(2 * batch_bytes()).unwrap();
    let dirs = data.open();
    let offline = dirs.offline(&partition()).unwrap();
    assert!(
        offline.reason.contains("ends at offset 2") && offline.reason.contains("offset 3"),
        "{offline:?}"
    );
}

#[test]
fn without_its_side_files_a_torn_tail_is_still_only_cut_off() {
    let data = Data::new();
    killed_after(&data, 3, 3);
    std::fs::remove_dir_all(data.bounds()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(data.log_file(0)).unwrap();
    file.set_len(3 * batch_bytes() - 1).unwrap();
    let dirs = data.open();
    assert_eq!(dirs.get(&partition()).unwrap().log_end_offset(), Offset(2));
}

#[test]
fn only_what_lies_past_the_recovery_point_is_scanned() {
    let data = Data::new();
    let dirs = data.open();
    let config = LogConfig { segment_bytes: 20_000, index_interval_bytes: 1000, ..LogConfig::default() };
    let log = create(&dirs, config);
    for _ in 0..1000 {
        append(&log, plain(1, 50));
    }
    dirs.flush();
    dirs.tick(NOW.plus_ms(5_000));
    append(&log, plain(1, 50));
    dirs.flush();
    drop((log, dirs));
    let text = std::fs::read_to_string(data.kafka().join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\nt 0 1000\n");
    let dirs = data.open();
    assert!(dirs.recovery().scanned_bytes < 3000, "{:?}", dirs.recovery());
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), (0..1001).collect::<Vec<_>>());
}

#[test]
fn a_clock_that_is_set_back_puts_off_no_checkpoint() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(1, 50));
    dirs.flush();
    dirs.tick(NOW.plus_ms(-3_600_000));
    let text = std::fs::read_to_string(data.kafka().join("recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\nt 0 1\n");
}

#[test]
fn indexes_that_are_absent_or_wrong_are_made_anew() {
    let data = Data::new();
    let dirs = data.open();
    let config = LogConfig { segment_bytes: 5000, index_interval_bytes: 300, ..LogConfig::default() };
    let log = create(&dirs, config.clone());
    for n in 0..300 {
        append(&log, produced(4, 0, n, 1));
    }
    dirs.close(NOW);
    drop((log, dirs));
    let names = |extension: &str| {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(data.partition_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|found| found == extension));
        paths.sort();
        paths
    };
    assert!(names("index").len() > 3);
    let original: Vec<_> = names("index").iter().map(|path| std::fs::read(path).unwrap()).collect();
    std::fs::remove_file(&names("index")[0]).unwrap();
    std::fs::write(&names("index")[1], b"\0\0\0\x05\xff\xff\xff\xff").unwrap();
    std::fs::write(&names("timeindex")[2], b"odd").unwrap();
    std::fs::remove_file(names("timeindex").last().unwrap()).unwrap();
    let dirs = LogDirs::open(OpenOptions { defaults: config, ..data.options() }).unwrap();
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), (0..300).collect::<Vec<_>>());
    dirs.close(NOW);
    let remade: Vec<_> = names("index").iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(remade, original);
}

#[test]
fn a_wrong_index_entry_is_noticed_by_the_reader() {
    let data = Data::new();
    let dirs = data.open();
    let config = LogConfig { segment_bytes: 5000, index_interval_bytes: 300, ..LogConfig::default() };
    let log = create(&dirs, config);
    for _ in 0..100 {
        append(&log, plain(1, 20));
    }
    dirs.close(NOW);
    drop((log, dirs));
    let path = data.partition_dir().join("00000000000000000000.index");
    let mut bytes = std::fs::read(&path).unwrap();
    // An entry in the middle, still in order, but leading into the middle of a batch.
    bytes[8 + 7] = bytes[8 + 7].wrapping_add(9);
    std::fs::write(&path, bytes).unwrap();
    let dirs = data.open();
    let log = dirs.get(&partition()).unwrap();
    for offset in 0..100 {
        assert_eq!(offsets(&read_all(&log, offset, Isolation::ReadUncommitted))[0], offset);
    }
}

#[test]
fn a_wrong_time_index_deletes_no_records() {
    let data = Data::new();
    let config = LogConfig { segment_bytes: 2000, ..LogConfig::default() };
    let options = || OpenOptions { defaults: config.clone(), ..data.options() };
    let dirs = LogDirs::open(options()).unwrap();
    let log = create(&dirs, config.clone());
    for _ in 0..50 {
        append(&log, plain(1, 100));
    }
    dirs.close(NOW);
    drop((log, dirs));
    let path = data.partition_dir().join("00000000000000000000.timeindex");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 12;
    // 34 years ago.
    bytes[last + 2] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let dirs = LogDirs::open(options()).unwrap();
    let log = dirs.get(&partition()).unwrap();
    dirs.tick(NOW.plus_ms(300_000));
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)), (0..50).collect::<Vec<_>>());
    // What is old goes as ever.
    dirs.tick(NOW.plus_ms(8 * 86_400_000));
    assert_eq!(log.log_start_offset(), Offset(50));
}

#[test]
fn damaged_snapshots_and_checkpoints_are_replaced_by_what_the_log_says() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig { segment_bytes: 1000, ..LogConfig::default() });
    for n in 0..50 {
        append(&log, produced(4, 0, n, 1));
    }
    dirs.close(NOW);
    drop((log, dirs));
    for entry in std::fs::read_dir(data.partition_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "snapshot") {
            let mut bytes = std::fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(path, bytes).unwrap();
        }
    }
    std::fs::write(data.partition_dir().join("leader-epoch-checkpoint"), "rubbish").unwrap();
    std::fs::write(data.kafka().join("recovery-point-offset-checkpoint"), "rubbish").unwrap();
    let dirs = data.open();
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(log.leader_epochs().len(), 1);
    for n in 45..50 {
        let again = append(&log, produced(4, 0, n, 1));
        assert_eq!((again.duplicate, again.base_offset), (true, Offset(i64::from(n))));
    }
}

#[test]
fn the_last_five_batches_are_known_after_a_clean_restart_and_after_a_crash() {
    for clean in [true, false] {
        let data = Data::new();
        let dirs = data.open();
        let log = create(&dirs, LogConfig::default());
        for n in 0..20 {
            append(&log, produced(4, 0, n * 2, 2));
            append(&log, produced(5, 0, n, 1));
        }
        dirs.flush();
        if clean {
            dirs.close(NOW);
        } else {
            dirs.tick(NOW.plus_ms(5000));
        }
        drop((log, dirs));
        let dirs = data.open();
        assert_eq!(dirs.recovery().clean, clean);
        let log = dirs.get(&partition()).unwrap();
        for n in 15..20 {
            let again = append(&log, produced(4, 0, n * 2, 2));
            assert_eq!((again.duplicate, again.base_offset), (true, Offset(i64::from(n) * 3)));
            assert_eq!(again.log_append_time, Some(NOW));
        }
        assert!(try_append(&log, produced(4, 0, 28, 2)).is_err());
        assert!(!append(&log, produced(4, 0, 40, 2)).duplicate);
    }
}

#[test]
fn under_os_durability_nothing_waits_and_flush_messages_flushes() {
    let disk = Disk::default();
    let dirs = LogDirs::open(OpenOptions { durability: Durability::Os, ..on_disk(&disk) }).unwrap();
    let log = create(&dirs, LogConfig { flush_messages: 3, ..LogConfig::default() });
    disk.take_syncs();
    append(&log, plain(2, 10));
    assert_eq!((log.high_watermark(), log.durable_offset()), (Offset(2), Offset(0)));
    assert_eq!(disk.take_syncs().len(), 0);
    append(&log, plain(1, 10));
    assert_eq!((log.high_watermark(), log.durable_offset()), (Offset(3), Offset(3)));
    assert_eq!(disk.take_syncs(), ["all"]);
    log.update_config(LogConfig { flush_ms: 1000, ..LogConfig::default() });
    append(&log, plain(1, 10));
    dirs.tick(NOW);
    dirs.tick(NOW.plus_ms(999));
    assert_eq!(log.durable_offset(), Offset(3));
    dirs.tick(NOW.plus_ms(1000));
    dirs.flush();
    assert_eq!(log.durable_offset(), Offset(4));
}

#[test]
fn under_os_durability_a_segment_that_was_left_is_flushed_soon() {
    let disk = Disk::default();
    let dirs = LogDirs::open(OpenOptions { durability: Durability::Os, ..on_disk(&disk) }).unwrap();
    let log = create(&dirs, LogConfig { segment_bytes: 500, ..LogConfig::default() });
    append(&log, plain(1, 300));
    dirs.tick(NOW.plus_ms(1000));
    dirs.flush();
    let durable = log.durable_offset();
    append(&log, plain(1, 300));
    assert_eq!((log.segment_count(), log.durable_offset()), (2, durable));
    dirs.tick(NOW.plus_ms(2000));
    dirs.flush();
    assert_eq!(log.durable_offset(), Offset(2));
    dirs.tick(NOW.plus_ms(7000));
    let text = disk.bytes(Path::new("/data/kafka/recovery-point-offset-checkpoint")).unwrap();
    assert_eq!(String::from_utf8(text).unwrap(), "0\n1\nt 0 2\n");
}

#[test]
fn the_metadata_log_is_found_again_and_stands_in_no_checkpoint() {
    let data = Data::new();
    let intervals = Intervals { checkpoint_ms: 0, ..Intervals::default() };
    let dirs = LogDirs::open(OpenOptions { intervals, ..data.options() }).unwrap();
    let log = dirs.metadata_log();
    log.append(plain(3, 10), options(Origin::Metadata)).unwrap();
    append(&create(&dirs, LogConfig::default()), plain(1, 1));
    dirs.flush();
    dirs.tick(NOW);
    dirs.close(NOW);
    drop((log, dirs));
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        let text = std::fs::read_to_string(data.kafka().join(name)).unwrap();
        assert_eq!(text, "0\n1\nt 0 1\n", "{name}");
    }
    let dirs = data.open();
    assert_eq!(dirs.metadata_log().high_watermark(), Offset(3));
    assert_eq!(dirs.logs().len(), 1);
}
