//! Transactions, on a real Kafka: Millstream has none yet.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, mpsc},
    thread,
    time::Instant,
};

use millstream_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, ConsumerRecord, IsolationLevel, NewTopic, OffsetReset,
};
use millstream_testkit::{Kind, Target, TargetOptions, java_source, kafka_missing, repository, skip};
use millstream_types::{Offset, TopicName};

use super::{BOOTSTRAP, SECOND, fresh_name, partition};

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

fn client() -> Client {
    Client::new(ClientConfig::new(&KAFKA)).unwrap()
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
    assert_eq!(program.run().unwrap().ok().unwrap().trim(), "done");
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
        let mut script = Self { steps: Vec::new(), all: Values::new(), written: Vec::new(), aborted: Vec::new() };
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
        assert!(started.elapsed() < 300 * SECOND, "the end is not reached: {seen:?}");
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
    steps("init T-id\nbegin T-id\nsend T-id T 0 first\ncommit T-id\nbegin T-id\nsend T-id T 0 open\nflush T-id\nplain T 0 outside");
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
