//! A proposal of where partitions could go: each broker leads as many as the others, followers lie on other
//! racks. Where the dealing begins is a matter of chance (`AdminUtils.assignReplicasToBrokers`).

use std::collections::{BTreeMap, BTreeSet};

use millstream_client::{Admin, Broker};
use millstream_types::{BrokerId, ErrorCode, TopicName, TopicPartition, Uuid};
use serde_json::Value;

use super::{
    plan::{duplicates, to_json, version},
    thrown,
    verify::where_they_are,
    wrong,
};
use crate::tools::{
    exit::{Exit, Outcome},
    json,
    options::elements,
    output,
};

pub(super) struct Wanted {
    brokers: BTreeSet<BrokerId>,
    topics: Vec<TopicName>,
}

impl Wanted {
    pub(super) fn parse(topics: &str, brokers: &str) -> Outcome<Self> {
        let id = |text: &str| {
            let malformed = |_| Exit::failure(format!("For input string: \"{text}\""));
            text.parse().map(BrokerId).map_err(malformed)
        };
        let ids: Vec<BrokerId> = elements(brokers).into_iter().map(id).collect::<Outcome<_>>()?;
        let list = |all: Vec<String>| format!("[{}]", all.join(", "));
        let twice: Vec<String> = duplicates(&ids).iter().map(|id| id.to_string()).collect();
        if !twice.is_empty() {
            return Err(Exit::failure(format!("Broker list contains duplicate entries: {}", list(twice))));
        }
        let value = json::parse(topics)?;
        version(&value)?;
        let entries = json::object_field(&value, "topics")?.map(json::array).transpose()?.unwrap_or_default();
        let name = |entry: &Value| json::topic_name(json::text(json::field(entry, "topic")?)?);
        let topics: Vec<TopicName> = entries.iter().map(name).collect::<Outcome<_>>()?;
        let twice: Vec<String> = duplicates(&topics).iter().map(|name| name.to_string()).collect();
        match twice.is_empty() {
            true => Ok(Self { brokers: ids.into_iter().collect(), topics }),
            false => Err(Exit::failure(format!(
                "List of topics to reassign contains duplicate entries: {}",
                list(twice)
            ))),
        }
    }
}

pub(super) async fn run(wanted: &Wanted, admin: &Admin, by_rack: bool) -> Outcome {
    let mut current: BTreeMap<TopicPartition, Vec<BrokerId>> = BTreeMap::new();
    for (name, described) in admin.describe_topics(&wanted.topics).await.map_err(thrown)? {
        let topic = described.map_err(|error| match error.code() {
            Some(ErrorCode::UnknownTopicOrPartition) => wrong(format!(
                "org.apache.kafka.common.errors.UnknownTopicOrPartitionException: Topic {name} not found."
            )),
            _ => thrown(error),
        })?;
        for (number, partition) in topic.partitions {
            current.insert(TopicPartition::new(name.clone(), number), partition.replicas);
        }
    }
    let brokers = admin.describe_cluster().await.map_err(thrown)?.brokers;
    let mut brokers: Vec<Broker> =
        brokers.into_iter().filter(|broker| wanted.brokers.contains(&broker.id)).collect();
    if !by_rack {
        brokers.iter_mut().for_each(|broker| broker.rack = None);
    }
    let without_rack = brokers.iter().filter(|broker| broker.rack.is_none()).count();
    if without_rack != 0 && without_rack != brokers.len() {
        return Err(wrong(
            "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information.",
        ));
    }
    let mut topics: BTreeMap<TopicName, Vec<&TopicPartition>> = BTreeMap::new();
    for partition in current.keys() {
        topics.entry(partition.topic.clone()).or_default().push(partition);
    }
    let mut proposed = BTreeMap::new();
    for partitions in topics.into_values() {
        let factor = current[partitions[0]].len();
        let chance = (Uuid::random().0 % u128::from(u32::MAX)) as usize;
        let dealt = deal(&brokers, partitions.len(), factor, chance)?;
        proposed.extend(partitions.into_iter().cloned().zip(dealt));
    }
    let directories = where_they_are(admin).await?;
    output::line(&format!("Current partition replica assignment\n{}\n", to_json(&current, &directories)));
    let anywhere = BTreeMap::new();
    output::line(&format!(
        "Proposed partition reassignment configuration\n{}",
        to_json(&proposed, &anywhere)
    ));
    Ok(())
}

