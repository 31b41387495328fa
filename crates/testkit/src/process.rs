//! Child processes that cannot outlive the test: killed on drop, and by the kernel when the test process
//! is itself killed.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_until;

/// What is to be run: program, arguments, environment, directory and input.
#[derive(Clone, Debug)]
pub struct Program {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
    input: Vec<u8>,
    limit: Duration,
}

impl Program {
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            arguments: vec![path.as_ref().display().to_string()],
            environment: Vec::new(),
            directory: None,
            input: Vec::new(),
            limit: Duration::from_secs(180),
        }
    }

    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    #[must_use]
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.environment.push((key.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.directory = Some(path.to_owned());
        self
    }

    /// What the program reads from its standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// How long it may take before it is killed (three minutes unless said).
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Result<Finished> {
        let name = self.arguments.join(" ");
        let mut command = self.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Owned(spawn(command).with_context(|| name.clone())?);
        let mut stdin = child.0.stdin.take().context("no stdin")?;
        let (stdout, stderr) = (child.0.stdout.take(), child.0.stderr.take());
        let input = self.input;
        let feeding = thread::spawn(move || {
            // A program that does not want its input may end before it has read it.
            drop(stdin.write_all(&input));
        });
        let out = thread::spawn(move || slurp(stdout));
        let err = thread::spawn(move || slurp(stderr));
        let ended = wait_until(&name, self.limit, || Ok(child.0.try_wait()?));
        if ended.is_err() {
            child.0.kill()?;
        }
        let joined = |thread: thread::JoinHandle<String>| thread.join().unwrap_or_default();
        let (stdout, stderr) = (joined(out), joined(err));
        drop(feeding.join());
        let status = ended.with_context(|| format!("stdout:\n{stdout}\nstderr:\n{stderr}"))?;
        Ok(Finished { name, status, stdout, stderr })
    }

    /// Starts it with all its output in `log`, and leaves it running.
    pub fn start(self, log: &Path) -> Result<Process> {
        let name = self.arguments.join(" ");
        let file =
            File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = spawn(command).with_context(|| name.clone())?;
        Ok(Process { child: Owned(child), name, log: log.to_owned() })
    }

    fn command(&self) -> Command {
        let mut command = if has_setpriv() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--"]);
            command.args(&self.arguments);
            command
        } else {
            let mut command = Command::new(&self.arguments[0]);
            command.args(&self.arguments[1..]);
            command
        };
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Finished {
    pub name: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Its standard output, if it ended well.
    pub fn ok(self) -> Result<String> {
        let Self { name, status, stdout, stderr } = self;
        ensure!(status.success(), "{name}: {status}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        Ok(stdout)
    }
}

/// A process that was left running; dropping it kills it.
pub struct Process {
    child: Owned,
    name: String,
    log: PathBuf,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// All that it printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.0.try_wait()?)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("pid out of range")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait_until(&what, limit, || Ok(self.child.0.try_wait()?))
    }

    /// SIGKILL. An error when it had already ended by itself.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.0.kill()?;
        let status = self.child.0.wait()?;
        ensure!(
            status.signal() == Some(Signal::KILL.as_raw()),
            "{} had ended by itself ({status}); it said:\n{}",
            self.name,
            self.output()
        );
        Ok(status)
    }
}

struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn slurp(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        drop(pipe.read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `setpriv --pdeathsig` lets the kernel kill the child with its parent; without it, the kill on drop remains.
fn has_setpriv() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let mut trial = Command::new("setpriv");
        trial.args(["--pdeathsig", "KILL", "--", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        trial.status().is_ok_and(|status| status.success())
    })
}

/// Spawns from one thread that lives as long as the process: to the kernel the parent whose death kills a
/// child is the thread that made it, and a thread of the test harness ends with its test.
fn spawn(command: Command) -> Result<Child> {
    type Order = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                drop(answer.send(command.spawn()));
            }
        });
        orders
    });
    let (answer, child) = channel();
    spawner.send((command, answer)).ok().context("the spawning thread is gone")?;
    Ok(child.recv()??)
}
