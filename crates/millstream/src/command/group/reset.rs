//! `group reset`: where a group will read on from.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use anyhow::{Result, anyhow, bail};
use millstream_client::{Admin, CommittedOffset, IsolationLevel};
use millstream_types::{ErrorCode, Offset, PartitionId, TopicName, TopicPartition};
use serde_json::{Value, json};

use super::set_again;
use crate::command::{
    connect::ConnectArguments,
    failure::{Failure, usage},
    output::{Answer, OutputArguments, Section, counted, or_dash, say, say_undo, shell},
    position::{Bounds, Position, bounds, resolve},
    topic::partitions_named,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The group; one that does not exist is made
    name: String,
    #[command(flatten)]
    target: Target,
    /// Which topics, or partitions as TOPIC:0,2 [default: all that the group has committed]
    #[arg(short, long = "topic", value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// Where to: beginning, end, N, +N after the beginning, -N before the end, @TIME (ms, -1h, a date)
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    to: Option<Position>,
    /// So many records on from where the group is, or back
    #[arg(long, value_name = "RECORDS", allow_hyphen_values = true)]
    shift: Option<i64>,
    /// To where another group is
    #[arg(long, value_name = "GROUP")]
    to_group: Option<String>,
    /// One partition to one offset; repeat for more
    #[arg(long, value_name = "TOPIC:PARTITION=OFFSET", conflicts_with = "topics")]
    set: Vec<Exact>,
}

/// `TOPIC:PARTITION=OFFSET`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exact {
    partition: TopicPartition,
    offset: Offset,
}

impl FromStr for Exact {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = || {
            let (partition, offset) = text.split_once('=')?;
            let (topic, partition) = partition.rsplit_once(':')?;
            let partition = partition.parse().ok().filter(|number| *number >= 0).map(PartitionId)?;
            let partition = TopicPartition::new(TopicName::parse(topic).ok()?, partition);
            Some(Self { partition, offset: Offset::from_wire(offset.parse().ok()?)? })
        };
        parsed().ok_or_else(|| anyhow!("expected TOPIC:PARTITION=OFFSET, found {text:?}"))
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    if arguments.target.to == Some(Position::Stored) {
        return Err(usage("--to stored is where the group is already; --to-group GROUP is where another is"));
    }
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
    let after = target(&admin, &arguments, &before).await?;
    if !arguments.dry_run {
        commit(&admin, name, &after).await?;
    }
    report(&arguments, &before, &after)
}

/// Which offsets are to be set.
async fn target(
    admin: &Admin,
    arguments: &Arguments,
    before: &BTreeMap<TopicPartition, CommittedOffset>,
) -> Result<BTreeMap<TopicPartition, Offset>> {
    let Arguments { name, target, topics, .. } = arguments;
    let isolation = IsolationLevel::ReadUncommitted;
    if !target.set.is_empty() {
        return exactly(admin, &target.set).await;
    }
    let other = match &target.to_group {
        Some(other) => admin.group_offsets(other).await?,
        None => BTreeMap::new(),
    };
    let partitions: Vec<TopicPartition> = match (topics.is_empty(), &target.to_group) {
        (true, None) => before.keys().cloned().collect(),
        (true, Some(_)) => other.keys().cloned().collect(),
        (false, _) => partitions_named(admin, topics).await?,
    };
    if partitions.is_empty() {
        let who = target.to_group.as_ref().unwrap_or(name);
        let text =
            format!("group {who} has committed nothing; name what to set with --topic TOPIC[:PARTITIONS]");
        return Err(Failure::NotFound(text).into());
    }
    let known = bounds(admin, &partitions, isolation).await?;
    if let Some(to) = target.to {
        return resolve(admin, &known, to, isolation).await;
    }
    let within = |bounds: &Bounds, offset: Offset| offset.clamp(bounds.start, bounds.end.max(bounds.start));
    let mut after = BTreeMap::new();
    for (partition, bounds) in &known {
        let from = if target.to_group.is_some() { &other } else { before };
        if let Some(committed) = from.get(partition) {
            let offset = committed.offset.plus(target.shift.unwrap_or(0));
            after.insert(partition.clone(), within(bounds, offset));
        }
    }
    if after.is_empty() {
        bail!("nothing is committed for {}, from which to go on", topics.join(", "));
    }
    Ok(after)
}

/// What was said, if it is there.
async fn exactly(admin: &Admin, set: &[Exact]) -> Result<BTreeMap<TopicPartition, Offset>> {
    for Exact { partition: TopicPartition { topic, partition }, .. } in set {
        if !crate::command::topic::find(admin, topic).await?.partitions.contains_key(partition) {
            bail!("topic {topic} has no partition {partition}");
        }
    }
    Ok(set.iter().map(|one| (one.partition.clone(), one.offset)).collect())
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
    say(&format!("group {}: {} {done}", arguments.name, counted(after.len(), "offset")));
    if !arguments.dry_run {
        say_undo(&take_back(arguments, before, after));
    }
    arguments.output.print(&Answer::new(value.collect::<Value>(), vec![section]))
}

fn take_back(
    arguments: &Arguments,
    before: &BTreeMap<TopicPartition, CommittedOffset>,
    after: &BTreeMap<TopicPartition, Offset>,
) -> String {
    let (name, connect) = (&arguments.name, &arguments.connect);
    let changed: BTreeMap<TopicPartition, CommittedOffset> = after
        .keys()
        .filter_map(|partition| Some((partition.clone(), before.get(partition)?.clone())))
        .collect();
    // An offset can be forgotten only for a topic as a whole.
    let is_new = |topic: &TopicName| !before.keys().any(|partition| partition.topic == *topic);
    let new: BTreeSet<&TopicName> =
        after.keys().map(|partition| &partition.topic).filter(|topic| is_new(topic)).collect();
    let mut commands = Vec::new();
    if !changed.is_empty() {
        commands.push(set_again(name, &changed, connect));
    }
    if before.is_empty() {
        commands.push(format!("group rm {}{}", shell(name), connect.again()));
    } else if !new.is_empty() {
        let topics: Vec<String> = new.iter().map(|topic| format!(" -t {topic}")).collect();
        commands.push(format!("group rm {}{}{}", shell(name), topics.concat(), connect.again()));
    }
    commands.join(" && millstream ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_of_a_partition_is_read_as_it_is_written() {
        let exact: Exact = "a.b:3=42".parse().unwrap();
        assert_eq!((exact.partition.to_string(), exact.offset), ("a.b-3".to_owned(), Offset(42)));
        for wrong in ["", "a:3", "a=3", "a:-1=3", "a:1=-3", "a:x=1", ":1=2"] {
            assert!(wrong.parse::<Exact>().is_err(), "{wrong}");
        }
    }
}
