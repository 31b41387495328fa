//! Starting and stopping a broker, in order.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use millstream_config::{BrokerConfig, ConfigError, Properties};
use millstream_log::{LogDirs, OpenError, OpenOptions, Progress};
use millstream_metadata::{Image, Registration};
use millstream_telemetry::Metrics;
use millstream_types::{TimestampMs, TopicPartition, Uuid};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    api::Api,
    background,
    clock::{Clock, SystemClock},
    controller::{Controller, Setup},
    fetch_session::{FetchSessions, SessionLimits},
    follow::Follower,
    gauges::Gauges,
    groups::Groups,
    metadata_log::{MetadataError, MetadataLog, Node},
    open_files::OpenFiles,
    options::{AdvertisedListener, BrokerOptions, ListenerOptions, ListenerParseError},
    partitions::Partitions,
    parts::Parts,
    server::{
        self, BindError, BoundListener, ConnectionLimits, Memory, Tuning,
        response::{FileTurns, RequestQueue},
    },
    settings::DynamicSettings,
    workers::Workers,
};

/// Changes of the metadata whose meaning to others is still to be passed on; the next one waits.
const FOLLOWED_MAX: usize = 64;
/// How long connections get to finish what they began when the broker stops.
const DRAIN: Duration = Duration::from_secs(10);
/// `min.incremental.fetch.session.eviction.ms` of Kafka; there is no key for it.
const SESSION_EVICTION_MS: i64 = 120_000;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listener(#[from] ListenerParseError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("cannot {operation} {}: {source}", .path.display())]
    Directory { operation: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{} is not a Millstream data directory: it holds {found:?}; choose an empty or a new directory with --data",
        .path.display()
    )]
    Foreign { path: PathBuf, found: String },
    #[error("the metadata log could not be made durable")]
    NotDurable,
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// A running broker.
pub struct Broker {
    parts: Arc<Parts>,
    bootstrap: String,
    connections: TaskTracker,
    failure: watch::Receiver<Option<String>>,
    pub notices: Vec<String>,
}

impl Broker {
    /// Opens the data directory, setting an empty one up, and serves clients when this returns.
    pub async fn start(options: BrokerOptions) -> Result<Self, StartError> {
        let settings = DynamicSettings::new(options.settings.clone())?;
        let config = settings.current();
        let listeners = bind(&config.broker)?;
        let directories = directories(&options.data, &config.broker)?;
        settings.complete(effective(&config.broker, &directories.log_dirs, &listeners))?;
        let config = settings.current();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log_dirs = open_logs(&options, &directories, &settings, clock.now()).await?;
        let registration = registration(&config.broker, &log_dirs, &listeners);
        let metrics = Arc::new(Metrics::default());
        let partitions = Partitions::new(Arc::clone(&metrics), log_dirs.metadata_log());
        let follower = Arc::new(Follower {
            node_id: config.broker.node_id,
            log_dirs: Arc::clone(&log_dirs),
            partitions: Arc::clone(&partitions),
            settings: Arc::clone(&settings),
            unopened: Default::default(),
        });
        let opened = take_over(&log_dirs, &registration, &follower, clock.now()).await?;
        let stopping = CancellationToken::new();
        let tasks = TaskTracker::new();
        let (followed, follows) = mpsc::channel(FOLLOWED_MAX);
        let setup = Setup {
            node_id: config.broker.node_id,
            clock: Arc::clone(&clock),
            settings: Arc::clone(&settings),
            follower,
            partition: Arc::clone(partitions.metadata()),
            tasks: tasks.clone(),
            followed,
        };
        let controller = Controller::new(setup, opened.log);
        let woken = Arc::clone(&partitions);
        log_dirs.set_flush_listener(Arc::new(move |logs| woken.wake(logs)));
        let fetch_sessions = FetchSessions::new(SessionLimits {
            slots: usize::try_from(config.broker.fetch.session_slots).unwrap_or(usize::MAX),
            eviction_ms: SESSION_EVICTION_MS,
        });
        let network = &config.broker.network;
        let parts = Arc::new(Parts {
            groups: Groups::new(Arc::clone(&clock), &config.broker.offsets),
            clock,
            settings,
            log_dirs,
            partitions,
            controller,
            producer_ids: Default::default(),
            fetch_sessions,
            metrics,
            memory: Memory::new(
                network.request_memory_bytes.map(|b| usize::try_from(b).unwrap_or(usize::MAX)),
            ),
            request_queue: RequestQueue::new(
                usize::try_from(network.requests_queued_max).unwrap_or(usize::MAX),
            ),
            file_turns: FileTurns::new(),
            openers: Workers::start("opener").map_err(StartError::Thread)?,
            stopping,
            tasks,
        });
        parts.metrics.register_collector(Gauges::new(&parts));
        let failure = background::spawn(&parts, follows);
        parts.load_groups();
        let bootstrap = bootstrap(&listeners);
        let connections = serve(&parts, listeners).await?;
        Ok(Self { parts, bootstrap, connections, failure, notices: opened.notices })
    }

