//! `kafka-topics`: list, describe, create, alter and delete topics (`TopicCommand`).

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use millstream_client::{
    Admin, ConfigResource, ConfigSource, EligibleLeaders, NewTopic, Partition, TopicPartitions,
};
use millstream_types::{BrokerId, ErrorCode, PartitionId, TopicName, Uuid};

use super::{
    cluster::{Cluster, block_on, without_answer},
    exit::{Exit, Outcome},
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output,
    pattern::Pattern,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-topics",
    summary: "Lists, describes, creates, alters and deletes topics.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("list", "Names of all topics, or of those that --topic matches."),
        Flag::new("describe", "Topics with their partitions and what is configured."),
        Flag::new("create", "Make a topic."),
        Flag::new("alter", "Give a topic more partitions."),
        Flag::new("delete", "Delete topics with all their records."),
        Flag::new("topic", "A topic's name; a Java regular expression except with --create.").takes("TOPIC"),
        Flag::new("topic-id", "A topic's id, for --describe.").takes("ID"),
        Flag::new("partitions", "How many partitions the topic is to have.").takes("COUNT"),
        Flag::new("replication-factor", "How many copies of each partition.").takes("COUNT"),
        Flag::new("replica-assignment", "Brokers of each partition: 1:2,2:3 for two partitions.")
            .takes("LIST"),
        Flag::new("config", "A topic's configuration for --create; may be repeated.").takes("KEY=VALUE"),
        Flag::new("delete-config", "").takes("KEY").hidden(),
        Flag::new("if-exists", "With --alter, --delete, --describe: no failure without the topic."),
        Flag::new("if-not-exists", "With --create: no failure if the topic is there."),
        Flag::new("exclude-internal", "Leave Kafka's own topics out."),
        Flag::new("under-replicated-partitions", "Describe only partitions with replicas out of sync."),
        Flag::new("unavailable-partitions", "Describe only partitions without a leader."),
        Flag::new(
            "under-min-isr-partitions",
            "Describe only partitions with fewer replicas in sync than they need.",
        ),
        Flag::new(
            "at-min-isr-partitions",
            "Describe only partitions with just as many in sync as they need.",
        ),
        Flag::new("topics-with-overrides", "Describe only topics with a configuration of their own."),
        Flag::new(
            "partition-size-limit-per-response",
            "How many partitions one answer of the broker may hold.",
        )
        .takes("COUNT"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --create --topic orders --partitions 3",
        "--bootstrap-server localhost:9092 --describe --topic 'orders.*'",
        "--bootstrap-server localhost:9092 --alter --topic orders --partitions 6",
    ],
};

const ACTIONS: [&str; 5] = ["create", "list", "alter", "describe", "delete"];
const ONLY_DESCRIBE: [&str; 5] = [
    "under-replicated-partitions",
    "unavailable-partitions",
    "under-min-isr-partitions",
    "at-min-isr-partitions",
    "topics-with-overrides",
];
const PAGE_SIZE: i32 = 2000;

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            check(given)?;
            block_on(act(given))
        },
    )
}

/// Which options go together.
fn check(given: &Given) -> Outcome {
    if ACTIONS.iter().filter(|action| given.has(action)).count() != 1 {
        return Err(Exit::usage(
            "Command must include exactly one action: --list, --describe, --create, --alter or --delete",
        ));
    }
    if given.has("delete-config") {
        output::say(
            "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully removed in future releases.",
        );
    }
    if !given.has("bootstrap-server") {
        return Err(Exit::failure("--bootstrap-server must be specified"));
    }
    if given.has("describe") && given.has("if-exists") && !given.has("topic") && !given.has("topic-id") {
        return Err(Exit::usage("--topic or --topic-id is required to describe a topic"));
    }
    if !given.has("list") && !given.has("describe") {
        given.require(&["topic"])?;
    }
    if given.has("alter") {
        if given.has("config") {
            return Err(Exit::usage(
                "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\" (To alter topic configurations, the kafka-configs tool can be used.)",
            ));
        }
        given.require(&["partitions"])?;
    }
    let not_with = |option: &str, actions: &[&str]| given_forbids(given, option, actions);
    not_with("config", &["list", "describe", "delete"])?;
    not_with("partitions", &["list", "describe", "delete"])?;
    not_with("replication-factor", &["list", "describe", "alter", "delete"])?;
    not_with("replica-assignment", &["list", "describe", "delete"])?;
    if given.has("create") {
        given.forbid("replica-assignment", &["partitions", "replication-factor"])?;
    }
    for option in ONLY_DESCRIBE {
        not_with(option, &["list", "create", "alter", "delete"])?;
    }
    not_with("if-exists", &["list", "create"])?;
    not_with("if-not-exists", &["list", "describe", "alter", "delete"])?;
    not_with("exclude-internal", &["create", "alter", "delete"])
}

