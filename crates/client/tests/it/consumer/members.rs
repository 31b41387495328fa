//! Members that come, go, sleep, restart.

use millstream_client::{
    Assignment, AssignmentStrategy, Consumer, ConsumerConfig, ConsumerEvent, GroupConfig, GroupEvent,
    GroupMembership, GroupProtocol,
};
use millstream_types::ErrorCode;

use super::{
    super::{SECOND, client, fresh_name, fresh_topic, partition},
    Member, config, eventually, fresh_group, produce, shares,
};

fn with(strategy: AssignmentStrategy, group: &str) -> ConsumerConfig {
    ConsumerConfig { assignment_strategies: vec![strategy], ..config(group) }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_grow_and_shrink_under_every_strategy() {
    for strategy in [
        AssignmentStrategy::Range,
        AssignmentStrategy::RoundRobin,
        AssignmentStrategy::Sticky,
        AssignmentStrategy::CooperativeSticky,
    ] {
        let (client, group) = (client(), fresh_group());
        let topic = fresh_topic(&client, "grow", 6).await;
        let first = Member::start(&client, with(strategy, &group), &[&topic]);
        shares(&[&first], &[6]).await;
        let second = Member::start(&client, with(strategy, &group), &[&topic]);
        shares(&[&first, &second], &[3, 3]).await;
        let third = Member::start(&client, with(strategy, &group), &[&topic]);
        shares(&[&first, &second, &third], &[2, 2, 2]).await;
        let described = client.admin().describe_group(&group).await.unwrap();
        assert_eq!((described.state.as_str(), described.assignor.as_str()), ("Stable", strategy.name()));
        first.close().await;
        shares(&[&second, &third], &[3, 3]).await;
        second.close().await;
        shares(&[&third], &[6]).await;
        third.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cooperative_member_goes_on_reading_what_it_keeps() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "cooperative", 4).await;
    let strategy = AssignmentStrategy::CooperativeSticky;
    let first = Member::start(&client, with(strategy, &group), &[&topic]);
    shares(&[&first], &[4]).await;
    // It joins and then keeps the group waiting: it is not polled.
    let mut slow = Consumer::new(client.clone(), with(strategy, &group));
    slow.subscribe([topic.clone()]).unwrap();
    while !matches!(slow.next(10 * SECOND).await.unwrap(), Some(ConsumerEvent::Assigned(_))) {}
    // Let the first learn that it has to give something up, but not the second that it may have it.
    eventually("two partitions are given up", || first.count() == 2).await;
    let kept = first.seen().assignment;
    produce(&client, &topic, 4, 0, 5).await;
    let reads = || kept.iter().all(|partition| first.seen().offsets(partition) == [0, 1, 2, 3, 4]);
    eventually("what is kept is read during the rebalance", reads).await;
    let seen = first.seen();
    let given_up: Vec<usize> = seen
        .events
        .iter()
        .filter_map(|event| match event {
            ConsumerEvent::Revoked(partitions) => Some(partitions.len()),
            ConsumerEvent::Lost(partitions) => panic!("lost {partitions:?}"),
            _ => None,
        })
        .collect();
    assert_eq!(given_up, [2], "only what moves is given up: {:?}", seen.events);
    let second = Member::run(slow);
    shares(&[&first, &second], &[2, 2]).await;
    assert_eq!(first.seen().assignment, kept);
    first.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stops_polling_is_replaced_and_told_when_it_comes_back() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "asleep", 2).await;
    let impatient = ConsumerConfig { max_poll_interval: 3 * SECOND, ..config(&group) };
    let mut sleeper = Consumer::new(client.clone(), impatient.clone());
    sleeper.subscribe([topic.clone()]).unwrap();
    while sleeper.assignment().len() < 2 {
        sleeper.next(SECOND).await.unwrap();
    }
    let awake = Member::start(&client, impatient, &[&topic]);
    shares(&[&awake], &[2]).await;
    assert_eq!(sleeper.generation(), None);
    let refused = sleeper.commit().await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UnknownMemberId), "{refused}");
    let told = loop {
        match sleeper.next(10 * SECOND).await.unwrap() {
            Some(ConsumerEvent::Records(_)) => {}
            told => break told,
        }
    };
    assert_eq!(told, Some(ConsumerEvent::Lost(vec![partition(&topic, 0), partition(&topic, 1)])));
    let back = Member::run(sleeper);
    shares(&[&awake, &back], &[1, 1]).await;
    awake.close().await;
    back.close().await;
}

