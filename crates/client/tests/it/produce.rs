//! Records written and read back.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use millstream_client::{
    Acks, Client, Consumer, ConsumerConfig, ConsumerRecord, Error, IsolationLevel, Metric, OffsetSpec,
    Producer, ProducerConfig, ProducerRecord,
};
use millstream_record::{Compression, Header, TimestampType};
use millstream_types::{ErrorCode, Offset, PartitionId, TimestampMs, TopicName, TopicPartition};

use super::{SECOND, client, fresh_topic, partition};

fn bytes(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

fn record(topic: &TopicName, key: Option<&str>, value: Option<&str>) -> ProducerRecord {
    ProducerRecord::new(topic.clone(), key.and_then(bytes), value.and_then(bytes))
}

/// Reads from `from` until `count` records are there.
async fn read(
    client: &Client,
    config: ConsumerConfig,
    from: TopicPartition,
    at: i64,
    count: usize,
) -> Vec<ConsumerRecord> {
    let mut consumer = Consumer::new(client.clone(), config);
    consumer.assign([(from.clone(), Offset(at))]);
    let mut seen = Vec::new();
    for _ in 0..100 {
        seen.extend(consumer.poll(SECOND).await.unwrap());
        if seen.len() >= count {
            assert_eq!(consumer.progress(&from).unwrap().position, seen.last().unwrap().offset.next());
            return seen;
        }
    }
    panic!("{} of {count} records after a hundred polls", seen.len());
}

#[tokio::test]
async fn every_codec_brings_back_keys_values_headers_and_timestamps() {
    let client = client();
    let topic = fresh_topic(&client, "codecs", 1).await;
    let mut expected: Vec<ProducerRecord> = Vec::new();
    for compression_type in Compression::ALL {
        let config = ProducerConfig { compression_type, batch_size: 2000, ..ProducerConfig::default() };
        let producer = Producer::new(client.clone(), config).unwrap();
        let mut deliveries = Vec::new();
        for i in 0..200i64 {
            let value = format!("{compression_type} {i} ").repeat(5);
            let mut record = record(&topic, (i % 3 > 0).then_some("key"), (i % 7 > 0).then_some(&value));
            record.timestamp = Some(TimestampMs(1_700_000_000_000 + i * 31 % 100));
            if i % 5 == 0 {
                let header = |value| Header::new("h", value);
                record.headers = vec![header(bytes("1")), header(None), header(bytes(""))];
            }
            expected.push(record.clone());
            deliveries.push(producer.send(record).await.unwrap());
        }
        for (i, delivery) in deliveries.into_iter().enumerate() {
            let metadata = delivery.await.unwrap();
            assert_eq!(metadata.partition, partition(&topic, 0));
            let before = expected.len() - 200;
            assert_eq!(metadata.offset, Some(Offset((before + i) as i64)), "{compression_type}");
        }
    }
    let seen = read(&client, ConsumerConfig::default(), partition(&topic, 0), 0, expected.len()).await;
    assert_eq!(seen.len(), expected.len());
    for (offset, (seen, expected)) in (0..).zip(seen.into_iter().zip(expected)) {
        assert_eq!(seen.offset, Offset(offset));
        assert_eq!((seen.key, seen.value, seen.headers), (expected.key, expected.value, expected.headers));
        assert_eq!(Some(seen.timestamp), expected.timestamp);
        assert_eq!(seen.timestamp_type, TimestampType::CreateTime);
    }
}

#[tokio::test]
async fn keys_go_to_the_partitions_that_java_chooses() {
    let client = client();
    let topic = fresh_topic(&client, "keys", 7).await;
    let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    // As Kafka's BuiltInPartitioner.partitionForKey chooses.
    for (key, expected) in [("a", 5), ("21", 3), ("foobar", 0), ("a-little-bit-long-string", 1), ("größe", 4)]
    {
        let delivery = producer.send(record(&topic, Some(key), Some("v"))).await.unwrap();
        assert_eq!(delivery.await.unwrap().partition.partition, PartitionId(expected), "{key}");
    }
    let chosen = ProducerRecord { partition: Some(PartitionId(6)), ..record(&topic, Some("foobar"), None) };
    assert_eq!(producer.send(chosen).await.unwrap().await.unwrap().partition, partition(&topic, 6));
    let outside = ProducerRecord { partition: Some(PartitionId(7)), ..record(&topic, None, None) };
    let refused = producer.send(outside).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn metrics_count_what_was_written_and_read_by_kafkas_names() {
    let client = client();
    let topic = fresh_topic(&client, "metrics", 1).await;
    let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    for _ in 0..10 {
        producer.send(record(&topic, None, Some("v"))).await.unwrap().await.unwrap();
    }
    let find = |metrics: Vec<Metric>, group: &str, name: &str| {
        // Of the whole client, if there is one; else of a topic or partition.
        let found = metrics.iter().filter(|m| m.group == group && m.name == name);
        let found = found.min_by_key(|m| m.tags.len());
        found.unwrap_or_else(|| panic!("{group} {name} in {metrics:?}")).value
    };
    let of_producer = |name| find(producer.metrics(), "producer-metrics", name);
    assert_eq!((of_producer("record-send-total"), of_producer("record-error-total")), (10.0, 0.0));
    assert_eq!(of_producer("buffer-available-bytes"), of_producer("buffer-total-bytes"));
    assert!(of_producer("response-total") >= 10.0 && of_producer("outgoing-byte-total") > 500.0);
    let nodes = producer.metrics().into_iter().filter(|m| m.group == "producer-node-metrics");
    let to_nodes: f64 = nodes.filter(|m| m.name == "request-total").map(|m| m.value).sum();
    assert!(to_nodes <= of_producer("request-total"));

    let mut consumer =
        Consumer::new(client.clone(), ConsumerConfig { max_poll_records: 4, ..ConsumerConfig::default() });
    consumer.assign([(partition(&topic, 0), Offset(0))]);
    assert_eq!(consumer.poll(60 * SECOND).await.unwrap().len(), 4);
    let of_consumer = |name| find(consumer.metrics(), "consumer-fetch-manager-metrics", name);
    assert_eq!((of_consumer("records-consumed-total"), of_consumer("records-lag")), (4.0, 6.0));
    assert_eq!((of_consumer("records-lead"), of_consumer("preferred-read-replica")), (4.0, -1.0));
}

#[tokio::test]
async fn weaker_acks_are_as_good_as_their_word() {
    let client = client();
    let topic = fresh_topic(&client, "acks", 1).await;
    for (acks, offset) in [(Acks::None, None), (Acks::Leader, Some(Offset(1)))] {
        let config = ProducerConfig { acks, enable_idempotence: false, ..ProducerConfig::default() };
        let producer = Producer::new(client.clone(), config).unwrap();
        let delivery = producer.send(record(&topic, None, Some("v"))).await.unwrap();
        assert_eq!(delivery.await.unwrap().offset, offset);
        // The unanswered record is there before the next one is written.
        read(&client, ConsumerConfig::default(), partition(&topic, 0), 0, 1).await;
    }
}

#[tokio::test]
async fn flush_sends_what_lingers_and_waits_for_it() {
    let client = client();
    let topic = fresh_topic(&client, "flush", 3).await;
    let config = ProducerConfig { linger: Duration::from_secs(3600), ..ProducerConfig::default() };
    let producer = Producer::new(client.clone(), config).unwrap();
    let mut deliveries = Vec::new();
    for i in 0..9 {
        let one = ProducerRecord { partition: Some(PartitionId(i % 3)), ..record(&topic, None, Some("v")) };
        deliveries.push(producer.send(one).await.unwrap());
    }
    producer.flush().await.unwrap();
    for delivery in deliveries {
        let delivered = tokio::time::timeout(Duration::ZERO, delivery).await;
        assert!(delivered.unwrap().unwrap().offset.is_some());
    }
}

#[tokio::test]
async fn offsets_are_found_by_place_and_by_time() {
    let client = client();
    let (admin, topic) = (client.admin(), fresh_topic(&client, "offsets", 2).await);
    let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    for time in [100, 300, 200] {
        let one = ProducerRecord {
            partition: Some(PartitionId(0)),
            timestamp: Some(TimestampMs(1_700_000_000_000 + time)),
            ..record(&topic, None, Some("v"))
        };
        producer.send(one).await.unwrap().await.unwrap();
    }
    let find = async |index, spec| {
        let wanted = BTreeMap::from([(partition(&topic, index), spec)]);
        let found = admin.list_offsets(&wanted, IsolationLevel::ReadUncommitted).await.unwrap();
        found[&partition(&topic, index)].clone().unwrap().offset
    };
    let at = |time: i64| OffsetSpec::Timestamp(TimestampMs(1_700_000_000_000 + time));
    assert_eq!(find(0, OffsetSpec::Earliest).await, Some(Offset(0)));
    assert_eq!(find(0, OffsetSpec::Latest).await, Some(Offset(3)));
    assert_eq!(find(0, OffsetSpec::MaxTimestamp).await, Some(Offset(1)));
    assert_eq!(find(0, at(0)).await, Some(Offset(0)));
    assert_eq!(find(0, at(101)).await, Some(Offset(1)));
    assert_eq!(find(0, at(301)).await, None);
    assert_eq!(find(1, OffsetSpec::Latest).await, Some(Offset(0)));
    assert_eq!(find(1, OffsetSpec::MaxTimestamp).await, None);

    let before = BTreeMap::from([(partition(&topic, 0), Some(Offset(2))), (partition(&topic, 1), None)]);
    let starts = admin.delete_records(&before).await.unwrap();
    assert_eq!(starts[&partition(&topic, 0)], Ok(Offset(2)));
    assert_eq!(starts[&partition(&topic, 1)], Ok(Offset(0)));
    assert_eq!(find(0, OffsetSpec::Earliest).await, Some(Offset(2)));

    let mut consumer = Consumer::new(client.clone(), ConsumerConfig::default());
    consumer.assign([(partition(&topic, 0), Offset(0))]);
    let lost = consumer.poll(10 * SECOND).await.unwrap_err();
    assert_eq!(lost.code(), Some(ErrorCode::OffsetOutOfRange));
    consumer.seek(partition(&topic, 0), Offset(2));
    let seen = consumer.poll(10 * SECOND).await.unwrap();
    assert_eq!(seen.iter().map(|record| record.offset).collect::<Vec<_>>(), [Offset(2)]);
    let progress = consumer.progress(&partition(&topic, 0)).unwrap();
    assert_eq!((progress.end, progress.log_start), (Some(Offset(3)), Some(Offset(2))));

    let producers = admin.describe_producers(&partition(&topic, 0)).await.unwrap();
    assert_eq!(producers.iter().map(|p| p.last_sequence.unwrap().0).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_reader_in_the_middle_of_a_batch_sees_only_what_it_asked_for() {
    let client = client();
    let topic = fresh_topic(&client, "middle", 1).await;
    let config = ProducerConfig { linger: SECOND, ..ProducerConfig::default() };
    let producer = Producer::new(client.clone(), config).unwrap();
    for i in 0..10 {
        producer.send(record(&topic, None, Some(&i.to_string()))).await.unwrap();
    }
    producer.flush().await.unwrap();
    let committed =
        ConsumerConfig { isolation_level: IsolationLevel::ReadCommitted, ..ConsumerConfig::default() };
    let seen = read(&client, committed, partition(&topic, 0), 7, 3).await;
    assert_eq!(seen.iter().map(|record| record.offset.0).collect::<Vec<_>>(), [7, 8, 9]);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_here_or_by_the_broker() {
    let client = client();
    let topic = fresh_topic(&client, "large", 1).await;
    let value = "x".repeat(1_500_000);
    let careful = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    let refused = careful.send(record(&topic, None, Some(&value))).await.unwrap_err();
    assert!(matches!(refused, Error::RecordTooLarge { limit: 1_048_576, .. }), "{refused}");

    let config = ProducerConfig { max_request_size: 10 << 20, ..ProducerConfig::default() };
    let bold = Producer::new(client.clone(), config).unwrap();
    let refused = bold.send(record(&topic, None, Some(&value))).await.unwrap().await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::MessageTooLarge));
    // The sequence that went missing does not hold up what follows.
    let after = bold.send(record(&topic, None, Some("small"))).await.unwrap().await.unwrap();
    assert_eq!(after.offset, Some(Offset(0)));
}

#[tokio::test]
async fn a_batch_too_large_for_its_topic_is_written_in_pieces() {
    let client = client();
    let topic = fresh_topic(&client, "pieces", 1).await;
    let smaller = [("max.message.bytes".to_owned(), millstream_client::ConfigChange::Set("1000".to_owned()))];
    let resource = millstream_client::ConfigResource::Topic(topic.clone());
    client.admin().alter_configs(&resource, &smaller, false).await.unwrap();
    let config = ProducerConfig { linger: SECOND, batch_size: 1 << 20, ..ProducerConfig::default() };
    let producer = Producer::new(client.clone(), config).unwrap();
    let mut deliveries = Vec::new();
    for _ in 0..50 {
        deliveries.push(producer.send(record(&topic, None, Some(&"x".repeat(100)))).await.unwrap());
    }
    producer.flush().await.unwrap();
    for (offset, delivery) in (0..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, Some(Offset(offset)));
    }
}

#[tokio::test]
async fn records_for_a_topic_that_does_not_exist_fail_by_name_when_the_time_is_up() {
    let client = super::client_with(|config| config.default_api_timeout = SECOND);
    let producer = Producer::new(client, ProducerConfig::default()).unwrap();
    let nobody = super::fresh_name("nobody");
    let refused = producer.send(record(&nobody, None, Some("v"))).await.unwrap_err();
    assert!(matches!(refused, Error::Timeout { .. }), "{refused}");
    assert_eq!(refused.code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert!(refused.to_string().contains(nobody.as_str()), "{refused}");
}

#[tokio::test]
async fn a_full_buffer_makes_send_wait_and_then_say_so() {
    let client = client();
    let topic = fresh_topic(&client, "full", 1).await;
    let config = ProducerConfig {
        linger: Duration::from_secs(3600),
        buffer_memory: 1000,
        max_block: SECOND / 4,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client, config).unwrap();
    let first = producer.send(record(&topic, None, Some(&"x".repeat(600)))).await.unwrap();
    let refused = producer.send(record(&topic, None, Some(&"x".repeat(600)))).await.unwrap_err();
    assert!(matches!(refused, Error::Timeout { .. }) && refused.to_string().contains("buffer.memory"));
    let exhausted = producer.metrics().into_iter().find(|m| m.name == "buffer-exhausted-total");
    assert_eq!(exhausted.map(|metric| metric.value), Some(1.0));
    // When the first is written there is room again.
    producer.flush().await.unwrap();
    first.await.unwrap();
    let second = producer.send(record(&topic, None, Some(&"x".repeat(600)))).await.unwrap();
    producer.close(60 * SECOND).await.unwrap();
    assert_eq!(second.await.unwrap().offset, Some(Offset(1)));
}
