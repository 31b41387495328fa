//! What a process has used, from /proc: `proc(5)`.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// Processor time of all its threads, the ended ones included, and of its children that have ended.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    let ticks = ticks(&stat).with_context(|| format!("{path}: {stat:?}"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

pub(crate) fn rss_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmRSS:")
}

pub(crate) fn peak_rss_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmHWM:")
}

fn status_mib(pid: u32, name: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{path} has no {name}"))? / 1024.0)
}

/// How many there are in one of its directories: `fd` for open descriptors, `task` for threads.
pub(crate) fn entries(pid: u32, directory: &str) -> Result<usize> {
    let path = format!("/proc/{pid}/{directory}");
    Ok(fs::read_dir(&path).with_context(|| path.clone())?.count())
}

/// Bytes that it had to read from the disk: what was in memory does not count.
pub(crate) fn disk_read_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let io = fs::read_to_string(&path).with_context(|| path.clone())?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("read_bytes:")?.trim().parse().ok());
    bytes.with_context(|| format!("{path} has no read_bytes"))
}

/// An ended process stays as a zombie until its parent asks for its status.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, after_name)| !after_name.trim_start().starts_with('Z'))
}

/// utime, stime, cutime and cstime. The name before them may itself hold spaces and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 500 60 7 8 20 0 9 0 1 2 3";
        assert_eq!(ticks(stat), Some(575));
        assert_eq!(ticks("7 (x) S 1"), None);
    }

    #[test]
    fn ones_own_usage_can_be_read() {
        assert!(cpu(std::process::id()).unwrap() < Duration::from_secs(60));
        assert!(rss_mib(std::process::id()).unwrap() > 0.5);
        assert!(peak_rss_mib(std::process::id()).unwrap() >= 0.5);
        assert!(disk_read_bytes(std::process::id()).is_ok());
        assert!(is_alive(std::process::id()));
        assert!(entries(std::process::id(), "fd").unwrap() >= 3);
        assert!(entries(std::process::id(), "task").unwrap() >= 1);
    }
}
