//! Topics that are deleted and made anew under their name, while producers and consumers hold on to it.

use bytes::Bytes;
use millstream_client::{
    Client, Consumer, ConsumerConfig, Error, NewTopic, OffsetReset, Producer, ProducerConfig, ProducerRecord,
};
use millstream_types::{ErrorCode, Offset, PartitionId, TopicName};

use super::{SECOND, client, eventually, fresh_name, fresh_topic, partition};

async fn write(producer: &Producer, topic: &TopicName, count: usize) -> Vec<Option<Offset>> {
    let mut offsets = Vec::new();
    for number in 0..count {
        let value = Some(Bytes::from(format!("{number}")));
        let record = ProducerRecord {
            partition: Some(PartitionId(0)),
            ..ProducerRecord::new(topic.clone(), None, value)
        };
        offsets.push(producer.send(record).await.unwrap().await.unwrap().offset);
    }
    offsets
}

async fn read(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    for _ in 0..100 {
        offsets.extend(consumer.poll(SECOND).await.unwrap().into_iter().map(|record| record.offset.0));
        if offsets.len() >= count {
            break;
        }
    }
    offsets
}

async fn make_anew(client: &Client, topic: &TopicName) {
    client.admin().delete_topics(std::slice::from_ref(topic)).await.unwrap()[topic.as_str()].clone().unwrap();
    let new = NewTopic { name: topic.to_string(), partitions: Some(1), ..NewTopic::default() };
    let create = async || {
        let created = client.admin().create_topics(std::slice::from_ref(&new), false).await.unwrap();
        created[topic.as_str()].clone().map(drop)
    };
    eventually(create, Result::is_ok).await.unwrap();
}

/// Those who hold on share nothing with the one who deletes: they find out by the answers that they get.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_on_to_a_topics_name_goes_on_with_its_successor() {
    let topic = fresh_topic(&client(), "anew", 1).await;
    let the_partition = partition(&topic, 0);
    let producer = Producer::new(client(), ProducerConfig::default()).unwrap();
    let config = |reset| ConsumerConfig {
        group_id: Some(fresh_name("group").to_string()),
        enable_auto_commit: false,
        auto_offset_reset: reset,
        ..ConsumerConfig::default()
    };
    let start = |reset| {
        let mut consumer = Consumer::new(client(), config(reset));
        consumer.assign_partitions([the_partition.clone()]);
        consumer
    };
    let mut by_hand = start(OffsetReset::Latest);
    assert_eq!(by_hand.position(&the_partition).await, Ok(Offset(0)));
    let mut unforgiving = start(OffsetReset::None);
    unforgiving.seek(the_partition.clone(), Offset(0));
    let mut exact = Consumer::new(client(), ConsumerConfig::default());
    exact.assign([(the_partition.clone(), Offset(0))]);
    let mut member = Consumer::new(client(), config(OffsetReset::Earliest));
    member.subscribe([topic.clone()]).unwrap();

    write(&producer, &topic, 5).await;
    for consumer in [&mut by_hand, &mut unforgiving, &mut exact, &mut member] {
        assert_eq!(read(consumer, 5).await, [0, 1, 2, 3, 4]);
    }
    make_anew(&client(), &topic).await;
    // More than there was: an offset of the old topic's would be in the new one.
    let told: Vec<Option<Offset>> = (0..8).map(|offset| Some(Offset(offset))).collect();
    assert_eq!(write(&producer, &topic, 8).await, told);
    for consumer in [&mut by_hand, &mut member] {
        assert_eq!(read(consumer, 8).await, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
    for consumer in [&mut unforgiving, &mut exact] {
        let error = loop {
            match consumer.poll(60 * SECOND).await {
                Ok(records) => assert!(records.is_empty(), "{records:?}"),
                Err(error) => break error,
            }
        };
        let truncated =
            Error::Truncated { partition: the_partition.clone(), position: Offset(5), common: None };
        assert!(error == truncated || error.code() == Some(ErrorCode::OffsetOutOfRange), "{error}");
        // Whoever is told decides where to go on.
        consumer.seek(the_partition.clone(), Offset(6));
        assert_eq!(read(consumer, 2).await, [6, 7]);
    }
    member.close().await.unwrap();
    let ends = by_hand.end_offsets([the_partition.clone()]).await.unwrap();
    assert_eq!(ends[&the_partition].clone().unwrap().offset, Some(Offset(8)));
}
