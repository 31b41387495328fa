//! The directories: whose they are, what is in them, several of them.

use std::{path::PathBuf, sync::Arc};

use millstream_log::{FlushWith, LogConfig, LogDirs, LogError, OpenError, OpenOptions};
use millstream_types::{BrokerId, Offset, PartitionId, TopicName, TopicPartition, Uuid};
use parking_lot::Mutex;

use crate::{
    disk::{Disk, Fault},
    support::*,
};

fn numbered(number: i32) -> TopicPartition {
    TopicPartition::new(TopicName::parse("t").unwrap(), PartitionId(number))
}

fn open_error(options: OpenOptions) -> OpenError {
    LogDirs::open(options).map(drop).unwrap_err()
}

#[test]
fn an_empty_directory_is_formatted_and_recognised_again() {
    let data = Data::new();
    let dirs = data.open();
    let (cluster_id, directory_id) = (dirs.cluster_id().to_owned(), dirs.dirs()[0].directory_id);
    assert!(dirs.dirs()[0].usable_bytes.unwrap() > 0);
    drop(dirs);
    let text = std::fs::read_to_string(data.kafka().join("meta.properties")).unwrap();
    assert!(text.contains("version=1\n") && text.contains("node.id=1\n"), "{text}");
    assert!(text.contains(&format!("cluster.id={cluster_id}\n")), "{text}");
    let dirs = data.open();
    assert_eq!((dirs.cluster_id(), dirs.dirs()[0].directory_id), (&*cluster_id, directory_id));
    let same = OpenOptions { cluster_id: Some(cluster_id), ..data.options() };
    drop(dirs);
    LogDirs::open(same).unwrap();
}

#[test]
fn a_directory_of_another_cluster_or_node_or_of_nobody_is_refused() {
    let data = Data::new();
    drop(data.open());
    let error = open_error(OpenOptions { node_id: BrokerId(2), ..data.options() });
    assert!(matches!(error, OpenError::Identity { key: "node.id", .. }), "{error}");
    let error = open_error(OpenOptions { cluster_id: Some("other".to_owned()), ..data.options() });
    assert!(matches!(error, OpenError::Identity { key: "cluster.id", .. }), "{error}");
    std::fs::create_dir(data.kafka().join("lost+found")).unwrap();
    let error = open_error(data.options());
    assert!(matches!(&error, OpenError::ForeignDirectory { found, .. } if found == "lost+found"), "{error}");
    let foreign = Data::new();
    std::fs::create_dir_all(foreign.kafka().join("photos")).unwrap();
    let error = open_error(foreign.options());
    assert!(matches!(&error, OpenError::NotALogDirectory { found, .. } if found == "photos"), "{error}");
}

#[test]
fn a_second_opener_is_refused_until_the_first_is_gone() {
    let data = Data::new();
    let dirs = data.open();
    let error = open_error(data.options());
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    drop(dirs);
    data.open();
}

#[test]
fn a_deleted_partition_is_renamed_at_once_and_removed_after_the_delay() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(2, 10));
    dirs.delete(&partition(), NOW).unwrap();
    assert!(log.is_deleted() && log.is_offline() && dirs.get(&partition()).is_none());
    assert!(try_append(&log, plain(1, 1)).is_err());
    let doomed = || {
        let names =
            std::fs::read_dir(data.kafka()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with("-delete")).count()
    };
    assert!(!data.partition_dir().exists());
    assert_eq!(doomed(), 1);
    let again = dirs.create(&partition(), Uuid(5), LogConfig::default()).unwrap();
    assert_eq!(append(&again, plain(1, 1)).base_offset, Offset(0));
    dirs.tick(NOW.plus_ms(60_000));
    assert_eq!(doomed(), 0);
    dirs.delete(&partition(), NOW).unwrap();
    drop((log, again, dirs));
    let dirs = data.open();
    dirs.tick(NOW);
    assert_eq!(doomed(), 0);
    assert!(dirs.logs().is_empty());
}

#[test]
fn a_stray_partition_is_kept_and_not_opened_again() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(2, 10));
    let kept = dirs.mark_stray(&partition()).unwrap();
    drop((log, dirs));
    let dirs = data.open();
    assert!(dirs.get(&partition()).is_none());
    dirs.tick(NOW.plus_ms(1 << 40));
    assert!(kept.join("00000000000000000000.log").exists());
}

#[test]
fn a_partition_exists_once_and_belongs_to_one_topic_id() {
    let data = Data::new();
    let dirs = data.open();
    let log = create(&dirs, LogConfig::default());
    assert!(Arc::ptr_eq(&log, &create(&dirs, LogConfig::default())));
    let other = dirs.create(&partition(), Uuid(99), LogConfig::default());
    assert!(matches!(other, Err(LogError::TopicId { .. })));
    assert!(matches!(dirs.delete(&numbered(7), NOW), Err(LogError::Unknown { .. })));
}

