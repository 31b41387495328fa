//! Batches that are small on the wire and huge when they are opened. Kafka takes them, record by record.

use std::thread;

use bytes::Bytes;
use millstream_protocol::messages::ProduceRequest;
use millstream_record::{BatchOptions, Compression};
use millstream_testkit::{Connection, Target, TargetOptions};
use millstream_types::ErrorCode;

use super::{Siege, scaled};
use crate::session::{Session, batch, batch_with, code, now_ms, produce_request};

/// What the codecs make of so much still fits into the million bytes that a topic allows.
const BOMBS: [(Compression, usize); 4] = [
    (Compression::Gzip, 100 << 20),
    (Compression::Snappy, 20 << 20),
    (Compression::Lz4, 100 << 20),
    (Compression::Zstd, 100 << 20),
];
/// At once.
const ATTACKERS_MAX: usize = 6;
const TOPIC: &str = "bombs";
/// Of the record with the largest timestamp, for which the batch is opened again.
const MAX_TIMESTAMP: i64 = -3;

fn bomb((codec, plain_bytes): (Compression, usize)) -> Bytes {
    batch_with(BatchOptions { compression: codec, ..Default::default() }, &[vec![0; plain_bytes]])
}

#[test]
fn a_batch_that_opens_to_a_hundred_times_its_size_is_taken_without_being_held_open() {
    let siege = Siege::begin("decompression bombs", TargetOptions::default());
    Session::open(&siege.target).topic(TOPIC, &[]);
    let bombs = BOMBS.map(bomb);
    siege.attack(|target| {
        thread::scope(|scope| {
            for _ in 0..scaled(2).min(ATTACKERS_MAX) {
                scope.spawn(|| {
                    let mut session = Session::open(target);
                    for bomb in &bombs {
                        let answer = session.produce(TOPIC, 0, bomb.clone());
                        assert_eq!(code(answer.error_code), ErrorCode::None, "{answer:?}");
                        let found = session.list_offset(TOPIC, 0, MAX_TIMESTAMP);
                        assert_eq!(code(found.error_code), ErrorCode::None);
                    }
                });
            }
        });
    });
}

/// Though others judge it than whoever takes the requests.
#[test]
fn a_batch_that_takes_long_to_judge_keeps_its_place_among_the_requests_of_its_connection() {
    let target = Target::start(TargetOptions::default()).unwrap();
    let mut session = Session::open(&target);
    session.topic(TOPIC, &[]);
    session.topic("keyed", &[("cleanup.policy", "compact")]);
    let bomb = bomb((Compression::Lz4, 50 << 20));
    for acks in [-1, 1] {
        for records in [bomb.clone(), batch(&["small"]), bomb.clone()] {
            session.0.send(9, &produce_request(acks, TOPIC, 0, records)).unwrap();
        }
    }
    // Without an answer of its own.
    session.0.send(9, &produce_request(0, TOPIC, 0, bomb.clone())).unwrap();
    session.0.send(9, &produce_request(-1, TOPIC, 0, batch(&["small"]))).unwrap();
    let offsets = [0, 1, 2, 3, 4, 5, 7].map(|expected| {
        let (_, response) = session.0.receive::<ProduceRequest>(9).unwrap();
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(code(partition.error_code), ErrorCode::None, "{partition:?}");
        (partition.base_offset, expected)
    });
    assert!(offsets.iter().all(|(offset, expected)| offset == expected), "{offsets:?}");
    let found = session.list_offset(TOPIC, 0, now_ms() - 60_000);
    assert_eq!((code(found.error_code), found.offset), (ErrorCode::None, 0));

    // What is wrong with it is told as ever; without an answer, by closing the connection.
    let answer = session.produce("keyed", 0, bomb.clone());
    assert_eq!(code(answer.error_code), ErrorCode::InvalidRecord, "{answer:?}");
    let mut unanswered = Connection::open(target.bootstrap()).unwrap();
    unanswered.send(9, &produce_request(0, "keyed", 0, bomb)).unwrap();
    unanswered.expect_close().unwrap();
}
