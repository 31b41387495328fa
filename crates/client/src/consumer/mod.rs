//! Reading records: from partitions that the caller names, or as a member of a group that shares the
//! partitions of its topics out. Behaviour is that of Java's consumer on the classic protocol.
//!
//! All decisions are made while the caller polls; in between only requests under way go on, and the
//! member's heartbeats (`group`). So whatever a call returned stays true until the next call.

mod assignor;
mod commits;
mod control;
mod epochs;
mod fetch;
mod offsets;
mod partitions;
mod protocol;
mod rebalance;
mod session;
mod topics;
mod unread;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_record::{Header, TimestampType};
use millstream_types::{BrokerId, LeaderEpoch, Offset, TimestampMs, TopicPartition};
use tokio::{
    sync::{Notify, oneshot},
    task::JoinSet,
    time::sleep_until,
};

pub use self::{assignor::AssignmentStrategy, commits::Commit};
use self::{
    commits::Commits,
    epochs::{Comparisons, Stand, compare},
    fetch::{Fetched, Source, fetch},
    offsets::{Committer, Offsets, committed, resets},
    partitions::Partitions,
    rebalance::Group,
    session::Session,
    topics::{Look, Looking, Wanted, look},
};
use crate::{
    Client, Error, Metadata, OffsetReset, Result,
    client::{Lane, LaneId},
    config::ConsumerConfig,
    metrics::{ConsumerMeters, Windows},
};

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
    /// The replica that is read instead of the leader, being nearer to `client.rack` (KIP-392).
    pub preferred_read_replica: Option<BrokerId>,
}

impl Progress {
    fn lag(&self) -> Option<f64> {
        self.end.map(|end| (end.0 - self.position.0).max(0) as f64)
    }

    /// How far the position is behind the first record that is still there.
    fn lead(&self) -> Option<f64> {
        self.log_start.map(|start| (self.position.0 - start.0).max(0) as f64)
    }
}

/// What [`Consumer::next`] has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerEvent {
    /// Records of one partition, in order; none if what was read holds nothing to show, such as markers of
    /// transactions.
    Records(Vec<ConsumerRecord>),
    /// The group has been joined, and these partitions are new to this member; perhaps none. Now is the time
    /// to seek.
    Assigned(Vec<TopicPartition>),
    /// Until the next call these partitions are still this member's: now is the time to finish with them,
    /// and to commit.
    Revoked(Vec<TopicPartition>),
    /// These partitions are another's already, perhaps: it is too late to commit.
    Lost(Vec<TopicPartition>),
}

/// What a task of the consumer's came back with.
enum Done {
    Fetched {
        broker: BrokerId,
        session: Session,
        fetched: Vec<Fetched>,
    },
    Looked(Result<Look>),
    Committed {
        asked: BTreeSet<TopicPartition>,
        found: Result<Offsets>,
    },
    Reset {
        asked: BTreeMap<TopicPartition, OffsetReset>,
        found: Result<BTreeMap<TopicPartition, Result<Offset>>>,
    },
    Compared {
        asked: BTreeMap<TopicPartition, Stand>,
        found: Result<Comparisons>,
    },
    AutoCommitted(Result<()>),
    /// Something is to be looked at that is kept elsewhere.
    Nudge,
}

#[derive(Debug, Default)]
struct Wake {
    is_wanted: AtomicBool,
    notify: Notify,
}

/// Ends a wait of its [`Consumer`] from elsewhere.
#[derive(Clone, Debug)]
pub struct ConsumerWaker(Arc<Wake>);

impl ConsumerWaker {
    /// The call that waits, or else the next that would, returns [`Error::WokenUp`].
    pub fn wake(&self) {
        self.0.is_wanted.store(true, Ordering::Release);
        self.0.notify.notify_one();
    }
}

