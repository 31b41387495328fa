//! Creating topics. `ControllerApis.createTopics`, `ReplicationControlManager.createTopics`.

use std::collections::{BTreeMap, BTreeSet};

use millstream_config::{BrokerConfig, Properties, validate_topic};
use millstream_record::{
    kraft::MetadataRecord,
    messages::{ConfigRecord, TopicRecord},
};
use millstream_types::{BrokerId, ErrorCode, PartitionId, TopicName, Uuid};

use super::{
    Decision, Failure, Node, PARTITIONS_MAX,
    placement::{Places, check_assignment},
};
use crate::{Image, RECORDS_MAX, ResourceType};

const CLUSTER_METADATA: &str = "__cluster_metadata";

/// A topic that is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewTopic {
    pub name: String,
    /// `None`: the broker's default, or as many as are assigned.
    pub partitions: Option<i32>,
    pub replication_factor: Option<i16>,
    /// Partition and replicas, where they are assigned by hand.
    pub assignments: Vec<(i32, Vec<BrokerId>)>,
    pub settings: Vec<(String, Option<String>)>,
}

/// A topic that was, or would be, created.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedTopic {
    pub id: Uuid,
    pub partitions: i32,
    pub replication_factor: i16,
    /// Its own, for the configuration that newer responses carry.
    pub settings: Properties,
}

/// Decides on each topic by itself. A name that stands in the request more than once is refused, and has
/// one result.
pub fn create_topics(
    image: &Image,
    node: Node<'_>,
    topics: &[NewTopic],
    validate_only: bool,
    new_id: &mut dyn FnMut() -> Uuid,
) -> Decision<(String, Result<CreatedTopic, Failure>)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let total: usize = topics.iter().map(|topic| partition_count(node, topic)).sum();
    let mut decision = Decision { records: Vec::new(), results: Vec::new() };
    let mut places = Places::of(image, node);
    let mut seen = BTreeSet::new();
    for topic in topics.iter().filter(|topic| seen.insert(topic.name.as_str())) {
        let result = match counts[topic.name.as_str()] {
            1 if total > PARTITIONS_MAX => Err(Failure::too_many_partitions()),
            1 => create(image, node, topic, &mut places, new_id),
            _ => Err(Failure::duplicate_topic()),
        };
        let result = result.map(|(created, records)| {
            decision.records.extend(records);
            created
        });
        decision.results.push((topic.name.clone(), result));
    }
    if decision.records.len() > RECORDS_MAX {
        decision.records.clear();
        for (_, result) in decision.results.iter_mut().filter(|(_, result)| result.is_ok()) {
            *result = Err(Failure::too_many_records());
        }
    }
    decision.validated_only(validate_only)
}

fn partition_count(node: Node<'_>, topic: &NewTopic) -> usize {
    match topic.partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len(),
        Some(count) => usize::try_from(count).unwrap_or(0),
        None => usize::try_from(default_partitions(node)).unwrap_or(0),
    }
}

fn default_partitions(node: Node<'_>) -> i32 {
    BrokerConfig::resolve(node.layers).map_or(1, |config| config.topics.num_partitions)
}

fn create(
    image: &Image,
    node: Node<'_>,
    topic: &NewTopic,
    places: &mut Places,
    new_id: &mut dyn FnMut() -> Uuid,
) -> Result<(CreatedTopic, Vec<MetadataRecord>), Failure> {
    let name = check_name(image, &topic.name)?;
    let settings = check_settings(node, &topic.settings)?;
    let (count, replicas) = match topic.assignments.is_empty() {
        true => by_count(image, node, topic)?,
        false => by_assignment(image, topic)?,
    };
    places.grant(count)?;
    let created = CreatedTopic {
        id: new_id(),
        partitions: i32::try_from(count).expect("more partitions than fit a request were refused"),
        replication_factor: i16::try_from(replicas).expect("there are fewer brokers than that"),
        settings,
    };
    let mut records =
        vec![TopicRecord { name: name.to_string(), topic_id: created.id, ..TopicRecord::default() }.into()];
    records.extend(created.settings.iter().map(|(key, value)| {
        let record = ConfigRecord {
            resource_type: ResourceType::Topic.code(),
            resource_name: name.to_string(),
            name: key.clone(),
            value: Some(value.clone()),
            ..ConfigRecord::default()
        };
        record.into()
    }));
    for number in 0..created.partitions {
        let partition = places.partition();
        records.push(partition.to_record(created.id, PartitionId(number)).into());
    }
    Ok((created, records))
}

