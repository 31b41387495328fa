//! A full disk: clients' records are refused with a code that lets them try again, all else goes on as long as
//! the reserve lasts, and everything goes on once there is space.

use std::fs;

use millstream_testkit::wait_until;
use millstream_types::ErrorCode;

use super::{LIMIT, create, delete, try_append, wait_until_it_takes};
use crate::{
    dynamic::{TOPIC, alter_resource},
    mounted::Machine,
    semantics::{
        committed::{commit, commit_request, committed},
        groups::find_coordinator,
        offsets::delete_records,
    },
    session::{Session, batch, code},
};

/// What the broker sets aside, and gives up when the disk is full.
const RESERVE_BYTES: u64 = 16 << 20;

#[test]
fn a_full_disk_refuses_records_lets_all_else_go_on_and_passes() {
    let Some(mut machine) = Machine::start("a full disk", 1, &[]) else { return };
    let mut session = Session::open(&machine.target);
    session.topic("full", &[]);
    session.topic("full-old", &[]);
    find_coordinator(&mut session, "full");
    session.append("full", 0, batch(&["before"]));
    machine.disk.disk().set_free(Some(0));
    for _ in 0..5 {
        assert_eq!(try_append(&mut session, "full", 0, "refused"), ErrorCode::KafkaStorageError);
    }
    assert_eq!(session.values("full"), ["before"]);
    // The reserve is for these.
    assert_eq!(commit(&mut session, &commit_request("full", "full", 0, 7)), ErrorCode::None);
    session.topic("full-new", &[]);
    assert_eq!(delete(&mut session, "full-old"), ErrorCode::None);
    assert_eq!(try_append(&mut session, "full", 0, "refused"), ErrorCode::KafkaStorageError);
    assert_eq!(try_append(&mut session, "full-new", 0, "refused"), ErrorCode::KafkaStorageError);
    // Without any space it cannot be started, and says where it is missing.
    machine.target.kill().unwrap();
    machine.disk.disk().set_free(Some(0));
    machine.target.restart().unwrap_err();
    assert_eq!(machine.target.wait_end().unwrap().code(), Some(1));
    let said = machine.target.output();
    assert!(said.contains("No space left on device") && said.contains("quorum-state"), "{said}");
    // With what the reserve has left it can, and refuses records as before.
    machine.disk.disk().set_free(Some(RESERVE_BYTES));
    machine.target.restart().unwrap();
    let mut session = Session::open(&machine.target);
    assert_eq!(session.values("full"), ["before"]);
    assert_eq!(try_append(&mut session, "full", 0, "refused"), ErrorCode::KafkaStorageError);
    machine.disk.disk().set_free(None);
    wait_until_it_takes(&mut session, "full", 0, "after");
    session.append("full-new", 0, batch(&["new"]));
    machine.target.kill().unwrap();
    machine.disk.cut_power();
    machine.target.restart().unwrap();
    let mut session = Session::open(&machine.target);
    assert_eq!(session.values("full"), ["before", "after"]);
    assert_eq!(session.values("full-new"), ["new"]);
    find_coordinator(&mut session, "full");
    assert_eq!(committed(&mut session, "full", "full", 0).committed_offset, 7);
    assert_eq!(code(session.describe("full-old").error_code), ErrorCode::UnknownTopicOrPartition);
}

/// With the reserve gone as well there may be room for what the metadata says of a topic and none for its
/// partitions.
#[test]
fn a_topic_created_on_a_full_disk_works_without_a_restart_once_there_is_space() {
    const PARTITIONS: i32 = 100;
    let Some(mut machine) = Machine::start("a topic on a full disk", 2, &[]) else { return };
    let mut session = Session::open(&machine.target);
    let metadata_log = machine.target.log_dir().join("__cluster_metadata-0/00000000000000000000.log");
    let metadata_bytes = || fs::metadata(&metadata_log).unwrap().len();
    let before = metadata_bytes();
    session.topic_of("old", PARTITIONS, &[]);
    let topic_bytes = metadata_bytes() - before;
    machine.disk.disk().set_free(Some(0));
    assert_eq!(try_append(&mut session, "old", 0, "refused"), ErrorCode::KafkaStorageError);
    // Enough for some of the partitions' files.
    machine.disk.disk().set_free(Some(topic_bytes + 500));
    assert_eq!(create(&mut session, "new", PARTITIONS), ErrorCode::None);
    let last = PARTITIONS - 1;
    assert!(!machine.target.log_dir().join(format!("new-{last}/partition.metadata")).exists());
    for partition in [0, last] {
        assert_eq!(try_append(&mut session, "new", partition, "refused"), ErrorCode::KafkaStorageError);
    }
    assert_eq!(session.describe("new").partitions.len(), 100);
    machine.disk.disk().set_free(None);
    for partition in 0..PARTITIONS {
        wait_until_it_takes(&mut session, "new", partition, "taken");
    }
    machine.target.kill().unwrap();
    machine.disk.cut_power();
    machine.target.restart().unwrap();
    let mut session = Session::open(&machine.target);
    for partition in 0..PARTITIONS {
        let data = session.fetch_partition("new", partition, 0);
        assert_eq!(crate::session::values(&data), ["taken"], "{partition}");
    }
}

/// What makes room works on what the reserve has left: old segments go, by retention and by DeleteRecords.
#[test]
fn retention_and_deleted_records_make_room_on_a_full_disk() {
    const EARLIEST: i64 = -2;
    const RECORDS: i64 = 6;
    /// Less than a segment.
    const FREED_BYTES_MIN: u64 = 900_000;
    let often = ["--set", "log.retention.check.interval.ms=500"];
    let Some(machine) = Machine::start("making room on a full disk", 3, &often) else { return };
    let mut session = Session::open(&machine.target);
    let small = [("segment.bytes", "1048576"), ("file.delete.delay.ms", "100"), ("retention.bytes", "-1")];
    for topic in ["retained", "deleted"] {
        session.topic(topic, &small);
        for _ in 0..RECORDS {
            session.append(topic, 0, batch(&[vec![b'x'; 500_000]]));
        }
    }
    let earliest = |session: &mut Session, topic: &str| session.list_offset(topic, 0, EARLIEST).offset;
    machine.disk.disk().set_free(Some(0));
    assert_eq!(try_append(&mut session, "retained", 0, "refused"), ErrorCode::KafkaStorageError);
    let free = || machine.disk.disk().space().1;
    let before = free();
    let deleted = delete_records(&mut session, "deleted", 0, RECORDS - 1);
    assert_eq!((code(deleted.error_code), deleted.low_watermark), (ErrorCode::None, RECORDS - 1));
    assert_eq!(earliest(&mut session, "deleted"), RECORDS - 1);
    wait_until("its segments to go", LIMIT, || Ok((free() > before + FREED_BYTES_MIN).then_some(())))
        .unwrap();

    let before = free();
    let retention = alter_resource(&mut session, TOPIC, "retained", "retention.bytes", Some("1100000"));
    assert_eq!(retention, ErrorCode::None);
    wait_until("retention on a full disk", LIMIT, || Ok((free() > before + FREED_BYTES_MIN).then_some(())))
        .unwrap();
    assert!(earliest(&mut session, "retained") > 0);
    machine.disk.disk().set_free(None);
    wait_until_it_takes(&mut session, "retained", 0, "after");
}
