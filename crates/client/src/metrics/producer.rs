//! What a producer counts.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use millstream_types::TopicName;
use parking_lot::Mutex;

use super::{AVERAGE, Counter, EVENT_RATE, EVENTS, MAXIMUM, Meter, RATE, Report, TOTAL, Take, Windows};

/// A batch as it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BatchFigures {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    /// Before it was compressed.
    pub(crate) plain_bytes: usize,
    /// Since its first record.
    pub(crate) queued: Duration,
    pub(crate) is_retry: bool,
}

#[derive(Debug)]
pub(crate) struct ProducerMeters {
    windows: Windows,
    sent: RecordMeters,
    batch_size: Meter,
    queue_time: Meter,
    records_per_request: Meter,
    buffer_exhausted: Meter,
    /// Calls that wait for room in `buffer.memory`.
    pub(crate) waiting: Counter,
    buffer_wait_nanos: Counter,
    metadata_wait_nanos: Counter,
    flush_nanos: Counter,
    topics: Mutex<BTreeMap<TopicName, Arc<RecordMeters>>>,
}

/// Of the whole producer, or of one topic.
#[derive(Debug)]
struct RecordMeters {
    sent: Meter,
    failed: Meter,
    retried: Meter,
    bytes: Meter,
    /// What is left of a batch when it is compressed, 1 being all.
    compression: Meter,
}

impl RecordMeters {
    fn new(windows: Windows) -> Self {
        let meter = || Meter::new(windows);
        Self { sent: meter(), failed: meter(), retried: meter(), bytes: meter(), compression: meter() }
    }
}

impl ProducerMeters {
    pub(crate) fn new(windows: Windows) -> Self {
        let meter = || Meter::new(windows);
        Self {
            windows,
            sent: RecordMeters::new(windows),
            batch_size: meter(),
            queue_time: meter(),
            records_per_request: meter(),
            buffer_exhausted: meter(),
            waiting: Counter::default(),
            buffer_wait_nanos: Counter::default(),
            metadata_wait_nanos: Counter::default(),
            flush_nanos: Counter::default(),
            topics: Mutex::default(),
        }
    }

    fn topic(&self, topic: &TopicName) -> Arc<RecordMeters> {
        let mut topics = self.topics.lock();
        if let Some(known) = topics.get(topic) {
            return Arc::clone(known);
        }
        Arc::clone(topics.entry(topic.clone()).or_insert_with(|| Arc::new(RecordMeters::new(self.windows))))
    }

    /// A request goes out with these batches.
    pub(crate) fn request<'a>(&self, batches: impl Iterator<Item = (&'a TopicName, BatchFigures)>) {
        let (now, mut records) = (Instant::now(), 0);
        for (topic, batch) in batches {
            let ratio = batch.bytes as f64 / batch.plain_bytes.max(1) as f64;
            records += batch.records;
            self.batch_size.record_at(now, batch.bytes as f64);
            self.queue_time.record_at(now, batch.queued.as_secs_f64() * 1_000.0);
            self.sent.compression.record_at(now, ratio);
            let of_topic = self.topic(topic);
            of_topic.compression.record_at(now, ratio);
            of_topic.bytes.record_at(now, batch.bytes as f64);
            if batch.is_retry {
                self.sent.retried.record_at(now, batch.records as f64);
                of_topic.retried.record_at(now, batch.records as f64);
            }
        }
        self.records_per_request.record_at(now, records as f64);
    }

    /// Records of one topic have met their fates.
    pub(crate) fn settled(&self, topic: &TopicName, written: usize, failed: usize) {
        let of_topic = self.topic(topic);
        if written > 0 {
            self.sent.sent.count(written);
            of_topic.sent.count(written);
        }
        if failed > 0 {
            self.sent.failed.count(failed);
            of_topic.failed.count(failed);
        }
    }

    /// `send` has waited for room in vain.
    pub(crate) fn buffer_exhausted(&self) {
        self.buffer_exhausted.count(1);
    }

    pub(crate) fn waited_for_buffer(&self, duration: Duration) {
        self.buffer_wait_nanos.add(nanos(duration));
    }

    pub(crate) fn waited_for_metadata(&self, duration: Duration) {
        self.metadata_wait_nanos.add(nanos(duration));
    }

    pub(crate) fn flushed(&self, duration: Duration) {
        self.flush_nanos.add(nanos(duration));
    }

    pub(crate) fn report(&self, report: &mut Report) {
        const GROUP: &str = "metrics";
        const SENT: [(&str, Take); 2] = [("record-send-total", TOTAL), ("record-send-rate", RATE)];
        const FAILED: [(&str, Take); 2] = [("record-error-total", TOTAL), ("record-error-rate", RATE)];
        const RETRIED: [(&str, Take); 2] = [("record-retry-total", TOTAL), ("record-retry-rate", RATE)];
        for (meter, taken) in [
            (&self.sent.sent, &SENT[..]),
            (&self.sent.failed, &FAILED),
            (&self.sent.retried, &RETRIED),
            (&self.sent.compression, &[("compression-rate-avg", AVERAGE)]),
            (&self.batch_size, &[("batch-size-avg", AVERAGE), ("batch-size-max", MAXIMUM)]),
            (&self.queue_time, &[("record-queue-time-avg", AVERAGE), ("record-queue-time-max", MAXIMUM)]),
            (&self.records_per_request, &[("records-per-request-avg", AVERAGE)]),
            (
                &self.buffer_exhausted,
                &[("buffer-exhausted-total", EVENTS), ("buffer-exhausted-rate", EVENT_RATE)],
            ),
        ] {
            report.add_meter(GROUP, &[], meter, taken);
        }
        for (name, counter) in [
            ("waiting-threads", &self.waiting),
            ("bufferpool-wait-time-ns-total", &self.buffer_wait_nanos),
            ("metadata-wait-time-ns-total", &self.metadata_wait_nanos),
            ("flush-time-ns-total", &self.flush_nanos),
        ] {
            report.add(GROUP, name, counter.get());
        }
        let topics = self.topics.lock().clone();
        for (topic, meters) in topics {
            for (meter, taken) in [
                (&meters.sent, &SENT[..]),
                (&meters.failed, &FAILED),
                (&meters.retried, &RETRIED),
                (&meters.bytes, &[("byte-total", TOTAL), ("byte-rate", RATE)]),
                (&meters.compression, &[("compression-rate", AVERAGE)]),
            ] {
                report.add_meter("topic-metrics", &[("topic", topic.as_str())], meter, taken);
            }
        }
    }
}

fn nanos(duration: Duration) -> usize {
    usize::try_from(duration.as_nanos()).unwrap_or(usize::MAX)
}
