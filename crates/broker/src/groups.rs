//! Runs the group coordinator: one shard for each partition of `__consumer_offsets`, each behind a lock
//! of its own. `millstream_coordinator::Shard` says in which order what is done; this is that order.
//!
//! A shard's lock is held while it decides and its records are written (a copy to the page cache),
//! never while anything waits. Answers leave when everything their shard has appended is durable.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use millstream_config::OffsetsConfig;
use millstream_coordinator::{
    CoordinatorRecord, Decision, RecordOrigin, RequestToken, Shard,
    group::{GroupConfig, GroupEvent, GroupResponse, GroupShard, partition_for},
};
use millstream_log::{AppendOptions, Isolation, Origin, ReadRequest};
use millstream_record::{
    Compression,
    batch::{BatchBuilder, BatchOptions, RecordBatch, batches},
};
use millstream_types::{ErrorCode, Offset, TimestampMs, Uuid};
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    clock::{Clock, Jumps},
    partitions::Partition,
};

/// A batch of `__consumer_offsets` is split above this where its records may stand apart.
const BATCH_BYTES_MAX: usize = 512 << 10;
const LOAD_READ_BYTES: usize = 4 << 20;
/// What one record batch of ours may grow to when read back.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;
/// When nothing is due, look again after this long all the same.
const TIMER_PAUSE_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Groups {
    clock: Arc<dyn Clock>,
    /// `offsets.commit.timeout.ms`
    flush_timeout: Duration,
    /// `offsets.topic.compression.codec`
    compression: Compression,
    /// By partition of `__consumer_offsets`; empty until that topic exists. `None` for a partition that could
    /// not be opened: its groups have no coordinator, and all others theirs.
    shards: RwLock<Vec<Option<Arc<ShardCell>>>>,
    /// Something may be due earlier than the timer task believes.
    rescheduled: Arc<Notify>,
}

struct ShardCell {
    partition: Arc<Partition>,
    clock: Arc<dyn Clock>,
    compression: Compression,
    /// `None` while its records are being read.
    running: Mutex<Option<Running>>,
    /// They could not be read.
    failed: AtomicBool,
}

struct Running {
    shard: GroupShard,
    compression: Compression,
    waiting: HashMap<RequestToken, oneshot::Sender<Answer>>,
    next_token: u64,
    /// Everything below was appended by this shard or loaded; answers wait for it to be durable.
    appended: Offset,
    /// The shard's earliest deadline when it was last asked.
    deadline: Option<TimestampMs>,
    jumps: Jumps,
}

/// An answer, and what must be durable before it may be told.
struct Answer {
    response: GroupResponse,
    durable: Offset,
}

impl Groups {
    pub(crate) fn new(clock: Arc<dyn Clock>, config: &OffsetsConfig) -> Arc<Self> {
        Arc::new(Self {
            clock,
            flush_timeout: Duration::from_millis(config.commit_timeout_ms),
            compression: Compression::from_id(config.compression_codec).unwrap_or_default(),
            shards: RwLock::default(),
            rescheduled: Arc::new(Notify::new()),
        })
    }

    /// Takes over those partitions of `__consumer_offsets` that it has not yet, and reads what they hold, in the
    /// background.
    pub(crate) fn open(
        &self,
        partitions: Vec<Option<Arc<Partition>>>,
        config: &GroupConfig,
        tasks: &TaskTracker,
    ) -> Vec<JoinHandle<()>> {
        let mut loading = Vec::new();
        let mut shards = self.shards.write();
        let count = shards.len().max(partitions.len());
        shards.resize(count, None);
        for (shard, partition) in shards.iter_mut().zip(partitions) {
            let Some(partition) = partition.filter(|_| shard.is_none()) else { continue };
            let cell = Arc::new(ShardCell {
                partition,
                clock: Arc::clone(&self.clock),
                compression: self.compression,
                running: Mutex::new(None),
                failed: AtomicBool::new(false),
            });
            *shard = Some(Arc::clone(&cell));
            let (config, rescheduled) = (config.clone(), Arc::clone(&self.rescheduled));
            loading.push(tasks.spawn_blocking(move || {
                cell.load(config);
                rescheduled.notify_one();
            }));
        }
        loading
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.shards.read().is_empty()
    }

    /// Runs one event for the group's shard and waits for its answer to be true for good.
    pub(crate) async fn submit(&self, group_id: &str, event: GroupEvent) -> Result<GroupResponse, ErrorCode> {
        let cell = self.shard_of(group_id).ok_or(ErrorCode::CoordinatorNotAvailable)?;
        self.submit_to(&cell, event).await
    }

    /// Runs one event in every shard, as ListGroups needs.
    pub(crate) async fn submit_to_all(&self, event: &GroupEvent) -> Vec<Result<GroupResponse, ErrorCode>> {
        let shards = self.shards.read().clone();
        let mut responses = Vec::with_capacity(shards.len());
        for cell in shards.into_iter().flatten() {
            responses.push(self.submit_to(&cell, event.clone()).await);
        }
        responses
    }

