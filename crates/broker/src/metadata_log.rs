//! The cluster's metadata on disk: the log `__cluster_metadata-0`, its snapshots and `quorum-state`, with
//! this node as the only voter. What the records mean is `millstream-metadata`'s; this file reads them at
//! start, begins a new epoch, and appends.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use millstream_config::MetadataLogConfig;
use millstream_log::{AppendOptions, Isolation, Log, Origin, ReadRequest};
use millstream_metadata::{
    Activation, ActivationError, Image, QuorumState, Registration, Replay, ReplayError, Start, activate,
    leader_change_batch,
    snapshot::{self, SnapshotId},
};
use millstream_record::{batch::batches, kraft::MetadataRecord};
use millstream_types::{BrokerId, LeaderEpoch, Offset, TimestampMs, TopicPartition, Uuid};
use tracing::{info, warn};

const READ_BYTES: usize = 1 << 20;
const QUORUM_STATE: &str = "quorum-state";
const BOOTSTRAP: &str = "bootstrap.checkpoint";

#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    #[error("cannot {operation} {}: {source}", .path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{}: {reason}", .path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the metadata log cannot be read: {0}")]
    Read(String),
    #[error("the metadata log cannot be written: {0}")]
    Append(String),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Activation(#[from] ActivationError),
}

/// The writer's side. One owner; readers get the image that it publishes.
pub(crate) struct MetadataLog {
    log: Arc<Log>,
    node_id: BrokerId,
    replay: Replay,
    epoch: LeaderEpoch,
    /// The newest snapshot, and how large the log was then.
    last_snapshot: Option<SnapshotId>,
    bytes_at_snapshot: u64,
    snapshot_at: TimestampMs,
}

/// What the activation needs to know of the node.
pub(crate) struct Node<'a> {
    pub(crate) registration: &'a Registration,
    pub(crate) locate: &'a dyn Fn(&TopicPartition) -> Option<Uuid>,
}

impl MetadataLog {
    /// Reads what is there, begins a new epoch and takes over. Everything appended is in the log when this
    /// returns, and durable after the next flush.
    pub(crate) fn open(
        log: Arc<Log>,
        node: &Node<'_>,
        now: TimestampMs,
    ) -> Result<(Self, Vec<String>), MetadataError> {
        let node_id = node.registration.id;
        let state = read_quorum_state(log.path())?;
        let last_snapshot = newest_snapshot(log.path())?;
        let mut replay = match last_snapshot {
            Some(id) => read_snapshot(log.path(), id)?,
            None => Replay::default(),
        };
        if let Some(id) = last_snapshot.filter(|id| is_behind(&log, *id)) {
            warn!(snapshot = id.file_name(), end = %log.log_end_offset(), "the metadata log lacks what its snapshot holds and begins again after it");
            log.restart_at(id.end).map_err(|error| MetadataError::Append(error.to_string()))?;
            remove_snapshots_before(log.path(), id)?;
        }
        replay_log(&log, &mut replay)?;
        let damaged = |reason: String| MetadataError::Damaged { path: log.path().to_owned(), reason };
        replay.voters().check_only(node_id, state.as_ref()).map_err(|e| damaged(e.to_string()))?;
        let latest = replay.epoch().max(state.map_or(LeaderEpoch(0), |state| state.epoch));
        let mut opened = Self {
            bytes_at_snapshot: 0,
            snapshot_at: now,
            epoch: LeaderEpoch(latest.0 + 1),
            log,
            node_id,
            replay,
            last_snapshot,
        };
        let notices = opened.begin_epoch(node, now)?;
        Ok((opened, notices))
    }

    fn begin_epoch(&mut self, node: &Node<'_>, now: TimestampMs) -> Result<Vec<String>, MetadataError> {
        // The file first: were the epoch in the log but not here, a crash could give it out twice.
        let state = QuorumState::leading(self.node_id, self.epoch, self.replay.voters());
        write_file(&self.log.path().join(QUORUM_STATE), state.to_text().as_bytes())?;
        self.log.assign_leader_epoch(self.epoch);
        let at = self.log.log_end_offset();
        let batch = leader_change_batch(self.node_id, self.epoch, at, now)
            .map_err(|error| MetadataError::Append(error.to_string()))?;
        self.append_bytes(batch.clone(), now)?;
        self.replay.apply_batch(&at_offset(&batch, at))?;
        let bootstrap = match self.replay.image().metadata_version() {
            0 => self.read_bootstrap()?,
            _ => None,
        };
        let start = Start {
            registration: node.registration,
            bootstrap: bootstrap.as_deref(),
            next_offset: self.log.log_end_offset(),
            locate: node.locate,
        };
        let Activation { batches, notices } = activate(&self.replay, &start)?;
        for records in batches {
            self.append(&records, now)?;
        }
        info!(epoch = self.epoch.0, end = %self.log.log_end_offset(), "metadata log taken over");
        Ok(notices)
    }

