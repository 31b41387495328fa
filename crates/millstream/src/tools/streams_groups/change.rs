//! `--delete`, `--delete-offsets` and `--reset-offsets`, and the topics of a group's own that go with them.

use std::collections::{BTreeMap, BTreeSet};

use millstream_client::{Admin, Error, StreamsGroupDescription};
use millstream_types::{ErrorCode, TopicName, TopicPartition};

use super::{all, thrown};
use crate::tools::{
    consumer_groups::{
        partitions_of,
        reset::{self, Plan},
    },
    exit::{Exit, Outcome},
    kafka_error,
    options::Given,
    output,
};

/// The topics that Kafka Streams made for a group.
fn internal_topics(group: &StreamsGroupDescription) -> BTreeSet<String> {
    let own = group.subtopologies.values();
    own.flat_map(|part| part.repartition_source_topics.iter().chain(&part.changelog_topics))
        .cloned()
        .collect()
}

fn quoted(names: &[String]) -> String {
    format!("'{}'", names.join("', '"))
}

pub(super) async fn delete(given: &Given, admin: &Admin, names: &[String]) -> Outcome {
    const ERRORS: &str = "org.apache.kafka.common.errors";
    let existing = all(admin, super::KIND).await?;
    let (mut deleted, mut failures) = (Vec::new(), BTreeMap::new());
    let mut internal: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for name in names.iter().collect::<BTreeSet<_>>() {
        let state = existing.iter().find(|group| group.id == *name).map(|group| group.state.as_deref());
        let refused = match state {
            None => Some(format!(
                "java.lang.IllegalArgumentException: Group '{name}' does not exist or is not a streams group."
            )),
            Some(Some("Dead")) => {
                Some(format!("java.lang.IllegalStateException: Streams group '{name}' group state is DEAD."))
            }
            Some(Some("Empty") | None) => None,
            Some(_) => Some(format!("{ERRORS}.GroupNotEmptyException: Streams group '{name}' is not EMPTY.")),
        };
        if let Some(reason) = refused {
            failures.insert(name.clone(), reason);
            continue;
        }
        // Asked before the group that knows them is gone.
        if given.has("delete-all-internal-topics") {
            match admin.describe_streams_group(name).await {
                Ok(group) => drop(internal.insert(name.clone(), internal_topics(&group))),
                Err(error) => {
                    let reason = kafka_error::message(&error);
                    output::line(&format!("\nError: Retrieving internal topics failed due to {reason}"));
                }
            }
        }
        match admin.delete_group(name).await {
            Ok(()) => deleted.push(name.clone()),
            Err(error) => drop(failures.insert(name.clone(), kafka_error::exception(&error))),
        }
    }
    if failures.is_empty() {
        output::line(&format!("Deletion of requested streams groups ({}) was successful.", quoted(&deleted)));
    } else {
        output::line("\nError: Deletion of some streams groups failed:");
        for (name, reason) in failures {
            output::line(&format!("* Group '{name}' could not be deleted due to: {reason}"));
        }
        if !deleted.is_empty() {
            output::line(&format!("\nThese streams groups were deleted successfully: {}.", quoted(&deleted)));
        }
    }
    internal.retain(|name, topics| deleted.contains(name) && !topics.is_empty());
    delete_internal(admin, internal).await
}

/// Deletes the topics of groups' own.
async fn delete_internal(admin: &Admin, internal: BTreeMap<String, BTreeSet<String>>) -> Outcome {
    let (mut done, mut failures) = (Vec::new(), BTreeMap::new());
    for (group, topics) in internal {
        let names: Vec<TopicName> = topics.iter().filter_map(|name| TopicName::parse(name).ok()).collect();
        let results = admin.delete_topics(&names).await.map_err(|error| thrown(&error))?;
        match results.into_iter().find_map(|(_, result)| result.err()) {
            None => done.push(group),
            Some(error) => drop(failures.insert(group, error)),
        }
    }
    if !done.is_empty() && failures.is_empty() {
        output::line(&format!(
            "Deletion of associated internal topics of the streams groups ({}) was successful.",
            quoted(&done)
        ));
    }
    if !failures.is_empty() {
        output::line("\nError: Deletion of some associated internal topics failed:");
        for (group, error) in failures {
            let reason = kafka_error::exception(&error);
            output::line(&format!(
                "* Internal topics of the streams group '{group}' could not be deleted due to: {reason}"
            ));
        }
    }
    Ok(())
}

/// The partitions that are meant: of topics that the group reads.
async fn chosen(given: &Given, admin: &Admin, group: &str) -> Outcome<Vec<TopicPartition>> {
    if given.has("all-input-topics") {
        let known = admin.group_offsets(group).await.map_err(|error| thrown(&error))?;
        let own = match admin.describe_streams_group(group).await {
            Ok(described) => internal_topics(&described),
            Err(_) => BTreeSet::new(),
        };
        return Ok(known.into_keys().filter(|partition| !own.contains(partition.topic.as_str())).collect());
    }
    if !given.has("input-topic") {
        return Err(Exit::usage("One of the reset scopes should be defined: --all-topics, --topic."));
    }
    let (found, missing) = partitions_of(given.all("input-topic"), admin).await?;
    match missing.is_empty() {
        true => Ok(found),
        false => Err(Exit::failure("This server does not host this topic-partition.")),
    }
}

