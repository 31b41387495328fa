//! Open, committed and aborted transactions as readers of committed records see them.

use std::sync::Arc;

use bytes::Bytes;
use millstream_log::{AbortedTxn, Isolation, Log, LogConfig, LogDirs, Origin, ReadRequest};
use millstream_record::{
    batch::{BatchOptions, ProducerInfo},
    control::{ControlType, EndTransactionMarker},
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::support::*;

pub(crate) fn transactional(id: i64, epoch: i16, sequence: i32, count: usize) -> Bytes {
    let producer = Some(producer(id, epoch, sequence));
    batch(BatchOptions { producer, transactional: true, ..BatchOptions::default() }, count, 10)
}

fn marker(id: i64, epoch: i16, kind: ControlType, coordinator_epoch: i32) -> Bytes {
    let producer = ProducerInfo { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence: None };
    EndTransactionMarker { kind, coordinator_epoch }.to_batch(producer, LeaderEpoch(0), NOW)
}

pub(crate) fn end(log: &Arc<Log>, id: i64, kind: ControlType) {
    let origin = Origin::TransactionMarker { transaction_version: 0 };
    log.append(marker(id, 0, kind, 0), options(origin)).unwrap();
}

fn manual(data: &Data) -> LogDirs {
    LogDirs::open(millstream_log::OpenOptions { committer_threads: false, ..data.options() }).unwrap()
}

fn aborted(log: &Log, offset: i64, max_bytes: usize) -> Vec<(i64, i64, i64)> {
    let request = ReadRequest {
        offset: Offset(offset),
        max_bytes,
        at_least_one: true,
        isolation: Isolation::ReadCommitted,
    };
    let plain = |txn: &AbortedTxn| (txn.producer_id.0, txn.first_offset.0, txn.last_offset.0);
    log.read(request).unwrap().aborted.iter().map(plain).collect()
}

#[test]
fn the_last_stable_offset_is_where_the_first_open_transaction_begins() {
    let data = Data::new();
    let dirs = manual(&data);
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(2, 10));
    append(&log, transactional(1, 0, 0, 2));
    append(&log, transactional(2, 0, 0, 2));
    append(&log, plain(2, 10));
    dirs.flush();
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (Offset(2), Offset(8)));
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadCommitted)), [0, 1]);
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadUncommitted)).len(), 8);
    end(&log, 1, ControlType::Commit);
    assert_eq!(log.last_stable_offset(), Offset(2), "the marker is not durable yet");
    dirs.flush();
    assert_eq!(log.last_stable_offset(), Offset(4));
    end(&log, 2, ControlType::Commit);
    dirs.flush();
    assert_eq!(log.last_stable_offset(), Offset(10));
    assert_eq!(offsets(&read_all(&log, 0, Isolation::ReadCommitted)).len(), 10);
    assert_eq!(aborted(&log, 0, 1 << 20), []);
}

#[test]
fn aborted_transactions_are_named_where_their_records_are_read() {
    let data = Data::new();
    let dirs = manual(&data);
    // Small segments, so that a transaction's records and its marker lie far apart.
    let log = create(&dirs, LogConfig { segment_bytes: 300, ..LogConfig::default() });
    append(&log, transactional(1, 0, 0, 1)); // 0
    append(&log, transactional(2, 0, 0, 1)); // 1
    for _ in 0..5 {
        append(&log, plain(1, 50)); // 2..=6
    }
    append(&log, transactional(1, 0, 1, 1)); // 7
    end(&log, 2, ControlType::Abort); // 8
    end(&log, 1, ControlType::Abort); // 9
    append(&log, plain(1, 50)); // 10
    dirs.flush();
    assert!(log.segment_count() > 2);
    assert_eq!(log.last_stable_offset(), Offset(11));
    let check = |log: &Log| {
        assert_eq!(aborted(log, 0, 1), [(1, 0, 9)]);
        assert_eq!(aborted(log, 1, 1), [(1, 0, 9), (2, 1, 8)]);
        assert_eq!(aborted(log, 3, 1), [(1, 0, 9), (2, 1, 8)]);
        assert_eq!(aborted(log, 9, 1), [(1, 0, 9)]);
        assert_eq!(aborted(log, 10, 1), []);
    };
    check(&log);
    dirs.close(NOW);
    drop((log, dirs));
    let dirs = manual(&data);
    check(&dirs.get(&partition()).unwrap());
    drop(dirs);
    let dirs = manual(&data);
    assert!(!dirs.recovery().clean);
    check(&dirs.get(&partition()).unwrap());
}

#[test]
fn an_open_transaction_survives_a_crash_and_a_clean_restart() {
    let data = Data::new();
    let dirs = manual(&data);
    let log = create(&dirs, LogConfig::default());
    append(&log, plain(1, 10));
    append(&log, transactional(1, 0, 0, 2));
    dirs.flush();
    drop((log, dirs));
    let dirs = manual(&data);
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(log.last_stable_offset(), Offset(1));
    dirs.close(NOW);
    drop((log, dirs));
    let dirs = manual(&data);
    let log = dirs.get(&partition()).unwrap();
    assert_eq!(log.last_stable_offset(), Offset(1));
    assert_eq!(log.active_producers()[0].current_txn_start_offset, Some(Offset(1)));
    end(&log, 1, ControlType::Abort);
    dirs.flush();
    assert_eq!(log.last_stable_offset(), Offset(4));
    assert_eq!(aborted(&log, 0, 1 << 20), [(1, 1, 3)]);
}

#[test]
fn markers_of_zombies_and_plain_writes_in_a_transaction_are_refused() {
    let data = Data::new();
    let dirs = manual(&data);
    let log = create(&dirs, LogConfig::default());
    append(&log, transactional(1, 4, 0, 1));
    let code = |bytes, origin| log.append(bytes, options(origin)).unwrap_err().error_code();
    let v0 = Origin::TransactionMarker { transaction_version: 0 };
    let v2 = Origin::TransactionMarker { transaction_version: 2 };
    assert_eq!(code(produced(1, 4, 1, 1), Origin::Client), ErrorCode::InvalidTxnState);
    assert_eq!(code(marker(1, 3, ControlType::Commit, 0), v0), ErrorCode::InvalidProducerEpoch);
    assert_eq!(code(marker(1, 4, ControlType::Commit, 0), v2), ErrorCode::InvalidProducerEpoch);
    log.append(marker(1, 5, ControlType::Commit, 7), options(v2)).unwrap();
    // The same marker again, after an answer that was lost.
    log.append(marker(1, 5, ControlType::Commit, 7), options(v2)).unwrap();
    append(&log, transactional(1, 5, 0, 1));
    assert_eq!(code(marker(1, 5, ControlType::Commit, 6), v0), ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(code(marker(1, 5, ControlType::Commit, 7), Origin::Client), ErrorCode::InvalidRecord);
}
