//! Java's consumer and ours in one group: Kafka's own `kafka-verifiable-consumer`, which commits what it has
//! read and says what befalls it in lines of JSON.

use std::{collections::BTreeSet, time::Duration};

use millstream_client::{AssignmentStrategy, ConsumerConfig};
use millstream_testkit::{Process, kafka_missing, kafka_tool, skip};
use millstream_types::{PartitionId, TopicName, TopicPartition};
use serde_json::Value;

use super::{
    super::{BOOTSTRAP, SECOND, client, fresh_topic, partition},
    Member, config, eventually, fresh_group, produce, shares,
};

const PARTITIONS: i32 = 4;

struct Java {
    process: Process,
    _directory: tempfile::TempDir,
}

impl Java {
    fn start(group: &str, topic: &TopicName, class: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = [
            ("--bootstrap-server", BOOTSTRAP.as_str()),
            ("--topic", topic.as_str()),
            ("--group-id", group),
            ("--assignment-strategy", class),
            ("--reset-policy", "earliest"),
            ("--session-timeout", "10000"),
        ];
        let tool = kafka_tool("kafka-verifiable-consumer").unwrap();
        let tool = tool.args(arguments.into_iter().flat_map(|(key, value)| [key, value]));
        let process = tool.start(&directory.path().join("output")).unwrap();
        Self { process, _directory: directory }
    }

    /// The events of one name so far, and all of them.
    fn events(&self) -> Vec<Value> {
        self.process.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn partitions(event: &Value) -> Vec<(TopicPartition, i64, i64)> {
        let each = event["partitions"].as_array().into_iter().flatten();
        each.map(|p| {
            let topic = TopicName::parse(p["topic"].as_str().unwrap()).unwrap();
            let number = i32::try_from(p["partition"].as_i64().unwrap()).unwrap();
            let of = |key: &str| p[key].as_i64().unwrap_or(-1);
            (TopicPartition::new(topic, PartitionId(number)), of("minOffset"), of("maxOffset"))
        })
        .collect()
    }

    fn assignment(&self) -> BTreeSet<TopicPartition> {
        let mut assignment = BTreeSet::new();
        for event in self.events() {
            let named = Self::partitions(&event).into_iter().map(|(partition, _, _)| partition);
            match event["name"].as_str() {
                Some("partitions_assigned") => assignment.extend(named),
                Some("partitions_revoked") => named.for_each(|partition| {
                    assignment.remove(&partition);
                }),
                _ => {}
            }
        }
        assignment
    }

    /// The offsets that it has read of a partition.
    fn offsets(&self, partition: &TopicPartition) -> Vec<i64> {
        let read = self.events().into_iter().filter(|event| event["name"] == "records_consumed");
        let ranges = read.flat_map(|event| Self::partitions(&event)).filter(|(of, _, _)| of == partition);
        ranges.flat_map(|(_, first, last)| first..=last).collect()
    }

    fn end(mut self) {
        self.process.signal(rustix::process::Signal::TERM).unwrap();
        self.process.wait(Duration::from_secs(60)).unwrap();
    }
}

/// Java has so many partitions, and ours the rest.
async fn halves(java: &Java, ours: &Member, of_java: usize) {
    let all = usize::try_from(PARTITIONS).unwrap();
    let settled = || {
        let (theirs, ours) = (java.assignment(), ours.seen().assignment);
        theirs.len() == of_java && ours.len() == all - of_java && theirs.is_disjoint(&ours)
    };
    eventually(&format!("Java has {of_java} partitions of {all}"), settled).await;
}

async fn share(strategy: AssignmentStrategy, class: &str) {
    let (client, group) = (client(), fresh_group());
    let topic = fresh_topic(&client, "mixed", PARTITIONS).await;
    let ours = ConsumerConfig {
        assignment_strategies: vec![strategy],
        enable_auto_commit: true,
        auto_commit_interval: 1000 * SECOND,
        ..config(&group)
    };
    let mut written = 0;
    let mut write = async |count: usize| {
        produce(&client, &topic, PARTITIONS, written, count).await;
        written += count;
        i64::try_from(written).unwrap()
    };
    write(50).await;
    // Ours leads.
    let first = Member::start(&client, ours.clone(), &[&topic]);
    shares(&[&first], &[4]).await;
    let java = Java::start(&group, &topic, class);
    halves(&java, &first, 2).await;
    write(50).await;
    let all = |count: usize| move |seen: usize| seen >= count * usize::try_from(PARTITIONS).unwrap();
    let read = |ours: &[&Member]| {
        let partitions = || (0..PARTITIONS).map(|index| partition(&topic, index));
        let of_java: usize = partitions().map(|p| java.offsets(&p).len()).sum();
        of_java + ours.iter().map(|member| member.seen().records.len()).sum::<usize>()
    };
    eventually("all is read by both", || all(100)(read(&[&first]))).await;
    let early = first.seen();
    // Java leads.
    first.close().await;
    eventually("Java has it all", || java.assignment().len() == 4).await;
    write(50).await;
    let second = Member::start(&client, ours, &[&topic]);
    halves(&java, &second, 2).await;
    let end = write(50).await;
    let both = || early.records.len() + read(&[&second]);
    eventually("all is read by both", || all(200)(both())).await;
    for index in 0..PARTITIONS {
        let which = partition(&topic, index);
        let mut offsets =
            [early.offsets(&which), java.offsets(&which), second.seen().offsets(&which)].concat();
        offsets.sort_unstable();
        assert_eq!(offsets, (0..end).collect::<Vec<_>>(), "{which} under {strategy:?}");
    }
    java.end();
    shares(&[&second], &[4]).await;
    second.close().await;
    let committed = client.admin().group_offsets(&group).await.unwrap();
    assert!(committed.len() == 4 && committed.values().all(|c| c.offset.0 == end), "{committed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn java_and_we_share_a_group_under_range() {
    match kafka_missing() {
        Some(missing) => skip("java_and_we_share_a_group_under_range", &missing),
        None => share(AssignmentStrategy::Range, "org.apache.kafka.clients.consumer.RangeAssignor").await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn java_and_we_share_a_group_cooperatively() {
    let class = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";
    match kafka_missing() {
        Some(missing) => skip("java_and_we_share_a_group_cooperatively", &missing),
        None => share(AssignmentStrategy::CooperativeSticky, class).await,
    }
}
