use std::collections::BTreeMap;

use anyhow::Result;
use millstream_client::{Client, ConsumerConfig, GroupDescription, GroupMember};
use millstream_types::TopicPartition;
use serde_json::{Value, json};

use super::find;
use crate::command::{
    connect::ConnectArguments,
    lag::{Place, add_seconds, places},
    output::{Answer, Section, ShowArguments, or_dash},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The group
    name: String,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let connected = arguments.connect.connect().await?;
    let ask = async || ask(&connected.client, &connected.consumer, &arguments.name).await;
    arguments.show.show(ask).await
}

async fn ask(client: &Client, config: &ConsumerConfig, name: &str) -> Result<Answer> {
    let admin = client.admin();
    let group = find(&admin, name).await?;
    let mut known = places(&admin, &group).await?;
    add_seconds(client, config, &mut known).await?;
    let owners: BTreeMap<&TopicPartition, &GroupMember> =
        group.members.iter().flat_map(|member| member.assignment.iter().map(move |p| (p, member))).collect();
    let lines: Vec<Line<'_>> = known
        .iter()
        .map(|(partition, place)| Line { partition, place, owner: owners.get(partition).copied() })
        .collect();
    let value = json!({
        "group": group.id,
        "state": group.state,
        "type": group.group_type,
        "protocol": group.protocol_type,
        "assignor": group.assignor,
        "members": group.members.iter().map(member_value).collect::<Vec<_>>(),
        "offsets": lines.iter().map(Line::value).collect::<Vec<_>>(),
        "lag": known.values().filter_map(Place::records).sum::<i64>(),
    });
    let columns = [
        "TOPIC",
        "PARTITION",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "SECONDS",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ];
    let mut offsets = Section::new("offset", &columns);
    for line in &lines {
        offsets.row(line.cells());
    }
    Ok(Answer::new(value, vec![head(&group), members(&group), offsets]))
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
    place: &'a Place,
    owner: Option<&'a GroupMember>,
}

impl Line<'_> {
    fn cells(&self) -> [String; 9] {
        let Place { committed, bounds, seconds } = self.place;
        [
            self.partition.topic.to_string(),
            self.partition.partition.to_string(),
            or_dash(committed.as_ref().map(|committed| committed.offset)),
            or_dash(bounds.map(|bounds| bounds.end)),
            or_dash(self.place.records()),
            or_dash(seconds.map(|seconds| format!("{seconds:.1}"))),
            or_dash(self.owner.map(|member| &member.id)),
            or_dash(self.owner.map(|member| &member.host)),
            or_dash(self.owner.map(|member| &member.client_id)),
        ]
    }

    fn value(&self) -> Value {
        let Place { committed, bounds, seconds } = self.place;
        let committed = committed.as_ref();
        json!({
            "topic": self.partition.topic.as_str(),
            "partition": self.partition.partition.0,
            "current_offset": committed.map(|committed| committed.offset.0),
            "leader_epoch": committed.and_then(|committed| committed.leader_epoch).map(|epoch| epoch.0),
            "metadata": committed.map(|committed| committed.metadata.as_str()),
            "log_end_offset": bounds.map(|bounds| bounds.end.0),
            "lag": self.place.records(),
            "lag_seconds": seconds,
            "member_id": self.owner.map(|member| member.id.as_str()),
        })
    }
}
