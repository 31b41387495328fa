//! Reading records from partitions that the caller names, from offsets that the caller chooses. Groups are
//! not in this: whoever shares partitions out assigns them here.

mod assignor;
mod fetch;
mod protocol;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_record::{Header, TimestampType};
use millstream_types::{BrokerId, LeaderEpoch, Offset, TimestampMs, TopicName, TopicPartition};
use tokio::{task::JoinSet, time::timeout_at};

use self::fetch::{Fetched, Outcome, fetch};
use crate::{Client, Result, config::ConsumerConfig};

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    pub partition: TopicPartition,
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
    pub timestamp: TimestampMs,
    pub timestamp_type: TimestampType,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<Header>,
}

/// How far a partition has been read, and how far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The next record that [`Consumer::poll`] returns has this offset or a larger one.
    pub position: Offset,
    /// Up to where consumers may read, at the last answer: the high watermark, or with `read_committed`
    /// the last stable offset.
    pub end: Option<Offset>,
    pub log_start: Option<Offset>,
}

#[derive(Clone, Copy, Debug)]
struct Assigned {
    progress: Progress,
    /// What to fetch next; ahead of the position while records wait to be polled.
    fetch_offset: Offset,
    /// Not fetched before this, after an answer that did not help.
    not_before: Option<Instant>,
    /// When it last gave records, counted in answers: an answer is limited, so the longest without comes
    /// first in the next request.
    served: u64,
}

/// Reads the partitions assigned to it. Fetches run ahead while the caller works: at most one answer per
/// broker waits, so memory is bounded by `fetch.max.bytes` times brokers.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    assigned: BTreeMap<TopicPartition, Assigned>,
    fetches: JoinSet<(BrokerId, Vec<Fetched>)>,
    busy: BTreeSet<BrokerId>,
    ready: VecDeque<Ready>,
    answers: u64,
}

#[derive(Debug)]
struct Ready {
    partition: TopicPartition,
    records: Vec<ConsumerRecord>,
    /// Where reading goes on behind these records.
    next: Offset,
}

impl Consumer {
    pub fn new(client: Client, config: ConsumerConfig) -> Self {
        Self {
            client,
            config,
            assigned: BTreeMap::new(),
            fetches: JoinSet::new(),
            busy: BTreeSet::new(),
            ready: VecDeque::new(),
            answers: 0,
        }
    }

