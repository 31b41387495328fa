//! Whoever meets with a limit is counted under its key, and told in the log where that is not everyday life. What the
//! limits do is elsewhere, for most on Apache Kafka too: in `dynamic`, `semantics::connection`, `bytes` and `slow`.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use millstream_protocol::messages::ApiVersionsRequest;
use millstream_testkit::{Connection, Kind, Running, Target, TargetOptions, wait_until};

use crate::session::Session;

const LIMIT: Duration = Duration::from_secs(30);

/// `None` where the target is Apache Kafka, whose metrics and log are its own.
fn start_with(key: &str, value: u64) -> Option<Running> {
    (Kind::from_env().unwrap() == Kind::Millstream)
        .then(|| Target::start(TargetOptions::default().set(key, value)).unwrap())
}

/// How often the limit that the key sets was met, by the broker's own count.
fn times_met(target: &Running, key: &str) -> u64 {
    target.metric(&format!("millstream_connections_limited_total{{limit=\"{key}\"}}")).unwrap()
}

fn wait_until_met(target: &Running, key: &str) {
    wait_until(key, LIMIT, || Ok((times_met(target, key) > 0).then_some(()))).unwrap();
}

fn wait_until_told(target: &Running, words: &str) {
    wait_until(words, LIMIT, || Ok(target.output().contains(words).then_some(()))).unwrap();
}

fn open(target: &Running) -> Connection {
    Connection::open(target.bootstrap()).unwrap()
}

fn open_and_use<const COUNT: usize>(target: &Running) -> [Connection; COUNT] {
    let mut opened = [(); COUNT].map(|()| open(target));
    for connection in &mut opened {
        connection.call(0, &ApiVersionsRequest::default()).unwrap();
    }
    opened
}

#[test]
fn who_waits_for_max_connections_is_counted_and_told() {
    let Some(target) = start_with("max.connections", 2) else { return };
    let held = open_and_use::<2>(&target);
    let mut third = open(&target);
    third.send(0, &ApiVersionsRequest::default()).unwrap();
    wait_until_met(&target, "max.connections");
    wait_until_told(&target, "connections wait for others to close: max.connections is 2");
    drop(held);
    third.receive::<ApiVersionsRequest>(0).unwrap();
}

#[test]
fn refused_connections_are_all_counted_and_told_now_and_then() {
    const REFUSED: u64 = 200;
    const PAUSE: Duration = Duration::from_secs(5);
    const KEY: &str = "max.connections.per.ip";
    let Some(target) = start_with(KEY, 2) else { return };
    let _held = open_and_use::<2>(&target);
    let began = Instant::now();
    for _ in 0..REFUSED {
        open(&target).expect_close().unwrap();
    }
    let lines_max = 1 + (began.elapsed().as_secs() / PAUSE.as_secs()) as usize;
    let lines = target.output().matches("connection refused: max.connections.per.ip is 2").count();
    assert!((1..=lines_max).contains(&lines), "{lines} lines: {}", target.output());
    assert_eq!(times_met(&target, KEY), REFUSED);
}

#[test]
fn who_is_delayed_by_max_connection_creation_rate_is_counted() {
    let Some(target) = start_with("max.connection.creation.rate", 1) else { return };
    // Ten may come at once.
    let connections: Vec<_> = (0..20).map(|_| TcpStream::connect(target.bootstrap()).unwrap()).collect();
    wait_until_met(&target, "max.connection.creation.rate");
    drop(connections);
}

#[test]
fn who_announces_more_than_socket_request_max_bytes_is_counted_and_told() {
    const KEY: &str = "socket.request.max.bytes";
    let Some(target) = start_with(KEY, 1_000) else { return };
    let (mut allowed, mut refused) = (open(&target), open(&target));
    allowed.send_bytes(&1_000_i32.to_be_bytes()).unwrap();
    refused.send_bytes(&1_001_i32.to_be_bytes()).unwrap();
    refused.expect_close().unwrap();
    wait_until_told(&target, "a frame of 1001 bytes was announced; socket.request.max.bytes is 1000");
    assert_eq!(times_met(&target, KEY), 1);
}

#[test]
fn who_is_closed_after_connections_max_idle_ms_is_counted() {
    let Some(target) = start_with("connections.max.idle.ms", 500) else { return };
    open(&target).expect_close().unwrap();
    wait_until_met(&target, "connections.max.idle.ms");
}

/// Two requests that do not come whole and for which there is not room together: while one waits, the other is given
/// up.
#[test]
fn who_is_given_up_for_queued_max_request_bytes_is_counted_and_told() {
    const KEY: &str = "queued.max.request.bytes";
    const LENGTH: usize = 90_000;
    let Some(target) = start_with(KEY, 100_000) else { return };
    let mut unfinished = (LENGTH as i32).to_be_bytes().to_vec();
    unfinished.resize(LENGTH, 0);
    let mut connections = [(); 2].map(|()| open(&target));
    for connection in &mut connections {
        connection.send_bytes(&unfinished).unwrap();
    }
    wait_until_met(&target, KEY);
    wait_until_told(&target, "a request took too long to come");
    assert_eq!(Session::open(&target).metadata(None, false).brokers.len(), 1);
}
