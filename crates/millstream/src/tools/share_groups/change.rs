//! `--delete`, `--delete-offsets` and `--reset-offsets`.

use std::collections::BTreeMap;

use millstream_client::{Admin, Error, OffsetSpec};
use millstream_types::{ErrorCode, TopicPartition};

use super::{all, thrown};
use crate::tools::{
    consumer_groups::{
        partitions_of,
        reset::{Plan, at, at_time, check_existence, moment},
    },
    exit::{Exit, Outcome},
    kafka_error,
    options::Given,
    output,
};

pub(super) async fn delete(given: &Given, admin: &Admin) -> Outcome {
    let existing = all(admin, super::KIND).await?;
    let mut names: Vec<&str> = match given.has("all-groups") {
        true => existing.iter().map(|group| group.id.as_str()).collect(),
        false => given.all("group").collect(),
    };
    names.dedup();
    const ERRORS: &str = "org.apache.kafka.common.errors";
    let (mut deleted, mut failures) = (Vec::new(), BTreeMap::new());
    for name in names {
        let state = existing.iter().find(|group| group.id == name).map(|group| group.state.as_deref());
        let refused = match state {
            None => Some(format!("java.lang.IllegalArgumentException: Group '{name}' is not a share group.")),
            Some(Some("Dead")) => {
                Some(format!("java.lang.IllegalStateException: Share group '{name}' group state is DEAD."))
            }
            Some(Some("Empty") | None) => None,
            Some(_) => Some(format!("{ERRORS}.GroupNotEmptyException: Share group '{name}' is not EMPTY.")),
        };
        let result = match refused {
            Some(reason) => Err(reason),
            None => admin.delete_group(name).await.map_err(|error| kafka_error::exception(&error)),
        };
        match result {
            Ok(()) => deleted.push(format!("'{name}'")),
            Err(reason) => drop(failures.insert(name, reason)),
        }
    }
    if failures.is_empty() {
        output::line(&format!("Deletion of requested share groups ({}) was successful.", deleted.join(", ")));
        return Ok(());
    }
    output::line("\nError: Deletion of some share groups failed:");
    for (name, reason) in failures {
        output::line(&format!("* Group '{name}' could not be deleted due to: {reason}"));
    }
    if !deleted.is_empty() {
        output::line(&format!("\nThese share groups were deleted successfully: {}", deleted.join(", ")));
    }
    Ok(())
}

pub(super) async fn delete_offsets(given: &Given, admin: &Admin) -> Outcome {
    let group = given.one("group")?.unwrap_or_default();
    let mut topics: Vec<String> = given.all("topic").map(str::to_owned).collect();
    topics.sort_unstable();
    topics.dedup();
    let results = match admin.delete_share_group_offsets(group, &topics).await {
        Ok(results) => results,
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
                    format!("\nError: Encounter some unknown error: {}", kafka_error::exception(&error))
                }
            });
            topics.iter().map(|topic| (topic.clone(), Err(error.clone()))).collect()
        }
    };
    let width = topics.iter().map(String::len).max().unwrap_or(0).max(15);
    let mut text = format!("\n{:<width$} STATUS", "TOPIC");
    for (topic, result) in results {
        let status = match result {
            Ok(()) => "Successful".to_owned(),
            Err(error) => format!("Error: {}", kafka_error::message(&error)),
        };
        text += &format!("\n{topic:<width$} {status}");
    }
    output::line(&text);
    Ok(())
}

pub(super) async fn reset(given: &Given, admin: &Admin) -> Outcome {
    let group = given.one("group")?.unwrap_or_default();
    match admin.describe_share_group(group).await {
        Ok(found) if !matches!(found.state.as_str(), "Empty" | "Dead") => {
            return Err(ended(&format!("Share group '{group}' is not empty.")));
        }
        Err(error) if error.code() != Some(ErrorCode::GroupIdNotFound) => {
            return Err(ended(&kafka_error::message(&error)));
        }
        _ => {}
    }
    let plan = plan(given, admin, group).await?;
    if given.has("execute") {
        let failed = |error: Error| ended(&kafka_error::message(&error));
        for result in admin.set_share_group_offsets(group, &plan).await.map_err(failed)?.into_values() {
            result.map_err(failed)?;
        }
    }
    let shown = if plan.is_empty() { Vec::new() } else { vec![(group.to_owned(), plan)] };
    crate::tools::consumer_groups::reset::show(&shown);
    Ok(())
}

/// What ends the tool here and now, and is said nowhere else.
fn ended(sentence: &str) -> Exit {
    output::flush();
    output::say(sentence);
    Exit::silent(1)
}

async fn plan(given: &Given, admin: &Admin, group: &str) -> Outcome<Plan> {
    let chosen: Vec<TopicPartition> = if given.has("topic") {
        let (found, missing) = partitions_of(given.all("topic"), admin).await?;
        if !missing.is_empty() {
            return Err(Exit::failure("This server does not host this topic-partition."));
        }
        found
    } else {
        admin.share_group_offsets(group).await.map_err(|error| thrown(&error))?.into_keys().collect()
    };
    check_existence(admin, &chosen).await?;
    if given.has("to-earliest") {
        return at(admin, &chosen, OffsetSpec::Earliest).await;
    }
    if given.has("to-latest") {
        return at(admin, &chosen, OffsetSpec::Latest).await;
    }
    match moment(given)? {
        Some(time) => at_time(admin, &chosen, time).await,
        None => Ok(Plan::default()),
    }
}
