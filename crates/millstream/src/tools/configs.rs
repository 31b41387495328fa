//! `kafka-configs`: configuration of topics, brokers, loggers, groups and client metrics (`ConfigCommand`).

mod entity;
mod quotas;
mod scram;

use std::{collections::BTreeMap, process::ExitCode};

use millstream_client::{Admin, ConfigChange, ConfigEntry, ConfigResourceKind};
use millstream_types::TopicName;

use self::entity::{Entity, Kind};
use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    get_offsets::timed_out,
    kafka_error,
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-configs",
    summary: "Shows and changes the configuration of topics, brokers, groups and the rest.",
    flags: &[
        BOOTSTRAP_SERVER,
        Flag::new("bootstrap-controller", "Controllers to ask, instead of brokers.").takes("HOST:PORT,…"),
        COMMAND_CONFIG,
        Flag::new("describe", "Show what is configured."),
        Flag::new("alter", "Change it."),
        Flag::new("all", "With --describe: also what has its default."),
        Flag::new("topic", "A topic.").takes("TOPIC"),
        Flag::new("broker", "A broker.").takes("ID"),
        Flag::new("broker-defaults", "What holds for brokers that say nothing else."),
        Flag::new("broker-logger", "The log levels of a broker.").takes("ID"),
        Flag::new("group", "A group.").takes("GROUP"),
        Flag::new("client-metrics", "A subscription to the metrics of clients.").takes("NAME"),
        Flag::new("user", "A user's quotas and passwords.").takes("USER"),
        Flag::new("user-defaults", "Quotas of users that have none."),
        Flag::new("client", "A client id's quotas.").takes("CLIENT"),
        Flag::new("client-defaults", "Quotas of client ids that have none."),
        Flag::new("ip", "An address's quotas.").takes("IP"),
        Flag::new("ip-defaults", "Quotas of addresses that have none."),
        Flag::new(
            "entity-type",
            "topics, brokers, broker-loggers, groups, client-metrics, users, clients or ips.",
        )
        .takes("TYPE"),
        Flag::new("entity-name", "Which of them; all without it.").takes("NAME"),
        Flag::new("entity-default", "What holds for those that say nothing else."),
        Flag::new("add-config", "Keys to set: k1=v1,k2=[v2,v3].").takes("PAIRS"),
        Flag::new("add-config-file", "A Java properties file with keys to set.").takes("FILE"),
        Flag::new("delete-config", "Keys to take back to their defaults.").takes("KEY,…"),
        Flag::new("force", "").hidden(),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --describe --topic orders",
        "--bootstrap-server localhost:9092 --alter --topic orders --add-config retention.ms=3600000",
        "--bootstrap-server localhost:9092 --alter --topic orders --delete-config retention.ms",
    ],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let line = arguments.join(" ");
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            let asked = check(given)?;
            let done = block_on(async { Ok(act(given, &asked).await) })?;
            done.map_err(|failure| match failure {
                Failed::Refused(exit) => exit,
                Failed::Thrown(exit) => exit
                    .map(|what| format!("Error while executing config command with args '{line}'\n{what}")),
            })
        },
    )
}

/// Kafka's tool tells two kinds of failure apart: what it refused itself, and what was thrown at it.
enum Failed {
    Refused(Exit),
    Thrown(Exit),
}

impl From<millstream_client::Error> for Failed {
    fn from(error: millstream_client::Error) -> Self {
        let future = "java.util.concurrent.ExecutionException: ";
        Self::Thrown(Exit::failure(format!("{future}{}", kafka_error::exception(&error))))
    }
}

fn check(given: &Given) -> Outcome<Entity> {
    if given.has("describe") == given.has("alter") {
        return Err(Exit::usage("Command must include exactly one action: --describe, --alter"));
    }
    given.forbid("alter", &["describe", "all"])?;
    given.forbid("describe", &["alter", "add-config", "delete-config"])?;
    let entity = Entity::of(given)?;
    match (given.has("bootstrap-server"), given.has("bootstrap-controller")) {
        (true, true) => {
            return Err(Exit::failure(
                "Only one of --bootstrap-server or --bootstrap-controller can be specified",
            ));
        }
        (false, false) => {
            return Err(Exit::failure(
                "Either --bootstrap-server or --bootstrap-controller must be specified.",
            ));
        }
        _ => {}
    }
    entity.check(given.has("alter"), given.has("entity-default"))?;
    if given.has("alter") {
        if given.has("add-config") && given.has("add-config-file") {
            return Err(Exit::failure("Only one of --add-config or --add-config-file must be specified"));
        }
        if !["add-config", "add-config-file", "delete-config"].iter().any(|option| given.has(option)) {
            return Err(Exit::failure(
                "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
            ));
        }
    }
    Ok(entity)
}

