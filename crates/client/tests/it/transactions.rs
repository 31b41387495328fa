//! Transactions, on a real Kafka: Millstream has none yet.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_client::{
    Client, ClientConfig, CommittedOffset, Consumer, ConsumerConfig, ConsumerRecord, Error, Generation,
    IsolationLevel, NewTopic, OffsetReset, Producer, ProducerConfig, ProducerRecord,
};
use millstream_testkit::{
    Kind, Target, TargetOptions, java_source, kafka_missing, kafka_tool, repository, skip,
};
use millstream_types::{ErrorCode, Offset, PartitionId, TopicName};

use super::{BOOTSTRAP, SECOND, eventually, fresh_name, partition};

/// A real Kafka: the one that all tests run against, if it is one, or one for these tests.
static KAFKA: LazyLock<String> = LazyLock::new(|| {
    if Kind::from_env().unwrap() == Kind::Kafka {
        return BOOTSTRAP.clone();
    }
    let (ready, started) = mpsc::channel();
    thread::spawn(move || {
        let target = Target::start(TargetOptions::default().kind(Kind::Kafka));
        let bootstrap = target.as_ref().map(|target| target.bootstrap().to_owned());
        ready.send(bootstrap.map_err(|error| format!("{error:#}"))).unwrap();
        loop {
            thread::park();
        }
    });
    started.recv().unwrap().unwrap()
});

/// How long a Java program may take where many run at once.
const PATIENCE: Duration = Duration::from_secs(900);

/// As patient with a broker that has little of a processor.
fn client() -> Client {
    let patient = ClientConfig { default_api_timeout: PATIENCE, ..ClientConfig::new(&KAFKA) };
    Client::new(patient).unwrap()
}

async fn fresh_topic(client: &Client, stem: &str, partitions: i32) -> TopicName {
    let name = fresh_name(stem);
    let topic = NewTopic { name: name.to_string(), partitions: Some(partitions), ..NewTopic::default() };
    client.admin().create_topics(&[topic], false).await.unwrap()[name.as_str()].clone().unwrap();
    client.topic(&name).await.unwrap();
    name
}

