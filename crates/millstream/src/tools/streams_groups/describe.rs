//! `--describe`.

use std::collections::{BTreeMap, BTreeSet};

use millstream_client::{Admin, IsolationLevel, OffsetSpec, StreamsGroupDescription, StreamsTasks};
use millstream_types::{Offset, PartitionId, TopicName, TopicPartition};

use super::thrown;
use crate::tools::{
    exit::{Exit, Outcome},
    options::Given,
    output,
};

pub(super) async fn run(given: &Given, admin: &Admin, name: &str) -> Outcome {
    let group = admin.describe_streams_group(name).await.map_err(|error| thrown(&error))?;
    let verbose = given.has("verbose");
    if given.has("members") {
        if told(&group, group.members.len()) {
            members(&group, verbose);
        }
        Ok(())
    } else if given.has("state") {
        told(&group, 1);
        state(&group, admin, verbose).await
    } else {
        offsets(&group, admin, verbose).await
    }
}

/// Says what there is to say of a group without members; whether there is more to show.
fn told(group: &StreamsGroupDescription, rows: usize) -> bool {
    match group.state.as_str() {
        "Dead" => {
            output::line(&format!("\nError: Streams group '{}' does not exist.", group.id));
            return false;
        }
        "Empty" => {
            output::flush();
            output::say(&format!("Streams group '{}' has no active members.", group.id));
        }
        _ => {}
    }
    rows > 0
}

async fn state(group: &StreamsGroupDescription, admin: &Admin, verbose: bool) -> Outcome {
    let broker = admin.group_coordinator(&group.id).await.map_err(|error| thrown(&error))?;
    let coordinator = format!("{}:{} ({})", broker.host, broker.port, broker.id);
    let (name, place) = (group.id.len().max(15), coordinator.len().max(25));
    let row = |[id, at, state, epoch, assigned, members]: [&str; 6]| {
        let epochs = if verbose { format!("{epoch:<15} {assigned:<25} ") } else { String::new() };
        output::line(&format!("{id:<name$} {at:<place$} {state:<25} {epochs}{members}"));
    };
    row(["GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS"]);
    row([
        &group.id,
        &coordinator,
        &group.state,
        &group.epoch.to_string(),
        &group.assignment_epoch.to_string(),
        &group.members.len().to_string(),
    ]);
    Ok(())
}

fn members(group: &StreamsGroupDescription, verbose: bool) {
    let width = |text: fn(&millstream_client::StreamsGroupMember) -> &str| {
        group.members.iter().map(|member| text(member).len()).max().unwrap_or(0).max(15)
    };
    let (id, process, client) =
        (width(|one| &one.id), width(|one| &one.process_id), width(|one| &one.client_id));
    let name = group.id.len().max(15);
    if verbose {
        output::line(&format!(
            "{:<name$} {:<25} {:<15}{:<id$} {:<15} {:<15} {:<process$} {:<client$} ASSIGNMENTS",
            "GROUP",
            "TARGET-ASSIGNMENT-EPOCH",
            "TOPOLOGY-EPOCH",
            "MEMBER",
            "MEMBER-PROTOCOL",
            "MEMBER-EPOCH",
            "PROCESS",
            "CLIENT-ID"
        ));
    } else {
        output::line(&format!(
            "{:<name$} {:<id$} {:<process$} {:<client$} ASSIGNMENTS",
            "GROUP", "MEMBER", "PROCESS", "CLIENT-ID"
        ));
    }
    for member in &group.members {
        let assigned = tasks(&member.assignment, "");
        if verbose {
            output::line(&format!(
                "{:<name$} {:<25} {:<15}{:<id$} {:<15} {:<15} {:<process$} {:<client$} {assigned}{}",
                group.id,
                group.assignment_epoch,
                group.topology_epoch,
                member.id,
                if member.is_classic { "classic" } else { "streams" },
                member.epoch,
                member.process_id,
                member.client_id,
                tasks(&member.target_assignment, "TARGET-")
            ));
        } else {
            output::line(&format!(
                "{:<name$} {:<id$} {:<process$} {:<client$} {assigned}",
                group.id, member.id, member.process_id, member.client_id
            ));
        }
    }
}