    /// What a client on this machine connects to.
    pub fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    pub fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    /// Paths and reasons of log directories that failed.
    pub fn offline_log_dirs(&self) -> Vec<String> {
        let dirs = self.parts.log_dirs.dirs().into_iter();
        dirs.filter_map(|dir| Some(format!("{}: {}", dir.path.display(), dir.offline?))).collect()
    }

    /// Waits until the broker can no longer do its work; says why.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        loop {
            if let Some(reason) = failure.borrow_and_update().clone() {
                return reason;
            }
            if failure.changed().await.is_err() {
                // Nobody watches any more: the broker is stopping by itself.
                return std::future::pending().await;
            }
        }
    }

    /// Answers what was accepted, then closes the logs so that the next start need not scan them.
    pub async fn shutdown(&self) {
        let parts = &self.parts;
        parts.stopping.cancel();
        parts.groups.close();
        self.connections.close();
        if tokio::time::timeout(DRAIN, self.connections.wait()).await.is_err() {
            warn!("some connections did not finish in time");
        }
        if let Err(failure) = parts.controller.shut_down().await {
            warn!(?failure, "the metadata log has no record of this stop");
        }
        parts.tasks.close();
        if tokio::time::timeout(DRAIN, parts.tasks.wait()).await.is_err() {
            warn!("some background work did not finish in time");
        }
        let closing = Arc::clone(parts);
        let closed = tokio::task::spawn_blocking(move || {
            let image = &closing.controller.published().image;
            let registered = image.broker(closing.controller.node_id());
            let epoch = registered.map_or(-1, |broker| broker.epoch().0);
            closing.log_dirs.close_with_epoch(closing.clock.now(), epoch);
        });
        if let Err(error) = closed.await {
            warn!(%error, "the logs were not closed cleanly");
        }
        info!("stopped");
    }
}

struct Directories {
    log_dirs: Vec<PathBuf>,
    private: PathBuf,
}

/// Where things go; what does not exist is made. A directory that is somebody else's is left alone.
fn directories(data: &Path, config: &BrokerConfig) -> Result<Directories, StartError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Directory { operation, path, source }
    };
    let private = data.join("millstream");
    let log_dirs = match config.storage.log_dirs.as_slice() {
        [] => vec![data.join("kafka")],
        configured => configured.to_vec(),
    };
    if data.exists() {
        for entry in fs::read_dir(data).map_err(failed("read", data))? {
            let name = entry.map_err(failed("read", data))?.file_name().to_string_lossy().into_owned();
            if name != "kafka" && name != "millstream" && name != "lost+found" && !name.starts_with('.') {
                return Err(StartError::Foreign { path: data.to_owned(), found: name });
            }
        }
    }
    // The log directories are made where they are opened: one of several may be missing.
    fs::create_dir_all(&private).map_err(failed("create", &private))?;
    Ok(Directories { log_dirs, private })
}

fn bind(config: &BrokerConfig) -> Result<Vec<BoundListener>, StartError> {
    let advertised: Vec<AdvertisedListener> =
        config.network.advertised_listeners.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let tuning = Tuning::from(&config.network);
    let mut bound = Vec::new();
    for text in &config.network.listeners {
        let mut listener: ListenerOptions = text.parse()?;
        let own = advertised.iter().find(|advertised| advertised.name == listener.name);
        listener.advertised = own.map(|advertised| advertised.advertised.clone());
        bound.push(server::bind(&listener, &tuning)?);
    }
    Ok(bound)
}

