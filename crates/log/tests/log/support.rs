//! Directories that live as long as a test, and batches to fill them with.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use millstream_log::{
    AppendError, AppendInfo, AppendOptions, Isolation, Log, LogConfig, LogDirs, OpenOptions, Origin,
    ReadRequest,
};
use millstream_record::{
    Compression,
    batch::{BatchBuilder, BatchOptions, ProducerInfo, RecordBatch, batches},
};
use millstream_types::{
    BrokerId, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicName,
    TopicPartition, Uuid,
};

pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
pub(crate) const TOPIC_ID: Uuid = Uuid(0x1234_5678_9abc_def0);

pub(crate) struct Data {
    pub(crate) root: tempfile::TempDir,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn kafka(&self) -> PathBuf {
        self.root.path().join("kafka")
    }

    pub(crate) fn bounds(&self) -> PathBuf {
        self.root.path().join("millstream")
    }

    pub(crate) fn options(&self) -> OpenOptions {
        let mut options = OpenOptions::new(vec![self.kafka()], self.bounds(), BrokerId(1), NOW);
        options.reserve_bytes = 64 << 10;
        options
    }

    pub(crate) fn open(&self) -> LogDirs {
        LogDirs::open(self.options()).unwrap()
    }

    pub(crate) fn partition_dir(&self) -> PathBuf {
        self.kafka().join("t-0")
    }

    pub(crate) fn log_file(&self, base_offset: i64) -> PathBuf {
        self.partition_dir().join(format!("{base_offset:020}.log"))
    }
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition::new(TopicName::parse("t").unwrap(), PartitionId(0))
}

pub(crate) fn create(dirs: &LogDirs, config: LogConfig) -> Arc<Log> {
    dirs.create(&partition(), TOPIC_ID, config).unwrap()
}

pub(crate) fn options(origin: Origin) -> AppendOptions {
    AppendOptions { leader_epoch: LeaderEpoch(0), origin, now: NOW }
}

/// A batch of `count` records with values of `value_bytes` bytes, made at `NOW`.
pub(crate) fn plain(count: usize, value_bytes: usize) -> Bytes {
    batch(BatchOptions::default(), count, value_bytes)
}

pub(crate) fn batch(options: BatchOptions, count: usize, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for n in 0..count {
        let key = n.to_string();
        builder.append(NOW, Some(key.as_bytes()), Some(&vec![b'v'; value_bytes]), &[]);
    }
    builder.build()
}

pub(crate) fn produced(id: i64, epoch: i16, sequence: i32, count: usize) -> Bytes {
    batch(
        BatchOptions { producer: Some(producer(id, epoch, sequence)), ..BatchOptions::default() },
        count,
        10,
    )
}

pub(crate) fn producer(id: i64, epoch: i16, sequence: i32) -> ProducerInfo {
    ProducerInfo { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence: Some(Sequence(sequence)) }
}

pub(crate) fn compressed(codec: Compression, count: usize) -> Bytes {
    batch(BatchOptions { compression: codec, ..BatchOptions::default() }, count, 100)
}

pub(crate) fn append(log: &Arc<Log>, bytes: Bytes) -> AppendInfo {
    try_append(log, bytes).unwrap()
}

pub(crate) fn try_append(log: &Arc<Log>, bytes: Bytes) -> Result<AppendInfo, AppendError> {
    log.append(bytes, options(Origin::Client))
}

/// Reads from `offset` to the end as `isolation` sees it.
pub(crate) fn read_all(log: &Log, offset: i64, isolation: Isolation) -> Vec<RecordBatch> {
    let mut next = Offset(offset);
    let mut found = Vec::new();
    loop {
        let request = ReadRequest { offset: next, max_bytes: 1 << 16, at_least_one: true, isolation };
        let records = log.read(request).unwrap().records;
        if records.is_empty() {
            return found;
        }
        for view in batches(&records) {
            let view = view.unwrap();
            next = view.header.next_offset();
            found.push(RecordBatch::decode(&records.slice_ref(view.bytes), 1 << 30).unwrap());
        }
    }
}

pub(crate) fn offsets(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.records.iter().map(|record| batch.offset_of(record).0)).collect()
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
