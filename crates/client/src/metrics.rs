//! What clients count, under the names of Kafka's client metrics. Here are those that need no window of time:
//! totals, whose differences are rates, and what is so at the moment.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use millstream_types::BrokerId;
use parking_lot::Mutex;

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

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> f64 {
        self.0.load(Ordering::Relaxed) as f64
    }
}

/// Of one broker, over all connections to it there were.
#[derive(Debug, Default)]
pub(crate) struct NodeCounters {
    pub(crate) requests: Counter,
    pub(crate) responses: Counter,
    pub(crate) outgoing_bytes: Counter,
    pub(crate) incoming_bytes: Counter,
    pub(crate) connections_created: Counter,
    pub(crate) connections_closed: Counter,
}

/// Of a client; brokers whose id is not known, being bootstrap servers, count as one.
#[derive(Debug, Default)]
pub(crate) struct Network {
    nodes: Mutex<BTreeMap<Option<BrokerId>, Arc<NodeCounters>>>,
}

impl Network {
    pub(crate) fn node(&self, id: Option<BrokerId>) -> Arc<NodeCounters> {
        Arc::clone(self.nodes.lock().entry(id).or_default())
    }
}

/// Collects the metrics of one client in one role: `producer`, `consumer` or `admin-client`.
pub(crate) struct Report {
    role: &'static str,
    client_id: String,
    metrics: Vec<Metric>,
}

impl Report {
    pub(crate) fn new(role: &'static str, client_id: &str) -> Self {
        Self { role, client_id: client_id.to_owned(), metrics: Vec::new() }
    }

    /// `group`: behind the role, `metrics` or `fetch-manager-metrics` for instance.
    pub(crate) fn add(&mut self, group: &str, name: &'static str, value: f64) {
        self.add_of(group, name, [], value);
    }

    pub(crate) fn add_of(
        &mut self,
        group: &str,
        name: &'static str,
        of: impl IntoIterator<Item = (&'static str, String)>,
        value: f64,
    ) {
        let mut tags = BTreeMap::from([("client-id", self.client_id.clone())]);
        tags.extend(of);
        self.metrics.push(Metric { group: format!("{}-{group}", self.role), name, tags, value });
    }

    pub(crate) fn add_network(&mut self, network: &Network) {
        type Read = fn(&NodeCounters) -> &Counter;
        const OF_NODES: [(&str, Read); 4] = [
            ("request-total", |node| &node.requests),
            ("response-total", |node| &node.responses),
            ("outgoing-byte-total", |node| &node.outgoing_bytes),
            ("incoming-byte-total", |node| &node.incoming_bytes),
        ];
        const OF_ALL: [(&str, Read); 2] = [
            ("connection-creation-total", |node| &node.connections_created),
            ("connection-close-total", |node| &node.connections_closed),
        ];
        let nodes = network.nodes.lock().clone();
        for (name, read) in OF_NODES.into_iter().chain(OF_ALL) {
            self.add("metrics", name, nodes.values().map(|node| read(node).get()).sum());
        }
        let open = |node: &Arc<NodeCounters>| node.connections_created.get() - node.connections_closed.get();
        self.add("metrics", "connection-count", nodes.values().map(open).sum());
        for (id, node) in &nodes {
            let name_of_node = format!("node-{}", BrokerId::to_wire(*id));
            for (name, read) in OF_NODES {
                let of = [("node-id", name_of_node.clone())];
                self.add_of("node-metrics", name, of, read(node).get());
            }
        }
    }

    pub(crate) fn finish(self) -> Vec<Metric> {
        self.metrics
    }
}
