//! Other libraries' consumers and ours in one group: Kafka's own `kafka-verifiable-consumer`, and librdkafka in
//! `conformance/clients/python/member.py`. Both commit what they have read and say what befalls them in lines of JSON.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use millstream_client::{AssignmentStrategy, Client, ConsumerConfig};
use millstream_testkit::{Process, Program, cache_dir, kafka_missing, kafka_tool, repository, skip};
use millstream_types::{PartitionId, TopicName, TopicPartition};
use serde_json::Value;

use super::{
    super::{BOOTSTRAP, SECOND, client, fresh_topic, partition},
    Member, config, eventually, fresh_group, produce, shares,
};

const PARTITIONS: i32 = 4;

struct Foreign {
    process: Process,
    _directory: tempfile::TempDir,
}

impl Foreign {
    fn java(group: &str, topic: &TopicName, class: &str) -> Self {
        let arguments = [
            ("--bootstrap-server", BOOTSTRAP.as_str()),
            ("--topic", topic.as_str()),
            ("--group-id", group),
            ("--assignment-strategy", class),
            ("--reset-policy", "earliest"),
            ("--session-timeout", "10000"),
        ];
        let tool = kafka_tool("kafka-verifiable-consumer").unwrap();
        Self::start(tool.args(arguments.into_iter().flat_map(|(key, value)| [key, value])))
    }

    fn librdkafka(group: &str, topic: &TopicName, strategy: &str) -> Self {
        let python = Program::new(librdkafka_directory().join("venv/bin/python")).arg("-B");
        let member = repository().join("conformance/clients/python/member.py");
        let arguments = [BOOTSTRAP.as_str(), group, topic.as_str(), strategy];
        Self::start(python.arg(member.display().to_string()).args(arguments))
    }

    fn start(program: Program) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let process = program.start(&directory.path().join("output")).unwrap();
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

fn librdkafka_directory() -> PathBuf {
    cache_dir().unwrap().join("clients/confluent-kafka")
}

/// Java has so many partitions, and ours the rest.
async fn halves(java: &Foreign, ours: &Member, of_java: usize) {
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
    let java = Foreign::java(&group, &topic, class);
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

const THREE_KINDS_PARTITIONS: i32 = 6;

/// What members of all kinds in one group have read until now, and who has what.
struct Group<'a> {
    client: &'a Client,
    topic: TopicName,
    written: usize,
    /// What those who have left had read.
    read: Vec<BTreeSet<i64>>,
}

impl Group<'_> {
    /// Each of the members has its share, nobody another's, and nothing is without an owner.
    async fn settles(&self, foreign: &[&Foreign], ours: &[&Member]) {
        let all = usize::try_from(THREE_KINDS_PARTITIONS).unwrap();
        let members = foreign.len() + ours.len();
        let settled = || {
            let shares = foreign.iter().map(|member| member.assignment());
            let shares: Vec<_> = shares.chain(ours.iter().map(|m| m.seen().assignment.clone())).collect();
            let owned: BTreeSet<_> = shares.iter().flatten().collect();
            let sizes: usize = shares.iter().map(BTreeSet::len).sum();
            owned.len() == all && sizes == all && shares.iter().all(|share| share.len() == all / members)
        };
        eventually(&format!("{members} members have {} partitions each", all / members), settled).await;
    }

    /// Writes more, and waits until all of it has been read by somebody.
    async fn reads_on(&mut self, foreign: &[&Foreign], ours: &[&Member]) {
        produce(self.client, &self.topic, THREE_KINDS_PARTITIONS, self.written, 50).await;
        self.written += 50;
        let everything: BTreeSet<i64> = (0..i64::try_from(self.written).unwrap()).collect();
        let all_read = || {
            (0..THREE_KINDS_PARTITIONS).zip(&self.read).all(|(index, gone)| {
                let which = partition(&self.topic, index);
                let mut read = gone.clone();
                read.extend(foreign.iter().flat_map(|member| member.offsets(&which)));
                read.extend(ours.iter().flat_map(|member| member.seen().offsets(&which)));
                read == everything
            })
        };
        eventually(&format!("all of {} records a partition are read", self.written), all_read).await;
    }

