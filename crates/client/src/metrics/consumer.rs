//! What a consumer counts, and what any member of a group does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use millstream_types::{TopicName, TopicPartition};
use parking_lot::Mutex;

use super::{
    AVERAGE, EVENT_RATE, EVENTS, MAXIMUM, MINIMUM, Meter, RATE, Reading, Report, TOTAL, Take, Windows,
};

const FETCH: &str = "fetch-manager-metrics";
const COORDINATOR: &str = "coordinator-metrics";
const RATE_PER_HOUR: Take = |reading| reading.event_rate * 3_600.0;

/// What one member of a group says to its coordinator.
#[derive(Debug)]
pub(crate) struct GroupMeters {
    pub(crate) joins: Meter,
    pub(crate) syncs: Meter,
    pub(crate) heartbeats: Meter,
}

impl GroupMeters {
    pub(crate) fn new(windows: Windows) -> Self {
        let meter = || Meter::new(windows);
        Self { joins: meter(), syncs: meter(), heartbeats: meter() }
    }

    pub(crate) fn report(&self, report: &mut Report) {
        for (meter, taken) in [
            (&self.joins, [("join-total", EVENTS), ("join-rate", EVENT_RATE)]),
            (&self.joins, [("join-time-avg", AVERAGE), ("join-time-max", MAXIMUM)]),
            (&self.syncs, [("sync-total", EVENTS), ("sync-rate", EVENT_RATE)]),
            (&self.syncs, [("sync-time-avg", AVERAGE), ("sync-time-max", MAXIMUM)]),
            (&self.heartbeats, [("heartbeat-total", EVENTS), ("heartbeat-rate", EVENT_RATE)]),
        ] {
            report.add_meter(COORDINATOR, &[], meter, &taken);
        }
        report.add_meter(COORDINATOR, &[], &self.heartbeats, &[("heartbeat-response-time-max", MAXIMUM)]);
        report.add_age(COORDINATOR, "last-heartbeat-seconds-ago", self.heartbeats.last());
    }
}

/// How far behind the end a partition is read, and how far before the records that are deleted next.
#[derive(Debug)]
struct Distance {
    lag: Meter,
    lead: Meter,
}

/// Bytes and records of each fetch, and records of each poll that returned some.
#[derive(Debug)]
struct Consumed {
    bytes: Meter,
    fetched: Meter,
    returned: Meter,
}

impl Consumed {
    fn new(windows: Windows) -> Self {
        Self { bytes: Meter::new(windows), fetched: Meter::new(windows), returned: Meter::new(windows) }
    }

    fn fetched(&self, now: Instant, bytes: usize, records: usize) {
        self.bytes.record_at(now, bytes as f64);
        self.fetched.record_at(now, records as f64);
    }

    fn report(&self, report: &mut Report, of: super::Of<'_>) {
        for (meter, taken) in [
            (&self.bytes, [("bytes-consumed-total", TOTAL), ("bytes-consumed-rate", RATE)]),
            (&self.bytes, [("fetch-size-avg", AVERAGE), ("fetch-size-max", MAXIMUM)]),
            (&self.returned, [("records-consumed-total", TOTAL), ("records-consumed-rate", RATE)]),
        ] {
            report.add_meter(FETCH, of, meter, &taken);
        }
        report.add_meter(FETCH, of, &self.fetched, &[("records-per-request-avg", AVERAGE)]);
    }
}

#[derive(Debug)]
pub(crate) struct ConsumerMeters {
    windows: Windows,
    all: Consumed,
    topics: Mutex<BTreeMap<TopicName, Consumed>>,
    partitions: Mutex<BTreeMap<TopicPartition, Distance>>,
    pub(crate) fetch_latency: Meter,
    pub(crate) commits: Meter,
    pub(crate) rebalances: Meter,
    pub(crate) failed_rebalances: Meter,
    time_between_polls: Meter,
    idle_ratio: Meter,
}

impl ConsumerMeters {
    pub(crate) fn new(windows: Windows) -> Self {
        let meter = || Meter::new(windows);
        Self {
            windows,
            all: Consumed::new(windows),
            topics: Mutex::default(),
            partitions: Mutex::default(),
            fetch_latency: meter(),
            commits: meter(),
            rebalances: meter(),
            failed_rebalances: meter(),
            time_between_polls: meter(),
            idle_ratio: meter(),
        }
    }

    /// An answer to a fetch has brought so many bytes and records of these topics.
    pub(crate) fn fetched(&self, topics: &BTreeMap<TopicName, (usize, usize)>) {
        let now = Instant::now();
        let (mut all_bytes, mut all_records) = (0, 0);
        let mut known = self.topics.lock();
        for (topic, &(bytes, records)) in topics {
            (all_bytes, all_records) = (all_bytes + bytes, all_records + records);
            if !known.contains_key(topic) {
                known.insert(topic.clone(), Consumed::new(self.windows));
            }
            known[topic].fetched(now, bytes, records);
        }
        self.all.fetched(now, all_bytes, all_records);
    }

