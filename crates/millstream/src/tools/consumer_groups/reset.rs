//! `--reset-offsets`: a plan, shown or exported, and carried out with `--execute`.

use std::{collections::BTreeMap, fs};

use millstream_client::{Admin, CommittedOffset, IsolationLevel, ListedOffset, OffsetSpec};
use millstream_types::{ErrorCode, Offset, PartitionId, TimestampMs, TopicName, TopicPartition};

use super::{SCENARIOS, partitions, thrown};
use crate::{
    command::time,
    tools::{
        exit::{Exit, Outcome},
        kafka_error,
        options::Given,
        output,
    },
};

pub(in crate::tools) type Plan = BTreeMap<TopicPartition, Offset>;

pub(super) async fn run(given: &Given, admin: &Admin, groups: &[String]) -> Outcome {
    let mut plans: Vec<(String, Plan)> = Vec::new();
    for group in groups {
        let state = match admin.describe_group(group).await {
            Ok(described) => described.state,
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => "Dead".to_owned(),
            Err(error) => return Err(thrown(&error)),
        };
        if !matches!(state.as_str(), "Empty" | "Dead") {
            output::line(&format!(
                "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            ));
            plans.push((group.clone(), Plan::new()));
            continue;
        }
        let plan = plan(given, admin, group).await?;
        if given.has("execute") {
            carry_out(admin, group, &plan).await?;
        }
        plans.push((group.clone(), plan));
    }
    match given.has("export") {
        true => export(&plans),
        false => show(&plans),
    }
    Ok(())
}

pub(in crate::tools) fn show(plans: &[(String, Plan)]) {
    let group = plans.iter().map(|(group, _)| group.len()).max().unwrap_or(0).max(15);
    let topics = plans.iter().flat_map(|(_, plan)| plan.keys());
    let topic = topics.map(|partition| partition.topic.as_str().len()).max().unwrap_or(0).max(15);
    output::line(&format!("\n{:<group$} {:<topic$} {:<10} NEW-OFFSET", "GROUP", "TOPIC", "PARTITION"));
    for (name, plan) in plans {
        for (partition, offset) in plan {
            let number = partition.partition.to_string();
            output::line(&format!(
                "{name:<group$} {:<topic$} {number:<10} {offset}",
                partition.topic.as_str()
            ));
        }
    }
}

/// CSV; with the group in front if there are several.
pub(in crate::tools) fn export(plans: &[(String, Plan)]) {
    let mut text = String::new();
    for (group, plan) in plans {
        for (partition, offset) in plan {
            if plans.len() > 1 {
                text += &format!("{group},");
            }
            text += &format!("{},{},{offset}\n", partition.topic, partition.partition);
        }
    }
    output::line(&text);
}

pub(in crate::tools) async fn carry_out(admin: &Admin, group: &str, plan: &Plan) -> Outcome {
    let commit =
        |offset: &Offset| CommittedOffset { offset: *offset, leader_epoch: None, metadata: String::new() };
    let offsets = plan.iter().map(|(partition, offset)| (partition.clone(), commit(offset))).collect();
    for result in
        admin.set_group_offsets(group, &offsets).await.map_err(|error| thrown(&error))?.into_values()
    {
        result.map_err(|error| thrown(&error))?;
    }
    Ok(())
}

async fn plan(given: &Given, admin: &Admin, group: &str) -> Outcome<Plan> {
    let chosen: Vec<TopicPartition> = if given.has("from-file") {
        Vec::new()
    } else if given.has("all-topics") {
        admin.group_offsets(group).await.map_err(|error| thrown(&error))?.into_keys().collect()
    } else if given.has("topic") {
        let (found, missing) = partitions(given, admin).await?;
        if !missing.is_empty() {
            return Err(Exit::failure("This server does not host this topic-partition."));
        }
        found
    } else {
        return Err(Exit::usage("One of the reset scopes should be defined: --all-topics, --topic."));
    };
    plan_of(given, admin, group, chosen, &SCENARIOS).await
}

/// Where the chosen partitions, or those of a file, are to go.
pub(in crate::tools) async fn plan_of(
    given: &Given,
    admin: &Admin,
    group: &str,
    chosen: Vec<TopicPartition>,
    scenarios: &[&str],
) -> Outcome<Plan> {
    let committed = admin.group_offsets(group).await.map_err(|error| thrown(&error))?;
    let from_file = given.one("from-file")?;
    check_existence(admin, &chosen).await?;
    if let Some(path) = from_file {
        let wanted = read_file(path, group)?;
        return clamped(admin, wanted).await;
    }
    if let Some(offset) = given.number::<i64>("to-offset")? {
        return clamped(admin, chosen.into_iter().map(|partition| (partition, Offset(offset))).collect())
            .await;
    }
    if let Some(shift) = given.number::<i64>("shift-by")? {
        let mut wanted = Plan::new();
        for partition in chosen {
            let missing = || {
                Exit::failure(format!(
                    "Cannot shift offset for partition {partition} since there is no current committed offset"
                ))
            };
            let from = committed.get(&partition).ok_or_else(missing)?.offset;
            wanted.insert(partition, Offset(from.0.saturating_add(shift)));
        }
        return clamped(admin, wanted).await;
    }
    if given.has("to-current") {
        let ends = listed(admin, &chosen, OffsetSpec::Latest).await?;
        let current = |partition: TopicPartition| {
            let known = committed.get(&partition).map(|known| known.offset);
            let end = ends.get(&partition).and_then(|listed| listed.offset);
            Some((partition, known.or(end)?))
        };
        return Ok(chosen.into_iter().filter_map(current).collect());
    }
    if given.has("to-earliest") {
        return at(admin, &chosen, OffsetSpec::Earliest).await;
    }
    if given.has("to-latest") {
        return at(admin, &chosen, OffsetSpec::Latest).await;
    }
    match moment(given)? {
        Some(time) => at_time(admin, &chosen, time).await,
        None => {
            let all: Vec<String> = scenarios.iter().map(|scenario| format!("[{scenario}]")).collect();
            Err(Exit::usage(format!(
                "Option '[reset-offsets]' requires one of the following scenarios: [{}]",
                all.join(", ")
            )))
        }
    }
}

pub(in crate::tools) fn moment(given: &Given) -> Outcome<Option<TimestampMs>> {
    if let Some(text) = given.one("to-datetime")? {
        if !text.contains('T') {
            return Err(Exit::failure(
                "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format",
            ));
        }
        let malformed = |error: anyhow::Error| Exit::failure(format!("{error:#}"));
        return Ok(Some(time::parse(text, time::now()).map_err(malformed)?));
    }
    let Some(text) = given.one("by-duration")? else { return Ok(None) };
    let duration = duration_ms(text).ok_or_else(|| Exit::failure("Text cannot be parsed to a Duration"))?;
    Ok(Some(time::now().plus_ms(-duration)))
}

/// `PnDTnHnMn.nS`, as `java.time.Duration` reads it.
fn duration_ms(text: &str) -> Option<i64> {
    let text = text.to_ascii_uppercase();
    let (negative, body) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let body = body.strip_prefix('P')?;
    let (days, clock) = match body.split_once('T') {
        Some((days, clock)) if !clock.is_empty() => (days, clock),
        Some(_) => return None,
        None => (body, ""),
    };
    let mut total = 0f64;
    let mut parts = 0;
    for (part, units) in [
        (days, &[('D', 86_400_000.0)][..]),
        (clock, &[('H', 3_600_000.0), ('M', 60_000.0), ('S', 1000.0)][..]),
    ] {
        let mut rest = part;
        for (unit, ms) in units {
            if let Some((number, behind)) = rest.split_once(*unit) {
                total += number.parse::<f64>().ok()? * ms;
                rest = behind;
                parts += 1;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    let sign = if negative { -1.0 } else { 1.0 };
    (parts > 0 && total.is_finite()).then_some((sign * total) as i64)
}

pub(in crate::tools) async fn check_existence(admin: &Admin, chosen: &[TopicPartition]) -> Outcome {
    let mut names: Vec<TopicName> = chosen.iter().map(|partition| partition.topic.clone()).collect();
    names.dedup();
    let topics = admin.describe_topics(&names).await?;
    let exists = |partition: &&TopicPartition| {
        let topic = topics.get(&partition.topic).and_then(|topic| topic.as_ref().ok());
        topic.is_some_and(|topic| topic.partitions.contains_key(&partition.partition))
    };
    let missing: Vec<String> =
        chosen.iter().filter(|partition| !exists(partition)).map(TopicPartition::to_string).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Exit::failure(format!("The partitions \"{}\" do not exist", missing.join(",")))),
    }
}

pub(in crate::tools) async fn listed(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Outcome<BTreeMap<TopicPartition, ListedOffset>> {
    let wanted = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let mut all = BTreeMap::new();
    for (partition, result) in admin.list_offsets(&wanted, IsolationLevel::ReadUncommitted).await? {
        all.insert(partition, result.map_err(|error| Exit::failure(kafka_error::message(&error)))?);
    }
    Ok(all)
}

pub(in crate::tools) async fn at(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Outcome<Plan> {
    let all = listed(admin, partitions, spec).await?;
    Ok(all.into_iter().filter_map(|(partition, listed)| Some((partition, listed.offset?))).collect())
}

/// Partitions without a record that young go to their end.
pub(in crate::tools) async fn at_time(
    admin: &Admin,
    partitions: &[TopicPartition],
    time: TimestampMs,
) -> Outcome<Plan> {
    let found = listed(admin, partitions, OffsetSpec::Timestamp(time)).await?;
    let mut plan = Plan::new();
    let mut left = Vec::new();
    for (partition, listed) in found {
        match listed.offset {
            Some(offset) => {
                plan.insert(partition, offset);
            }
            None => {
                output::line(&format!(
                    "\nWarn: Partition {} from topic {} is empty. Falling back to latest known offset.",
                    partition.partition, partition.topic
                ));
                left.push(partition);
            }
        }
    }
    plan.extend(at(admin, &left, OffsetSpec::Latest).await?);
    Ok(plan)
}

/// Offsets before the beginning become the beginning, those behind the end the end.
pub(in crate::tools) async fn clamped(admin: &Admin, wanted: Plan) -> Outcome<Plan> {
    let partitions: Vec<TopicPartition> = wanted.keys().cloned().collect();
    let starts = listed(admin, &partitions, OffsetSpec::Earliest).await?;
    let ends = listed(admin, &partitions, OffsetSpec::Latest).await?;
    let within = |(partition, offset): (TopicPartition, Offset)| {
        let bound =
            |all: &BTreeMap<TopicPartition, ListedOffset>| all.get(&partition).and_then(|one| one.offset);
        let low = bound(&starts).unwrap_or(offset);
        let high = bound(&ends).unwrap_or(offset);
        if offset < low || offset > high {
            output::say(&format!("WARN offset {offset} of {partition} is outside of {low} to {high}"));
        }
        (partition.clone(), offset.max(low).min(high.max(low)))
    };
    Ok(wanted.into_iter().map(within).collect())
}

/// `topic,partition,offset`, or with the group in front.
pub(in crate::tools) fn read_file(path: &str, group: &str) -> Outcome<Plan> {
    let unreadable = |_| Exit::failure(format!("java.io.IOException: Unable to read file {path}"));
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let mut plan = Plan::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let (owner, cells) = match cells[..] {
            [owner, topic, partition, offset] => (owner, [topic, partition, offset]),
            [topic, partition, offset] => (group, [topic, partition, offset]),
            _ => {
                let expected = "expected topic,partition,offset or group,topic,partition,offset";
                return Err(Exit::failure(format!("{path}, line {}: {expected}", number + 1)));
            }
        };
        if owner != group {
            continue;
        }
        let malformed = || {
            Exit::failure(format!("{path}, line {}: {line:?} is no topic, partition and offset", number + 1))
        };
        let topic = TopicName::parse(cells[0]).map_err(|_| malformed())?;
        let partition = PartitionId(cells[1].parse().map_err(|_| malformed())?);
        let offset = Offset(cells[2].parse().map_err(|_| malformed())?);
        plan.insert(TopicPartition::new(topic, partition), offset);
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_javas() {
        assert_eq!(duration_ms("P1DT2H3M4.5S"), Some(93_784_500));
        assert_eq!(duration_ms("pt15m"), Some(900_000));
        assert_eq!(duration_ms("-PT1S"), Some(-1000));
        for bad in ["", "P", "PT", "1H", "P1H", "PT1D", "PT1H2", "P1DT"] {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }
}