    fn leaves(&mut self, offsets: impl Fn(&TopicPartition) -> Vec<i64>) {
        for (index, read) in (0..THREE_KINDS_PARTITIONS).zip(&mut self.read) {
            read.extend(offsets(&partition(&self.topic, index)));
        }
    }
}

/// Members of all three kinds come and go, those who lead too.
async fn share_among_three(strategy: AssignmentStrategy, class: &str) {
    let (client, group_id) = (client(), fresh_group());
    let topic = fresh_topic(&client, "three", THREE_KINDS_PARTITIONS).await;
    let ours = ConsumerConfig { assignment_strategies: vec![strategy], ..config(&group_id) };
    let ours = ConsumerConfig { enable_auto_commit: true, auto_commit_interval: SECOND / 5, ..ours };
    let read = vec![BTreeSet::new(); usize::try_from(THREE_KINDS_PARTITIONS).unwrap()];
    let mut group = Group { client: &client, topic: topic.clone(), written: 0, read };
    let librdkafka = || Foreign::librdkafka(&group_id, &topic, strategy.name());

    let first = Member::start(&client, ours.clone(), &[&topic]);
    group.settles(&[], &[&first]).await;
    let (java, rd) = (Foreign::java(&group_id, &topic, class), librdkafka());
    group.settles(&[&java, &rd], &[&first]).await;
    group.reads_on(&[&java, &rd], &[&first]).await;

    let seen = first.seen();
    first.close().await;
    group.leaves(|which| seen.offsets(which));
    group.settles(&[&java, &rd], &[]).await;
    group.reads_on(&[&java, &rd], &[]).await;

    let second = Member::start(&client, ours, &[&topic]);
    group.settles(&[&java, &rd], &[&second]).await;
    group.leaves(|which| java.offsets(which));
    java.end();
    group.settles(&[&rd], &[&second]).await;
    group.reads_on(&[&rd], &[&second]).await;

    group.leaves(|which| rd.offsets(which));
    rd.end();
    group.settles(&[], &[&second]).await;
    let (java, rd) = (Foreign::java(&group_id, &topic, class), librdkafka());
    group.settles(&[&java, &rd], &[&second]).await;
    group.reads_on(&[&java, &rd], &[&second]).await;
    java.end();
    rd.end();
    group.settles(&[], &[&second]).await;
    second.close().await;
    let end = i64::try_from(group.written).unwrap();
    let committed = client.admin().group_offsets(&group_id).await.unwrap();
    assert!(committed.len() == 6 && committed.values().all(|c| c.offset.0 == end), "{committed:?}");
}

async fn share_among_three_or_skip(test: &str, strategy: AssignmentStrategy, class: &str) {
    let librdkafka = || {
        let there = librdkafka_directory().join(".complete").exists();
        (!there).then(|| "librdkafka is not installed: conformance/install.sh confluent-kafka".to_owned())
    };
    match kafka_missing().or_else(librdkafka) {
        Some(missing) => skip(test, &missing),
        None => share_among_three(strategy, &format!("org.apache.kafka.clients.consumer.{class}")).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn java_librdkafka_and_we_share_a_group_under_range() {
    let test = "java_librdkafka_and_we_share_a_group_under_range";
    share_among_three_or_skip(test, AssignmentStrategy::Range, "RangeAssignor").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_librdkafka_and_we_share_a_group_under_roundrobin() {
    let test = "java_librdkafka_and_we_share_a_group_under_roundrobin";
    share_among_three_or_skip(test, AssignmentStrategy::RoundRobin, "RoundRobinAssignor").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn java_librdkafka_and_we_share_a_group_cooperatively() {
    let test = "java_librdkafka_and_we_share_a_group_cooperatively";
    let strategy = AssignmentStrategy::CooperativeSticky;
    share_among_three_or_skip(test, strategy, "CooperativeStickyAssignor").await;
}