    /// Records of a partition were returned, which leaves the reader here.
    pub(crate) fn returned(
        &self,
        partition: &TopicPartition,
        records: usize,
        left: (Option<f64>, Option<f64>),
    ) {
        let (now, (lag, lead)) = (Instant::now(), left);
        self.all.returned.record_at(now, records as f64);
        if let Some(topic) = self.topics.lock().get(&partition.topic) {
            topic.returned.record_at(now, records as f64);
        }
        let mut partitions = self.partitions.lock();
        if !partitions.contains_key(partition) {
            let distance = Distance { lag: Meter::new(self.windows), lead: Meter::new(self.windows) };
            partitions.insert(partition.clone(), distance);
        }
        let distance = &partitions[partition];
        if let Some(lag) = lag {
            distance.lag.record_at(now, lag);
        }
        if let Some(lead) = lead {
            distance.lead.record_at(now, lead);
        }
    }

    /// Forgets partitions that are read no more.
    pub(crate) fn keep(&self, is_assigned: impl Fn(&TopicPartition) -> bool) {
        self.partitions.lock().retain(|partition, _| is_assigned(partition));
    }

    /// The caller comes back after so long a time away, counted from poll to poll.
    pub(crate) fn poll_begins(&self, since_last: Duration) {
        self.time_between_polls.took(since_last);
    }

    pub(crate) fn poll_ends(&self, since_last: Duration, polled: Duration) {
        let both = since_last + polled;
        if !both.is_zero() {
            self.idle_ratio.record(polled.as_secs_f64() / both.as_secs_f64());
        }
    }

    pub(crate) fn report(&self, report: &mut Report) {
        self.all.report(report, &[]);
        report.add_meter(
            FETCH,
            &[],
            &self.fetch_latency,
            &[
                ("fetch-latency-avg", AVERAGE),
                ("fetch-latency-max", MAXIMUM),
                ("fetch-rate", EVENT_RATE),
                ("fetch-total", EVENTS),
            ],
        );
        for (topic, consumed) in &*self.topics.lock() {
            consumed.report(report, &[("topic", topic.as_str())]);
        }
        self.report_distances(report);
        const IDLE: (&str, Take) = ("poll-idle-ratio-avg", AVERAGE);
        report.add_meter("metrics", &[], &self.idle_ratio, &[IDLE]);
        let between = [("time-between-poll-avg", AVERAGE), ("time-between-poll-max", MAXIMUM)];
        report.add_meter("metrics", &[], &self.time_between_polls, &between);
        report.add_age("metrics", "last-poll-seconds-ago", self.time_between_polls.last());
        for (meter, taken) in [
            (&self.commits, &[("commit-latency-avg", AVERAGE), ("commit-latency-max", MAXIMUM)][..]),
            (&self.commits, &[("commit-rate", EVENT_RATE), ("commit-total", EVENTS)]),
            (&self.rebalances, &[("rebalance-latency-avg", AVERAGE), ("rebalance-latency-max", MAXIMUM)]),
            (&self.rebalances, &[("rebalance-latency-total", TOTAL), ("rebalance-total", EVENTS)]),
            (&self.rebalances, &[("rebalance-rate-per-hour", RATE_PER_HOUR)]),
            (
                &self.failed_rebalances,
                &[("failed-rebalance-total", EVENTS), ("failed-rebalance-rate-per-hour", RATE_PER_HOUR)],
            ),
        ] {
            report.add_meter(COORDINATOR, &[], meter, taken);
        }
        report.add_age(COORDINATOR, "last-rebalance-seconds-ago", self.rebalances.last());
    }

    fn report_distances(&self, report: &mut Report) {
        let (mut lags, mut leads) = (Reading::default(), Reading::default());
        for (partition, distance) in &*self.partitions.lock() {
            let index = partition.partition.to_string();
            let of = [("topic", partition.topic.as_str()), ("partition", index.as_str())];
            let lag = [("records-lag-avg", AVERAGE), ("records-lag-max", MAXIMUM)];
            report.add_meter(FETCH, &of, &distance.lag, &lag);
            let lead = [("records-lead-avg", AVERAGE), ("records-lead-min", MINIMUM)];
            report.add_meter(FETCH, &of, &distance.lead, &lead);
            lags = lags.and(distance.lag.read_at(report.now()));
            leads = leads.and(distance.lead.read_at(report.now()));
        }
        report.add(FETCH, "records-lag-max", lags.maximum());
        report.add(FETCH, "records-lead-min", leads.minimum());
    }
}
