//! `millstream config`: what topics, brokers, groups and the rest are configured to do, and changing it.

mod resource;

use anyhow::Result;
use millstream_client::{Admin, ConfigChange, ConfigEntry, ConfigResource};
use serde_json::{Value, json};

pub(super) use self::resource::Resource;
use super::{
    connect::ConnectArguments,
    failure::Failure,
    key_value::KeyValue,
    output::{Answer, OutputArguments, Section, ShowArguments, counted, or_dash, say, say_undo, shell},
    topic,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List what has a configuration of its own
    Ls(ListArguments),
    /// Show a configuration: what was set, or with --all everything that holds
    Show(ShowConfigArguments),
    /// Set keys
    Set(SetArguments),
    /// Put keys back to what holds without them
    Unset(UnsetArguments),
    /// Show in what two resources of a kind differ; exit code 4 if they do
    Diff(DiffArguments),
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let of = ConnectArguments::clone;
    match arguments.verb {
        Verb::Ls(arguments) => of(&arguments.connect).run(list(arguments)),
        Verb::Show(arguments) => of(&arguments.what.connect).run(show(arguments)),
        Verb::Set(arguments) => of(&arguments.connect).run(set(arguments)),
        Verb::Unset(arguments) => of(&arguments.connect).run(unset(arguments)),
        Verb::Diff(arguments) => of(&arguments.connect).run(diff(arguments)),
    }
}

/// `topic config NAME`
#[derive(clap::Args)]
pub(super) struct TopicArguments {
    /// The topic
    name: String,
    #[command(flatten)]
    what: WhatArguments,
}

pub(super) fn run_for_topic(arguments: TopicArguments) -> Result<()> {
    let resource = Resource::new(ConfigResource::Topic(topic::parse_name(&arguments.name)?));
    let arguments = ShowConfigArguments { resource, what: arguments.what };
    arguments.what.connect.clone().run(show(arguments))
}

