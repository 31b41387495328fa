//! What the tools for one kind of groups have in common: listing those, and choosing among their states.

use millstream_client::{Admin, GroupListing};

use super::{
    exit::{Exit, Outcome},
    kafka_error,
    options::{Given, elements},
    output,
};

/// As Kafka's tools say it when no broker answers.
pub(super) const NO_BROKERS: &str = "java.util.concurrent.ExecutionException: org.apache.kafka.common.KafkaException: Failed to find brokers to send ListGroups";

pub(super) async fn all(admin: &Admin, kind: &str) -> Outcome<Vec<GroupListing>> {
    let listed = admin.list_groups().await;
    let mut groups = listed.map_err(|error| Exit::failure(kafka_error::exception(&error)))?;
    groups.retain(|group| group.group_type.as_deref() == Some(kind));
    Ok(groups)
}

/// Options that describe a group go with `--describe` alone, except for `--state`, which also chooses what is
/// listed. joptsimple finds that out before the tool looks at anything else.
pub(super) fn check_belonging(given: &Given) -> Outcome {
    given.need(&[
        ("members", &["describe"]),
        ("offsets", &["describe"]),
        ("state", &["describe", "list"]),
        ("verbose", &["describe"]),
    ])
}

/// The states that are asked for; none for all.
pub(super) fn states(given: &Given, known: &[&'static str]) -> Outcome<Vec<&'static str>> {
    let Some(list) = given.one("state")?.filter(|list| !list.is_empty()) else { return Ok(Vec::new()) };
    let named = |name: &str| known.iter().copied().find(|known| known.eq_ignore_ascii_case(name.trim()));
    let found: Option<Vec<&str>> = elements(list).into_iter().map(named).collect();
    found.ok_or_else(|| {
        Exit::usage(format!("Invalid state list '{list}'. Valid states are: {}", known.join(", ")))
    })
}

pub(super) async fn list(given: &Given, kind: &str, states: &[&str], admin: &Admin) -> Outcome {
    let mut groups = all(admin, kind).await?;
    if !given.has("state") {
        for group in groups {
            output::line(&group.id);
        }
        return Ok(());
    }
    let state = |group: &GroupListing| group.state.clone().unwrap_or_else(|| "Unknown".to_owned());
    groups.retain(|group| states.is_empty() || states.contains(&state(group).as_str()));
    let width = groups.iter().map(|group| group.id.len()).max().unwrap_or(0).max(15);
    output::line(&format!("{:<width$} STATE", "GROUP"));
    for group in &groups {
        output::line(&format!("{:<width$} {}", group.id, state(group)));
    }
    Ok(())
}
