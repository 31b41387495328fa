//! Opening the log directories: whose they are, whether they were left in order, and all their partitions in
//! parallel.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use millstream_types::{BrokerId, Offset, PartitionId, TimestampMs, TopicName, TopicPartition, Uuid};
use parking_lot::{Mutex, RwLock};

use super::{DirInfo, Intervals, LogDirs, OfflinePartition, Recovery, background};
use crate::{
    bounds::Bounds,
    checkpoint::{CLEANER_OFFSET, LOG_START_OFFSET, Offsets, RECOVERY_POINT},
    clean_shutdown,
    cold::DiskTurns,
    committer::{CommitQueue, Committer},
    config::LogConfig,
    dir::{Durability, FlushWith, LogDir, Shared},
    error::{At, LogError, OpenError},
    fs::Fs,
    log::{Doomed, LoadOptions, Loaded, Log, create, load},
    meta_properties::{META_PROPERTIES, MetaProperties},
    names::{DirectoryKind, LOCK, METADATA_TOPIC, parse_directory},
    reserve::Reserve,
};

pub struct OpenOptions {
    /// `log.dirs`; created and formatted when empty. The first holds the metadata log.
    pub dirs: Vec<PathBuf>,
    /// None takes what the directories say, or a new one.
    pub cluster_id: Option<String>,
    pub node_id: BrokerId,
    pub durability: Durability,
    pub flush_with: FlushWith,
    /// Outside the log directories: durable lower bounds, bytes cut off, the reserve.
    pub bounds_dir: PathBuf,
    /// Of partitions whose topic is not known yet.
    pub defaults: LogConfig,
    pub metadata_config: LogConfig,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    /// A batch that becomes larger when it is opened is refused.
    pub decompressed_bytes_max: usize,
    /// Set aside for the day the disk is full.
    pub reserve_bytes: u64,
    pub fs: Arc<dyn Fs>,
    /// `num.recovery.threads.per.data.dir`
    pub recovery_threads: usize,
    /// How many files may be open only because they wait to be synced. What needs more is synced in parts.
    pub unsynced_files_max: usize,
    /// False: no thread of its own, rounds are done by [`LogDirs::flush`]; for the simulator.
    pub committer_threads: bool,
    pub intervals: Intervals,
    pub now: TimestampMs,
    /// Called after each partition that was opened.
    pub progress: Box<dyn Fn(Progress) + Send + Sync>,
}

impl OpenOptions {
    /// Kafka's defaults, on the real disk.
    pub fn new(dirs: Vec<PathBuf>, bounds_dir: PathBuf, node_id: BrokerId, now: TimestampMs) -> Self {
        Self {
            dirs,
            cluster_id: None,
            node_id,
            durability: Durability::Disk,
            flush_with: FlushWith::Auto,
            bounds_dir,
            defaults: LogConfig::default(),
            metadata_config: LogConfig {
                retention_ms: None,
                max_message_bytes: 8 << 20,
                ..LogConfig::default()
            },
            producer_id_expiration_ms: 86_400_000,
            decompressed_bytes_max: 256 << 20,
            reserve_bytes: 16 << 20,
            fs: Arc::new(crate::fs::RealFs),
            recovery_threads: 2,
            unsynced_files_max: usize::MAX,
            committer_threads: true,
            intervals: Intervals::default(),
            now,
            progress: Box::new(|_| {}),
        }
    }
}

/// How far opening has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub partition: TopicPartition,
    pub done: usize,
    pub total: usize,
    /// Read with checksums for this partition.
    pub scanned_bytes: u64,
}

/// A directory that is open, and what was found in it.
struct Found {
    dir: Arc<LogDir>,
    clean: bool,
    partitions: Vec<(TopicPartition, PathBuf)>,
    recovery_points: Offsets,
    log_starts: Offsets,
    /// None if the cleaner's checkpoint is damaged: then there may be gaps anywhere.
    cleaned: Option<Offsets>,
    doomed: Vec<PathBuf>,
}

