//! `range`: of each topic by itself, a run of partitions to each member; the first members get one more.

use super::{Assignments, Members, PartitionCounts, in_order, nothing, partitions};

pub(super) fn assign(counts: &PartitionCounts, members: &Members) -> Assignments {
    let mut assignments = nothing(members);
    let in_order = in_order(members);
    for (topic, &count) in counts {
        let subscribed = in_order.iter().filter(|(_, member)| member.topics.contains(topic));
        let subscribed: Vec<&String> = subscribed.map(|(id, _)| *id).collect();
        if subscribed.is_empty() {
            continue;
        }
        let total = usize::try_from(count).unwrap_or(0);
        let (each, larger) = (total / subscribed.len(), total % subscribed.len());
        let mut rest = partitions(topic, count);
        for (index, id) in subscribed.into_iter().enumerate() {
            let share = each + usize::from(index < larger);
            if let Some(assigned) = assignments.get_mut(id) {
                assigned.extend(rest.by_ref().take(share));
            }
        }
    }
    assignments
}
