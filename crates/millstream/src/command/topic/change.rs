//! Making, removing and changing topics.

use anyhow::{Result, anyhow};
use millstream_client::{Admin, ConfigChange, ConfigResource, ConfigSource, NewTopic};
use millstream_types::{ErrorCode, TopicName};

use super::{find, parse_name};
use crate::command::{
    config::take_back,
    connect::ConnectArguments,
    failure::{self, all_of, is_not_found, usage},
    key_value::KeyValue,
    output::{counted, say, say_undo, shell},
};

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
    pub(super) connect: ConnectArguments,
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
    let (mut failures, mut made) = (Vec::new(), Vec::new());
    for (name, result) in admin.create_topics(&topics, arguments.dry_run).await? {
        match result {
            Ok(created) => {
                let verb = if arguments.dry_run { "could be created" } else { "created" };
                let partitions = created.partitions.map(|count| format!(", {}", counted(count, "partition")));
                say(&format!("topic {name} {verb}{}", partitions.unwrap_or_default()));
                made.push(name);
            }
            Err(error) if arguments.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) => {
                say(&format!("topic {name} exists already"));
            }
            Err(error) => failures.push(error.into()),
        }
    }
    if !arguments.dry_run && !made.is_empty() {
        let names: Vec<String> = made.iter().map(|name| shell(name)).collect();
        say_undo(&format!("topic rm {}{}", names.join(" "), arguments.connect.again()));
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
    pub(super) connect: ConnectArguments,
}

pub(super) async fn remove(arguments: RemoveArguments) -> Result<()> {
    let names = arguments.names.iter().map(|name| parse_name(name)).collect::<Result<Vec<_>>>()?;
    let admin = arguments.connect.connect().await?.client.admin();
    let mut failures = Vec::new();
    for name in &names {
        let removed = match again(&admin, name).await {
            Ok(again) if arguments.dry_run => Ok(again),
            Ok(again) => delete(&admin, name).await.map(|()| again),
            Err(error) => Err(error),
        };
        match removed {
            Ok(_) if arguments.dry_run => say(&format!("topic {name} would be removed with all its records")),
            Ok(again) => {
                say(&format!("topic {name} removed; its records cannot be had back"));
                say_undo(&format!("{again}{}", arguments.connect.again()));
            }
            Err(error) if arguments.if_exists && is_not_found(&error) => {
                say(&format!("topic {name} does not exist"));
            }
            Err(error) => failures.push(error),
        }
    }
    all_of(failures)
}

/// The command that makes an empty topic like this one.
async fn again(admin: &Admin, name: &TopicName) -> Result<String> {
    let topic = find(admin, name).await?;
    let replicas = topic.partitions.values().map(|partition| partition.replicas.len()).max().unwrap_or(1);
    let mut command = format!("topic create {name} -p {} -r {replicas}", topic.partitions.len());
    // Whoever may not see them may still remove the topic.
    for entry in admin.describe_configs(&ConfigResource::Topic(name.clone())).await.unwrap_or_default() {
        if let (ConfigSource::Topic, Some(value)) = (entry.source, entry.value) {
            command.push_str(&format!(" -c {}", shell(&format!("{}={value}", entry.name))));
        }
    }
    Ok(command)
}

async fn delete(admin: &Admin, name: &TopicName) -> Result<()> {
    match admin.delete_topics(std::slice::from_ref(name)).await?.remove(name.as_str()) {
        Some(Err(error)) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
            Err(failure::no_topic(name))
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
    pub(super) connect: ConnectArguments,
}

pub(super) async fn alter(arguments: AlterArguments) -> Result<()> {
    let name = parse_name(&arguments.name)?;
    let mut changes: Vec<(String, ConfigChange)> = Vec::new();
    changes.extend(arguments.config.into_iter().map(|pair| (pair.key, ConfigChange::Set(pair.value))));
    changes.extend(arguments.delete_config.into_iter().map(|key| (key, ConfigChange::Delete)));
    if changes.is_empty() && arguments.partitions.is_none() {
        return Err(usage(
            "nothing to change: give --config KEY=VALUE, --delete-config KEY or --partitions N",
        ));
    }
    let admin = arguments.connect.connect().await?.client.admin();
    let topic = find(&admin, &name).await?;
    let resource = ConfigResource::Topic(name.clone());
    let would = if arguments.dry_run { "could be " } else { "" };
    if !changes.is_empty() {
        let before = admin.describe_configs(&resource).await?;
        admin.alter_configs(&resource, &changes, arguments.dry_run).await?;
        let keys: Vec<&str> = changes.iter().map(|(key, _)| key.as_str()).collect();
        say(&format!("topic {name}: {} {would}changed", keys.join(", ")));
        if !arguments.dry_run {
            let undo = take_back(&resource, &changes, &before);
            say_undo(&format!("{undo}{}", arguments.connect.again()));
        }
    }
    if let Some(count) = arguments.partitions {
        admin.create_partitions(&name, count, arguments.dry_run).await?;
        say(&format!(
            "topic {name}: partitions {would}raised from {} to {count}, which cannot be undone; keys may now go to other partitions",
            topic.partitions.len()
        ));
    }
    Ok(())
}
