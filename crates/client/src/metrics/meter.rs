//! What is counted, over all time and over the last windows of it: a value's total, rate, average and maximum. As
//! Java's `SampledStat` and `Rate` reckon, so that the numbers mean the same.
//!
//! A meter is told of requests and batches, never of single records.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::ClientConfig;

/// `metrics.num.samples` windows, each `metrics.sample.window.ms` long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    count: usize,
    length: Duration,
}

impl Windows {
    pub(crate) fn of(config: &ClientConfig) -> Self {
        let count = usize::try_from(config.metrics_num_samples).unwrap_or(1).max(1);
        // A window without length would make a rate infinite.
        Self { count, length: config.metrics_sample_window.max(Duration::from_millis(1)) }
    }

    fn all(&self) -> Duration {
        self.length.saturating_mul(u32::try_from(self.count).unwrap_or(u32::MAX))
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    began: Instant,
    last: Instant,
    events: f64,
    sum: f64,
    max: f64,
    min: f64,
}

#[derive(Debug, Default)]
struct Samples {
    events_total: f64,
    sum_total: f64,
    /// The latest is the last one.
    windows: VecDeque<Sample>,
    last: Option<Instant>,
}

/// Counts events that have a value each: bytes, records, milliseconds.
#[derive(Debug)]
pub(crate) struct Meter {
    windows: Windows,
    samples: Mutex<Samples>,
}

/// What a meter says at some moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    /// Since the beginning.
    pub(crate) events_total: f64,
    pub(crate) sum_total: f64,
    /// A second, in the windows.
    pub(crate) event_rate: f64,
    pub(crate) sum_rate: f64,
    events: f64,
    sum: f64,
    max: f64,
    min: f64,
}

impl Meter {
    pub(crate) fn new(windows: Windows) -> Self {
        Self { windows, samples: Mutex::default() }
    }

    pub(crate) fn record(&self, value: f64) {
        self.record_at(Instant::now(), value);
    }

    pub(crate) fn count(&self, count: usize) {
        self.record(count as f64);
    }

    /// How long something took, in milliseconds.
    pub(crate) fn took(&self, duration: Duration) {
        self.record(duration.as_secs_f64() * 1_000.0);
    }

    pub(crate) fn record_at(&self, now: Instant, value: f64) {
        let mut samples = self.samples.lock();
        samples.events_total += 1.0;
        samples.sum_total += value;
        samples.last = Some(now);
        let is_over = |sample: &Sample| now.saturating_duration_since(sample.began) >= self.windows.length;
        if samples.windows.back().is_none_or(is_over) {
            if samples.windows.len() == self.windows.count {
                samples.windows.pop_front();
            }
            let empty = Sample { began: now, last: now, events: 0.0, sum: 0.0, max: f64::MIN, min: f64::MAX };
            samples.windows.push_back(empty);
        }
        let sample = samples.windows.back_mut().expect("one was added just now if there was none");
        sample.last = now;
        sample.events += 1.0;
        sample.sum += value;
        (sample.max, sample.min) = (sample.max.max(value), sample.min.min(value));
    }

    /// When the last event was.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.samples.lock().last
    }

    pub(crate) fn read_at(&self, now: Instant) -> Reading {
        let samples = self.samples.lock();
        let mut reading = Reading {
            events_total: samples.events_total,
            sum_total: samples.sum_total,
            ..Reading::default()
        };
        let recent = |sample: &&Sample| now.saturating_duration_since(sample.last) < self.windows.all();
        let mut began = now;
        for sample in samples.windows.iter().filter(recent) {
            began = began.min(sample.began);
            reading.events += sample.events;
            reading.sum += sample.sum;
            (reading.max, reading.min) = (reading.max.max(sample.max), reading.min.min(sample.min));
        }
        // Windows that have not been yet count as empty ones, lest the first event make a rate without bounds.
        let elapsed = now.saturating_duration_since(began);
        let full = elapsed.as_nanos() / self.windows.length.as_nanos();
        let missing = (self.windows.count as u128 - 1).saturating_sub(full);
        let missing = self.windows.length.saturating_mul(u32::try_from(missing).unwrap_or(u32::MAX));
        let elapsed = elapsed.saturating_add(missing).max(self.windows.length).as_secs_f64();
        reading.event_rate = reading.events / elapsed;
        reading.sum_rate = reading.sum / elapsed;
        reading
    }
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            events_total: 0.0,
            sum_total: 0.0,
            event_rate: 0.0,
            sum_rate: 0.0,
            events: 0.0,
            sum: 0.0,
            max: f64::MIN,
            min: f64::MAX,
        }
    }
}

impl Reading {
    /// Of the windows; not a number if there was no event, as in Java.
    pub(crate) fn average(&self) -> f64 {
        self.sum / self.events
    }

    pub(crate) fn maximum(&self) -> f64 {
        if self.events > 0.0 { self.max } else { f64::NAN }
    }

    pub(crate) fn minimum(&self) -> f64 {
        if self.events > 0.0 { self.min } else { f64::NAN }
    }

    /// As if both had been one meter.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            events_total: self.events_total + other.events_total,
            sum_total: self.sum_total + other.sum_total,
            event_rate: self.event_rate + other.event_rate,
            sum_rate: self.sum_rate + other.sum_rate,
            events: self.events + other.events,
            sum: self.sum + other.sum,
            max: self.max.max(other.max),
            min: self.min.min(other.min),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn meter() -> Meter {
        Meter::new(Windows::of(&ClientConfig::default()))
    }

    #[test]
    fn a_rate_counts_windows_that_have_not_been_as_empty() {
        let (meter, start) = (meter(), Instant::now());
        meter.record_at(start, 60.0);
        // 60 in the first of two windows of 30 s, the second of which is still to come.
        let reading = meter.read_at(start);
        assert_eq!((reading.sum_rate, reading.event_rate), (2.0, 1.0 / 30.0));
        let reading = meter.read_at(start + 30 * SECOND);
        assert_eq!((reading.sum_rate, reading.event_rate), (2.0, 1.0 / 30.0));
        assert_eq!(meter.read_at(start + 45 * SECOND).sum_rate, 60.0 / 45.0);
    }

    #[test]
    fn averages_and_extremes_are_of_the_windows_and_totals_of_all_time() {
        let (meter, start) = (meter(), Instant::now());
        for (after, value) in [(0, 100.0), (31, 1.0), (62, 2.0), (63, 6.0)] {
            meter.record_at(start + after * SECOND, value);
        }
        let reading = meter.read_at(start + 64 * SECOND);
        assert_eq!((reading.average(), reading.maximum(), reading.minimum()), (3.0, 6.0, 1.0));
        assert_eq!((reading.events_total, reading.sum_total), (4.0, 109.0));
        let much_later = meter.read_at(start + 1_000 * SECOND);
        assert_eq!((much_later.event_rate, much_later.events_total), (0.0, 4.0));
        assert!(much_later.average().is_nan() && much_later.maximum().is_nan());
    }

    #[test]
    fn several_meters_read_as_one() {
        let (one, other, start) = (meter(), meter(), Instant::now());
        one.record_at(start, 1.0);
        other.record_at(start, 3.0);
        let both = one.read_at(start).and(other.read_at(start)).and(meter().read_at(start));
        assert_eq!((both.average(), both.maximum(), both.minimum(), both.sum_total), (2.0, 3.0, 1.0, 4.0));
    }
}