    /// From now on reads these partitions from these offsets, and no others.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, Offset)>) {
        self.ready.clear();
        self.assigned = partitions.into_iter().map(|(partition, at)| (partition, Assigned::at(at))).collect();
    }

    /// Reads on from another offset; adds the partition if it is not assigned.
    pub fn seek(&mut self, partition: TopicPartition, offset: Offset) {
        self.ready.retain(|ready| ready.partition != partition);
        self.assigned.insert(partition, Assigned::at(offset));
    }

    /// Stops reading a partition.
    pub fn unassign(&mut self, partition: &TopicPartition) {
        self.ready.retain(|ready| ready.partition != *partition);
        self.assigned.remove(partition);
    }

    pub fn progress(&self, partition: &TopicPartition) -> Option<Progress> {
        self.assigned.get(partition).map(|assigned| assigned.progress)
    }

    /// The next records of some partition, in order; none if there are none within `wait`, or if what was
    /// read holds nothing to show, such as markers of transactions. An error concerns one partition,
    /// `OFFSET_OUT_OF_RANGE` for instance; errors that may pass are waited out.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(ready) = self.ready.pop_front() {
                if let Some(assigned) = self.assigned.get_mut(&ready.partition) {
                    assigned.progress.position = ready.next;
                }
                if self.ready.is_empty() {
                    // The next answer comes while the caller works.
                    self.start_fetches().await?;
                }
                return Ok(ready.records);
            }
            let wakeup = self.start_fetches().await?;
            let wakeup = wakeup.map_or(deadline, |wakeup| wakeup.min(deadline));
            if self.fetches.is_empty() {
                tokio::time::sleep_until(wakeup.into()).await;
            } else {
                match timeout_at(wakeup.into(), self.fetches.join_next()).await {
                    Ok(Some(Ok((broker, fetched)))) => self.take(broker, fetched)?,
                    Ok(Some(Err(error))) => std::panic::resume_unwind(error.into_panic()),
                    Ok(None) | Err(_) => {}
                }
            }
            if self.ready.is_empty() && Instant::now() >= deadline {
                return Ok(Vec::new());
            }
        }
    }

    /// A fetch to each leader that has none under way. Returns when a partition that is being held back
    /// may be tried again.
    async fn start_fetches(&mut self) -> Result<Option<Instant>> {
        let now = Instant::now();
        let mut metadata = self.client.metadata();
        let leaderless = self.assigned.keys().any(|partition| metadata.leader(partition).is_none());
        if leaderless || self.client.is_stale() {
            let topics: BTreeSet<TopicName> = self.assigned.keys().map(|p| p.topic.clone()).collect();
            match self.client.refresh(topics).await {
                Err(error) if !error.is_retriable() => return Err(error),
                Err(error) => tracing::debug!(%error, "metadata not refreshed"),
                Ok(_) => {}
            }
            metadata = self.client.metadata();
        }
        let mut wakeup: Option<Instant> = None;
        let mut by_leader: BTreeMap<BrokerId, Vec<(u64, TopicPartition, Offset)>> = BTreeMap::new();
        for (partition, assigned) in &mut self.assigned {
            let leader = metadata.leader(partition);
            if leader.is_none() && assigned.not_before.is_none_or(|time| time <= now) {
                assigned.not_before = Some(now + self.client.config().retry_backoff);
            }
            if let Some(not_before) = assigned.not_before.filter(|time| *time > now) {
                wakeup = Some(wakeup.map_or(not_before, |wakeup| wakeup.min(not_before)));
                continue;
            }
            let Some(leader) = leader.filter(|leader| !self.busy.contains(leader)) else { continue };
            let wanted = (assigned.served, partition.clone(), assigned.fetch_offset);
            by_leader.entry(leader).or_default().push(wanted);
        }
        for (leader, mut wanted) in by_leader {
            self.busy.insert(leader);
            wanted.sort_unstable();
            let wanted: Vec<_> =
                wanted.into_iter().map(|(_, partition, offset)| (partition, offset)).collect();
            let (client, config) = (self.client.clone(), self.config.clone());
            self.fetches.spawn(async move { (leader, fetch(&client, &config, leader, wanted).await) });
        }
        Ok(wakeup)
    }

    fn take(&mut self, broker: BrokerId, fetched: Vec<Fetched>) -> Result<()> {
        self.busy.remove(&broker);
        self.answers += 1;
        let mut failure = Ok(());
        for Fetched { partition, fetch_offset, outcome } in fetched {
            // Assigned anew or sought elsewhere meanwhile: nobody wants this any more.
            let Some(assigned) = self.assigned.get_mut(&partition).filter(|a| a.fetch_offset == fetch_offset)
            else {
                continue;
            };
            match outcome {
                Ok(Outcome { records, next, end, log_start }) => {
                    assigned.progress = Progress { end: Some(end), log_start, ..assigned.progress };
                    assigned.not_before = None;
                    assigned.fetch_offset = next;
                    if next > fetch_offset {
                        assigned.served = self.answers;
                        self.ready.push_back(Ready { partition, records, next });
                    }
                }
                Err(error) if error.is_retriable() => {
                    tracing::debug!(%partition, %error, "not fetched; trying again");
                    if error.is_stale_metadata() {
                        self.client.mark_stale();
                    }
                    assigned.not_before = Some(Instant::now() + self.client.config().retry_backoff);
                }
                Err(error) => {
                    // Reported once; whoever polls again without a seek asks again.
                    assigned.not_before = Some(Instant::now() + self.client.config().retry_backoff);
                    failure = Err(error);
                }
            }
        }
        failure
    }
}

impl Assigned {
    fn at(offset: Offset) -> Self {
        let progress = Progress { position: offset, end: None, log_start: None };
        Self { progress, fetch_offset: offset, not_before: None, served: 0 }
    }
}
