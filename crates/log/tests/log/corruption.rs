//! Bits that flip in any file: the log may go offline or refuse to read, but never serves a record at a wrong
//! offset or with other bytes that its checksum does not betray, and never panics.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use millstream_log::{Isolation, LogConfig, LogDirs, OpenOptions, ReadRequest};
use millstream_record::batch::batches;
use millstream_types::{BrokerId, Offset};
use proptest::prelude::*;

use crate::{disk::Disk, support::*};

fn open(disk: &Disk) -> LogDirs {
    let dirs = vec![PathBuf::from("/data/kafka")];
    let mut options = OpenOptions::new(dirs, PathBuf::from("/data/millstream"), BrokerId(1), NOW);
    options.fs = Arc::new(disk.clone());
    options.reserve_bytes = 4096;
    options.committer_threads = false;
    options.recovery_threads = 1;
    options.defaults.index_interval_bytes = 300;
    LogDirs::open(options).unwrap()
}

/// A log of several segments, left in order or not; what is stored at each base offset, less the leader epoch,
/// which neither checksum nor order covers.
fn written(clean: bool) -> (Disk, BTreeMap<i64, Vec<u8>>) {
    let disk = Disk::default();
    let dirs = open(&disk);
    let log =
        create(&dirs, LogConfig { segment_bytes: 3000, index_interval_bytes: 300, ..LogConfig::default() });
    for n in 0..60 {
        append(&log, produced(n % 3, 0, (n / 3) as i32 * 2, 2));
        append(&log, plain(1 + n as usize % 3, 20));
        if n == 40 {
            dirs.flush();
            dirs.tick(NOW.plus_ms(5000));
        }
    }
    dirs.flush();
    let mut stored = BTreeMap::new();
    let mut next = Offset(0);
    while next < log.log_end_offset() {
        let records = log.read(request(next)).unwrap().records;
        for batch in batches(&records) {
            let batch = batch.unwrap();
            stored.insert(batch.header.base_offset, without_epoch(batch.bytes));
            next = batch.header.next_offset();
        }
    }
    if clean {
        dirs.close(NOW);
    }
    (disk, stored)
}

fn without_epoch(batch: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[12..16].fill(0);
    batch
}

fn request(offset: Offset) -> ReadRequest {
    ReadRequest { offset, max_bytes: 1500, at_least_one: true, isolation: Isolation::ReadUncommitted }
}

fn check(disk: &Disk, stored: &BTreeMap<i64, Vec<u8>>) {
    let dirs = open(disk);
    let Some(log) = dirs.get(&partition()) else { return };
    for offset in 0..log.log_end_offset().0 {
        let Ok(read) = log.read(request(Offset(offset))) else { continue };
        for batch in batches(&read.records) {
            let batch = batch.unwrap();
            if batch.header.verify_crc(batch.bytes).is_ok() {
                let expected = stored.get(&batch.header.base_offset);
                assert_eq!(expected, Some(&without_epoch(batch.bytes)), "reading from {offset}");
            }
        }
        let first = batches(&read.records).next().map(|batch| batch.unwrap().header.base_offset);
        assert!(first.is_none_or(|first| first <= offset), "{first:?} was served for {offset}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_is_noticed(clean in any::<bool>(), file in any::<prop::sample::Index>(),
                                byte in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (disk, stored) = written(clean);
        let paths = disk.files_below("/data/kafka/t-0");
        let path = file.get(&paths);
        let mut bytes = disk.bytes(path).unwrap();
        if !bytes.is_empty() {
            let at = byte.index(bytes.len());
            bytes[at] ^= 1 << bit;
            disk.set_bytes(path, bytes);
        }
        check(&disk, &stored);
    }

    #[test]
    fn a_flipped_bit_in_a_header_is_noticed(clean in any::<bool>(), batch in any::<prop::sample::Index>(),
                                            byte in 0usize..61, bit in 0u8..8) {
        let (disk, stored) = written(clean);
        let base_offsets: Vec<i64> = stored.keys().copied().collect();
        let base_offset = *batch.get(&base_offsets);
        let logs: Vec<PathBuf> = disk.files_below("/data/kafka/t-0");
        for path in logs.iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
            let mut bytes = disk.bytes(path).unwrap();
            let found = batches(&bytes).map(|b| b.unwrap()).find(|b| b.header.base_offset == base_offset);
            if let Some(position) = found.map(|batch| batch.position) {
                bytes[position + byte] ^= 1 << bit;
                disk.set_bytes(path, bytes);
            }
        }
        check(&disk, &stored);
    }
}