    fn read_bootstrap(&self) -> Result<Option<Vec<MetadataRecord>>, MetadataError> {
        let path = self.log.log_dir().join(BOOTSTRAP);
        let Some(bytes) = read_optional(&path)? else { return Ok(None) };
        let contents = snapshot::decode(&bytes.into())
            .map_err(|error| MetadataError::Damaged { path, reason: error.to_string() })?;
        Ok(Some(contents.records))
    }

    pub(crate) fn image(&self) -> &Image {
        self.replay.image()
    }

    pub(crate) fn next_offset(&self) -> Offset {
        self.replay.next_offset()
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// One batch, applied to the image. The offset returned must be durable before anybody is told.
    pub(crate) fn append(
        &mut self,
        records: &[MetadataRecord],
        now: TimestampMs,
    ) -> Result<Offset, MetadataError> {
        let batch = self
            .replay
            .encode_next(records, self.epoch, now)
            .map_err(|error| MetadataError::Append(error.to_string()))?;
        let end = self.append_bytes(batch, now)?;
        self.replay.apply_records(records, end, self.epoch, now)?;
        Ok(end)
    }

    fn append_bytes(&self, batch: Bytes, now: TimestampMs) -> Result<Offset, MetadataError> {
        let options = AppendOptions { leader_epoch: self.epoch, origin: Origin::Metadata, now };
        let appended =
            self.log.append(batch, options).map_err(|error| MetadataError::Append(error.to_string()))?;
        Ok(appended.end_offset())
    }

    /// Whether it is time for a snapshot: so many bytes or so long after the last one.
    pub(crate) fn wants_snapshot(&self, after_bytes: u64, after_ms: Option<u64>, now: TimestampMs) -> bool {
        let news = self.last_snapshot.is_none_or(|id| id.end < self.replay.next_offset());
        let bytes = self.log.size_bytes().saturating_sub(self.bytes_at_snapshot);
        let age = u64::try_from(now.since(self.snapshot_at)).unwrap_or(0);
        news && !self.replay.is_in_transaction()
            && (bytes >= after_bytes || after_ms.is_some_and(|ms| age >= ms))
    }

    /// Writes a snapshot, and deletes what is kept no longer. What the snapshot says must be durable in the
    /// log: a log that lost it would go on at offsets that the snapshot has taken.
    pub(crate) fn snapshot(
        &mut self,
        retention: &MetadataLogConfig,
        now: TimestampMs,
    ) -> Result<(), MetadataError> {
        if self.log.durable_offset() < self.replay.next_offset() {
            return Err(MetadataError::Append("its end is not durable".to_owned()));
        }
        let (id, bytes) =
            snapshot::write(&self.replay, now).map_err(|error| MetadataError::Append(error.to_string()))?;
        write_file(&self.log.path().join(id.file_name()), &bytes)?;
        self.last_snapshot = Some(id);
        self.clean(retention, now)?;
        self.bytes_at_snapshot = self.log.size_bytes();
        self.snapshot_at = now;
        Ok(())
    }
}

impl MetadataLog {
    /// Snapshots go from the oldest on, and with each what the next one holds too, while they are too old or
    /// all of it is too large (`KafkaMetadataLog.maybeClean`). The newest always stays.
    fn clean(&self, retention: &MetadataLogConfig, now: TimestampMs) -> Result<(), MetadataError> {
        let directory = self.log.path();
        let kept = snapshots(directory)?;
        for (index, pair) in kept.windows(2).enumerate() {
            let (oldest, next) = (snapshot_file(directory, pair[0])?, pair[1]);
            let mut bytes = self.log.size_bytes();
            for id in &kept[index..] {
                bytes += snapshot_file(directory, *id)?.len();
            }
            let written = oldest.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let written = written.and_then(|at| i64::try_from(at.as_millis()).ok()).unwrap_or(now.0);
            let age_ms = u64::try_from(now.since(TimestampMs(written))).unwrap_or(0);
            let too_large = retention.retention_bytes.is_some_and(|limit| bytes > limit);
            let too_old = retention.retention_ms.is_some_and(|limit| age_ms > limit);
            if !too_large && !too_old {
                break;
            }
            if let Err(error) = self.log.delete_records_to(Some(next.end)) {
                warn!(%error, "the metadata log keeps what its snapshot holds");
            }
            remove_snapshots_before(directory, next)?;
        }
        Ok(())
    }
}

/// The log gave the batch its offset when it appended; what is replayed must bear it too.
fn at_offset(batch: &Bytes, offset: Offset) -> Bytes {
    let mut bytes = batch.to_vec();
    millstream_record::batch::set_base_offset(&mut bytes, offset);
    bytes.into()
}

/// Whether the log ends before the snapshot (`KafkaMetadataLog.truncateToLatestSnapshot`): a power cut took
/// its end, or the snapshot came from elsewhere.
fn is_behind(log: &Log, snapshot: SnapshotId) -> bool {
    match log.latest_epoch() {
        Some(epoch) if epoch == snapshot.epoch => log.log_end_offset() < snapshot.end,
        Some(epoch) => epoch < snapshot.epoch,
        None => log.log_end_offset() < snapshot.end,
    }
}

fn replay_log(log: &Log, replay: &mut Replay) -> Result<(), MetadataError> {
    let mut offset = replay.next_offset().max(log.log_start_offset());
    while offset < log.log_end_offset() {
        let request =
            ReadRequest { offset, max_bytes: READ_BYTES, at_least_one: true, isolation: Isolation::LogEnd };
        let read = log.read(request).map_err(|error| MetadataError::Read(error.to_string()))?;
        if read.records.is_empty() {
            break;
        }
        for batch in batches(&read.records) {
            let batch = batch.map_err(|error| MetadataError::Read(error.to_string()))?;
            replay.apply_batch(&read.records.slice_ref(batch.bytes)).map_err(|error| {
                MetadataError::Damaged { path: log.segment_path(offset), reason: error.to_string() }
            })?;
            offset = batch.header.next_offset();
        }
    }
    Ok(())
}

fn read_quorum_state(directory: &Path) -> Result<Option<QuorumState>, MetadataError> {
    let path = directory.join(QUORUM_STATE);
    let Some(bytes) = read_optional(&path)? else { return Ok(None) };
    let state = QuorumState::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|error| MetadataError::Damaged { path, reason: error.to_string() })?;
    Ok(Some(state))
}

