//! A broker that goes away and comes back.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use millstream_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Error, MetadataRecovery, NewTopic, Producer,
    ProducerConfig, ProducerRecord,
};
use millstream_testkit::{Target, TargetOptions};
use millstream_types::{Offset, PartitionId, TopicName};

use super::{SECOND, partition};

/// Kills the broker in the midst of idempotent writing, with requests under way.
#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_there_once_and_in_order_after_the_broker_was_killed() {
    let mut target = Target::start(TargetOptions::default()).unwrap();
    let client = Client::new(ClientConfig::new(target.bootstrap())).unwrap();
    let topic = TopicName::from_static("killed");
    let new = NewTopic { name: topic.to_string(), partitions: Some(2), ..NewTopic::default() };
    client.admin().create_topics(&[new], false).await.unwrap()[topic.as_str()].clone().unwrap();

    let config = ProducerConfig { batch_size: 200, linger: Duration::ZERO, ..ProducerConfig::default() };
    let producer = Producer::new(client.clone(), config).unwrap();
    let mut deliveries = Vec::new();
    for i in 0..4000 {
        let value = Some(Bytes::from(format!("{i:05}")));
        let record = ProducerRecord {
            partition: Some(PartitionId(i % 2)),
            ..ProducerRecord::new(topic.clone(), None, value)
        };
        deliveries.push(producer.send(record).await.unwrap());
        if i == 2000 {
            target.kill().unwrap();
            target.start_again().unwrap();
        }
    }
    tokio::task::block_in_place(|| target.wait_ready()).unwrap();
    let mut offsets = BTreeSet::new();
    for delivery in deliveries {
        let written = delivery.await.unwrap();
        if let Some(offset) = written.offset {
            assert!(offsets.insert((written.partition, offset)), "two records at one offset");
        }
    }
    let mut consumer = Consumer::new(client, ConsumerConfig::default());
    consumer.assign([0, 1].map(|index| (partition(&topic, index), Offset::ZERO)));
    let mut seen = [Vec::new(), Vec::new()];
    while seen.iter().map(Vec::len).sum::<usize>() < 4000 {
        let records = consumer.poll(10 * SECOND).await.unwrap();
        assert!(!records.is_empty(), "{:?} of 4000 are there", seen.each_ref().map(Vec::len));
        for record in records {
            seen[record.partition.partition.0 as usize].push(record.value.unwrap());
        }
    }
    for (index, values) in seen.iter().enumerate() {
        let expected: Vec<Bytes> = (index..4000).step_by(2).map(|i| Bytes::from(format!("{i:05}"))).collect();
        let differs = expected.iter().zip(values).position(|(wanted, found)| wanted != found);
        assert!(
            *values == expected,
            "partition {index}: {} records, the first that is wrong is at {differs:?}: {:?}",
            values.len(),
            differs.map(|at| &values[at.saturating_sub(3)..values.len().min(at + 10)]),
        );
    }
}

/// Two clusters, as after a move to new machines under the old names: of the first nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_brokers_are_all_gone_asks_the_bootstrap_servers_again() {
    let mut first = Target::start(TargetOptions::default()).unwrap();
    let second = Target::start(TargetOptions::default()).unwrap();
    let servers = format!("{},{}", first.bootstrap(), second.bootstrap());
    let start = |rebootstrap| {
        let limit = if rebootstrap { 60 * SECOND } else { 2 * SECOND };
        let metadata_recovery =
            if rebootstrap { MetadataRecovery::Rebootstrap } else { MetadataRecovery::None };
        let config =
            ClientConfig { metadata_recovery, default_api_timeout: limit, ..ClientConfig::new(&servers) };
        Client::new(config).unwrap()
    };
    let (again, never) = (start(true), start(false));
    let topic = TopicName::from_static("moved");
    for bootstrap in [first.bootstrap(), second.bootstrap()] {
        let admin = Client::new(ClientConfig::new(bootstrap)).unwrap().admin();
        let new = NewTopic { name: topic.to_string(), partitions: Some(1), ..NewTopic::default() };
        admin.create_topics(&[new], false).await.unwrap()[topic.as_str()].clone().unwrap();
    }
    let ids = (again.topic(&topic).await.unwrap().id, never.topic(&topic).await.unwrap().id);
    assert_eq!(ids.0, ids.1);
    tokio::task::block_in_place(|| first.kill()).unwrap();
    let described = again.admin().describe_topics(std::slice::from_ref(&topic)).await.unwrap();
    assert!(described[&topic].clone().unwrap().id != ids.0);
    let error = never.admin().list_topics().await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    // What was known of the topic in the first cluster does not stand in the way.
    let producer = Producer::new(again, ProducerConfig::default()).unwrap();
    let record = ProducerRecord::new(topic, None, Some(Bytes::from_static(b"v")));
    assert_eq!(producer.send(record).await.unwrap().await.unwrap().offset, Some(Offset::ZERO));
}

#[tokio::test]
async fn closing_gives_up_in_time_what_nobody_answers() {
    let target = Target::start(TargetOptions::default()).unwrap();
    let client = Client::new(ClientConfig::new(target.bootstrap())).unwrap();
    let topic = super::fresh_topic(&client, "closing", 1).await;
    let producer = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    let record = || ProducerRecord::new(topic.clone(), None, Some(Bytes::from_static(b"v")));
    producer.send(record()).await.unwrap().await.unwrap();
    let config = ConsumerConfig { group_id: Some("closing".to_owned()), ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client, config);
    consumer.subscribe([topic.clone()]).unwrap();
    while consumer.assignment().is_empty() {
        consumer.poll(SECOND).await.unwrap();
    }
    // The broker is there and does nothing.
    let broker = rustix::process::Pid::from_raw(i32::try_from(target.pid().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(broker, rustix::process::Signal::STOP).unwrap();
    let lost = producer.send(record()).await.unwrap();
    let closed = producer.close(SECOND / 4).await;
    assert!(matches!(closed, Err(Error::Timeout { .. })), "{closed:?}");
    assert_eq!(lost.await, Err(Error::Closed("the producer")));
    // It returns at all, long before the coordinator could be asked.
    let closing = consumer.close_within(SECOND / 4);
    tokio::time::timeout(20 * SECOND, closing).await.unwrap().ok();
    rustix::process::kill_process(broker, rustix::process::Signal::CONT).unwrap();
}
