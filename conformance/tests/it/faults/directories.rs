//! One log directory of several goes bad: its partitions are offline and say so, the others go on, and when it is
//! back nothing that was acknowledged is missing.

use std::{fs, path::Path};

use millstream_protocol::messages::DescribeLogDirsRequest;
use millstream_sim::disk::DiskError;
use millstream_testkit::{Running, Target, TargetOptions, wait_until};
use millstream_types::ErrorCode;

use super::{LIMIT, try_append};
use crate::{
    mounted::{MountedDisk, asks_kafka},
    session::{Session, batch, code, values},
};

const PARTITIONS: i32 = 4;

/// With the metadata in `first` and half of the partitions of the topic `spread` in `second`.
fn start(root: &Path, first: &Path, second: &Path) -> Option<Running> {
    if asks_kafka("a log directory of several") {
        return None;
    }
    let log_dirs = format!("{},{}", first.display(), second.display());
    let arguments = ["--flush-with", "fdatasync"].map(str::to_owned).to_vec();
    let options = TargetOptions { arguments, ..TargetOptions::default().dir(root).set("log.dirs", log_dirs) };
    let target = Target::start(options).unwrap();
    let mut session = Session::open(&target);
    session.topic_of("spread", PARTITIONS, &[]);
    for partition in 0..PARTITIONS {
        session.append("spread", partition, batch(&["before"]));
    }
    Some(target)
}

/// Of the topic `spread`, in the log directory at `path`; its error if it is offline.
fn partitions_in(session: &mut Session, path: &Path) -> Result<Vec<i32>, ErrorCode> {
    let answer = session.call(4, &DescribeLogDirsRequest { topics: None, ..Default::default() });
    let path = path.display().to_string();
    let dir = answer.results.into_iter().find(|dir| dir.log_dir == path).unwrap();
    match code(dir.error_code) {
        ErrorCode::None => {
            let spread = dir.topics.iter().filter(|topic| topic.name == "spread");
            Ok(spread.flat_map(|topic| &topic.partitions).map(|found| found.partition_index).collect())
        }
        error => Err(error),
    }
}

/// Those of `second` are refused, the others taken, and a new topic finds a place.
fn only_these_are_offline(session: &mut Session, offline: &[i32], value: &str) {
    for partition in 0..PARTITIONS {
        let expected = match offline.contains(&partition) {
            true => ErrorCode::KafkaStorageError,
            false => ErrorCode::None,
        };
        assert_eq!(try_append(session, "spread", partition, value), expected, "{partition}");
        let fetched = code(session.fetch_partition("spread", partition, 0).error_code);
        assert_eq!(fetched, expected, "{partition}");
    }
    let topic = format!("new-{value}");
    session.topic_of(&topic, 2, &[]);
    for partition in 0..2 {
        session.append(&topic, partition, batch(&[value]));
    }
}

fn values_of(session: &mut Session, topic: &str, partition: i32) -> Vec<String> {
    let data = session.fetch_partition(topic, partition, 0);
    assert_eq!(code(data.error_code), ErrorCode::None, "{topic}-{partition}");
    values(&data)
}

#[test]
fn a_directory_that_fails_takes_only_its_own_partitions_offline() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let Some(mut disk) = MountedDisk::mount("one of several directories", &second, 5) else { return };
    let Some(mut target) = start(root.path(), &first, &second) else { return };
    let mut session = Session::open(&target);
    let lost = partitions_in(&mut session, &second).unwrap();
    assert_eq!(lost.len(), 2);
    disk.disk().arm_error(DiskError::Sync, 0);
    assert_eq!(try_append(&mut session, "spread", lost[0], "lost"), ErrorCode::KafkaStorageError);
    only_these_are_offline(&mut session, &lost, "meanwhile");
    assert_eq!(partitions_in(&mut session, &second), Err(ErrorCode::KafkaStorageError));
    let said = target.output();
    assert!(
        said.contains("log directory goes offline") && said.contains(&format!("dir={}", second.display()))
    );
    target.kill().unwrap();
    disk.cut_power();
    target.restart().unwrap();
    let mut session = Session::open(&target);
    for partition in 0..PARTITIONS {
        let found = values_of(&mut session, "spread", partition);
        assert_eq!(found[0], "before");
        assert!(lost.contains(&partition) || found[1..] == ["meanwhile"], "{partition}: {found:?}");
    }
    assert_eq!(values_of(&mut session, "new-meanwhile", 1), ["meanwhile"]);
    target.kill().unwrap();
}

#[test]
fn a_directory_that_vanishes_is_noticed_not_made_anew_and_complete_when_it_is_back() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let Some(mut target) = start(root.path(), &first, &second) else { return };
    let mut session = Session::open(&target);
    let lost = partitions_in(&mut session, &second).unwrap();
    let away = root.path().join("away");
    fs::rename(&second, &away).unwrap();
    // What is acknowledged before it is noticed goes where the directory went.
    let mut taken = vec!["before".to_owned()];
    wait_until("the directory to be missed", LIMIT, || {
        let value = taken.len().to_string();
        let code = try_append(&mut session, "spread", lost[0], &value);
        if code == ErrorCode::None {
            taken.push(value);
        }
        Ok((code == ErrorCode::KafkaStorageError).then_some(()))
    })
    .unwrap();
    only_these_are_offline(&mut session, &lost, "meanwhile");
    // An empty directory in its place does not make its partitions empty.
    target.kill().unwrap();
    target.restart().unwrap();
    let mut session = Session::open(&target);
    only_these_are_offline(&mut session, &lost, "still");
    assert!(target.output().contains("its directory is gone"));
    target.kill().unwrap();
    fs::remove_dir_all(&second).unwrap();
    fs::rename(&away, &second).unwrap();
    target.restart().unwrap();
    let mut session = Session::open(&target);
    assert_eq!(values_of(&mut session, "spread", lost[0]), taken);
    assert_eq!(values_of(&mut session, "spread", lost[1]), ["before"]);
}

#[test]
fn the_directory_with_the_metadata_is_needed() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (root.path().join("first"), root.path().join("second"));
    let Some(mut target) = start(root.path(), &first, &second) else { return };
    fs::rename(&first, root.path().join("away")).unwrap();
    assert_eq!(target.wait_end().unwrap().code(), Some(1));
    let said = target.output();
    assert!(said.contains("the log directory with the metadata is not usable any more"), "{said}");
    fs::rename(root.path().join("away"), &first).unwrap();
    target.restart().unwrap();
    let mut session = Session::open(&target);
    for partition in 0..PARTITIONS {
        assert_eq!(values_of(&mut session, "spread", partition), ["before"]);
    }
}
