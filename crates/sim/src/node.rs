//! The process under test: log directories on the simulated disk, a partition of data, and a group
//! coordinator over a partition of `__consumer_offsets`, run as the broker runs it.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use millstream_coordinator::{
    CoordinatorRecord, Decision, RecordOrigin, RequestToken, Shard,
    group::{GroupConfig, GroupEvent, GroupResponse, GroupShard},
};
use millstream_log::{
    AppendError, AppendInfo, AppendOptions, FlushWith, Intervals, Isolation, Log, LogConfig, LogDirs,
    LogError, OpenOptions, Origin, ReadRequest,
};
use millstream_record::batch::{BatchBuilder, BatchOptions, RecordBatch, batches};
use millstream_types::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionId, TimestampMs, TopicName, TopicPartition, Uuid,
};

use crate::{Plant, disk::Disk, random::mix};

pub(crate) const DIRS: [&str; 2] = ["/a", "/b"];
const STATE_DIR: &str = "/state";
const CLUSTER_ID: &str = "c2ltdWxhdGVkY2x1c3Rlcg";

pub(crate) struct Node {
    dirs: LogDirs,
    pub(crate) data: Arc<Log>,
    offsets: Arc<Log>,
    shard: GroupShard,
    plant: Option<Plant>,
    next_token: u64,
    /// Answers that wait for the log to be durable up to an offset.
    held: Vec<(Offset, RequestToken, GroupResponse)>,
    /// What the next append to the group's log answers, in place of appending.
    refuse_append: Option<ErrorCode>,
}

/// Why the process did not start, or stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The disk was armed to make it so.
    ByDisk(String),
    Wrong(String),
}

/// What is on the disk before the first start: who the directories belong to, with ids that do not change
/// from run to run.
pub(crate) fn first_files() -> Vec<(PathBuf, Vec<u8>)> {
    let identity = |index: usize| {
        let id = Uuid(0xd1f0_0000_0000_0000_0000_0000_0000_1000 + index as u128);
        format!("cluster.id={CLUSTER_ID}\ndirectory.id={id}\nnode.id=1\nversion=1\n").into_bytes()
    };
    let files = DIRS
        .iter()
        .enumerate()
        .map(|(index, dir)| (PathBuf::from(dir).join("meta.properties"), identity(index)));
    files.collect()
}

pub(crate) fn group_config() -> GroupConfig {
    // Longer than any simulation: what is committed must stay.
    GroupConfig { offsets_retention_ms: i64::MAX, initial_rebalance_delay_ms: 0, ..GroupConfig::default() }
}

fn log_config() -> LogConfig {
    LogConfig {
        segment_bytes: 3_000,
        index_interval_bytes: 200,
        retention_ms: None,
        file_delete_delay_ms: 500,
        ..LogConfig::default()
    }
}

fn options(disk: &Disk, incarnation: u64, now: TimestampMs) -> OpenOptions {
    let dirs = DIRS.iter().map(PathBuf::from).collect();
    let mut options = OpenOptions::new(dirs, PathBuf::from(STATE_DIR), BrokerId(1), now);
    options.fs = Arc::new(disk.clone());
    options.flush_with = if incarnation.is_multiple_of(2) { FlushWith::Fdatasync } else { FlushWith::Auto };
    options.defaults = log_config();
    options.reserve_bytes = 8_192;
    options.recovery_threads = 1;
    options.committer_threads = false;
    // Each log by itself, or all at once.
    options.unsynced_files_max = if incarnation % 4 < 2 { 1 } else { usize::MAX };
    options.intervals =
        Intervals { checkpoint_ms: 2_000, retention_check_ms: 3_000, producer_expiration_check_ms: 600_000 };
    options
}

