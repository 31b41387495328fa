//! One look at the cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use anyhow::Result;
use millstream_client::{Admin, Broker, Client, ConsumerConfig, IsolationLevel, Topic};
use millstream_types::{BrokerId, ErrorCode, TopicPartition};
use tokio::task::JoinSet;

use crate::command::{
    lag::{add_seconds, places},
    position::{Bounds, bounds},
};

/// Groups that are asked for at a time.
const GROUPS_OPEN: usize = 16;

pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) cluster: String,
    pub(super) topics: Vec<TopicSample>,
    pub(super) groups: Vec<GroupSample>,
    pub(super) brokers: Vec<BrokerSample>,
}

pub(super) struct TopicSample {
    pub(super) name: String,
    pub(super) partitions: usize,
    pub(super) replicas: usize,
    /// Partitions whose leader is missing, or some of whose replicas are behind.
    pub(super) ailing: usize,
    /// All partitions' ends, which grow with every record.
    pub(super) ends: i64,
    /// By their offsets.
    pub(super) records: i64,
    /// Of all replicas; None where the cluster does not tell.
    pub(super) bytes: Option<u64>,
}

pub(super) struct GroupSample {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) members: usize,
    pub(super) lag: i64,
    /// Of the partition that is furthest behind.
    pub(super) seconds: Option<f64>,
    /// By topic, the sum of the committed offsets, which grows with every record that was read.
    pub(super) committed: BTreeMap<String, i64>,
}

pub(super) struct BrokerSample {
    pub(super) id: BrokerId,
    /// None of a broker that has replicas and is not in service.
    pub(super) broker: Option<Broker>,
    pub(super) is_controller: bool,
    pub(super) leads: usize,
    pub(super) replicas: usize,
    /// The ends of the partitions that it leads.
    pub(super) ends: i64,
    pub(super) bytes: Option<u64>,
}

pub(super) async fn sample(client: &Client, config: &ConsumerConfig, internal: bool) -> Result<Sample> {
    let admin = client.admin();
    let cluster = admin.describe_cluster().await?;
    let mut topics = admin.list_topics().await?;
    topics.retain(|topic| internal || !topic.is_internal);
    let led = topics.iter().flat_map(|topic| {
        let has_leader = topic.partitions.iter().filter(|(_, partition)| partition.leader.is_some());
        has_leader.map(|(number, _)| TopicPartition::new(topic.name.clone(), *number))
    });
    let known = bounds(&admin, &led.collect::<Vec<_>>(), IsolationLevel::ReadUncommitted).await?;
    let sizes = Sizes::ask(&admin).await;
    let topic = |topic: &Topic| topic_sample(topic, &known, &sizes);
    let topic_samples = topics.iter().map(topic).collect();
    let there: BTreeMap<BrokerId, Broker> =
        cluster.brokers.into_iter().map(|broker| (broker.id, broker)).collect();
    let named = topics.iter().flat_map(|topic| topic.partitions.values()).flat_map(|one| &one.replicas);
    let ids: BTreeSet<BrokerId> = there.keys().chain(named).copied().collect();
    let broker = |id: BrokerId| {
        let is_controller = cluster.controller == Some(id);
        let sample = broker_sample(id, &topics, &known, &sizes);
        BrokerSample { broker: there.get(&id).cloned(), is_controller, ..sample }
    };
    let brokers = ids.into_iter().map(broker).collect();
    let groups = groups(client, &admin, config).await?;
    Ok(Sample { at: Instant::now(), cluster: cluster.cluster_id, topics: topic_samples, groups, brokers })
}

/// Bytes on disk; nothing where the cluster does not tell.
#[derive(Default)]
struct Sizes {
    by_topic: BTreeMap<String, u64>,
    by_broker: BTreeMap<BrokerId, u64>,
    are_known: bool,
}

