//! Random work on a disk that loses power, compared with a model. What a reader could see, and what was
//! acknowledged, must be there afterwards, at the same offsets, and known as duplicates.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use millstream_log::{FlushWith, Intervals, Isolation, Log, LogConfig, LogDirs, OpenOptions};
use millstream_record::Compression;
use millstream_record::batch::BatchOptions;
use millstream_types::{BrokerId, Offset, TimestampMs};
use proptest::{prelude::*, test_runner::RngAlgorithm};

use crate::{disk::Disk, support::*};

#[derive(Clone, Debug)]
enum Step {
    Append { producer: i64, records: usize, value_bytes: usize, codec: Compression },
    Retry { producer: i64, back: usize },
    Flush,
    Tick { ms: i64 },
    DeleteRecords { part: u8 },
    Restart,
    Kill,
    PowerCut { seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let codec = prop_oneof![4 => Just(Compression::None), 1 => Just(Compression::Lz4)];
    prop_oneof![
        12 => (0i64..3, 1usize..4, 0usize..200, codec)
            .prop_map(|(producer, records, value_bytes, codec)| Step::Append { producer, records, value_bytes, codec }),
        3 => (0i64..3, 0usize..5).prop_map(|(producer, back)| Step::Retry { producer, back }),
        5 => Just(Step::Flush),
        3 => (0i64..8000).prop_map(|ms| Step::Tick { ms }),
        1 => (0u8..=255).prop_map(|part| Step::DeleteRecords { part }),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
    ]
}

/// A batch that was appended: where, by whom, with which sequence.
#[derive(Clone, Debug)]
struct Appended {
    base: i64,
    records: usize,
    producer: i64,
    sequence: i32,
    value_bytes: usize,
    codec: Compression,
}

impl Appended {
    fn end(&self) -> i64 {
        self.base + self.records as i64
    }

    fn bytes(&self) -> bytes::Bytes {
        let producer = Some(producer(self.producer, 0, self.sequence));
        batch(
            BatchOptions { producer, compression: self.codec, ..BatchOptions::default() },
            self.records,
            self.value_bytes,
        )
    }
}

struct World {
    disk: Disk,
    flush_with: FlushWith,
    config: LogConfig,
    dirs: Option<LogDirs>,
    now: TimestampMs,
    batches: Vec<Appended>,
    sequences: HashMap<i64, i32>,
    /// The largest log start offset ever asked for.
    start: i64,
    /// The last one that was answered.
    durable_start: i64,
}

impl World {
    fn new(config: LogConfig, flush_with: FlushWith) -> Self {
        let mut world = Self {
            disk: Disk::default(),
            flush_with,
            config,
            dirs: None,
            now: NOW,
            batches: Vec::new(),
            sequences: HashMap::new(),
            start: 0,
            durable_start: 0,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let dirs = vec![PathBuf::from("/data/kafka")];
        let mut options = OpenOptions::new(dirs, PathBuf::from("/data/millstream"), BrokerId(1), self.now);
        options.fs = Arc::new(self.disk.clone());
        options.reserve_bytes = 4096;
        options.committer_threads = false;
        options.recovery_threads = 1;
        options.flush_with = self.flush_with;
        options.defaults = self.config.clone();
        options.intervals = Intervals { retention_check_ms: 1000, ..Intervals::default() };
        let dirs = LogDirs::open(options).unwrap();
        assert_eq!(dirs.recovery().offline, []);
        create(&dirs, self.config.clone());
        self.dirs = Some(dirs);
    }

    fn dirs(&self) -> &LogDirs {
        self.dirs.as_ref().unwrap()
    }

    fn log(&self) -> Arc<Log> {
        self.dirs().get(&partition()).unwrap()
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Append { producer, records, value_bytes, codec } => {
                let sequence = *self.sequences.get(&producer).unwrap_or(&0);
                let base = self.batches.last().map_or(self.log().log_end_offset().0, Appended::end);
                let appended = Appended { base, records, producer, sequence, value_bytes, codec };
                let info = append(&self.log(), appended.bytes());
                assert_eq!((info.base_offset, info.duplicate), (Offset(base), false));
                self.sequences.insert(producer, sequence + records as i32);
                self.batches.push(appended);
            }
            Step::Retry { producer, back } => {
                let of_one = self.batches.iter().filter(|batch| batch.producer == producer);
                if let Some(earlier) = of_one.rev().nth(back).filter(|batch| batch.base >= self.start) {
                    let info = append(&self.log(), earlier.bytes());
                    assert!(info.duplicate, "{earlier:?}");
                    assert_eq!((info.base_offset.0, info.end_offset().0), (earlier.base, earlier.end()));
                }
            }
            Step::Flush => {
                self.dirs().flush();
                assert_eq!(self.log().high_watermark(), self.log().log_end_offset());
            }
            Step::Tick { ms } => {
                self.now = self.now.plus_ms(ms);
                self.dirs().tick(self.now);
            }
            Step::DeleteRecords { part } => {
                let (from, to) = (self.log().log_start_offset().0, self.log().high_watermark().0);
                let offset = from + (to - from) * i64::from(part) / 255;
                let start =
                    self.dirs().delete_records(&[(self.log(), Some(Offset(offset)))]).remove(0).unwrap();
                self.start = self.start.max(offset);
                self.durable_start = start.0;
            }
            Step::Restart => {
                self.dirs().close(self.now);
                self.dirs = None;
                self.open();
                assert!(self.dirs().recovery().clean);
                let end = self.batches.last().map_or(0, Appended::end);
                assert_eq!(self.log().high_watermark(), Offset(end));
            }
            Step::Kill => {
                self.dirs = None;
                self.open();
                let end = self.batches.last().map_or(0, Appended::end);
                assert_eq!(
                    self.log().high_watermark(),
                    Offset(end),
                    "what was written is there, and durable"
                );
            }
            Step::PowerCut { seed } => self.cut_power(seed),
        }
        self.check();
    }