/// Reads partitions. Fetches run ahead while the caller works: per broker one answer waits beside the one
/// being returned, so memory is bounded by twice `fetch.max.bytes` times brokers.
///
/// A future of its methods may be dropped at any time; nothing is lost by that. Of a group with
/// `max.poll.interval.ms` a consumer is a member only while it is polled.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    /// Long fetches of one consumer must not hold up another's.
    lane: LaneId,
    wanted: Wanted,
    partitions: Partitions,
    /// Brokers that a fetch is under way to.
    busy: BTreeSet<BrokerId>,
    /// Of brokers that no fetch is under way to; and what brokers call them, of all.
    sessions: BTreeMap<BrokerId, Session>,
    session_ids: BTreeMap<BrokerId, i32>,
    looking: Looking,
    commits: Commits,
    /// Once there has been a subscription.
    group: Option<Group>,
    work: JoinSet<Done>,
    wake: Arc<Wake>,
    meters: Arc<ConsumerMeters>,
    last_poll: Option<Instant>,
    /// Since when a rebalance is going on.
    rebalance_began: Option<Instant>,
}

/// The end of a wait, however long.
fn after(wait: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    Instant::now() + wait.min(YEAR)
}

impl Consumer {
    pub fn new(client: Client, config: ConsumerConfig) -> Self {
        Self {
            lane: LaneId::new(&client),
            meters: Arc::new(ConsumerMeters::new(Windows::of(client.config()))),
            client,
            config,
            wanted: Wanted::Partitions,
            partitions: Partitions::default(),
            busy: BTreeSet::new(),
            sessions: BTreeMap::new(),
            session_ids: BTreeMap::new(),
            looking: Looking::default(),
            commits: Commits::default(),
            group: None,
            work: JoinSet::new(),
            wake: Arc::default(),
            last_poll: None,
            rebalance_began: None,
        }
    }

