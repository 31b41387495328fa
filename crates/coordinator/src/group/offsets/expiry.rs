//! When committed offsets are forgotten (KIP-211): `offsets.retention.minutes` after the group became empty,
//! or, for topics that a stable group of consumers no longer reads, after the commit.

use millstream_types::TimestampMs;

use super::Offsets;
use crate::group::{
    classic::ClassicGroup,
    outcome::Outcome,
    records::{GroupRecord, StoredOffset},
};

/// What looking through one group has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remaining {
    Nothing,
    Something,
}

/// From when on the retention of a group's offsets counts.
#[derive(Debug, Clone, Copy)]
enum RetainedSince {
    GroupEmptied(TimestampMs),
    Commit,
    /// The group is alive: nothing expires.
    Forever,
}

impl Offsets {
    /// Tombstones for the expired offsets of a group, at most `records_max` in `out` altogether.
    pub(crate) fn expire(
        &self,
        group_id: &str,
        group: &ClassicGroup,
        retention_ms: i64,
        now: TimestampMs,
        records_max: usize,
        out: &mut Outcome,
    ) -> Remaining {
        let mut remaining = match self.has_pending_group(group_id) {
            true => Remaining::Something,
            false => Remaining::Nothing,
        };
        let since = retained_since(group);
        let topics = self.committed.get(group_id).into_iter().flatten();
        for (topic, partitions) in topics {
            let subscribed = group.is_subscribed_to(topic.as_str());
            for (partition, replayed) in partitions {
                let expired = !subscribed
                    && is_expired(&replayed.stored, since, retention_ms, now)
                    && !self.is_pending(group_id, topic.as_str(), *partition);
                if expired && out.records.len() < records_max {
                    let (group_id, topic, partition) = (group_id.to_owned(), topic.clone(), *partition);
                    out.records.push(GroupRecord::Offset { group_id, topic, partition, value: None });
                } else {
                    remaining = Remaining::Something;
                }
            }
        }
        remaining
    }
}

fn retained_since(group: &ClassicGroup) -> RetainedSince {
    match group.protocol_type() {
        // Nobody has ever joined: only offsets are kept here.
        None => RetainedSince::Commit,
        // A group written before it said since when it is empty goes by its commits.
        Some(_) if group.is_empty() => {
            group.state_since().map_or(RetainedSince::Commit, RetainedSince::GroupEmptied)
        }
        Some(_) if group.is_stable() && group.knows_subscriptions() => RetainedSince::Commit,
        Some(_) => RetainedSince::Forever,
    }
}

fn is_expired(stored: &StoredOffset, since: RetainedSince, retention_ms: i64, now: TimestampMs) -> bool {
    let since = match since {
        RetainedSince::GroupEmptied(since) => since,
        RetainedSince::Commit => stored.committed_at,
        RetainedSince::Forever => return false,
    };
    match stored.expires_at {
        Some(expires_at) => now >= expires_at,
        None => now.since(since) >= retention_ms,
    }
}