#[test]
fn several_directories_share_the_partitions_and_each_is_recovered() {
    let data = Data::new();
    let second = data.root.path().join("second");
    let both = || OpenOptions { dirs: vec![data.kafka(), second.clone()], ..data.options() };
    let dirs = LogDirs::open(both()).unwrap();
    for number in 0..6 {
        let log = dirs.create(&numbered(number), TOPIC_ID, LogConfig::default()).unwrap();
        append(&log, plain(1 + number as usize, 10));
    }
    dirs.flush();
    let in_second = dirs.logs().iter().filter(|log| log.log_dir() == second).count();
    assert_eq!(in_second, 3);
    drop(dirs);
    let dirs = LogDirs::open(both()).unwrap();
    for number in 0..6 {
        assert_eq!(dirs.get(&numbered(number)).unwrap().log_end_offset(), Offset(i64::from(number) + 1));
    }
    drop(dirs);
    copy_dir(&data.kafka().join("t-0"), &second.join("t-0"));
    assert!(matches!(open_error(both()), OpenError::Duplicate { .. }));
}

fn on_disk(disk: &Disk, dirs: &[&str], flush_with: FlushWith) -> OpenOptions {
    let dirs = dirs.iter().map(PathBuf::from).collect();
    let mut options = OpenOptions::new(dirs, PathBuf::from("/data/millstream"), BrokerId(1), NOW);
    options.fs = Arc::new(disk.clone());
    options.reserve_bytes = 4096;
    options.committer_threads = false;
    options.flush_with = flush_with;
    options
}

#[test]
fn a_new_partition_is_durable_with_its_first_record_file_names_included() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk, &["/data/kafka"], FlushWith::Fdatasync)).unwrap();
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(1, 10));
    disk.take_syncs();
    dirs.flush();
    let syncs = disk.take_syncs();
    for path in ["/data/kafka/t-0/00000000000000000000.log", "/data/kafka/t-0", "/data/kafka"] {
        assert!(syncs.iter().any(|synced| synced == path), "{path} in {syncs:?}");
    }
    append(&log, plain(1, 10));
    dirs.flush();
    assert_eq!(disk.take_syncs(), ["/data/kafka/t-0/00000000000000000000.log"]);
}

#[test]
fn two_files_are_synced_one_by_one_and_more_by_their_file_system() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk, &["/data/kafka"], FlushWith::Auto)).unwrap();
    let logs: Vec<_> =
        (0..3).map(|n| dirs.create(&numbered(n), TOPIC_ID, LogConfig::default()).unwrap()).collect();
    for log in &logs {
        append(log, plain(1, 10));
    }
    dirs.flush();
    disk.take_syncs();
    for (count, expected) in [(1, 1), (2, 2)] {
        for log in &logs[..count] {
            append(log, plain(1, 10));
        }
        dirs.flush();
        let syncs = disk.take_syncs();
        assert!(syncs.len() == expected && syncs.iter().all(|path| path.ends_with(".log")), "{syncs:?}");
    }
    for log in &logs {
        append(log, plain(1, 10));
    }
    dirs.flush();
    assert_eq!(disk.take_syncs(), ["all"]);
    disk.set_busy(true);
    for log in &logs {
        append(log, plain(1, 10));
    }
    dirs.flush();
    assert_eq!(disk.take_syncs().len(), 3, "others' writes are not waited for");
}

#[test]
fn the_listener_hears_of_each_log_that_moved_and_of_one_that_died() {
    let disk = Disk::default();
    let dirs = LogDirs::open(on_disk(&disk, &["/data/kafka"], FlushWith::Auto)).unwrap();
    let heard: Arc<Mutex<Vec<(String, i64, bool)>>> = Arc::default();
    let ear = heard.clone();
    dirs.set_flush_listener(Arc::new(move |logs| {
        let tell = |log: &Arc<millstream_log::Log>| {
            (log.partition().to_string(), log.high_watermark().0, log.is_offline())
        };
        ear.lock().extend(logs.iter().map(tell));
    }));
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(3, 10));
    assert_eq!(*heard.lock(), []);
    dirs.flush();
    assert_eq!(*heard.lock(), [("t-0".to_owned(), 3, false)]);
    append(&log, plain(1, 10));
    disk.set_fault(Fault::Sync);
    dirs.flush();
    assert_eq!(heard.lock().last(), Some(&("t-0".to_owned(), 3, true)));
}
