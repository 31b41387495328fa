//! The tree, with the names that Kafka's shell gives to its nodes.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use millstream_client::{AclOperation, AclPatternType, AclPermission, AclResourceType};
use millstream_metadata::Image;
use millstream_record::messages::{
    MetadataRecord, PartitionRecord, RegisterBrokerRecord, RegisterControllerRecord,
};
use millstream_types::{TimestampMs, Uuid};

use crate::command::time;

const SECRET: &str = "[redacted]";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory(BTreeMap<String, Node>),
    File(String),
}

impl Default for Node {
    fn default() -> Self {
        Self::Directory(BTreeMap::new())
    }
}

impl Node {
    /// Puts a file where the path says, with the directories on the way.
    fn put(&mut self, path: &[&str], text: impl Into<String>) {
        let Self::Directory(children) = self else { return };
        match path {
            [] => {}
            [name] => drop(children.insert((*name).to_owned(), Self::File(text.into()))),
            [name, rest @ ..] => children.entry((*name).to_owned()).or_default().put(rest, text),
        }
    }

    fn directory(&mut self, path: &[&str]) {
        let Self::Directory(children) = self else { return };
        if let [name, rest @ ..] = path {
            children.entry((*name).to_owned()).or_default().directory(rest);
        }
    }

    #[cfg(test)]
    fn child(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Directory(children) => children.get(name),
            Self::File(_) => None,
        }
    }
}