pub(super) async fn delete_offsets(given: &Given, admin: &Admin) -> Outcome {
    let group = given.one("group")?.unwrap_or_default();
    let partitions = chosen(given, admin, group).await?;
    let failed = |error: &Error| format!("Error: {}", kafka_error::exception(error));
    let results = admin.delete_group_offsets(group, &partitions).await;
    let rows: Vec<(TopicPartition, String)> = match results {
        Ok(results) => {
            output::line(&match results.values().any(Result::is_err) {
                true => {
                    "\nError: Encountered some partition-level error, see the follow-up details.".to_owned()
                }
                false => format!("Request succeeded for deleting offsets from group {group}."),
            });
            let status = |result: Result<(), Error>| match result {
                Ok(()) => "Successful".to_owned(),
                Err(error) => failed(&error),
            };
            results.into_iter().map(|(partition, result)| (partition, status(result))).collect()
        }
        Err(error) => {
            let known = matches!(
                error.code(),
                Some(
                    ErrorCode::InvalidGroupId
                        | ErrorCode::GroupIdNotFound
                        | ErrorCode::GroupAuthorizationFailed
                        | ErrorCode::NonEmptyGroup
                )
            );
            output::line(&match known {
                true => format!("\nError: {}", kafka_error::message(&error)),
                false => {
                    format!("\nError: Encountered some unknown error: {}", kafka_error::exception(&error))
                }
            });
            partitions.into_iter().map(|partition| (partition, failed(&error))).collect()
        }
    };
    let width = rows.iter().map(|(one, _)| one.topic.as_str().len()).max().unwrap_or(0).max(15);
    let mut text = format!("\n{:<width$} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS");
    for (partition, status) in rows {
        let number = partition.partition.to_string();
        text += &format!("\n{:<width$} {number:<10} {status:<15}", partition.topic.as_str());
    }
    output::line(&text);
    Ok(())
}

pub(super) async fn reset(given: &Given, admin: &Admin, groups: &[String]) -> Outcome {
    let mut plans: Vec<(String, Plan)> = Vec::new();
    for group in groups {
        let described = match admin.describe_streams_group(group).await {
            Ok(described) => Some(described),
            // A group that never was, or of another kind, has no members that read.
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => None,
            Err(error) => return Err(future(&error)),
        };
        let state = described.as_ref().map_or("Dead", |described| described.state.as_str());
        if !matches!(state, "Empty" | "Dead") {
            output::line(&format!(
                "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            ));
            plans.push((group.clone(), Plan::new()));
            continue;
        }
        let partitions = match given.has("from-file") {
            true => Vec::new(),
            false => to_reset(given, admin, group).await?,
        };
        let plan = reset::plan_of(given, admin, group, partitions, &super::SCENARIOS).await?;
        if given.has("execute") {
            reset::carry_out(admin, group, &plan).await?;
            let own = described.as_ref().map(internal_topics).unwrap_or_default();
            let wanted: BTreeSet<String> = match given.has("delete-all-internal-topics") {
                true => own,
                false => given.all("delete-internal-topic").map(str::to_owned).collect(),
            };
            delete_internal(admin, BTreeMap::from([(group.clone(), wanted)])).await?;
        }
        plans.push((group.clone(), plan));
    }
    match given.has("export") {
        true => reset::export(&plans),
        false => show(&plans),
    }
    Ok(())
}

fn future(error: &Error) -> Exit {
    thrown(error).map(|sentence| format!("java.util.concurrent.ExecutionException: {sentence}"))
}

/// As [`chosen`], but only of topics that the group is known to have read.
async fn to_reset(given: &Given, admin: &Admin, group: &str) -> Outcome<Vec<TopicPartition>> {
    if given.has("all-input-topics") {
        admin.describe_streams_group(group).await.map_err(|error| future(&error))?;
        return chosen(given, admin, group).await;
    }
    let named = chosen(given, admin, group).await?;
    let known = admin.group_offsets(group).await.map_err(|error| thrown(&error))?;
    let topics: BTreeSet<&str> = known.keys().map(|partition| partition.topic.as_str()).collect();
    if named.iter().all(|partition| topics.contains(partition.topic.as_str())) {
        return Ok(named);
    }
    output::line(&format!("\nError: One or more topics are not part of the group '{group}'."));
    Ok(Vec::new())
}

fn show(plans: &[(String, Plan)]) {
    if plans.is_empty() {
        return;
    }
    let row = |[group, topic, partition, offset]: [&str; 4]| {
        output::line(&format!("{group:<30} {topic:<30} {partition:<10} {offset:<15}"));
    };
    output::line("");
    row(["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"]);
    for (group, plan) in plans {
        for (partition, offset) in plan {
            let number = partition.partition.to_string();
            row([group, partition.topic.as_str(), &number, &offset.to_string()]);
        }
    }
}
