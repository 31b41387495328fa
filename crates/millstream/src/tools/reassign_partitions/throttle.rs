//! Limits on what a move may take of a broker.

use std::collections::{BTreeMap, BTreeSet};

use millstream_client::{Admin, ConfigChange, ConfigResource, Reassignment};
use millstream_types::{BrokerId, PartitionId, TopicName, TopicPartition};

use super::{ids, plural, thrown};
use crate::tools::{exit::Outcome, output};

const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const DIRECTORY_RATE: &str = "replica.alter.log.dirs.io.max.bytes.per.second";
const LEADER_REPLICAS: &str = "leader.replication.throttled.replicas";
const FOLLOWER_REPLICAS: &str = "follower.replication.throttled.replicas";

/// Takes all limits off brokers and topics: who took part in earlier moves is not known.
pub(super) async fn clear(admin: &Admin, targets: &[(TopicPartition, Vec<BrokerId>)]) -> Outcome {
    let cluster = admin.describe_cluster().await.map_err(thrown)?;
    let mut brokers: BTreeSet<BrokerId> = cluster.brokers.iter().map(|broker| broker.id).collect();
    brokers.extend(targets.iter().flat_map(|(_, replicas)| replicas));
    let brokers: Vec<BrokerId> = brokers.into_iter().collect();
    output::line(&format!(
        "Clearing broker-level throttles on {} {}",
        plural("broker", brokers.len()),
        ids(&brokers)
    ));
    for broker in brokers {
        delete(admin, &ConfigResource::Broker(broker), &[LEADER_RATE, FOLLOWER_RATE, DIRECTORY_RATE]).await?;
    }
    let topics: BTreeSet<&TopicName> = targets.iter().map(|(partition, _)| &partition.topic).collect();
    let names: Vec<&str> = topics.iter().map(|name| name.as_str()).collect();
    output::line(&format!(
        "Clearing topic-level throttles on {} {}",
        plural("topic", names.len()),
        names.join(",")
    ));
    for topic in topics {
        delete(admin, &ConfigResource::Topic(topic.clone()), &[LEADER_REPLICAS, FOLLOWER_REPLICAS]).await?;
    }
    Ok(())
}

async fn delete(admin: &Admin, resource: &ConfigResource, keys: &[&str]) -> Outcome {
    let changes: Vec<_> = keys.iter().map(|key| ((*key).to_owned(), ConfigChange::Delete)).collect();
    admin.alter_configs(resource, &changes, false).await.map_err(thrown)
}

/// From which brokers to which a partition goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Move {
    sources: BTreeSet<BrokerId>,
    destinations: BTreeSet<BrokerId>,
}

type Moves = BTreeMap<TopicName, BTreeMap<PartitionId, Move>>;

fn moves(
    moving: &BTreeMap<TopicPartition, Reassignment>,
    proposed: &BTreeMap<TopicPartition, Vec<BrokerId>>,
    current: &BTreeMap<TopicPartition, Vec<BrokerId>>,
) -> Moves {
    let mut moves = Moves::new();
    for (partition, reassignment) in moving {
        let destinations: BTreeSet<BrokerId> = reassignment.adding.iter().copied().collect();
        let sources =
            reassignment.replicas.iter().copied().filter(|broker| !destinations.contains(broker)).collect();
        let topic = moves.entry(partition.topic.clone()).or_default();
        topic.insert(partition.partition, Move { sources, destinations });
    }
    for (partition, replicas) in proposed {
        let topic = moves.entry(partition.topic.clone()).or_default();
        let one = topic.entry(partition.partition).or_insert_with(|| Move {
            sources: current.get(partition).into_iter().flatten().copied().collect(),
            destinations: BTreeSet::new(),
        });
        one.destinations = replicas.iter().copied().filter(|id| !one.sources.contains(id)).collect();
    }
    moves
}

/// Limits a move between brokers, on both sides.
pub(super) async fn between_brokers(
    admin: &Admin,
    moving: &BTreeMap<TopicPartition, Reassignment>,
    proposed: &BTreeMap<TopicPartition, Vec<BrokerId>>,
    current: &BTreeMap<TopicPartition, Vec<BrokerId>>,
    rate: i64,
) -> Outcome {
    let moves = moves(moving, proposed, current);
    for (topic, partitions) in &moves {
        let listed = |side: fn(&Move) -> &BTreeSet<BrokerId>| {
            let all: BTreeSet<String> = partitions
                .iter()
                .flat_map(|(number, one)| side(one).iter().map(move |broker| format!("{number}:{broker}")))
                .collect();
            ConfigChange::Set(all.into_iter().collect::<Vec<_>>().join(","))
        };
        let changes = [
            (LEADER_REPLICAS.to_owned(), listed(|one| &one.sources)),
            (FOLLOWER_REPLICAS.to_owned(), listed(|one| &one.destinations)),
        ];
        admin.alter_configs(&ConfigResource::Topic(topic.clone()), &changes, false).await.map_err(thrown)?;
    }
    let both = moves.values().flat_map(BTreeMap::values);
    let brokers: BTreeSet<BrokerId> =
        both.flat_map(|one| one.sources.iter().chain(&one.destinations)).copied().collect();
    for broker in brokers {
        let set = |key: &str| (key.to_owned(), ConfigChange::Set(rate.to_string()));
        let changes = [set(LEADER_RATE), set(FOLLOWER_RATE)];
        admin.alter_configs(&ConfigResource::Broker(broker), &changes, false).await.map_err(thrown)?;
    }
    output::line(&format!("The inter-broker throttle limit was set to {rate} B/s"));
    Ok(())
}

/// Limits moves between directories of these brokers.
pub(super) async fn between_directories(admin: &Admin, brokers: BTreeSet<BrokerId>, rate: i64) -> Outcome {
    for broker in brokers {
        let changes = [(DIRECTORY_RATE.to_owned(), ConfigChange::Set(rate.to_string()))];
        admin.alter_configs(&ConfigResource::Broker(broker), &changes, false).await.map_err(thrown)?;
    }
    output::line(&format!("The replica-alter-dir throttle limit was set to {rate} B/s"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_goes_from_where_the_partition_is_to_where_it_is_not_yet() {
        let topic = TopicName::parse("t").expect("a name");
        let partition = TopicPartition::new(topic.clone(), PartitionId(0));
        let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect::<Vec<_>>();
        let proposed = BTreeMap::from([(partition.clone(), brokers(&[2, 3]))]);
        let current = BTreeMap::from([(partition.clone(), brokers(&[1, 2]))]);
        let found = moves(&BTreeMap::new(), &proposed, &current);
        let one = &found[&topic][&PartitionId(0)];
        assert_eq!(one.sources.iter().map(|id| id.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(one.destinations.iter().map(|id| id.0).collect::<Vec<_>>(), [3]);

        let under_way = Reassignment { replicas: brokers(&[1, 4]), adding: brokers(&[4]), removing: vec![] };
        let found = moves(&BTreeMap::from([(partition, under_way)]), &proposed, &current);
        let one = &found[&topic][&PartitionId(0)];
        assert_eq!(one.sources.iter().map(|id| id.0).collect::<Vec<_>>(), [1]);
        assert_eq!(one.destinations.iter().map(|id| id.0).collect::<Vec<_>>(), [2, 3]);
    }
}
