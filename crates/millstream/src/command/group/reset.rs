use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow, bail};
use millstream_client::{Admin, CommittedOffset, IsolationLevel};
use millstream_types::{ErrorCode, Offset, PartitionId, TopicPartition};
use serde_json::json;

use crate::command::{
    connect::ConnectArguments,
    failure,
    output::{OutputArguments, Section, counted, or_dash, print},
    position::{Position, bounds, resolve},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The group; one that does not exist is made
    name: String,
    /// Where to: beginning, end, N, +N after the beginning, -N before the end, @TIME (ms, -1h, a date)
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    to: Position,
    /// Which topics, or partitions as TOPIC:0,2 [default: all that the group has committed]
    #[arg(short, long = "topic", value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let name = &arguments.name;
    let members = match admin.describe_group(name).await {
        Ok(group) => group.members.len(),
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => 0,
        Err(error) => return Err(error.into()),
    };
    if members > 0 && !arguments.dry_run {
        bail!("group {name} has {}, who would not notice; stop them first", counted(members, "member"));
    }
    let before = admin.group_offsets(name).await?;
    let partitions = match arguments.topics.is_empty() {
        true => before.keys().cloned().collect(),
        false => named(&admin, &arguments.topics).await?,
    };
    if partitions.is_empty() {
        let text =
            format!("group {name} has committed nothing; name what to set with --topic TOPIC[:PARTITIONS]");
        return Err(failure::NotFound(text).into());
    }
    let isolation = IsolationLevel::ReadUncommitted;
    let known = bounds(&admin, &partitions, isolation).await?;
    let after = resolve(&admin, &known, arguments.to, isolation).await?;
    if !arguments.dry_run {
        commit(&admin, name, &after).await?;
    }
    report(&arguments, &before, &after)
}

async fn commit(admin: &Admin, group: &str, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<()> {
    let committed = offsets.iter().map(|(partition, offset)| {
        let committed = CommittedOffset { offset: *offset, leader_epoch: None, metadata: String::new() };
        (partition.clone(), committed)
    });
    for (_, result) in admin.set_group_offsets(group, &committed.collect()).await? {
        result?;
    }
    Ok(())
}

fn report(
    arguments: &Arguments,
    before: &BTreeMap<TopicPartition, CommittedOffset>,
    after: &BTreeMap<TopicPartition, Offset>,
) -> Result<()> {
    let mut section = Section::new("offset", &["TOPIC", "PARTITION", "OFFSET", "BEFORE"]);
    let old = |partition: &TopicPartition| before.get(partition).map(|committed| committed.offset);
    for (partition, offset) in after {
        section.row([
            partition.topic.to_string(),
            partition.partition.to_string(),
            offset.to_string(),
            or_dash(old(partition)),
        ]);
    }
    let value = after.iter().map(|(partition, offset)| {
        json!({
            "topic": partition.topic.as_str(),
            "partition": partition.partition.0,
            "offset": offset.0,
            "before": old(partition).map(|offset| offset.0),
        })
    });
    let done = if arguments.dry_run { "would be set; nothing was changed" } else { "set" };
    eprintln!("group {}: {} {done}", arguments.name, counted(after.len(), "offset"));
    print(arguments.output.output, &value.collect(), &[section])
}

/// `TOPIC` or `TOPIC:0,2`
async fn named(admin: &Admin, topics: &[String]) -> Result<Vec<TopicPartition>> {
    let mut all = BTreeSet::new();
    for text in topics {
        let (name, list) =
            text.split_once(':').map_or((text.as_str(), None), |(name, list)| (name, Some(list)));
        let name = crate::command::topic::parse_name(name)?;
        let topic = crate::command::topic::find(admin, &name).await?;
        let wanted: Vec<PartitionId> = match list {
            None => topic.partitions.keys().copied().collect(),
            Some(list) => list.split(',').map(|number| partition(text, number)).collect::<Result<_>>()?,
        };
        if let Some(missing) = wanted.iter().find(|partition| !topic.partitions.contains_key(partition)) {
            bail!("topic {name} has no partition {missing}");
        }
        all.extend(wanted.into_iter().map(|partition| TopicPartition::new(name.clone(), partition)));
    }
    Ok(all.into_iter().collect())
}

fn partition(text: &str, number: &str) -> Result<PartitionId> {
    let number = number.trim().parse().map_err(|_| anyhow!("--topic {text}: expected TOPIC or TOPIC:0,2"))?;
    Ok(PartitionId(number))
}
