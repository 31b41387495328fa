//! Where and what was measured.

use std::{fmt, fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) load: String,
    pub(crate) commit: String,
    /// The binary measured: its path and when it was built.
    pub(crate) binary: String,
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn read(binary: &Path) -> Self {
        Self {
            processor: processor(),
            memory_gib: memory_gib(),
            kernel: file("/proc/sys/kernel/osrelease"),
            load: file("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            commit: commit(),
            binary: describe(binary),
            date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        }
    }

    pub(crate) fn millstream(&self) -> String {
        format!("{}, {}", self.commit, self.binary)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, memory_gib, kernel, load, date, .. } = self;
        write!(f, "{processor}, {memory_gib:.0} GiB, Linux {kernel}; {date}, load average before {load}")
    }
}

fn processor() -> String {
    let info = file("/proc/cpuinfo");
    let mut models = info.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = models.next().map_or("unknown", |(_, model)| model);
    format!("{} × {model}", 1 + models.count())
}

fn memory_gib() -> f64 {
    let info = file("/proc/meminfo");
    let kib = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<f64>().ok()).unwrap_or(0.0) / f64::from(1 << 20)
}

fn commit() -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let commit = said("git", &["-C", root, "rev-parse", "--short=12", "HEAD"]);
    let changed = said("git", &["-C", root, "status", "--porcelain", "--untracked-files=no", "--", "crates"]);
    if changed.is_empty() { commit } else { format!("{commit} and changes that are not committed") }
}

pub(crate) fn describe(binary: &Path) -> String {
    let path = binary.display().to_string();
    format!("{path} of {}", said("date", &["-u", "-r", &path, "+%Y-%m-%d %H:%M:%S UTC"]))
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().map(|output| output.stdout);
    String::from_utf8_lossy(&output.unwrap_or_default()).trim().to_owned()
}
