//! Committing, coming back, and what a broker's death leaves of it.

use std::collections::BTreeMap;

use millstream_client::{
    Client, ClientConfig, CommittedOffset, Consumer, ConsumerConfig, ConsumerEvent, NewTopic,
};
use millstream_testkit::{Target, TargetOptions};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, TopicName};

use super::{
    super::{SECOND, client, fresh_topic, partition},
    LIMIT, Member, config, eventually, fresh_group, produce, shares,
};

/// Reads until `count` records have come; their offsets.
async fn read(consumer: &mut Consumer, count: usize) -> Vec<i64> {
    let mut offsets = Vec::new();
    while offsets.len() < count {
        let records = consumer.poll(LIMIT).await.unwrap();
        assert!(!records.is_empty() || consumer.assignment().is_empty(), "{offsets:?}");
        offsets.extend(records.into_iter().map(|record| record.offset.0));
    }
    offsets
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_goes_on_where_its_predecessor_committed() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "resume", 1).await;
    produce(&client, &topic, 1, 0, 10).await;
    let few = ConsumerConfig { max_poll_records: 3, ..config(&group) };
    let start = || {
        let mut consumer = Consumer::new(client.clone(), few.clone());
        consumer.subscribe([topic.clone()]).unwrap();
        consumer
    };
    let mut consumer = start();
    assert_eq!(read(&mut consumer, 3).await, [0, 1, 2]);
    consumer.commit().await.unwrap();
    // Read, but not committed.
    assert_eq!(read(&mut consumer, 3).await, [3, 4, 5]);
    consumer.close().await.unwrap();

    let mut consumer = start();
    assert_eq!(read(&mut consumer, 3).await, [3, 4, 5]);
    consumer.commit_async().unwrap().await.unwrap();
    let record = consumer.poll(LIMIT).await.unwrap().remove(0);
    consumer.commit_record(&record).await.unwrap();
    drop(consumer);

    let mut consumer = start();
    assert_eq!(read(&mut consumer, 3).await, [7, 8, 9]);
    let noted = CommittedOffset {
        offset: Offset(2),
        leader_epoch: Some(LeaderEpoch(0)),
        metadata: "back to two".to_owned(),
    };
    let offsets = BTreeMap::from([(partition(&topic, 0), noted)]);
    // In their order, waited for or not.
    let first = consumer.commit_async().unwrap();
    consumer.commit_offsets(offsets.clone()).await.unwrap();
    first.await.unwrap();
    assert_eq!(consumer.committed([partition(&topic, 0)]).await.unwrap(), offsets);
    consumer.close().await.unwrap();
    let mut consumer = start();
    assert_eq!(read(&mut consumer, 3).await, [2, 3, 4]);
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_commits_come_with_time_with_rebalances_and_on_closing() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "auto", 2).await;
    produce(&client, &topic, 2, 0, 5).await;
    let committed = async || {
        let offsets = client.admin().group_offsets(&group).await.unwrap();
        offsets.into_iter().map(|(p, committed)| (p.partition.0, committed.offset.0)).collect::<Vec<_>>()
    };
    let auto =
        ConsumerConfig { enable_auto_commit: true, auto_commit_interval: SECOND / 5, ..config(&group) };
    let member = Member::start(&client, auto.clone(), &[&topic]);
    super::super::eventually(async || committed().await, |now| *now == [(0, 5), (1, 5)]).await;
    member.close().await;

    // From here on the clock does not help.
    let rare = ConsumerConfig { auto_commit_interval: 1000 * SECOND, ..auto };
    let first = Member::start(&client, rare.clone(), &[&topic]);
    produce(&client, &topic, 2, 5, 5).await;
    eventually("all is read", || first.seen().records.len() == 10).await;
    assert_eq!(committed().await, [(0, 5), (1, 5)]);
    let second = Member::start(&client, rare, &[&topic]);
    shares(&[&first, &second], &[1, 1]).await;
    assert_eq!(committed().await, [(0, 10), (1, 10)]);
    assert!(second.seen().records.is_empty(), "what was read before the rebalance is read again");
    produce(&client, &topic, 2, 10, 1).await;
    eventually("all is read", || first.seen().records.len() + second.seen().records.len() == 12).await;
    first.close().await;
    second.close().await;
    assert_eq!(committed().await, [(0, 11), (1, 11)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_revoked_can_still_be_committed() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "revoked", 2).await;
    produce(&client, &topic, 2, 0, 5).await;
    let mut consumer = Consumer::new(client.clone(), config(&group));
    consumer.subscribe([topic.clone()]).unwrap();
    read(&mut consumer, 10).await;
    let other = Member::start(&client, config(&group), &[&topic]);
    loop {
        match consumer.next(LIMIT).await.unwrap() {
            Some(ConsumerEvent::Revoked(partitions)) => {
                assert_eq!(partitions, [partition(&topic, 0), partition(&topic, 1)]);
                consumer.commit().await.unwrap();
                break;
            }
            other => assert!(matches!(other, Some(ConsumerEvent::Records(_)) | None), "{other:?}"),
        }
    }
    let first = Member::run(consumer);
    shares(&[&first, &other], &[1, 1]).await;
    produce(&client, &topic, 2, 5, 1).await;
    let all = || [first.seen().records, other.seen().records].concat();
    eventually("only what is new is read", || all().len() >= 2).await;
    assert!(all().iter().all(|(_, offset)| *offset == Offset(5)), "{:?}", all());
    first.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_cannot_be_is_an_error_that_says_why() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "refused", 1).await;
    produce(&client, &topic, 1, 0, 1).await;
    let mut consumer = Consumer::new(client.clone(), config(&group));
    consumer.subscribe([topic.clone()]).unwrap();
    read(&mut consumer, 1).await;
    let large = CommittedOffset { offset: Offset(1), leader_epoch: None, metadata: "x".repeat(5_000) };
    let refused = consumer.commit_offsets(BTreeMap::from([(partition(&topic, 0), large)])).await;
    assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::OffsetMetadataTooLarge));
    consumer.commit().await.unwrap();
    consumer.close().await.unwrap();
    let alone = Consumer::new(client.clone(), ConsumerConfig::default()).commit().await;
    assert!(alone.unwrap_err().to_string().starts_with("group.id: "));
    // Whoever assigns its partitions itself commits without being a member.
    let mut free = Consumer::new(client, config(&group));
    free.assign_partitions([partition(&topic, 0)]);
    assert_eq!(free.position(&partition(&topic, 0)).await, Ok(Offset(1)));
    free.seek(partition(&topic, 0), Offset(0));
    read(&mut free, 1).await;
    free.commit().await.unwrap();
    assert_eq!(free.committed([partition(&topic, 0)]).await.unwrap().len(), 1);
}