impl Sizes {
    async fn ask(admin: &Admin) -> Self {
        let Ok(dirs) = admin.describe_log_dirs().await else { return Self::default() };
        let mut sizes = Self { are_known: true, ..Self::default() };
        for (broker, dirs) in dirs {
            for (partition, replica) in dirs.iter().flat_map(|dir| &dir.replicas) {
                *sizes.by_topic.entry(partition.topic.to_string()).or_default() += replica.size_bytes;
                *sizes.by_broker.entry(broker).or_default() += replica.size_bytes;
            }
        }
        sizes
    }

    fn of_topic(&self, name: &str) -> Option<u64> {
        self.are_known.then(|| self.by_topic.get(name).copied().unwrap_or(0))
    }

    fn of_broker(&self, id: BrokerId) -> Option<u64> {
        self.by_broker.get(&id).copied()
    }
}

fn topic_sample(topic: &Topic, known: &BTreeMap<TopicPartition, Bounds>, sizes: &Sizes) -> TopicSample {
    let mut sample = TopicSample {
        name: topic.name.to_string(),
        partitions: topic.partitions.len(),
        replicas: 0,
        ailing: 0,
        ends: 0,
        records: 0,
        bytes: sizes.of_topic(topic.name.as_str()),
    };
    for (number, partition) in &topic.partitions {
        sample.replicas = sample.replicas.max(partition.replicas.len());
        let is_ailing =
            partition.leader.is_none() || partition.in_sync_replicas.len() < partition.replicas.len();
        sample.ailing += usize::from(is_ailing);
        if let Some(bounds) = known.get(&TopicPartition::new(topic.name.clone(), *number)) {
            sample.ends += bounds.end.0;
            sample.records += bounds.end.since(bounds.start);
        }
    }
    sample
}

fn broker_sample(
    id: BrokerId,
    topics: &[Topic],
    known: &BTreeMap<TopicPartition, Bounds>,
    sizes: &Sizes,
) -> BrokerSample {
    let mut sample = BrokerSample {
        id,
        broker: None,
        is_controller: false,
        leads: 0,
        replicas: 0,
        ends: 0,
        bytes: sizes.of_broker(id),
    };
    for topic in topics {
        for (number, partition) in &topic.partitions {
            sample.replicas += usize::from(partition.replicas.contains(&id));
            if partition.leader == Some(id) {
                sample.leads += 1;
                let end = known.get(&TopicPartition::new(topic.name.clone(), *number));
                sample.ends += end.map_or(0, |bounds| bounds.end.0);
            }
        }
    }
    sample
}

async fn groups(client: &Client, admin: &Admin, config: &ConsumerConfig) -> Result<Vec<GroupSample>> {
    let mut names = admin.list_groups().await?.into_iter().map(|listed| listed.id);
    let mut samples = Vec::new();
    let mut open = JoinSet::new();
    let ask = |open: &mut JoinSet<_>, name| open.spawn(group(client.clone(), config.clone(), name));
    names.by_ref().take(GROUPS_OPEN).for_each(|name| drop(ask(&mut open, name)));
    while let Some(sample) = open.join_next().await {
        samples.extend(sample??);
        names.next().into_iter().for_each(|name| drop(ask(&mut open, name)));
    }
    samples.sort_by(|one: &GroupSample, other| one.name.cmp(&other.name));
    Ok(samples)
}

async fn group(client: Client, config: ConsumerConfig, name: String) -> Result<Option<GroupSample>> {
    let admin = client.admin();
    let group = match admin.describe_group(&name).await {
        Ok(group) => group,
        // It went meanwhile, or it is of a kind that commits no offsets.
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut known = places(&admin, &group).await?;
    add_seconds(&client, &config, &mut known).await?;
    let mut committed = BTreeMap::new();
    for (partition, place) in &known {
        if let Some(offset) = &place.committed {
            *committed.entry(partition.topic.to_string()).or_default() += offset.offset.0;
        }
    }
    Ok(Some(GroupSample {
        name,
        state: group.state,
        members: group.members.len(),
        lag: known.values().filter_map(|place| place.records()).sum(),
        seconds: known.values().filter_map(|place| place.seconds).reduce(f64::max),
        committed,
    }))
}
