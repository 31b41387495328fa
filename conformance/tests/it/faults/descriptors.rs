//! As many partitions as the process may have files open: more are refused, and so many work, also through
//! checkpoints, kills and restarts. What needs a file when there is none left fails and says so, what is open goes on,
//! and when others have gone everything works, without a restart.

use std::{net::TcpStream, time::Duration};

use millstream_testkit::{Running, Target, TargetOptions, wait_until};
use millstream_types::ErrorCode;

use super::{create, delete, partitions_that_take, try_append, wait_until_it_takes};
use crate::{
    mounted::asks_kafka,
    session::{Session, batch},
};

const FILES: i32 = 200;
/// Nearly as many as may be.
const MANY: i32 = FILES / 2 - 5;

/// As many as the broker takes.
fn connections(target: &Running) -> Vec<TcpStream> {
    let connections = (0..FILES).map(|_| TcpStream::connect(target.bootstrap()).unwrap()).collect();
    wait_until("a connection to be refused", Duration::from_secs(30), || {
        Ok(target.output().contains("connection refused").then_some(()))
    })
    .unwrap();
    connections
}

fn with_few_files() -> Running {
    Target::start(TargetOptions::default().open_files(FILES as usize)).unwrap()
}

#[test]
fn a_want_of_file_descriptors_leaves_alone_what_is_open_and_passes() {
    if asks_kafka("a want of file descriptors") {
        return;
    }
    let mut target = with_few_files();
    let mut session = Session::open(&target);
    session.topic("open", &[]);
    session.append("open", 0, batch(&["before"]));
    let others = connections(&target);
    assert_eq!(create(&mut session, "many", MANY), ErrorCode::None);
    let taking = partitions_that_take(&mut session, "many", MANY, "first");
    assert!(taking > 0 && taking < MANY / 2, "{taking}");
    assert_eq!(try_append(&mut session, "open", 0, "meanwhile"), ErrorCode::None);
    assert_eq!(session.values("open"), ["before", "meanwhile"]);
    let said = target.output();
    assert!(said.contains("no file descriptor is left") && !said.contains("is offline"), "{said}");
    drop(others);
    for partition in 0..MANY {
        wait_until_it_takes(&mut session, "many", partition, "later");
    }
    target.restart().unwrap();
    let mut session = Session::open(&target);
    assert_eq!(session.values("open"), ["before", "meanwhile"]);
    assert_eq!(session.values("many").last().unwrap(), "later");
}

#[test]
fn as_many_partitions_as_may_be_outlive_kills_and_no_more_are_created() {
    if asks_kafka("a bound of partitions by the limit of open files") {
        return;
    }
    let mut target = with_few_files();
    let mut session = Session::open(&target);
    assert_eq!(create(&mut session, "more", FILES), ErrorCode::PolicyViolation);
    for topic in ["first", "second"] {
        assert_eq!(create(&mut session, topic, MANY), ErrorCode::None);
        assert_eq!(partitions_that_take(&mut session, topic, MANY, "before"), MANY);
        // With files of all of them to write again and to sync.
        target.kill().unwrap();
        target.restart().unwrap();
        session = Session::open(&target);
        assert_eq!(partitions_that_take(&mut session, topic, MANY, "after"), MANY);
        target.restart().unwrap();
        session = Session::open(&target);
        assert_eq!(session.values(topic), ["before", "after"]);
        assert_eq!(create(&mut session, "more", MANY), ErrorCode::PolicyViolation);
        assert_eq!(delete(&mut session, topic), ErrorCode::None);
    }
    let said = target.output();
    assert!(!said.contains("file descriptor"), "{said}");
}
