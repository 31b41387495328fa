//! Beginning moves, and stopping them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use millstream_client::{Admin, Error, Replica};
use millstream_types::{BrokerId, ErrorCode, TopicName, TopicPartition};

use super::{
    as_wrong,
    plan::{Plan, to_json},
    plural, throttle, thrown,
    verify::{DirectoryMove, directories, where_they_are},
    wrong,
};
use crate::tools::{
    exit::{Exit, Outcome},
    kafka_error,
    options::Given,
    output,
};

/// Between attempts to begin a move to a directory of a broker that does not have the replica yet.
const PAUSE: Duration = Duration::from_millis(100);

type Assignment = BTreeMap<TopicPartition, Vec<BrokerId>>;

pub(super) async fn run(given: &Given, text: &str, connect: impl AsyncFn() -> Outcome<Admin>) -> Outcome {
    let plan = Plan::parse(text).map_err(as_wrong)?;
    plan.check().map_err(as_wrong)?;
    let proposed: Assignment = plan.targets.iter().cloned().collect();
    let rate = |name| Ok::<i64, Exit>(given.number(name).map_err(as_wrong)?.unwrap_or(-1));
    let (between_brokers, between_directories) =
        (rate("throttle")?, rate("replica-alter-log-dirs-throttle")?);
    let limit = timeout(given)?;
    let admin = connect().await?;
    let moving = admin.list_reassignments(None).await.map_err(thrown)?;
    if !moving.is_empty() && !given.has("additional") {
        return Err(Exit::failure(
            "Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a new partition assignment in addition to the existing one. The --additional flag can also be used to change the throttle by resubmitting the current reassignment.",
        ));
    }
    let brokers: BTreeSet<BrokerId> =
        admin.describe_cluster().await.map_err(thrown)?.brokers.iter().map(|broker| broker.id).collect();
    if let Some(unknown) = proposed.values().flatten().find(|id| !brokers.contains(id)) {
        return Err(wrong(format!("Unknown broker id {unknown}")));
    }
    let current = current(&proposed, &admin).await?;
    output::line(&format!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback",
        to_json(&current, &where_they_are(&admin).await?)
    ));
    if between_brokers >= 0 || between_directories >= 0 {
        output::line(
            "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed.",
        );
    }
    if between_brokers >= 0 {
        throttle::between_brokers(&admin, &moving, &proposed, &current, between_brokers).await?;
    }
    if between_directories >= 0 {
        let moved = plan.directories.keys().map(|replica| replica.broker).collect();
        throttle::between_directories(&admin, moved, between_directories).await?;
    }
    let targets = proposed.iter().map(|(partition, to)| (partition.clone(), Some(to.clone()))).collect();
    let allow = !given.has("disallow-replication-factor-change");
    let results = alter(&admin, &targets, allow).await?;
    refused(&results)
        .map_or(Ok(()), |list| Err(Exit::failure(format!("Error reassigning partition(s):\n{list}"))))?;
    let names: Vec<String> = proposed.keys().map(TopicPartition::to_string).collect();
    output::line(&format!(
        "Successfully started {} for {}",
        plural("partition reassignment", names.len()),
        names.join(",")
    ));
    move_directories(&admin, plan.directories, limit).await
}

pub(super) async fn cancel(given: &Given, text: &str, connect: impl AsyncFn() -> Outcome<Admin>) -> Outcome {
    let plan = Plan::parse(text).map_err(as_wrong)?;
    let limit = timeout(given)?;
    let admin = connect().await?;
    let partitions: BTreeSet<TopicPartition> =
        plan.targets.iter().map(|(partition, _)| partition.clone()).collect();
    let moving = admin.list_reassignments(Some(&partitions)).await.map_err(thrown)?;
    let active: BTreeMap<TopicPartition, Option<Vec<BrokerId>>> =
        moving.into_keys().map(|partition| (partition, None)).collect();
    if active.is_empty() {
        output::line("None of the specified partition reassignments are active.");
    } else {
        let results = alter(&admin, &active, true).await?;
        if let Some(list) = refused(&results) {
            let what = plural("partition reassignment", results.len());
            return Err(Exit::failure(format!("Error cancelling {what} for:\n{list}")));
        }
        let names: Vec<String> = active.keys().map(TopicPartition::to_string).collect();
        output::line(&format!(
            "Successfully cancelled {} for: {}",
            plural("partition reassignment", names.len()),
            names.join(",")
        ));
    }
    // A move between directories is stopped by moving back to where the replica is.
    let back: BTreeMap<Replica, String> = directories(&plan, &admin)
        .await?
        .into_iter()
        .filter_map(|(replica, state)| match state {
            DirectoryMove::Active { current, .. } => Some((replica, current)),
            _ => None,
        })
        .collect();
    if back.is_empty() {
        output::bytes(b"None of the specified partition moves are active.");
    }
    move_directories(&admin, back, limit).await?;
    match given.has("preserve-throttles") {
        true => Ok(()),
        false => throttle::clear(&admin, &plan.targets).await,
    }
}

