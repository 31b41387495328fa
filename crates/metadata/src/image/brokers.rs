//! Brokers' registrations. `ClusterControlManager`, `BrokerRegistration`.

use std::collections::BTreeMap;

use millstream_record::{
    kraft::MetadataRecord,
    messages::{
        BrokerRegistrationChangeRecord, RegisterBrokerRecord, register_broker_record::BrokerEndpoint,
    },
};
use millstream_types::{BrokerId, Uuid};

use super::ApplyError;

/// The offset of the record that registered a broker: which incarnation of it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokerEpoch(pub i64);

/// A broker as it registered itself, and what has changed since.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerRegistration {
    /// As it will stand in a snapshot, so that fields which nothing here reads are kept.
    record: RegisterBrokerRecord,
}

impl BrokerRegistration {
    pub fn id(&self) -> BrokerId {
        BrokerId(self.record.broker_id)
    }

    pub fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.record.broker_epoch)
    }

    pub fn incarnation_id(&self) -> Uuid {
        self.record.incarnation_id
    }

    /// Listeners with the addresses that clients are told.
    pub fn endpoints(&self) -> &[BrokerEndpoint] {
        &self.record.end_points
    }

    pub fn rack(&self) -> Option<&str> {
        self.record.rack.as_deref()
    }

    /// Not serving: not started yet, or stopped.
    pub fn is_fenced(&self) -> bool {
        self.record.fenced
    }

    pub fn is_in_controlled_shutdown(&self) -> bool {
        self.record.in_controlled_shutdown
    }

    /// The ids of its log directories.
    pub fn log_dirs(&self) -> &[Uuid] {
        &self.record.log_dirs
    }

    pub(super) fn to_record(&self) -> RegisterBrokerRecord {
        self.record.clone()
    }

    fn change(&mut self, change: &BrokerRegistrationChangeRecord) {
        match change.fenced {
            -1 => self.record.fenced = false,
            1 => self.record.fenced = true,
            _ => {}
        }
        if change.in_controlled_shutdown == 1 {
            self.record.in_controlled_shutdown = true;
        }
        if !change.log_dirs.is_empty() {
            self.record.log_dirs.clone_from(&change.log_dirs);
        }
        if change.cordoned_log_dirs.is_some() {
            self.record.cordoned_log_dirs.clone_from(&change.cordoned_log_dirs);
        }
    }
}

pub(super) fn apply(
    brokers: &mut BTreeMap<BrokerId, BrokerRegistration>,
    record: &MetadataRecord,
) -> Result<(), ApplyError> {
    match record {
        MetadataRecord::RegisterBroker(register) => {
            let mut record = register.clone();
            // Kafka writes these in the order of a hash map, another one each time.
            record.features.sort_by(|a, b| a.name.cmp(&b.name));
            let registration = BrokerRegistration { record };
            brokers.insert(registration.id(), registration);
        }
        MetadataRecord::UnregisterBroker(gone) => {
            registered(brokers, gone.broker_id, gone.broker_epoch)?;
            brokers.remove(&BrokerId(gone.broker_id));
        }
        MetadataRecord::FenceBroker(fence) => {
            registered(brokers, fence.id, fence.epoch)?.record.fenced = true;
        }
        MetadataRecord::UnfenceBroker(unfence) => {
            registered(brokers, unfence.id, unfence.epoch)?.record.fenced = false;
        }
        MetadataRecord::BrokerRegistrationChange(change) => {
            registered(brokers, change.broker_id, change.broker_epoch)?.change(change);
        }
        _ => {}
    }
    Ok(())
}

/// The registration that a record means, by id and epoch.
fn registered(
    brokers: &mut BTreeMap<BrokerId, BrokerRegistration>,
    id: i32,
    epoch: i64,
) -> Result<&mut BrokerRegistration, ApplyError> {
    let id = BrokerId(id);
    let broker = brokers.get_mut(&id).ok_or(ApplyError::UnknownBroker { id })?;
    match broker.record.broker_epoch {
        registered if registered != epoch => Err(ApplyError::BrokerEpoch { id, registered, found: epoch }),
        _ => Ok(broker),
    }
}
