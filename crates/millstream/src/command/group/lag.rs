//! `group lag`: a line for each topic of each group.

use std::collections::BTreeMap;

use anyhow::Result;
use millstream_client::{Admin, Client, ConsumerConfig, GroupDescription};
use millstream_types::{ErrorCode, TopicName};
use serde_json::{Value, json};

use super::find;
use crate::command::{
    connect::ConnectArguments,
    failure::Failure,
    lag::{add_seconds, places, short},
    output::{Answer, Section, ShowArguments, counted, or_dash},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The groups [default: all that have committed something]
    names: Vec<String>,
    /// Exit with code 4 if any group is further behind in any topic, in records
    #[arg(long, value_name = "RECORDS")]
    max: Option<i64>,
    /// Exit with code 4 if the first unread record of any partition is older
    #[arg(long, value_name = "SECONDS")]
    max_seconds: Option<f64>,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

/// One topic as one group has read it.
struct Line {
    group: String,
    state: String,
    members: usize,
    topic: TopicName,
    partitions: usize,
    records: i64,
    /// Of the partition that is furthest behind; None if that is not known of any.
    seconds: Option<f64>,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let connected = arguments.connect.connect().await?;
    let mut late = 0;
    let ask = async || {
        let lines = ask(&connected.client, &connected.consumer, &arguments.names).await?;
        late = lines.iter().filter(|line| arguments.is_late(line)).count();
        Ok(answer(&lines))
    };
    arguments.show.show(ask).await?;
    match late {
        0 => Ok(()),
        late => Err(Failure::CheckFailed(format!("{} too far behind", counted(late, "topic"))).into()),
    }
}

impl Arguments {
    fn is_late(&self, line: &Line) -> bool {
        let in_records = self.max.is_some_and(|max| line.records > max);
        let in_seconds =
            self.max_seconds.is_some_and(|max| line.seconds.is_some_and(|seconds| seconds > max));
        in_records || in_seconds
    }
}

async fn ask(client: &Client, config: &ConsumerConfig, names: &[String]) -> Result<Vec<Line>> {
    let admin = client.admin();
    let mut lines = Vec::new();
    for group in groups(&admin, names).await? {
        let mut known = places(&admin, &group).await?;
        add_seconds(client, config, &mut known).await?;
        let mut topics: BTreeMap<TopicName, Line> = BTreeMap::new();
        for (partition, place) in known {
            let line = topics.entry(partition.topic.clone()).or_insert_with(|| Line {
                group: group.id.clone(),
                state: group.state.clone(),
                members: group.members.len(),
                topic: partition.topic,
                partitions: 0,
                records: 0,
                seconds: None,
            });
            line.partitions += 1;
            line.records += place.records().unwrap_or(0);
            line.seconds = match (line.seconds, place.seconds) {
                (Some(most), Some(this)) => Some(most.max(this)),
                (most, this) => most.or(this),
            };
        }
        lines.extend(topics.into_values());
    }
    Ok(lines)
}

async fn groups(admin: &Admin, names: &[String]) -> Result<Vec<GroupDescription>> {
    let mut groups = Vec::new();
    if !names.is_empty() {
        for name in names {
            groups.push(find(admin, name).await?);
        }
        return Ok(groups);
    }
    for listed in admin.list_groups().await? {
        match admin.describe_group(&listed.id).await {
            Ok(group) => groups.push(group),
            // It went meanwhile, or it is of a kind that commits no offsets.
            Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(groups)
}

fn answer(lines: &[Line]) -> Answer {
    let columns = ["GROUP", "TOPIC", "LAG", "SECONDS", "STATE"];
    let mut section = Section::new("lag", &columns).wide(&["MEMBERS", "PARTITIONS", "FOR"]);
    for line in lines {
        section.row([
            line.group.clone(),
            line.topic.to_string(),
            line.records.to_string(),
            or_dash(line.seconds.map(|seconds| format!("{seconds:.1}"))),
            line.state.clone(),
            line.members.to_string(),
            line.partitions.to_string(),
            or_dash(line.seconds.map(short)),
        ]);
    }
    let value = lines.iter().map(|line| {
        json!({
            "group": line.group,
            "topic": line.topic.as_str(),
            "lag": line.records,
            "lag_seconds": line.seconds,
            "state": line.state,
            "members": line.members,
            "partitions": line.partitions,
        })
    });
    let mut answer = Answer::new(value.collect::<Value>(), vec![section]);
    if lines.is_empty() {
        answer.note = Some("no group has committed anything".to_owned());
    }
    answer
}
