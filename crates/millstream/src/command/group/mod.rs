//! `millstream group`: groups, how far they have read, and setting them elsewhere.

mod history;
mod lag;
mod reset;
mod show;
mod watch;

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use millstream_client::{Admin, CommittedOffset, GroupDescription};
use millstream_types::{ErrorCode, TopicPartition};
use serde_json::{Value, json};

use super::{
    connect::ConnectArguments,
    failure::{self, Failure, all_of},
    output::{Answer, Section, ShowArguments, counted, or_dash, say, say_undo, shell},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List groups
    Ls(ListArguments),
    /// Show a group's members, offsets and lag
    Show(show::Arguments),
    /// Show how far groups are behind, in records and in seconds
    Lag(lag::Arguments),
    /// Tell of each change: states, members that come and go, what they are assigned
    Watch(watch::Arguments),
    /// Show what is still known of past commits and generations
    History(history::Arguments),
    /// Set a group's offsets; it must have no members
    Reset(reset::Arguments),
    /// Remove groups, or only their offsets for some topics
    Rm(RemoveArguments),
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let of = ConnectArguments::clone;
    match arguments.verb {
        Verb::Ls(arguments) => of(&arguments.connect).run(list(arguments)),
        Verb::Show(arguments) => of(&arguments.connect).run(show::run(arguments)),
        Verb::Lag(arguments) => of(&arguments.connect).run(lag::run(arguments)),
        Verb::Watch(arguments) => of(&arguments.connect).run(watch::run(arguments)),
        Verb::History(arguments) => of(&arguments.connect).run(history::run(arguments)),
        Verb::Reset(arguments) => of(&arguments.connect).run(reset::run(arguments)),
        Verb::Rm(arguments) => of(&arguments.connect).run(remove(arguments)),
    }
}

#[derive(clap::Args)]
struct ListArguments {
    /// Only groups whose names contain this
    contains: Option<String>,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn list(arguments: ListArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    arguments.show.show(async || list_once(&admin, arguments.contains.as_deref()).await).await
}

async fn list_once(admin: &Admin, contains: Option<&str>) -> Result<Answer> {
    let mut groups = admin.list_groups().await?;
    groups.retain(|group| contains.is_none_or(|part| group.id.contains(part)));
    let mut section = Section::new("group", &["GROUP", "TYPE", "STATE", "PROTOCOL"]);
    for group in &groups {
        let protocol = Some(&group.protocol_type).filter(|name| !name.is_empty());
        section.row([
            group.id.clone(),
            or_dash(group.group_type.as_ref()),
            or_dash(group.state.as_ref()),
            or_dash(protocol),
        ]);
    }
    let value = groups.iter().map(|group| {
        json!({ "group": group.id, "type": group.group_type, "state": group.state, "protocol": group.protocol_type })
    });
    let mut answer = Answer::new(value.collect::<Value>(), vec![section]);
    if groups.is_empty() {
        answer.note = Some("no groups".to_owned());
    }
    Ok(answer)
}

#[derive(clap::Args)]
struct RemoveArguments {
    /// The groups
    #[arg(required = true)]
    names: Vec<String>,
    /// Forget only the offsets for this topic; repeat for more
    #[arg(short, long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn remove(arguments: RemoveArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let mut failures = Vec::new();
    for name in &arguments.names {
        let removed = match arguments.topics.is_empty() {
            true => remove_group(&admin, name, &arguments).await,
            false => remove_offsets(&admin, name, &arguments).await,
        };
        failures.extend(removed.err());
    }
    all_of(failures)
}

async fn remove_group(admin: &Admin, name: &str, arguments: &RemoveArguments) -> Result<()> {
    let group = find(admin, name).await?;
    if !group.members.is_empty() {
        bail!("group {name} has {}; stop them first", counted(group.members.len(), "member"));
    }
    if arguments.dry_run {
        say(&format!("group {name} would be removed with its offsets; nothing was changed"));
        return Ok(());
    }
    let committed = admin.group_offsets(name).await?;
    admin.delete_group(name).await?;
    say(&format!("group {name} removed"));
    if !committed.is_empty() {
        say_undo(&set_again(name, &committed, &arguments.connect));
    }
    Ok(())
}

async fn remove_offsets(admin: &Admin, name: &str, arguments: &RemoveArguments) -> Result<()> {
    find(admin, name).await?;
    let topics = &arguments.topics;
    let mut committed = admin.group_offsets(name).await?;
    committed.retain(|partition, _| topics.iter().any(|topic| topic == partition.topic.as_str()));
    if committed.is_empty() {
        let text = format!("group {name} has committed nothing for {}", topics.join(", "));
        return Err(Failure::NotFound(text).into());
    }
    let count = counted(committed.len(), "offset");
    if arguments.dry_run {
        say(&format!("group {name}: {count} would be forgotten; nothing was changed"));
        return Ok(());
    }
    let partitions: Vec<TopicPartition> = committed.keys().cloned().collect();
    for (_, result) in admin.delete_group_offsets(name, &partitions).await? {
        result?;
    }
    say(&format!("group {name}: {count} forgotten"));
    say_undo(&set_again(name, &committed, &arguments.connect));
    Ok(())
}

/// The command that sets these offsets.
fn set_again(
    group: &str,
    offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    connect: &ConnectArguments,
) -> String {
    let mut command = format!("group reset {}", shell(group));
    for (TopicPartition { topic, partition }, committed) in offsets {
        command.push_str(&format!(" --set {topic}:{partition}={}", committed.offset));
    }
    command + &connect.again()
}

/// The group, or a failure that says what to do.
async fn find(admin: &Admin, name: &str) -> Result<GroupDescription> {
    match admin.describe_group(name).await {
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Err(failure::no_group(&name)),
        described => Ok(described?),
    }
}