/// The heartbeats are a task's: a caller that blocks its thread stays a member.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_blocks_its_thread_stays_a_member() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "blocked", 2).await;
    let short = ConsumerConfig { session_timeout: 6 * SECOND, ..config(&group) };
    let mut consumer = Consumer::new(client.clone(), short);
    consumer.subscribe([topic.clone()]).unwrap();
    while consumer.assignment().len() < 2 {
        consumer.next(SECOND).await.unwrap();
    }
    let generation = consumer.generation();
    std::thread::sleep(9 * SECOND);
    assert_eq!(consumer.next(SECOND).await, Ok(None));
    assert!(generation.is_some() && consumer.generation() == generation);
    consumer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_restarts_without_a_rebalance_and_fences_its_double() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "static", 2).await;
    let named = |name: &str| ConsumerConfig { group_instance_id: Some(name.to_owned()), ..config(&group) };
    let first = Member::start(&client, named("one"), &[&topic]);
    let second = Member::start(&client, named("two"), &[&topic]);
    shares(&[&first, &second], &[1, 1]).await;
    let (had, events) = (second.seen().assignment, first.seen().events);
    second.close().await;
    let again = Member::start(&client, named("two"), &[&topic]);
    shares(&[&first, &again], &[1, 1]).await;
    assert_eq!(again.seen().assignment, had);
    assert_eq!(first.seen().events, events, "the other member noticed");

    let mut original = again.stop().await;
    let double = Member::start(&client, named("two"), &[&topic]);
    shares(&[&first, &double], &[1, 1]).await;
    let fenced = loop {
        match original.next(10 * SECOND).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(fenced.code(), Some(ErrorCode::FencedInstanceId), "{fenced}");
    drop(original);
    first.close().await;
    double.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_sees_topics_that_come_and_go() {
    let client = super::super::client_with(|config| config.metadata_max_age = SECOND / 2);
    let (group, stem) = (fresh_group(), fresh_name("pattern"));
    let topic = |suffix: &str| fresh_topic_named(&client, format!("{stem}-{suffix}"));
    let first = topic("a1").await;
    topic("b").await;
    let mut consumer = Consumer::new(client.clone(), config(&group));
    consumer.subscribe_pattern(&format!("{stem}-a.")).unwrap();
    let member = Member::run(consumer);
    shares(&[&member], &[1]).await;
    // Whole names only: not `a22`.
    topic("a22").await;
    let second = topic("a2").await;
    produce(&client, &second, 1, 0, 3).await;
    eventually("the new topic is read", || member.seen().offsets(&partition(&second, 0)) == [0, 1, 2]).await;
    assert_eq!(member.seen().assignment, [partition(&first, 0), partition(&second, 0)].into());
    client.admin().delete_topics(&[first]).await.unwrap();
    eventually("the topic is gone", || member.seen().assignment == [partition(&second, 0)].into()).await;
    member.close().await;
}

async fn fresh_topic_named(client: &millstream_client::Client, name: String) -> millstream_types::TopicName {
    let topic = millstream_client::NewTopic { name: name.clone(), partitions: Some(1), ..Default::default() };
    client.admin().create_topics(&[topic], false).await.unwrap()[&name].clone().unwrap();
    millstream_types::TopicName::parse(&name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_notices_new_partitions_and_topics_that_come_late() {
    let client = super::super::client_with(|config| config.metadata_max_age = SECOND / 2);
    let (group, late) = (fresh_group(), fresh_name("late"));
    let topic = fresh_topic(&client, "wider", 1).await;
    let member = Member::start(&client, config(&group), &[&topic, &late]);
    shares(&[&member], &[1]).await;
    client.admin().create_partitions(&topic, 3, false).await.unwrap();
    shares(&[&member], &[3]).await;
    fresh_topic_named(&client, late.to_string()).await;
    shares(&[&member], &[4]).await;
    member.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_cannot_agree_are_told_so() {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "disagree", 1).await;
    let member = Member::start(&client, with(AssignmentStrategy::Range, &group), &[&topic]);
    shares(&[&member], &[1]).await;
    let mut other = Consumer::new(client.clone(), with(AssignmentStrategy::Sticky, &group));
    other.subscribe([topic]).unwrap();
    let error = loop {
        match other.next(10 * SECOND).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), Some(ErrorCode::InconsistentGroupProtocol), "{error}");
    let nobody = Consumer::new(client, ConsumerConfig::default()).subscribe([fresh_name("t")]);
    assert!(nobody.unwrap_err().to_string().starts_with("group.id: "));
    member.close().await;
}

/// What Connect and the Schema Registry stand on: another type, bytes of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_any_type_elects_and_shares_out() {
    let (client, group) = (client(), fresh_group());
    let member = || {
        let config = GroupConfig {
            group_id: group.clone(),
            group_instance_id: None,
            protocol_type: "sr".to_owned(),
            session_timeout: 10 * SECOND,
            heartbeat_interval: SECOND / 2,
            rebalance_timeout: 30 * SECOND,
            max_poll_interval: None,
        };
        let member = GroupMembership::new(client.clone(), config).unwrap();
        member.enter();
        member
    };
    // Every member is told all members' addresses.
    async fn settle(
        member: GroupMembership,
        address: &'static str,
        wanted: usize,
    ) -> (GroupMembership, String) {
        loop {
            match member.next().await.unwrap() {
                GroupEvent::Prepare { .. } => {
                    let metadata = bytes::Bytes::from_static(address.as_bytes());
                    member.prepared(vec![GroupProtocol { name: "v0".to_owned(), metadata }]);
                }
                GroupEvent::Elected(election) => {
                    let all: Vec<&[u8]> = election.members.iter().map(|m| &*m.metadata).collect();
                    let all = bytes::Bytes::from(all.join(&b' '));
                    let shares = election.members.iter().map(|m| (m.member_id.clone(), all.clone()));
                    member.share_out(shares.collect());
                }
                GroupEvent::Assigned(Assignment { assignment, .. }) => {
                    let text = String::from_utf8(assignment.to_vec()).unwrap();
                    if text.split(' ').count() == wanted {
                        return (member, text);
                    }
                }
            }
        }
    }
    let (one, alone) = settle(member(), "one", 1).await;
    assert_eq!(alone, "one");
    let both = tokio::join!(settle(one, "one", 2), settle(member(), "two", 2));
    let ((one, of_one), (two, of_two)) = both;
    assert_eq!(of_one, of_two);
    assert!(one.is_leader() != two.is_leader());
    two.leave("done").await;
    let (one, left) = settle(one, "one", 1).await;
    assert_eq!(left, "one");
    one.leave("done").await;
    let described = client.admin().describe_group(&group).await.unwrap();
    assert_eq!((described.state.as_str(), described.protocol_type.as_str()), ("Empty", "sr"));
}
