//! Linux's `perf`: samples of a process's stacks, by its clock or at its allocations.
//!
//! The stack is copied with every sample and unwound afterwards, since the binary keeps no frame pointers.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::stacks::Stacks;

const CPU_HERTZ: u32 = 997;
/// Bytes of the stack that are copied with a sample.
const STACK_BYTES: u32 = 16_384;
/// Of an allocation, of which there are many and whose caller is near.
const ALLOCATING_STACK_BYTES: u32 = 4_096;
const ALLOCATING_SPAN: Duration = Duration::from_secs(1);
const GROUP: &str = "millstream_bench";
/// What the allocator of the binary is asked by Rust's: memory, zeroed memory, other memory for what there is.
const FUNCTIONS: [&str; 3] = ["mi_malloc_aligned", "mi_zalloc_aligned", "mi_realloc_aligned"];

pub(super) fn cpu(pid: u32, span: Duration, scratch: &Path) -> Result<Stacks> {
    stacks(pid, span, scratch, STACK_BYTES, &["-F", &CPU_HERTZ.to_string()])
}

/// The allocator's functions as events; dropping it takes them away.
pub(super) struct Allocations;

impl Allocations {
    pub(super) fn watch(binary: &Path) -> Result<Self> {
        // What an earlier run left behind, if it was killed.
        unwatch();
        let watching = Self;
        let binary = binary.canonicalize()?;
        for function in FUNCTIONS {
            let probe = format!("{GROUP}:{function}={function}");
            perf().args(["probe", "-q", "-x"]).arg(&binary).args(["--add", &probe]).said().context(
                "the allocator's functions cannot be watched, which needs root and the symbols of a release build",
            )?;
        }
        Ok(watching)
    }

    pub(super) fn count(&self, pid: u32, span: Duration) -> Result<u64> {
        let process = pid.to_string();
        let options = ["stat", "-x", ",", "-o", "/dev/stdout", "-e", &Self::events(), "-p", &process, "--"];
        let said = perf().args(options).args(sleep(span)).said()?;
        counted(&said).with_context(|| format!("perf stat said: {said}"))
    }

    /// Who asks for memory, each time in a second.
    pub(super) fn sample(&self, pid: u32, scratch: &Path) -> Result<Stacks> {
        stacks(pid, ALLOCATING_SPAN, scratch, ALLOCATING_STACK_BYTES, &["-e", &Self::events()])
    }

    fn events() -> String {
        FUNCTIONS.map(|function| format!("{GROUP}:{function}")).join(",")
    }
}

impl Drop for Allocations {
    fn drop(&mut self) {
        unwatch();
    }
}

/// Where there are none, perf says so and fails.
fn unwatch() {
    drop(perf().args(["probe", "-q", "--del", &format!("{GROUP}:*")]).said());
}

fn stacks(pid: u32, span: Duration, scratch: &Path, stack_bytes: u32, events: &[&str]) -> Result<Stacks> {
    let data = scratch.join("perf.data");
    let (process, graph) = (pid.to_string(), format!("dwarf,{stack_bytes}"));
    let options = ["record", "-q", "--call-graph", &graph, "-p", &process, "-o"];
    perf().args(options).arg(&data).args(events).arg("--").args(sleep(span)).said()?;
    let options = ["script", "--no-inline", "-F", "comm,tid,time,ip,sym,dso", "-i"];
    Stacks::of(perf().args(options).arg(&data).said()?.as_bytes())
}

/// Lines of `count,unit,event,...`.
fn counted(csv: &str) -> Option<u64> {
    let counts: Vec<u64> = csv
        .lines()
        .filter(|line| line.contains(GROUP))
        .map(|line| line.split(',').next()?.parse().ok())
        .collect::<Option<_>>()?;
    (counts.len() == FUNCTIONS.len()).then(|| counts.iter().sum())
}

fn sleep(span: Duration) -> [String; 2] {
    ["sleep".to_owned(), span.as_secs_f64().to_string()]
}

fn perf() -> Command {
    let mut perf = Command::new("perf");
    perf.stdin(Stdio::null());
    perf
}

trait Said {
    /// What it wrote, if it succeeded.
    fn said(&mut self) -> Result<String>;
}

impl Said for Command {
    fn said(&mut self) -> Result<String> {
        let output = self.output().context("perf cannot be started (Debian: apt install linux-perf)")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{self:?}: {}\n{complaint}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
