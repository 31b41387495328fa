//! The consumer's side of its group: what to say on joining, what to give up and when, sharing out when
//! elected. One step at a time; a step that the caller must know of is an event, and goes on when the
//! caller comes back, so that it can commit and look around in between.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use millstream_types::{TopicName, TopicPartition};
use tokio::sync::oneshot;

use super::{
    Consumer, ConsumerEvent, Done,
    assignor::{AssignmentStrategy, Members, PartitionCounts, StickyData},
    partitions::Assigned,
    protocol::{Subscription, read_assignment, read_subscription, write_assignment},
    topics::counts,
};
use crate::{
    Assignment, Election, Error, GroupConfig, GroupEvent, GroupMembership, GroupProtocol, Metadata, Result,
};

const PROTOCOL_TYPE: &str = "consumer";
/// Everything is known: a look that is over.
const NO_LOOK: u64 = 0;

#[derive(Debug)]
pub(super) struct Group {
    pub(super) member: GroupMembership,
    step: Step,
    /// What this member said that it wants when it last joined.
    joined: BTreeSet<TopicName>,
    /// The leader's.
    watched: Option<Watched>,
    last: Option<StickyData>,
}

/// All the group's topics, and how many partitions those that exist had at the last election.
#[derive(Debug)]
struct Watched {
    topics: BTreeSet<TopicName>,
    counts: PartitionCounts,
}

#[derive(Debug)]
enum Step {
    Idle,
    /// What was read is being committed before something is given up.
    Committing {
        giving_up: GivingUp,
        outcome: oneshot::Receiver<Result<()>>,
        until: Instant,
    },
    /// The caller has been told, and is at it.
    Told(GivingUp),
    /// Elected; metadata of the group's topics is on its way.
    Electing {
        election: Election,
        members: Members,
        topics: BTreeSet<TopicName>,
        look: u64,
    },
}

#[derive(Debug)]
struct GivingUp {
    partitions: BTreeSet<TopicPartition>,
    /// They are this member's no more.
    lost: bool,
    then: Then,
}

#[derive(Debug)]
enum Then {
    Join,
    Adopt(BTreeSet<TopicPartition>),
}

impl Group {
    pub(super) fn new(member: GroupMembership) -> Self {
        Self { member, step: Step::Idle, joined: BTreeSet::new(), watched: None, last: None }
    }

    /// Gives membership up, and with it whatever was going on.
    pub(super) fn resign(&mut self, reason: &str) {
        self.member.resign(reason);
        (self.step, self.watched) = (Step::Idle, None);
    }

    /// The other members' topics, which the leader keeps an eye on.
    pub(super) fn watched(&self) -> impl Iterator<Item = &TopicName> {
        let electing = match &self.step {
            Step::Electing { topics, .. } => Some(topics),
            _ => None,
        };
        self.watched.iter().flat_map(|watched| &watched.topics).chain(electing.into_iter().flatten())
    }

    /// Whether an election waits for a look at the cluster.
    pub(super) fn needs_look(&self) -> bool {
        matches!(self.step, Step::Electing { .. })
    }

    /// Joins again if the subscription or what the leader shared out has changed.
    fn notice_changes(&mut self, wanted: &BTreeSet<TopicName>, metadata: &Metadata) {
        if self.member.is_rebalancing() {
            return;
        }
        if self.joined != *wanted {
            self.member.rejoin("the subscription has changed");
        }
        let changed = |watched: &mut Watched| counts(metadata, &watched.topics) != watched.counts;
        if self.watched.take_if(changed).is_some() {
            self.member.rejoin("topics of the group have changed");
        }
    }
}

pub(super) fn group_config(config: &super::ConsumerConfig) -> Result<GroupConfig> {
    let missing = || Error::config("group.id", "must be set to subscribe");
    Ok(GroupConfig {
        group_id: config.group_id.clone().ok_or_else(missing)?,
        group_instance_id: config.group_instance_id.clone(),
        protocol_type: PROTOCOL_TYPE.to_owned(),
        session_timeout: config.session_timeout,
        heartbeat_interval: config.heartbeat_interval,
        rebalance_timeout: config.max_poll_interval,
        max_poll_interval: Some(config.max_poll_interval),
    })
}

