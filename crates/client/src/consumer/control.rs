//! What a consumer is told to do: what to read, from where, committing, closing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use millstream_types::{ErrorCode, Offset, TimestampMs, TopicName, TopicPartition};
use tokio::task::JoinSet;

use super::{
    Commit, Consumer, ConsumerRecord, ConsumerWaker, Progress,
    fetch::close_session,
    offsets::committed,
    partitions::{Assigned, Place},
    rebalance::{Group, group_config},
    topics::{TopicFilter, Wanted, whole},
};
use crate::{
    CommittedOffset, ConsumerGroupMetadata, Error, Generation, GroupMembership, ListedOffset, Metric,
    OffsetReset, OffsetSpec, Result,
};

/// How long closing may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);
/// How long brokers have to hear that fetch sessions are over; whoever does not will find out.
const FAREWELL_LIMIT: Duration = Duration::from_secs(1);

/// What to read.
impl Consumer {
    /// From now on reads these partitions from these offsets, and no others. An offset that is not there is
    /// an error, `OFFSET_OUT_OF_RANGE`, whatever `auto.offset.reset` says.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = (TopicPartition, Offset)>) {
        self.want_partitions();
        self.partitions.clear();
        for (partition, offset) in partitions {
            self.partitions.insert(partition, Assigned::exactly(offset));
        }
    }

    /// From now on reads these partitions, and no others: from the group's committed offsets, or else from
    /// where `auto.offset.reset` says. Those that it was reading already it reads on.
    pub fn assign_partitions(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.want_partitions();
        let wanted: BTreeSet<TopicPartition> = partitions.into_iter().collect();
        for partition in self.partitions.names().difference(&wanted) {
            self.partitions.remove(partition);
        }
        for partition in wanted {
            if !self.partitions.contains(&partition) {
                self.partitions.insert(partition, Assigned::anywhere());
            }
        }
    }

    fn want_partitions(&mut self) {
        if !matches!(self.wanted, Wanted::Partitions) {
            self.unsubscribe();
        }
        if self.config.group_id.is_some() && self.config.enable_auto_commit {
            self.commits.restart(Instant::now(), self.config.auto_commit_interval);
        }
    }

    /// Stops reading a partition.
    pub fn unassign(&mut self, partition: &TopicPartition) {
        self.partitions.remove(partition);
    }

    /// Becomes a member of the group `group.id` that reads these topics, instead of whatever it read before;
    /// of none: [`Consumer::unsubscribe`].
    pub fn subscribe(&mut self, topics: impl IntoIterator<Item = TopicName>) -> Result<()> {
        let names: BTreeSet<TopicName> = topics.into_iter().collect();
        if names.is_empty() {
            self.unsubscribe();
            return Ok(());
        }
        self.want_topics(Wanted::Names(names))
    }

    /// Becomes a member that reads all topics, also those yet to be, whose whole name the pattern matches.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<()> {
        let regex = whole(pattern)?;
        self.subscribe_where(move |topic| regex.is_match(topic.as_str()))
    }

    /// As [`Consumer::subscribe_pattern`], for whoever decides otherwise which topics those are; by their
    /// names alone, and always the same.
    pub fn subscribe_where(
        &mut self,
        accepts: impl Fn(&TopicName) -> bool + Send + Sync + 'static,
    ) -> Result<()> {
        let filter = TopicFilter::new(accepts);
        self.want_topics(Wanted::Pattern { filter, matching: BTreeSet::new(), is_matched: false })
    }

    fn want_topics(&mut self, wanted: Wanted) -> Result<()> {
        if self.config.assignment_strategies.is_empty() {
            return Err(Error::config("partition.assignment.strategy", "names no strategy"));
        }
        if self.group.is_none() {
            let member = GroupMembership::new(self.client.clone(), group_config(&self.config)?)?;
            self.group = Some(Group::new(member));
        }
        if matches!(self.wanted, Wanted::Partitions) {
            self.partitions.clear();
        }
        self.wanted = wanted;
        if let Some(group) = &self.group {
            group.member.enter();
        }
        Ok(())
    }

    /// Leaves the group, and reads nothing any more.
    pub fn unsubscribe(&mut self) {
        self.wanted = Wanted::Partitions;
        self.partitions.clear();
        self.commits.stop();
        if let Some(group) = &mut self.group {
            group.resign("the consumer unsubscribed from all topics");
        }
    }

    /// The topics that it is subscribed to; those that match, of a pattern.
    pub fn subscription(&self) -> &BTreeSet<TopicName> {
        self.wanted.topics()
    }

    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.partitions.names()
    }

    /// Its place in the group; None while it has none.
    pub fn generation(&self) -> Option<Generation> {
        self.group.as_ref()?.member.generation()
    }

    /// On whose behalf a transactional producer commits what this consumer has read; None without `group.id`.
    pub fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        Some(ConsumerGroupMetadata {
            group_id: self.config.group_id.clone()?,
            generation: self.generation(),
            group_instance_id: self.config.group_instance_id.clone(),
        })
    }

    /// Where reading would go on in each partition, of what has been returned: what to commit, or to give to
    /// a transaction.
    pub fn positions(&self) -> BTreeMap<TopicPartition, CommittedOffset> {
        self.partitions.positions()
    }

    /// Makes the group rebalance.
    pub fn enforce_rebalance(&self, reason: &str) {
        if let Some(group) = &self.group {
            group.member.rejoin(reason);
        }
    }
}