fn given_forbids(given: &Given, option: &str, actions: &[&str]) -> Outcome {
    given.forbid(option, actions)
}

async fn act(given: &Given) -> Outcome {
    // Everything from here on fails on standard output.
    let failed = |exit: Exit| {
        exit.map(|sentence| format!("Error while executing topic command : {sentence}")).into_stdout()
    };
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let config = given.one("command-config")?;
    let call = if given.has("create") { "createTopics" } else { "listTopics" };
    let cluster = Cluster::admin(bootstrap, config, call)
        .await
        .map_err(|exit| if without_answer(&exit) { failed(exit) } else { exit })?;
    let admin = cluster.admin_client();
    let work = async {
        if given.has("create") {
            create(given, &admin).await
        } else if given.has("alter") {
            alter(given, &admin).await
        } else if given.has("list") {
            let names = matching(given, &admin).await?;
            output::line(&names.iter().map(TopicName::as_str).collect::<Vec<_>>().join("\n"));
            Ok(())
        } else if given.has("describe") {
            describe(given, &admin).await
        } else {
            delete(given, &admin).await
        }
    };
    work.await.map_err(failed)
}

/// The topics that `--topic` names, or all, sorted.
async fn matching(given: &Given, admin: &Admin) -> Outcome<Vec<TopicName>> {
    let pattern = given.one("topic")?.map(Pattern::include_list).transpose()?;
    let exclude_internal = given.has("exclude-internal");
    let mut names = Vec::new();
    for topic in admin.list_topics().await? {
        let allowed = match &pattern {
            Some(pattern) => pattern.allows(topic.name.as_str(), exclude_internal)?,
            None => !(exclude_internal && topic.is_internal),
        };
        if allowed {
            names.push(topic.name);
        }
    }
    Ok(names)
}

/// A topic that was named must be there, unless `--if-exists` says otherwise.
fn ensure_found(given: &Given, found: bool) -> Outcome {
    let Some(wanted) = given.one("topic")?.filter(|_| !found && !given.has("if-exists")) else {
        return Ok(());
    };
    Err(Exit::failure(format!("Topic '{wanted}' does not exist as expected")))
}

async fn create(given: &Given, admin: &Admin) -> Outcome {
    let name = given.one("topic")?.unwrap_or_default();
    let partitions = given.number("partitions")?;
    let replication_factor: Option<i32> = given.number("replication-factor")?;
    let configs = configs(given)?;
    if name.contains(['.', '_']) {
        output::line(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues it is best to use either, but not both.",
        );
    }
    if replication_factor.is_some_and(|factor| factor < 1 || factor > i32::from(i16::MAX)) {
        return Err(Exit::failure(format!(
            "The replication factor must be between 1 and {} inclusive",
            i16::MAX
        )));
    }
    if partitions.is_some_and(|count: i32| count < 1) {
        return Err(Exit::failure("The partitions must be greater than 0"));
    }
    let topic = NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: replication_factor.and_then(|factor| i16::try_from(factor).ok()),
        assignments: given.one("replica-assignment")?.map(assignments).transpose()?.unwrap_or_default(),
        configs,
    };
    let mut results = admin.create_topics(&[topic], false).await?;
    match results.remove(name) {
        Some(Err(error)) => {
            if error.code() == Some(ErrorCode::TopicAlreadyExists) && given.has("if-not-exists") {
                return Ok(());
            }
            Err(error.into())
        }
        _ => {
            output::line(&format!("Created topic {name}."));
            Ok(())
        }
    }
}

