//! What is counted while a run goes on, and the line that tells of it on a terminal.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use super::report::{self, Latency, Volume};

const TICK: Duration = Duration::from_secs(1);
const MEGABYTE: f64 = 1024.0 * 1024.0;

/// Shared by all that produce or consume in one run.
pub(super) struct Counters {
    started: Instant,
    records: AtomicU64,
    bytes: AtomicU64,
    latencies: Mutex<Histogram<u64>>,
}

impl Counters {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            latencies: Mutex::new(report::histogram()),
        })
    }

    pub(super) fn count(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what of these, by their sizes, is wanted: no more than `max` in all.
    pub(super) fn count_up_to(&self, max: u64, sizes: &[usize]) {
        let mut wanted = 0;
        let add = |counted: u64| {
            wanted = max.saturating_sub(counted).min(sizes.len() as u64);
            Some(counted + wanted)
        };
        self.records.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok();
        let bytes: usize = sizes.iter().take(wanted as usize).sum();
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn record(&self, latency: Duration) {
        report::record(&mut self.latencies.lock(), latency);
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    pub(super) fn latency(&self) -> Option<Latency> {
        Latency::of(&self.latencies.lock())
    }

    /// Up to `elapsed` after the start.
    pub(super) fn volume(&self, elapsed: Duration, per_second: Vec<u64>) -> Volume {
        Volume { records: self.records(), bytes: self.bytes.load(Ordering::Relaxed), elapsed, per_second }
    }
}

/// Tells of a run on standard error if that is a terminal, and counts each of its seconds.
pub(super) struct Progress {
    bar: ProgressBar,
    counters: Arc<Counters>,
    per_second: Vec<u64>,
    /// Records and bytes at the last tick, and when it was.
    last: (u64, u64, Instant),
}

impl Progress {
    /// `total` records, if that is known.
    pub(super) fn new(counters: &Arc<Counters>, total: Option<u64>) -> Self {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let template = match total {
            Some(_) => "{elapsed_precise} {wide_bar} {percent}%  {msg}",
            None => "{elapsed_precise} {spinner} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let last = (0, 0, counters.started());
        Self { bar, counters: Arc::clone(counters), per_second: Vec::new(), last }
    }

    /// Runs until `work` is done; returns that and what each second brought.
    pub(super) async fn during<T>(mut self, work: impl Future<Output = T>) -> (T, Vec<u64>) {
        tokio::pin!(work);
        let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = clock.tick() => self.tick(),
            }
        };
        self.bar.finish_and_clear();
        (outcome, self.per_second)
    }

    fn tick(&mut self) {
        let (records, bytes) = (self.counters.records(), self.counters.bytes.load(Ordering::Relaxed));
        let (records_before, bytes_before, before) = self.last;
        let seconds = before.elapsed().as_secs_f64().max(0.001);
        self.last = (records, bytes, Instant::now());
        self.per_second.push(records - records_before);
        let rate = (records - records_before) as f64 / seconds;
        let megabytes = (bytes - bytes_before) as f64 / MEGABYTE / seconds;
        let latency = self.counters.latency().map(|latency| format!(", p99 {:.1} ms", latency.p99));
        self.bar.set_position(records);
        self.bar
            .set_message(format!("{rate:.0} records/s, {megabytes:.1} MB/s{}", latency.unwrap_or_default()));
    }
}
