//! Bytes that are no request: each closes its connection at once, or is waited for without costing anything.

use std::time::Duration;

use millstream_testkit::{Connection, Kind, TargetOptions};

use super::{Siege, is_too_much_for_the_target, scaled};
use crate::session::{Session, frame};

const CLOSE_LIMIT: Duration = Duration::from_secs(20);

/// A version 3 handshake as OpenSSL begins it.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(517, 0xa5);
    hello
}

fn announced(length: i32, body: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), body].concat()
}

fn rows() -> Vec<(&'static str, Vec<u8>)> {
    let billion = 0x4000_0000_u32.to_be_bytes();
    // No topics, nothing forgotten, no rack; the tag is the replica state's.
    let tagged = [&[0xff; 4][..], &[0; 21], &[1, 1, 1], &[1, 1, 1, 0]].concat();
    let fetch = [&[0xff; 4], &[0, 0, 0, 1], &[0, 0, 0, 1], &[0, 0, 0, 1], &[0][..], &billion].concat();
    vec![
        ("a frame of 2^31-1 bytes", announced(i32::MAX, b"x")),
        ("a frame of 1 GB", announced(1 << 30, &[0; 1000])),
        ("a frame of -1 bytes", announced(-1, b"x")),
        ("a frame of -2^31 bytes", announced(i32::MIN, b"x")),
        ("a frame without a header", announced(0, b"")),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("another one", b"POST /topics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
        ("a TLS handshake", client_hello()),
        ("an SSH banner", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec()),
        ("Metadata v0 with 54 million topics", frame(3, 0, 1, &[0x03, 0x3c, 0x0c, 0x00, 0xb6])),
        ("Metadata v1 with 2^30 topics", frame(3, 1, 1, &billion)),
        ("CreateTopics v2 with 2^30 topics", frame(19, 2, 1, &billion)),
        ("Fetch v4 of 2^30 topics", frame(1, 4, 1, &fetch)),
        ("Fetch v12 with a tag of version 15", frame(1, 12, 2, &tagged)),
        ("Metadata v12 with 2^28 topics", frame(3, 12, 2, &[0xff, 0xff, 0xff, 0xff, 0x01])),
        ("an API key that does not exist", frame(9999, 0, 1, &[])),
    ]
}

#[test]
fn what_is_no_request_closes_its_connection() {
    let siege = Siege::begin("bytes that are no request", TargetOptions::default());
    siege.attack(|target| {
        for _ in 0..scaled(5) {
            for (what, bytes) in rows() {
                let mut connection = Connection::open(target.bootstrap()).unwrap();
                connection.set_answer_limit(CLOSE_LIMIT).unwrap();
                connection.send_bytes(&bytes).unwrap();
                connection.expect_close().unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
    });
    if siege.target.kind() == Kind::Millstream {
        let said = siege.target.output();
        for hint in ["socket.request.max.bytes is 104857600", "looks like HTTP", "looks like TLS"] {
            assert!(said.contains(hint), "{hint}: {said}");
        }
    }
}

#[test]
fn frames_that_are_announced_and_do_not_come_cost_nothing() {
    if is_too_much_for_the_target("frames_that_are_announced_and_do_not_come_cost_nothing") {
        return;
    }
    let siege = Siege::begin("announced frames", TargetOptions::default());
    let held = siege.attack(|target| {
        let half = (0..scaled(200)).map(|_| [0, 0, 0, 100, 0, 3].to_vec());
        let large = (0..scaled(20)).map(|_| announced(100_000_000, &[0, 3, 0, 1]));
        let open = |bytes: Vec<u8>| {
            let mut connection = Connection::open(target.bootstrap()).unwrap();
            connection.send_bytes(&bytes).unwrap();
            connection
        };
        half.chain(large).map(open).collect::<Vec<_>>()
    });
    assert!(!Session::open(&siege.target).metadata(None, false).brokers.is_empty());
    drop(held);
}
