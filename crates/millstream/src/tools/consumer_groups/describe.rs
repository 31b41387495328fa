//! `--describe`: offsets, members or the state of one group.

use std::collections::{BTreeMap, BTreeSet};

use millstream_client::{Admin, CommittedOffset, GroupDescription, GroupMember, IsolationLevel, OffsetSpec};
use millstream_types::{LeaderEpoch, Offset, TopicPartition};

use super::thrown;
use crate::tools::{exit::Outcome, options::Given, output};

const WIDTH_MIN: usize = 15;

pub(super) async fn run(given: &Given, admin: &Admin, group: &str) -> Outcome {
    let described = admin.describe_group(group).await.map_err(|error| thrown(&error))?;
    let verbose = given.has("verbose");
    if given.has("members") {
        if tell_state(&described) {
            members(&described, verbose);
        }
        return Ok(());
    }
    if given.has("state") {
        let coordinator = admin.group_coordinator(group).await.map_err(|error| thrown(&error))?;
        if tell_state(&described) {
            state(&described, &format!("{}  ({})", coordinator.address(), coordinator.id), verbose);
        }
        return Ok(());
    }
    let committed = admin.group_offsets(group).await.map_err(|error| thrown(&error))?;
    let rows = rows(admin, &described, &committed).await?;
    if tell_state(&described) && !rows.is_empty() {
        offsets(group, &rows, verbose);
    }
    Ok(())
}

/// Says on standard error what is special about the group; false if there is nothing to describe.
fn tell_state(group: &GroupDescription) -> bool {
    output::flush();
    match group.state.as_str() {
        "Dead" => {
            output::line(&format!("\nError: Consumer group '{}' does not exist.", group.id));
            return false;
        }
        "Empty" => output::say(&format!("\nConsumer group '{}' has no active members.", group.id)),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            output::say(&format!("\nWarning: Consumer group '{}' is rebalancing.", group.id));
        }
        _ => {}
    }
    true
}

struct Row<'a> {
    partition: Option<TopicPartition>,
    committed: Option<(Offset, Option<LeaderEpoch>)>,
    end: Option<Offset>,
    member: Option<&'a GroupMember>,
}

