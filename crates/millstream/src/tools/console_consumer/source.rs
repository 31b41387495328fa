//! Where records come from: partitions that this tool assigns to itself.
//!
//! Membership of a group belongs here: a variant of [`Wanted`] that subscribes instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use millstream_client::{Admin, Client, Consumer, ConsumerRecord, IsolationLevel, OffsetSpec};
use millstream_types::{ErrorCode, Offset, PartitionId, TopicName, TopicPartition};

use crate::tools::{
    cluster::Cluster,
    exit::{Exit, Outcome},
    kafka_error, output,
    pattern::Pattern,
};

/// How often topics and partitions that are new are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(in crate::tools) enum Wanted {
    Topic(String),
    Partition(String, PartitionId),
    Pattern(Pattern),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tools) enum Start {
    Earliest,
    Latest,
    At(Offset),
}

pub(in crate::tools) struct Source<'a> {
    client: Client,
    admin: Admin,
    consumer: Consumer,
    isolation: IsolationLevel,
    wanted: &'a Wanted,
    start: Start,
    known: BTreeSet<TopicPartition>,
    looked: Option<Instant>,
    told: bool,
}

impl<'a> Source<'a> {
    pub(in crate::tools) fn new(cluster: &Cluster, wanted: &'a Wanted, start: Start) -> Self {
        Self {
            client: cluster.client.clone(),
            admin: cluster.admin_client(),
            consumer: Consumer::new(cluster.client.clone(), cluster.consumer.clone()),
            isolation: cluster.consumer.isolation_level,
            wanted,
            start,
            known: BTreeSet::new(),
            looked: None,
            told: false,
        }
    }

    /// The next records; none if none come within `wait`. A cluster or topic that is not there yet is waited
    /// for, as Kafka's consumers do.
    pub(in crate::tools) async fn poll(&mut self, wait: Duration) -> Outcome<Vec<ConsumerRecord>> {
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            match tokio::time::timeout(wait, self.look()).await {
                Ok(Ok(())) => self.looked = Some(Instant::now()),
                Ok(Err(error)) if error.is_retriable() => {
                    self.tell(&kafka_error::message(&error));
                    tokio::time::sleep(wait.min(Duration::from_millis(100))).await;
                    return Ok(Vec::new());
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {
                    self.tell("no broker answers yet");
                    return Ok(Vec::new());
                }
            }
        }
        match self.consumer.poll(wait).await {
            Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                self.reset().await?;
                Ok(Vec::new())
            }
            Err(error) if error.is_retriable() => {
                self.tell(&kafka_error::message(&error));
                Ok(Vec::new())
            }
            polled => Ok(polled?),
        }
    }

    /// Why nothing comes, once.
    fn tell(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.told, true) {
            output::say(&format!("WARN {reason}; trying again"));
        }
    }

    /// Assigns what is wanted and not yet read. What appears later is read from its beginning.
    async fn look(&mut self) -> millstream_client::Result<()> {
        let mut found = Vec::new();
        match self.wanted {
            Wanted::Partition(topic, number) => {
                found.extend(name(topic).map(|topic| TopicPartition::new(topic, *number)))
            }
            Wanted::Topic(topic) => {
                if let Some(topic) = name(topic) {
                    let described = self.client.topic(&topic).await?;
                    found.extend(
                        described.partitions.keys().map(|number| TopicPartition::new(topic.clone(), *number)),
                    );
                }
            }
            Wanted::Pattern(pattern) => {
                for topic in self.admin.list_topics().await? {
                    if pattern.allows(topic.name.as_str(), true).unwrap_or(false) {
                        let all = topic.partitions.keys();
                        found.extend(all.map(|number| TopicPartition::new(topic.name.clone(), *number)));
                    }
                }
            }
        }
        found.retain(|partition| !self.known.contains(partition));
        let first = self.looked.is_none();
        let start = if first { self.start } else { Start::Earliest };
        for (partition, offset) in self.offsets(&found, start).await? {
            self.consumer.seek(partition.clone(), offset);
            self.known.insert(partition);
        }
        Ok(())
    }

    async fn offsets(
        &self,
        partitions: &[TopicPartition],
        start: Start,
    ) -> millstream_client::Result<BTreeMap<TopicPartition, Offset>> {
        let spec = match start {
            Start::At(offset) => {
                return Ok(partitions.iter().map(|partition| (partition.clone(), offset)).collect());
            }
            Start::Earliest => OffsetSpec::Earliest,
            Start::Latest => OffsetSpec::Latest,
        };
        let wanted = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
        let mut offsets = BTreeMap::new();
        for (partition, listed) in self.admin.list_offsets(&wanted, self.isolation).await? {
            if let Some(offset) = listed?.offset {
                offsets.insert(partition, offset);
            }
        }
        Ok(offsets)
    }

    /// After an offset that is not there: to the end, or the beginning if that was asked for.
    async fn reset(&mut self) -> Outcome {
        let start = if self.start == Start::Earliest { Start::Earliest } else { Start::Latest };
        let all: Vec<TopicPartition> = self.known.iter().cloned().collect();
        let starts = self.offsets(&all, Start::Earliest).await.map_err(Exit::from)?;
        let ends = self.offsets(&all, Start::Latest).await.map_err(Exit::from)?;
        for partition in all {
            let (Some(low), Some(high)) = (starts.get(&partition), ends.get(&partition)) else { continue };
            let position = self.consumer.progress(&partition).map(|progress| progress.position);
            if position.is_some_and(|at| at < *low || at > *high) {
                self.consumer.seek(partition, if start == Start::Earliest { *low } else { *high });
            }
        }
        Ok(())
    }
}

/// None for a name that no topic can have: there is nothing to read then.
fn name(topic: &str) -> Option<TopicName> {
    TopicName::parse(topic).ok()
}
