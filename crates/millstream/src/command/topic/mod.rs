//! `millstream topic`: topics and the records in them.

mod cat;
mod change;
mod envelope;
mod format;
mod list;
mod produce;
mod show;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use millstream_client::{Admin, Topic};
use millstream_types::{ErrorCode, TopicName};

use super::{connect::block_on, failure};

pub(super) use envelope::put_bytes;

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
    /// Write records from standard input
    Produce(produce::Arguments),
    /// Print records
    Cat(cat::Arguments),
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    failure::exit_code(match arguments.verb {
        Verb::Ls(arguments) => block_on(list::run(arguments)),
        Verb::Show(arguments) => block_on(show::run(arguments)),
        Verb::Create(arguments) => block_on(change::create(arguments)),
        Verb::Rm(arguments) => block_on(change::remove(arguments)),
        Verb::Alter(arguments) => block_on(change::alter(arguments)),
        Verb::Produce(arguments) => block_on(produce::run(arguments)),
        Verb::Cat(arguments) => block_on(cat::run(arguments)),
    })
}

pub(super) fn parse_name(name: &str) -> Result<TopicName> {
    TopicName::parse(name).map_err(|error| anyhow!("{error}"))
}

/// The topic, or a failure that says what to do.
pub(super) async fn find(admin: &Admin, name: &TopicName) -> Result<Topic> {
    let described = admin.describe_topics(std::slice::from_ref(name)).await?.remove(name);
    match described {
        Some(Ok(topic)) => Ok(topic),
        Some(Err(error)) if error.code() != Some(ErrorCode::UnknownTopicOrPartition) => Err(error.into()),
        _ => Err(failure::no_topic(name).into()),
    }
}

/// `KEY=VALUE` as a clap value.
#[derive(Clone, Debug)]
struct KeyValue {
    key: String,
    value: String,
}

impl std::str::FromStr for KeyValue {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| anyhow!("expected KEY=VALUE, found {text:?}"))?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}
