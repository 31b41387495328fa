//! Topics and their partitions. `ReplicationControlManager.replay`, `PartitionRegistration`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use millstream_record::{
    kraft::MetadataRecord,
    messages::{PartitionChangeRecord, PartitionRecord, TopicRecord},
};
use millstream_types::{BrokerId, LeaderEpoch, PartitionId, TopicName, Uuid};

use super::ApplyError;

/// Raised by every change of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionEpoch(pub i32);

#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    pub name: TopicName,
    pub id: Uuid,
    /// By number, normally from 0 without a gap.
    pub partitions: BTreeMap<PartitionId, Partition>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partition {
    /// The preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The directory of each replica, in their order; empty in records older than Kafka 3.7.
    pub directories: Vec<Uuid>,
    pub isr: Vec<BrokerId>,
    pub leader: Option<BrokerId>,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: PartitionEpoch,
    /// Led by a replica that may have lost records (an unclean election).
    pub recovering: bool,
    pub adding_replicas: Vec<BrokerId>,
    pub removing_replicas: Vec<BrokerId>,
    /// KIP-966; empty unless `eligible.leader.replicas.version` is finalized.
    pub eligible_leader_replicas: Vec<BrokerId>,
    pub last_known_elr: Vec<BrokerId>,
}

/// All topics, by name and by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topics {
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    names: HashMap<Uuid, TopicName>,
}

impl Topics {
    pub fn get(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.names.get(&id).and_then(|name| self.by_name.get(name))
    }

    pub fn partition(&self, topic: &str, partition: PartitionId) -> Option<&Partition> {
        self.get(topic)?.partitions.get(&partition)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// From a name on, for listings that come in pages.
    pub fn iter_from(&self, name: &TopicName) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.range(name.clone()..).map(|(_, topic)| topic)
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// A topic whose name differs from this one only in `.` and `_`, if there is one.
    pub fn colliding_with(&self, name: &TopicName) -> Option<&TopicName> {
        if !name.as_str().contains(['.', '_']) {
            return None;
        }
        self.by_name.keys().find(|other| other.collides_with(name))
    }

    pub(super) fn create(&mut self, record: &TopicRecord) -> Result<(), ApplyError> {
        let name = TopicName::parse(&record.name).map_err(|error| ApplyError::TopicName {
            name: record.name.clone(),
            reason: error.to_string(),
        })?;
        if self.by_name.contains_key(&name) {
            return Err(ApplyError::DuplicateTopic { name: record.name.clone() });
        }
        let id = record.topic_id;
        if let Some(other) = self.names.get(&id) {
            return Err(ApplyError::DuplicateTopicId { id, name: other.to_string() });
        }
        self.names.insert(id, name.clone());
        let topic = Topic { name: name.clone(), id, partitions: BTreeMap::new() };
        self.by_name.insert(name, Arc::new(topic));
        Ok(())
    }

    pub(super) fn remove(&mut self, id: Uuid) -> Result<TopicName, ApplyError> {
        let name = self.names.remove(&id).ok_or(ApplyError::UnknownTopicId { id })?;
        self.by_name.remove(&name);
        Ok(name)
    }

    fn topic_mut(&mut self, id: Uuid) -> Result<&mut Topic, ApplyError> {
        let name = self.names.get(&id).ok_or(ApplyError::UnknownTopicId { id })?;
        let topic = self.by_name.get_mut(name).expect("every id's name has its topic");
        Ok(Arc::make_mut(topic))
    }

    pub(super) fn put_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        let topic = self.topic_mut(record.topic_id)?;
        let number = |what, value: i32| match value {
            value if value < 0 => {
                Err(ApplyError::OutOfRange { what, value: value.into(), topic: topic.name.to_string() })
            }
            value => Ok(value),
        };
        let id = PartitionId(number("a partition", record.partition_id)?);
        number("a leader epoch", record.leader_epoch)?;
        number("a partition epoch", record.partition_epoch)?;
        topic.partitions.insert(id, Partition::from_record(record));
        Ok(())
    }

    pub(super) fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<(), ApplyError> {
        let topic = self.topic_mut(record.topic_id)?;
        let id = PartitionId(record.partition_id);
        let Some(partition) = topic.partitions.get_mut(&id) else {
            return Err(ApplyError::UnknownPartition { topic: topic.name.to_string(), partition: id });
        };
        partition.change(record);
        Ok(())
    }

