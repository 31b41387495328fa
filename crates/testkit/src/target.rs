//! A broker under test, whichever it is.

use std::{
    env, fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    kafka, millstream,
    ports::free_port,
    process::{Process, Program},
    wait::wait_until,
};

/// How long a broker may take until it serves: a cold JVM on a busy machine, or a long recovery. A Kafka that
/// was killed also waits for its earlier registration to end, and on few cores for its own controller.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How long a broker may take to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// A port that was free when it was chosen may be gone when the broker binds it.
pub(crate) const PORT_TRIES: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Millstream,
    Kafka,
}

impl Kind {
    /// As `MILLSTREAM_TARGET` says; Millstream when it says nothing.
    pub fn from_env() -> Result<Self> {
        match env::var("MILLSTREAM_TARGET").as_deref() {
            Err(_) | Ok("" | "millstream") => Ok(Self::Millstream),
            Ok("kafka") => Ok(Self::Kafka),
            Ok(other) => bail!("MILLSTREAM_TARGET is {other:?}, not millstream or kafka"),
        }
    }
}

/// What to start and how. The default is the kind that the environment names, in a fresh directory.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    pub kind: Option<Kind>,
    /// Broker configuration, by Kafka's keys.
    pub settings: Vec<(String, String)>,
    /// Kept when given; else a temporary directory that goes with the target.
    pub dir: Option<PathBuf>,
    /// Put in front of the command line, such as `strace` with its options.
    pub wrapper: Vec<String>,
    /// Further arguments of `millstream up`.
    pub arguments: Vec<String>,
    /// JVM options of a real Kafka, instead of a small heap and a quick start.
    pub java_options: Vec<String>,
}

impl TargetOptions {
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    #[must_use]
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }

    #[must_use]
    pub fn dir(mut self, path: &Path) -> Self {
        self.dir = Some(path.to_owned());
        self
    }

    #[must_use]
    pub fn wrapper<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = words.into_iter().map(Into::into).collect();
        self
    }

    /// So many files may be open.
    #[must_use]
    pub fn open_files(self, limit: usize) -> Self {
        self.wrapper(["prlimit".to_owned(), format!("--nofile={limit}:{limit}")])
    }
}

pub struct Target;

impl Target {
    /// Starts a broker and waits until it serves.
    pub fn start(options: TargetOptions) -> Result<Running> {
        let kind = match options.kind {
            Some(kind) => kind,
            None => Kind::from_env()?,
        };
        let mut running = Running::new(kind, options, free_port()?)?;
        for tries_left in (0..PORT_TRIES).rev() {
            running.start_again()?;
            match running.wait_ready() {
                Ok(()) => break,
                Err(_) if tries_left > 0 && running.port_was_taken() => {
                    running.process = None;
                    running.place.port = free_port()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(running)
    }
}

/// Where a target lives and what it was asked for; the same at each restart.
pub(crate) struct Place {
    pub(crate) root: PathBuf,
    pub(crate) options: TargetOptions,
    /// The clients' port.
    pub(crate) port: u16,
}

impl Place {
    pub(crate) fn output_file(&self) -> PathBuf {
        self.root.join("output.log")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.data_dir().join("kafka")
    }

    /// The command line of `program`, behind the wrapper if there is one.
    pub(crate) fn wrapped(&self, program: &str) -> Program {
        let mut words = self.options.wrapper.iter().cloned().chain([program.to_owned()]);
        let first = words.next().unwrap_or_default();
        Program::new(first).args(words)
    }
}

/// What is known of a broker once it serves.
#[derive(Default)]
pub(crate) struct Ready {
    pub(crate) bootstrap: String,
    pub(crate) line: serde_json::Value,
}

/// A broker that was started here. Dropping it kills it and removes its temporary directory.
pub struct Running {
    kind: Kind,
    place: Place,
    ready: Ready,
    process: Option<Process>,
    _temporary: Option<TempDir>,
}

impl Running {
    /// Stopped as yet.
    pub(crate) fn new(kind: Kind, options: TargetOptions, port: u16) -> Result<Self> {
        let mut temporary = None;
        let root = match &options.dir {
            Some(dir) => dir.clone(),
            None => {
                let made = tempfile::Builder::new().prefix("millstream-test-").tempdir()?;
                temporary.insert(made).path().to_owned()
            }
        };
        fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
        let place = Place { root: root.canonicalize()?, options, port };
        Ok(Self { kind, place, ready: Ready::default(), process: None, _temporary: temporary })
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `127.0.0.1:PORT`; a restart keeps it.
    pub fn bootstrap(&self) -> &str {
        &self.ready.bootstrap
    }

    /// The directory with all that the target writes, its output in `output.log` included.
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// Millstream's `--data`; for a real Kafka the directory that holds its `log.dirs`.
    pub fn data_dir(&self) -> PathBuf {
        self.place.data_dir()
    }

    /// The `log.dirs`: partition directories, checkpoints, `meta.properties`.
    pub fn log_dir(&self) -> PathBuf {
        self.place.log_dir()
    }

    /// The line that Millstream wrote when it was ready; null for a real Kafka.
    pub fn ready_line(&self) -> &serde_json::Value {
        &self.ready.line
    }

    /// What Millstream's `/metrics` says of one series, its labels included; 0 if it does not know it.
    pub fn metric(&self, series: &str) -> Result<u64> {
        let console = self.ready.line["console"].as_str().and_then(|url| url.strip_prefix("http://"));
        let mut stream = TcpStream::connect(console.context("the target named no console")?)?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        let value = answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(Ok(0), |value| value.parse().with_context(|| format!("{series} is {value}")))
    }

    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the target is stopped")?.pid())
    }

    /// Everything that the broker printed since it was first started.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.place.output_file()).unwrap_or_default()).into_owned()
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the target is stopped")?;
        process.signal(Signal::TERM)?;
        process.wait(STOP_LIMIT)
    }

    /// Waits until it ends by itself.
    pub fn wait_end(&mut self) -> Result<ExitStatus> {
        self.process.take().context("the target is stopped")?.wait(STOP_LIMIT)
    }

    /// SIGKILL. An error when it had already ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the target is stopped")?.kill()?;
        Ok(())
    }

    /// Starts it again on the same directory and port, after stopping it if it runs.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.stop()?;
        }
        self.start_again()?;
        self.wait_ready()
    }

    /// Starts a stopped target without waiting until it serves, so that it can be killed on the way there.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the target is running");
        self.process = Some(match self.kind {
            Kind::Millstream => millstream::spawn(&self.place)?,
            Kind::Kafka => kafka::spawn(&self.place)?,
        });
        Ok(())
    }

    /// Waits until the broker serves.
    pub fn wait_ready(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("the target is stopped")?;
        let place = &self.place;
        let ready = wait_until("the broker to serve", START_LIMIT, || {
            if let Some(status) = process.ended()? {
                bail!("the broker ended with {status}");
            }
            match self.kind {
                Kind::Millstream => millstream::ready(place),
                Kind::Kafka => kafka::ready(place, process),
            }
        });
        self.ready =
            ready.with_context(|| format!("the broker said:\n{}", last_lines(&process.output(), 30)))?;
        Ok(())
    }

    pub(crate) fn port_was_taken(&self) -> bool {
        let output = self.process.as_ref().map(Process::output).unwrap_or_default();
        output.contains("Address already in use")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- last output of the broker in {}\n{}",
                self.place.root.display(),
                last_lines(&self.output(), 40)
            );
        }
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
