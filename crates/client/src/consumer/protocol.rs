//! What the members of a consumer group say to each other: subscriptions go to the leader, assignments come
//! back. The bytes are those of Java's `ConsumerProtocol`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_record::{
    internal::encode_versioned,
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, consumer_protocol_assignment,
        consumer_protocol_subscription,
    },
};
use millstream_types::{
    GenerationId, PartitionId, TopicName, TopicPartition,
    codec::{DecodeError, Message, Reader},
};

use super::assignor::{AssignmentStrategy, MemberSubscription, StickyData, cooperative_user_data, owned_of};
use crate::{Error, JoinedMember, Result};

/// What this member tells the group's leader of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: BTreeSet<TopicName>,
    /// What it holds while it joins, and since when; nothing under an eager strategy.
    pub(super) owned: BTreeSet<TopicPartition>,
    pub(super) generation: Option<GenerationId>,
    /// What it was last assigned, for those strategies that do not see it in `owned`.
    pub(super) last: Option<StickyData>,
    pub(super) client_rack: Option<String>,
}

impl Subscription {
    /// The metadata that goes with one strategy.
    pub(super) fn to_bytes(&self, strategy: AssignmentStrategy) -> Result<Bytes> {
        let user_data = match strategy {
            AssignmentStrategy::Range | AssignmentStrategy::RoundRobin => None,
            AssignmentStrategy::Sticky => self.last.as_ref().map(StickyData::to_bytes),
            AssignmentStrategy::CooperativeSticky => {
                Some(cooperative_user_data(self.last.as_ref().and_then(|last| last.generation)))
            }
        };
        let owned = by_topic(&self.owned).into_iter().map(|(topic, partitions)| {
            consumer_protocol_subscription::TopicPartition { topic: topic.to_string(), partitions }
        });
        let subscription = ConsumerProtocolSubscription {
            topics: self.topics.iter().map(TopicName::to_string).collect(),
            user_data,
            owned_partitions: owned.collect(),
            generation_id: GenerationId::to_wire(self.generation),
            rack_id: self.client_rack.clone(),
        };
        encode_versioned(&subscription, ConsumerProtocolSubscription::LATEST_VERSION)
            .map_err(|error| Error::malformed("the subscription", error))
    }
}

/// What another member said of itself.
pub(super) fn read_subscription(
    strategy: AssignmentStrategy,
    member: &JoinedMember,
) -> Result<MemberSubscription> {
    let read = newest_known::<ConsumerProtocolSubscription>(member.metadata.clone());
    let said = read.map_err(|error| {
        Error::malformed(format!("the subscription of member {}", member.member_id), error)
    })?;
    let owned = said.owned_partitions.iter().flat_map(|held| to_partitions(&held.topic, &held.partitions));
    let generation = GenerationId::from_wire(said.generation_id);
    let cooperative = strategy.is_cooperative();
    let held = owned_of(cooperative, said.user_data, owned.collect(), generation);
    Ok(MemberSubscription {
        group_instance_id: member.group_instance_id.clone(),
        topics: said.topics.iter().filter_map(|topic| TopicName::parse(topic).ok()).collect(),
        owned: held.assignment,
        generation: held.generation,
    })
}

pub(super) fn write_assignment(assigned: &[TopicPartition]) -> Result<Bytes> {
    let assigned = by_topic(assigned).into_iter().map(|(topic, partitions)| {
        consumer_protocol_assignment::TopicPartition { topic: topic.to_string(), partitions }
    });
    let assignment = ConsumerProtocolAssignment { assigned_partitions: assigned.collect(), user_data: None };
    encode_versioned(&assignment, ConsumerProtocolAssignment::LATEST_VERSION)
        .map_err(|error| Error::malformed("the assignment", error))
}

pub(super) fn read_assignment(bytes: Bytes) -> Result<BTreeSet<TopicPartition>> {
    // Some leaders send nothing where they mean no partitions.
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let read = newest_known::<ConsumerProtocolAssignment>(bytes);
    let assignment = read.map_err(|error| Error::malformed("the assignment", error))?;
    let topics = assignment.assigned_partitions;
    Ok(topics.iter().flat_map(|topic| to_partitions(&topic.topic, &topic.partitions)).collect())
}

/// A newer layout begins as the newest known does.
fn newest_known<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    M::read(&mut r, version.min(M::LATEST_VERSION))
}

fn by_topic<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> BTreeMap<&'a TopicName, Vec<i32>> {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.0);
    }
    topics
}

fn to_partitions(topic: &str, numbers: &[i32]) -> Vec<TopicPartition> {
    // No topic has an illegal name.
    let Ok(topic) = TopicName::parse(topic) else { return Vec::new() };
    numbers.iter().map(|number| TopicPartition::new(topic.clone(), PartitionId(*number))).collect()
}
