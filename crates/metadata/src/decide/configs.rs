//! Altering settings, key by key or as a whole. `ConfigAdminManager`, `ConfigurationControlManager`.

use std::collections::BTreeSet;

use millstream_config::{
    AlterOp, ConfigError, Properties, Scope, apply_incremental, validate_broker, validate_client_metrics,
    validate_group, validate_topic,
};
use millstream_record::{kraft::MetadataRecord, messages::ConfigRecord};
use millstream_types::{BrokerId, ErrorCode, TopicName};

use super::{Decision, Failure, Node};
use crate::{ConfigResource, Image, ResourceType, features};

/// One key of IncrementalAlterConfigs. `op` is `None` for a code that is not known.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigOp {
    pub name: String,
    pub op: Option<AlterOp>,
    pub value: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConfigChange {
    pub resource: ConfigResource,
    pub ops: Vec<ConfigOp>,
}

/// One resource of AlterConfigs: all of its settings from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigReplacement {
    pub resource: ConfigResource,
    pub settings: Vec<(String, Option<String>)>,
}

pub type ResourceResult = (ConfigResource, Result<(), Failure>);

/// Changes single settings; decides on each resource by itself.
pub fn incremental_alter_configs(
    image: &Image,
    node: Node<'_>,
    changes: &[ConfigChange],
    validate_only: bool,
) -> Decision<ResourceResult> {
    let resources: Vec<_> = changes.iter().map(|change| &change.resource).collect();
    let alter = |index: usize| {
        let change = &changes[index];
        let names: Vec<_> = change.ops.iter().map(|op| op.name.as_str()).collect();
        let nulls = change.ops.iter().filter(|op| op.value.is_none() && op.op != Some(AlterOp::Delete));
        check_request(&names, nulls.map(|op| op.name.as_str()).collect())?;
        check_resource(image, node, &change.resource)?;
        let current = image.configs().get(&change.resource).cloned().unwrap_or_default();
        let mut after = current.clone();
        for op in &change.ops {
            let kind = op.op.ok_or_else(|| {
                Failure::new(ErrorCode::InvalidRequest, format!("Unknown operation on {}", op.name))
            })?;
            let (scope, old) = (scope(change.resource.kind), current.get(&op.name).map(String::as_str));
            let new = apply_incremental(scope, &op.name, kind, old, op.value.as_deref());
            match new.map_err(|error| Failure::new(error.code(), error.to_string()))? {
                Some(value) => after.insert(op.name.clone(), value),
                None => after.remove(&op.name),
            };
        }
        change_to(image, node, &change.resource, &current, &after, &names)
    };
    decide(&resources, alter).validated_only(validate_only)
}

/// Replaces all settings; decides on each resource by itself.
pub fn alter_configs(
    image: &Image,
    node: Node<'_>,
    replacements: &[ConfigReplacement],
    validate_only: bool,
) -> Decision<ResourceResult> {
    let resources: Vec<_> = replacements.iter().map(|replacement| &replacement.resource).collect();
    let alter = |index: usize| {
        let replacement = &replacements[index];
        let names: Vec<_> = replacement.settings.iter().map(|(name, _)| name.as_str()).collect();
        let nulls = replacement.settings.iter().filter(|(_, value)| value.is_none());
        check_request(&names, nulls.map(|(name, _)| name.as_str()).collect())?;
        check_resource(image, node, &replacement.resource)?;
        let current = image.configs().get(&replacement.resource).cloned().unwrap_or_default();
        let set =
            replacement.settings.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
        change_to(image, node, &replacement.resource, &current, &set.collect(), &names)
    };
    decide(&resources, alter).validated_only(validate_only)
}

/// A resource that stands in the request more than once is refused each time.
fn decide(
    resources: &[&ConfigResource],
    alter: impl Fn(usize) -> Result<Vec<MetadataRecord>, Failure>,
) -> Decision<ResourceResult> {
    let mut decision = Decision { records: Vec::new(), results: Vec::new() };
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for resource in resources {
        if !seen.insert(*resource) {
            twice.insert(*resource);
        }
    }
    for (index, resource) in resources.iter().enumerate() {
        let result = match twice.contains(resource) {
            true => Err(invalid_request("Each resource must appear at most once.")),
            false => alter(index).map(|records| decision.records.extend(records)),
        };
        decision.results.push(((*resource).clone(), result));
    }
    decision
}

fn invalid_request(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}

fn check_request(names: &[&str], nulls: Vec<&str>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    if !names.iter().all(|name| seen.insert(name)) {
        return Err(invalid_request("Error due to duplicate config keys"));
    }
    match nulls.is_empty() {
        true => Ok(()),
        false => Err(invalid_request(ConfigError::NullValue(nulls.join(",")).to_string())),
    }
}

