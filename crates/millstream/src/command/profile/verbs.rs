//! `millstream profile`: which there are, and which is in use.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::{
    Cluster, Profile, find, names,
    store::{Own, Store},
};
use crate::command::{
    failure::{Failure, usage},
    key_value::KeyValue,
    output::{Answer, OutputArguments, Section, or_dash, say, say_undo, shell},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List profiles: ours, and those found in the files of kcat and rpk
    Ls(ListArguments),
    /// Show where a profile leads
    Show(ShowArguments),
    /// Show which cluster commands talk to when nothing else is said
    Current(ListArguments),
    /// Use a profile from now on
    Use(UseArguments),
    /// Make a profile, or change it
    Add(AddArguments),
    /// Forget a profile of ours
    Rm(RemoveArguments),
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.verb {
        Verb::Ls(arguments) => list(&arguments),
        Verb::Show(arguments) => show(&arguments),
        Verb::Current(arguments) => current(&arguments),
        Verb::Use(arguments) => use_profile(&arguments),
        Verb::Add(arguments) => add(arguments),
        Verb::Rm(arguments) => remove(&arguments),
    }
}

#[derive(clap::Args)]
struct ListArguments {
    #[command(flatten)]
    output: OutputArguments,
}

fn list(arguments: &ListArguments) -> Result<()> {
    let store = Store::load()?;
    let mut section = Section::new("profile", &["NAME", "CURRENT", "BOOTSTRAP"]).wide(&["FROM"]);
    let mut values = Vec::new();
    for (name, path) in names(&store) {
        let is_current = store.current.as_ref() == Some(&name);
        // One that is broken is listed all the same, so that it can be removed.
        let found = find(&name);
        let bootstrap = match &found {
            Ok(profile) => or_dash(profile.bootstrap.clone()),
            Err(error) => format!("{error:#}"),
        };
        let mark = if is_current { "*" } else { "" };
        section.row([name.clone(), mark.to_owned(), bootstrap, path.display().to_string()]);
        values.push(json!({
            "name": name,
            "current": is_current,
            "bootstrap": found.as_ref().ok().and_then(|profile| profile.bootstrap.clone()),
            "error": found.err().map(|error| format!("{error:#}")),
            "from": path.display().to_string(),
        }));
    }
    let mut answer = Answer::new(values, vec![section]);
    if answer.sections[0].is_empty() {
        answer.note = Some("no profiles; `millstream profile add NAME -b HOST:PORT` makes one".to_owned());
    }
    arguments.output.print(&answer)
}

#[derive(clap::Args)]
struct ShowArguments {
    /// The profile, or a file
    name: String,
    #[command(flatten)]
    output: OutputArguments,
}

fn show(arguments: &ShowArguments) -> Result<()> {
    let Profile { bootstrap, properties } = find(&arguments.name)?;
    let origin = format!("profile {}", arguments.name);
    print(&Cluster { bootstrap: bootstrap.unwrap_or_default(), properties, origin }, &arguments.output)
}

fn current(arguments: &ListArguments) -> Result<()> {
    print(&Cluster::resolve(None, None)?, &arguments.output)
}

fn print(cluster: &Cluster, output: &OutputArguments) -> Result<()> {
    let mut section = Section::new("property", &["PROPERTY", "VALUE"]);
    section.row(["bootstrap.servers".to_owned(), cluster.bootstrap.clone()]);
    let mut properties = Map::new();
    for (key, value) in &cluster.properties {
        let value = if is_secret(key) { "***" } else { value };
        section.row([key.clone(), value.to_owned()]);
        properties.insert(key.clone(), json!(value));
    }
    let origin = Some(cluster.origin.as_str()).filter(|text| !text.is_empty()).unwrap_or("default");
    let value =
        json!({ "bootstrap": cluster.bootstrap, "from": origin, "properties": Value::Object(properties) });
    let mut answer = Answer::new(value, vec![section]);
    answer.note = Some(format!("from {origin}"));
    output.print(&answer)
}

fn is_secret(key: &str) -> bool {
    ["password", "secret", "jaas", ".key", "token"].iter().any(|part| key.contains(part))
}

