//! The counters of one broker. Each broker has a registry of its own, so that several can live in one
//! process (tests), and a deleted topic's series go with it.

use std::fmt;

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabels {
    topic: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub request: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    pub request: &'static str,
    pub error: &'static str,
}

/// The configuration key whose limit was reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

/// Milliseconds; the finest bucket is what a request served from memory takes.
#[derive(Clone)]
struct RequestTimes;

impl MetricConstructor<Histogram> for RequestTimes {
    fn new_metric(&self) -> Histogram {
        Histogram::new([0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0])
    }
}

/// The counters of one topic, to keep where it is served; cheap to clone.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    pub messages_in: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub bytes_rejected: Counter,
    pub failed_produce_requests: Counter,
    pub failed_fetch_requests: Counter,
    pub total_produce_requests: Counter,
    pub total_fetch_requests: Counter,
}

/// The same, for all topics.
#[derive(Default)]
struct TopicFamilies {
    messages_in: Family<TopicLabels, Counter>,
    bytes_in: Family<TopicLabels, Counter>,
    bytes_out: Family<TopicLabels, Counter>,
    bytes_rejected: Family<TopicLabels, Counter>,
    failed_produce_requests: Family<TopicLabels, Counter>,
    failed_fetch_requests: Family<TopicLabels, Counter>,
    total_produce_requests: Family<TopicLabels, Counter>,
    total_fetch_requests: Family<TopicLabels, Counter>,
}

impl TopicFamilies {
    fn each(&self) -> [(&'static str, &'static str, &Family<TopicLabels, Counter>); 8] {
        [
            ("messagesin", "Records appended", &self.messages_in),
            ("bytesin", "Bytes of record batches appended", &self.bytes_in),
            ("bytesout", "Bytes of record batches read by clients", &self.bytes_out),
            ("bytesrejected", "Bytes of record batches refused", &self.bytes_rejected),
            ("failedproducerequests", "Produce to a partition that failed", &self.failed_produce_requests),
            ("failedfetchrequests", "Fetch from a partition that failed", &self.failed_fetch_requests),
            ("totalproducerequests", "Produce to a partition", &self.total_produce_requests),
            ("totalfetchrequests", "Fetch from a partition", &self.total_fetch_requests),
        ]
    }
}

/// Handles to count with, and the registry that renders them.
pub struct Metrics {
    registry: Mutex<Registry>,
    topics: TopicFamilies,
    pub requests: Family<RequestLabels, Counter>,
    pub request_errors: Family<ErrorLabels, Counter>,
    request_time_ms: Family<RequestLabels, Histogram, RequestTimes>,
    pub connections: Gauge,
    connections_limited: Family<LimitLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let topics = TopicFamilies::default();
        for (name, help, family) in topics.each() {
            registry.register(format!("kafka_server_brokertopicmetrics_{name}"), help, family.clone());
        }
        let requests = Family::default();
        registry.register("kafka_network_requestmetrics_requests", "Requests answered", requests.clone());
        let request_errors = Family::default();
        registry.register(
            "kafka_network_requestmetrics_errors",
            "Error codes answered",
            request_errors.clone(),
        );
        let request_time_ms = Family::new_with_constructor(RequestTimes);
        registry.register(
            "kafka_network_requestmetrics_totaltimems",
            "Milliseconds from a request's last byte in to its response's first byte out",
            request_time_ms.clone(),
        );
        let connections = Gauge::default();
        registry.register(
            "kafka_server_socket_server_metrics_connection_count",
            "Open connections",
            connections.clone(),
        );
        let connections_limited = Family::default();
        registry.register(
            "millstream_connections_limited",
            "Connections refused, delayed or closed because a limit was reached",
            connections_limited.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            topics,
            requests,
            request_errors,
            request_time_ms,
            connections,
            connections_limited,
        }
    }
}

impl Metrics {
    /// Gauges that are read when somebody scrapes, rather than kept up to date.
    pub fn register_collector(&self, collector: Box<dyn Collector>) {
        self.registry.lock().register_collector(collector);
    }

    pub fn observe_request(&self, request: &'static str, elapsed_ms: f64) {
        let labels = RequestLabels { request };
        self.requests.get_or_create(&labels).inc();
        self.request_time_ms.get_or_create(&labels).observe(elapsed_ms);
    }

    /// A connection has met with the limit that this key sets.
    pub fn limited(&self, key: &'static str) {
        self.connections_limited.get_or_create(&LimitLabels { limit: key }).inc();
    }

    pub fn topic(&self, topic: &str) -> TopicMetrics {
        let labels = TopicLabels { topic: topic.to_owned() };
        let counter = |family: &Family<TopicLabels, Counter>| family.get_or_create_owned(&labels);
        TopicMetrics {
            messages_in: counter(&self.topics.messages_in),
            bytes_in: counter(&self.topics.bytes_in),
            bytes_out: counter(&self.topics.bytes_out),
            bytes_rejected: counter(&self.topics.bytes_rejected),
            failed_produce_requests: counter(&self.topics.failed_produce_requests),
            failed_fetch_requests: counter(&self.topics.failed_fetch_requests),
            total_produce_requests: counter(&self.topics.total_produce_requests),
            total_fetch_requests: counter(&self.topics.total_fetch_requests),
        }
    }

    /// Forgets the series of a deleted topic.
    pub fn remove_topic(&self, topic: &str) {
        let labels = TopicLabels { topic: topic.to_owned() };
        for (_, _, family) in self.topics.each() {
            family.remove(&labels);
        }
    }

    /// The OpenMetrics text that `/metrics` answers with.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock())?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_bear_the_customary_names() {
        let metrics = Metrics::default();
        metrics.topic("t").messages_in.inc_by(3);
        metrics.observe_request("Produce", 0.3);
        let text = metrics.render().unwrap();
        assert!(text.contains("kafka_server_brokertopicmetrics_messagesin_total{topic=\"t\"} 3"), "{text}");
        assert!(
            text.contains("kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} 1"),
            "{text}"
        );
        metrics.remove_topic("t");
        assert!(!metrics.render().unwrap().contains("topic=\"t\""));
    }
}
