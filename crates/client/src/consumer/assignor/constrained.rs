//! The sticky assignment where all members want the same topics: everyone gets the same number of
//! partitions, some one more, and keeps what it has up to that number. KIP-54, and KAFKA-9987 for the way.

use std::collections::{BTreeSet, VecDeque};

use millstream_types::TopicPartition;

use super::{Assignments, Members, PartitionCounts, nothing, partitions, sticky::Claims};

struct Quotas {
    least: usize,
    most: usize,
    /// How many members may still be given `most` where that is one more than `least`.
    larger_left: usize,
}

pub(super) fn assign(counts: &PartitionCounts, members: &Members) -> Assignments {
    let wanted = members.values().next().map(|member| &member.topics);
    let topics = counts.iter().filter(|&(topic, _)| wanted.is_some_and(|wanted| wanted.contains(topic)));
    let all: Vec<TopicPartition> = topics.flat_map(|(topic, count)| partitions(topic, *count)).collect();
    let mut assignments = nothing(members);
    if members.is_empty() {
        return assignments;
    }
    let mut quotas = Quotas {
        least: all.len() / members.len(),
        most: all.len().div_ceil(members.len()),
        larger_left: all.len() % members.len(),
    };
    let claims = Claims::new(counts, members);
    let existing: BTreeSet<&TopicPartition> = all.iter().collect();
    let (mut below, mut at_least) = (VecDeque::new(), VecDeque::new());
    for (id, owned) in claims.owned {
        let mut kept: Vec<_> = owned.into_iter().filter(|held| existing.contains(held)).collect();
        if kept.len() < quotas.least {
            below.push_back(id.clone());
        } else if kept.len() >= quotas.most && quotas.larger_left > 0 {
            kept.truncate(quotas.most);
            quotas.larger_left -= 1;
        } else {
            kept.truncate(quotas.least);
            at_least.push_back(id.clone());
        }
        assignments.insert(id, kept);
    }
    let kept: BTreeSet<TopicPartition> = assignments.values().flatten().cloned().collect();
    deal(all.into_iter().filter(|p| !kept.contains(p)), below, at_least, &quotas, &mut assignments);
    assignments
}

/// In turn to members below the quota, then one more to each of those that are at it.
fn deal(
    unassigned: impl Iterator<Item = TopicPartition>,
    mut below: VecDeque<String>,
    mut at_least: VecDeque<String>,
    quotas: &Quotas,
    assignments: &mut Assignments,
) {
    for partition in unassigned {
        let next = below.pop_front().or_else(|| at_least.pop_front());
        // The numbers work out: every partition has a member with room.
        let Some(id) = next else { return };
        let Some(assigned) = assignments.get_mut(&id) else { return };
        assigned.push(partition);
        if assigned.len() < quotas.least {
            below.push_back(id);
        } else if assigned.len() == quotas.least {
            at_least.push_back(id);
        }
    }
}
