//! Adding partitions to topics. `ReplicationControlManager.createPartitions`.

use std::collections::BTreeMap;

use millstream_record::kraft::MetadataRecord;
use millstream_types::{BrokerId, ErrorCode, PartitionId};

use super::{
    Decision, Failure, Node, PARTITIONS_MAX,
    placement::{Places, check_assignment},
};
use crate::Image;

/// How many partitions a topic should have, and where the new ones' replicas go if that is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewPartitions {
    pub topic: String,
    pub count: i32,
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// Decides on each topic by itself; one that stands in the request more than once is refused, and has one
/// result.
pub fn create_partitions(
    image: &Image,
    node: Node<'_>,
    requests: &[NewPartitions],
    validate_only: bool,
) -> Decision<(String, Result<(), Failure>)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for request in requests {
        *counts.entry(&request.topic).or_default() += 1;
    }
    let mut decision = Decision { records: Vec::new(), results: Vec::new() };
    let mut places = Places::of(image, node);
    for request in requests {
        let Some(count) = counts.remove(request.topic.as_str()) else { continue };
        let result = match count {
            1 => add(image, request, &mut places),
            _ => Err(Failure::duplicate_topic()),
        };
        let result = result.and_then(|records| {
            if decision.records.len() + records.len() > PARTITIONS_MAX {
                return Err(Failure::too_many_partitions());
            }
            places.grant(records.len())?;
            decision.records.extend(records);
            Ok(())
        });
        decision.results.push((request.topic.clone(), result));
    }
    decision.validated_only(validate_only)
}

fn add(image: &Image, request: &NewPartitions, places: &mut Places) -> Result<Vec<MetadataRecord>, Failure> {
    let topic = image.topics().get(&request.topic);
    let topic = topic.ok_or_else(|| Failure::bare(ErrorCode::UnknownTopicOrPartition))?;
    let last = topic.partitions.last_key_value();
    let current = last.map_or(0, |(number, _)| number.0.saturating_add(1));
    let invalid = |message| Err(Failure::new(ErrorCode::InvalidPartitions, message));
    if request.count == current {
        return invalid(format!("Topic already has {current} partition(s)."));
    }
    if request.count < current {
        return invalid(format!(
            "The topic {} currently has {current} partition(s); {} would not be an increase.",
            request.topic, request.count
        ));
    }
    let additional = usize::try_from(request.count - current).expect("more partitions than there are");
    if additional > PARTITIONS_MAX {
        return Err(Failure::too_many_partitions());
    }
    if let Some(assignments) = &request.assignments {
        if assignments.len() != additional {
            return Err(Failure::new(
                ErrorCode::InvalidReplicaAssignment,
                format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                ),
            ));
        }
        let expected = topic.partitions.values().next().map(|partition| partition.replicas.len());
        assignments.iter().try_for_each(|replicas| check_assignment(image, replicas, expected))?;
    }
    let record = |number| places.partition().to_record(topic.id, PartitionId(number)).into();
    Ok((current..request.count).map(record).collect())
}
