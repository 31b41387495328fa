//! What clients count, under the names and in the groups of Kafka's Java clients: totals, what is so at the moment,
//! and rates, averages and maxima over the last `metrics.num.samples` windows of `metrics.sample.window.ms`.
//!
//! Times are in milliseconds where Java's name does not say otherwise; an average of nothing is not a number.

mod consumer;
mod meter;
mod producer;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use millstream_types::BrokerId;
use parking_lot::Mutex;

pub(crate) use self::{
    consumer::{ConsumerMeters, GroupMeters},
    meter::{Meter, Reading, Windows},
    producer::{BatchFigures, ProducerMeters},
};

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// `producer-metrics`, `consumer-fetch-manager-metrics` …
    pub group: String,
    /// `record-send-total`, `records-lag` …
    pub name: &'static str,
    /// `client-id`, and what the value is of: `node-id`, `topic`, `partition`.
    pub tags: BTreeMap<&'static str, String>,
    pub value: f64,
}

/// How many there are of something at the moment, or have been.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, count: usize) {
        self.0.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// One more until what is returned is dropped: a future that waits may be dropped too.
    pub(crate) fn hold(&self) -> Held<'_> {
        self.add(1);
        Held(self)
    }

    pub(crate) fn get(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }
}

pub(crate) struct Held<'a>(&'a Counter);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

/// What a metric takes from a meter.
pub(crate) type Take = fn(&Reading) -> f64;

pub(crate) const EVENTS: Take = |reading| reading.events_total;
pub(crate) const EVENT_RATE: Take = |reading| reading.event_rate;
pub(crate) const TOTAL: Take = |reading| reading.sum_total;
pub(crate) const RATE: Take = |reading| reading.sum_rate;
pub(crate) const AVERAGE: Take = Reading::average;
pub(crate) const MAXIMUM: Take = Reading::maximum;
pub(crate) const MINIMUM: Take = Reading::minimum;

/// Of one broker, over all connections to it there were.
#[derive(Debug)]
pub(crate) struct NodeMeters {
    /// Bytes of each request.
    pub(crate) requests: Meter,
    /// Bytes of each answer.
    pub(crate) responses: Meter,
    /// From the moment in which a request is written to its answer.
    pub(crate) latency: Meter,
    pub(crate) connections_created: Meter,
    pub(crate) connections_closed: Meter,
    /// Requests that wait for their answers.
    pub(crate) in_flight: Counter,
}

impl NodeMeters {
    pub(crate) fn new(windows: Windows) -> Self {
        let meter = || Meter::new(windows);
        Self {
            requests: meter(),
            responses: meter(),
            latency: meter(),
            connections_created: meter(),
            connections_closed: meter(),
            in_flight: Counter::default(),
        }
    }
}

