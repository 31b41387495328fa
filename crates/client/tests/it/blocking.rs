//! The client without an async runtime.

use std::{collections::BTreeMap, thread};

use bytes::Bytes;
use millstream_client::{
    ClientConfig, ConsumerConfig, Error, NewTopic, OffsetReset, ProducerConfig, ProducerRecord,
    blocking::{Client, Consumer},
};
use millstream_types::{Offset, TopicName};

use super::{BOOTSTRAP, SECOND, fresh_name, partition};

fn start(stem: &str) -> (Client, TopicName) {
    let client = Client::new(ClientConfig::new(&BOOTSTRAP)).unwrap();
    let topic = fresh_name(stem);
    let new = NewTopic { name: topic.to_string(), partitions: Some(1), ..NewTopic::default() };
    let admin = client.client().admin();
    client.wait(admin.create_topics(&[new], false)).unwrap()[topic.as_str()].clone().unwrap();
    (client, topic)
}

fn write(client: &Client, topic: &TopicName, count: usize) {
    let producer = client.producer(ProducerConfig::default()).unwrap();
    let send = |number: usize| {
        let value = Some(Bytes::from(number.to_string()));
        producer.send(ProducerRecord::new(topic.clone(), None, value)).unwrap()
    };
    let deliveries: Vec<_> = (0..count).map(send).collect();
    for (offset, delivery) in (0..).zip(deliveries) {
        assert_eq!(delivery.wait().unwrap().offset, Some(Offset(offset)));
    }
    producer.close(60 * SECOND).unwrap();
}

fn read(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    for _ in 0..60 {
        offsets.extend(consumer.poll(SECOND).unwrap().into_iter().map(|record| record.offset.0));
        if offsets.len() >= count {
            break;
        }
    }
    offsets
}

fn config(topic: &TopicName) -> ConsumerConfig {
    ConsumerConfig {
        group_id: Some(topic.to_string()),
        auto_offset_reset: OffsetReset::Earliest,
        session_timeout: 6 * SECOND,
        heartbeat_interval: SECOND,
        enable_auto_commit: false,
        ..ConsumerConfig::default()
    }
}

#[test]
fn a_member_whose_thread_is_busy_for_longer_than_its_session_stays_a_member() {
    let (client, topic) = start("busy");
    write(&client, &topic, 10);
    let mut consumer = client.consumer(config(&topic));
    consumer.subscribe([topic.clone()]).unwrap();
    assert_eq!(read(&mut consumer, 10), (0..10).collect::<Vec<_>>());
    let generation = consumer.generation();
    thread::sleep(9 * SECOND);
    consumer.commit().unwrap();
    assert_eq!(consumer.poll(SECOND), Ok(Vec::new()));
    assert!(generation.is_some() && consumer.generation() == generation);
    let committed = consumer.committed([partition(&topic, 0)]).unwrap();
    assert_eq!(committed[&partition(&topic, 0)].offset, Offset(10));
    // From another thread.
    let waker = consumer.waker();
    let waiting = thread::spawn(move || (consumer.poll(600 * SECOND), consumer));
    waker.wake();
    let (woken, consumer) = waiting.join().unwrap();
    assert_eq!(woken, Err(Error::WokenUp));
    consumer.close().unwrap();
    let described = client.wait(client.client().admin().describe_group(topic.as_str())).unwrap();
    assert_eq!(described.state, "Empty");
}

#[test]
fn places_are_chosen_and_asked_for() {
    let (client, topic) = start("places");
    write(&client, &topic, 5);
    let the_partition = partition(&topic, 0);
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign([(the_partition.clone(), Offset(3))]);
    assert_eq!(read(&mut consumer, 2), [3, 4]);
    consumer.seek_to_beginning([the_partition.clone()]);
    assert_eq!(consumer.position(&the_partition), Ok(Offset(0)));
    let ends: BTreeMap<_, _> = consumer.end_offsets([the_partition.clone()]).unwrap();
    assert_eq!(ends[&the_partition].clone().unwrap().offset, Some(Offset(5)));
}

#[tokio::test]
async fn within_a_runtime_a_blocking_call_is_refused_and_not_a_panic() {
    let client = Client::new(ClientConfig::new(&BOOTSTRAP)).unwrap();
    let refused = client.wait(client.client().admin().list_topics()).unwrap_err();
    assert!(matches!(refused, Error::IllegalState(_)), "{refused}");
    // Nor is it one to drop it there.
    drop(client);
}
