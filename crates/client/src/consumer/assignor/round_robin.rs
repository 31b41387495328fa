//! `roundrobin`: all partitions of all topics in turn, each to the next member that wants its topic.

use super::{Assignments, Members, PartitionCounts, in_order, nothing, partitions};

pub(super) fn assign(counts: &PartitionCounts, members: &Members) -> Assignments {
    let mut assignments = nothing(members);
    let in_order = in_order(members);
    let mut next = 0;
    for (topic, &count) in counts {
        if !in_order.iter().any(|(_, member)| member.topics.contains(topic)) {
            continue;
        }
        for partition in partitions(topic, count) {
            while !in_order[next].1.topics.contains(topic) {
                next = (next + 1) % in_order.len();
            }
            if let Some(assigned) = assignments.get_mut(in_order[next].0) {
                assigned.push(partition);
            }
            next = (next + 1) % in_order.len();
        }
    }
    assignments
}
