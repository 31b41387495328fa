//! Deleting topics by name or id. `ControllerApis.deleteTopics`.

use std::collections::BTreeMap;

use millstream_record::messages::RemoveTopicRecord;
use millstream_types::{ErrorCode, TopicName, Uuid};

use super::{Decision, Failure};
use crate::Image;

/// A topic as a request names it: a name, an id, or wrongly both or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicRef {
    pub name: Option<String>,
    pub id: Option<Uuid>,
}

/// What became of one of them, with the name and id as far as they are to be answered.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicResult {
    pub name: Option<String>,
    pub id: Option<Uuid>,
    /// The topic that is deleted.
    pub result: Result<TopicName, Failure>,
}

/// Decides on each by itself; one that stands in the request more than once is refused, and has one result.
pub fn delete_topics(image: &Image, topics: &[TopicRef]) -> Decision<TopicResult> {
    let mut counts: BTreeMap<&TopicRef, usize> = BTreeMap::new();
    for topic in topics {
        *counts.entry(topic).or_default() += 1;
    }
    let mut decision = Decision { records: Vec::new(), results: Vec::new() };
    let mut deleted = Vec::new();
    for topic in topics {
        let Some(count) = counts.remove(topic) else { continue };
        let mut answer =
            TopicResult { name: topic.name.clone(), id: topic.id, result: Err(Failure::unknown_topic()) };
        match find(image, topic, count) {
            Ok(found) if deleted.contains(&found.id) => answer.result = Err(Failure::duplicate_topic()),
            Ok(found) => {
                deleted.push(found.id);
                answer.name = Some(found.name.to_string());
                answer.id = Some(found.id);
                answer.result = Ok(found.name.clone());
                let record = RemoveTopicRecord { topic_id: found.id, ..RemoveTopicRecord::default() };
                decision.records.push(record.into());
            }
            Err(failure) => answer.result = Err(failure),
        }
        decision.results.push(answer);
    }
    decision
}

fn find<'a>(image: &'a Image, topic: &TopicRef, count: usize) -> Result<&'a crate::Topic, Failure> {
    let request = |message: &str| Err(Failure::new(ErrorCode::InvalidRequest, message));
    match (&topic.name, topic.id) {
        (Some(_), Some(_)) => request("You may not specify both topic name and topic id."),
        (None, None) => request("Neither topic name nor id were specified."),
        (Some(_), None) if count > 1 => Err(Failure::duplicate_topic()),
        (None, Some(_)) if count > 1 => request("Duplicate topic id."),
        (Some(name), None) => image.topics().get(name).map(AsRef::as_ref).ok_or_else(Failure::unknown_topic),
        (None, Some(id)) => image.topics().by_id(id).map(AsRef::as_ref).ok_or_else(Failure::unknown_topic_id),
    }
}