fn snapshots(directory: &Path) -> Result<Vec<SnapshotId>, MetadataError> {
    let failed = |source| MetadataError::Io { operation: "list", path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        found.extend(name.to_str().and_then(SnapshotId::parse));
    }
    found.sort();
    Ok(found)
}

fn snapshot_file(directory: &Path, id: SnapshotId) -> Result<fs::Metadata, MetadataError> {
    let path = directory.join(id.file_name());
    fs::metadata(&path).map_err(|source| MetadataError::Io { operation: "measure", path, source })
}

fn newest_snapshot(directory: &Path) -> Result<Option<SnapshotId>, MetadataError> {
    Ok(snapshots(directory)?.pop())
}

fn read_snapshot(directory: &Path, id: SnapshotId) -> Result<Replay, MetadataError> {
    let path = directory.join(id.file_name());
    let bytes = read_optional(&path)?.unwrap_or_default();
    snapshot::read(id, &bytes.into())
        .map_err(|error| MetadataError::Damaged { path, reason: error.to_string() })
}

fn remove_snapshots_before(directory: &Path, keep: SnapshotId) -> Result<(), MetadataError> {
    for id in snapshots(directory)?.into_iter().filter(|id| *id < keep) {
        let path = directory.join(id.file_name());
        fs::remove_file(&path).map_err(|source| MetadataError::Io { operation: "remove", path, source })?;
    }
    Ok(())
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, MetadataError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(MetadataError::Io { operation: "read", path: path.to_owned(), source }),
    }
}