/// The settings that a configuration may leave open and that are fixed once the broker runs.
fn effective(config: &BrokerConfig, log_dirs: &[PathBuf], listeners: &[BoundListener]) -> Properties {
    let log_dirs: Vec<String> = log_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let listener = |(text, bound): (&String, &BoundListener)| match text.rsplit_once(':') {
        Some((name_and_host, "0")) => format!("{name_and_host}:{}", bound.port),
        _ => text.clone(),
    };
    let listeners: Vec<String> = config.network.listeners.iter().zip(listeners).map(listener).collect();
    let id = config.node_id.to_string();
    [
        ("node.id", id.clone()),
        ("broker.id", id),
        ("process.roles", "broker,controller".to_owned()),
        ("log.dirs", log_dirs.join(",")),
        ("listeners", listeners.join(",")),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn open_logs(
    options: &BrokerOptions,
    directories: &Directories,
    settings: &DynamicSettings,
    now: TimestampMs,
) -> Result<Arc<LogDirs>, StartError> {
    let current = settings.current();
    let storage = &current.broker.storage;
    let mut open = OpenOptions::new(
        directories.log_dirs.clone(),
        directories.private.clone(),
        current.broker.node_id,
        now,
    );
    open.durability = options.durability;
    open.flush_with = options.flush_with;
    open.defaults = current.log_config(&Default::default());
    open.metadata_config = current.metadata_log_config();
    open.producer_id_expiration_ms = storage.producer_id_expiration_ms;
    let interval = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    open.intervals.retention_check_ms = interval(storage.retention_check_interval_ms);
    open.intervals.producer_expiration_check_ms = interval(storage.producer_id_expiration_check_ms);
    open.intervals.checkpoint_ms =
        open.intervals.checkpoint_ms.min(interval(storage.recovery_point_checkpoint_ms));
    open.recovery_threads =
        usize::try_from(storage.recovery_threads_per_dir).unwrap_or(1) * directories.log_dirs.len();
    open.unsynced_files_max = OpenFiles::of_process().for_syncing();
    let progress = Arc::clone(&options.progress);
    open.progress = Box::new(move |done: Progress| progress(done));
    let opened = tokio::task::spawn_blocking(move || LogDirs::open(open)).await;
    let log_dirs = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
    for cut in &log_dirs.recovery().cuts {
        warn!(?cut, "a torn tail was cut off and kept aside");
    }
    for offline in &log_dirs.recovery().offline {
        warn!(partition = %offline.partition, path = %offline.path.display(), reason = %offline.reason,
            "a partition is damaged and stays offline");
    }
    Ok(Arc::new(log_dirs))
}

fn registration(config: &BrokerConfig, log_dirs: &LogDirs, listeners: &[BoundListener]) -> Registration {
    let endpoint = |listener: &BoundListener| {
        let advertised = listener.advertised.as_ref();
        millstream_metadata::Endpoint {
            listener: listener.name.clone(),
            host: advertised.map_or_else(|| listener.host_for_clients(), |a| a.host.clone()),
            port: advertised.map_or(listener.port, |a| if a.port == 0 { listener.port } else { a.port }),
        }
    };
    Registration {
        id: config.node_id,
        incarnation_id: Uuid::random(),
        endpoints: listeners.iter().map(endpoint).collect(),
        rack: config.rack.clone(),
        log_dirs: log_dirs.dirs().into_iter().filter_map(|dir| dir.directory_id).collect(),
    }
}

struct TakenOver {
    log: MetadataLog,
    notices: Vec<String>,
}

/// Reads the metadata, takes over as the leader, and opens every partition that it names.
async fn take_over(
    log_dirs: &Arc<LogDirs>,
    registration: &Registration,
    follower: &Arc<Follower>,
    now: TimestampMs,
) -> Result<TakenOver, StartError> {
    let (log_dirs, registration, follower) =
        (Arc::clone(log_dirs), registration.clone(), Arc::clone(follower));
    let taking_over = tokio::task::spawn_blocking(move || {
        let locate = |partition: &TopicPartition| log_dirs.get(partition).map(|log| log.directory_id());
        let node = Node { registration: &registration, locate: &locate };
        let (log, notices) = MetadataLog::open(log_dirs.metadata_log(), &node, now)?;
        log_dirs.flush();
        if log_dirs.metadata_log().high_watermark() < log.next_offset() {
            return Err(StartError::NotDurable);
        }
        set_strays_aside(&log_dirs, log.image());
        follower.take_up(log.image(), now);
        Ok(TakenOver { log, notices })
    });
    taking_over.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Directories of partitions that the metadata does not know, or knows under another id, are renamed and
/// kept, as Kafka does.
fn set_strays_aside(log_dirs: &LogDirs, image: &Image) {
    for log in log_dirs.logs() {
        let partition = log.partition();
        let topic = image.topics().get(partition.topic.as_str());
        let known = topic.is_some_and(|topic| {
            topic.id == log.topic_id() && topic.partitions.contains_key(&partition.partition)
        });
        if !known {
            match log_dirs.mark_stray(partition) {
                Ok(path) => {
                    warn!(%partition, path = %path.display(), "no topic has this partition; set aside")
                }
                Err(error) => warn!(%partition, %error, "a stray partition could not be set aside"),
            }
        }
    }
}

fn bootstrap(listeners: &[BoundListener]) -> String {
    let address = |listener: &BoundListener| {
        let host = listener.host_for_clients();
        if host.contains(':') {
            format!("[{host}]:{}", listener.port)
        } else {
            format!("{host}:{}", listener.port)
        }
    };
    listeners.iter().map(address).collect::<Vec<_>>().join(",")
}

async fn serve(parts: &Arc<Parts>, listeners: Vec<BoundListener>) -> Result<TaskTracker, StartError> {
    let api = Api::new(Arc::clone(parts));
    let changes = parts.settings.changes();
    let settings = parts.settings.current();
    let limits = ConnectionLimits::new(&settings.broker.network.limits, Arc::clone(&parts.metrics)).await;
    let following = Arc::clone(&limits).follow(changes);
    let stopping = parts.stopping.clone();
    parts.tasks.spawn(async move { stopping.run_until_cancelled(following).await });
    let connections = TaskTracker::new();
    for listener in listeners {
        let name = listener.name.clone();
        server::serve(listener, &api, &limits, &connections, &parts.stopping).map_err(|source| {
            StartError::Directory { operation: "serve listener", path: PathBuf::from(name), source }
        })?;
    }
    Ok(connections)
}
