//! Settings by resource. `ConfigurationControlManager`, `ConfigResource`.

use std::{collections::BTreeMap, fmt, sync::Arc};

use millstream_config::Properties;
use millstream_record::{kraft::MetadataRecord, messages::ConfigRecord};

/// What a setting is a setting of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
    /// A later Kafka's; kept as it is.
    Other(i8),
}

impl ResourceType {
    pub fn from_code(code: i8) -> Self {
        match code {
            2 => Self::Topic,
            4 => Self::Broker,
            8 => Self::BrokerLogger,
            16 => Self::ClientMetrics,
            32 => Self::Group,
            other => Self::Other(other),
        }
    }

    pub fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
            Self::Other(code) => code,
        }
    }
}

/// One topic, broker (by id, or all of them by the empty name), group or client metrics subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    pub kind: ResourceType,
    pub name: String,
}

impl ConfigResource {
    pub fn new(kind: ResourceType, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} '{}'", self.kind, self.name)
    }
}

/// The settings of every resource that has any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configs {
    resources: BTreeMap<ConfigResource, Arc<Properties>>,
}

impl Configs {
    /// The settings of a resource; `None` when it has none.
    pub fn get(&self, resource: &ConfigResource) -> Option<&Properties> {
        self.resources.get(resource).map(Arc::as_ref)
    }

    pub fn of(&self, kind: ResourceType, name: &str) -> Option<&Properties> {
        self.get(&ConfigResource::new(kind, name))
    }

    /// A topic's own settings, shared.
    pub fn topic(&self, name: &str) -> Arc<Properties> {
        let resource = ConfigResource::new(ResourceType::Topic, name);
        self.resources.get(&resource).cloned().unwrap_or_default()
    }

    /// Every resource that has settings, by type and name.
    pub fn resources(&self) -> impl Iterator<Item = (&ConfigResource, &Properties)> {
        self.resources.iter().map(|(resource, settings)| (resource, settings.as_ref()))
    }

    pub(super) fn apply(&mut self, record: &ConfigRecord) {
        let kind = ResourceType::from_code(record.resource_type);
        let resource = ConfigResource::new(kind, record.resource_name.clone());
        let Some(value) = &record.value else {
            if let Some(settings) = self.resources.get_mut(&resource) {
                Arc::make_mut(settings).remove(&record.name);
                if settings.is_empty() {
                    self.resources.remove(&resource);
                }
            }
            return;
        };
        let settings = self.resources.entry(resource).or_default();
        Arc::make_mut(settings).insert(record.name.clone(), value.clone());
    }

    pub(super) fn remove_topic(&mut self, name: &str) {
        self.resources.remove(&ConfigResource::new(ResourceType::Topic, name));
    }

    pub(super) fn to_records(&self, records: &mut Vec<MetadataRecord>) {
        for (resource, settings) in &self.resources {
            for (name, value) in settings.iter() {
                let record = ConfigRecord {
                    resource_type: resource.kind.code(),
                    resource_name: resource.name.clone(),
                    name: name.clone(),
                    value: Some(value.clone()),
                    ..ConfigRecord::default()
                };
                records.push(record.into());
            }
        }
    }
}