/// Replicas of `count` partitions. The leaders go round; each follower is the next broker on a rack that the
/// partition does not have yet, as long as there is one.
fn deal(brokers: &[Broker], count: usize, factor: usize, chance: usize) -> Outcome<Vec<Vec<BrokerId>>> {
    if brokers.is_empty() {
        return Err(wrong("All brokers are currently fenced, or have all their log directories cordoned."));
    }
    if factor > brokers.len() {
        return Err(wrong(format!(
            "Replication factor: {factor} larger than available brokers: {}",
            brokers.len()
        )));
    }
    let around = interleaved(brokers);
    let rack = |broker: &Broker| broker.rack.clone();
    let replicas = |number: usize| {
        let leader = (chance + number) % around.len();
        let mut chosen: Vec<&Broker> = vec![around[leader]];
        // Every round of leaders shifts the followers by one, so that not the same brokers stick together.
        let shift = (chance + number) / around.len();
        let others: Vec<&Broker> = (0..around.len() - 1)
            .map(|step| around[(leader + 1 + (step + shift) % (around.len() - 1)) % around.len()])
            .collect();
        while chosen.len() < factor {
            let free = || others.iter().filter(|one| !chosen.iter().any(|taken| taken.id == one.id));
            let elsewhere = free().find(|one| chosen.iter().all(|taken| rack(taken) != rack(one)));
            match elsewhere.or_else(|| free().next()) {
                Some(next) => chosen.push(next),
                None => break,
            }
        }
        chosen.into_iter().map(|broker| broker.id).collect()
    };
    Ok((0..count).map(replicas).collect())
}

/// One broker of each rack after the other.
fn interleaved(brokers: &[Broker]) -> Vec<&Broker> {
    let mut racks: BTreeMap<Option<&str>, Vec<&Broker>> = BTreeMap::new();
    for broker in brokers {
        racks.entry(broker.rack.as_deref()).or_default().push(broker);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|index| racks.values().filter_map(move |rack| rack.get(index).copied())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(racks: &[Option<&str>]) -> Vec<Broker> {
        let broker = |(id, rack): (usize, &Option<&str>)| Broker {
            id: BrokerId(i32::try_from(id).expect("few")),
            host: "h".to_owned(),
            port: 1,
            rack: rack.map(str::to_owned),
        };
        racks.iter().enumerate().map(broker).collect()
    }

    #[test]
    fn leaders_are_spread_evenly_and_no_broker_has_a_partition_twice() {
        let all = brokers(&[None; 5]);
        for chance in 0..20 {
            let dealt = deal(&all, 10, 3, chance).unwrap();
            for broker in &all {
                assert_eq!(dealt.iter().filter(|replicas| replicas[0] == broker.id).count(), 2);
            }
            assert!(dealt.iter().all(|replicas| duplicates(replicas).is_empty() && replicas.len() == 3));
        }
        assert!(deal(&all, 1, 6, 0).is_err());
        assert_eq!(deal(&brokers(&[None]), 2, 1, 7).unwrap(), [[BrokerId(0)], [BrokerId(0)]]);
    }

    #[test]
    fn replicas_lie_on_different_racks() {
        let all = brokers(&[Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), Some("c")]);
        for replicas in deal(&all, 30, 3, 4).unwrap() {
            let racks: BTreeSet<i32> = replicas.iter().map(|id| id.0 / 2).collect();
            assert_eq!(racks.len(), 3, "{replicas:?}");
        }
    }
}