fn check_name(image: &Image, text: &str) -> Result<TopicName, Failure> {
    if text == CLUSTER_METADATA {
        let message = format!("Creation of internal topic {text} is prohibited.");
        return Err(Failure::new(ErrorCode::InvalidRequest, message));
    }
    let invalid = |message| Failure::new(ErrorCode::InvalidTopicException, message);
    let name = TopicName::parse(text).map_err(|error| invalid(error.to_string()))?;
    if image.topics().get(text).is_some() {
        return Err(Failure::new(ErrorCode::TopicAlreadyExists, format!("Topic '{text}' already exists.")));
    }
    match image.topics().colliding_with(&name) {
        Some(other) => Err(invalid(format!("Topic '{text}' collides with existing topic: {other}"))),
        None => Ok(name),
    }
}

fn check_settings(node: Node<'_>, settings: &[(String, Option<String>)]) -> Result<Properties, Failure> {
    let nulls: Vec<_> =
        settings.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str()).collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return Err(Failure::new(ErrorCode::InvalidConfig, message));
    }
    let set = settings.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    let settings: Properties = set.collect();
    match validate_topic(&settings, node.layers) {
        Ok(()) => Ok(settings),
        Err(error) => Err(Failure::new(error.code(), error.to_string())),
    }
}

/// How many partitions, and replicas of each, where the broker places them.
fn by_count(image: &Image, node: Node<'_>, topic: &NewTopic) -> Result<(usize, usize), Failure> {
    let config = BrokerConfig::resolve(node.layers);
    let default = config.map_or(1, |config| config.topics.default_replication_factor);
    let factor = topic.replication_factor.unwrap_or(default);
    if factor < 1 {
        return Err(Failure::new(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    let count = topic.partitions.unwrap_or_else(|| default_partitions(node));
    let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
        Failure::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        )
    })?;
    let brokers = image.brokers().count();
    if usize::try_from(factor).is_ok_and(|factor| factor > 1) {
        return Err(Failure::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be reached because only {brokers} broker(s) are registered or some brokers have all their log directories cordoned."
            ),
        ));
    }
    Ok((count, 1))
}

/// The same where replicas are named.
fn by_assignment(image: &Image, topic: &NewTopic) -> Result<(usize, usize), Failure> {
    let request = |message: &str| Err(Failure::new(ErrorCode::InvalidRequest, message));
    if topic.replication_factor.is_some() {
        return request(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        );
    }
    if topic.partitions.is_some() {
        return request("A manual partition assignment was specified, but numPartitions was not set to -1.");
    }
    let assignment = |message: String| Failure::new(ErrorCode::InvalidReplicaAssignment, message);
    let mut numbers = BTreeSet::new();
    let mut replication = None;
    for (number, replicas) in &topic.assignments {
        if !numbers.insert(*number) {
            let message = format!("Found multiple manual partition assignments for partition {number}");
            return Err(assignment(message));
        }
        check_assignment(image, replicas, replication)?;
        replication = Some(replicas.len());
    }
    let consecutive = numbers.iter().zip(0..).all(|(number, expected)| *number == expected);
    if !consecutive {
        return Err(assignment("partitions should be a consecutive 0-based integer sequence".into()));
    }
    Ok((numbers.len(), replication.unwrap_or(1)))
}