async fn act(given: &Given, entity: &Entity) -> Result<(), Failed> {
    let option = |name| given.one(name).map_err(Failed::Refused);
    let cluster = Cluster::admin_of(given, option("command-config")?, "listTopics").await;
    let admin = cluster.map_err(|exit| Failed::Thrown(exit.map(timed_out)))?.admin_client();
    if given.has("alter") && entity.kinds.len() != entity.names.len() {
        return Err(Failed::Refused(Exit::failure("An entity name must be specified for every entity type")));
    }
    if given.has("bootstrap-controller") && needs_broker(given, entity) {
        return Err(Failed::Thrown(Exit::failure(
            "java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.UnsupportedEndpointTypeException: This Admin API is not yet supported when communicating directly with the controller quorum.",
        )));
    }
    match (given.has("alter"), entity.kind.is_quota()) {
        (true, true) => quotas::alter(given, entity, &admin).await,
        (true, false) => alter(given, entity, &admin).await,
        (false, true) => quotas::describe(entity, &admin).await,
        (false, false) => describe(given, entity, &admin).await,
    }
}

/// Whether this is something that controllers are not asked for.
fn needs_broker(given: &Given, entity: &Entity) -> bool {
    match given.has("alter") {
        true => {
            given.all("add-config").chain(given.all("delete-config")).any(|text| text.contains("SCRAM-SHA-"))
        }
        false => matches!(entity.kind, Kind::Topics | Kind::Groups | Kind::ClientMetrics),
    }
}

async fn describe(given: &Given, entity: &Entity, admin: &Admin) -> Result<(), Failed> {
    let existing = existing(entity.kind, admin).await?;
    let names = match &entity.name {
        Some(name) if name.is_empty() && entity.kind == Kind::Brokers => vec![String::new()],
        Some(name) => {
            if entity.kind == Kind::Topics {
                let refused =
                    |error| Failed::Refused(Exit::failure(format!("Topic name is invalid: {error}")));
                match name.as_str() {
                    "" => {
                        let empty = "Topic name is invalid: the empty string is not allowed";
                        return Err(Failed::Refused(Exit::failure(empty)));
                    }
                    name => drop(TopicName::parse(name).map_err(refused)?),
                }
            }
            if !existing.contains(name) {
                let kind = entity.kind.one();
                output::line(&format!("The {kind} '{name}' doesn't exist and doesn't have dynamic config."));
                return Ok(());
            }
            vec![name.clone()]
        }
        None => {
            let mut all = existing;
            if entity.kind == Kind::Brokers {
                all.push(String::new());
            }
            all
        }
    };
    let all = given.has("all");
    for name in names {
        if name.is_empty() {
            output::line("Default configs for brokers in the cluster are:");
        } else {
            let which = if all { "All" } else { "Dynamic" };
            output::line(&format!("{which} configs for {} {name} are:", entity.kind.one()));
        }
        let mut entries = admin.describe_configs(&entity.resource(&name)?).await?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let source = entity.kind.source(name.is_empty());
        for entry in entries.iter().filter(|entry| all || entry.source.name() == source) {
            show(entry);
        }
    }
    Ok(())
}

fn show(entry: &ConfigEntry) {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonym = |one: &millstream_client::ConfigSynonym| {
        format!("{}:{}={}", one.source.name(), one.name, value(&one.value))
    };
    let synonyms: Vec<String> = entry.synonyms.iter().map(synonym).collect();
    output::line(&format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        entry.name,
        value(&entry.value),
        entry.is_sensitive,
        synonyms.join(", ")
    ));
}

