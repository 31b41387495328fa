//! What is known of the cluster: brokers, topics, who leads which partition. A value, replaced as a whole;
//! older news never replaces newer (KIP-320).

use std::collections::{BTreeMap, HashMap};

use millstream_protocol::messages::{MetadataResponse, metadata_response::MetadataResponseTopic};
use millstream_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionId, TopicName, TopicPartition, Uuid};

use crate::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: BrokerId,
    pub host: String,
    pub port: u16,
    pub rack: Option<String>,
}

impl Broker {
    /// `host:port`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub name: TopicName,
    /// None from brokers before Kafka 2.8.
    pub id: Option<Uuid>,
    pub is_internal: bool,
    /// By number, which need not be without gaps while a topic is being made.
    pub partitions: BTreeMap<PartitionId, Partition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// None while no replica can lead.
    pub leader: Option<BrokerId>,
    pub leader_epoch: Option<LeaderEpoch>,
    pub replicas: Vec<BrokerId>,
    pub in_sync_replicas: Vec<BrokerId>,
    pub offline_replicas: Vec<BrokerId>,
}

#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pub cluster_id: Option<String>,
    pub controller: Option<BrokerId>,
    pub brokers: BTreeMap<BrokerId, Broker>,
    pub topics: BTreeMap<TopicName, Topic>,
    names: HashMap<Uuid, TopicName>,
    /// The ids that topics of a name have had one after the other, the last of them now. A broker that lags
    /// behind may still answer with an earlier one.
    ids: HashMap<TopicName, Vec<Uuid>>,
}

/// As many ids of one name are remembered.
const IDS_MAX: usize = 8;

impl Metadata {
    pub fn topic(&self, name: &TopicName) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub fn topic_name(&self, id: Uuid) -> Option<&TopicName> {
        self.names.get(&id)
    }

