//! Where new partitions go, and whether there is room for them: which replicas a manual assignment may name, and
//! which directory.
//! `ReplicationControlManager.validateManualPartitionAssignment`, `LogManager.nextLogDirs`.

use std::collections::HashMap;

use millstream_types::{BrokerId, ErrorCode, LeaderEpoch, Uuid};

use super::{Failure, Node};
use crate::{Image, Partition, PartitionEpoch};

/// Spreads new partitions over the node's directories, the emptiest first.
pub(super) struct Places {
    node: BrokerId,
    counts: Vec<(Uuid, usize)>,
    /// With those that were granted.
    partitions: usize,
    partitions_max: usize,
}

impl Places {
    pub(super) fn of(image: &Image, node: Node<'_>) -> Self {
        let registered = image.broker(node.id).map(|broker| broker.log_dirs()).unwrap_or_default();
        let mut counts: HashMap<Uuid, usize> = HashMap::new();
        if registered.len() > 1 {
            let partitions = image.topics().iter().flat_map(|topic| topic.partitions.values());
            for directory in partitions.filter_map(|partition| partition.directory(node.id)) {
                *counts.entry(directory).or_default() += 1;
            }
        }
        let count = |id: &Uuid| (*id, counts.get(id).copied().unwrap_or(0));
        Self {
            node: node.id,
            counts: registered.iter().map(count).collect(),
            partitions: image.topics().iter().map(|topic| topic.partitions.len()).sum(),
            partitions_max: node.partitions_max,
        }
    }

    /// That so many more may be, besides those that were granted before. Apache Kafka 4.3.1 has no
    /// such bound: it says that the topic was created, cannot open all of it, and cannot accept connections.
    pub(super) fn grant(&mut self, additional: usize) -> Result<(), Failure> {
        let (partitions, max) = (self.partitions.saturating_add(additional), self.partitions_max);
        if partitions > max {
            let message = format!(
                "That would make {partitions} partitions, and the limit of open files allows {max}: raise it (ulimit -n), or have fewer partitions."
            );
            return Err(Failure::new(ErrorCode::PolicyViolation, message));
        }
        self.partitions = partitions;
        Ok(())
    }

    fn next(&mut self) -> Uuid {
        let Some(emptiest) = self.counts.iter_mut().min_by_key(|(_, count)| *count) else {
            return Uuid::ZERO;
        };
        emptiest.1 += 1;
        emptiest.0
    }

    /// A new partition with this node as its one replica and leader.
    pub(super) fn partition(&mut self) -> Partition {
        let node = self.node;
        Partition {
            replicas: vec![node],
            directories: vec![self.next()],
            isr: vec![node],
            leader: Some(node),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            ..Partition::default()
        }
    }
}

/// That the replicas named for one partition exist, once each, and are as many as those of others.
pub(super) fn check_assignment(
    image: &Image,
    replicas: &[BrokerId],
    expected: Option<usize>,
) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".into());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let twice = pair[0];
        return refuse(format!(
            "The manual partition assignment includes the broker {twice} more than once."
        ));
    }
    if let Some(unknown) = sorted.iter().find(|id| image.broker(**id).is_none()) {
        return refuse(format!(
            "The manual partition assignment includes broker {unknown}, but no such broker is registered."
        ));
    }
    match expected {
        Some(expected) if expected != replicas.len() => refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with previous partitions, which have {expected} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}
