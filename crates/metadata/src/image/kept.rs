//! What Millstream does not use and nevertheless keeps, so that nothing of a directory that Kafka wrote is
//! lost when it is handed back: controllers, quotas, SCRAM credentials, ACLs, delegation tokens.

use std::collections::BTreeMap;

use millstream_record::{
    kraft::MetadataRecord,
    messages::{
        AccessControlEntryRecord, ClientQuotaRecord, DelegationTokenRecord, ProducerIdsRecord,
        RegisterControllerRecord, UserScramCredentialRecord,
    },
};
use millstream_types::{ProducerId, Uuid};

/// Who a quota is for, in the order of the entity types.
type QuotaEntity = Vec<(String, Option<String>)>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    controllers: BTreeMap<i32, RegisterControllerRecord>,
    quotas: BTreeMap<(QuotaEntity, String), ClientQuotaRecord>,
    scram: BTreeMap<(String, i8), UserScramCredentialRecord>,
    acls: BTreeMap<Uuid, AccessControlEntryRecord>,
    tokens: BTreeMap<String, DelegationTokenRecord>,
}

impl Kept {
    /// Whether access is restricted by ACLs, which Millstream would not enforce.
    pub fn has_acls(&self) -> bool {
        !self.acls.is_empty()
    }

    pub(super) fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::RegisterController(controller) => {
                let mut controller = controller.clone();
                controller.features.sort_by(|a, b| a.name.cmp(&b.name));
                self.controllers.insert(controller.controller_id, controller);
            }
            MetadataRecord::ClientQuota(quota) => {
                let entity =
                    quota.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone()));
                let mut entity: QuotaEntity = entity.collect();
                entity.sort();
                let key = (entity, quota.key.clone());
                if quota.remove {
                    self.quotas.remove(&key);
                } else {
                    self.quotas.insert(key, quota.clone());
                }
            }
            MetadataRecord::UserScramCredential(credential) => {
                self.scram.insert((credential.name.clone(), credential.mechanism), credential.clone());
            }
            MetadataRecord::RemoveUserScramCredential(gone) => {
                self.scram.remove(&(gone.name.clone(), gone.mechanism));
            }
            MetadataRecord::AccessControlEntry(entry) => {
                self.acls.insert(entry.id, entry.clone());
            }
            MetadataRecord::RemoveAccessControlEntry(gone) => {
                self.acls.remove(&gone.id);
            }
            MetadataRecord::DelegationToken(token) => {
                self.tokens.insert(token.token_id.clone(), token.clone());
            }
            MetadataRecord::RemoveDelegationToken(gone) => {
                self.tokens.remove(&gone.token_id);
            }
            _ => {}
        }
    }

    pub(super) fn controllers(&self, records: &mut Vec<MetadataRecord>) {
        records.extend(self.controllers.values().cloned().map(MetadataRecord::from));
    }

    pub(super) fn quotas(&self, records: &mut Vec<MetadataRecord>) {
        records.extend(self.quotas.values().cloned().map(MetadataRecord::from));
    }

    pub(super) fn security(&self, records: &mut Vec<MetadataRecord>) {
        records.extend(self.acls.values().cloned().map(MetadataRecord::from));
        records.extend(self.scram.values().cloned().map(MetadataRecord::from));
        records.extend(self.tokens.values().cloned().map(MetadataRecord::from));
    }
}

/// As Kafka's snapshots have it: who was given the last block is not said.
pub(super) fn producer_ids(next: ProducerId) -> ProducerIdsRecord {
    ProducerIdsRecord {
        broker_id: -1,
        broker_epoch: -1,
        next_producer_id: next.0,
        ..ProducerIdsRecord::default()
    }
}
