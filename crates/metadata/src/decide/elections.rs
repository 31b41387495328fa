//! Electing leaders. With one replica there is never one to elect, but the request must be answered.
//! `ReplicationControlManager.electLeaders`.

use millstream_types::{ErrorCode, PartitionId};

use super::Failure;
use crate::Image;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    Preferred,
    Unclean,
}

impl Election {
    pub fn from_code(code: i8) -> Result<Self, Failure> {
        match code {
            0 => Ok(Self::Preferred),
            1 => Ok(Self::Unclean),
            other => Err(Failure::new(ErrorCode::InvalidRequest, format!("Unknown election type {other}"))),
        }
    }
}

/// By topic, what became of each partition that was named, or, of all partitions, that failed.
pub type Elections = Vec<(String, Vec<(PartitionId, Failure)>)>;

/// `partitions` is `None` for all there are; of these, those that need no election are not answered.
pub fn elect_leaders(image: &Image, partitions: Option<&[(String, Vec<i32>)]>) -> Elections {
    let Some(partitions) = partitions else {
        return image.topics().iter().map(|topic| (topic.name.to_string(), Vec::new())).collect();
    };
    let answer = |(topic, numbers): &(String, Vec<i32>)| {
        let results = numbers.iter().map(|number| (PartitionId(*number), elect(image, topic, *number)));
        (topic.clone(), results.collect())
    };
    partitions.iter().map(answer).collect()
}

fn elect(image: &Image, topic: &str, number: i32) -> Failure {
    let unknown = |message| Failure::new(ErrorCode::UnknownTopicOrPartition, message);
    let Some(found) = image.topics().get(topic) else {
        return unknown(format!("No such topic as {topic}"));
    };
    match found.partitions.contains_key(&PartitionId(number)) {
        false => unknown(format!("No such partition as {topic}-{number}")),
        true => Failure::new(ErrorCode::ElectionNotNeeded, "Leader election not needed for topic partition."),
    }
}