/// From where.
impl Consumer {
    /// None until it is known where to read from, and for a partition that is not assigned.
    pub fn progress(&self, partition: &TopicPartition) -> Option<Progress> {
        self.partitions.progress(partition)
    }

    /// The offset from which the next record is returned; waits until it is known.
    pub async fn position(&mut self, partition: &TopicPartition) -> Result<Offset> {
        let limit = self.client.config().default_api_timeout;
        let deadline = Instant::now() + limit;
        loop {
            self.check_wake()?;
            if !self.partitions.contains(partition) {
                return Err(not_assigned(partition));
            }
            if let Some(progress) = self.partitions.progress(partition) {
                return Ok(progress.position);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(Error::Timeout { what: format!("position in {partition}"), limit, last: None });
            }
            self.look(now);
            self.look_up_places(now);
            self.wait(now, deadline, None).await?;
        }
    }

    /// Reads on from another offset. A partition that is not assigned is added, unless a group assigns them.
    pub fn seek(&mut self, partition: TopicPartition, offset: Offset) {
        let found = self.partitions.seek(&partition, Place::Known, offset);
        if !found && matches!(self.wanted, Wanted::Partitions) {
            self.partitions.insert(partition, Assigned::exactly(offset));
        }
    }

    /// Reads on from the first record there is.
    pub fn seek_to_beginning(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.seek_to(partitions, OffsetReset::Earliest);
    }

    /// Reads on behind the last record there is.
    pub fn seek_to_end(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.seek_to(partitions, OffsetReset::Latest);
    }

    fn seek_to(&mut self, partitions: impl IntoIterator<Item = TopicPartition>, reset: OffsetReset) {
        for partition in partitions {
            self.partitions.seek(&partition, Place::Reset(reset), Offset::ZERO);
        }
    }

    /// Returns no records of these partitions until they are resumed, or assigned anew.
    pub fn pause(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for partition in partitions {
            self.partitions.pause(&partition, true);
        }
    }

    pub fn resume(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for partition in partitions {
            self.partitions.pause(&partition, false);
        }
    }

    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        self.partitions.paused()
    }

    /// What it has done so far, how far it is behind, and what its client has sent and received, by Kafka's
    /// names.
    pub fn metrics(&self) -> Vec<Metric> {
        const FETCH: &str = "fetch-manager-metrics";
        let mut report = self.client.report("consumer");
        self.meters.report(&mut report);
        if let Some(group) = &self.group {
            group.member.meters().report(&mut report);
        }
        report.add("coordinator-metrics", "assigned-partitions", self.partitions.iter().count() as f64);
        for partition in self.partitions.iter() {
            let Some(progress) = self.partitions.progress(partition) else { continue };
            let replica = progress.preferred_read_replica.map(|id| f64::from(id.0));
            for (name, value) in [
                ("records-lag", progress.lag()),
                ("records-lead", progress.lead()),
                ("preferred-read-replica", Some(replica.unwrap_or(-1.0))),
            ] {
                let index = partition.partition.to_string();
                let of = [("topic", partition.topic.as_str()), ("partition", index.as_str())];
                if let Some(value) = value {
                    report.add_of(FETCH, name, &of, value);
                }
            }
        }
        report.finish()
    }

    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        self.list(partitions.into_iter().map(|partition| (partition, OffsetSpec::Earliest))).await
    }

    /// Where the next record will be; under `read_committed`, the last stable offset.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        self.list(partitions.into_iter().map(|partition| (partition, OffsetSpec::Latest))).await
    }

    /// The first record of each partition that is not older than the time.
    pub async fn offsets_for_times(
        &self,
        times: impl IntoIterator<Item = (TopicPartition, TimestampMs)>,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        self.list(times.into_iter().map(|(partition, time)| (partition, OffsetSpec::Timestamp(time)))).await
    }

    async fn list(
        &self,
        wanted: impl Iterator<Item = (TopicPartition, OffsetSpec)>,
    ) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
        self.client.admin().list_offsets(&wanted.collect(), self.config.isolation_level).await
    }
}

