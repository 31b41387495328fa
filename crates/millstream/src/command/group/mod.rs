//! `millstream group`: groups, how far they have read, and setting them elsewhere.

mod reset;
mod show;

use std::process::ExitCode;

use anyhow::Result;
use millstream_client::{Admin, GroupDescription};
use millstream_types::{ErrorCode, TopicPartition};
use serde_json::json;

use super::{
    connect::{ConnectArguments, block_on},
    failure,
    output::{OutputArguments, Section, counted, or_dash, print},
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
    /// Set a group's offsets; it must have no members
    Reset(reset::Arguments),
    /// Remove groups, or only their offsets for some topics
    Rm(RemoveArguments),
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    failure::exit_code(match arguments.verb {
        Verb::Ls(arguments) => block_on(list(arguments)),
        Verb::Show(arguments) => block_on(show::run(arguments)),
        Verb::Reset(arguments) => block_on(reset::run(arguments)),
        Verb::Rm(arguments) => block_on(remove(arguments)),
    })
}

#[derive(clap::Args)]
struct ListArguments {
    /// Only groups whose names contain this
    contains: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn list(arguments: ListArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let mut groups = admin.list_groups().await?;
    groups.retain(|group| arguments.contains.as_ref().is_none_or(|part| group.id.contains(part)));
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
    if groups.is_empty() {
        eprintln!("no groups");
    }
    print(arguments.output.output, &value.collect(), &[section])
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
    let mut failure = Ok(());
    for name in &arguments.names {
        let removed = match arguments.topics.is_empty() {
            true => remove_group(&admin, name, arguments.dry_run).await,
            false => remove_offsets(&admin, name, &arguments.topics, arguments.dry_run).await,
        };
        if let Err(error) = removed {
            match failure {
                Ok(()) => failure = Err(error),
                Err(_) => eprintln!("millstream: {error:#}"),
            }
        }
    }
    failure
}

async fn remove_group(admin: &Admin, name: &str, dry_run: bool) -> Result<()> {
    let group = find(admin, name).await?;
    if !group.members.is_empty() {
        anyhow::bail!("group {name} has {}; stop them first", counted(group.members.len(), "member"));
    }
    if dry_run {
        eprintln!("group {name} would be removed with its offsets");
        return Ok(());
    }
    admin.delete_group(name).await?;
    eprintln!("group {name} removed");
    Ok(())
}

async fn remove_offsets(admin: &Admin, name: &str, topics: &[String], dry_run: bool) -> Result<()> {
    find(admin, name).await?;
    let committed = admin.group_offsets(name).await?;
    let named = |partition: &&TopicPartition| topics.iter().any(|topic| topic == partition.topic.as_str());
    let partitions: Vec<TopicPartition> = committed.keys().filter(named).cloned().collect();
    if partitions.is_empty() {
        let text = format!("group {name} has committed nothing for {}", topics.join(", "));
        return Err(failure::NotFound(text).into());
    }
    if dry_run {
        eprintln!("group {name}: {} would be forgotten", counted(partitions.len(), "offset"));
        return Ok(());
    }
    for (_, result) in admin.delete_group_offsets(name, &partitions).await? {
        result?;
    }
    eprintln!("group {name}: {} forgotten", counted(partitions.len(), "offset"));
    Ok(())
}

/// The group, or a failure that says what to do.
async fn find(admin: &Admin, name: &str) -> Result<GroupDescription> {
    match admin.describe_group(name).await {
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => {
            Err(failure::no_group(&name).into())
        }
        described => Ok(described?),
    }
}