impl LogDirs {
    /// Takes the directories over. Partitions are opened with `options.defaults`: whoever knows their topics
    /// gives each its configuration before the first [`LogDirs::tick`].
    pub fn open(options: OpenOptions) -> Result<Self, OpenError> {
        let fs = options.fs.clone();
        if options.dirs.is_empty() {
            return Err(OpenError::NoDirectory);
        }
        fs.create_dir(&options.bounds_dir).at("create", &options.bounds_dir)?;
        let shared = Arc::new(Shared {
            durability: options.durability,
            flush_with: options.flush_with,
            decompressed_bytes_max: options.decompressed_bytes_max,
            producer_id_expiration_ms: AtomicI64::new(options.producer_id_expiration_ms),
            listener: RwLock::new(None),
            reserve: Reserve::open(fs.clone(), &options.bounds_dir, options.reserve_bytes)?,
            bounds_dir: options.bounds_dir.clone(),
            told_of_descriptors: AtomicBool::new(false),
        });
        let (found, lost, cluster_id) = open_dirs(&options, &shared)?;
        let (metadata_dir, metadata_loaded) = open_metadata(&options, &found)?;
        let (mut loaded, offline) = load_all(&options, &found)?;
        let mut recovery = Recovery { clean: found.iter().all(|found| found.clean), ..Recovery::default() };
        recovery.partitions = loaded.len();
        loaded.extend(metadata_loaded);
        let mut logs = HashMap::with_capacity(loaded.len());
        for Loaded { log, cut, scanned_bytes } in loaded {
            recovery.scanned_bytes += scanned_bytes;
            recovery.cuts.extend(cut);
            logs.insert(log.partition().clone(), log);
        }
        recovery.offline = offline.clone();
        let metadata = match logs.remove(&metadata_partition()) {
            Some(log) => log,
            None => create(
                &metadata_dir,
                &metadata_partition(),
                Uuid::METADATA_TOPIC,
                options.metadata_config.clone(),
            )?,
        };
        report(&recovery);
        let dirs: Vec<Arc<LogDir>> = found.iter().map(|found| found.dir.clone()).collect();
        let due = options.now;
        let doomed =
            found.into_iter().flat_map(|found| found.doomed).map(|path| Doomed { path, due }).collect();
        let committers = start_committers(&options, &dirs)?;
        let other_bounds =
            Bounds::open_others(&*fs, &options.bounds_dir, |id| dirs.iter().any(|dir| dir.id == id))?;
        let all = Self {
            cluster_id,
            node_id: options.node_id,
            defaults: options.defaults,
            shared,
            background: Mutex::new(dirs.iter().map(|_| background::State::new(options.now)).collect()),
            intervals: options.intervals,
            dirs,
            lost,
            other_bounds,
            unsynced_files_max: options.unsynced_files_max,
            logs: RwLock::new(logs),
            creating: Mutex::new(0),
            metadata,
            offline: RwLock::new(offline.into_iter().map(|o| (o.partition.clone(), o)).collect()),
            recovery,
            doomed: Mutex::new(doomed),
            committers,
        };
        // What a process that died left in the system's memory is made durable before anyone reads it.
        all.flush();
        Ok(all)
    }
}

fn start_committers(options: &OpenOptions, dirs: &[Arc<LogDir>]) -> Result<Vec<Committer>, OpenError> {
    if !options.committer_threads {
        return Ok(Vec::new());
    }
    let start = |dir: &Arc<LogDir>| Committer::start(dir.clone()).at("start the committer of", &dir.path);
    Ok(dirs.iter().map(start).collect::<Result<_, _>>()?)
}

fn report(recovery: &Recovery) {
    for cut in &recovery.cuts {
        tracing::warn!(
            partition = %cut.partition,
            path = %cut.path.display(),
            position = cut.position,
            bytes = cut.bytes,
            saved = ?cut.saved,
            "the end of the log was torn and is cut off at offset {}: {}", cut.offset, cut.reason,
        );
    }
    for offline in &recovery.offline {
        tracing::error!(partition = %offline.partition, "partition is offline: {}", offline.reason);
    }
}

pub(super) fn metadata_partition() -> TopicPartition {
    TopicPartition::new(TopicName::from_static(METADATA_TOPIC), PartitionId(0))
}

