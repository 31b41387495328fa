//! Kafka's tools as people and scripts use them: interrupted, piped, misused, with a broker that dies, and
//! through Kafka's quickstart. What they print beside Kafka's own is judged by the conformance transcripts.

mod alone;
mod broker_dies;
mod guide;
mod interrupted;
mod misuse;
mod quickstart;
mod server;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use millstream_testkit::{Finished, Program, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::BOOTSTRAP;

const LIMIT: Duration = Duration::from_secs(60);

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_millstream")
}

fn bootstrap() -> &'static str {
    BOOTSTRAP.as_str()
}

/// The words of a command line, with `{b}` for the broker.
fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.replace("{b}", bootstrap())).collect()
}

fn program(line: &str) -> Program {
    Program::new(binary()).args(words(line))
}

/// Runs a tool to its end.
fn run(line: &str) -> Finished {
    program(line).run().unwrap()
}

fn ok(line: &str) -> String {
    run(line).ok().unwrap()
}

fn create(topic: &str) {
    ok(&format!("kafka-topics --bootstrap-server {{b}} --create --topic {topic} --partitions 1"));
}

/// All values of the only partition of a topic that has so many records.
fn values(bootstrap: &str, topic: &str, count: usize) -> Vec<String> {
    let line = format!(
        "kafka-console-consumer --bootstrap-server {bootstrap} --topic {topic} --partition 0 --offset earliest --max-messages {count}"
    );
    ok(&line).lines().map(str::to_owned).collect()
}

/// How many records the only partition of a topic has.
fn record_count(bootstrap: &str, topic: &str) -> usize {
    let said = ok(&format!("kafka-get-offsets --bootstrap-server {bootstrap} --topic {topic}"));
    said.trim().rsplit(':').next().unwrap().parse().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A tool that runs, its standard output read line by line.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    fn start(line: &str) -> Self {
        Self::of(Command::new(binary()).args(words(line)))
    }

    fn of(command: &mut Command) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (tell, lines) = channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text).unwrap_or_default()
        });
        Self { input: child.stdin.take(), child, lines, stderr: Some(stderr) }
    }

    fn line(&mut self) -> String {
        self.lines.recv_timeout(LIMIT).expect("a line in time")
    }

    fn write(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end: the exit code, the lines not read yet, and standard error.
    fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        drop(self.input.take());
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the tool does not end"),
            }
        }
        let status = wait_until("the tool's end", LIMIT, || Ok(self.child.try_wait()?)).unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        assert!(!stderr.contains("panicked at"), "{stderr}");
        (status.code(), rest, stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