/// Committing and closing.
impl Consumer {
    /// Commits everything that polls have returned, and waits until that is done. What may pass is tried
    /// again until `default.api.timeout.ms`.
    pub async fn commit(&mut self) -> Result<()> {
        self.commit_offsets(self.partitions.positions()).await
    }

    /// Commits these offsets: of the next record to be read, each. With metadata of the caller's.
    pub async fn commit_offsets(&mut self, offsets: BTreeMap<TopicPartition, CommittedOffset>) -> Result<()> {
        let mut commit = self.spawn_commit(offsets, true)?;
        loop {
            self.check_wake()?;
            tokio::select! {
                outcome = &mut commit => return outcome,
                () = self.wake.notify.notified() => {}
            }
        }
    }

    /// Commits up to and with this record of its partition.
    pub async fn commit_record(&mut self, record: &ConsumerRecord) -> Result<()> {
        let offset = CommittedOffset {
            offset: record.offset.next(),
            leader_epoch: record.leader_epoch,
            metadata: String::new(),
        };
        self.commit_offsets(BTreeMap::from([(record.partition.clone(), offset)])).await
    }

    /// As [`Consumer::commit`] without waiting, and tried once: by the time of a retry a later commit may
    /// have been made.
    pub fn commit_async(&mut self) -> Result<Commit> {
        self.spawn_commit(self.partitions.positions(), false)
    }

    /// As [`Consumer::commit_offsets`] without waiting, and tried once.
    pub fn commit_offsets_async(
        &mut self,
        offsets: BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<Commit> {
        self.spawn_commit(offsets, false)
    }

    /// What the group has committed for these partitions; those without a commit are left out.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>> {
        let missing = || Error::config("group.id", "must be set to ask for committed offsets");
        let group = self.config.group_id.as_ref().ok_or_else(missing)?;
        committed(&self.client, group, &partitions.into_iter().collect()).await
    }

    /// Ends waits of this consumer from elsewhere.
    pub fn waker(&self) -> ConsumerWaker {
        ConsumerWaker(self.wake.clone())
    }

    /// Commits what polls have returned if `enable.auto.commit`, waits for commits under way, and leaves the
    /// group, which a static member does without a word. An error is that of the commit.
    pub async fn close(self) -> Result<()> {
        self.close_within(CLOSE_LIMIT).await
    }

    /// As [`Consumer::close`], which waits for 30 seconds at most. What is not done by then is given up: the group
    /// finds out when the session ends.
    pub async fn close_within(mut self, limit: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut outcome = Ok(());
        if self.config.group_id.is_some() {
            let positions =
                if self.commits_by_itself() { self.partitions.positions() } else { BTreeMap::new() };
            // Committing nothing waits for its turn all the same.
            if let Ok(commit) = self.spawn_commit(positions, true) {
                let late = |_| Error::Timeout { what: "closing".to_owned(), limit, last: None };
                outcome = tokio::time::timeout_at(deadline, commit).await.map_err(late).flatten();
            }
        }
        if let Some(group) = self.group.take() {
            let leave = group.member.leave("the consumer is being closed");
            if tokio::time::timeout_at(deadline, leave).await.is_err() {
                tracing::warn!("the group was not told that its member leaves");
            }
        }
        self.close_sessions(deadline).await;
        outcome
    }

    /// Tells brokers that its fetch sessions are over, if they are there: they would keep them for minutes.
    async fn close_sessions(&mut self, deadline: tokio::time::Instant) {
        let mut farewells = JoinSet::new();
        for (broker, session_id) in std::mem::take(&mut self.session_ids) {
            let client = self.client.clone();
            farewells.spawn(async move { close_session(&client, broker, session_id).await });
        }
        let deadline = deadline.min(tokio::time::Instant::now() + FAREWELL_LIMIT);
        tokio::time::timeout_at(deadline, farewells.join_all()).await.ok();
    }
}

fn not_assigned(partition: &TopicPartition) -> Error {
    let message = "not assigned to this consumer".to_owned();
    Error::kafka(ErrorCode::UnknownTopicOrPartition, partition.to_string(), Some(message))
}