impl Consumer {
    /// Does what the group asks for, up to what the caller must know.
    pub(super) fn rebalance(&mut self, now: Instant) -> Result<Option<ConsumerEvent>> {
        loop {
            let metadata = self.client.metadata();
            let Some(group) = &mut self.group else { return Ok(None) };
            match std::mem::replace(&mut group.step, Step::Idle) {
                // What a pattern matches must be known before it is told to the group.
                Step::Idle if self.wanted.is_open() => return Ok(None),
                Step::Idle => {
                    group.notice_changes(self.wanted.topics(), &metadata);
                    let event = group.member.try_next().inspect_err(|_| {
                        if self.rebalance_began.take().is_some() {
                            self.meters.failed_rebalances.count(1);
                        }
                    });
                    let Some(event) = event? else { return Ok(None) };
                    let told = match event {
                        GroupEvent::Prepare { kept } => {
                            self.rebalance_began.get_or_insert(now);
                            self.prepare(now, kept)
                        }
                        GroupEvent::Elected(election) => {
                            self.elected(election);
                            None
                        }
                        GroupEvent::Assigned(assignment) => self.assigned(now, assignment)?,
                    };
                    if told.is_some() {
                        return Ok(told);
                    }
                }
                Step::Committing { giving_up, mut outcome, until } => {
                    match outcome.try_recv() {
                        Err(oneshot::error::TryRecvError::Empty) if now < until => {
                            group.step = Step::Committing { giving_up, outcome, until };
                            return Ok(None);
                        }
                        Ok(Err(error)) => {
                            tracing::warn!(%error, "offsets not committed before a rebalance");
                        }
                        _ => {}
                    }
                    if let Some(event) = self.tell(now, giving_up) {
                        return Ok(Some(event));
                    }
                }
                Step::Told(giving_up) => {
                    if let Some(event) = self.give_up(now, giving_up) {
                        return Ok(Some(event));
                    }
                }
                Step::Electing { election, members, topics, look } => {
                    if !self.looking.has_done(look) {
                        group.step = Step::Electing { election, members, topics, look };
                        return Ok(None);
                    }
                    let counts = counts(&metadata, &topics);
                    let shares = share_out(&election, &counts, &members);
                    group.watched = Some(Watched { topics, counts });
                    match shares {
                        Ok(shares) => group.member.share_out(shares),
                        Err(error) => group.member.give_up_election(error),
                    }
                }
            }
        }
    }

    pub(super) fn rebalance_wakeup(&self) -> Option<Instant> {
        match self.group.as_ref()?.step {
            Step::Committing { until, .. } => Some(until),
            _ => None,
        }
    }

    fn is_cooperative(&self) -> bool {
        self.config.assignment_strategies.iter().all(|strategy| strategy.is_cooperative())
    }

    fn prepare(&mut self, now: Instant, kept: bool) -> Option<ConsumerEvent> {
        let mut partitions = self.partitions.names();
        if kept && self.is_cooperative() {
            partitions.retain(|partition| !self.wanted.topics().contains(&partition.topic));
        }
        let giving_up = GivingUp { partitions, lost: !kept, then: Then::Join };
        self.commit_first(now, giving_up)
    }

    /// Commits what has been read, if that is the consumer's task and still possible, then tells the caller.
    fn commit_first(&mut self, now: Instant, giving_up: GivingUp) -> Option<ConsumerEvent> {
        // What is read from here on could not be committed any more.
        self.partitions.revoke(&giving_up.partitions);
        let offsets = self.partitions.positions();
        if giving_up.lost || !self.commits_by_itself() || offsets.is_empty() {
            return self.tell(now, giving_up);
        }
        let Ok(commit) = self.begin_commit(offsets, true) else { return self.tell(now, giving_up) };
        let (tell, outcome) = oneshot::channel();
        self.work.spawn(async move {
            // Nobody waits for it if the rebalance has gone on.
            tell.send(commit.await).ok();
            Done::Nudge
        });
        let until = now + self.config.max_poll_interval;
        if let Some(group) = &mut self.group {
            group.step = Step::Committing { giving_up, outcome, until };
        }
        None
    }

    fn tell(&mut self, now: Instant, giving_up: GivingUp) -> Option<ConsumerEvent> {
        if giving_up.partitions.is_empty() {
            return self.give_up(now, giving_up);
        }
        let partitions: Vec<TopicPartition> = giving_up.partitions.iter().cloned().collect();
        let lost = giving_up.lost;
        if let Some(group) = &mut self.group {
            group.step = Step::Told(giving_up);
        }
        Some(if lost { ConsumerEvent::Lost(partitions) } else { ConsumerEvent::Revoked(partitions) })
    }