    pub fn partition(&self, partition: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&partition.topic)?.partitions.get(&partition.partition)
    }

    /// The partition's leader, if it has one and its address is known.
    pub fn leader(&self, partition: &TopicPartition) -> Option<BrokerId> {
        let leader = self.partition(partition)?.leader?;
        self.brokers.contains_key(&leader).then_some(leader)
    }

    /// Takes an answer in: brokers are replaced, topics replaced where they are mentioned, and forgotten
    /// where the broker says that they do not exist. Returns what was wrong with each topic in trouble.
    pub(crate) fn update(&mut self, answer: MetadataResponse) -> Vec<(TopicName, Error)> {
        let is_other = |id: &String| self.cluster_id.as_ref().is_some_and(|known| known != id);
        if answer.cluster_id.as_ref().is_some_and(is_other) {
            // Another cluster at the same address: nothing that is known holds there.
            *self = Self::default();
        }
        self.cluster_id = answer.cluster_id;
        self.controller = BrokerId::from_wire(answer.controller_id);
        let brokers = answer.brokers.into_iter().filter_map(|broker| {
            let id = BrokerId::from_wire(broker.node_id)?;
            let port = u16::try_from(broker.port).ok()?;
            Some((id, Broker { id, host: broker.host, port, rack: broker.rack }))
        });
        self.brokers = brokers.collect();
        let mut troubles = Vec::new();
        for topic in answer.topics {
            // A broker knows no topic by an illegal name.
            let Some(name) = topic.name.as_deref().and_then(|name| TopicName::parse(name).ok()) else {
                continue;
            };
            match ErrorCode::from_code(topic.error_code) {
                ErrorCode::None | ErrorCode::LeaderNotAvailable => self.update_topic(name, topic),
                code => {
                    // Its id is still that of the name's last topic, if an earlier one is heard of again.
                    if let Some(id) = self.topics.remove(&name).and_then(|known| known.id) {
                        self.names.remove(&id);
                    }
                    troubles.push((name.clone(), Error::kafka(code, format!("topic {name}"), None)));
                }
            }
        }
        troubles
    }

    fn update_topic(&mut self, name: TopicName, answer: MetadataResponseTopic) {
        let id = (!answer.topic_id.is_zero()).then_some(answer.topic_id);
        if id.is_some_and(|id| !self.is_news(&name, id)) {
            return;
        }
        // A topic of another id is another topic, and its epochs begin anew.
        let known = self.topics.remove(&name);
        if let Some(former) = known.as_ref().and_then(|known| known.id).filter(|former| id != Some(*former)) {
            self.names.remove(&former);
        }
        let known = known.filter(|known| known.id == id);
        let ids = |raw: Vec<i32>| raw.into_iter().map(BrokerId).collect();
        let partitions = answer.partitions.into_iter().map(|partition| {
            let number = PartitionId(partition.partition_index);
            let news = Partition {
                leader: BrokerId::from_wire(partition.leader_id),
                leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
                replicas: ids(partition.replica_nodes),
                in_sync_replicas: ids(partition.isr_nodes),
                offline_replicas: ids(partition.offline_replicas),
            };
            let old = known.as_ref().and_then(|known| known.partitions.get(&number));
            let newest = old.filter(|old| old.leader_epoch > news.leader_epoch).cloned().unwrap_or(news);
            (number, newest)
        });
        let topic = Topic {
            name: name.clone(),
            id,
            is_internal: answer.is_internal,
            partitions: partitions.collect(),
        };
        if let Some(id) = id {
            self.names.insert(id, name.clone());
        }
        self.topics.insert(name, topic);
    }

    /// Whether an answer with this id is not of an earlier topic of the name.
    fn is_news(&mut self, name: &TopicName, id: Uuid) -> bool {
        let ids = self.ids.entry(name.clone()).or_default();
        if let Some(index) = ids.iter().position(|known| *known == id) {
            return index + 1 == ids.len();
        }
        if ids.len() == IDS_MAX {
            ids.remove(0);
        }
        ids.push(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use millstream_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition,
    };

    use super::*;

    fn answer(id: u128, epoch: i32, leader: i32, code: ErrorCode) -> MetadataResponse {
        let partition =
            MetadataResponsePartition { leader_id: leader, leader_epoch: epoch, ..Default::default() };
        let topic = MetadataResponseTopic {
            name: Some("t".to_owned()),
            topic_id: Uuid(id),
            error_code: code.code(),
            partitions: vec![partition],
            ..Default::default()
        };
        let broker =
            |node_id| MetadataResponseBroker { node_id, host: "h".to_owned(), port: 9, ..Default::default() };
        MetadataResponse { brokers: vec![broker(1), broker(2)], topics: vec![topic], ..Default::default() }
    }

    fn partition() -> TopicPartition {
        TopicPartition::new(TopicName::from_static("t"), PartitionId(0))
    }

    #[test]
    fn an_older_epoch_does_not_replace_a_newer_one_but_another_topic_does() {
        let mut metadata = Metadata::default();
        metadata.update(answer(7, 5, 1, ErrorCode::None));
        metadata.update(answer(7, 4, 2, ErrorCode::None));
        assert_eq!(metadata.leader(&partition()), Some(BrokerId(1)));
        metadata.update(answer(7, 6, 2, ErrorCode::None));
        assert_eq!(metadata.leader(&partition()), Some(BrokerId(2)));
        metadata.update(answer(8, 0, 1, ErrorCode::None));
        assert_eq!(metadata.leader(&partition()), Some(BrokerId(1)));
        assert_eq!(metadata.topic_name(Uuid(7)), None);
    }

    #[test]
    fn a_broker_that_lags_behind_does_not_bring_an_earlier_topic_back() {
        let mut metadata = Metadata::default();
        for id in [7, 8] {
            metadata.update(answer(id, 5, 1, ErrorCode::None));
        }
        metadata.update(answer(7, 9, 2, ErrorCode::None));
        let id = |metadata: &Metadata| metadata.topic(&partition().topic).and_then(|topic| topic.id);
        assert_eq!((id(&metadata), metadata.leader(&partition())), (Some(Uuid(8)), Some(BrokerId(1))));
        // One that does not know it yet, and then knows it.
        metadata.update(answer(0, -1, -1, ErrorCode::UnknownTopicOrPartition));
        metadata.update(answer(7, 9, 2, ErrorCode::None));
        assert_eq!(id(&metadata), None);
        metadata.update(answer(8, 5, 1, ErrorCode::None));
        assert_eq!(id(&metadata), Some(Uuid(8)));
    }

    #[test]
    fn of_another_cluster_nothing_is_kept() {
        let mut metadata = Metadata::default();
        let of = |cluster: &str, id| MetadataResponse {
            cluster_id: Some(cluster.to_owned()),
            ..answer(id, 5, 1, ErrorCode::None)
        };
        metadata.update(of("one", 7));
        metadata.update(of("one", 8));
        metadata.update(of("two", 7));
        assert_eq!(metadata.topic(&partition().topic).and_then(|topic| topic.id), Some(Uuid(7)));
        assert_eq!(metadata.topic_name(Uuid(8)), None);
    }

    #[test]
    fn a_topic_that_is_gone_is_forgotten_and_reported() {
        let mut metadata = Metadata::default();
        metadata.update(answer(7, 5, 1, ErrorCode::None));
        assert_eq!(metadata.topic_name(Uuid(7)), Some(&partition().topic));
        let troubles = metadata.update(answer(0, -1, -1, ErrorCode::UnknownTopicOrPartition));
        assert_eq!(troubles[0].1.code(), Some(ErrorCode::UnknownTopicOrPartition));
        assert_eq!((metadata.topic(&partition().topic), metadata.topic_name(Uuid(7))), (None, None));
    }

    #[test]
    fn a_partition_without_a_leader_or_with_an_unknown_one_has_none() {
        let mut metadata = Metadata::default();
        for leader in [-1, 9] {
            metadata.update(answer(7, 5, leader, ErrorCode::LeaderNotAvailable));
            assert_eq!(metadata.leader(&partition()), None);
        }
    }
}
