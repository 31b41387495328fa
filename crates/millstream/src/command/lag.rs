//! How far a group is behind: in records, and in the time since the first record that it has not read was
//! written.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Result;
use millstream_client::{
    Admin, Client, CommittedOffset, Consumer, ConsumerConfig, GroupDescription, IsolationLevel,
};
use millstream_types::{Offset, TimestampMs, TopicName, TopicPartition};

use super::{
    position::{Bounds, bounds},
    time,
};

/// How long reading the first records may take; what is not known then stays unknown.
const READ_LIMIT: Duration = Duration::from_secs(3);
/// Of one answer, and of one partition in it: one batch is enough.
const FETCH_BYTES_MAX: i32 = 4 << 20;
const PARTITION_BYTES_MAX: i32 = 64 << 10;

/// One partition that a group has read or is to read.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) committed: Option<CommittedOffset>,
    /// None if the partition is gone.
    pub(super) bounds: Option<Bounds>,
    /// How long the first record that was not read has been there.
    pub(super) seconds: Option<f64>,
}

impl Place {
    pub(super) fn records(&self) -> Option<i64> {
        Some(self.bounds?.end.since(self.committed.as_ref()?.offset).max(0))
    }
}

/// Every partition that the group has committed for, or that its members have been given.
pub(super) async fn places(
    admin: &Admin,
    group: &GroupDescription,
) -> Result<BTreeMap<TopicPartition, Place>> {
    let committed = admin.group_offsets(&group.id).await?;
    let assigned = group.members.iter().flat_map(|member| member.assignment.iter());
    let all: BTreeSet<TopicPartition> = committed.keys().chain(assigned).cloned().collect();
    let known = existing(admin, &all).await?;
    let bounds = bounds(admin, &known, IsolationLevel::ReadUncommitted).await?;
    let place = |partition: TopicPartition| {
        let place = Place {
            committed: committed.get(&partition).cloned(),
            bounds: bounds.get(&partition).copied(),
            seconds: None,
        };
        (partition, place)
    };
    Ok(all.into_iter().map(place).collect())
}

/// Those that are there: of a topic that is gone a leader would be waited for.
async fn existing(admin: &Admin, all: &BTreeSet<TopicPartition>) -> Result<Vec<TopicPartition>> {
    let names: BTreeSet<TopicName> = all.iter().map(|partition| partition.topic.clone()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let topics = admin.describe_topics(&names.into_iter().collect::<Vec<_>>()).await?;
    let has_leader = |partition: &&TopicPartition| {
        let topic = topics.get(&partition.topic).and_then(|topic| topic.as_ref().ok());
        let partition = topic.and_then(|topic| topic.partitions.get(&partition.partition));
        partition.is_some_and(|partition| partition.leader.is_some())
    };
    Ok(all.iter().filter(has_leader).cloned().collect())
}

/// Adds the time, by reading the first record that is not read in each partition.
pub(super) async fn add_seconds(
    client: &Client,
    config: &ConsumerConfig,
    places: &mut BTreeMap<TopicPartition, Place>,
) -> Result<()> {
    let mut unread = BTreeMap::new();
    for (partition, place) in places.iter_mut() {
        let (Some(committed), Some(bounds)) = (&place.committed, place.bounds) else { continue };
        if committed.offset >= bounds.end {
            place.seconds = Some(0.0);
        } else {
            // What was removed unread cannot be read any more.
            unread.insert(partition.clone(), committed.offset.max(bounds.start));
        }
    }
    for (partition, written) in first_times(client, config, unread).await? {
        if let Some(place) = places.get_mut(&partition) {
            place.seconds = Some(time::now().since(written).max(0) as f64 / 1000.0);
        }
    }
    Ok(())
}

async fn first_times(
    client: &Client,
    config: &ConsumerConfig,
    mut unread: BTreeMap<TopicPartition, Offset>,
) -> Result<BTreeMap<TopicPartition, TimestampMs>> {
    let config = ConsumerConfig {
        group_id: None,
        max_poll_records: 1,
        fetch_max_bytes: FETCH_BYTES_MAX,
        max_partition_fetch_bytes: PARTITION_BYTES_MAX,
        isolation_level: IsolationLevel::ReadUncommitted,
        ..config.clone()
    };
    let mut consumer = Consumer::new(client.clone(), config);
    consumer.assign(unread.clone());
    let mut times = BTreeMap::new();
    let started = Instant::now();
    while !unread.is_empty() {
        let left = READ_LIMIT.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        for record in consumer.poll(left).await? {
            if unread.remove(&record.partition).is_some() {
                consumer.unassign(&record.partition);
                times.insert(record.partition, record.timestamp);
            }
        }
    }
    Ok(times)
}

/// `1.5s`, `12m`, `3h`, `2d`: what fits into a column.
pub(super) fn short(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1}s"),
        s if s < 120.0 => format!("{s:.0}s"),
        s if s < 7200.0 => format!("{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{:.0}h", s / 3600.0),
        s => format!("{:.0}d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_in_every_size() {
        let all = [0.0, 9.94, 119.0, 120.0, 7200.0, 172_800.0].map(short);
        assert_eq!(all, ["0.0s", "9.9s", "119s", "2m", "2h", "2d"]);
    }
}
