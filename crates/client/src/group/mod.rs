//! Membership of groups of the classic protocol, of whatever type: consumers, Connect workers and schema
//! registries are members of the same kind, and differ in what their bytes mean.
//!
//! A [`GroupMembership`] is driven by its owner, who asks for what is to be done next and does it; meanwhile a
//! task keeps the member alive, also while the owner's code blocks a thread, as long as the runtime has
//! another. The logic is `membership.rs`, which does no I/O.

mod membership;
mod request;
#[cfg(test)]
mod simulation;
mod task;
#[cfg(test)]
mod tests;
mod timing;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_types::{ErrorCode, GenerationId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::membership::Membership;
use crate::{
    Client, Error, Result,
    metrics::{GroupMeters, Windows},
};

/// Who a member is, and how patient everyone is with it.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// `group.id`
    pub group_id: String,
    /// `group.instance.id`: a static member, which may go and come back without a rebalance (KIP-345).
    pub group_instance_id: Option<String>,
    /// `consumer`, `connect`, `sr` …: members of one group have one type.
    pub protocol_type: String,
    /// `session.timeout.ms`: how long the coordinator waits for a heartbeat.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// How long the coordinator waits for members to join a rebalance.
    pub rebalance_timeout: Duration,
    /// `max.poll.interval.ms`: a member whose owner does not ask for so long leaves. None: for ever.
    pub max_poll_interval: Option<Duration>,
}

/// A way of sharing the work out that a member is capable of, and what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupProtocol {
    pub name: String,
    pub metadata: Bytes,
}

/// A member's place in its group. Commits carry it, so that a member that was left behind cannot commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    pub id: GenerationId,
    pub member_id: String,
    /// The protocol that the group has agreed on.
    pub protocol: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub metadata: Bytes,
}

/// This member shares the work out among all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    pub generation: GenerationId,
    pub protocol: String,
    pub members: Vec<JoinedMember>,
    /// What the coordinator has of the last election stands (KIP-814): nothing is to be shared out, only
    /// watched.
    pub skip_assignment: bool,
}

/// This member's share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub generation: Generation,
    pub assignment: Bytes,
}

/// What a member's owner has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// The group is about to be joined, for the first time or again: give up what must be, then call
    /// [`GroupMembership::prepared`]. Unless it is `kept`, whatever was assigned is lost already, and others
    /// may have it.
    Prepare { kept: bool },
    /// Share the work out, then call [`GroupMembership::share_out`].
    Elected(Election),
    /// Take this on.
    Assigned(Assignment),
}

struct Shared {
    membership: Mutex<Membership>,
    /// Wakes the task: the membership has something to send.
    work: Notify,
    /// Wakes the owner: there may be something for it to do.
    news: Notify,
    meters: Arc<GroupMeters>,
}

/// One member of one group. Dropping it leaves the group without waiting.
pub struct GroupMembership {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for GroupMembership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GroupMembership").field(&*self.shared.membership.lock()).finish()
    }
}

impl GroupMembership {
    /// Not a member yet: [`GroupMembership::enter`] makes it one. Must be called within a runtime, where the
    /// member's task then lives.
    pub fn new(client: Client, config: GroupConfig) -> Result<Self> {
        check(&config)?;
        let retry = (client.config().retry_backoff, client.config().retry_backoff_max);
        let shared = Arc::new(Shared {
            membership: Mutex::new(Membership::new(config, retry, Instant::now())),
            work: Notify::new(),
            news: Notify::new(),
            meters: Arc::new(GroupMeters::new(Windows::of(client.config()))),
        });
        tokio::spawn(task::run(client, Arc::clone(&shared)));
        Ok(Self { shared })
    }

    pub(crate) fn meters(&self) -> &GroupMeters {
        &self.shared.meters
    }

    /// Wants to be a member from now on.
    pub fn enter(&self) {
        self.change(|membership| membership.enter(Instant::now()));
    }

    /// The owner is at work: see `max.poll.interval.ms`.
    pub fn polled(&self) {
        self.shared.membership.lock().polled(Instant::now());
    }

    /// What the owner has to do, if anything now. A failure is told once; whoever asks again after it tries
    /// to join again.
    pub fn try_next(&self) -> Result<Option<GroupEvent>> {
        let mut membership = self.shared.membership.lock();
        let event = membership.demand();
        // Not otherwise: owner and task would wake each other for ever.
        if membership.has_something_to_send() {
            self.shared.work.notify_one();
        }
        event
    }