    fn give_up(&mut self, now: Instant, giving_up: GivingUp) -> Option<ConsumerEvent> {
        for partition in &giving_up.partitions {
            self.partitions.remove(partition);
        }
        match giving_up.then {
            Then::Join => {
                self.join();
                None
            }
            Then::Adopt(assigned) => {
                if let Some(group) = self.group.as_ref().filter(|_| !giving_up.partitions.is_empty()) {
                    group.member.rejoin("partitions were given up; the group may share them out");
                }
                Some(self.adopt(now, assigned))
            }
        }
    }

    fn join(&mut self) {
        let strategies = self.config.assignment_strategies.clone();
        let client_rack = self.config.client_rack.clone();
        let Some(group) = &mut self.group else { return };
        group.watched = None;
        group.joined.clone_from(self.wanted.topics());
        let subscription = Subscription {
            topics: group.joined.clone(),
            owned: self.partitions.names(),
            generation: group.member.generation().map(|generation| generation.id),
            last: group.last.clone(),
            client_rack,
        };
        let protocol = |strategy: AssignmentStrategy| {
            let metadata = subscription.to_bytes(strategy);
            let refused = |error: &Error| tracing::warn!(%error, "a strategy is left out");
            let metadata = metadata.inspect_err(refused).ok()?;
            Some(GroupProtocol { name: strategy.name().to_owned(), metadata })
        };
        group.member.prepared(strategies.into_iter().filter_map(protocol).collect());
    }

    fn elected(&mut self, election: Election) {
        let (look, metadata) = (self.looking.next(), self.client.metadata());
        let stale = self.client.is_stale();
        let Some(group) = &mut self.group else { return };
        let read = || {
            let strategy = strategy(&election.protocol)?;
            let read = |member: &crate::JoinedMember| {
                Ok((member.member_id.clone(), read_subscription(strategy, member)?))
            };
            election.members.iter().map(read).collect::<Result<Members>>()
        };
        match read() {
            Ok(members) => {
                let wanted = members.values().flat_map(|member| member.topics.iter().cloned());
                let topics: BTreeSet<TopicName> = wanted.collect();
                let is_known = !stale && topics.iter().all(|topic| metadata.topic(topic).is_some());
                let look = if is_known { NO_LOOK } else { look };
                group.step = Step::Electing { election, members, topics, look };
            }
            Err(error) => group.member.give_up_election(error),
        }
    }

    fn assigned(&mut self, now: Instant, assignment: Assignment) -> Result<Option<ConsumerEvent>> {
        let assigned = read_assignment(assignment.assignment)?;
        let Some(group) = &mut self.group else { return Ok(None) };
        if !group.member.is_leader() {
            group.watched = None;
        }
        if let Some(stranger) = assigned.iter().find(|partition| !self.wanted.accepts(&partition.topic)) {
            tracing::warn!(partition = %stranger, "assigned without being subscribed to; joining again");
            group.member.rejoin("the assignment does not fit the subscription");
            return Ok(None);
        }
        let generation = Some(assignment.generation.id);
        group.last = Some(StickyData { assignment: assigned.iter().cloned().collect(), generation });
        let held = self.partitions.names();
        let partitions: BTreeSet<_> = held.difference(&assigned).cloned().collect();
        let giving_up = GivingUp { partitions, lost: false, then: Then::Adopt(assigned) };
        Ok(if giving_up.partitions.is_empty() {
            self.give_up(now, giving_up)
        } else {
            self.commit_first(now, giving_up)
        })
    }

    fn adopt(&mut self, now: Instant, assigned: BTreeSet<TopicPartition>) -> ConsumerEvent {
        let mut added = Vec::new();
        for partition in assigned {
            if !self.partitions.contains(&partition) {
                self.partitions.insert(partition.clone(), Assigned::anywhere());
                added.push(partition);
            }
        }
        if let Some(began) = self.rebalance_began.take() {
            self.meters.rebalances.took(now.saturating_duration_since(began));
        }
        self.meters.keep(|partition| self.partitions.contains(partition));
        let interval: Duration = self.config.auto_commit_interval;
        self.commits.restart(now, interval);
        ConsumerEvent::Assigned(added)
    }
}

fn strategy(name: &str) -> Result<AssignmentStrategy> {
    name.parse().map_err(|error| Error::config("partition.assignment.strategy", error))
}

fn share_out(
    election: &Election,
    counts: &PartitionCounts,
    members: &Members,
) -> Result<Vec<(String, bytes::Bytes)>> {
    if election.skip_assignment {
        return Ok(Vec::new());
    }
    let assignments = strategy(&election.protocol)?.assign(counts, members);
    let write = |(id, assigned): (String, Vec<TopicPartition>)| Ok((id, write_assignment(&assigned)?));
    assignments.into_iter().map(write).collect()
}
