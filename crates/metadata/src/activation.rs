//! Taking over the metadata at the start, and leaving it in order at the end: bootstrap records, the node's
//! registration, its partitions' leader epochs. `ActivationRecordsGenerator`, `ClusterControlManager`,
//! `ReplicationControlManager.handleBrokerUnfenced`.
//!
//! As in Kafka every start raises the leader epoch of each partition: what was written before and what
//! comes after can then be told apart. A clean stop raises it too and leaves the node fenced, so that a
//! Kafka that is started on the directory need not wait for a session to expire.

use millstream_record::{
    kraft::MetadataRecord,
    messages::{
        AbortTransactionRecord, BeginTransactionRecord, BrokerRegistrationChangeRecord, ConfigRecord,
        EndTransactionRecord, PartitionChangeRecord, RegisterBrokerRecord,
        register_broker_record::{BrokerEndpoint, BrokerFeature},
    },
};
use millstream_types::{BrokerId, Offset, PartitionId, TopicPartition, Uuid};

use crate::{ApplyError, Image, Partition, RECORDS_MAX, Replay, ResourceType, Topic, features};

/// What clients are told of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
}

/// How the node registers itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    pub id: BrokerId,
    /// A new random one at every start.
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    pub log_dirs: Vec<Uuid>,
}

/// What a start knows beside the metadata.
pub struct Start<'a> {
    pub registration: &'a Registration,
    /// The records of `bootstrap.checkpoint`, where there is one.
    pub bootstrap: Option<&'a [MetadataRecord]>,
    /// Where the first of the activation's batches goes: after the batch that begins the epoch.
    pub next_offset: Offset,
    /// In which directory a partition's log lies, for metadata that does not say.
    pub locate: &'a dyn Fn(&TopicPartition) -> Option<Uuid>,
}

/// The batches to append one after the other, from [`Start::next_offset`] on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activation {
    pub batches: Vec<Vec<MetadataRecord>>,
    /// What the user should be told.
    pub notices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivationError {
    #[error("the metadata is of metadata.version {0}; 7 (Kafka 3.3) to 30 (Kafka 4.3) can be opened")]
    MetadataVersion(i16),
    #[error(
        "partition {partition} has its replicas on the brokers {replicas:?}, but this is node {node}: a single node can only open a directory whose partitions are on it alone"
    )]
    Elsewhere { partition: TopicPartition, replicas: Vec<i32>, node: BrokerId },
    #[error("the bootstrap records do not set metadata.version")]
    NoMetadataVersion,
    #[error("a bootstrap record does not fit: {0}")]
    Bootstrap(#[from] ApplyError),
}

/// What a new directory begins with.
pub fn default_bootstrap() -> Vec<MetadataRecord> {
    vec![features::record(features::METADATA_VERSION, features::METADATA_VERSION_DEFAULT)]
}

/// The records with which the node takes over.
pub fn activate(replay: &Replay, start: &Start<'_>) -> Result<Activation, ActivationError> {
    let mut image = replay.image().clone();
    let mut activation = Activation::default();
    match image.metadata_version() {
        0 => {
            let records = bootstrap(start)?;
            records.iter().try_for_each(|record| image.apply(record))?;
            activation.batches.push(records);
        }
        level if !(features::METADATA_VERSION_MIN..=features::METADATA_VERSION_MAX).contains(&level) => {
            return Err(ActivationError::MetadataVersion(level));
        }
        level => activation.take_up(replay, level),
    }
    let node = start.registration.id;
    let mut partitions = Vec::new();
    for topic in image.topics().iter() {
        for (id, partition) in &topic.partitions {
            check_here(node, topic, *id, partition)?;
            partitions.push(lead(start, topic, *id, partition).into());
        }
    }
    let earlier: usize = activation.batches.iter().map(Vec::len).sum();
    let at = start.next_offset.plus(i64::try_from(earlier).unwrap_or(i64::MAX));
    let unfence = BrokerRegistrationChangeRecord {
        broker_id: node.0,
        broker_epoch: at.0,
        fenced: UNFENCE,
        ..BrokerRegistrationChangeRecord::default()
    };
    let mut records = vec![register(start.registration, at).into()];
    records.extend(partitions);
    records.push(unfence.into());
    activation.batches.extend(records.chunks(RECORDS_MAX).map(<[_]>::to_vec));
    if image.kept().has_acls() {
        let notice = "the metadata has ACLs, which are kept but not enforced: every client may do everything";
        activation.notices.push(notice.into());
    }
    Ok(activation)
}

impl Activation {
    /// The log has been in use: an unfinished transaction is aborted, an old level raised.
    fn take_up(&mut self, replay: &Replay, level: i16) {
        if replay.is_in_transaction() {
            let reason = Some("the controller stopped before it ended".to_owned());
            let abort = AbortTransactionRecord { reason, ..AbortTransactionRecord::default() };
            self.batches.push(vec![abort.into()]);
        }
        let to = features::METADATA_VERSION_DEFAULT;
        if level < to {
            self.batches.push(vec![features::record(features::METADATA_VERSION, to)]);
            self.notices.push(format!("metadata.version is raised from {level} to {to}"));
        }
    }
}

/// In a [`BrokerRegistrationChangeRecord`].
const UNFENCE: i8 = -1;
const FENCE: i8 = 1;