    /// Waits until there is something to do for the owner. To be called from one place at a time.
    pub async fn next(&self) -> Result<GroupEvent> {
        loop {
            self.polled();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            // Once in a while all the same, for `polled`.
            let pause = {
                let membership = self.shared.membership.lock();
                let config = membership.config();
                config.max_poll_interval.map_or(config.heartbeat_interval, |interval| interval / 3)
            };
            tokio::time::timeout(pause, self.shared.news.notified()).await.ok();
        }
    }

    /// Completes when [`GroupMembership::try_next`] may have something, perhaps earlier.
    pub async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// Ready to join, with these protocols, the one it likes best first.
    pub fn prepared(&self, protocols: Vec<GroupProtocol>) {
        self.change(|membership| membership.prepared(protocols));
    }

    /// Each member's share, by member id, after an election.
    pub fn share_out(&self, assignments: Vec<(String, Bytes)>) {
        self.change(|membership| membership.share_out(assignments));
    }

    /// Nothing can be shared out; the owner is told so by [`GroupMembership::try_next`].
    pub fn give_up_election(&self, error: Error) {
        self.change(|membership| membership.give_up_election(error));
    }

    /// Something that the owner said of itself has changed: join again once the group is stable.
    pub fn rejoin(&self, reason: &str) {
        self.change(|membership| membership.rejoin(reason));
    }

    /// None while it has no place in the group.
    pub fn generation(&self) -> Option<Generation> {
        self.shared.membership.lock().generation()
    }

    pub fn group_id(&self) -> String {
        self.shared.membership.lock().config().group_id.clone()
    }

    pub fn group_instance_id(&self) -> Option<String> {
        self.shared.membership.lock().config().group_instance_id.clone()
    }

    pub fn is_leader(&self) -> bool {
        self.shared.membership.lock().is_leader()
    }

    pub fn is_rebalancing(&self) -> bool {
        self.shared.membership.lock().is_rebalancing()
    }

    /// The generation to commit in; an error without one, or in the midst of a rebalance, when a commit would
    /// come too late.
    pub fn commit_generation(&self) -> Result<Generation, ErrorCode> {
        self.shared.membership.lock().commit_generation()
    }

    /// A commit in this generation was refused with this code.
    pub fn commit_refused(&self, generation: GenerationId, code: ErrorCode) {
        self.change(|membership| membership.commit_refused(generation, code));
    }

    /// For whoever commits while the owner goes on.
    pub(crate) fn feedback(&self) -> Feedback {
        Feedback(Arc::downgrade(&self.shared))
    }

    /// Gives membership up without waiting; [`GroupMembership::enter`] begins anew.
    pub fn resign(&self, reason: &str) {
        self.change(|membership| membership.leave(reason));
    }

    /// Gives membership up, and waits until the coordinator knows, or cannot be told. A static member does
    /// not tell it.
    pub async fn leave(self, reason: &str) {
        self.resign(reason);
        while !self.shared.membership.lock().is_over() {
            self.shared.news.notified().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Membership)) {
        change(&mut self.shared.membership.lock());
        self.shared.work.notify_one();
    }
}

impl Drop for GroupMembership {
    fn drop(&mut self) {
        self.change(|membership| membership.leave("the member is closed"));
    }
}

/// Tells a member of refused commits, if it is still there.
pub(crate) struct Feedback(Weak<Shared>);

impl Feedback {
    pub(crate) fn commit_refused(&self, generation: GenerationId, code: ErrorCode) {
        if let Some(shared) = self.0.upgrade() {
            shared.membership.lock().commit_refused(generation, code);
            shared.work.notify_one();
        }
    }
}

fn check(config: &GroupConfig) -> Result<()> {
    if config.group_id.is_empty() {
        return Err(Error::config("group.id", "must not be empty"));
    }
    if config.group_instance_id.as_ref().is_some_and(String::is_empty) {
        return Err(Error::config("group.instance.id", "must not be empty"));
    }
    if config.heartbeat_interval.is_zero() {
        return Err(Error::config("heartbeat.interval.ms", "must be at least 1"));
    }
    if config.heartbeat_interval >= config.session_timeout {
        return Err(Error::config(
            "heartbeat.interval.ms",
            format!(
                "{} is not less than session.timeout.ms, {}",
                config.heartbeat_interval.as_millis(),
                config.session_timeout.as_millis()
            ),
        ));
    }
    Ok(())
}