fn open_dirs(
    options: &OpenOptions,
    shared: &Arc<Shared>,
) -> Result<(Vec<Found>, Vec<DirInfo>, String), OpenError> {
    let mut cluster_id = options.cluster_id.clone();
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    for path in &options.dirs {
        match open_dir(options, shared, path, &mut cluster_id) {
            Ok(dir) => found.push(dir),
            // One directory of several may be gone; the one with the metadata may not.
            Err(OpenError::Storage(error)) if error.is_out_of_descriptors() => {
                return Err(OpenError::Descriptors(error));
            }
            Err(OpenError::Storage(error)) if path != &options.dirs[0] => {
                tracing::error!(dir = %path.display(), %error, "log directory is offline");
                lost.push(DirInfo {
                    path: path.clone(),
                    directory_id: None,
                    total_bytes: None,
                    usable_bytes: None,
                    offline: Some(error.to_string()),
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok((found, lost, cluster_id.expect("the first directory has a cluster id, or the call has failed")))
}

fn open_dir(
    options: &OpenOptions,
    shared: &Arc<Shared>,
    path: &Path,
    cluster_id: &mut Option<String>,
) -> Result<Found, OpenError> {
    let fs = &options.fs;
    fs.create_dir(path).at("create", path)?;
    let lock = fs.lock(&path.join(LOCK)).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => OpenError::Locked { dir: path.to_owned() },
        _ => crate::StorageError::new("lock", path, error).into(),
    })?;
    let id = identify(options, path, cluster_id)?;
    let listed = fs.list(path).at("list", path)?;
    let (mut partitions, mut doomed) = (Vec::new(), Vec::new());
    for entry in listed.into_iter().filter(|entry| entry.is_dir) {
        let entry_path = path.join(&entry.name);
        match parse_directory(&entry.name) {
            DirectoryKind::Partition(partition) => partitions.push((partition, entry_path)),
            DirectoryKind::Delete => doomed.push(entry_path),
            DirectoryKind::Stray | DirectoryKind::RemoteLogIndexCache => {}
            DirectoryKind::Future => {
                tracing::warn!(path = %entry_path.display(), "a replica on its way to another directory is left alone");
            }
            DirectoryKind::Foreign => {
                return Err(OpenError::ForeignDirectory { dir: path.to_owned(), found: entry.name });
            }
        }
    }
    let dir = Arc::new(LogDir {
        path: path.to_owned(),
        id,
        fs: fs.clone(),
        root: fs.open_dir(path).at("open", path)?,
        device: fs.space(path).at("measure", path)?.device,
        bounds: Bounds::open(&**fs, &options.bounds_dir, id)?,
        queue: CommitQueue::default(),
        turns: DiskTurns::default(),
        shared: shared.clone(),
        offline: OnceLock::new(),
        log_starts: Mutex::default(),
        _lock: lock,
    });
    let clean = clean_shutdown::take(&**fs, path)?;
    if !clean {
        sync_ancestors(&**fs, path);
        fs.sync_dir(path).at("sync", path)?;
    }
    Ok(Found {
        clean,
        recovery_points: RECOVERY_POINT.read(&**fs, path)?,
        log_starts: LOG_START_OFFSET.read(&**fs, path)?,
        cleaned: CLEANER_OFFSET.try_read(&**fs, path)?,
        dir,
        partitions,
        doomed,
    })
}

/// Reads `meta.properties`, or formats an empty directory.
fn identify(options: &OpenOptions, path: &Path, cluster_id: &mut Option<String>) -> Result<Uuid, OpenError> {
    let fs = &*options.fs;
    let mut meta = match MetaProperties::read(fs, path)? {
        Some(meta) => meta,
        None => {
            let ours = |name: &str| name == LOCK || name == "bootstrap.checkpoint" || name.ends_with(".tmp");
            let listed = fs.list(path).at("list", path)?;
            if let Some(foreign) = listed.into_iter().find(|entry| !ours(&entry.name)) {
                return Err(OpenError::NotALogDirectory { dir: path.to_owned(), found: foreign.name });
            }
            let cluster_id = cluster_id.get_or_insert_with(|| Uuid::random().to_string()).clone();
            MetaProperties { cluster_id, node_id: options.node_id, directory_id: None }
        }
    };
    let mismatch = |key, found: String, expected: String| OpenError::Identity {
        path: path.join(META_PROPERTIES),
        key,
        found,
        expected,
    };
    if meta.node_id != options.node_id {
        return Err(mismatch("node.id", meta.node_id.to_string(), options.node_id.to_string()));
    }
    let expected = cluster_id.get_or_insert_with(|| meta.cluster_id.clone());
    if *expected != meta.cluster_id {
        return Err(mismatch("cluster.id", meta.cluster_id, expected.clone()));
    }
    if let Some(id) = meta.directory_id {
        return Ok(id);
    }
    let id = Uuid::random();
    meta.directory_id = Some(id);
    meta.write(fs, path)?;
    Ok(id)
}

/// A directory that was just made, by us or by a process that was killed then, is only as durable as its name
/// in the one above. Those further up that may not be read were not made by us.
fn sync_ancestors(fs: &dyn Fs, path: &Path) {
    for ancestor in path.ancestors().skip(1) {
        let ancestor = if ancestor == Path::new("") { Path::new(".") } else { ancestor };
        if let Err(error) = fs.sync_dir(ancestor) {
            tracing::debug!(path = %ancestor.display(), %error, "cannot sync a directory above the log directory");
            return;
        }
    }
}

/// The metadata log stands in no checkpoint: as Kafka does, all of it is read.
fn open_metadata(options: &OpenOptions, found: &[Found]) -> Result<(Arc<LogDir>, Option<Loaded>), OpenError> {
    let first = &found[0];
    let partition = metadata_partition();
    let Some((_, path)) = first.partitions.iter().find(|(found, _)| *found == partition) else {
        return Ok((first.dir.clone(), None));
    };
    let loaded = load(
        &first.dir,
        LoadOptions {
            partition,
            path: path.clone(),
            config: options.metadata_config.clone(),
            clean: false,
            recovery_point: Offset::ZERO,
            log_start_offset: Offset::ZERO,
            cleaned_until: Offset::ZERO,
            now: options.now,
        },
    );
    match loaded {
        Ok(loaded) => Ok((first.dir.clone(), loaded)),
        Err(LogError::Storage(error)) => Err(error.into()),
        Err(LogError::Offline(offline)) => Err(OpenError::MetadataLog(offline)),
        Err(other) => Err(OpenError::MetadataLog(crate::Offline { reason: other.to_string() })),
    }
}

/// What [`load_all`] has opened so far.
#[derive(Default)]
struct Opened {
    loaded: Vec<Loaded>,
    offline: Vec<OfflinePartition>,
    /// Of the last of them; their files stay open until they are synced.
    unsynced: Vec<Arc<Log>>,
    unsynced_files: usize,
}

impl Opened {
    fn add(&mut self, loaded: Loaded, found: &[Found], unsynced_files_max: usize) {
        self.unsynced_files += loaded.log.unsynced_files();
        self.unsynced.push(loaded.log.clone());
        self.loaded.push(loaded);
        if self.unsynced_files >= unsynced_files_max {
            self.unsynced_files = 0;
            self.unsynced.drain(..).for_each(|log| log.enqueue());
            found.iter().for_each(|found| found.dir.queue.wait(&found.dir));
        }
    }
}

type ToLoad<'a> = VecDeque<(&'a Found, &'a TopicPartition, &'a PathBuf)>;

fn to_load(found: &[Found]) -> Result<ToLoad<'_>, OpenError> {
    let mut seen: HashMap<&TopicPartition, &PathBuf> = HashMap::new();
    let mut jobs = VecDeque::new();
    for directory in found {
        for (partition, path) in &directory.partitions {
            if *partition == metadata_partition() {
                continue;
            }
            if let Some(first) = seen.insert(partition, path) {
                let (first, second) = (first.clone(), path.clone());
                return Err(OpenError::Duplicate { partition: partition.clone(), first, second });
            }
            jobs.push_back((directory, partition, path));
        }
    }
    Ok(jobs)
}

/// Opens all partitions with several threads. One that is damaged is offline; a disk that fails takes its
/// whole directory offline.
fn load_all(
    options: &OpenOptions,
    found: &[Found],
) -> Result<(Vec<Loaded>, Vec<OfflinePartition>), OpenError> {
    let jobs = to_load(found)?;
    let (total, done) = (jobs.len(), AtomicUsize::new(0));
    let jobs = Mutex::new(jobs);
    let opened: Mutex<Opened> = Mutex::default();
    let want_of_descriptors = Mutex::new(None);
    let next_job = || jobs.lock().pop_front();
    let work = || {
        while let Some((directory, partition, path)) = next_job() {
            let offset_in = |offsets: &Offsets| offsets.get(partition).copied().unwrap_or(Offset::ZERO);
            let load_options = LoadOptions {
                partition: partition.clone(),
                path: path.clone(),
                config: options.defaults.clone(),
                clean: directory.clean,
                recovery_point: offset_in(&directory.recovery_points),
                log_start_offset: offset_in(&directory.log_starts),
                cleaned_until: directory.cleaned.as_ref().map_or(Offset(i64::MAX), offset_in),
                now: options.now,
            };
            let scanned_bytes = match load(&directory.dir, load_options) {
                Ok(None) => 0,
                Ok(Some(loaded)) => {
                    let scanned_bytes = loaded.scanned_bytes;
                    opened.lock().add(loaded, found, options.unsynced_files_max);
                    scanned_bytes
                }
                // As many as there are now are needed at the least: half of the partitions serve nobody.
                Err(LogError::Storage(error)) if error.is_out_of_descriptors() => {
                    *want_of_descriptors.lock() = Some(error);
                    return;
                }
                Err(error) => {
                    if let LogError::Storage(error) = &error {
                        directory.dir.poison(error);
                    }
                    let reason = error.to_string();
                    let offline =
                        OfflinePartition { partition: partition.clone(), path: path.clone(), reason };
                    opened.lock().offline.push(offline);
                    0
                }
            };
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            (options.progress)(Progress { partition: partition.clone(), done, total, scanned_bytes });
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.recovery_threads.min(total) {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = want_of_descriptors.into_inner() {
        return Err(OpenError::Descriptors(error));
    }
    let Opened { loaded, offline, .. } = opened.into_inner();
    Ok((loaded, offline))
}