/// Java's transactional producers take these steps.
fn java(steps: &[String]) {
    let source = repository().join("conformance/transactions/Transactions.java");
    let program = java_source(&source, None).unwrap().arg(KAFKA.as_str()).input(steps.join("\n"));
    assert_eq!(program.limit(PATIENCE).run().unwrap().ok().unwrap().trim(), "done");
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// By partition: what each record says.
type Values = BTreeMap<i32, Vec<String>>;

/// Steps of a few producers whose transactions overlap, and the values that are committed and all there are.
struct Script {
    steps: Vec<String>,
    all: Values,
    /// With the number of the transaction; 0: of none.
    written: Vec<(i32, usize, String)>,
    aborted: Vec<usize>,
}

impl Script {
    fn random(topic: &TopicName, partitions: i32, seed: u64, length: usize) -> Self {
        let mut dice = Dice(seed);
        let mut script =
            Self { steps: Vec::new(), all: Values::new(), written: Vec::new(), aborted: Vec::new() };
        let ids: Vec<String> = (0..3).map(|number| format!("{topic}-{number}")).collect();
        script.steps.extend(ids.iter().map(|id| format!("init {id}")));
        let mut open = [None; 3];
        let mut transactions = 0;
        for number in 0..length {
            let who = dice.below(3) as usize;
            let id = &ids[who];
            match (open[who], dice.below(12)) {
                (_, 0) => script.write(topic, dice.below(partitions as u64) as i32, 0, number, None),
                (None, _) => {
                    transactions += 1;
                    open[who] = Some(transactions);
                    script.steps.push(format!("begin {id}"));
                }
                (Some(transaction), choice @ 1..3) => {
                    open[who] = None;
                    script.end(id, transaction, choice == 1);
                }
                (Some(transaction), _) => {
                    let at = dice.below(partitions as u64) as i32;
                    script.write(topic, at, transaction, number, Some(id));
                }
            }
        }
        for (who, transaction) in open.into_iter().enumerate() {
            if let Some(transaction) = transaction {
                script.end(&ids[who], transaction, who == 0);
            }
        }
        script
    }

    fn write(&mut self, topic: &TopicName, at: i32, transaction: usize, number: usize, id: Option<&str>) {
        let value = format!("{number}-of-{transaction}");
        self.steps.extend(match id {
            // Flushed, so that the order in the log is that of the steps.
            Some(id) => vec![format!("send {id} {topic} {at} {value}"), format!("flush {id}")],
            None => vec![format!("plain {topic} {at} {value}")],
        });
        self.all.entry(at).or_default().push(value.clone());
        self.written.push((at, transaction, value));
    }

    fn end(&mut self, id: &str, transaction: usize, abort: bool) {
        self.steps.push(format!("{} {id}", if abort { "abort" } else { "commit" }));
        if abort {
            self.aborted.push(transaction);
        }
    }

    fn committed(&self) -> Values {
        let mut committed = Values::new();
        for (at, transaction, value) in &self.written {
            if !self.aborted.contains(transaction) {
                committed.entry(*at).or_default().push(value.clone());
            }
        }
        committed
    }
}

fn reading(isolation_level: IsolationLevel) -> ConsumerConfig {
    ConsumerConfig {
        isolation_level,
        auto_offset_reset: OffsetReset::Earliest,
        fetch_max_wait: SECOND / 5,
        ..ConsumerConfig::default()
    }
}

fn texts(records: Vec<ConsumerRecord>) -> impl Iterator<Item = (i32, String)> {
    let text = |record: ConsumerRecord| {
        (record.partition.partition.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap())
    };
    records.into_iter().map(text)
}

/// Reads all partitions until each stands at its end, as far as it may be read.
async fn read_to_the_end(
    client: &Client,
    topic: &TopicName,
    partitions: i32,
    config: ConsumerConfig,
) -> Values {
    let mut consumer = Consumer::new(client.clone(), config);
    let all: Vec<_> = (0..partitions).map(|index| partition(topic, index)).collect();
    consumer.assign(all.iter().map(|partition| (partition.clone(), Offset::ZERO)));
    let ends = consumer.end_offsets(all.clone()).await.unwrap();
    let end = |partition| ends[partition].clone().unwrap().offset.unwrap();
    let (mut seen, started) = (Values::new(), Instant::now());
    while all.iter().any(|which| consumer.progress(which).unwrap().position < end(which)) {
        assert!(started.elapsed() < PATIENCE, "the end is not reached: {seen:?}");
        for (at, value) in texts(consumer.poll(60 * SECOND).await.unwrap()) {
            seen.entry(at).or_default().push(value);
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn read_committed_sees_what_javas_transactions_committed_and_nothing_else() {
    if let Some(missing) = kafka_missing() {
        return skip("read_committed on a real Kafka", &missing);
    }
    let client = tokio::task::block_in_place(client);
    let topic = fresh_topic(&client, "transactions", 3).await;
    let script = Script::random(&topic, 3, 7, 400);
    let committed = script.committed();
    assert!(script.aborted.len() > 10 && committed.values().map(Vec::len).sum::<usize>() > 50);
    tokio::task::block_in_place(|| java(&script.steps));
    let uncommitted = reading(IsolationLevel::ReadUncommitted);
    assert_eq!(read_to_the_end(&client, &topic, 3, uncommitted).await, script.all);
    for partition_bytes in [1 << 20, 1, 300] {
        // Answers that end in the midst of transactions, which the next one must take up.
        let few = ConsumerConfig {
            max_partition_fetch_bytes: partition_bytes,
            ..reading(IsolationLevel::ReadCommitted)
        };
        let seen = read_to_the_end(&client, &topic, 3, few).await;
        assert_eq!(seen, committed, "in fetches of {partition_bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_committed_waits_for_the_end_of_an_open_transaction() {
    if let Some(missing) = kafka_missing() {
        return skip("read_committed and an open transaction", &missing);
    }
    let client = tokio::task::block_in_place(client);
    let topic = fresh_topic(&client, "open", 1).await;
    let the_partition = partition(&topic, 0);
    let steps = |lines: &str| {
        let lines = lines.replace('T', topic.as_str());
        let steps: Vec<String> = lines.lines().map(|line| line.trim().to_owned()).collect();
        tokio::task::block_in_place(|| java(&steps));
    };
    // The record outside comes after one that is open, and must wait with it.
    steps(
        "init T-id\nbegin T-id\nsend T-id T 0 first\ncommit T-id\nbegin T-id\nsend T-id T 0 open\nflush T-id\nplain T 0 outside",
    );
    let mut consumer = Consumer::new(client.clone(), reading(IsolationLevel::ReadCommitted));
    consumer.assign([(the_partition.clone(), Offset::ZERO)]);
    // So many, and whatever else comes within a second.
    let mut next = async |count: usize| {
        let mut values = Vec::new();
        loop {
            let wait = if values.len() < count { 60 * SECOND } else { SECOND };
            let records = consumer.poll(wait).await.unwrap();
            if records.is_empty() && values.len() >= count {
                return (values, consumer.progress(&the_partition).unwrap());
            }
            values.extend(texts(records).map(|(_, value)| value));
        }
    };
    let (values, progress) = next(1).await;
    assert_eq!(values, ["first"]);
    // Behind it is the marker; the open transaction begins there.
    assert_eq!((progress.position, progress.end), (Offset(2), Some(Offset(2))));
    // Whoever comes back with the id ends what was open.
    steps("init T-id\nbegin T-id\nsend T-id T 0 last\ncommit T-id");
    let (values, progress) = next(2).await;
    assert_eq!(values, ["outside", "last"]);
    assert_eq!(Some(progress.position), progress.end);
}

fn producer(client: &Client, id: &str) -> Producer {
    let config = ProducerConfig {
        transactional_id: Some(id.to_owned()),
        linger: Duration::ZERO,
        ..ProducerConfig::default()
    };
    Producer::new(client.clone(), config).unwrap()
}

fn record(topic: &TopicName, at: i32, value: &str) -> ProducerRecord {
    let value = Some(Bytes::copy_from_slice(value.as_bytes()));
    ProducerRecord { partition: Some(PartitionId(at)), ..ProducerRecord::new(topic.clone(), None, value) }
}

/// Our producers take the steps that Java's take in `java`.
async fn ours(client: &Client, steps: &[String]) {
    let mut producers: BTreeMap<String, Producer> = BTreeMap::new();
    let plain = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    for step in steps {
        let words: Vec<&str> = step.split(' ').collect();
        if let ["plain", topic, at, value] = words[..] {
            let record = record(&TopicName::parse(topic).unwrap(), at.parse().unwrap(), value);
            plain.send(record).await.unwrap().await.unwrap();
            continue;
        }
        let producer = producers.entry(words[1].to_owned()).or_insert_with(|| producer(client, words[1]));
        match words[..] {
            ["init", _] => producer.init_transactions().await.unwrap(),
            ["begin", _] => producer.begin_transaction().unwrap(),
            ["send", _, topic, at, value] => {
                let record = record(&TopicName::parse(topic).unwrap(), at.parse().unwrap(), value);
                producer.send(record).await.unwrap();
            }
            ["flush", _] => producer.flush().await.unwrap(),
            ["commit", _] => producer.commit_transaction().await.unwrap(),
            ["abort", _] => producer.abort_transaction().await.unwrap(),
            _ => panic!("{step}"),
        }
    }
}

/// As many records of each partition as there should be, as Java's consumer of committed records reads them.
fn java_reads(topic: &TopicName, expected: &Values) -> Values {
    let read = |(partition, values): (&i32, &Vec<String>)| {
        let arguments = [
            ["--bootstrap-server", KAFKA.as_str()],
            ["--topic", topic.as_str()],
            ["--partition", &partition.to_string()],
            ["--offset", "earliest"],
            ["--isolation-level", "read_committed"],
            ["--timeout-ms", "300000"],
            ["--max-messages", &values.len().to_string()],
        ];
        let tool = kafka_tool("kafka-console-consumer").unwrap().args(arguments.concat()).limit(PATIENCE);
        let output = tool.run().unwrap().ok().unwrap();
        (*partition, output.lines().map(str::to_owned).collect())
    };
    expected.iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn javas_reader_sees_what_our_transactions_committed_and_nothing_else() {
    if let Some(missing) = kafka_missing() {
        return skip("our transactions on a real Kafka", &missing);
    }
    let client = tokio::task::block_in_place(client);
    let topic = fresh_topic(&client, "ours", 3).await;
    let script = Script::random(&topic, 3, 8, 400);
    ours(&client, &script.steps).await;
    let committed = script.committed();
    assert_eq!(tokio::task::block_in_place(|| java_reads(&topic, &committed)), committed);
    let reader = reading(IsolationLevel::ReadCommitted);
    assert_eq!(read_to_the_end(&client, &topic, 3, reader).await, committed);
    let all = read_to_the_end(&client, &topic, 3, reading(IsolationLevel::ReadUncommitted)).await;
    assert_eq!(all, script.all);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_and_what_was_written_are_committed_together_or_not_at_all() {
    if let Some(missing) = kafka_missing() {
        return skip("offsets in transactions", &missing);
    }
    let client = tokio::task::block_in_place(client);
    let (from, to) = (fresh_topic(&client, "from", 1).await, fresh_topic(&client, "to", 1).await);
    let plain = Producer::new(client.clone(), ProducerConfig::default()).unwrap();
    for number in 0..10 {
        plain.send(record(&from, 0, &number.to_string())).await.unwrap().await.unwrap();
    }
    let group = fresh_name("group").to_string();
    let config = ConsumerConfig {
        group_id: Some(group.clone()),
        enable_auto_commit: false,
        max_poll_records: 3,
        ..reading(IsolationLevel::ReadCommitted)
    };
    let committed = async || {
        let offsets = client.admin().group_offsets(&group).await.unwrap();
        offsets.get(&partition(&from, 0)).map(|committed| committed.offset.0)
    };
    let producer = producer(&client, &format!("{group}-producer"));
    producer.init_transactions().await.unwrap();
    // Every second transaction is aborted, and what it read is read again.
    let mut commits = false;
    let mut done = 0;
    while done < 10 {
        let mut consumer = Consumer::new(client.clone(), config.clone());
        consumer.subscribe([from.clone()]).unwrap();
        let records = loop {
            let records = consumer.poll(60 * SECOND).await.unwrap();
            if !records.is_empty() {
                break records;
            }
        };
        assert_eq!(records[0].offset.0, done);
        producer.begin_transaction().unwrap();
        for (_, value) in texts(records.clone()) {
            producer.send(record(&to, 0, &format!("{commits}-{value}"))).await.unwrap();
        }
        let metadata = consumer.group_metadata().unwrap();
        producer.send_offsets_to_transaction(&consumer.positions(), &metadata).await.unwrap();
        if commits {
            producer.commit_transaction().await.unwrap();
            done += records.len() as i64;
            eventually(async || committed().await, |committed| *committed == Some(done)).await;
        } else {
            producer.abort_transaction().await.unwrap();
            assert_eq!(committed().await, Some(done).filter(|done| *done > 0));
        }
        commits = !commits;
        consumer.close().await.unwrap();
    }
    let seen = read_to_the_end(&client, &to, 1, reading(IsolationLevel::ReadCommitted)).await;
    assert_eq!(seen[&0], (0..10).map(|number| format!("true-{number}")).collect::<Vec<_>>());
    // A member that was left behind commits in no transaction either.
    producer.begin_transaction().unwrap();
    let mut stranger = Consumer::new(client.clone(), config).group_metadata().unwrap();
    let id = millstream_types::GenerationId(7);
    stranger.generation = Some(Generation { id, member_id: "nobody".to_owned(), protocol: String::new() });
    let offset = CommittedOffset { offset: Offset(1), leader_epoch: None, metadata: String::new() };
    let offsets = BTreeMap::from([(partition(&from, 0), offset)]);
    let refused = producer.send_offsets_to_transaction(&offsets, &stranger).await.unwrap_err();
    let code = refused.code();
    assert!(matches!(code, Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration)), "{refused}");
    assert_eq!(producer.commit_transaction().await, Err(refused));
    producer.abort_transaction().await.unwrap();
    assert_eq!(committed().await, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_lost_a_record_can_only_be_aborted_and_the_next_one_works() {
    if let Some(missing) = kafka_missing() {
        return skip("transactions that fail", &missing);
    }
    let client = tokio::task::block_in_place(client);
    let topic = fresh_name("narrow");
    let new = NewTopic {
        name: topic.to_string(),
        partitions: Some(1),
        configs: BTreeMap::from([("max.message.bytes".to_owned(), "1000".to_owned())]),
        ..NewTopic::default()
    };
    client.admin().create_topics(&[new], false).await.unwrap()[topic.as_str()].clone().unwrap();
    let producer = producer(&client, topic.as_str());
    let early = producer.begin_transaction().unwrap_err();
    assert!(matches!(early, Error::IllegalState(_)), "{early}");
    producer.init_transactions().await.unwrap();
    let outside = producer.send(record(&topic, 0, "outside")).await.unwrap_err();
    assert!(matches!(outside, Error::IllegalState(_)), "{outside}");
    for round in 0..3 {
        producer.begin_transaction().unwrap();
        let first = producer.send(record(&topic, 0, "lost")).await.unwrap();
        first.await.unwrap();
        let large = producer.send(record(&topic, 0, &"x".repeat(5_000))).await.unwrap();
        let refused = large.await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::MessageTooLarge));
        assert_eq!(producer.commit_transaction().await, Err(refused.clone()));
        assert_eq!(producer.send(record(&topic, 0, "late")).await.unwrap_err(), refused);
        producer.abort_transaction().await.unwrap();
        producer.begin_transaction().unwrap();
        producer.send(record(&topic, 0, &format!("kept-{round}"))).await.unwrap();
        producer.commit_transaction().await.unwrap();
    }
    // Nothing written, nothing to commit.
    producer.begin_transaction().unwrap();
    producer.commit_transaction().await.unwrap();
    let seen = read_to_the_end(&client, &topic, 1, reading(IsolationLevel::ReadCommitted)).await;
    assert_eq!(seen[&0], ["kept-0", "kept-1", "kept-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_whose_id_another_has_taken_is_fenced() {
    if let Some(missing) = kafka_missing() {
        return skip("fenced producers", &missing);
    }
    let client = tokio::task::block_in_place(client);
    let topic = fresh_topic(&client, "fenced", 1).await;
    let (old, new) = (producer(&client, topic.as_str()), producer(&client, topic.as_str()));
    old.init_transactions().await.unwrap();
    old.begin_transaction().unwrap();
    old.send(record(&topic, 0, "old")).await.unwrap().await.unwrap();
    new.init_transactions().await.unwrap();
    let fenced = old.commit_transaction().await.unwrap_err();
    assert!(fenced.is_fatal(), "{fenced}");
    assert_eq!(old.send(record(&topic, 0, "old")).await.unwrap_err(), fenced);
    assert!(old.abort_transaction().await.unwrap_err().is_fatal());
    new.begin_transaction().unwrap();
    new.send(record(&topic, 0, "new")).await.unwrap();
    new.commit_transaction().await.unwrap();
    let seen = read_to_the_end(&client, &topic, 1, reading(IsolationLevel::ReadCommitted)).await;
    assert_eq!(seen[&0], ["new"]);
}