fn configs(given: &Given) -> Outcome<BTreeMap<String, String>> {
    let mut configs = BTreeMap::new();
    for pair in given.all("config") {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Exit::failure(
                "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
            )
        })?;
        configs.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(configs)
}

/// `1:2,2:3`: brokers of partition 0, then of 1.
fn assignments(text: &str) -> Outcome<BTreeMap<PartitionId, Vec<BrokerId>>> {
    let mut all: BTreeMap<PartitionId, Vec<BrokerId>> = BTreeMap::new();
    for (number, brokers) in text.split(',').enumerate() {
        let mut ids = Vec::new();
        for broker in brokers.split(':') {
            let malformed = |_| Exit::failure(format!("For input string: \"{}\"", broker.trim()));
            ids.push(BrokerId(broker.trim().parse().map_err(malformed)?));
        }
        if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
            return Err(Exit::failure(format!(
                "Partition replica lists may not contain duplicate entries: {}",
                brokers.replace(':', ", ")
            )));
        }
        if all.values().next().is_some_and(|first| first.len() != ids.len()) {
            return Err(Exit::failure(format!(
                "Partition {number} has different replication factor: {brokers}"
            )));
        }
        all.insert(PartitionId(i32::try_from(number).unwrap_or(i32::MAX)), ids);
    }
    Ok(all)
}

async fn alter(given: &Given, admin: &Admin) -> Outcome {
    let names = matching(given, admin).await?;
    ensure_found(given, !names.is_empty())?;
    let count: i32 = given.number("partitions")?.unwrap_or_default();
    let assigned = given.one("replica-assignment")?.map(assignments).transpose()?;
    for name in names {
        let known = admin.describe_topics(std::slice::from_ref(&name)).await?.remove(&name).transpose()?;
        let from = known.map_or(0, |topic| topic.partitions.len());
        // Those that are there already keep their replicas.
        let placed = assigned.as_ref().map(|all| all.values().skip(from).cloned().collect::<Vec<_>>());
        admin.create_partitions_placed(&name, count, placed.as_deref(), false).await?;
    }
    Ok(())
}

async fn delete(given: &Given, admin: &Admin) -> Outcome {
    let names = matching(given, admin).await?;
    ensure_found(given, !names.is_empty())?;
    if names.is_empty() {
        return Ok(());
    }
    for result in admin.delete_topics(&names).await?.into_values() {
        result?;
    }
    Ok(())
}

/// What of the partitions is shown.
struct Filter {
    under_replicated: bool,
    unavailable: bool,
    under_min_isr: bool,
    at_min_isr: bool,
    with_overrides: bool,
}

impl Filter {
    fn of(given: &Given) -> Self {
        Self {
            under_replicated: given.has("under-replicated-partitions"),
            unavailable: given.has("unavailable-partitions"),
            under_min_isr: given.has("under-min-isr-partitions"),
            at_min_isr: given.has("at-min-isr-partitions"),
            with_overrides: given.has("topics-with-overrides"),
        }
    }

    fn is_partial(&self) -> bool {
        self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr
    }

    fn shows(&self, partition: &Partition, min_isr: usize) -> bool {
        let in_sync = partition.in_sync_replicas.len();
        !self.is_partial()
            || self.under_replicated && in_sync < partition.replicas.len()
            || self.unavailable && partition.leader.is_none()
            || self.under_min_isr && in_sync < min_isr
            || self.at_min_isr && in_sync == min_isr
    }
}