impl Node {
    pub(crate) fn start(
        disk: &Disk,
        plant: Option<Plant>,
        incarnation: u64,
        now: TimestampMs,
    ) -> Result<Self, Stopped> {
        let blame = |reason: String| match disk.is_off() || disk.error_happened() || disk.is_limited() {
            true => Stopped::ByDisk(reason),
            false => Stopped::Wrong(reason),
        };
        let dirs = LogDirs::open(options(disk, incarnation, now))
            .map_err(|error| blame(format!("cannot open: {error}")))?;
        if let Some(reason) = dirs.dirs().into_iter().find_map(|dir| dir.offline) {
            return Err(blame(reason));
        }
        if let Some(offline) = dirs.recovery().offline.first() {
            return Err(blame(format!("{} is offline: {}", offline.partition, offline.reason)));
        }
        let open = |name: &'static str, id| {
            let partition = TopicPartition::new(TopicName::from_static(name), PartitionId(0));
            let created = dirs.create(&partition, Uuid(id), log_config());
            created.map_err(|error| blame(format!("cannot create {partition}: {error}")))
        };
        let (data, offsets) = (open("data", 77)?, open("__consumer_offsets", 78)?);
        let mut bits = mix(incarnation);
        let random = move || {
            bits = mix(bits.wrapping_add(1));
            u128::from(bits) << 64 | u128::from(incarnation)
        };
        let shard = GroupShard::new(group_config(), Box::new(random));
        let mut node = Self {
            dirs,
            data,
            offsets,
            shard,
            plant,
            // Tokens are told apart over restarts too.
            next_token: incarnation << 32,
            held: Vec::new(),
            refuse_append: None,
        };
        node.load(now).map_err(|error| blame(format!("the groups cannot be loaded: {error}")))?;
        Ok(node)
    }

    fn load(&mut self, now: TimestampMs) -> Result<(), String> {
        for batch in read(&self.offsets, self.offsets.log_start_offset(), Isolation::LogEnd)? {
            for record in &batch.records {
                let origin = RecordOrigin { offset: batch.offset_of(record), producer: None };
                let key = record.key.clone().ok_or("a record without a key")?;
                let record = CoordinatorRecord { key, value: record.value.clone() };
                self.shard.replay(&record, origin).map_err(|error| error.to_string())?;
            }
        }
        let decision = self.shard.loaded(now);
        self.settle(decision, now);
        Ok(())
    }

    pub(crate) fn append(&self, batch: Bytes, now: TimestampMs) -> Result<AppendInfo, AppendError> {
        self.data.append(batch, append_options(Origin::Client, now))
    }

    pub(crate) fn delete_records_to(&self, offset: Offset) -> Result<Offset, LogError> {
        self.dirs.delete_records(&[(self.data.clone(), Some(offset))]).remove(0)
    }

    /// One round of the committer.
    pub(crate) fn flush(&self) {
        self.dirs.flush();
    }

    pub(crate) fn tick(&mut self, now: TimestampMs) -> Result<(), String> {
        self.dirs.tick(now);
        self.run_timers(now)
    }

    pub(crate) fn run_timers(&mut self, now: TimestampMs) -> Result<(), String> {
        for _ in 0..100 {
            if self.shard.next_deadline().is_none_or(|deadline| deadline > now) {
                return Ok(());
            }
            let decision = self.shard.on_timer(now);
            self.settle(decision, now);
        }
        Err("the coordinator's timers come due for ever".to_owned())
    }

    pub(crate) fn close(&self, now: TimestampMs) {
        self.dirs.close(now);
    }

    /// Whether one of the directories has been given up.
    pub(crate) fn has_offline_dir(&self) -> bool {
        self.dirs.dirs().iter().any(|dir| dir.offline.is_some())
    }

    pub(crate) fn refuse_next_append(&mut self, error: ErrorCode) {
        self.refuse_append = Some(error);
    }

    pub(crate) fn submit(&mut self, event: GroupEvent, now: TimestampMs) -> RequestToken {
        self.next_token += 1;
        let token = RequestToken(self.next_token);
        let decision = self.shard.handle(token, event, now);
        self.settle(decision, now);
        token
    }

    /// Append, replay, answer.
    fn settle(&mut self, decision: Decision<GroupResponse>, now: TimestampMs) {
        let decision = match self.append_records(&decision.records, now) {
            Ok(()) => decision,
            Err(error) => self.shard.append_failed(decision, error, now),
        };
        let end = self.offsets.log_end_offset();
        self.held.extend(decision.responses.into_iter().map(|(token, response)| (end, token, response)));
    }

    fn append_records(&mut self, records: &[CoordinatorRecord], now: TimestampMs) -> Result<(), ErrorCode> {
        if records.is_empty() {
            return Ok(());
        }
        if let Some(error) = self.refuse_append.take() {
            return Err(error);
        }
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in records {
            builder.append(now, Some(&record.key), record.value.as_deref(), &[]);
        }
        let appended = self.offsets.append(builder.build(), append_options(Origin::Coordinator, now));
        let appended = appended.map_err(|error| error.error_code())?;
        for (offset, record) in (appended.base_offset.0..).zip(records) {
            let origin = RecordOrigin { offset: Offset(offset), producer: None };
            self.shard.replay(record, origin).expect("a shard can replay what it has decided");
        }
        Ok(())
    }

    /// The answers that may be told by now.
    pub(crate) fn take_answers(&mut self) -> Vec<(RequestToken, GroupResponse)> {
        let durable = match self.plant {
            Some(Plant::AnswerBeforeFlush) => self.offsets.log_end_offset(),
            _ => self.offsets.high_watermark(),
        };
        let (ready, held) =
            std::mem::take(&mut self.held).into_iter().partition(|(end, _, _)| *end <= durable);
        self.held = held;
        ready.into_iter().map(|(_, token, response)| (token, response)).collect()
    }
}

fn append_options(origin: Origin, now: TimestampMs) -> AppendOptions {
    AppendOptions { leader_epoch: LeaderEpoch(0), origin, now }
}

/// All batches from `offset` on that `isolation` shows.
pub(crate) fn read(log: &Log, offset: Offset, isolation: Isolation) -> Result<Vec<RecordBatch>, String> {
    let (mut next, mut found) = (offset, Vec::new());
    loop {
        let request = ReadRequest { offset: next, max_bytes: 4_000, at_least_one: true, isolation };
        let records = log.read(request).map_err(|error| error.to_string())?.records;
        if records.is_empty() {
            return Ok(found);
        }
        for batch in batches(&records) {
            let bytes = records.slice_ref(batch.map_err(|error| error.to_string())?.bytes);
            let batch =
                RecordBatch::decode(&bytes, 1 << 20).map_err(|error| format!("at offset {next}: {error}"))?;
            next = batch.header.next_offset();
            found.push(batch);
        }
    }
}
