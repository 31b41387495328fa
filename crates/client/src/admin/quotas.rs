//! Limits on what users, clients and addresses may take (KIP-546).

use std::collections::BTreeMap;

use millstream_protocol::messages::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, alter_client_quotas_request,
    describe_client_quotas_request::ComponentData,
};

use super::{Admin, check};
use crate::{Error, Result};

/// Whom a quota limits: by `user`, `client-id`, `user` and `client-id`, or `ip`. None is the default for all
/// of the type that have none of their own.
pub type QuotaEntity = BTreeMap<String, Option<String>>;

/// Which entities of a type are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaMatch {
    Exact(String),
    Default,
    Any,
}

impl Admin {
    /// Quotas by entity. With `strict`, only of entities of exactly these types.
    pub async fn describe_quotas(
        &self,
        filter: &[(String, QuotaMatch)],
        strict: bool,
    ) -> Result<BTreeMap<QuotaEntity, BTreeMap<String, f64>>> {
        let component = |(entity_type, wanted): &(String, QuotaMatch)| {
            let (match_type, text) = match wanted {
                QuotaMatch::Exact(name) => (0, Some(name.clone())),
                QuotaMatch::Default => (1, None),
                QuotaMatch::Any => (2, None),
            };
            ComponentData {
                entity_type: entity_type.clone(),
                match_type,
                r#match: text,
                ..Default::default()
            }
        };
        let request = DescribeClientQuotasRequest {
            components: filter.iter().map(component).collect(),
            strict,
            ..Default::default()
        };
        let ask = || async {
            let answer = self.client.any_broker().await?.call(&request).await?;
            check(answer.error_code, "description of quotas", answer.error_message.clone()).map(|()| answer)
        };
        let answer = self.client.retry("description of quotas", ask).await?;
        let entries = answer.entries.unwrap_or_default().into_iter().map(|entry| {
            let entity = entry.entity.into_iter().map(|one| (one.entity_type, one.entity_name)).collect();
            (entity, entry.values.into_iter().map(|value| (value.key, value.value)).collect())
        });
        Ok(entries.collect())
    }

    /// Sets quotas of one entity, and takes those away that are None.
    pub async fn alter_quotas(
        &self,
        entity: &QuotaEntity,
        changes: &BTreeMap<String, Option<f64>>,
        validate_only: bool,
    ) -> Result<()> {
        let named = |(entity_type, entity_name): (&String, &Option<String>)| {
            alter_client_quotas_request::EntityData {
                entity_type: entity_type.clone(),
                entity_name: entity_name.clone(),
                ..Default::default()
            }
        };
        let change = |(key, value): (&String, &Option<f64>)| alter_client_quotas_request::OpData {
            key: key.clone(),
            value: value.unwrap_or_default(),
            remove: value.is_none(),
            ..Default::default()
        };
        let request = AlterClientQuotasRequest {
            entries: vec![alter_client_quotas_request::EntryData {
                entity: entity.iter().map(named).collect(),
                ops: changes.iter().map(change).collect(),
                ..Default::default()
            }],
            validate_only,
            ..Default::default()
        };
        let ask = || async { self.client.any_broker().await?.call(&request).await };
        let answer = self.client.retry("change of quotas", ask).await?;
        let missing = || Error::malformed("the answer to AlterClientQuotas", "no entity in it");
        let result = answer.entries.into_iter().next().ok_or_else(missing)?;
        check(result.error_code, "change of quotas", result.error_message)
    }
}
