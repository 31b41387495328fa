//! `--describe`.

use std::collections::BTreeMap;

use millstream_client::{Admin, ShareGroupDescription, ShareGroupMember, ShareOffset};
use millstream_types::TopicPartition;

use super::{all, thrown};
use crate::tools::{exit::Outcome, options::Given, output};

pub(super) async fn run(given: &Given, admin: &Admin) -> Outcome {
    let mut names: Vec<String> = match given.has("all-groups") {
        true => all(admin, super::KIND).await?.into_iter().map(|group| group.id).collect(),
        false => given.all("group").map(str::to_owned).collect(),
    };
    names.sort_unstable();
    names.dedup();
    let verbose = given.has("verbose");
    let mut groups = Vec::new();
    for name in &names {
        // That one cannot be described is told before any is shown.
        groups.push(admin.describe_share_group(name).await.map_err(|error| futures(&error))?);
    }
    for group in groups {
        if given.has("members") {
            members(&group, verbose);
        } else if given.has("state") {
            state(&group, admin, verbose).await?;
        } else {
            let known = admin.share_group_offsets(&group.id).await.map_err(|error| thrown(&error))?;
            offsets(&group.id, &known, verbose);
        }
    }
    Ok(())
}

/// Of what a future threw, Java's message has the class as well.
fn futures(error: &millstream_client::Error) -> crate::tools::exit::Exit {
    crate::tools::exit::Exit::failure(crate::tools::kafka_error::exception(error))
}

/// Says what there is to say of a group without members; whether there is more to show.
fn told(group: &ShareGroupDescription, rows: usize) -> bool {
    match group.state.as_str() {
        "Dead" => {
            output::line(&format!("\nError: Share group '{}' does not exist.", group.id));
            return false;
        }
        "Empty" => {
            output::flush();
            output::say(&format!("\nShare group '{}' has no active members.", group.id));
        }
        _ => {}
    }
    rows > 0
}

async fn state(group: &ShareGroupDescription, admin: &Admin, verbose: bool) -> Outcome {
    told(group, 1);
    let broker = admin.group_coordinator(&group.id).await.map_err(|error| thrown(&error))?;
    let coordinator = format!("{}:{}  ({})", broker.host, broker.port, broker.id);
    let (name, place) = (group.id.len().max(15), coordinator.len().max(25));
    let ShareGroupDescription { id, state, epoch, assignment_epoch, members } = group;
    let members = members.len();
    if verbose {
        output::line(&format!(
            "\n{:<name$} {:<place$} {:<15} {:<12} {:<17} #MEMBERS\n{id:<name$} {coordinator:<place$} {state:<15} {epoch:<12} {assignment_epoch:<17} {members}",
            "GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "ASSIGNMENT-EPOCH"
        ));
    } else {
        output::line(&format!(
            "\n{:<name$} {:<place$} {:<15} #MEMBERS\n{id:<name$} {coordinator:<place$} {state:<15} {members}",
            "GROUP", "COORDINATOR (ID)", "STATE"
        ));
    }
    Ok(())
}

fn members(group: &ShareGroupDescription, verbose: bool) {
    if !told(group, group.members.len()) {
        return;
    }
    let mut members: Vec<&ShareGroupMember> = group.members.iter().collect();
    members.sort_by(|one, other| one.id.cmp(&other.id));
    let width = |text: fn(&ShareGroupMember) -> &str| {
        members.iter().map(|member| text(member).len()).max().unwrap_or(0).max(15)
    };
    let (id, host, client) = (width(|one| &one.id), width(|one| &one.host), width(|one| &one.client_id));
    let name = group.id.len().max(15);
    let row = |[group, member, at, by, count, epoch, assignment]: [&str; 7]| {
        let epoch = if verbose { format!("{epoch:<13} ") } else { String::new() };
        format!("\n{group:<name$} {member:<id$} {at:<host$} {by:<client$} {count:<12} {epoch}{assignment}")
    };
    let head = ["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "MEMBER-EPOCH", "ASSIGNMENT"];
    let mut text = row(head);
    for member in members {
        text += &row([
            &group.id,
            &member.id,
            &member.host,
            &member.client_id,
            &member.assignment.len().to_string(),
            &member.epoch.to_string(),
            &assignment(&member.assignment),
        ]);
    }
    output::line(&text);
}

/// `t:0,1;u:0`
fn assignment(partitions: &[TopicPartition]) -> String {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(partition.topic.as_str()).or_default().push(partition.partition.0);
    }
    let topic = |(name, mut numbers): (&str, Vec<i32>)| {
        numbers.sort_unstable();
        let numbers: Vec<String> = numbers.iter().map(i32::to_string).collect();
        format!("{name}:{}", numbers.join(","))
    };
    topics.into_iter().map(topic).collect::<Vec<_>>().join(";")
}

fn offsets(group: &str, known: &BTreeMap<TopicPartition, Option<ShareOffset>>, verbose: bool) {
    if known.is_empty() {
        output::line(&format!("\nShare group '{group}' has no offset information."));
        return;
    }
    let name = group.len().max(15);
    let topic = known.keys().map(|one| one.topic.as_str().len()).max().unwrap_or(0).max(15);
    let row = |[group, at, number, epoch, start, lag]: [&str; 6]| {
        let epoch = if verbose { format!("{epoch:<13} ") } else { String::new() };
        format!("\n{group:<name$} {at:<topic$} {number:<10} {epoch}{start:<13} {lag}")
    };
    let mut text = row(["GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "START-OFFSET", "LAG"]);
    let number = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for (partition, offset) in known {
        text += &row([
            group,
            partition.topic.as_str(),
            &partition.partition.to_string(),
            &number(offset.and_then(|one| one.leader_epoch).map(|epoch| epoch.to_string())),
            &number(offset.map(|one| one.start.to_string())),
            &number(offset.and_then(|one| one.lag).map(|lag| lag.to_string())),
        ]);
    }
    output::line(&text);
}

#[test]
fn assignments_are_sorted_by_topic_and_number() {
    use millstream_types::{PartitionId, TopicName};

    let partition = |topic: &str, number| {
        TopicPartition::new(TopicName::parse(topic).expect("a name"), PartitionId(number))
    };
    assert_eq!(assignment(&[partition("u", 0), partition("t", 1), partition("t", 0)]), "t:0,1;u:0");
}