fn bootstrap(start: &Start<'_>) -> Result<Vec<MetadataRecord>, ActivationError> {
    let default = default_bootstrap();
    let given = start.bootstrap.unwrap_or(&default);
    let level = given.iter().find_map(|record| match record {
        MetadataRecord::FeatureLevel(feature) if feature.name == features::METADATA_VERSION => {
            Some(feature.feature_level)
        }
        _ => None,
    });
    let level = level.ok_or(ActivationError::NoMetadataVersion)?;
    if !(features::METADATA_VERSION_MIN..=features::METADATA_VERSION_MAX).contains(&level) {
        return Err(ActivationError::MetadataVersion(level));
    }
    let name = Some("Bootstrap records".to_owned());
    let mut records = vec![BeginTransactionRecord { name, ..BeginTransactionRecord::default() }.into()];
    records.extend_from_slice(given);
    if has_elr(given) {
        records.push(min_insync_replicas().into());
    }
    if level < features::METADATA_VERSION_DEFAULT {
        records.push(features::record(features::METADATA_VERSION, features::METADATA_VERSION_DEFAULT));
    }
    records.push(EndTransactionRecord::default().into());
    Ok(records)
}

/// Whether these records finalize eligible leader replicas without the setting that Kafka wants beside it.
fn has_elr(records: &[MetadataRecord]) -> bool {
    let finalized = records.iter().any(|record| {
        matches!(record, MetadataRecord::FeatureLevel(feature)
            if feature.name == features::ELIGIBLE_LEADER_REPLICAS_VERSION && feature.feature_level > 0)
    });
    let key = min_insync_replicas().name;
    finalized && !records.iter().any(|record| matches!(record, MetadataRecord::Config(c) if c.name == key))
}

fn min_insync_replicas() -> ConfigRecord {
    ConfigRecord {
        resource_type: ResourceType::Broker.code(),
        name: "min.insync.replicas".to_owned(),
        value: Some("1".to_owned()),
        ..ConfigRecord::default()
    }
}

fn register(registration: &Registration, epoch: Offset) -> RegisterBrokerRecord {
    let endpoint = |endpoint: &Endpoint| BrokerEndpoint {
        name: endpoint.listener.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        security_protocol: 0,
        ..BrokerEndpoint::default()
    };
    let feature = |supported: &features::Supported| BrokerFeature {
        name: supported.name.to_owned(),
        min_supported_version: supported.min,
        max_supported_version: supported.max,
        ..BrokerFeature::default()
    };
    RegisterBrokerRecord {
        broker_id: registration.id.0,
        incarnation_id: registration.incarnation_id,
        broker_epoch: epoch.0,
        end_points: registration.endpoints.iter().map(endpoint).collect(),
        features: features::SUPPORTED.iter().map(feature).collect(),
        rack: registration.rack.clone(),
        fenced: true,
        log_dirs: registration.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    }
}

fn check_here(
    node: BrokerId,
    topic: &Topic,
    id: PartitionId,
    partition: &Partition,
) -> Result<(), ActivationError> {
    if partition.replicas == [node] {
        return Ok(());
    }
    let replicas = partition.replicas.iter().map(|replica| replica.0).collect();
    let partition = TopicPartition::new(topic.name.clone(), id);
    Err(ActivationError::Elsewhere { partition, replicas, node })
}

/// The node leads the partition, in a new leader epoch, alone in sync.
fn lead(start: &Start<'_>, topic: &Topic, id: PartitionId, partition: &Partition) -> PartitionChangeRecord {
    let node = start.registration.id;
    let alone = partition.isr == [node];
    let elr = !partition.eligible_leader_replicas.is_empty() || !partition.last_known_elr.is_empty();
    let known = partition.directory(node).is_some_and(|id| start.registration.log_dirs.contains(&id));
    let directory = match (known, start.registration.log_dirs.as_slice()) {
        (true, _) => None,
        (false, [only]) => Some(*only),
        (false, _) => (start.locate)(&TopicPartition::new(topic.name.clone(), id)),
    };
    PartitionChangeRecord {
        partition_id: id.0,
        topic_id: topic.id,
        isr: (!alone).then(|| vec![node.0]),
        leader: node.0,
        leader_recovery_state: if partition.recovering { 0 } else { -1 },
        directories: directory.map(|id| vec![id]),
        eligible_leader_replicas: elr.then(Vec::new),
        last_known_elr: elr.then(Vec::new),
        ..PartitionChangeRecord::default()
    }
}

/// The records of a clean stop: no partition has a leader any more, and the node is fenced. Where eligible
/// leader replicas are finalized the node stays eligible, as Kafka leaves it.
pub fn shut_down(image: &Image, node: BrokerId) -> Vec<Vec<MetadataRecord>> {
    let Some(broker) = image.broker(node) else { return Vec::new() };
    let change = BrokerRegistrationChangeRecord {
        broker_id: node.0,
        broker_epoch: broker.epoch().0,
        ..BrokerRegistrationChangeRecord::default()
    };
    let stopping = BrokerRegistrationChangeRecord { in_controlled_shutdown: 1, ..change.clone() };
    let mut records: Vec<MetadataRecord> = vec![stopping.into()];
    let elr = image.feature(features::ELIGIBLE_LEADER_REPLICAS_VERSION) > 0;
    for topic in image.topics().iter() {
        for (id, _) in topic.partitions.iter().filter(|(_, partition)| partition.leader == Some(node)) {
            let eligible = elr.then(|| vec![node.0]);
            let change = PartitionChangeRecord {
                partition_id: id.0,
                topic_id: topic.id,
                isr: elr.then(Vec::new),
                leader: -1,
                eligible_leader_replicas: eligible.clone(),
                last_known_elr: eligible,
                ..PartitionChangeRecord::default()
            };
            records.push(change.into());
        }
    }
    records.push(BrokerRegistrationChangeRecord { fenced: FENCE, ..change }.into());
    records.chunks(RECORDS_MAX).map(<[_]>::to_vec).collect()
}
