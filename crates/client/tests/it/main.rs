//! The client against a running broker: the one at `MILLSTREAM_TEST_BOOTSTRAP`, or else one that the tests
//! start, of the kind that `MILLSTREAM_TARGET` names.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admin;
mod batches;
mod blocking;
mod cluster;
mod connection;
mod consumer;
mod groups;
mod metrics;
mod produce;
mod recreated;
mod restart;
mod transactions;

use std::{
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use millstream_client::{Client, ClientConfig, NewTopic};
use millstream_testkit::{Target, TargetOptions};
use millstream_types::{PartitionId, TopicName, TopicPartition, Uuid};

static BOOTSTRAP: LazyLock<String> = LazyLock::new(|| {
    if let Ok(given) = std::env::var("MILLSTREAM_TEST_BOOTSTRAP") {
        return given;
    }
    // The broker dies with the thread that started it, which must therefore outlive every test.
    let (ready, started) = mpsc::channel();
    thread::spawn(move || {
        let target = Target::start(TargetOptions::default());
        let bootstrap = target.as_ref().map(|target| target.bootstrap().to_owned());
        ready.send(bootstrap.map_err(|error| format!("{error:#}"))).unwrap();
        loop {
            thread::park();
        }
    });
    started.recv().unwrap().unwrap()
});

fn client() -> Client {
    client_with(|_| {})
}

fn client_with(change: impl FnOnce(&mut ClientConfig)) -> Client {
    let mut config = ClientConfig { allow_auto_create_topics: false, ..ClientConfig::new(&BOOTSTRAP) };
    change(&mut config);
    Client::new(config).unwrap()
}

/// A name that no other test, and no earlier run, uses.
fn fresh_name(stem: &str) -> TopicName {
    TopicName::parse(&format!("{stem}-{:x}", Uuid::random().0)).unwrap()
}

async fn fresh_topic(client: &Client, stem: &str, partitions: i32) -> TopicName {
    let name = fresh_name(stem);
    let topic = NewTopic { name: name.to_string(), partitions: Some(partitions), ..NewTopic::default() };
    let created = client.admin().create_topics(&[topic], false).await.unwrap();
    created[name.as_str()].clone().unwrap();
    client.topic(&name).await.unwrap();
    name
}

fn partition(topic: &TopicName, index: i32) -> TopicPartition {
    TopicPartition::new(topic.clone(), PartitionId(index))
}

/// Asks until the answer is as expected: a Kafka broker learns of changes a moment after they are made.
async fn eventually<T>(mut ask: impl AsyncFnMut() -> T, expected: impl Fn(&T) -> bool) -> T {
    for _ in 0..500 {
        let answer = ask().await;
        if expected(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the answer did not become what it should be in ten seconds");
}

const SECOND: Duration = Duration::from_secs(1);