#[derive(clap::Args)]
struct ListArguments {
    /// Only topic, broker, group or client-metrics
    kind: Option<resource::Kind>,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn list(arguments: ListArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    arguments.show.show(async || list_once(&admin, arguments.kind).await).await
}

async fn list_once(admin: &Admin, kind: Option<resource::Kind>) -> Result<Answer> {
    let mut section = Section::new("resource", &["RESOURCE", "KEYS"]).wide(&["SET"]);
    let mut values = Vec::new();
    for resource in resource::all(admin, kind).await? {
        let mut entries = admin.describe_configs(&resource.0).await?;
        entries.retain(|entry| resource.is_own(entry.source));
        if entries.is_empty() {
            continue;
        }
        let pairs: Vec<String> = entries.iter().map(pair).collect();
        section.row([resource.to_string(), entries.len().to_string(), pairs.join(" ")]);
        values.push(json!({
            "resource": resource.to_string(),
            "configs": entries.iter().map(entry_value).collect::<Vec<_>>(),
        }));
    }
    let mut answer = Answer::new(values, vec![section]);
    if answer.sections[0].is_empty() {
        answer.note = Some("nothing has a configuration of its own".to_owned());
    }
    Ok(answer)
}

#[derive(clap::Args)]
struct ShowConfigArguments {
    /// topic/NAME, broker/ID, broker/default, logger/ID, group/NAME, client-metrics/NAME
    resource: Resource,
    #[command(flatten)]
    what: WhatArguments,
}

#[derive(clap::Args)]
struct WhatArguments {
    /// Only keys that contain this
    #[arg(short, long)]
    key: Option<String>,
    /// Every key that holds, not only those that were set here
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn show(arguments: ShowConfigArguments) -> Result<()> {
    let ShowConfigArguments { resource, what } = arguments;
    let admin = what.connect.connect().await?.client.admin();
    what.show.show(async || show_once(&admin, &resource, &what).await).await
}

async fn show_once(admin: &Admin, resource: &Resource, what: &WhatArguments) -> Result<Answer> {
    let mut entries = resource.describe(admin).await?;
    let all = what.all || what.key.is_some();
    entries.retain(|entry| {
        let is_named = what.key.as_ref().is_none_or(|part| entry.name.contains(part));
        is_named && (all || resource.is_own(entry.source))
    });
    let mut answer =
        Answer::new(entries.iter().map(entry_value).collect::<Vec<_>>(), vec![config_section(&entries)]);
    if entries.is_empty() {
        answer.note = Some(format!("{resource} has no configuration of its own; --all shows what holds"));
    }
    Ok(answer)
}

/// Entries as a table.
pub(super) fn config_section(entries: &[ConfigEntry]) -> Section {
    let columns = ["READ-ONLY", "INSTEAD-OF"];
    let mut section = Section::new("config", &["CONFIG", "VALUE", "SOURCE"]).wide(&columns);
    for entry in entries {
        // The first is what holds.
        let others = entry.synonyms.iter().skip(1);
        let others: Vec<String> = others
            .map(|other| format!("{}:{}={}", other.source.name(), other.name, or_dash(other.value.as_ref())))
            .collect();
        section.row([
            entry.name.clone(),
            or_dash(entry.value.clone()),
            entry.source.name().to_owned(),
            if entry.is_read_only { "yes" } else { "no" }.to_owned(),
            others.join(" "),
        ]);
    }
    section
}

pub(super) fn entry_value(entry: &ConfigEntry) -> Value {
    json!({
        "name": entry.name,
        "value": entry.value,
        "source": entry.source.name(),
        "read_only": entry.is_read_only,
        "sensitive": entry.is_sensitive,
    })
}

fn pair(entry: &ConfigEntry) -> String {
    format!("{}={}", entry.name, or_dash(entry.value.as_ref()))
}

#[derive(clap::Args)]
struct SetArguments {
    /// topic/NAME, broker/ID, broker/default, logger/ID, group/NAME, client-metrics/NAME
    resource: Resource,
    /// What to set; KEY+=VALUE adds to a list, KEY-=VALUE takes from it
    #[arg(required = true, value_name = "KEY=VALUE")]
    pairs: Vec<KeyValue>,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn set(arguments: SetArguments) -> Result<()> {
    let changes = arguments.pairs.into_iter().map(|KeyValue { key, value }| {
        if let Some(key) = key.strip_suffix('+') {
            (key.to_owned(), ConfigChange::Append(value))
        } else if let Some(key) = key.strip_suffix('-') {
            (key.to_owned(), ConfigChange::Subtract(value))
        } else {
            (key, ConfigChange::Set(value))
        }
    });
    alter(&arguments.resource, &changes.collect::<Vec<_>>(), arguments.dry_run, &arguments.connect).await
}

#[derive(clap::Args)]
struct UnsetArguments {
    /// topic/NAME, broker/ID, broker/default, logger/ID, group/NAME, client-metrics/NAME
    resource: Resource,
    /// The keys
    #[arg(required = true)]
    keys: Vec<String>,
    /// Only say whether it could be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn unset(arguments: UnsetArguments) -> Result<()> {
    let changes: Vec<_> = arguments.keys.into_iter().map(|key| (key, ConfigChange::Delete)).collect();
    alter(&arguments.resource, &changes, arguments.dry_run, &arguments.connect).await
}

async fn alter(
    resource: &Resource,
    changes: &[(String, ConfigChange)],
    dry_run: bool,
    connect: &ConnectArguments,
) -> Result<()> {
    let admin = connect.connect().await?.client.admin();
    let before = resource.describe(&admin).await?;
    admin.alter_configs(&resource.0, changes, dry_run).await?;
    let keys: Vec<&str> = changes.iter().map(|(key, _)| key.as_str()).collect();
    let would = if dry_run { "could be " } else { "" };
    say(&format!("{resource}: {} {would}changed", keys.join(", ")));
    if !dry_run {
        say_undo(&format!("{}{}", take_back(&resource.0, changes, &before), connect.again()));
    }
    Ok(())
}

/// The commands, joined by `&& millstream`, that bring back what held before.
pub(super) fn take_back(
    resource: &ConfigResource,
    changes: &[(String, ConfigChange)],
    before: &[ConfigEntry],
) -> String {
    let resource = Resource::new(resource.clone());
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    for (key, _) in changes {
        let own = before.iter().find(|entry| entry.name == *key && resource.is_own(entry.source));
        match own {
            Some(ConfigEntry { is_sensitive: true, .. }) => set.push(format!("{key}=…")),
            Some(entry) => {
                let value = entry.value.as_deref().unwrap_or_default();
                set.push(shell(&format!("{key}={value}")));
            }
            None => unset.push(shell(key)),
        }
    }
    let name = shell(&resource.to_string());
    let mut commands = Vec::new();
    if !set.is_empty() {
        commands.push(format!("config set {name} {}", set.join(" ")));
    }
    if !unset.is_empty() {
        commands.push(format!("config unset {name} {}", unset.join(" ")));
    }
    commands.join(" && millstream ")
}

#[derive(clap::Args)]
struct DiffArguments {
    /// One of them: topic/NAME, broker/ID …
    one: Resource,
    /// And another
    other: Resource,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn diff(arguments: DiffArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let one = arguments.one.describe(&admin).await?;
    let other = arguments.other.describe(&admin).await?;
    let names: std::collections::BTreeSet<&str> =
        one.iter().chain(&other).map(|entry| entry.name.as_str()).collect();
    let mut section = Section::new("difference", &["CONFIG", "ONE", "OTHER"]);
    let mut values = Vec::new();
    let value = |entries: &[ConfigEntry], name: &str| {
        entries.iter().find(|entry| entry.name == name).and_then(|entry| entry.value.clone())
    };
    for name in names {
        let (left, right) = (value(&one, name), value(&other, name));
        if left != right {
            section.row([name.to_owned(), or_dash(left.clone()), or_dash(right.clone())]);
            values.push(json!({ "name": name, "one": left, "other": right }));
        }
    }
    let count = values.len();
    arguments.output.print(&Answer::new(values, vec![section]))?;
    if count > 0 {
        let text = format!("{} and {}: {}", arguments.one, arguments.other, counted(count, "difference"));
        return Err(Failure::CheckFailed(text).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millstream_client::ConfigSource;
    use millstream_types::TopicName;

    use super::*;

    fn entry(name: &str, value: &str, source: ConfigSource) -> ConfigEntry {
        ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            source,
            is_read_only: false,
            is_sensitive: false,
            synonyms: Vec::new(),
            documentation: None,
        }
    }

    #[test]
    fn what_takes_a_change_back_sets_what_was_set_and_unsets_the_rest() {
        let before = [
            entry("retention.ms", "5", ConfigSource::Topic),
            entry("segment.ms", "7", ConfigSource::Default),
            entry("cleanup.policy", "a b", ConfigSource::Topic),
        ];
        let changes = ["retention.ms", "segment.ms", "cleanup.policy"]
            .map(|key| (key.to_owned(), ConfigChange::Delete));
        let topic = ConfigResource::Topic(TopicName::from_static("t"));
        assert_eq!(
            take_back(&topic, &changes, &before),
            "config set topic/t retention.ms=5 'cleanup.policy=a b' && millstream config unset topic/t segment.ms"
        );
    }
}
