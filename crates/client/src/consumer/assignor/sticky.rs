//! `sticky` and `cooperative-sticky`: balance first, then as few moves as possible. What they share, and
//! the bytes in which members say what they hold. Java's `AbstractStickyAssignor` and its two heirs.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_types::{
    GenerationId, PartitionId, TopicName, TopicPartition,
    codec::{DecodeError, Reader, Writer},
};

use super::{Assignments, Members, PartitionCounts, constrained, general};

/// Which partitions each member may go on holding, and what was wrong with its claims.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) owned: BTreeMap<String, Vec<TopicPartition>>,
    /// Claimed by several members of one generation: nobody's.
    pub(super) disputed: BTreeSet<TopicPartition>,
}

impl Claims {
    /// Of several claims to a partition that of the latest generation counts.
    pub(super) fn new(counts: &PartitionCounts, members: &Members) -> Self {
        let mut claims = Self::default();
        let mut owners: BTreeMap<&TopicPartition, (&String, Option<GenerationId>)> = BTreeMap::new();
        for (id, member) in members {
            claims.owned.insert(id.clone(), Vec::new());
            for partition in &member.owned {
                if !counts.contains_key(&partition.topic) {
                    continue;
                }
                match owners.get(partition).copied() {
                    Some((_, since)) if since > member.generation => continue,
                    Some((other, since)) => {
                        claims.withdraw(other, partition);
                        owners.insert(partition, (id, member.generation));
                        if since == member.generation {
                            tracing::warn!(%partition, members = ?[other, id], "claimed by two members");
                            claims.disputed.insert(partition.clone());
                            continue;
                        }
                    }
                    None => {
                        owners.insert(partition, (id, member.generation));
                    }
                }
                claims.owned.entry(id.clone()).or_default().push(partition.clone());
            }
        }
        claims
    }

    fn withdraw(&mut self, member: &str, partition: &TopicPartition) {
        if let Some(owned) = self.owned.get_mut(member) {
            owned.retain(|held| held != partition);
        }
    }
}

pub(super) fn assign(counts: &PartitionCounts, members: &Members) -> Assignments {
    let mut subscriptions = members.values().map(|member| &member.topics);
    let first = subscriptions.next();
    if subscriptions.all(|topics| Some(topics) == first) {
        constrained::assign(counts, members)
    } else {
        general::assign(counts, members)
    }
}

/// What changes hands is given to its new owner only in the next rebalance, once the old one has let go.
pub(super) fn assign_cooperatively(counts: &PartitionCounts, members: &Members) -> Assignments {
    let mut assignments = assign(counts, members);
    let disputed = Claims::new(counts, members).disputed;
    let mut holders: BTreeMap<&TopicPartition, BTreeSet<&String>> = BTreeMap::new();
    for (id, member) in members {
        for held in &member.owned {
            holders.entry(held).or_default().insert(id);
        }
    }
    for (id, assigned) in &mut assignments {
        assigned.retain(|partition| {
            let held = holders.get(partition);
            held.is_none_or(|holders| holders.contains(id) && !disputed.contains(partition))
        });
    }
    assignments
}

/// What a member of `sticky` says in its user data: its last assignment, for it gives up everything before
/// it joins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::consumer) struct StickyData {
    pub(in crate::consumer) assignment: Vec<TopicPartition>,
    /// None from clients before Kafka 2.3.
    pub(in crate::consumer) generation: Option<GenerationId>,
}

impl StickyData {
    pub(in crate::consumer) fn to_bytes(&self) -> Bytes {
        let mut by_topic: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
        for partition in &self.assignment {
            by_topic.entry(&partition.topic).or_default().push(partition.partition.0);
        }
        let mut w = Writer::new();
        w.i32(i32::try_from(by_topic.len()).unwrap_or(i32::MAX));
        for (topic, numbers) in by_topic {
            let name = topic.as_str();
            w.i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
            w.put_slice(name.as_bytes());
            w.i32(i32::try_from(numbers.len()).unwrap_or(i32::MAX));
            for number in numbers {
                w.i32(number);
            }
        }
        w.i32(GenerationId::to_wire(self.generation));
        w.into_bytes()
    }

    pub(in crate::consumer) fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let mut data = Self::default();
        let topics: Vec<(String, Vec<i32>)> = r.array(false, |r| {
            let topic = r.string(false)?;
            Ok((topic, r.array(false, Reader::i32)?))
        })?;
        for (topic, numbers) in topics {
            // No topic has an illegal name, whoever says that it holds one.
            let Ok(topic) = TopicName::parse(&topic) else { continue };
            let partition = |number| TopicPartition::new(topic.clone(), PartitionId(number));
            data.assignment.extend(numbers.into_iter().map(partition));
        }
        if !r.is_empty() {
            data.generation = GenerationId::from_wire(r.i32()?);
        }
        Ok(data)
    }
}

/// What a member of `cooperative-sticky` says in its user data: the generation of its last assignment. What
/// it holds stands in the subscription itself.
pub(in crate::consumer) fn cooperative_user_data(generation: Option<GenerationId>) -> Bytes {
    let mut w = Writer::new();
    w.i32(GenerationId::to_wire(generation));
    w.into_bytes()
}

/// What a member of a sticky group holds, and since when.
pub(in crate::consumer) fn owned_of(
    cooperative: bool,
    user_data: Option<Bytes>,
    owned: Vec<TopicPartition>,
    generation: Option<GenerationId>,
) -> StickyData {
    let user_data = user_data.filter(|bytes| !bytes.is_empty());
    if !cooperative {
        let data = user_data.map(StickyData::from_bytes).transpose();
        return data
            .inspect_err(|error| tracing::warn!(%error, "a member's sticky user data is not readable"))
            .unwrap_or_default()
            .unwrap_or_default();
    }
    // Before version 2 of the subscription the generation stood in the user data.
    let older = || user_data.and_then(|bytes| GenerationId::from_wire(Reader::new(bytes).i32().ok()?));
    StickyData { assignment: owned, generation: generation.or_else(older) }
}
