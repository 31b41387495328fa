//! A disk that answers with an I/O error: the log directory goes offline, and as it was the only one the broker
//! ends, saying why.

use millstream_sim::disk::DiskError;
use millstream_types::ErrorCode;

use crate::{
    mounted::Machine,
    session::{Session, batch, code, fetch_request, produce_request},
};

#[test]
fn a_disk_that_does_not_write_ends_the_broker_and_what_was_acknowledged_is_there_afterwards() {
    for (seed, error) in (0..).zip([DiskError::Write, DiskError::Sync]) {
        let Some(mut machine) = Machine::start("a disk that fails", seed, &[]) else { return };
        let mut session = Session::open(&machine.target);
        session.topic("fails", &[]);
        session.append("fails", 0, batch(&["before"]));
        machine.disk.disk().arm_error(error, 0);
        // A tick may meet the error first, and the broker be gone before it answers.
        if let Ok(mut answer) = session.0.call(9, &produce_request(-1, "fails", 0, batch(&["lost"]))) {
            let answer = answer.responses.remove(0).partition_responses.remove(0);
            assert_eq!(code(answer.error_code), ErrorCode::KafkaStorageError, "{error:?}");
        }
        ends_and_says_why(&mut machine);
        // Without a reboot, and then with one.
        machine.target.restart().unwrap();
        let values = Session::open(&machine.target).values("fails");
        assert_eq!(values[0], "before");
        Session::open(&machine.target).append("fails", 0, batch(&["after"]));
        machine.target.kill().unwrap();
        machine.disk.cut_power();
        machine.target.restart().unwrap();
        let found = Session::open(&machine.target).values("fails");
        assert_eq!(found, [&values[..], &["after".to_owned()]].concat(), "{error:?}: what was seen stays");
    }
}

#[test]
fn a_disk_that_does_not_read_ends_the_broker() {
    let Some(mut machine) = Machine::start("a disk that does not read", 3, &[]) else { return };
    let mut session = Session::open(&machine.target);
    session.topic("fails", &[("segment.bytes", "1048576")]);
    let values: Vec<String> = (0..4).map(|n| n.to_string().repeat(700_000)).collect();
    for value in &values {
        session.append("fails", 0, batch(&[value]));
    }
    // Nothing is in the kernel's memory afterwards, and a start in order reads no old segments.
    machine.target.stop().unwrap();
    machine.disk.cut_power();
    machine.target.restart().unwrap();
    let mut session = Session::open(&machine.target);
    machine.disk.disk().arm_error(DiskError::Read, 0);
    if let Ok(answer) = session.0.call(12, &fetch_request("fails", &[(0, 0)])) {
        let code = code(answer.responses[0].partitions[0].error_code);
        assert_eq!(code, ErrorCode::KafkaStorageError);
    }
    ends_and_says_why(&mut machine);
    machine.target.restart().unwrap();
    let mut session = Session::open(&machine.target);
    for (offset, value) in (0..).zip(&values) {
        assert_eq!(&crate::session::values(&session.fetch("fails", offset))[0], value);
    }
}

fn ends_and_says_why(machine: &mut Machine) {
    let ended = machine.target.wait_end().unwrap();
    assert_eq!(ended.code(), Some(1));
    let said = machine.target.output();
    assert!(said.contains("no log directory is usable any more") && said.contains("os error 5"), "{said}");
}
