//! Making, removing and changing topics.

use anyhow::{Result, anyhow, bail};
use millstream_client::{Admin, ConfigChange, ConfigResource, NewTopic};
use millstream_types::{ErrorCode, TopicName};

use super::{KeyValue, find, parse_name};
use crate::command::{connect::ConnectArguments, failure, output::counted};

#[derive(clap::Args)]
pub(super) struct CreateArguments {
    /// The topics
    #[arg(required = true)]
    names: Vec<String>,
    /// How many partitions [default: the broker's num.partitions]
    #[arg(short, long)]
    partitions: Option<i32>,
    /// How many replicas of each [default: the broker's default.replication.factor]
    #[arg(short, long)]
    replication_factor: Option<i16>,
    /// A configuration key of the topic; repeat for more
    #[arg(short, long, value_name = "KEY=VALUE")]
    config: Vec<KeyValue>,
    /// A topic that exists is left as it is
    #[arg(long)]
    if_not_exists: bool,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn create(arguments: CreateArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let configs = arguments.config.iter().map(|pair| (pair.key.clone(), pair.value.clone())).collect();
    let topic = NewTopic {
        partitions: arguments.partitions,
        replication_factor: arguments.replication_factor,
        configs,
        ..NewTopic::default()
    };
    let topics: Vec<_> =
        arguments.names.iter().map(|name| NewTopic { name: name.clone(), ..topic.clone() }).collect();
    let mut failures = Vec::new();
    for (name, result) in admin.create_topics(&topics, arguments.dry_run).await? {
        match result {
            Ok(created) => {
                let verb = if arguments.dry_run { "could be created" } else { "created" };
                let partitions = created.partitions.map(|count| format!(", {}", counted(count, "partition")));
                eprintln!("topic {name} {verb}{}", partitions.unwrap_or_default());
            }
            Err(error) if arguments.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                eprintln!("topic {name} exists already");
            }
            Err(error) => failures.push(error.into()),
        }
    }
    all_of(failures)
}

#[derive(clap::Args)]
pub(super) struct RemoveArguments {
    /// The topics
    #[arg(required = true)]
    names: Vec<String>,
    /// A topic that does not exist is no error
    #[arg(long)]
    if_exists: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn remove(arguments: RemoveArguments) -> Result<()> {
    let names = arguments.names.iter().map(|name| parse_name(name)).collect::<Result<Vec<_>>>()?;
    let admin = arguments.connect.connect().await?.client.admin();
    let mut failures = Vec::new();
    for name in &names {
        let removed = match arguments.dry_run {
            true => find(&admin, name).await.map(|_| ()),
            false => delete(&admin, name).await,
        };
        match removed {
            Ok(()) if arguments.dry_run => eprintln!("topic {name} would be removed with all its records"),
            Ok(()) => eprintln!("topic {name} removed"),
            Err(error) if arguments.if_exists && error.is::<failure::NotFound>() => {
                eprintln!("topic {name} does not exist");
            }
            Err(error) => failures.push(error),
        }
    }
    all_of(failures)
}

async fn delete(admin: &Admin, name: &TopicName) -> Result<()> {
    match admin.delete_topics(std::slice::from_ref(name)).await?.remove(name.as_str()) {
        Some(Err(error)) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
            Err(failure::no_topic(name).into())
        }
        Some(result) => Ok(result?),
        None => Err(anyhow!("the broker said nothing of topic {name}")),
    }
}

#[derive(clap::Args)]
pub(super) struct AlterArguments {
    /// The topic
    name: String,
    /// Set a configuration key; repeat for more
    #[arg(short, long, value_name = "KEY=VALUE")]
    config: Vec<KeyValue>,
    /// Put a configuration key back to the broker's value; repeat for more
    #[arg(short, long, value_name = "KEY")]
    delete_config: Vec<String>,
    /// Raise the number of partitions to this
    #[arg(short, long)]
    partitions: Option<i32>,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn alter(arguments: AlterArguments) -> Result<()> {
    let name = parse_name(&arguments.name)?;
    let mut changes: Vec<(String, ConfigChange)> = Vec::new();
    changes.extend(arguments.config.into_iter().map(|pair| (pair.key, ConfigChange::Set(pair.value))));
    changes.extend(arguments.delete_config.into_iter().map(|key| (key, ConfigChange::Delete)));
    if changes.is_empty() && arguments.partitions.is_none() {
        bail!("nothing to change: give --config KEY=VALUE, --delete-config KEY or --partitions N");
    }
    let admin = arguments.connect.connect().await?.client.admin();
    find(&admin, &name).await?;
    let would = if arguments.dry_run { "could be " } else { "" };
    if !changes.is_empty() {
        admin.alter_configs(&ConfigResource::Topic(name.clone()), &changes, arguments.dry_run).await?;
        let keys: Vec<&str> = changes.iter().map(|(key, _)| key.as_str()).collect();
        eprintln!("topic {name}: {} {would}changed", keys.join(", "));
    }
    if let Some(count) = arguments.partitions {
        admin.create_partitions(&name, count, arguments.dry_run).await?;
        eprintln!("topic {name}: partitions {would}raised to {count}; keys may now go to other partitions");
    }
    Ok(())
}

/// The first failure, after saying the others.
fn all_of(failures: Vec<anyhow::Error>) -> Result<()> {
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(()) };
    for other in failures {
        eprintln!("millstream: {other:#}");
    }
    Err(first)
}