    async fn submit_to(&self, cell: &ShardCell, event: GroupEvent) -> Result<GroupResponse, ErrorCode> {
        let (answer, rescheduled) = cell.start(event)?;
        if rescheduled {
            self.rescheduled.notify_one();
        }
        // The sender goes only with its shard.
        let answer = answer.await.map_err(|_| ErrorCode::NotCoordinator)?;
        let flushed = cell.partition.wait_for_high_watermark(answer.durable);
        match tokio::time::timeout(self.flush_timeout, flushed).await {
            Ok(durable) => durable.map(|()| answer.response),
            // What Kafka makes of REQUEST_TIMED_OUT here: the client asks again.
            Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
        }
    }

    fn shard_of(&self, group_id: &str) -> Option<Arc<ShardCell>> {
        let shards = self.shards.read();
        let count = i32::try_from(shards.len()).ok().filter(|&count| count > 0)?;
        let index = usize::try_from(partition_for(group_id, count).0).ok()?;
        shards.get(index).cloned().flatten()
    }

    /// Wakes shards whose deadlines have passed, until the broker stops.
    pub(crate) async fn run_timers(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.run_due();
            let now = self.clock.now();
            let pause = next.map_or(TIMER_PAUSE_MAX, |at| {
                let ms = u64::try_from(at.since(now)).unwrap_or(0).max(1);
                Duration::from_millis(ms).min(TIMER_PAUSE_MAX)
            });
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.rescheduled.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn run_due(&self) -> Option<TimestampMs> {
        let shards = self.shards.read().clone();
        shards.iter().flatten().filter_map(|cell| cell.run_due()).min()
    }

    /// Answers every waiting request before the broker goes.
    pub(crate) fn close(&self) {
        for cell in self.shards.write().drain(..).flatten() {
            if let Some(mut running) = cell.running.lock().take() {
                let responses = running.shard.unload();
                let durable = Offset::ZERO;
                for (token, response) in responses {
                    running.answer(token, Answer { response, durable });
                }
            }
        }
    }
}

impl ShardCell {
    /// Reads the whole partition into a new shard.
    fn load(&self, config: GroupConfig) {
        let mut shard = GroupShard::new(config, Box::new(|| Uuid::random().0));
        match self.replay_all(&mut shard) {
            Ok(end) => {
                let now = self.clock.now();
                let decision = shard.loaded(now);
                let deadline = shard.next_deadline();
                let mut running = Running {
                    shard,
                    compression: self.compression,
                    waiting: HashMap::new(),
                    next_token: 0,
                    appended: end,
                    deadline,
                    jumps: Jumps::new(&*self.clock),
                };
                running.settle(&self.partition, decision, now);
                *self.running.lock() = Some(running);
                info!(partition = %self.partition.id, %end, "group coordinator loaded");
            }
            // Groups of this partition stay unavailable; the log says why.
            Err(reason) => {
                error!(partition = %self.partition.id, reason, "groups cannot be loaded");
                self.failed.store(true, Ordering::Release);
            }
        }
    }

    fn replay_all(&self, shard: &mut GroupShard) -> Result<Offset, String> {
        let log = &self.partition.log;
        let mut offset = log.log_start_offset();
        let end = log.log_end_offset();
        while offset < end {
            let request = ReadRequest {
                offset,
                max_bytes: LOAD_READ_BYTES,
                at_least_one: true,
                isolation: Isolation::LogEnd,
            };
            let read = log.read(request).map_err(|e| e.to_string())?;
            if read.records.is_empty() {
                break;
            }
            for batch in batches(&read.records) {
                let batch = batch.map_err(|e| e.to_string())?;
                let bytes = read.records.slice_ref(batch.bytes);
                replay_batch(shard, &bytes).map_err(|reason| {
                    format!("{}, offset {offset}: {reason}", log.segment_path(offset).display())
                })?;
                offset = batch.header.next_offset();
            }
        }
        Ok(end)
    }

    fn start(&self, event: GroupEvent) -> Result<(oneshot::Receiver<Answer>, bool), ErrorCode> {
        let mut running = self.running.lock();
        let running = running.as_mut().ok_or_else(|| match self.failed.load(Ordering::Acquire) {
            true => ErrorCode::NotCoordinator,
            false => ErrorCode::CoordinatorLoadInProgress,
        })?;
        running.follow(&*self.clock);
        let now = self.clock.now();
        let (sender, receiver) = oneshot::channel();
        let token = RequestToken(running.next_token);
        running.next_token += 1;
        running.waiting.insert(token, sender);
        let decision = running.shard.handle(token, event, now);
        running.settle(&self.partition, decision, now);
        let before = running.deadline;
        running.deadline = running.shard.next_deadline();
        Ok((receiver, running.deadline != before))
    }

