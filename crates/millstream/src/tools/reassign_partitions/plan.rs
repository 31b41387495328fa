//! The file that says where partitions are to go.

use std::collections::{BTreeMap, BTreeSet};

use millstream_client::Replica;
use millstream_types::{BrokerId, TopicPartition};
use serde_json::{Value, json};

use super::ids;
use crate::tools::{
    exit::{Exit, Outcome},
    json,
};

/// No directory in particular.
const ANY: &str = "any";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// As written: an entry may come twice.
    pub(super) targets: Vec<(TopicPartition, Vec<BrokerId>)>,
    pub(super) directories: BTreeMap<Replica, String>,
}

impl Plan {
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let value = json::parse(text)?;
        version(&value)?;
        let mut plan = Self::default();
        let Some(list) = json::object_field(&value, "partitions")? else { return Ok(plan) };
        for entry in json::array(list)? {
            let partition = json::partition(entry)?;
            let numbers = json::array(json::field(entry, "replicas")?)?.iter().map(json::number);
            let replicas: Vec<BrokerId> =
                numbers.map(|number| number.map(BrokerId)).collect::<Outcome<_>>()?;
            let directories: Vec<&str> = match json::object_field(entry, "log_dirs")? {
                Some(list) => json::array(list)?.iter().map(json::text).collect::<Outcome<_>>()?,
                None => vec![ANY; replicas.len()],
            };
            if directories.len() != replicas.len() {
                let list: Vec<String> = replicas.iter().map(BrokerId::to_string).collect();
                return Err(Exit::failure(format!(
                    "Size of replicas list [{}] is different from size of log dirs list [{}] for partition {partition}",
                    list.join(", "),
                    directories.join(", ")
                )));
            }
            for (broker, directory) in replicas.iter().zip(directories) {
                if directory != ANY {
                    let replica = Replica { partition: partition.clone(), broker: *broker };
                    plan.directories.insert(replica, directory.to_owned());
                }
            }
            plan.targets.push((partition, replicas));
        }
        Ok(plan)
    }

    /// Refuses what cannot be carried out.
    pub(super) fn check(&self) -> Outcome {
        if self.targets.is_empty() {
            return Err(Exit::failure("Partition reassignment list cannot be empty"));
        }
        if self.targets.iter().any(|(_, replicas)| replicas.is_empty()) {
            return Err(Exit::failure("Partition replica list cannot be empty"));
        }
        let twice = duplicates(self.targets.iter().map(|(partition, _)| partition));
        if !twice.is_empty() {
            let twice: Vec<String> = twice.iter().map(|one| one.to_string()).collect();
            return Err(Exit::failure(format!(
                "Partition reassignment contains duplicate topic partitions: {}",
                twice.join(",")
            )));
        }
        let doubled = self.targets.iter().filter_map(|(partition, replicas)| {
            let twice: Vec<BrokerId> = duplicates(replicas).into_iter().copied().collect();
            let text = format!("{partition} contains multiple entries for {}", ids(&twice));
            (!twice.is_empty()).then_some(text)
        });
        let doubled: Vec<String> = doubled.collect();
        match doubled.is_empty() {
            true => Ok(()),
            false => Err(Exit::failure(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                doubled.join(". ")
            ))),
        }
    }
}

pub(super) fn version(value: &Value) -> Outcome {
    let version = json::object_field(value, "version")?.map(json::number).transpose()?;
    match version.unwrap_or(1) {
        1 => Ok(()),
        version => Err(Exit::failure(format!("Not supported version field value {version}"))),
    }
}

/// What comes more than once.
pub(super) fn duplicates<T: Clone + Ord>(all: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for one in all {
        if !seen.insert(one.clone()) {
            twice.insert(one);
        }
    }
    twice
}

/// An assignment as a file that `--execute` takes, with the directories that are known.
pub(super) fn to_json(
    assignment: &BTreeMap<TopicPartition, Vec<BrokerId>>,
    directories: &BTreeMap<Replica, String>,
) -> String {
    let directory = |partition: &TopicPartition, broker: BrokerId| {
        let replica = Replica { partition: partition.clone(), broker };
        directories.get(&replica).map_or(ANY, String::as_str)
    };
    let partitions = assignment.iter().map(|(partition, replicas)| {
        json!({
            "topic": partition.topic.as_str(),
            "partition": partition.partition.0,
            "replicas": replicas.iter().map(|id| id.0).collect::<Vec<_>>(),
            "log_dirs": replicas.iter().map(|id| directory(partition, *id)).collect::<Vec<_>>(),
        })
    });
    json!({ "version": 1, "partitions": partitions.collect::<Value>() }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let parsed = Plan::parse(text).and_then(|plan| plan.check());
        parsed.unwrap_err().sentence().to_owned()
    }

    #[test]
    fn files_are_refused_by_what_is_wrong_with_them() {
        assert!(refusal("nonsense").starts_with("The input string is not a valid JSON"));
        assert_eq!(refusal("{\"version\":2}"), "Not supported version field value 2");
        assert_eq!(refusal("{}"), "Partition reassignment list cannot be empty");
        let entry = |replicas: &str| format!("{{\"topic\":\"t\",\"partition\":0,\"replicas\":{replicas}}}");
        let file = |entries: &str| format!("{{\"partitions\":[{entries}]}}");
        assert_eq!(refusal(&file(&entry("[]"))), "Partition replica list cannot be empty");
        assert_eq!(
            refusal(&file(&format!("{},{}", entry("[1]"), entry("[2]")))),
            "Partition reassignment contains duplicate topic partitions: t-0"
        );
        assert_eq!(
            refusal(&file(&entry("[1,2,1]"))),
            "Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 1"
        );
        assert_eq!(
            refusal(&file("{\"topic\":\"t\",\"partition\":0,\"replicas\":[1],\"log_dirs\":[]}")),
            "Size of replicas list [1] is different from size of log dirs list [] for partition t-0"
        );
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let text = "{\"version\":1,\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,2],\"log_dirs\":[\"any\",\"/data\"]}]}";
        let plan = Plan::parse(text).unwrap();
        assert_eq!(to_json(&plan.targets.into_iter().collect(), &plan.directories), text);
    }
}