type OfNode = (&'static str, fn(&NodeMeters) -> &Meter, Take);

const OF_NODES: [OfNode; 10] = [
    ("request-total", |node| &node.requests, EVENTS),
    ("request-rate", |node| &node.requests, EVENT_RATE),
    ("request-size-avg", |node| &node.requests, AVERAGE),
    ("request-size-max", |node| &node.requests, MAXIMUM),
    ("outgoing-byte-total", |node| &node.requests, TOTAL),
    ("outgoing-byte-rate", |node| &node.requests, RATE),
    ("response-total", |node| &node.responses, EVENTS),
    ("response-rate", |node| &node.responses, EVENT_RATE),
    ("incoming-byte-total", |node| &node.responses, TOTAL),
    ("incoming-byte-rate", |node| &node.responses, RATE),
];
/// For all brokers together only a producer has these.
const LATENCIES: [OfNode; 2] = [
    ("request-latency-avg", |node| &node.latency, AVERAGE),
    ("request-latency-max", |node| &node.latency, MAXIMUM),
];
/// Only for all brokers together.
const CONNECTIONS: [OfNode; 4] = [
    ("connection-creation-total", |node| &node.connections_created, EVENTS),
    ("connection-creation-rate", |node| &node.connections_created, EVENT_RATE),
    ("connection-close-total", |node| &node.connections_closed, EVENTS),
    ("connection-close-rate", |node| &node.connections_closed, EVENT_RATE),
];

/// Of a client; brokers whose id is not known, being bootstrap servers, count as one.
#[derive(Debug)]
pub(crate) struct Network {
    windows: Windows,
    nodes: Mutex<BTreeMap<Option<BrokerId>, Arc<NodeMeters>>>,
}

impl Network {
    pub(crate) fn new(windows: Windows) -> Self {
        Self { windows, nodes: Mutex::default() }
    }

    pub(crate) fn node(&self, id: Option<BrokerId>) -> Arc<NodeMeters> {
        let mut nodes = self.nodes.lock();
        Arc::clone(nodes.entry(id).or_insert_with(|| Arc::new(NodeMeters::new(self.windows))))
    }
}

/// Collects the metrics of one client in one role: `producer`, `consumer` or `admin-client`.
pub(crate) struct Report {
    role: &'static str,
    client_id: String,
    now: Instant,
    metrics: Vec<Metric>,
}

/// What a value is of, beside the client.
pub(crate) type Of<'a> = &'a [(&'static str, &'a str)];

impl Report {
    pub(crate) fn new(role: &'static str, client_id: &str) -> Self {
        Self { role, client_id: client_id.to_owned(), now: Instant::now(), metrics: Vec::new() }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// `group`: behind the role, `metrics` or `fetch-manager-metrics` for instance.
    pub(crate) fn add(&mut self, group: &str, name: &'static str, value: f64) {
        self.add_of(group, name, &[], value);
    }

    pub(crate) fn add_of(&mut self, group: &str, name: &'static str, of: Of<'_>, value: f64) {
        let mut tags = BTreeMap::from([("client-id", self.client_id.clone())]);
        tags.extend(of.iter().map(|(tag, value)| (*tag, (*value).to_owned())));
        self.metrics.push(Metric { group: format!("{}-{group}", self.role), name, tags, value });
    }

    pub(crate) fn add_meter(
        &mut self,
        group: &str,
        of: Of<'_>,
        meter: &Meter,
        taken: &[(&'static str, Take)],
    ) {
        let reading = meter.read_at(self.now);
        for (name, take) in taken {
            self.add_of(group, name, of, take(&reading));
        }
    }

    /// Seconds since something was last counted; -1 if it never was, as in Java.
    pub(crate) fn add_age(&mut self, group: &str, name: &'static str, last: Option<Instant>) {
        let age = last.map(|last| self.now.saturating_duration_since(last).as_secs() as f64);
        self.add(group, name, age.unwrap_or(-1.0));
    }

    pub(crate) fn add_network(&mut self, network: &Network) {
        let nodes = network.nodes.lock().clone();
        let all = |read: fn(&NodeMeters) -> &Meter, now| {
            let readings = nodes.values().map(|node| read(node).read_at(now));
            readings.fold(Reading::default(), Reading::and)
        };
        let latencies = LATENCIES.into_iter().filter(|_| self.role == "producer");
        let of_all: Vec<OfNode> = OF_NODES.into_iter().chain(CONNECTIONS).chain(latencies).collect();
        for (name, read, take) in of_all {
            let value = take(&all(read, self.now));
            self.add("metrics", name, value);
        }
        let [created, closed] =
            [CONNECTIONS[0], CONNECTIONS[2]].map(|(_, read, take)| take(&all(read, self.now)));
        self.add("metrics", "connection-count", created - closed);
        if self.role == "producer" {
            let in_flight = nodes.values().map(|node| node.in_flight.get()).sum();
            self.add("metrics", "requests-in-flight", in_flight);
        }
        for (id, node) in &nodes {
            let name_of_node = format!("node-{}", BrokerId::to_wire(*id));
            for (name, read, take) in OF_NODES.into_iter().chain(LATENCIES) {
                let value = take(&read(node).read_at(self.now));
                self.add_of("node-metrics", name, &[("node-id", &name_of_node)], value);
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<Metric> {
        self.metrics
    }
}