/// Kills the broker time and again while a member reads and commits.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_committed_is_read_again_and_nothing_is_left_out_when_the_broker_dies() {
    let mut target = Target::start(TargetOptions::default()).unwrap();
    // A Kafka that was killed serves its groups again only after it has read what they committed.
    let patient = ClientConfig { default_api_timeout: 5 * LIMIT, ..ClientConfig::new(target.bootstrap()) };
    let client = Client::new(patient).unwrap();
    let topic = TopicName::from_static("mortal");
    let new = NewTopic { name: topic.to_string(), partitions: Some(2), ..NewTopic::default() };
    client.admin().create_topics(&[new], false).await.unwrap()[topic.as_str()].clone().unwrap();
    produce(&client, &topic, 2, 0, 1_000).await;

    let few = ConsumerConfig { max_poll_records: 50, ..config("g") };
    let mut consumer = Consumer::new(client.clone(), few);
    consumer.subscribe([topic.clone()]).unwrap();
    let mut next = BTreeMap::from([(partition(&topic, 0), 0), (partition(&topic, 1), 0)]);
    let (mut committed, mut tried) = (next.clone(), next.clone());
    let (mut polls, mut kills) = (0, 0);
    while next.values().any(|next| *next < 1_000) {
        let records = match consumer.next(5 * LIMIT).await.unwrap() {
            Some(ConsumerEvent::Records(records)) => records,
            Some(ConsumerEvent::Assigned(_)) => {
                // Whoever is assigned goes on from what was committed. A commit that failed may have been
                // made all the same.
                for (partition, at) in consumer.committed(next.keys().cloned()).await.unwrap() {
                    let at = at.offset.0;
                    assert!(at == committed[&partition] || at == tried[&partition], "{partition}: {at}");
                    next.insert(partition, at);
                }
                continue;
            }
            other => {
                assert!(other.is_some(), "{next:?}");
                continue;
            }
        };
        for record in records {
            let expected = next.get_mut(&record.partition).unwrap();
            assert_eq!(record.offset.0, *expected, "{}", record.partition);
            *expected += 1;
        }
        polls += 1;
        tried.clone_from(&next);
        match consumer.commit().await {
            Ok(()) => committed.clone_from(&next),
            Err(error) => assert!(
                matches!(
                    error.code(),
                    Some(
                        ErrorCode::UnknownMemberId
                            | ErrorCode::IllegalGeneration
                            | ErrorCode::RebalanceInProgress
                    )
                ),
                "{error}"
            ),
        }
        if polls % 8 == 0 && kills < 3 {
            kills += 1;
            tokio::task::block_in_place(|| {
                target.kill().unwrap();
                target.start_again().unwrap();
                target.wait_ready().unwrap();
            });
        }
    }
    assert_eq!(kills, 3);
    consumer.close().await.unwrap();
}
