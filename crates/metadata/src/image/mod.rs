//! The state of the cluster as a value. Cloning it is cheap: its parts are shared until one changes.

mod brokers;
mod configs;
mod kept;
pub(crate) mod topics;

use std::{collections::BTreeMap, sync::Arc};

use millstream_config::BrokerLayers;
use millstream_config::Properties;
use millstream_record::kraft::MetadataRecord;
use millstream_types::{BrokerId, PartitionId, ProducerId, Uuid};

pub use brokers::{BrokerEpoch, BrokerRegistration};
pub use configs::{ConfigResource, Configs, ResourceType};
pub use kept::Kept;
pub use topics::{Partition, PartitionEpoch, Topic, Topics};

/// Everything that the metadata records say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    features: Arc<BTreeMap<String, i16>>,
    topics: Arc<Topics>,
    configs: Arc<Configs>,
    brokers: Arc<BTreeMap<BrokerId, BrokerRegistration>>,
    /// `None` until the first block is given.
    next_producer_id: Option<ProducerId>,
    kept: Arc<Kept>,
}

/// A record that does not fit the state it meets: the log or snapshot is damaged, or was written by
/// something that is not a controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    #[error("topic '{name}': {reason}")]
    TopicName { name: String, reason: String },
    #[error("topic '{name}' is there already")]
    DuplicateTopic { name: String },
    #[error("topic id {id} is there already, as topic '{name}'")]
    DuplicateTopicId { id: Uuid, name: String },
    #[error("no topic has the id {id}")]
    UnknownTopicId { id: Uuid },
    #[error("topic '{topic}' has no partition {partition}")]
    UnknownPartition { topic: String, partition: PartitionId },
    #[error("{what} is {value} in a record of topic '{topic}'")]
    OutOfRange { what: &'static str, value: i64, topic: String },
    #[error("broker {id} is not registered")]
    UnknownBroker { id: BrokerId },
    #[error("broker {id} is registered with epoch {registered}, a record names {found}")]
    BrokerEpoch { id: BrokerId, registered: i64, found: i64 },
    #[error("the next producer id went back from {from} to {to}")]
    ProducerIdsBack { from: ProducerId, to: i64 },
}

impl Image {
    /// Changes the image by one record. Marks of transactions and empty records change nothing here;
    /// [`crate::Replay`] knows what they mean.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        use MetadataRecord as R;
        match record {
            R::Topic(topic) => Arc::make_mut(&mut self.topics).create(topic),
            R::Partition(partition) => Arc::make_mut(&mut self.topics).put_partition(partition),
            R::PartitionChange(change) => Arc::make_mut(&mut self.topics).change_partition(change),
            R::RemoveTopic(removed) => {
                let name = Arc::make_mut(&mut self.topics).remove(removed.topic_id)?;
                Arc::make_mut(&mut self.configs).remove_topic(name.as_str());
                Ok(())
            }
            R::ClearElr(clear) => Arc::make_mut(&mut self.topics).clear_elr(&clear.topic_name),
            R::Config(config) => {
                Arc::make_mut(&mut self.configs).apply(config);
                Ok(())
            }
            R::FeatureLevel(feature) => {
                let features = Arc::make_mut(&mut self.features);
                match feature.feature_level {
                    0 => features.remove(&feature.name),
                    level => features.insert(feature.name.clone(), level),
                };
                Ok(())
            }
            R::ProducerIds(ids) => self.apply_producer_ids(ids.next_producer_id),
            R::RegisterBroker(_)
            | R::UnregisterBroker(_)
            | R::FenceBroker(_)
            | R::UnfenceBroker(_)
            | R::BrokerRegistrationChange(_) => brokers::apply(Arc::make_mut(&mut self.brokers), record),
            R::RegisterController(_)
            | R::DelegationToken(_)
            | R::RemoveDelegationToken(_)
            | R::UserScramCredential(_)
            | R::RemoveUserScramCredential(_)
            | R::ClientQuota(_)
            | R::AccessControlEntry(_)
            | R::RemoveAccessControlEntry(_) => {
                Arc::make_mut(&mut self.kept).apply(record);
                Ok(())
            }
            R::NoOp(_)
            | R::ZkMigrationState(_)
            | R::BeginTransaction(_)
            | R::EndTransaction(_)
            | R::AbortTransaction(_) => Ok(()),
        }
    }

    fn apply_producer_ids(&mut self, next: i64) -> Result<(), ApplyError> {
        match (self.next_producer_id, ProducerId::from_wire(next)) {
            (Some(from), to) if to < Some(from) => Err(ApplyError::ProducerIdsBack { from, to: next }),
            (_, to) => {
                self.next_producer_id = to;
                Ok(())
            }
        }
    }

    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// The finalized features and their levels, `metadata.version` among them.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }

    /// The level of `metadata.version`; 0 before the first bootstrap.
    pub fn metadata_version(&self) -> i16 {
        self.feature(crate::features::METADATA_VERSION)
    }

    /// A feature's finalized level, 0 when it is not finalized.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    pub fn broker(&self, id: BrokerId) -> Option<&BrokerRegistration> {
        self.brokers.get(&id)
    }

    pub fn brokers(&self) -> impl Iterator<Item = &BrokerRegistration> {
        self.brokers.values()
    }

    /// The first producer id that nobody has been given.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id.unwrap_or(ProducerId(0))
    }

    /// What a foreign directory held and Millstream only keeps: quotas, credentials, ACLs, tokens.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The dynamic layers of a broker's configuration, over the static one.
    pub fn broker_layers(&self, id: BrokerId, fixed: Properties) -> BrokerLayers {
        let of = |name: &str| self.configs.of(ResourceType::Broker, name).cloned().unwrap_or_default();
        BrokerLayers { dynamic: of(&id.to_string()), dynamic_default: of(""), fixed }
    }

    /// The whole image as records, in the order in which they apply to an empty one. `ImageWriter`.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = crate::features::to_records(&self.features);
        records.extend(self.brokers.values().map(|broker| broker.to_record().into()));
        self.kept.controllers(&mut records);
        self.topics.to_records(&mut records);
        self.configs.to_records(&mut records);
        self.kept.quotas(&mut records);
        if let Some(next) = self.next_producer_id {
            records.push(kept::producer_ids(next).into());
        }
        self.kept.security(&mut records);
        records
    }
}
