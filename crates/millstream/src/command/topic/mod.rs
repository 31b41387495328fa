//! `millstream topic`: topics and the records in them.

mod change;
mod diff;
mod list;
mod records;
mod show;

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use millstream_client::{Admin, Topic};
use millstream_types::{ErrorCode, PartitionId, TopicName, TopicPartition};

use super::{cat, config, connect::ConnectArguments, failure, produce};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List topics
    Ls(list::Arguments),
    /// Show a topic's partitions and configuration
    Show(show::Arguments),
    /// Make topics
    Create(change::CreateArguments),
    /// Remove topics and all their records
    Rm(change::RemoveArguments),
    /// Change a topic's configuration or add partitions
    Alter(change::AlterArguments),
    /// Show a topic's configuration: `config show topic/NAME`
    Config(config::TopicArguments),
    /// Show in what topics differ; exit code 4 if they do
    Diff(diff::Arguments),
    /// Remove a topic's first records
    Trim(records::TrimArguments),
    /// Count records by their offsets
    Count(records::CountArguments),
    /// Write records of one topic to another, keys, headers and timestamps included
    Copy(records::CopyArguments),
    /// Write records from standard input: `millstream produce`
    Produce(produce::Arguments),
    /// Print records: `millstream cat`
    Cat(cat::Arguments),
    /// Print records as they come, until ctrl-C
    Tail(cat::TailArguments),
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let of = ConnectArguments::clone;
    match arguments.verb {
        Verb::Ls(arguments) => of(&arguments.connect).run(list::run(arguments)),
        Verb::Show(arguments) => of(&arguments.connect).run(show::run(arguments)),
        Verb::Create(arguments) => of(&arguments.connect).run(change::create(arguments)),
        Verb::Rm(arguments) => of(&arguments.connect).run(change::remove(arguments)),
        Verb::Alter(arguments) => of(&arguments.connect).run(change::alter(arguments)),
        Verb::Config(arguments) => config::run_for_topic(arguments),
        Verb::Diff(arguments) => of(&arguments.connect).run(diff::run(arguments)),
        Verb::Trim(arguments) => of(&arguments.connect).run(records::trim(arguments)),
        Verb::Count(arguments) => of(&arguments.connect).run(records::count(arguments)),
        Verb::Copy(arguments) => of(&arguments.connect).run_to_its_end(records::copy(arguments)),
        Verb::Produce(arguments) => produce::run(arguments),
        Verb::Cat(arguments) => cat::run(arguments),
        Verb::Tail(arguments) => cat::run(arguments.into()),
    }
}

pub(super) fn parse_name(name: &str) -> Result<TopicName> {
    TopicName::parse(name).map_err(|error| failure::usage(error.to_string()))
}

/// The topic, or a failure that says what to do.
pub(super) async fn find(admin: &Admin, name: &TopicName) -> Result<Topic> {
    let described = admin.describe_topics(std::slice::from_ref(name)).await?.remove(name);
    match described {
        Some(Ok(topic)) => Ok(topic),
        Some(Err(error)) if error.code() != Some(ErrorCode::UnknownTopicOrPartition) => Err(anyhow!(error)),
        _ => Err(failure::no_topic(name)),
    }
}

/// The partitions of some topics: `TOPIC`, or `TOPIC:0,2` for some of its partitions.
pub(super) async fn partitions_named(admin: &Admin, topics: &[String]) -> Result<Vec<TopicPartition>> {
    let mut all = BTreeSet::new();
    for text in topics {
        let (name, list) =
            text.split_once(':').map_or((text.as_str(), None), |(name, list)| (name, Some(list)));
        let name = parse_name(name)?;
        let number = |number: &str| {
            let number = number.trim().parse().map(PartitionId);
            number.map_err(|_| failure::usage(format!("{text}: expected TOPIC or TOPIC:0,2")))
        };
        let wanted = list.map(|list| list.split(',').map(number).collect::<Result<Vec<_>>>()).transpose()?;
        let topic = find(admin, &name).await?;
        let wanted = wanted.unwrap_or_else(|| topic.partitions.keys().copied().collect());
        if let Some(missing) = wanted.iter().find(|partition| !topic.partitions.contains_key(partition)) {
            bail!("topic {name} has no partition {missing}");
        }
        all.extend(wanted.into_iter().map(|partition| TopicPartition::new(name.clone(), partition)));
    }
    Ok(all.into_iter().collect())
}
