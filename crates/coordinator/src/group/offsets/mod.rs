//! The committed offsets of all groups of a shard. Durable state: it changes only as records are replayed.
//!
//! Offsets that were committed in a transaction count from its end on, if it is committed; until then they
//! are kept aside by producer (KIP-98), and a reader who asks for stable offsets is told to wait (KIP-447).

mod expiry;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use millstream_types::{Offset, PartitionId, ProducerId, TopicName};

pub(crate) use self::{expiry::Remaining, requests::commit};
use super::records::StoredOffset;

/// Topic to partition to what it holds.
type ByPartition<T> = BTreeMap<TopicName, BTreeMap<PartitionId, T>>;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Offsets {
    /// By group id; a group or topic without offsets has no entry.
    committed: BTreeMap<String, ByPartition<Replayed>>,
    pending: BTreeMap<ProducerId, BTreeMap<String, ByPartition<Replayed>>>,
}

/// An offset, and where the record stands that committed it.
#[derive(Debug, Clone, PartialEq)]
struct Replayed {
    stored: StoredOffset,
    at: Offset,
}

/// Names one committed offset within its group.
type Place = (TopicName, PartitionId);

impl Offsets {
    pub(crate) fn replay(
        &mut self,
        group_id: String,
        (topic, partition): Place,
        value: Option<StoredOffset>,
        at: Offset,
        producer: Option<ProducerId>,
    ) {
        match (value, producer) {
            (Some(stored), None) => {
                put(&mut self.committed, group_id, (topic, partition), Replayed { stored, at })
            }
            (Some(stored), Some(producer)) => {
                let pending = self.pending.entry(producer).or_default();
                put(pending, group_id, (topic, partition), Replayed { stored, at });
            }
            (None, _) => {
                remove(&mut self.committed, &group_id, &topic, partition);
                for pending in self.pending.values_mut() {
                    remove(pending, &group_id, &topic, partition);
                }
                self.pending.retain(|_, groups| !groups.is_empty());
            }
        }
    }

    /// Of a transactional and a plain commit, the one that stands later in the log wins, whenever the
    /// transaction ends: after compaction only that one may be left.
    pub(crate) fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        let pending = self.pending.remove(&producer).unwrap_or_default();
        for (group_id, topics) in pending {
            for (topic, partitions) in topics {
                for (partition, replayed) in partitions {
                    let current = self.find(&group_id, topic.as_str(), partition);
                    if committed && current.is_none_or(|current| current.at < replayed.at) {
                        put(&mut self.committed, group_id.clone(), (topic.clone(), partition), replayed);
                    }
                }
            }
        }
    }

    /// The groups that have offsets, or are about to have some.
    pub(crate) fn group_ids(&self) -> BTreeSet<String> {
        let pending = self.pending.values().flat_map(BTreeMap::keys);
        self.committed.keys().chain(pending).cloned().collect()
    }

    pub(crate) fn has_group(&self, group_id: &str) -> bool {
        self.committed.contains_key(group_id) || self.has_pending_group(group_id)
    }

    fn has_pending_group(&self, group_id: &str) -> bool {
        self.pending.values().any(|groups| groups.contains_key(group_id))
    }

    fn find(&self, group_id: &str, topic: &str, partition: PartitionId) -> Option<&Replayed> {
        self.committed.get(group_id)?.get(topic)?.get(&partition)
    }

    fn is_pending(&self, group_id: &str, topic: &str, partition: PartitionId) -> bool {
        let holds = |groups: &BTreeMap<String, ByPartition<Replayed>>| {
            groups
                .get(group_id)
                .and_then(|topics| topics.get(topic))
                .is_some_and(|held| held.contains_key(&partition))
        };
        self.pending.values().any(holds)
    }

    /// Committed or pending.
    fn places(&self, group_id: &str) -> BTreeSet<Place> {
        let pending = self.pending.values().filter_map(|groups| groups.get(group_id));
        let all = self.committed.get(group_id).into_iter().chain(pending);
        all.flat_map(|topics| {
            topics.iter().flat_map(|(topic, held)| held.keys().map(|partition| (topic.clone(), *partition)))
        })
        .collect()
    }
}

fn put(
    groups: &mut BTreeMap<String, ByPartition<Replayed>>,
    group_id: String,
    (topic, partition): Place,
    replayed: Replayed,
) {
    groups.entry(group_id).or_default().entry(topic).or_default().insert(partition, replayed);
}

fn remove(
    groups: &mut BTreeMap<String, ByPartition<Replayed>>,
    group_id: &str,
    topic: &TopicName,
    partition: PartitionId,
) {
    let Some(topics) = groups.get_mut(group_id) else { return };
    let Some(partitions) = topics.get_mut(topic) else { return };
    partitions.remove(&partition);
    if partitions.is_empty() {
        topics.remove(topic);
    }
    if topics.is_empty() {
        groups.remove(group_id);
    }
}