/// Names of all of a kind.
async fn existing(kind: Kind, admin: &Admin) -> Result<Vec<String>, Failed> {
    Ok(match kind {
        Kind::Topics => admin.list_topics().await?.into_iter().map(|topic| topic.name.to_string()).collect(),
        Kind::Brokers | Kind::BrokerLoggers => {
            admin.describe_cluster().await?.brokers.iter().map(|broker| broker.id.to_string()).collect()
        }
        Kind::Groups => {
            let mut names = admin.list_config_resources(ConfigResourceKind::Group).await?;
            names.extend(admin.list_groups().await?.into_iter().map(|group| group.id));
            names.sort_unstable();
            names.dedup();
            names
        }
        Kind::ClientMetrics => admin.list_config_resources(ConfigResourceKind::ClientMetrics).await?,
        Kind::Users | Kind::Clients | Kind::Ips => Vec::new(),
    })
}

async fn alter(given: &Given, entity: &Entity, admin: &Admin) -> Result<(), Failed> {
    let (added, deleted) = requested(given)?;
    let mut changes: BTreeMap<String, ConfigChange> =
        added.into_iter().map(|(key, value)| (key, ConfigChange::Set(value))).collect();
    changes.extend(deleted.into_iter().map(|key| (key, ConfigChange::Delete)));
    let name = entity.name.clone().unwrap_or_default();
    let resource = entity.resource(&name)?;
    if entity.kind == Kind::BrokerLoggers {
        let known = admin.describe_configs(&resource).await?;
        let unknown: Vec<&str> = changes
            .keys()
            .map(String::as_str)
            .filter(|key| known.iter().all(|entry| entry.name != *key))
            .collect();
        if !unknown.is_empty() {
            return Err(Failed::Refused(Exit::failure(format!(
                "Invalid broker logger(s): {}",
                unknown.join(",")
            ))));
        }
    }
    let changes: Vec<(String, ConfigChange)> = changes.into_iter().collect();
    admin.alter_configs(&resource, &changes, false).await?;
    completed(entity);
    Ok(())
}

fn completed(entity: &Entity) {
    output::line(&match entity.name.as_deref().unwrap_or_default() {
        "" => format!("Completed updating default config for {} in the cluster.", entity.kind.name()),
        name => format!("Completed updating config for {} {name}.", entity.kind.one()),
    });
}

/// What is to be set, and what to be taken away.
fn requested(given: &Given) -> Result<(BTreeMap<String, String>, Vec<String>), Failed> {
    let mut added = BTreeMap::new();
    let option = |name| given.one(name).map_err(Failed::Refused);
    if let Some(path) = option("add-config-file")? {
        let no_file = |exit: Exit| {
            Failed::Thrown(exit.map(|path| format!("java.nio.file.NoSuchFileException: {path}")))
        };
        let file = Properties::read(path).map_err(no_file)?;
        added.extend(file.iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    if let Some(pairs) = option("add-config")? {
        added.extend(parse(pairs).map_err(Failed::Refused)?);
    }
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "$._-".contains(letter);
    if let Some(key) = added.keys().find(|key| !key.chars().all(is_plain)) {
        let sentence = format!("Invalid character found for config key: {key}");
        return Err(Failed::Refused(Exit::failure(sentence)));
    }
    let deleted = given.all("delete-config").flat_map(|list| list.split(','));
    Ok((added, deleted.map(|key| key.trim().to_owned()).collect()))
}

/// `k1=v1,k2=[v2,v3]`; within brackets a comma or an equals sign is part of the value.
fn parse(text: &str) -> Outcome<Vec<(String, String)>> {
    let malformed = || {
        Exit::failure(
            "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \"key=[val1,val2]\" to group values which contain commas.",
        )
    };
    let mut pairs = Vec::new();
    for pair in split_outside(text, ',') {
        let parts = split_outside(pair, '=');
        let [key, value] = parts[..] else { return Err(malformed()) };
        pairs.push((key.trim().to_owned(), value.trim().replace(['[', ']'], "")));
    }
    Ok(pairs)
}

fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let mut depth = 0;
    text.split(move |letter| {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        depth <= 0 && letter == separator
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_keep_commas_and_equals_signs_together() {
        let pairs = parse("a=1, b = [x,y],c=[k=v,l=w]").unwrap();
        let shown: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(shown, ["a=1", "b=x,y", "c=k=v,l=w"]);
        assert!(parse("a").is_err() && parse("a=b=c").is_err());
        assert_eq!(parse("a=").unwrap(), [("a".to_owned(), String::new())]);
    }
}
