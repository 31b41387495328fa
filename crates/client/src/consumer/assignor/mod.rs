//! Who in a group reads which partition. Each assignor is a function of the members' subscriptions and the
//! topics' partition counts, and shares out as Java's class of the same name does; the leader's client runs
//! it for all, whatever library the others use. Racks are not looked at.

mod constrained;
mod general;
mod movements;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use millstream_types::{GenerationId, PartitionId, TopicName, TopicPartition};

pub(super) use self::sticky::{StickyData, cooperative_user_data, owned_of};

/// What one member asks for and has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberSubscription {
    pub(super) group_instance_id: Option<String>,
    pub(super) topics: BTreeSet<TopicName>,
    /// What it holds, and since which generation, for the sticky assignors.
    pub(super) owned: Vec<TopicPartition>,
    pub(super) generation: Option<GenerationId>,
}

pub(super) type Members = BTreeMap<String, MemberSubscription>;
pub(super) type PartitionCounts = BTreeMap<TopicName, i32>;
pub(super) type Assignments = BTreeMap<String, Vec<TopicPartition>>;

/// `partition.assignment.strategy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentStrategy {
    /// Of each topic, a run of partitions to each member.
    Range,
    /// All partitions in turn.
    RoundRobin,
    /// Balanced, and as it was as far as possible.
    Sticky,
    /// As sticky, and members go on reading what they keep while the group rebalances (KIP-429).
    CooperativeSticky,
}

impl AssignmentStrategy {
    /// The name under which members agree on it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    pub(super) fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// Every member has an entry, if only an empty one.
    pub(super) fn assign(self, counts: &PartitionCounts, members: &Members) -> Assignments {
        match self {
            Self::Range => range::assign(counts, members),
            Self::RoundRobin => round_robin::assign(counts, members),
            Self::Sticky => sticky::assign(counts, members),
            Self::CooperativeSticky => sticky::assign_cooperatively(counts, members),
        }
    }
}

impl FromStr for AssignmentStrategy {
    type Err = String;

    /// By name or by Java's class.
    fn from_str(text: &str) -> Result<Self, String> {
        let class = text.strip_prefix("org.apache.kafka.clients.consumer.").unwrap_or(text);
        match class {
            "range" | "RangeAssignor" => Ok(Self::Range),
            "roundrobin" | "RoundRobinAssignor" => Ok(Self::RoundRobin),
            "sticky" | "StickyAssignor" => Ok(Self::Sticky),
            "cooperative-sticky" | "CooperativeStickyAssignor" => Ok(Self::CooperativeSticky),
            other => {
                Err(format!("{other:?} is not range, roundrobin, sticky, cooperative-sticky or its class"))
            }
        }
    }
}

/// Members in the order in which Java serves them: static ones by their instance ids, then the rest.
fn in_order(members: &Members) -> Vec<(&String, &MemberSubscription)> {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by_key(|(id, member)| {
        let instance = member.group_instance_id.as_ref();
        (instance.is_none(), instance.unwrap_or(id))
    });
    sorted
}

fn partitions(topic: &TopicName, count: i32) -> impl Iterator<Item = TopicPartition> + use<> {
    let topic = topic.clone();
    (0..count).map(move |number| TopicPartition::new(topic.clone(), PartitionId(number)))
}

fn nothing(members: &Members) -> Assignments {
    members.keys().map(|id| (id.clone(), Vec::new())).collect()
}