/// What a broker cannot do at all is told of each partition.
async fn alter(
    admin: &Admin,
    targets: &BTreeMap<TopicPartition, Option<Vec<BrokerId>>>,
    allow_factor_change: bool,
) -> Outcome<BTreeMap<TopicPartition, millstream_client::Result<()>>> {
    match admin.alter_reassignments(targets, allow_factor_change).await {
        Ok(results) => Ok(results),
        Err(error @ Error::UnsupportedApi { .. }) => {
            Ok(targets.keys().map(|partition| (partition.clone(), Err(error.clone()))).collect())
        }
        Err(error) => Err(thrown(error)),
    }
}

fn timeout(given: &Given) -> Outcome<Duration> {
    Ok(Duration::from_millis(given.number("timeout").map_err(as_wrong)?.unwrap_or(10_000)))
}

/// A line for each partition that was refused.
fn refused(results: &BTreeMap<TopicPartition, millstream_client::Result<()>>) -> Option<String> {
    let lines: Vec<String> = results
        .iter()
        .filter_map(|(partition, result)| {
            let error = result.as_ref().err()?;
            Some(format!("{partition}: {}", kafka_error::message(error)))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Where the partitions are now; all of them must be there.
async fn current(proposed: &Assignment, admin: &Admin) -> Outcome<Assignment> {
    const UNKNOWN: &str = "org.apache.kafka.common.errors.UnknownTopicOrPartitionException";
    let names: BTreeSet<TopicName> = proposed.keys().map(|partition| partition.topic.clone()).collect();
    let names: Vec<TopicName> = names.into_iter().collect();
    let mut current = Assignment::new();
    for (name, described) in admin.describe_topics(&names).await.map_err(thrown)? {
        let topic = described.map_err(|error| match error.code() {
            Some(ErrorCode::UnknownTopicOrPartition) => wrong(format!("{UNKNOWN}: Topic {name} not found.")),
            _ => thrown(error),
        })?;
        for (number, partition) in topic.partitions {
            current.insert(TopicPartition::new(name.clone(), number), partition.replicas);
        }
    }
    current.retain(|partition, _| proposed.contains_key(partition));
    let missing: Vec<String> = proposed
        .keys()
        .filter(|partition| !current.contains_key(partition))
        .map(TopicPartition::to_string)
        .collect();
    match missing.is_empty() {
        true => Ok(current),
        false => Err(wrong(format!("{UNKNOWN}: Unable to find partition: {}", missing.join(", ")))),
    }
}

/// Begins moves between directories. A broker that does not have a replica yet is asked again until it has.
async fn move_directories(admin: &Admin, moves: BTreeMap<Replica, String>, limit: Duration) -> Outcome {
    let started = Instant::now();
    let mut pending = moves;
    while !pending.is_empty() {
        for (replica, result) in admin.move_replicas(&pending).await.map_err(thrown)? {
            let Replica { partition, broker } = &replica;
            match result {
                Ok(()) => {
                    if let Some(path) = pending.remove(&replica) {
                        output::line(&format!(
                            "Successfully started moving log directory to {path} for replica {partition} with broker {broker} "
                        ));
                    }
                }
                Err(error) if error.code() == Some(ErrorCode::ReplicaNotAvailable) => {}
                Err(error) => {
                    return Err(wrong(format!(
                        "Failed to alter dir for {partition}-{broker}\n{}",
                        kafka_error::exception(&error)
                    )));
                }
            }
        }
        if pending.is_empty() {
            break;
        }
        if started.elapsed() >= limit {
            let names: Vec<String> =
                pending.keys().map(|replica| format!("{}-{}", replica.partition, replica.broker)).collect();
            return Err(Exit::failure(format!(
                "Timed out before {} could be started for: {}",
                plural("log directory move", names.len()),
                names.join(",")
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
