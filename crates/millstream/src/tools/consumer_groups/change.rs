//! `--delete` and `--delete-offsets`.

use millstream_client::{Admin, Error};
use millstream_types::ErrorCode;

use super::partitions;
use crate::tools::{exit::Outcome, kafka_error, options::Given, output};

pub(super) async fn delete(groups: &[String], admin: &Admin) -> Outcome {
    let (mut deleted, mut failures) = (Vec::new(), Vec::new());
    for group in groups {
        match admin.delete_group(group).await {
            Ok(()) => deleted.push(format!("'{group}'")),
            Err(error) => failures.push((group, error)),
        }
    }
    if failures.is_empty() {
        output::line(&format!(
            "Deletion of requested consumer groups ({}) was successful.",
            deleted.join(", ")
        ));
        return Ok(());
    }
    output::line("\nError: Deletion of some consumer groups failed:");
    for (group, error) in failures {
        let reason = kafka_error::exception(&error);
        output::line(&format!("* Group '{group}' could not be deleted due to: {reason}"));
    }
    if !deleted.is_empty() {
        output::line(&format!("\nThese consumer groups were deleted successfully: {}", deleted.join(", ")));
    }
    Ok(())
}

pub(super) async fn delete_offsets(given: &Given, admin: &Admin) -> Outcome {
    let group = given.last("group").unwrap_or_default();
    let (found, missing) = partitions(given, admin).await?;
    let results = match found.is_empty() {
        true => Ok(Default::default()),
        false => admin.delete_group_offsets(group, &found).await,
    };
    let mut rows: Vec<(String, String, String)> = Vec::new();
    let failed = |error: &Error| format!("Error: {}", kafka_error::exception(error));
    match &results {
        Ok(all) => {
            if all.values().any(Result::is_err) {
                output::line("\nEncountered some partition-level error, see the follow-up details:");
            } else {
                output::line(&format!("Request succeeded for deleting offsets from group {group}."));
            }
            for (partition, result) in all {
                let status = result.as_ref().map_or_else(failed, |()| "Successful".to_owned());
                rows.push((partition.topic.to_string(), partition.partition.to_string(), status));
            }
        }
        Err(error) => {
            output::line(&format!("\nError: {}", kafka_error::message(error)));
            for partition in &found {
                rows.push((partition.topic.to_string(), partition.partition.to_string(), failed(error)));
            }
        }
    }
    let unknown =
        Error::Kafka { code: ErrorCode::UnknownTopicOrPartition, what: String::new(), message: None };
    rows.extend(missing.into_iter().map(|topic| (topic, "-".to_owned(), failed(&unknown))));
    let width = rows.iter().map(|row| row.0.len()).max().unwrap_or(0).max(15);
    output::line(&format!("\n{:<width$} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS"));
    for (topic, partition, status) in rows {
        output::line(&format!("{topic:<width$} {partition:<10} {status:<15}"));
    }
    Ok(())
}