    /// The next records of some partition, in order, `max.poll.records` at most; none if there are none
    /// within `wait`, or if what was read holds nothing to show. An error concerns one partition, or the
    /// membership; errors that may pass are waited out. Rebalances happen in passing; whoever wants to know
    /// of them calls [`Consumer::next`].
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>> {
        let deadline = after(wait);
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())).await? {
                Some(ConsumerEvent::Records(records)) => return Ok(records),
                Some(_) => {}
                None => return Ok(Vec::new()),
            }
        }
    }

    /// As [`Consumer::poll`], and tells of rebalances; None if there is nothing to tell within `wait`.
    pub async fn next(&mut self, wait: Duration) -> Result<Option<ConsumerEvent>> {
        let began = Instant::now();
        let since_last = self.last_poll.map_or(Duration::ZERO, |last| began.duration_since(last));
        self.last_poll = Some(began);
        self.meters.poll_begins(since_last);
        let outcome = self.advance(after(wait)).await;
        self.meters.poll_ends(since_last, began.elapsed());
        outcome
    }

    async fn advance(&mut self, deadline: Instant) -> Result<Option<ConsumerEvent>> {
        loop {
            self.check_wake()?;
            let now = Instant::now();
            if let Some(group) = &self.group {
                group.member.polled();
            }
            if let Some(event) = self.rebalance(now)? {
                return Ok(Some(event));
            }
            self.commit_by_clock(now);
            self.look(now);
            let metadata = self.client.metadata();
            self.compare_places(now, &metadata)?;
            self.look_up_places(now);
            if let Some(records) =
                self.partitions.take_ready(self.config.max_poll_records.max(1), now + self.backoff().0)
            {
                let records = records?;
                self.count_returned(&records);
                // The next answer comes while the caller works.
                self.start_fetches(now, &metadata);
                return Ok(Some(ConsumerEvent::Records(records)));
            }
            let wakeup = self.start_fetches(now, &metadata);
            if now >= deadline {
                return Ok(None);
            }
            self.wait(now, deadline, wakeup).await?;
        }
    }

    fn count_returned(&self, records: &[ConsumerRecord]) {
        let Some(partition) = records.first().map(|record| &record.partition) else { return };
        let Some(progress) = self.partitions.progress(partition) else { return };
        self.meters.returned(partition, records.len(), (progress.lag(), progress.lead()));
    }

    fn check_wake(&self) -> Result<()> {
        if self.wake.is_wanted.swap(false, Ordering::AcqRel) { Err(Error::WokenUp) } else { Ok(()) }
    }

    /// Until something happens that the next round has to do with.
    async fn wait(&mut self, now: Instant, deadline: Instant, fetches: Option<Instant>) -> Result<()> {
        let max_age = self.max_age();
        // Now and then all the same: whoever waits is polling.
        let often = self.config.heartbeat_interval.min(self.config.max_poll_interval / 3);
        let polled = self.group.is_some().then(|| now + often);
        let wakeups = [
            fetches,
            polled,
            self.commits.due(),
            self.looking.next_wakeup(now, max_age),
            self.partitions.next_look_up(now),
            self.rebalance_wakeup(),
        ];
        let wakeup = wakeups.into_iter().flatten().fold(deadline, Instant::min);
        let news = async {
            match &self.group {
                Some(group) => group.member.news().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = self.work.join_next() => match done {
                Ok(done) => self.take(done),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = news => Ok(()),
            () = self.wake.notify.notified() => Ok(()),
            () = sleep_until(wakeup.into()) => Ok(()),
        }
    }

    fn take(&mut self, done: Done) -> Result<()> {
        let now = Instant::now();
        let (backoff, backoff_max) = self.backoff();
        let try_again = now + backoff;
        match done {
            Done::Fetched { broker, session, fetched } => {
                match session.id() {
                    Some(id) => self.session_ids.insert(broker, id),
                    None => self.session_ids.remove(&broker),
                };
                self.sessions.insert(broker, session);
                self.take_fetched(broker, fetched, try_again)
            }
            Done::Looked(look) => self.take_look(now, look, (backoff, backoff_max)),
            Done::AutoCommitted(outcome) => {
                self.commits.auto_committed(now, outcome, backoff);
                Ok(())
            }
            Done::Committed { asked, found } => self.take_committed(&asked, found, now + backoff_max),
            Done::Reset { asked, found } => self.take_resets(asked, found, now + backoff_max),
            Done::Compared { asked, found } => self.take_comparisons(asked, found, try_again),
            Done::Nudge => Ok(()),
        }
    }

    fn backoff(&self) -> (Duration, Duration) {
        (self.client.config().retry_backoff, self.client.config().retry_backoff_max)
    }

    /// A fetch to each broker that has none under way. Returns when a partition that is being held back may
    /// be tried again.
    fn start_fetches(&mut self, now: Instant, metadata: &Metadata) -> Option<Instant> {
        if self.partitions.has_plenty() {
            return None;
        }
        let (by_source, wakeup) = self.partitions.to_fetch(now, metadata, &self.busy);
        for (broker, wanted) in by_source {
            self.busy.insert(broker);
            let (client, config) = (self.client.clone(), self.config.clone());
            let source = Source { lane: Lane::Own(self.lane.number()), broker };
            let mut session = self.sessions.remove(&broker).unwrap_or_default();
            let meters = Arc::clone(&self.meters);
            self.work.spawn(async move {
                let fetched = fetch(&client, &config, source, &mut session, (wanted, &meters)).await;
                Done::Fetched { broker, session, fetched }
            });
        }
        wakeup
    }

    /// Asks leaders that are new since a place was taken whether their log still has what is before it.
    fn compare_places(&mut self, now: Instant, metadata: &Metadata) -> Result<()> {
        let try_again = now + self.backoff().0;
        let reset = self.config.auto_offset_reset;
        let (asked, failure) = self.partitions.take_comparisons(now, metadata, reset, try_again);
        if !asked.is_empty() {
            let client = self.client.clone();
            self.work.spawn(async move {
                let found = compare(&client, &asked).await;
                Done::Compared { asked, found }
            });
        }
        failure
    }

    fn take_comparisons(
        &mut self,
        asked: BTreeMap<TopicPartition, Stand>,
        found: Result<Comparisons>,
        try_again: Instant,
    ) -> Result<()> {
        let (mut found, failed) = match found {
            Ok(found) => (found, None),
            Err(error) => (Comparisons::new(), Some(error)),
        };
        let mut failure = Ok(());
        for (partition, stand) in asked {
            let reset = self.config.auto_offset_reset;
            let outcome = match (found.remove(&partition), &failed) {
                (Some(Ok(compared)), _) => {
                    self.partitions.compared(&partition, stand, compared, reset, try_again)
                }
                (found, failed) => {
                    self.partitions.look_up_failed(&partition, try_again);
                    match found.and_then(Result::err).or_else(|| failed.clone()) {
                        Some(error) if !error.is_retriable() => Err(error),
                        _ => Ok(()),
                    }
                }
            };
            failure = failure.and(outcome);
        }
        failure
    }

    fn take_fetched(&mut self, broker: BrokerId, fetched: Vec<Fetched>, try_again: Instant) -> Result<()> {
        self.busy.remove(&broker);
        self.partitions.count_answer();
        let mut failure = Ok(());
        for fetched in fetched {
            match self.partitions.fetched(fetched, self.config.auto_offset_reset, try_again) {
                Ok(true) => self.client.mark_stale(),
                Ok(false) => {}
                Err(error) => failure = Err(error),
            }
        }
        failure
    }

    /// How old the metadata of a pattern may be.
    fn max_age(&self) -> Option<Duration> {
        matches!(self.wanted, Wanted::Pattern { .. }).then(|| self.client.config().metadata_max_age)
    }

    /// Refreshes the metadata if something in it is missing or old.
    fn look(&mut self, now: Instant) {
        let metadata = self.client.metadata();
        let leaderless = self.partitions.iter().any(|partition| metadata.leader(partition).is_none());
        let missing = self.wanted.topics().iter().any(|topic| metadata.topic(topic).is_none());
        let electing = self.group.as_ref().is_some_and(Group::needs_look);
        let idle = self.partitions.iter().next().is_none() && matches!(self.wanted, Wanted::Partitions);
        let urgent = leaderless || missing || electing || self.wanted.is_open() || self.client.is_stale();
        if idle || !self.looking.is_due(now, urgent, self.max_age()) {
            return;
        }
        self.looking.begin();
        let mut more: BTreeSet<_> = self.partitions.iter().map(|p| p.topic.clone()).collect();
        more.extend(self.group.iter().flat_map(Group::watched).cloned());
        let (client, wanted) = (self.client.clone(), self.wanted.clone());
        let exclude_internal = self.config.exclude_internal_topics;
        self.work.spawn(async move { Done::Looked(look(&client, &wanted, exclude_internal, more).await) });
    }

    fn take_look(&mut self, now: Instant, look: Result<Look>, backoff: (Duration, Duration)) -> Result<()> {
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                self.looking.ended(now, false, false, backoff);
                tracing::debug!(%error, "metadata not refreshed");
                return if error.is_retriable() { Ok(()) } else { Err(error) };
            }
        };
        if let (Wanted::Pattern { matching, is_matched, .. }, Some(now)) = (&mut self.wanted, look.matching) {
            (*matching, *is_matched) = (now, true);
        }
        let metadata = self.client.metadata();
        let calm = self.wanted.topics().iter().all(|topic| metadata.topic(topic).is_some());
        self.looking.ended(now, true, calm, backoff);
        look.trouble.map_or(Ok(()), Err)
    }

    /// Asks for committed offsets and for resets where a partition has no place yet.
    fn look_up_places(&mut self, now: Instant) {
        let (mut asked, resetting) = self.partitions.take_look_ups(now);
        if let (Some(group), false) = (self.config.group_id.clone(), asked.is_empty()) {
            let client = self.client.clone();
            self.work.spawn(async move {
                let found = committed(&client, &group, &asked).await;
                Done::Committed { asked, found }
            });
        } else if !asked.is_empty() {
            // Without a group nothing is committed.
            self.work.spawn(async move {
                Done::Committed { asked: std::mem::take(&mut asked), found: Ok(Offsets::new()) }
            });
        }
        if !resetting.is_empty() {
            let (client, isolation) = (self.client.clone(), self.config.isolation_level);
            self.work.spawn(async move {
                let found = resets(&client, isolation, &resetting).await;
                Done::Reset { asked: resetting, found }
            });
        }
    }

    fn take_committed(
        &mut self,
        asked: &BTreeSet<TopicPartition>,
        found: Result<Offsets>,
        try_again: Instant,
    ) -> Result<()> {
        let mut homeless = Vec::new();
        let mut failure = Ok(());
        for partition in asked {
            let reset = self.config.auto_offset_reset;
            let placed = match &found {
                Ok(found) => self.partitions.found_committed(partition, found.get(partition), reset),
                Err(error) => {
                    self.partitions.look_up_failed(partition, try_again);
                    if error.is_retriable() { Ok(()) } else { Err(error.clone()) }
                }
            };
            match placed {
                Err(Error::NoOffset { partitions }) => {
                    homeless.extend(partitions);
                    self.partitions.look_up_failed(partition, try_again);
                }
                Err(error) => failure = Err(error),
                Ok(()) => {}
            }
        }
        if homeless.is_empty() { failure } else { Err(Error::NoOffset { partitions: homeless }) }
    }

    fn take_resets(
        &mut self,
        asked: BTreeMap<TopicPartition, OffsetReset>,
        found: Result<BTreeMap<TopicPartition, Result<Offset>>>,
        try_again: Instant,
    ) -> Result<()> {
        let mut failure = Ok(());
        let mut found =
            found.map_err(|error| asked.keys().map(|p| (p.clone(), Err(error.clone()))).collect());
        let found: &mut BTreeMap<TopicPartition, Result<Offset>> = match &mut found {
            Ok(found) | Err(found) => found,
        };
        for (partition, reset) in asked {
            match found.remove(&partition) {
                Some(Ok(offset)) => self.partitions.found_reset(&partition, reset, offset),
                other => {
                    self.partitions.look_up_failed(&partition, try_again);
                    match other {
                        Some(Err(error)) if !error.is_retriable() => failure = Err(error),
                        _ => tracing::debug!(%partition, "no offset to begin from yet; trying again"),
                    }
                }
            }
        }
        failure
    }

    /// Whether what was read is committed without being asked.
    fn commits_by_itself(&self) -> bool {
        self.config.enable_auto_commit && self.config.group_id.is_some()
    }

    fn commit_by_clock(&mut self, now: Instant) {
        if !self.commits_by_itself() || !self.commits.take_due(now, self.config.auto_commit_interval) {
            return;
        }
        let offsets = self.partitions.positions();
        match self.begin_commit(offsets, false) {
            Ok(commit) => {
                self.work.spawn(async move { Done::AutoCommitted(commit.await) });
            }
            // In the midst of a rebalance: what was read before it is committed, the rest will be.
            Err(_) => self.commits.auto_committed(now, Ok(()), Duration::ZERO),
        }
    }

    /// A commit to be run by whoever asks for it.
    fn begin_commit(
        &mut self,
        offsets: Offsets,
        persistent: bool,
    ) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        let missing = || Error::config("group.id", "must be set to commit");
        let group_id = self.config.group_id.clone().ok_or_else(missing)?;
        let subscribed = !matches!(self.wanted, Wanted::Partitions);
        let member = self.group.as_ref().map(|group| &group.member).filter(|_| subscribed);
        let in_time = |member: &crate::GroupMembership| {
            member.commit_generation().map_err(|code| offsets::too_late(&group_id, code))
        };
        let committer = Committer {
            group_id: group_id.clone(),
            group_instance_id: self.config.group_instance_id.clone(),
            generation: member.map(in_time).transpose()?,
        };
        let feedback = member.map(crate::GroupMembership::feedback);
        let meters = Arc::clone(&self.meters);
        Ok(self.commits.begin(self.client.clone(), committer, feedback, offsets, (persistent, meters)))
    }

    fn spawn_commit(&mut self, offsets: Offsets, persistent: bool) -> Result<Commit> {
        let commit = self.begin_commit(offsets, persistent)?;
        let (tell, outcome) = oneshot::channel();
        tokio::spawn(async move {
            // Whoever committed may not care.
            tell.send(commit.await).ok();
        });
        Ok(Commit(outcome))
    }
}
