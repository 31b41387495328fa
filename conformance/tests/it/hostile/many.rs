//! More connections than anybody needs.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use millstream_protocol::messages::ApiVersionsRequest;
use millstream_testkit::{Connection, Kind, Target, TargetOptions, wait_until};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::{Siege, scaled};
use crate::session::{Session, batch};

/// With those of the tests that run beside this one.
const OTHER_FILES: u64 = 2_000;

#[test]
fn many_connections_are_served_and_cost_little() {
    let count = scaled(1_000);
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let possible = limit.maximum.unwrap_or(u64::MAX);
    assert!(count as u64 + OTHER_FILES <= possible, "{count} connections need more than {possible} files");

    let siege = Siege::begin("many connections", TargetOptions::default());
    let mut connections = siege.attack(|target| {
        let open = |_| {
            let mut connection = Connection::open(target.bootstrap()).unwrap();
            connection.call(0, &ApiVersionsRequest::default()).unwrap();
            connection
        };
        (0..count).map(open).collect::<Vec<_>>()
    });
    for connection in &mut connections {
        assert_eq!(connection.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
    }
}

#[test]
fn whoever_behaves_is_served_while_connections_come_and_go_without_end() {
    const ATTACKERS: usize = 4;
    let siege = Siege::begin("connections that come and go", TargetOptions::default());
    siege.attack(|target| {
        let flood = || {
            for index in 0..scaled(500) {
                match index % 3 {
                    0 => drop(TcpStream::connect(target.bootstrap()).unwrap()),
                    1 => drop(TcpStream::connect(target.bootstrap()).unwrap().write_all(b"GET / HTTP/1.1")),
                    _ => {
                        let mut connection = Connection::open(target.bootstrap()).unwrap();
                        assert_eq!(connection.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
                    }
                }
            }
        };
        thread::scope(|scope| (0..ATTACKERS).for_each(|_| drop(scope.spawn(flood))));
    });
}

/// Apache Kafka is not asked: a JVM with so few does not start.
#[test]
fn connections_leave_descriptors_to_the_logs() {
    const FILES: usize = 400;
    if Kind::from_env().unwrap() == Kind::Kafka {
        return;
    }
    let target = Target::start(TargetOptions::default().open_files(FILES)).unwrap();
    let mut session = Session::open(&target);
    session.topic("before", &[]);
    let connections: Vec<_> = (0..FILES).map(|_| TcpStream::connect(target.bootstrap()).unwrap()).collect();
    wait_until("connections to be refused", Duration::from_secs(30), || {
        Ok(target.output().contains("ulimit -n").then_some(()))
    })
    .unwrap();
    session.topic("meanwhile", &[]);
    for topic in ["before", "meanwhile"] {
        assert_eq!(session.append(topic, 0, batch(&["x"])), 0);
    }
    drop(connections);
    wait_until("a connection to be served", Duration::from_secs(30), || {
        let served =
            Connection::open(target.bootstrap()).and_then(|mut c| c.call(0, &ApiVersionsRequest::default()));
        Ok(served.is_ok().then_some(()))
    })
    .unwrap();
    assert!(!target.output().contains("goes offline"), "{}", target.output());
}