/// `ACTIVE: 0:[0,1]; `
fn tasks(all: &StreamsTasks, prefix: &str) -> String {
    let kind = |name: &str, tasks: &[(String, Vec<i32>)]| {
        let task = |(subtopology, partitions): &(String, Vec<i32>)| {
            let numbers: Vec<String> = partitions.iter().map(i32::to_string).collect();
            format!("{subtopology}:[{}]; ", numbers.join(","))
        };
        let listed: String = tasks.iter().map(task).collect();
        if listed.is_empty() { listed } else { format!("{prefix}{name}: {listed}") }
    };
    kind("ACTIVE", &all.active) + &kind("STANDBY", &all.standby) + &kind("WARMUP", &all.warmup)
}

/// The partitions that the group's tasks read.
fn read_by(group: &StreamsGroupDescription) -> Outcome<BTreeSet<TopicPartition>> {
    let mut partitions = BTreeSet::new();
    for (id, numbers) in group.members.iter().flat_map(|member| &member.assignment.active) {
        let unknown = || Exit::failure(format!("Subtopology {id} not found in group description!"));
        let part = group.subtopologies.get(id).ok_or_else(unknown)?;
        for topic in part.source_topics.iter().chain(&part.repartition_source_topics) {
            let Ok(name) = TopicName::parse(topic) else { continue };
            partitions
                .extend(numbers.iter().map(|number| TopicPartition::new(name.clone(), PartitionId(*number))));
        }
    }
    Ok(partitions)
}

async fn offsets(group: &StreamsGroupDescription, admin: &Admin, verbose: bool) -> Outcome {
    let committed = admin.group_offsets(&group.id).await.map_err(|error| thrown(&error))?;
    let mut partitions = read_by(group)?;
    partitions.extend(committed.keys().cloned());
    if !told(group, partitions.len()) {
        return Ok(());
    }
    let bound = async |spec: OffsetSpec| -> Outcome<BTreeMap<TopicPartition, Option<Offset>>> {
        let wanted = partitions.iter().map(|one| (one.clone(), spec)).collect();
        let listed = admin.list_offsets(&wanted, IsolationLevel::ReadUncommitted).await;
        let mut found = BTreeMap::new();
        for (partition, result) in listed.map_err(|error| thrown(&error))? {
            found.insert(partition, result.map_err(|error| thrown(&error))?.offset);
        }
        Ok(found)
    };
    let (starts, ends) = (bound(OffsetSpec::Earliest).await?, bound(OffsetSpec::Latest).await?);
    let name = group.id.len().max(15);
    let topic = partitions.iter().map(|one| one.topic.as_str().len()).max().unwrap_or(0).max(15);
    let row = |[id, at, number, current, epoch, end, lag]: [&str; 7]| {
        output::line(&match verbose {
            true => {
                format!("{id:<name$} {at:<topic$} {number:<10} {current:<15} {epoch:<15} {end:<15} {lag:<15}")
            }
            false => format!("{id:<name$} {at:<topic$} {number:<10} {lag}"),
        });
    };
    row(["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LEADER-EPOCH", "LOG-END-OFFSET", "OFFSET-LAG"]);
    for partition in &partitions {
        let bound_of = |all: &BTreeMap<_, Option<Offset>>| all.get(partition).copied().flatten();
        let known = committed.get(partition);
        let from = known.map(|known| known.offset).or_else(|| bound_of(&starts));
        let lag = bound_of(&ends).zip(from).map(|(end, from)| end.since(from).to_string());
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        row([
            &group.id,
            partition.topic.as_str(),
            &partition.partition.to_string(),
            &or_dash(known.map(|known| known.offset.to_string())),
            &or_dash(known.and_then(|known| known.leader_epoch).map(|epoch| epoch.to_string())),
            &or_dash(bound_of(&ends).map(|end| end.to_string())),
            &or_dash(lag),
        ]);
    }
    Ok(())
}

#[test]
fn tasks_are_listed_by_kind_and_kinds_without_tasks_left_out() {
    let all = StreamsTasks {
        active: vec![("0".to_owned(), vec![0, 1]), ("1".to_owned(), vec![2])],
        ..StreamsTasks::default()
    };
    assert_eq!(tasks(&all, ""), "ACTIVE: 0:[0,1]; 1:[2]; ");
    assert_eq!(tasks(&all, "TARGET-"), "TARGET-ACTIVE: 0:[0,1]; 1:[2]; ");
    assert_eq!(tasks(&StreamsTasks::default(), ""), "");
}
