//! A log directory that Kafka closed, with one of its files replaced: `meta.properties`, checkpoints,
//! `partition.metadata`, producer snapshots, indexes, segments. It opens or says why not; what opens can be read
//! and written, and opens again with all that was in it.
//!
//! The input's first byte chooses the file, and with its highest bit whether the directory counts as closed in
//! order; the rest are the file's bytes, whose checksums are made right.
#![no_main]

use std::{path::PathBuf, sync::Arc};

use libfuzzer_sys::fuzz_target;
use millstream_fuzz::{CLEAN_SHUTDOWN, KAFKA_FILES, seal};
use millstream_log::{
    AppendOptions, Isolation, Log, LogDirs, OpenOptions, Origin, ReadRequest, fs::Fs,
};
use millstream_record::{
    batch::{BatchBuilder, BatchOptions, batches},
};
use millstream_types::{BrokerId, LeaderEpoch, Offset, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_800_000_000_000);
const PLAIN_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let mut files = KAFKA_FILES.clone();
    let chosen = usize::from(choice & 0x7f) % files.len();
    files[chosen].1 = seal(&files[chosen].0, bytes);
    if choice & 0x80 != 0 {
        files.retain(|(path, _)| !path.ends_with(CLEAN_SHUTDOWN));
    }
    let fs = millstream_sim::disk(&files);
    let Ok(dirs) = LogDirs::open(options(&fs)) else { return };
    let ends: Vec<_> = dirs.logs().iter().map(|log| (log.partition().clone(), use_log(log))).collect();
    dirs.tick(NOW.plus_ms(1_000_000));
    dirs.close(NOW);
    drop(dirs);
    let dirs = LogDirs::open(options(&fs)).expect("a directory that was open can be opened again");
    for (partition, end) in ends {
        if let Some(log) = dirs.get(&partition) {
            assert!(log.log_end_offset() >= end, "{partition} ended at {end}: {log:?}");
        }
    }
});

fn options(fs: &Arc<dyn Fs>) -> OpenOptions {
    let mut options =
        OpenOptions::new(vec![PathBuf::from("/kafka")], PathBuf::from("/state"), BrokerId(1), NOW);
    options.fs = Arc::clone(fs);
    options.reserve_bytes = 4_096;
    options.recovery_threads = 1;
    options.committer_threads = false;
    options.decompressed_bytes_max = PLAIN_BYTES_MAX;
    options.defaults.retention_ms = None;
    // Room for new entries is made at once, and costs time.
    options.defaults.segment_index_bytes = 1_200;
    options.metadata_config.segment_index_bytes = 1_200;
    options
}

/// Reads all that is there and adds a batch; where the log ends then, if nothing went wrong.
fn use_log(log: &Arc<Log>) -> Offset {
    let mut next = log.log_start_offset();
    loop {
        let isolation = Isolation::ReadCommitted;
        let request = ReadRequest { offset: next, max_bytes: 4_000, at_least_one: true, isolation };
        let Ok(read) = log.read(request) else { break };
        let Some(end) = batches(&read.records).map_while(Result::ok).map(|b| b.header.next_offset()).last() else {
            break;
        };
        assert!(end > next, "reading goes on");
        next = end;
    }
    drop(log.offset_for_timestamp(NOW, Isolation::ReadUncommitted));
    log.active_producers();
    let mut batch = BatchBuilder::new(BatchOptions::default());
    batch.append(NOW, None, Some(b"one more"), &[]);
    let options = AppendOptions { leader_epoch: LeaderEpoch(1_000), origin: Origin::Client, now: NOW };
    match log.append(batch.build(), options) {
        Ok(info) => info.end_offset(),
        Err(_) => Offset::ZERO,
    }
}
