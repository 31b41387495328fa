//! Where reading begins and goes on.

use std::time::Duration;

use millstream_client::{Consumer, ConsumerConfig, Error, OffsetReset};
use millstream_types::{ErrorCode, Offset, TimestampMs};

use super::{
    super::{SECOND, client, fresh_topic, partition},
    LIMIT, config, fresh_group, produce,
};

async fn next_offsets(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        let records = consumer.poll(LIMIT).await.unwrap();
        assert!(!records.is_empty(), "{offsets:?}");
        offsets.extend(records.into_iter().map(|record| record.offset.0));
    }
    offsets
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_committed_offset_the_reset_says_where_to_begin() {
    let client = client();
    let topic = fresh_topic(&client, "reset", 1).await;
    produce(&client, &topic, 1, 0, 5).await;
    let the_partition = partition(&topic, 0);
    let begin = async |reset| {
        let mut consumer = Consumer::new(
            client.clone(),
            ConsumerConfig { auto_offset_reset: reset, ..config(&fresh_group()) },
        );
        consumer.assign_partitions([the_partition.clone()]);
        consumer.position(&the_partition).await
    };
    assert_eq!(begin(OffsetReset::Earliest).await, Ok(Offset(0)));
    assert_eq!(begin(OffsetReset::Latest).await, Ok(Offset(5)));
    assert_eq!(begin(OffsetReset::ByDuration(3600 * SECOND)).await, Ok(Offset(0)));
    assert_eq!(begin(OffsetReset::ByDuration(Duration::ZERO)).await, Ok(Offset(5)));
    let nowhere = begin(OffsetReset::None).await.unwrap_err();
    assert_eq!(nowhere, Error::NoOffset { partitions: vec![the_partition.clone()] });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_is_not_there_is_reset_or_told() {
    let client = client();
    let topic = fresh_topic(&client, "range", 1).await;
    produce(&client, &topic, 1, 0, 5).await;
    let the_partition = partition(&topic, 0);
    let read = async |reset| {
        let mut consumer = Consumer::new(
            client.clone(),
            ConsumerConfig { auto_offset_reset: reset, ..config(&fresh_group()) },
        );
        consumer.assign_partitions([the_partition.clone()]);
        consumer.seek(the_partition.clone(), Offset(99));
        consumer.poll(LIMIT).await.map(|records| records[0].offset)
    };
    assert_eq!(read(OffsetReset::Earliest).await, Ok(Offset(0)));
    assert_eq!(read(OffsetReset::None).await.unwrap_err().code(), Some(ErrorCode::OffsetOutOfRange));
    let mut exact = Consumer::new(client.clone(), ConsumerConfig::default());
    exact.assign([(the_partition, Offset(99))]);
    assert_eq!(exact.poll(LIMIT).await.unwrap_err().code(), Some(ErrorCode::OffsetOutOfRange));
}

#[tokio::test(flavor = "multi_thread")]
async fn seeking_pausing_and_asking_for_offsets() {
    let client = client();
    let topic = fresh_topic(&client, "seek", 2).await;
    produce(&client, &topic, 2, 0, 5).await;
    let (zero, one) = (partition(&topic, 0), partition(&topic, 1));
    let mut consumer =
        Consumer::new(client.clone(), ConsumerConfig { max_poll_records: 2, ..config(&fresh_group()) });
    consumer.subscribe([topic.clone()]).unwrap();
    while consumer.assignment().len() < 2 {
        consumer.poll(SECOND / 10).await.unwrap();
    }
    consumer.pause([one.clone()]);
    assert_eq!(consumer.paused(), [one.clone()].into());
    // Something of it may have been on its way to the caller, but not to us.
    consumer.seek(one.clone(), Offset(0));
    consumer.seek(zero.clone(), Offset(3));
    assert_eq!(next_offsets(&mut consumer, 2).await, [3, 4]);
    assert_eq!(consumer.position(&zero).await, Ok(Offset(5)));
    assert_eq!(consumer.poll(SECOND / 2).await, Ok(Vec::new()));
    consumer.resume([one.clone()]);
    assert_eq!(next_offsets(&mut consumer, 5).await, [0, 1, 2, 3, 4]);
    consumer.seek_to_beginning([zero.clone()]);
    assert_eq!(consumer.poll(LIMIT).await.unwrap()[0].offset, Offset(0));
    consumer.seek_to_end([zero.clone()]);
    assert_eq!(consumer.position(&zero).await, Ok(Offset(5)));

    let ends = consumer.end_offsets([zero.clone(), one.clone()]).await.unwrap();
    assert!(ends.values().all(|end| end.as_ref().unwrap().offset == Some(Offset(5))));
    let begins = consumer.beginning_offsets([zero.clone()]).await.unwrap();
    assert_eq!(begins[&zero].clone().unwrap().offset, Some(Offset(0)));
    let times = [(zero.clone(), TimestampMs(0)), (one.clone(), TimestampMs(i64::MAX / 2))];
    let found = consumer.offsets_for_times(times).await.unwrap();
    assert_eq!(found[&zero].clone().unwrap().offset, Some(Offset(0)));
    assert_eq!(found[&one].clone().unwrap().offset, None);
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waker_ends_a_wait_once() {
    let client = client();
    let topic = fresh_topic(&client, "waker", 1).await;
    let mut consumer = Consumer::new(client, config(&fresh_group()));
    consumer.subscribe([topic]).unwrap();
    while consumer.assignment().is_empty() {
        consumer.poll(SECOND / 10).await.unwrap();
    }
    let waker = consumer.waker();
    let waiting = tokio::spawn(async move {
        let woken = consumer.poll(600 * SECOND).await;
        (consumer, woken)
    });
    waker.wake();
    let (mut consumer, woken) = waiting.await.unwrap();
    assert_eq!(woken, Err(Error::WokenUp));
    assert_eq!(consumer.poll(SECOND / 10).await, Ok(Vec::new()));
    consumer.close().await.unwrap();
}