/// Whole or not at all: written aside, flushed, renamed, and the directory flushed.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), MetadataError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".tmp");
    let write = || -> io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        match path.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|source| MetadataError::Io { operation: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use millstream_log::{LogDirs, OpenOptions};
    use millstream_record::messages::TopicRecord;

    use super::*;

    const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

    struct Opened {
        dirs: LogDirs,
        log: MetadataLog,
    }

    fn start(root: &Path) -> Opened {
        try_start(root).unwrap()
    }

    fn try_start(root: &Path) -> Result<Opened, MetadataError> {
        let mut options =
            OpenOptions::new(vec![root.join("kafka")], root.join("millstream"), BrokerId(1), NOW);
        options.committer_threads = false;
        let dirs = LogDirs::open(options).unwrap();
        let registration = Registration {
            id: BrokerId(1),
            incarnation_id: Uuid(5),
            endpoints: Vec::new(),
            rack: None,
            log_dirs: dirs.dirs().into_iter().filter_map(|dir| dir.directory_id).collect(),
        };
        let node = Node { registration: &registration, locate: &|_| None };
        let (log, _) = MetadataLog::open(dirs.metadata_log(), &node, NOW)?;
        Ok(Opened { dirs, log })
    }

    fn open(root: &Path) -> Opened {
        let opened = start(root);
        opened.dirs.flush();
        opened
    }

    fn retention(bytes: Option<u64>) -> MetadataLogConfig {
        let config = millstream_config::BrokerConfig::resolve(&Default::default()).unwrap();
        MetadataLogConfig { retention_bytes: bytes, retention_ms: None, ..config.metadata_log }
    }

    fn data_dir() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("kafka")).unwrap();
        root
    }

    fn create_topic(opened: &mut Opened, name: &str, id: u128) {
        let record = TopicRecord { name: name.to_owned(), topic_id: Uuid(id), ..Default::default() };
        opened.log.append(&[record.into()], NOW).unwrap();
    }

    fn log_file(root: &Path) -> PathBuf {
        root.join("kafka/__cluster_metadata-0/00000000000000000000.log")
    }

    /// A batch's checksum does not cover its leader epoch.
    #[test]
    fn a_damaged_epoch_is_named_with_its_file() {
        let root = data_dir();
        drop(open(root.path()));
        let mut bytes = fs::read(log_file(root.path())).unwrap();
        let second = 12 + i32::from_be_bytes(*bytes[8..].first_chunk().unwrap()) as usize;
        bytes[second + 12..][..4].fill(0);
        fs::write(log_file(root.path()), bytes).unwrap();
        let refused = try_start(root.path()).err().unwrap().to_string();
        assert!(refused.contains(&*log_file(root.path()).to_string_lossy()), "{refused}");
        assert!(refused.contains("epoch"), "{refused}");
    }

    #[test]
    fn what_is_not_durable_gets_no_snapshot() {
        let root = data_dir();
        let Opened { dirs, mut log } = start(root.path());
        assert!(log.snapshot(&retention(None), NOW).is_err());
        dirs.flush();
        log.snapshot(&retention(None), NOW).unwrap();
        let written = newest_snapshot(dirs.metadata_log().path()).unwrap();
        assert_eq!(written.map(|id| id.end), Some(log.next_offset()));
    }

    #[test]
    fn old_snapshots_go_when_all_of_it_is_too_large_and_the_newest_stays() {
        let root = data_dir();
        let mut opened = open(root.path());
        let directory = opened.dirs.metadata_log().path().to_owned();
        let mut snapshot = |name: &str, id, bytes| {
            create_topic(&mut opened, name, id);
            opened.dirs.flush();
            opened.log.snapshot(&retention(bytes), NOW).unwrap();
            (snapshots(&directory).unwrap().len(), opened.dirs.metadata_log().log_start_offset())
        };
        assert_eq!(snapshot("a", 71, None), (1, Offset::ZERO));
        assert_eq!(snapshot("b", 72, None), (2, Offset::ZERO));
        assert_eq!(snapshot("c", 73, Some(1 << 20)), (3, Offset::ZERO));
        let (left, start) = snapshot("d", 74, Some(1));
        assert_eq!((left, start), (1, opened.log.next_offset()));
        drop(opened);
        assert!(open(root.path()).log.image().topics().get("a").is_some());
    }

    #[test]
    fn a_log_that_ends_before_its_snapshot_begins_again_after_it() {
        let root = data_dir();
        drop(open(root.path()));
        let early = fs::read(log_file(root.path())).unwrap();
        let mut opened = open(root.path());
        create_topic(&mut opened, "kept", 77);
        opened.dirs.flush();
        opened.log.snapshot(&retention(None), NOW).unwrap();
        let end = opened.log.next_offset();
        let epoch = opened.log.epoch();
        drop(opened);
        // What a disk may leave that did not keep its promises.
        fs::write(log_file(root.path()), early).unwrap();
        fs::remove_dir_all(root.path().join("millstream")).unwrap();
        let mut opened = open(root.path());
        assert!(opened.log.image().topics().get("kept").is_some());
        assert_eq!(opened.dirs.metadata_log().log_start_offset(), end);
        assert!(opened.log.next_offset() > end && opened.log.epoch() > epoch);
        create_topic(&mut opened, "later", 78);
        opened.dirs.flush();
        drop(opened);
        let opened = open(root.path());
        assert!(opened.log.image().topics().get("later").is_some());
    }
}