    fn run_due(&self) -> Option<TimestampMs> {
        let mut running = self.running.lock();
        let running = running.as_mut()?;
        running.follow(&*self.clock);
        let now = self.clock.now();
        while running.shard.next_deadline().is_some_and(|at| at <= now) {
            let decision = running.shard.on_timer(now);
            running.settle(&self.partition, decision, now);
            running.waiting.retain(|_, sender| !sender.is_closed());
        }
        running.deadline = running.shard.next_deadline();
        running.deadline
    }
}

fn replay_batch(shard: &mut GroupShard, bytes: &Bytes) -> Result<(), String> {
    let batch = RecordBatch::decode(bytes, DECOMPRESSED_BYTES_MAX).map_err(|e| e.to_string())?;
    let producer = batch.header.producer();
    if batch.header.attributes.is_control() {
        return replay_marker(shard, &batch);
    }
    let transactional = batch.header.attributes.is_transactional();
    for record in &batch.records {
        let origin = RecordOrigin {
            offset: batch.offset_of(record),
            producer: producer.filter(|_| transactional).map(|p| (p.id, p.epoch)),
        };
        let key = record.key.clone().ok_or_else(|| format!("the record at {} has no key", origin.offset))?;
        let record = CoordinatorRecord { key, value: record.value.clone() };
        // A kind of group that is not there yet, in a directory from elsewhere: the others must not suffer.
        if let Err(error) = shard.replay(&record, origin) {
            warn!(%error, "a record of a group is left out");
        }
    }
    Ok(())
}

fn replay_marker(shard: &mut GroupShard, batch: &RecordBatch) -> Result<(), String> {
    use millstream_record::control::ControlType;
    let Some(producer) = batch.header.producer() else { return Ok(()) };
    for record in &batch.records {
        let kind =
            ControlType::from_key(record.key.as_deref().unwrap_or_default()).map_err(|e| e.to_string())?;
        if matches!(kind, ControlType::Commit | ControlType::Abort) {
            shard.replay_end_transaction(producer.id, producer.epoch, kind == ControlType::Commit);
        }
    }
    Ok(())
}

impl Running {
    /// Before anything is decided by the clock.
    fn follow(&mut self, clock: &dyn Clock) {
        if let Some(by_ms) = self.jumps.by_ms(clock) {
            warn!(by_ms, "the clock was set: groups go on waiting as long as before");
            self.shard.clock_was_set(by_ms);
        }
    }

    /// Carries out a decision: append, replay, answer.
    fn settle(&mut self, partition: &Partition, mut decision: Decision<GroupResponse>, now: TimestampMs) {
        loop {
            match self.append(partition, &decision, now) {
                Ok(()) => break,
                Err(code) => decision = self.shard.append_failed(decision, code, now),
            }
        }
        let durable = self.appended;
        for (token, response) in decision.responses {
            self.answer(token, Answer { response, durable });
        }
    }

    fn append(
        &mut self,
        partition: &Partition,
        decision: &Decision<GroupResponse>,
        now: TimestampMs,
    ) -> Result<(), ErrorCode> {
        let limit = if decision.splittable { BATCH_BYTES_MAX } else { usize::MAX };
        let mut rest = &decision.records[..];
        while !rest.is_empty() {
            let (batch, count) = build(rest, self.compression, limit, now);
            let options =
                AppendOptions { origin: Origin::Coordinator, leader_epoch: partition.leader_epoch(), now };
            let appended = partition.log.append(batch, options).map_err(|error| {
                error!(partition = %partition.id, %error, "the group coordinator cannot append");
                commit_error(error.error_code())
            })?;
            let (done, later) = rest.split_at(count);
            for (offset, record) in (appended.base_offset.0..).zip(done) {
                let origin = RecordOrigin { offset: Offset(offset), producer: None };
                self.shard.replay(record, origin).expect("a shard can replay what it has decided");
            }
            self.appended = appended.last_offset.next();
            rest = later;
        }
        Ok(())
    }

    fn answer(&mut self, token: RequestToken, answer: Answer) {
        // A receiver that is gone has closed its connection; its answer concerns nobody.
        if let Some(sender) = self.waiting.remove(&token) {
            drop(sender.send(answer));
        }
    }
}

/// As many of the records as fit, at least one.
fn build(
    records: &[CoordinatorRecord],
    compression: Compression,
    bytes_max: usize,
    now: TimestampMs,
) -> (Bytes, usize) {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..Default::default() });
    let mut count = 0;
    for record in records {
        if count > 0 && builder.size_in_bytes() >= bytes_max {
            break;
        }
        builder.append(now, Some(&record.key), record.value.as_deref(), &[]);
        count += 1;
    }
    (builder.build(), count)
}

/// What a group's client is told when its records cannot be stored: codes on which it tries again.
fn commit_error(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => ErrorCode::InvalidCommitOffsetSize,
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}
