use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use millstream_client::{CommittedOffset, GroupDescription, GroupMember, IsolationLevel};
use millstream_types::TopicPartition;
use serde_json::{Value, json};

use super::find;
use crate::command::{
    connect::ConnectArguments,
    output::{OutputArguments, Section, or_dash, print},
    position::{Bounds, bounds},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The group
    name: String,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let group = find(&admin, &arguments.name).await?;
    let committed = admin.group_offsets(&arguments.name).await?;
    let owners: BTreeMap<&TopicPartition, &GroupMember> =
        group.members.iter().flat_map(|member| member.assignment.iter().map(move |p| (p, member))).collect();
    let partitions: BTreeSet<&TopicPartition> = committed.keys().chain(owners.keys().copied()).collect();
    let partitions: Vec<TopicPartition> = partitions.into_iter().cloned().collect();
    // A topic that is gone has no bounds, but what was committed for it is still shown.
    let bounds = bounds(&admin, &partitions, IsolationLevel::ReadUncommitted).await.unwrap_or_default();
    let lines: Vec<Line<'_>> = partitions
        .iter()
        .map(|partition| Line {
            partition,
            committed: committed.get(partition),
            bounds: bounds.get(partition),
            owner: owners.get(partition).copied(),
        })
        .collect();
    let value = json!({
        "group": group.id,
        "state": group.state,
        "type": group.group_type,
        "protocol": group.protocol_type,
        "assignor": group.assignor,
        "members": group.members.iter().map(member_value).collect::<Vec<_>>(),
        "offsets": lines.iter().map(Line::value).collect::<Vec<_>>(),
        "lag": lines.iter().filter_map(Line::lag).sum::<i64>(),
    });
    let mut offsets = Section::new(
        "offset",
        &[
            "TOPIC",
            "PARTITION",
            "CURRENT-OFFSET",
            "LOG-END-OFFSET",
            "LAG",
            "CONSUMER-ID",
            "HOST",
            "CLIENT-ID",
        ],
    );
    for line in &lines {
        offsets.row(line.cells());
    }
    print(arguments.output.output, &value, &[head(&group), members(&group), offsets])
}

fn head(group: &GroupDescription) -> Section {
    let mut section = Section::new("group", &["GROUP", "STATE", "TYPE", "ASSIGNOR", "MEMBERS"]);
    let assignor = Some(&group.assignor).filter(|name| !name.is_empty());
    section.row([
        group.id.clone(),
        group.state.clone(),
        group.group_type.to_owned(),
        or_dash(assignor),
        group.members.len().to_string(),
    ]);
    section
}

fn members(group: &GroupDescription) -> Section {
    let mut section =
        Section::new("member", &["CONSUMER-ID", "INSTANCE-ID", "HOST", "CLIENT-ID", "PARTITIONS"]);
    for member in &group.members {
        section.row([
            member.id.clone(),
            or_dash(member.instance_id.as_ref()),
            member.host.clone(),
            member.client_id.clone(),
            member.assignment.len().to_string(),
        ]);
    }
    section
}

fn member_value(member: &GroupMember) -> Value {
    json!({
        "member_id": member.id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "host": member.host,
        "partitions": member.assignment.iter().map(|partition| json!({
            "topic": partition.topic.as_str(),
            "partition": partition.partition.0,
        })).collect::<Vec<_>>(),
    })
}

/// One partition that the group has read or is to read.
struct Line<'a> {
    partition: &'a TopicPartition,
    committed: Option<&'a CommittedOffset>,
    bounds: Option<&'a Bounds>,
    owner: Option<&'a GroupMember>,
}

impl Line<'_> {
    fn lag(&self) -> Option<i64> {
        Some(self.bounds?.end.since(self.committed?.offset).max(0))
    }

    fn cells(&self) -> [String; 8] {
        [
            self.partition.topic.to_string(),
            self.partition.partition.to_string(),
            or_dash(self.committed.map(|committed| committed.offset)),
            or_dash(self.bounds.map(|bounds| bounds.end)),
            or_dash(self.lag()),
            or_dash(self.owner.map(|member| &member.id)),
            or_dash(self.owner.map(|member| &member.host)),
            or_dash(self.owner.map(|member| &member.client_id)),
        ]
    }

    fn value(&self) -> Value {
        json!({
            "topic": self.partition.topic.as_str(),
            "partition": self.partition.partition.0,
            "current_offset": self.committed.map(|committed| committed.offset.0),
            "leader_epoch": self.committed.and_then(|committed| committed.leader_epoch).map(|epoch| epoch.0),
            "metadata": self.committed.map(|committed| committed.metadata.as_str()),
            "log_end_offset": self.bounds.map(|bounds| bounds.end.0),
            "lag": self.lag(),
            "member_id": self.owner.map(|member| member.id.as_str()),
        })
    }
}
