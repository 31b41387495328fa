//! How far the moves of a file are.

use std::collections::{BTreeMap, BTreeSet};

use millstream_client::{Admin, Replica};
use millstream_types::{ErrorCode, TopicName};

use super::{ids, plan::Plan, throttle, thrown};
use crate::tools::{exit::Outcome, output};

pub(super) async fn run(plan: &Plan, admin: &Admin, preserve_throttles: bool) -> Outcome {
    let moving = admin.list_reassignments(None).await.map_err(thrown)?;
    let names: BTreeSet<TopicName> = plan
        .targets
        .iter()
        .filter(|(partition, _)| !moving.contains_key(partition))
        .map(|(partition, _)| partition.topic.clone())
        .collect();
    let mut topics = BTreeMap::new();
    if !names.is_empty() {
        let names: Vec<TopicName> = names.into_iter().collect();
        for (name, described) in admin.describe_topics(&names).await.map_err(thrown)? {
            match described {
                Ok(topic) => drop(topics.insert(name, topic)),
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
                Err(error) => return Err(thrown(error)),
            }
        }
    }
    output::line("Status of partition reassignment:");
    let targets: BTreeMap<_, _> = plan.targets.iter().cloned().collect();
    for (partition, target) in &targets {
        if moving.contains_key(partition) {
            output::line(&format!("Reassignment of partition {partition} is still in progress."));
            continue;
        }
        let found = topics.get(&partition.topic).and_then(|topic| topic.partitions.get(&partition.partition));
        let replicas = found.map(|one| one.replicas.clone()).unwrap_or_default();
        output::line(&match replicas == *target {
            true => format!("Reassignment of partition {partition} is completed."),
            false => format!(
                "There is no active reassignment of partition {partition}, but replica set is {} rather than {}.",
                ids(&replicas),
                ids(target)
            ),
        });
    }
    let states = directories(plan, admin).await?;
    // Kafka's tool ends this list with a line, which is empty if there are none.
    let lines: Vec<String> = states.iter().map(|(replica, state)| state.told(replica)).collect();
    output::line(&lines.join("\n"));
    let moves = states.values().any(|state| matches!(state, DirectoryMove::Active { .. }));
    if moving.is_empty() && !moves && !preserve_throttles {
        throttle::clear(admin, &plan.targets).await?;
    }
    Ok(())
}

/// How far a move from one directory to another is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DirectoryMove {
    /// The broker, or its directories, tell nothing of the replica.
    Missing,
    Active {
        current: String,
        future: String,
        target: String,
    },
    Elsewhere {
        current: String,
        target: String,
    },
    Done,
}

impl DirectoryMove {
    fn told(&self, replica: &Replica) -> String {
        let Replica { partition, broker } = replica;
        let name = format!("{partition}-{broker}");
        match self {
            Self::Missing => {
                format!("Partition {partition} cannot be found in any live log directory on broker {broker}.")
            }
            Self::Active { future, target, .. } if future == target => {
                format!("Reassignment of replica {name} is still in progress.")
            }
            Self::Active { future, target, .. } => format!(
                "Partition {partition} on broker {broker} is being moved to log dir {future} instead of {target}."
            ),
            Self::Elsewhere { current, target } => format!(
                "Partition {partition} on broker {broker} is not being moved from log dir {current} to {target}."
            ),
            Self::Done => format!("Reassignment of replica {name} completed successfully."),
        }
    }
}

/// The directory of every replica that the brokers tell of.
pub(super) async fn where_they_are(admin: &Admin) -> Outcome<BTreeMap<Replica, String>> {
    let mut found = BTreeMap::new();
    for (broker, dirs) in admin.describe_log_dirs().await.map_err(thrown)? {
        for dir in dirs {
            let own = dir.replicas.iter().filter(|(_, replica)| !replica.is_future);
            found.extend(
                own.map(|(partition, _)| {
                    (Replica { partition: partition.clone(), broker }, dir.path.clone())
                }),
            );
        }
    }
    Ok(found)
}

/// The state of every move between directories that a file asks for.
pub(super) async fn directories(plan: &Plan, admin: &Admin) -> Outcome<BTreeMap<Replica, DirectoryMove>> {
    if plan.directories.is_empty() {
        return Ok(BTreeMap::new());
    }
    let described = admin.describe_log_dirs().await.map_err(thrown)?;
    let state = |(replica, target): (&Replica, &String)| {
        let dirs = described.get(&replica.broker).into_iter().flatten();
        let holding = dirs.filter_map(|dir| Some((dir, dir.replicas.get(&replica.partition)?)));
        let (mut current, mut future) = (None, None);
        for (dir, one) in holding {
            *(if one.is_future { &mut future } else { &mut current }) = Some(dir.path.clone());
        }
        let target = target.clone();
        let state = match (current, future) {
            (None, _) => DirectoryMove::Missing,
            (Some(current), Some(future)) => DirectoryMove::Active { current, future, target },
            (Some(current), None) if current == target => DirectoryMove::Done,
            (Some(current), None) => DirectoryMove::Elsewhere { current, target },
        };
        (replica.clone(), state)
    };
    Ok(plan.directories.iter().map(state).collect())
}

#[test]
fn each_state_of_a_move_is_told() {
    use millstream_types::{BrokerId, PartitionId, TopicPartition};

    let partition = TopicPartition::new(TopicName::parse("t").expect("a name"), PartitionId(0));
    let replica = Replica { partition, broker: BrokerId(7) };
    let told = |state: DirectoryMove| state.told(&replica);
    let (a, b, c) = ("/a".to_owned(), "/b".to_owned(), "/c".to_owned());
    assert!(told(DirectoryMove::Missing).contains("cannot be found"));
    assert_eq!(told(DirectoryMove::Done), "Reassignment of replica t-0-7 completed successfully.");
    let active = |target: &str| DirectoryMove::Active {
        current: a.clone(),
        future: b.clone(),
        target: target.to_owned(),
    };
    assert!(told(active("/b")).ends_with("is still in progress."));
    assert!(told(active("/c")).ends_with("to log dir /b instead of /c."));
    assert!(
        told(DirectoryMove::Elsewhere { current: a.clone(), target: c }).ends_with("from log dir /a to /c.")
    );
}
