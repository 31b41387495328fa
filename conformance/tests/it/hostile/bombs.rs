//! Batches that are small on the wire and huge when they are opened. Kafka takes them, record by record.

use std::thread;

use bytes::Bytes;
use millstream_record::{BatchOptions, Compression};
use millstream_testkit::TargetOptions;
use millstream_types::ErrorCode;

use super::{Siege, scaled};
use crate::session::{Session, batch_with, code};

/// What the codecs make of so much still fits into the million bytes that a topic allows.
const BOMBS: [(Compression, usize); 4] = [
    (Compression::Gzip, 100 << 20),
    (Compression::Snappy, 20 << 20),
    (Compression::Lz4, 100 << 20),
    (Compression::Zstd, 100 << 20),
];
/// At once.
const ATTACKERS_MAX: usize = 4;
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
            for _ in 0..scaled(1).min(ATTACKERS_MAX) {
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