/// Partitions with their readers, the busiest reader first, and then those that nobody reads.
async fn rows<'a>(
    admin: &Admin,
    group: &'a GroupDescription,
    committed: &BTreeMap<TopicPartition, CommittedOffset>,
) -> Outcome<Vec<Row<'a>>> {
    let mut members: Vec<&GroupMember> = group.members.iter().collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
    let mut all: Vec<(Option<TopicPartition>, Option<&GroupMember>)> = Vec::new();
    for member in members {
        let mut assigned = member.assignment.clone();
        assigned.sort_unstable();
        if assigned.is_empty() {
            all.push((None, Some(member)));
        }
        all.extend(assigned.into_iter().map(|partition| (Some(partition), Some(member))));
    }
    let read: BTreeSet<TopicPartition> = all.iter().filter_map(|(partition, _)| partition.clone()).collect();
    all.extend(
        committed.keys().filter(|known| !read.contains(*known)).map(|left| (Some(left.clone()), None)),
    );
    let wanted =
        all.iter().filter_map(|(partition, _)| Some((partition.clone()?, OffsetSpec::Latest))).collect();
    let ends = admin.list_offsets(&wanted, IsolationLevel::ReadUncommitted).await?;
    let row = |(partition, member): (Option<TopicPartition>, Option<&'a GroupMember>)| {
        let known = partition.as_ref().and_then(|partition| committed.get(partition));
        let end = partition.as_ref().and_then(|partition| ends.get(partition)?.as_ref().ok()?.offset);
        Row { committed: known.map(|known| (known.offset, known.leader_epoch)), end, partition, member }
    };
    Ok(all.into_iter().map(row).collect())
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn offsets(group: &str, rows: &[Row<'_>], verbose: bool) {
    let mut table: Vec<Vec<String>> = Vec::new();
    let mut head = vec!["GROUP", "TOPIC", "PARTITION"];
    if verbose {
        head.push("LEADER-EPOCH");
    }
    head.extend(["CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]);
    table.push(head.into_iter().map(str::to_owned).collect());
    for row in rows {
        let mut cells = vec![
            group.to_owned(),
            or_dash(row.partition.as_ref().map(|partition| &partition.topic)),
            or_dash(row.partition.as_ref().map(|partition| partition.partition)),
        ];
        if verbose {
            cells.push(or_dash(row.committed.and_then(|(_, epoch)| epoch)));
        }
        let offset = row.committed.map(|(offset, _)| offset);
        cells.extend([
            or_dash(offset),
            or_dash(row.end),
            or_dash(offset.zip(row.end).map(|(offset, end)| end.since(offset))),
            or_dash(row.member.map(|member| &member.id)),
            or_dash(row.member.map(|member| &member.host)),
            or_dash(row.member.map(|member| &member.client_id)),
        ]);
        table.push(cells);
    }
    let mut widths = vec![0, 0, 10];
    widths.extend(vec![WIDTH_MIN; 3 + usize::from(verbose)]);
    widths.extend([0, 0, 1]);
    print(&table, &widths);
}

fn members(group: &GroupDescription, verbose: bool) {
    let instances = group.members.iter().any(|member| member.instance_id.is_some());
    let mut head = vec!["GROUP", "CONSUMER-ID"];
    let mut widths = vec![0, 0];
    if instances {
        head.push("GROUP-INSTANCE-ID");
        widths.push(17);
    }
    head.extend(["HOST", "CLIENT-ID", "#PARTITIONS"]);
    widths.extend([0, 0, WIDTH_MIN]);
    if verbose {
        head.extend(["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"]);
        widths.extend([WIDTH_MIN, 20, WIDTH_MIN, 20]);
    }
    let mut table: Vec<Vec<String>> = vec![head.into_iter().map(str::to_owned).collect()];
    for member in &group.members {
        let mut cells = vec![group.id.clone(), member.id.clone()];
        if instances {
            cells.push(member.instance_id.clone().unwrap_or_default());
        }
        cells.extend([member.host.clone(), member.client_id.clone(), member.assignment.len().to_string()]);
        if verbose {
            cells.extend(["-".to_owned(), assignment(&member.assignment), "-".to_owned(), "-".to_owned()]);
        }
        table.push(cells);
    }
    print(&table, &widths);
}

/// `orders(0,1),payments(2)`
fn assignment(partitions: &[TopicPartition]) -> String {
    let mut by_topic: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for partition in partitions {
        by_topic.entry(partition.topic.as_str()).or_default().insert(partition.partition.0);
    }
    let numbers = |all: &BTreeSet<i32>| all.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let texts: Vec<String> =
        by_topic.iter().map(|(topic, all)| format!("{topic}({})", numbers(all))).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
}

fn state(group: &GroupDescription, coordinator: &str, verbose: bool) {
    let strategy = if group.assignor.is_empty() { "-" } else { group.assignor.as_str() };
    let mut head = vec!["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE"];
    let mut cells = vec![group.id.clone(), coordinator.to_owned(), strategy.to_owned(), group.state.clone()];
    let mut widths = vec![0, 25, 20, 20];
    if verbose {
        head.extend(["GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH"]);
        cells.extend(["-".to_owned(), "-".to_owned()]);
        widths.extend([WIDTH_MIN, 25]);
    }
    head.push("#MEMBERS");
    cells.push(group.members.len().to_string());
    widths.push(1);
    print(&[head.into_iter().map(str::to_owned).collect(), cells], &widths);
}

/// An empty line, the head, rows. A width of 0 is 15 or as wide as the column's longest cell; others stay.
fn print(table: &[Vec<String>], widths: &[usize]) {
    let fitted: Vec<usize> = widths
        .iter()
        .enumerate()
        .map(|(column, width)| match width {
            0 => table.iter().map(|row| row[column].len()).max().unwrap_or(0).max(WIDTH_MIN),
            width => *width,
        })
        .collect();
    output::line("");
    for row in table {
        let cells: Vec<String> =
            row.iter().zip(&fitted).map(|(cell, width)| format!("{cell:<width$}")).collect();
        output::line(&cells.join(" "));
    }
}