    fn cut_power(&mut self, seed: u64) {
        let seen = self.log().high_watermark();
        self.dirs = None;
        let mut random = proptest::test_runner::TestRng::from_seed(RngAlgorithm::XorShift, &{
            let mut bytes = [7; 16];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            bytes
        });
        self.disk = self.disk.after_power_cut(|| random.random_bool(0.5));
        self.open();
        let end = self.log().log_end_offset();
        assert!(end >= seen, "{end} after the power cut, {seen} had been seen");
        self.batches.retain(|batch| batch.end() <= end.0);
        assert_eq!(self.batches.last().map_or(end.0, Appended::end), end.0);
        self.sequences.clear();
        for batch in &self.batches {
            self.sequences.insert(batch.producer, batch.sequence + batch.records as i32);
        }
        // Of a log of which nothing was ever flushed, the beginning may be missing.
        assert!(self.log().log_start_offset().0 <= self.start || seen == Offset(0));
        assert!(self.log().log_start_offset().0 >= self.durable_start, "what was deleted is back");
    }

    fn check(&self) {
        let log = self.log();
        let (start, high_watermark) = (log.log_start_offset(), log.high_watermark());
        let read = read_all(&log, start.0, Isolation::ReadUncommitted);
        let visible: Vec<&Appended> = self
            .batches
            .iter()
            .filter(|batch| batch.end() > start.0 && batch.end() <= high_watermark.0)
            .collect();
        assert_eq!(read.len(), visible.len());
        for (batch, expected) in read.iter().zip(visible) {
            let header = &batch.header;
            assert_eq!((header.base_offset, header.record_count), (expected.base, expected.records as i32));
            assert_eq!((header.producer_id, header.base_sequence), (expected.producer, expected.sequence));
            assert!(batch.records.iter().all(|r| r.value.as_ref().unwrap().len() == expected.value_bytes));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_seen_is_lost_whatever_the_disk_forgets(
        steps in prop::collection::vec(step(), 1..60),
        segment_bytes in 900u32..4000,
        index_interval_bytes in 0u32..600,
        single in any::<bool>(),
    ) {
        let flush_with = if single { FlushWith::Fdatasync } else { FlushWith::Auto };
        let config = LogConfig { segment_bytes, index_interval_bytes, retention_ms: None, ..LogConfig::default() };
        let mut world = World::new(config, flush_with);
        for step in &steps {
            world.run(step);
        }
    }
}