fn list<T: ToString>(all: &[T]) -> String {
    format!("[{}]", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

pub(super) fn of_image(image: &Image, end: i64, epoch: i32, timestamp: i64) -> Node {
    let mut root = Node::default();
    for directory in [
        ["image", "acls", "byId"],
        ["image", "cluster", "brokers"],
        ["image", "cluster", "controllers"],
        ["image", "delegationToken", "byId"],
        ["image", "topics", "byId"],
        ["image", "topics", "byName"],
    ] {
        root.directory(&directory);
    }
    for directory in ["clientQuotas", "configs", "features", "producerIds", "scram"] {
        root.directory(&["image", directory]);
    }
    root.put(&["local", "commitId"], env!("CARGO_PKG_VERSION"));
    root.put(&["local", "version"], crate::tools::KAFKA_VERSION);
    let when = time::format(TimestampMs(timestamp));
    root.put(&["image", "provenance"], format!("offset {end}, epoch {epoch}, time {when}"));
    let mut topics: BTreeMap<Uuid, String> = BTreeMap::new();
    for record in image.to_records() {
        add(&mut root, &record, &mut topics);
    }
    root
}

fn add(root: &mut Node, record: &MetadataRecord, topics: &mut BTreeMap<Uuid, String>) {
    match record {
        MetadataRecord::RegisterBroker(broker) => {
            root.put(&["image", "cluster", "brokers", &broker.broker_id.to_string()], registration(broker));
        }
        MetadataRecord::RegisterController(one) => {
            root.put(&["image", "cluster", "controllers", &one.controller_id.to_string()], controller(one));
        }
        MetadataRecord::Topic(topic) => {
            let id = topic.topic_id.to_string();
            for path in [["byId", id.as_str()], ["byName", topic.name.as_str()]] {
                root.put(&["image", "topics", path[0], path[1], "id"], id.clone());
                root.put(&["image", "topics", path[0], path[1], "name"], topic.name.clone());
            }
            topics.insert(topic.topic_id, topic.name.clone());
        }
        MetadataRecord::Partition(partition) => {
            let Some(name) = topics.get(&partition.topic_id) else { return };
            let number = partition.partition_id.to_string();
            let text = partition_text(partition);
            root.put(&["image", "topics", "byId", &partition.topic_id.to_string(), &number], text.clone());
            root.put(&["image", "topics", "byName", name, &number], text);
        }
        MetadataRecord::Config(config) => {
            let kind = match config.resource_type {
                2 => "TOPIC",
                4 => "BROKER",
                8 => "BROKER_LOGGER",
                16 => "CLIENT_METRICS",
                32 => "GROUP",
                _ => "UNKNOWN",
            };
            let resource = match config.resource_name.as_str() {
                "" => kind.to_owned(),
                name => format!("{kind}:{name}"),
            };
            // Passwords and the like; Kafka hides whatever it does not know as well.
            let secret = config.name.contains("password") || config.name.contains("sasl.jaas");
            let value = config.value.clone().unwrap_or_else(|| "null".to_owned());
            let value = if secret { SECRET.to_owned() } else { value };
            root.put(&["image", "configs", &resource, &config.name], value);
        }
        MetadataRecord::FeatureLevel(feature) if feature.name == "metadata.version" => {
            let level = crate::tools::releases::metadata_name(feature.feature_level);
            let level = level.map_or_else(|| feature.feature_level.to_string(), str::to_owned);
            root.put(&["image", "features", "metadataVersion"], level);
        }
        MetadataRecord::FeatureLevel(feature) => {
            let name = format!("finalized_{}", feature.name);
            root.put(&["image", "features", &name], feature.feature_level.to_string());
        }
        MetadataRecord::ProducerIds(ids) => {
            root.put(&["image", "producerIds", "nextProducerId"], ids.next_producer_id.to_string());
        }
        other => add_security(root, other),
    }
}

fn add_security(root: &mut Node, record: &MetadataRecord) {
    match record {
        MetadataRecord::ClientQuota(quota) => {
            let mut parts: Vec<String> = quota
                .entity
                .iter()
                .map(|one| {
                    let kind = match one.entity_type.as_str() {
                        "client-id" => "clientId",
                        kind => kind,
                    };
                    let name = one.entity_name.as_deref().unwrap_or_default();
                    format!("{kind}({})", name.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)"))
                })
                .collect();
            parts.sort_unstable();
            root.put(&["image", "clientQuotas", &parts.join("_"), &quota.key], format!("{:?}", quota.value));
        }
        MetadataRecord::AccessControlEntry(acl) => {
            let text = format!(
                "StandardAcl(resourceType={}, resourceName={}, patternType={}, principal={}, host={}, operation={}, permissionType={})",
                AclResourceType::from_wire(acl.resource_type),
                acl.resource_name,
                AclPatternType::from_wire(acl.pattern_type),
                acl.principal,
                acl.host,
                AclOperation::from_wire(acl.operation),
                AclPermission::from_wire(acl.permission_type)
            );
            root.put(&["image", "acls", "byId", &acl.id.to_string()], text);
        }
        MetadataRecord::UserScramCredential(credential) => {
            let mechanism = match credential.mechanism {
                1 => "SCRAM-SHA-256",
                2 => "SCRAM-SHA-512",
                _ => "UNKNOWN",
            };
            let text = format!(
                "ScramCredentialData(salt={SECRET}, storedKey={SECRET}, serverKey={SECRET}, iterations={})",
                credential.iterations
            );
            root.put(&["image", "scram", mechanism, &credential.name], text);
        }
        MetadataRecord::DelegationToken(token) => {
            let text = format!(
                "DelegationTokenData tokenId={SECRET}(owner={})(tokenRequester={})(renewers={}), issueTimestamp={}, maxTimestamp={}), expiryTimestamp={}",
                token.owner,
                token.requester,
                token.renewers.join(" "),
                token.issue_timestamp,
                token.max_timestamp,
                token.expiration_timestamp
            );
            // The id is a secret, too.
            let id = STANDARD.encode(token.token_id.as_bytes());
            root.put(&["image", "delegationToken", "byId", &id], text);
        }
        _ => {}
    }
}

fn endpoint(name: &str, protocol: i16, host: &str, port: u16) -> String {
    let protocol = match protocol {
        0 => "PLAINTEXT",
        1 => "SSL",
        2 => "SASL_PLAINTEXT",
        3 => "SASL_SSL",
        _ => "UNKNOWN",
    };
    format!("Endpoint(listenerName='{name}', securityProtocol={protocol}, host='{host}', port={port})")
}

fn range(name: &str, low: i16, high: i16) -> String {
    if low == high { format!("{name}: {low}") } else { format!("{name}: {low}-{high}") }
}

/// As Java prints a `BrokerRegistration`.
fn registration(broker: &RegisterBrokerRecord) -> String {
    let listeners: Vec<String> = broker
        .end_points
        .iter()
        .map(|one| endpoint(&one.name, one.security_protocol, &one.host, one.port))
        .collect();
    let features: Vec<String> = broker
        .features
        .iter()
        .map(|one| range(&one.name, one.min_supported_version, one.max_supported_version))
        .collect();
    let rack =
        broker.rack.as_ref().map_or_else(|| "Optional.empty".to_owned(), |rack| format!("Optional[{rack}]"));
    format!(
        "BrokerRegistration(id={}, epoch={}, incarnationId={}, listeners=[{}], supportedFeatures={{{}}}, rack={rack}, fenced={}, inControlledShutdown={}, isMigratingZkBroker={}, directories={}, cordonedDirectories={})",
        broker.broker_id,
        broker.broker_epoch,
        broker.incarnation_id,
        listeners.join(", "),
        features.join(", "),
        broker.fenced,
        broker.in_controlled_shutdown,
        broker.is_migrating_zk_broker,
        list(&broker.log_dirs),
        list(broker.cordoned_log_dirs.as_deref().unwrap_or_default())
    )
}

/// As Java prints a `ControllerRegistration`.
fn controller(one: &RegisterControllerRecord) -> String {
    let listeners: Vec<String> = one
        .end_points
        .iter()
        .map(|one| endpoint(&one.name, one.security_protocol, &one.host, one.port))
        .collect();
    let features: Vec<String> = one
        .features
        .iter()
        .map(|one| range(&one.name, one.min_supported_version, one.max_supported_version))
        .collect();
    format!(
        "ControllerRegistration(id={}, incarnationId={}, zkMigrationReady={}, listeners=[{}], supportedFeatures={{{}}})",
        one.controller_id,
        one.incarnation_id,
        one.zk_migration_ready,
        listeners.join(", "),
        features.join(", ")
    )
}

/// As Java prints a `PartitionRegistration`.
fn partition_text(one: &PartitionRecord) -> String {
    format!(
        "PartitionRegistration(replicas={}, directories={}, isr={}, removingReplicas={}, addingReplicas={}, elr={}, lastKnownElr={}, leader={}, leaderRecoveryState={}, leaderEpoch={}, partitionEpoch={})",
        list(&one.replicas),
        list(&one.directories),
        list(&one.isr),
        list(&one.removing_replicas),
        list(&one.adding_replicas),
        list(one.eligible_leader_replicas.as_deref().unwrap_or_default()),
        list(one.last_known_elr.as_deref().unwrap_or_default()),
        one.leader,
        if one.leader_recovery_state == 0 { "RECOVERED" } else { "RECOVERING" },
        one.leader_epoch,
        one.partition_epoch
    )
}

#[cfg(test)]
mod tests {
    use millstream_record::messages::{ConfigRecord, TopicRecord};

    use super::*;

    #[test]
    fn a_topic_is_found_by_name_and_by_id_and_secrets_are_not_found() {
        let mut image = Image::default();
        let topic = TopicRecord { name: "t".to_owned(), topic_id: Uuid(200), ..Default::default() };
        let partition = PartitionRecord {
            partition_id: 0,
            leader_epoch: 0,
            partition_epoch: 0,
            topic_id: Uuid(200),
            replicas: vec![1],
            leader: 1,
            ..Default::default()
        };
        let config = |name: &str| ConfigRecord {
            resource_type: 4,
            resource_name: "1".to_owned(),
            name: name.to_owned(),
            value: Some("x".to_owned()),
            ..Default::default()
        };
        for record in [
            MetadataRecord::from(topic),
            partition.into(),
            config("ssl.keystore.password").into(),
            config("log.retention.ms").into(),
        ] {
            image.apply(&record).expect("it fits");
        }
        let root = of_image(&image, 3, 1, 0);
        let at = |path: &str| path.split('/').try_fold(&root, |node, name| node.child(name));
        let by_name = at("image/topics/byName/t/0");
        assert!(matches!(by_name, Some(Node::File(text)) if text.contains("leader=1,")), "{by_name:?}");
        assert_eq!(at(&format!("image/topics/byId/{}/0", Uuid(200))), by_name);
        assert_eq!(at("image/configs/BROKER:1/ssl.keystore.password"), Some(&Node::File(SECRET.to_owned())));
        assert_eq!(at("image/configs/BROKER:1/log.retention.ms"), Some(&Node::File("x".to_owned())));
        assert!(matches!(at("image/acls/byId"), Some(Node::Directory(_))));
    }
}