async fn describe(given: &Given, admin: &Admin) -> Outcome {
    let page: i32 = given.number("partition-size-limit-per-response")?.unwrap_or(PAGE_SIZE);
    // The id of no topic is no id.
    let id = given.one("topic-id")?.map(topic_id).transpose()?.filter(|id| !id.is_zero());
    let names = match id {
        Some(id) => {
            let topics = admin.list_topics().await?;
            let named = topics.into_iter().find(|topic| topic.id == Some(id)).map(|topic| topic.name);
            if named.is_none() && !given.has("if-exists") {
                return Err(Exit::failure(format!("TopicId '{}' does not exist as expected", id)));
            }
            named.into_iter().collect()
        }
        None => {
            let names = matching(given, admin).await?;
            ensure_found(given, !names.is_empty())?;
            names
        }
    };
    let filter = Filter::of(given);
    for (name, topic) in admin.describe_topic_partitions(&names, page).await? {
        let topic = match topic {
            // Deleted since it was listed.
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => continue,
            topic => topic?,
        };
        let configs = admin.describe_configs(&ConfigResource::Topic(name)).await?;
        let value = |key: &str| configs.iter().find(|entry| entry.name == key)?.value.clone();
        let min_isr = value("min.insync.replicas").and_then(|text| text.parse().ok()).unwrap_or(1);
        let overrides: Vec<String> = configs
            .iter()
            .filter(|entry| {
                entry.source != ConfigSource::Default && entry.source != ConfigSource::StaticBroker
            })
            .map(|entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null")))
            .collect();
        show(&topic, &overrides, min_isr, &filter);
    }
    Ok(())
}

fn show(described: &TopicPartitions, overrides: &[String], min_isr: usize, filter: &Filter) {
    let topic = &described.topic;
    if !filter.is_partial() && (!filter.with_overrides || !overrides.is_empty()) {
        let factor = topic.partitions.values().next().map_or(0, |partition| partition.replicas.len());
        output::line(&format!(
            "Topic: {}\tTopicId: {}\tPartitionCount: {}\tReplicationFactor: {factor}\tConfigs: {}",
            topic.name,
            topic.id.unwrap_or(Uuid::ZERO),
            topic.partitions.len(),
            overrides.join(",")
        ));
    }
    if filter.with_overrides {
        return;
    }
    for (number, partition) in &topic.partitions {
        if filter.shows(partition, min_isr) {
            let none = EligibleLeaders::default();
            let (elr, last) = match &described.eligible {
                Some(eligible) => {
                    let leaders = eligible.get(number).unwrap_or(&none);
                    (ids(&leaders.eligible), ids(&leaders.last_known))
                }
                None => ("N/A".to_owned(), "N/A".to_owned()),
            };
            output::line(&format!(
                "\tTopic: {}\tPartition: {number}\tLeader: {}\tReplicas: {}\tIsr: {}\tElr: {elr}\tLastKnownElr: {last}",
                topic.name,
                partition.leader.map_or("none".to_owned(), |id| id.to_string()),
                ids(&partition.replicas),
                ids(&partition.in_sync_replicas),
            ));
        }
    }
}

fn ids(brokers: &[BrokerId]) -> String {
    brokers.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}

fn topic_id(text: &str) -> Outcome<Uuid> {
    if text.len() > 24 {
        let (start, count) = (&text[..text.floor_char_boundary(24)], 24);
        return Err(Exit::failure(format!(
            "Input string with prefix `{start}` is too long to be decoded as a base64 UUID; at most {count} characters are read"
        )));
    }
    let bytes = match BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')) {
        Ok(bytes) => bytes,
        Err(_) if text.len() == 1 => {
            return Err(Exit::failure("Input byte[] should at least have 2 bytes for base64 bytes"));
        }
        Err(error) => return Err(Exit::failure(format!("{text:?} is not a topic id: {error}"))),
    };
    let whole: Result<[u8; 16], _> = bytes.as_slice().try_into();
    whole.map(|bytes| Uuid(u128::from_be_bytes(bytes))).map_err(|_| {
        Exit::failure(format!(
            "Input string `{text}` decoded as {} bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID",
            bytes.len()
        ))
    })
}
