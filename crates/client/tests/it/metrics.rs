//! What clients report, beside what Kafka's Java clients do.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_client::{
    Client, Consumer, ConsumerConfig, ConsumerEvent, Metric, OffsetReset, Producer, ProducerConfig,
    ProducerRecord,
};
use millstream_record::Compression;
use millstream_types::TopicName;

use super::{SECOND, client, fresh_name, fresh_topic};

const JAVAS: &str = include_str!("../fixtures/kafka-4.3.1-metrics.tsv");

/// Group, name, tags.
type Kind = (String, String, String);

fn javas() -> BTreeSet<Kind> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        let [_, group, name, tags] = <[&str; 4]>::try_from(cells).ok()?;
        Some((group.to_owned(), name.to_owned(), tags.to_owned()))
    };
    JAVAS.lines().filter_map(row).collect()
}

fn kinds(metrics: &[Metric]) -> BTreeSet<Kind> {
    let kind = |metric: &Metric| {
        let tags: Vec<&str> = metric.tags.keys().copied().collect();
        (metric.group.clone(), metric.name.to_owned(), tags.join(","))
    };
    metrics.iter().map(kind).collect()
}

/// The values of the client as a whole.
fn values(metrics: &[Metric]) -> BTreeMap<&'static str, f64> {
    let whole = metrics.iter().filter(|metric| metric.tags.len() == 1);
    whole.map(|metric| (metric.name, metric.value)).collect()
}

/// What Java has and we have not, by the beginning of the name: what Java's own way of doing things has to say, SASL,
/// and quotas; callbacks, where we have events.
const ABSENT: [&str; 25] = [
    "batch-split-",
    "commit-id",
    "commit-sync-time-ns-total",
    "committed-time-ns-total",
    "count",
    "failed-authentication-",
    "failed-reauthentication-",
    "fetch-throttle-time-",
    "io-ratio",
    "io-time-",
    "io-wait-",
    "bufferpool-wait-ratio",
    "network-io-",
    "partition-assigned-latency-",
    "partition-lost-latency-",
    "partition-revoked-latency-",
    "produce-throttle-time-",
    "reauthentication-latency-",
    "record-size-",
    "select-",
    "start-time-ms",
    "successful-authentication-",
    "successful-reauthentication-",
    "txn-",
    "version",
];

/// A producer that has written a hundred records, all alike.
async fn writer(client: &Client, topic: &TopicName) -> Producer {
    let config = ProducerConfig { compression_type: Compression::Lz4, ..ProducerConfig::default() };
    let producer = Producer::new(client.clone(), config).unwrap();
    let value = Some(Bytes::from(vec![7; 1_000]));
    for _ in 0..100 {
        producer.send(ProducerRecord::new(topic.clone(), None, value.clone())).await.unwrap();
    }
    producer.flush().await.unwrap();
    producer
}

/// A consumer that has read and committed them.
async fn reader(client: &Client, topic: TopicName) -> Consumer {
    let config = ConsumerConfig {
        group_id: Some(fresh_name("metrics").to_string()),
        auto_offset_reset: OffsetReset::Earliest,
        enable_auto_commit: false,
        heartbeat_interval: SECOND / 10,
        max_poll_records: 40,
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(client.clone(), config);
    consumer.subscribe([topic]).unwrap();
    let mut seen = 0;
    while seen < 100 {
        if let Some(ConsumerEvent::Records(records)) = consumer.next(60 * SECOND).await.unwrap() {
            seen += records.len();
        }
    }
    consumer.commit().await.unwrap();
    while values(&consumer.metrics())["heartbeat-total"] == 0.0 {
        consumer.poll(SECOND / 2).await.unwrap();
    }
    consumer
}

#[tokio::test]
async fn rates_averages_and_maxima_are_of_what_was_done() {
    let client = client();
    let topic = fresh_topic(&client, "metrics", 1).await;
    let producer = writer(&client, &topic).await;
    let written = producer.metrics();
    let of = values(&written);
    assert_eq!(of["record-send-total"], 100.0);
    assert_eq!((of["record-error-total"], of["record-retry-total"]), (0.0, 0.0));
    assert!(of["record-send-rate"] > 0.0 && of["record-send-rate"] <= 100.0 / 30.0);
    assert!((0.0..0.5).contains(&of["compression-rate-avg"]), "{}", of["compression-rate-avg"]);
    assert!(of["records-per-request-avg"] >= 1.0 && of["batch-size-avg"] <= of["batch-size-max"]);
    assert!(of["request-latency-avg"] > 0.0 && of["request-latency-avg"] <= of["request-latency-max"]);
    assert!(of["record-queue-time-max"] > 0.0);
    assert_eq!((of["waiting-threads"], of["buffer-available-bytes"]), (0.0, of["buffer-total-bytes"]));

    let consumer = reader(&client, topic).await;
    let read = consumer.metrics();
    let of = values(&read);
    assert_eq!(of["records-consumed-total"], 100.0);
    assert!(of["bytes-consumed-total"] > 100.0 && of["bytes-consumed-rate"] > 0.0);
    assert!(of["records-lag-max"] <= 100.0 && of["records-lead-min"] > 0.0);
    assert_eq!((of["commit-total"], of["rebalance-total"], of["assigned-partitions"]), (1.0, 1.0, 1.0));
    assert!(of["join-total"] >= 1.0 && of["sync-total"] >= 1.0);
    for latency in ["rebalance-latency-avg", "commit-latency-avg", "fetch-latency-avg"] {
        assert!(of[latency] > 0.0, "{latency}");
    }
    assert!((0.0..=1.0).contains(&of["poll-idle-ratio-avg"]));
    producer.close(60 * SECOND).await.unwrap();
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn names_and_groups_are_those_of_javas_clients() {
    let client = client();
    let topic = fresh_topic(&client, "metrics", 1).await;
    let producer = writer(&client, &topic).await;
    let consumer = reader(&client, topic).await;
    let all = [producer.metrics(), consumer.metrics(), client.admin().metrics()];
    let (ours, javas) = (all.iter().flat_map(|metrics| kinds(metrics)).collect::<BTreeSet<Kind>>(), javas());
    let strange: Vec<_> = ours.difference(&javas).collect();
    assert!(strange.is_empty(), "not Java's: {strange:?}");
    let is_absent = |name: &str| ABSENT.iter().any(|beginning| name.starts_with(beginning));
    let missing: Vec<_> = javas.difference(&ours).filter(|(_, name, _)| !is_absent(name)).collect();
    assert!(missing.is_empty(), "Java's alone: {missing:?}");
    let there: Vec<_> = ours.iter().filter(|(_, name, _)| is_absent(name)).collect();
    assert!(there.is_empty(), "said to be absent: {there:?}");
    producer.close(60 * SECOND).await.unwrap();
    consumer.close().await.unwrap();
}
