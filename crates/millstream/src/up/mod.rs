//! `millstream up`: resolve the settings, start the roles, say that they are ready, wait for a signal,
//! drain.

mod http;
mod ready;
mod settings;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread::available_parallelism,
};

use anyhow::{Context, Result};
use millstream_broker::Broker;
use millstream_telemetry::{LogFormat, init_logs};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{ready::Ready, settings::Settings};
use crate::demo::{self, Speed};

/// Threads that serve connections, at least: on fewer processors too, since they share them with whoever keeps the
/// machine busy, and more threads get a larger share (docs/internals/performance.md, "While somebody attacks").
const THREADS_MIN: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept [default: $XDG_DATA_HOME/millstream]
    #[arg(long, value_name = "DIR", env = "MILLSTREAM_DATA")]
    data: Option<PathBuf>,
    /// Where to listen; repeat for more. Port 0 takes a free one [default: PLAINTEXT://localhost:9092]
    #[arg(long, value_name = "NAME://HOST:PORT")]
    listen: Vec<String>,
    /// What clients of a listener are told [default: the local address of their own connection]
    #[arg(long, value_name = "NAME://HOST:PORT")]
    advertise: Vec<String>,
    /// disk: acknowledged means flushed [default]. os: left to the operating system, as Apache Kafka does
    #[arg(long, value_enum)]
    durability: Option<DurabilityArgument>,
    /// How a flush round is done: auto chooses fdatasync for one or two files, syncfs for more
    #[arg(long, value_enum)]
    flush_with: Option<FlushWithArgument>,
    /// millstream.toml, or Kafka's server.properties
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One configuration key; repeat for more
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Gets the ready line when the platform is ready
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// What to print when ready
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Replay a week of New York's departures into flights.* topics
    #[arg(long)]
    demo: bool,
    /// How many times faster than it happened the demo is replayed
    #[arg(long, value_name = "FACTOR", default_value_t = Speed::DEFAULT)]
    demo_speed: Speed,
    /// /metrics and /healthz [default: 8080, or a free one when a --listen port is 0]
    #[arg(long, value_name = "PORT")]
    console_port: Option<u16>,
    /// What is logged, in tracing's syntax: warn, info, millstream_broker=debug
    #[arg(long, value_name = "FILTER", env = "MILLSTREAM_LOG", default_value = "warn")]
    log: String,
    /// The shape of log lines on stderr
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormatArgument,
    /// Of `kafka-server-start`: keys that go before those of the file, unknown ones too
    #[arg(skip)]
    overrides: Vec<(String, String)>,
}

impl Arguments {
    /// With a configuration file, and keys that go before those in it.
    pub(crate) fn of_file(config: PathBuf, data: PathBuf, overrides: Vec<(String, String)>) -> Self {
        Self {
            config: Some(config),
            data: Some(data),
            overrides,
            listen: Vec::new(),
            advertise: Vec::new(),
            durability: None,
            flush_with: None,
            set: Vec::new(),
            ready_file: None,
            output: Output::default(),
            demo: false,
            demo_speed: Speed::DEFAULT,
            // Kafka's brokers open no such port, and several may run.
            console_port: Some(0),
            log: "warn".to_owned(),
            log_format: LogFormatArgument::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum DurabilityArgument {
    #[default]
    Disk,
    Os,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum FlushWithArgument {
    #[default]
    Auto,
    Fdatasync,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum LogFormatArgument {
    #[default]
    Text,
    Json,
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let format = match arguments.log_format {
        LogFormatArgument::Text => LogFormat::Text,
        LogFormatArgument::Json => LogFormat::Json,
    };
    init_logs(&arguments.log, format);
    raise_open_file_limit();
    without_huge_pages();
    let settings = settings::resolve(&arguments)?;
    let threads = available_parallelism().map_or(THREADS_MIN, |processors| processors.get().max(THREADS_MIN));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(serve(&arguments, settings))
}

/// Connections and segments are files; the hard limit is what the system allows anyway.
fn raise_open_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Each that a thread touches takes 2 MB: 35 MB more after a load, for two to four percent of processor time that could
/// not be told from chance (docs/internals/performance.md, "Memory").
fn without_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay");
    }
}

async fn serve(arguments: &Arguments, settings: Settings) -> Result<ExitCode> {
    // Before anything else: a signal during start must not kill the process half way.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (http, http_address) = http::bind(settings.console_port).await?;
    let broker = Arc::new(Broker::start(settings.broker).await?);
    for notice in settings.notices.iter().chain(&broker.notices) {
        eprintln!("millstream: {notice}");
    }
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(http::serve(http, Arc::clone(&broker), stop.clone()));
    let ready = Ready {
        ready: true,
        bootstrap: broker.bootstrap(),
        console: format!("http://{http_address}"),
        data: settings.data.display().to_string(),
        durability: match settings.durability {
            DurabilityArgument::Disk => "disk",
            DurabilityArgument::Os => "os",
        },
        pid: std::process::id(),
    };
    announce(arguments, settings.ready_file.as_deref(), &ready)?;
    if arguments.demo {
        let (bootstrap, speed, stop) = (ready.bootstrap.clone(), arguments.demo_speed, stop.clone());
        tasks.spawn(async move {
            if let Err(error) = demo::run(&bootstrap, speed, stop).await {
                tracing::error!(error = format!("{error:#}"), "the demo stream has ended");
            }
        });
    }
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        reason = broker.failed() => Some(reason),
    };
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    broker.shutdown().await;
    match failed {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => Err(anyhow::anyhow!(reason)),
    }
}

#[expect(clippy::print_stdout, reason = "the ready line and the panel are this command's output")]
fn announce(arguments: &Arguments, ready_file: Option<&Path>, ready: &Ready) -> Result<()> {
    match arguments.output {
        Output::Json => println!("{}", ready.line()),
        Output::Text => println!("{}", ready.panel(arguments.demo)),
    }
    if let Some(path) = ready_file {
        ready.write_file(path).with_context(|| format!("cannot write the ready file {}", path.display()))?;
    }
    Ok(())
}