/// That there is such a resource.
fn check_resource(image: &Image, node: Node<'_>, resource: &ConfigResource) -> Result<(), Failure> {
    let name = resource.name.as_str();
    match resource.kind {
        ResourceType::Topic if name.is_empty() => {
            Err(invalid_request("Default topic resources are not allowed."))
        }
        ResourceType::Topic => {
            if let Err(error) = TopicName::parse(name) {
                return Err(Failure::new(ErrorCode::InvalidTopicException, error.to_string()));
            }
            image.topics().get(name).map(|_| ()).ok_or_else(|| {
                let message = format!("The topic '{name}' does not exist.");
                Failure::new(ErrorCode::UnknownTopicOrPartition, message)
            })
        }
        ResourceType::Broker if name.is_empty() => Ok(()),
        ResourceType::Broker => match name.parse().map(BrokerId) {
            Ok(id) if id == node.id => Ok(()),
            Ok(other) => Err(invalid_request(format!(
                "Unexpected broker id, expected {}, but received {other}",
                node.id
            ))),
            Err(_) => Err(invalid_request(format!("Node id must be an integer, but it is: {name}"))),
        },
        ResourceType::Group if name.is_empty() => {
            Err(invalid_request("Default group resources are not allowed."))
        }
        ResourceType::ClientMetrics if name.is_empty() => {
            Err(invalid_request("Subscription name can't be empty"))
        }
        ResourceType::Group | ResourceType::ClientMetrics => Ok(()),
        ResourceType::BrokerLogger | ResourceType::Other(_) => {
            let code = resource.kind.code();
            Err(invalid_request(format!("Unknown resource type {code}")))
        }
    }
}

fn scope(kind: ResourceType) -> Scope {
    match kind {
        ResourceType::Topic => Scope::Topic,
        ResourceType::Group => Scope::Group,
        ResourceType::ClientMetrics => Scope::ClientMetrics,
        _ => Scope::Broker,
    }
}

/// The records that take a resource's settings from what they are to what they shall be. `named` are the
/// keys of the request: of a broker they are recorded even when nothing changes, which makes brokers read
/// files anew that the values name.
fn change_to(
    image: &Image,
    node: Node<'_>,
    resource: &ConfigResource,
    current: &Properties,
    after: &Properties,
    named: &[&str],
) -> Result<Vec<MetadataRecord>, Failure> {
    let refused = |error: ConfigError| match resource.kind {
        ResourceType::Broker => invalid_request(error.to_string()),
        _ => Failure::new(error.code(), error.to_string()),
    };
    match resource.kind {
        ResourceType::Topic => validate_topic(after, node.layers),
        ResourceType::Group => validate_group(after, node.layers),
        ResourceType::ClientMetrics => validate_client_metrics(after),
        _ => {
            let set: Vec<_> = named.iter().copied().filter(|name| after.contains_key(*name)).collect();
            validate_broker(after, &set, !resource.name.is_empty(), node.layers)
        }
    }
    .map_err(refused)?;
    check_min_insync(image, resource, after, named)?;
    let names: BTreeSet<&str> = current.keys().chain(after.keys()).map(String::as_str).collect();
    let again = |name: &str| resource.kind == ResourceType::Broker && named.contains(&name);
    let changed = names.into_iter().filter(|name| current.get(*name) != after.get(*name) || again(name));
    let record = |name: &str| {
        let record = ConfigRecord {
            resource_type: resource.kind.code(),
            resource_name: resource.name.clone(),
            name: name.to_owned(),
            value: after.get(name).cloned(),
            ..ConfigRecord::default()
        };
        record.into()
    };
    Ok(changed.map(record).collect())
}

/// A directory of Kafka's in which eligible leader replicas are finalized keeps the rules that go with it.
fn check_min_insync(
    image: &Image,
    resource: &ConfigResource,
    after: &Properties,
    named: &[&str],
) -> Result<(), Failure> {
    const KEY: &str = "min.insync.replicas";
    let elr = image.feature(features::ELIGIBLE_LEADER_REPLICAS_VERSION) > 0;
    if !elr || resource.kind != ResourceType::Broker || !named.contains(&KEY) {
        return Ok(());
    }
    let refuse = |message| Err(Failure::new(ErrorCode::InvalidConfig, message));
    match (resource.name.is_empty(), after.contains_key(KEY)) {
        (true, false) => refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled."),
        (false, true) => refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled."),
        _ => Ok(()),
    }
}
