//! What clients report, beside what Kafka's Java clients do.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_client::{
    Consumer, ConsumerConfig, ConsumerEvent, Metric, OffsetReset, Producer, ProducerConfig, ProducerRecord,
};
use millstream_record::Compression;

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

#[tokio::test]
async fn names_and_groups_are_those_of_javas_clients() {
    let client = client();
    let topic = fresh_topic(&client, "metrics", 1).await;
    let config = ProducerConfig { compression_type: Compression::Lz4, ..ProducerConfig::default() };
    let producer = Producer::new(client.clone(), config).unwrap();
    let value = Some(Bytes::from(vec![7; 1_000]));
    for _ in 0..100 {
        producer.send(ProducerRecord::new(topic.clone(), None, value.clone())).await.unwrap();
    }
    producer.flush().await.unwrap();
    let config = ConsumerConfig {
        group_id: Some(fresh_name("metrics").to_string()),
        auto_offset_reset: OffsetReset::Earliest,
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
    consumer.poll(SECOND / 2).await.unwrap();

    let written = producer.metrics();
    let of = values(&written);
    assert_eq!(
        (of["record-send-total"], of["record-error-total"], of["record-retry-total"]),
        (100.0, 0.0, 0.0)
    );
    assert!(of["record-send-rate"] > 100.0 / 120.0, "{}", of["record-send-rate"]);
    // A hundred records of a thousand bytes, all alike.
    assert!((0.0..0.5).contains(&of["compression-rate-avg"]), "{}", of["compression-rate-avg"]);
    assert!(of["records-per-request-avg"] >= 1.0 && of["batch-size-avg"] <= of["batch-size-max"]);
    assert!(of["request-latency-avg"] > 0.0 && of["request-latency-avg"] <= of["request-latency-max"]);
    assert!(of["record-queue-time-max"] > 0.0);
    assert_eq!((of["waiting-threads"], of["buffer-available-bytes"]), (0.0, of["buffer-total-bytes"]));

    let read = consumer.metrics();
    let of = values(&read);
    assert_eq!(of["records-consumed-total"], 100.0);
    assert!(of["bytes-consumed-total"] > 100.0 && of["bytes-consumed-rate"] > 0.0);
    // At the time of the first poll 60 were left.
    assert_eq!((of["records-lag-max"], of["records-lead-min"]), (60.0, 40.0));
    assert_eq!((of["commit-total"], of["rebalance-total"], of["assigned-partitions"]), (1.0, 1.0, 1.0));
    assert!(of["join-total"] >= 1.0 && of["sync-total"] >= 1.0 && of["heartbeat-total"] >= 1.0);
    assert!(
        of["rebalance-latency-avg"] > 0.0 && of["commit-latency-avg"] > 0.0 && of["fetch-latency-avg"] > 0.0
    );
    assert!((0.0..=1.0).contains(&of["poll-idle-ratio-avg"]));

    let asked = client.admin().metrics();
    let javas = javas();
    let ours: BTreeSet<Kind> = [written, read, asked].iter().flat_map(|metrics| kinds(metrics)).collect();
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
