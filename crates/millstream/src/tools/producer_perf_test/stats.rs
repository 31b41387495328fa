//! What is counted, and the lines that tell of it, in Kafka's format.

use std::time::{Duration, Instant};

use crate::tools::output;

/// Latencies kept for the quantiles; of more records every so manyth is kept.
const SAMPLES_MAX: u64 = 500_000;

pub(super) struct Stats {
    started: Instant,
    sampling: u64,
    warmup: u64,
    interval: Duration,
    latencies_ms: Vec<u32>,
    total: Window,
    steady: Window,
    steady_latencies_ms: Vec<u32>,
    window: Window,
}

struct Window {
    started: Instant,
    count: u64,
    bytes: u64,
    latency_sum_ms: u64,
    latency_max_ms: u64,
}

impl Window {
    fn new() -> Self {
        Self { started: Instant::now(), count: 0, bytes: 0, latency_sum_ms: 0, latency_max_ms: 0 }
    }

    fn record(&mut self, latency_ms: u64, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u64;
        self.latency_sum_ms += latency_ms;
        self.latency_max_ms = self.latency_max_ms.max(latency_ms);
    }

    /// Records and megabytes a second, mean and greatest latency.
    fn rates(&self) -> (f64, f64, f64, f64) {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        // Of no record at all it is no number, in Java as well.
        let mean = self.latency_sum_ms as f64 / self.count as f64;
        let megabytes = self.bytes as f64 / (1024.0 * 1024.0);
        (self.count as f64 / seconds, megabytes / seconds, mean, self.latency_max_ms as f64)
    }
}

impl Stats {
    pub(super) fn new(count: u64, warmup: u64, interval: Duration) -> Self {
        Self {
            started: Instant::now(),
            sampling: (count / SAMPLES_MAX).max(1),
            warmup,
            interval,
            latencies_ms: Vec::new(),
            total: Window::new(),
            steady: Window::new(),
            steady_latencies_ms: Vec::new(),
            window: Window::new(),
        }
    }

    pub(super) fn record(&mut self, index: u64, latency: Duration, bytes: usize) {
        let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.total.record(ms, bytes);
        self.window.record(ms, bytes);
        let sample = u32::try_from(ms).unwrap_or(u32::MAX);
        if index.is_multiple_of(self.sampling) {
            self.latencies_ms.push(sample);
        }
        if self.warmup > 0 && index >= self.warmup {
            if self.steady.count == 0 {
                self.steady.started = Instant::now();
            }
            self.steady.record(ms, bytes);
            if index.is_multiple_of(self.sampling) {
                self.steady_latencies_ms.push(sample);
            }
        }
        if self.window.started.elapsed() >= self.interval {
            let (records, megabytes, mean, max) = self.window.rates();
            output::line(&format!(
                "{} records sent, {records:.1} records/sec ({megabytes:.2} MB/sec), {mean:.1} ms avg latency, {max:.1} ms max latency.",
                self.window.count
            ));
            output::flush();
            self.window = Window::new();
        }
    }

    pub(super) fn print_total(&mut self) {
        self.total.started = self.started;
        output::line(&line(&self.total, &mut self.latencies_ms, "records"));
        if self.warmup > 0 {
            output::line(&line(&self.steady, &mut self.steady_latencies_ms, "steady state records"));
        }
    }
}

fn line(window: &Window, latencies_ms: &mut [u32], what: &str) -> String {
    latencies_ms.sort_unstable();
    let (records, megabytes, mean, max) = window.rates();
    let [p50, p95, p99, p999] = [0.5, 0.95, 0.99, 0.999].map(|part| quantile(latencies_ms, part));
    format!(
        "{} {what} sent, {records:.6} records/sec ({megabytes:.2} MB/sec), {mean:.2} ms avg latency, {max:.2} ms max latency, {p50} ms 50th, {p95} ms 95th, {p99} ms 99th, {p999} ms 99.9th.",
        window.count
    )
}

fn quantile(sorted: &[u32], part: f64) -> u32 {
    let index = (part * sorted.len() as f64) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_from_the_sorted_latencies() {
        let all: Vec<u32> = (0..1000).collect();
        assert_eq!((quantile(&all, 0.5), quantile(&all, 0.999), quantile(&[], 0.5)), (500, 999, 0));
    }
}