    /// Of one topic, or of all for the empty name.
    pub(super) fn clear_elr(&mut self, name: &str) -> Result<(), ApplyError> {
        for topic in self.by_name.values_mut().filter(|topic| name.is_empty() || topic.name.as_str() == name)
        {
            let set = |p: &Partition| !p.eligible_leader_replicas.is_empty() || !p.last_known_elr.is_empty();
            if !topic.partitions.values().any(set) {
                continue;
            }
            for partition in Arc::make_mut(topic).partitions.values_mut().filter(|p| set(p)) {
                partition.eligible_leader_replicas.clear();
                partition.last_known_elr.clear();
                partition.partition_epoch.0 = partition.partition_epoch.0.saturating_add(1);
            }
        }
        Ok(())
    }

    pub(super) fn to_records(&self, records: &mut Vec<MetadataRecord>) {
        for topic in self.by_name.values() {
            let record =
                TopicRecord { name: topic.name.to_string(), topic_id: topic.id, ..TopicRecord::default() };
            records.push(record.into());
            for (id, partition) in &topic.partitions {
                records.push(partition.to_record(topic.id, *id).into());
            }
        }
    }
}

impl Partition {
    fn from_record(record: &PartitionRecord) -> Self {
        Self {
            replicas: ids(&record.replicas),
            directories: record.directories.clone(),
            isr: ids(&record.isr),
            leader: BrokerId::from_wire(record.leader),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
            recovering: record.leader_recovery_state != 0,
            adding_replicas: ids(&record.adding_replicas),
            removing_replicas: ids(&record.removing_replicas),
            eligible_leader_replicas: ids(record.eligible_leader_replicas.as_deref().unwrap_or_default()),
            last_known_elr: ids(record.last_known_elr.as_deref().unwrap_or_default()),
        }
    }

    /// The record that creates this partition as it is.
    pub fn to_record(&self, topic_id: Uuid, id: PartitionId) -> PartitionRecord {
        let set = |brokers: &[BrokerId]| (!brokers.is_empty()).then(|| numbers(brokers));
        PartitionRecord {
            partition_id: id.0,
            topic_id,
            replicas: numbers(&self.replicas),
            isr: numbers(&self.isr),
            removing_replicas: numbers(&self.removing_replicas),
            adding_replicas: numbers(&self.adding_replicas),
            leader: BrokerId::to_wire(self.leader),
            leader_recovery_state: i8::from(self.recovering),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch.0,
            directories: self.directories.clone(),
            eligible_leader_replicas: set(&self.eligible_leader_replicas),
            last_known_elr: set(&self.last_known_elr),
            unknown_tagged_fields: Vec::new(),
        }
    }

    /// The directory of a broker's replica; `None` when the records do not say.
    pub fn directory(&self, broker: BrokerId) -> Option<Uuid> {
        let place = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(place).copied()
    }

    fn change(&mut self, record: &PartitionChangeRecord) {
        if let Some(replicas) = &record.replicas {
            let replicas = ids(replicas);
            if !self.directories.is_empty() {
                let directory = |id: &BrokerId| self.directory(*id).unwrap_or(Uuid::ZERO);
                self.directories = replicas.iter().map(directory).collect();
            }
            self.replicas = replicas;
        }
        if let Some(directories) = &record.directories {
            self.directories.clone_from(directories);
        }
        let lists = [
            (&record.isr, &mut self.isr),
            (&record.removing_replicas, &mut self.removing_replicas),
            (&record.adding_replicas, &mut self.adding_replicas),
            (&record.eligible_leader_replicas, &mut self.eligible_leader_replicas),
            (&record.last_known_elr, &mut self.last_known_elr),
        ];
        for (new, field) in lists {
            if let Some(new) = new {
                *field = ids(new);
            }
        }
        if record.leader != NO_LEADER_CHANGE {
            self.leader = BrokerId::from_wire(record.leader);
            self.leader_epoch.0 = self.leader_epoch.0.saturating_add(1);
        }
        if record.leader_recovery_state >= 0 {
            self.recovering = record.leader_recovery_state != 0;
        }
        self.partition_epoch.0 = self.partition_epoch.0.saturating_add(1);
    }
}

/// In a [`PartitionChangeRecord`]: the leader, and with it the leader epoch, stays.
pub(crate) const NO_LEADER_CHANGE: i32 = -2;

pub(crate) fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

pub(crate) fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}
