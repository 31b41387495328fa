//! Where new partitions go: which replicas a manual assignment may name, and which directory.
//! `ReplicationControlManager.validateManualPartitionAssignment`, `LogManager.nextLogDirs`.

use std::collections::HashMap;

use millstream_types::{BrokerId, ErrorCode, LeaderEpoch, Uuid};

use super::Failure;
use crate::{Image, Partition, PartitionEpoch};

/// Spreads new partitions over the node's directories, the emptiest first.
pub(super) struct Directories {
    counts: Vec<(Uuid, usize)>,
}

impl Directories {
    pub(super) fn of(image: &Image, node: BrokerId) -> Self {
        let registered = image.broker(node).map(|broker| broker.log_dirs()).unwrap_or_default();
        let mut counts: HashMap<Uuid, usize> = HashMap::new();
        if registered.len() > 1 {
            let partitions = image.topics().iter().flat_map(|topic| topic.partitions.values());
            for directory in partitions.filter_map(|partition| partition.directory(node)) {
                *counts.entry(directory).or_default() += 1;
            }
        }
        let count = |id: &Uuid| (*id, counts.get(id).copied().unwrap_or(0));
        Self { counts: registered.iter().map(count).collect() }
    }

    fn next(&mut self) -> Uuid {
        let Some(emptiest) = self.counts.iter_mut().min_by_key(|(_, count)| *count) else {
            return Uuid::ZERO;
        };
        emptiest.1 += 1;
        emptiest.0
    }

    /// A new partition with this node as its one replica and leader.
    pub(super) fn partition(&mut self, node: BrokerId) -> Partition {
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