#[derive(clap::Args)]
struct UseArguments {
    /// The profile; one of `profile ls`
    name: String,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

fn use_profile(arguments: &UseArguments) -> Result<()> {
    find(&arguments.name)?;
    let mut store = Store::load()?;
    let before = store.current.replace(arguments.name.clone());
    if arguments.dry_run {
        say(&format!("profile {} would be used; nothing was changed", arguments.name));
        return Ok(());
    }
    store.save()?;
    say(&format!("profile {} is used from now on", arguments.name));
    if let Some(before) = before.filter(|before| *before != arguments.name) {
        say_undo(&format!("profile use {}", shell(&before)));
    }
    Ok(())
}

#[derive(clap::Args)]
struct AddArguments {
    /// What to call it
    name: String,
    /// Where the cluster is
    #[arg(
        short,
        long,
        alias = "bootstrap-server",
        value_name = "HOST:PORT,…",
        required_unless_present = "file"
    )]
    bootstrap: Option<String>,
    /// Somebody else's file: client.properties, kcat.conf, rpk.yaml or rpk.yaml#PROFILE
    #[arg(short, long)]
    file: Option<String>,
    /// A client's configuration key, by Kafka's name; repeat for more
    #[arg(short = 'X', long = "property", value_name = "KEY=VALUE")]
    properties: Vec<KeyValue>,
    /// Use it from now on
    #[arg(long = "use")]
    is_used: bool,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

fn add(arguments: AddArguments) -> Result<()> {
    let AddArguments { name, bootstrap, file, properties, is_used, dry_run } = arguments;
    if name.is_empty() || name.contains(['/', '\\', ':']) {
        return Err(usage(format!(
            "{name:?} cannot be a profile's name: \"/\", \"\\\" and \":\" have a meaning"
        )));
    }
    let properties = properties.into_iter().map(|pair| (pair.key, pair.value)).collect();
    // A path that is meant from here is read from elsewhere later.
    let file = match file {
        Some(file) => Some(std::path::absolute(file)?.display().to_string()),
        None => None,
    };
    let own = Own { bootstrap, file, properties };
    let resolved = own.resolve()?;
    if let Some(servers) = &resolved.bootstrap {
        millstream_client::Client::new(millstream_client::ClientConfig::new(servers))
            .map_err(|error| usage(error.to_string()))?;
    }
    let mut store = Store::load()?;
    let before = store.profiles.insert(name.clone(), own);
    let done = if before.is_some() { "changed" } else { "made" };
    if is_used {
        store.current = Some(name.clone());
    }
    if dry_run {
        say(&format!("profile {name} would be {done}; nothing was changed"));
        return Ok(());
    }
    store.save()?;
    say(&format!("profile {name} {done}"));
    say_undo(&match before {
        Some(before) => add_again(&name, &before),
        None => format!("profile rm {}", shell(&name)),
    });
    Ok(())
}

/// The command that makes a profile as it was.
fn add_again(name: &str, own: &Own) -> String {
    let mut words = vec![format!("profile add {}", shell(name))];
    words.extend(own.bootstrap.iter().map(|bootstrap| format!("-b {}", shell(bootstrap))));
    words.extend(own.file.iter().map(|file| format!("-f {}", shell(file))));
    words.extend(own.properties.iter().map(|(key, value)| match is_secret(key) {
        true => format!("-X {key}=…"),
        false => format!("-X {}", shell(&format!("{key}={value}"))),
    }));
    words.join(" ")
}

#[derive(clap::Args)]
struct RemoveArguments {
    /// The profile
    name: String,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

fn remove(arguments: &RemoveArguments) -> Result<()> {
    let name = &arguments.name;
    let mut store = Store::load()?;
    let missing = || Failure::NotFound(format!("there is no profile {name} of ours"));
    let before = store.profiles.remove(name).ok_or_else(missing)?;
    let was_current = store.current.as_ref() == Some(name);
    if was_current {
        store.current = None;
    }
    if arguments.dry_run {
        say(&format!("profile {name} would be forgotten; nothing was changed"));
        return Ok(());
    }
    store.save()?;
    say(&format!("profile {name} forgotten"));
    say_undo(&(add_again(name, &before) + if was_current { " --use" } else { "" }));
    Ok(())
}
