//! `kafka-streams-application-reset`: makes an application of Kafka Streams process everything anew
//! (`StreamsResetter`). What it keeps locally it must clean up itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::ExitCode,
};

use millstream_client::{Admin, CommittedOffset, GroupMember, OffsetSpec};
use millstream_types::{ErrorCode, Offset, PartitionId, TopicName, TopicPartition};

use super::{
    cluster::{Cluster, block_on},
    consumer_groups::reset::{Plan, at, listed, moment},
    exit::{Exit, Outcome},
    json, kafka_error,
    options::{COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output,
    pattern::Pattern,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-streams-application-reset",
    summary: "Makes an application of Kafka Streams begin anew: takes its input topics back and deletes the topics that it made for itself. Stop the application first, and have it clean up its local state afterwards.",
    flags: &[
        Flag::new("application-id", "The application's application.id.").takes("ID").required(),
        Flag::new("bootstrap-server", "Brokers to ask first; one that answers is enough.")
            .takes("HOST:PORT,…")
            .default("localhost:9092"),
        COMMAND_CONFIG,
        Flag::new("config-file", "").takes("FILE").hidden(),
        Flag::new("input-topics", "The topics that it reads; back to their beginnings, or:").takes("TOPIC,…"),
        Flag::new("to-offset", "… to this offset.").takes("OFFSET"),
        Flag::new(
            "to-datetime",
            "… to the first record at this time or later, in UTC unless it says another zone.",
        )
        .takes("TIME"),
        Flag::new("by-duration", "… to the first record that is not older than this: PT1H30M.")
            .takes("DURATION"),
        Flag::new("to-earliest", "… to the beginning."),
        Flag::new("to-latest", "… to the end."),
        Flag::new("shift-by", "… so many records on, or back if negative.").takes("COUNT"),
        Flag::new("from-file", "… to the offsets of a CSV file: topic,partition,offset.").takes("FILE"),
        Flag::new(
            "intermediate-topics",
            "Topics of yours that it reads and writes; to their ends. Deprecated.",
        )
        .takes("TOPIC,…"),
        Flag::new("internal-topics", "Which of the topics that it made are deleted; all without it.")
            .takes("TOPIC,…"),
        Flag::new("force", "Send members away that the group still has."),
        Flag::new("dry-run", "Only show what would be done."),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --application-id word-count --input-topics lines --dry-run",
        "--bootstrap-server localhost:9092 --application-id word-count --input-topics lines --by-duration P1D",
    ],
};

/// Of which one may be given.
const POSITIONS: [&str; 7] =
    ["to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "from-file", "shift-by"];

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let as_usage = |exit: Exit| Exit::usage(exit.sentence());
    if arguments.is_empty() {
        return super::finish(Err(Exit::usage("Missing required option(s) [application-id]")), || {
            SPEC.help()
        });
    }
    run_options(&SPEC, arguments, as_usage, |given| {
        for position in POSITIONS {
            let others = POSITIONS.map(|other| if other == position { "" } else { other });
            given.forbid(position, &others)?;
        }
        given.forbid("config-file", &["command-config"])?;
        block_on(act(given)).map_err(|exit| exit.map(|sentence| format!("ERROR: {sentence}")))
    })
}

/// A comma-separated list that may be given in several pieces.
fn list<'a>(given: &'a Given, option: &str) -> Vec<&'a str> {
    given.all(option).flat_map(|text| text.split(',')).collect()
}

fn shown(names: &[&str]) -> String {
    format!("[{}]", names.join(", "))
}

fn thrown(error: &millstream_client::Error) -> Exit {
    Exit::failure(format!("java.util.concurrent.ExecutionException: {}", kafka_error::exception(error)))
}

async fn act(given: &Given) -> Outcome {
    let group = given.one("application-id")?.unwrap_or_default();
    let config = given.either("command-config", "config-file")?;
    if config == "config-file" {
        output::line(
            "Option --config-file has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
    }
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let call = "describeConsumerGroups(api=FIND_COORDINATOR)";
    let cluster = Cluster::admin(bootstrap, given.one(config)?, call).await;
    let late = |exit: Exit| {
        exit.map(|sentence| match sentence.starts_with("Timed out") {
            true => format!(
                "java.util.concurrent.ExecutionException: {}",
                super::get_offsets::timed_out(sentence)
            ),
            false => sentence.to_owned(),
        })
    };
    let admin = cluster.map_err(late)?.admin_client();
    send_away(given, &admin, group).await?;
    let topics = admin.list_topics().await.map_err(|error| thrown(&error))?;
    let topics: BTreeMap<String, Vec<PartitionId>> = topics
        .into_iter()
        .filter(|topic| !topic.is_internal)
        .map(|topic| (topic.name.to_string(), topic.partitions.into_keys().collect()))
        .collect();
    if given.has("dry-run") {
        output::line(
            "----Dry run displays the actions which will be performed when running Streams Reset Tool----",
        );
    }
    let all_found = reset(given, &admin, group, &topics).await?;
    delete_internal(given, &admin, group, topics.keys()).await?;
    match all_found {
        true => Ok(()),
        false => Err(Exit::silent(1)),
    }
}

/// A group that still has members is not reset, unless they are sent away.
async fn send_away(given: &Given, admin: &Admin, group: &str) -> Outcome {
    let members: Vec<GroupMember> = match admin.describe_group(group).await {
        Ok(described) => described.members,
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => Vec::new(),
        Err(error) => return Err(thrown(&error)),
    };
    if members.is_empty() {
        return Ok(());
    }
    if !given.has("force") {
        let member = |one: &GroupMember| format!("{} of client {} at {}", one.id, one.client_id, one.host);
        let list: Vec<String> = members.iter().map(member).collect();
        return Err(Exit::failure(format!(
            "java.lang.IllegalStateException: Consumer group '{group}' is still active and has following members: [{}]. Make sure to stop all running application instances before running the reset tool. You can use option '--force' to remove active members from the group.",
            list.join(", ")
        )));
    }
    output::line(&format!("Force deleting all active members in the group: {group}"));
    admin.remove_members(group, &members).await.map_err(|error| thrown(&error))
}

/// Takes the group to where it is to begin; whether all topics that were named are there.
/// True if none of them is missing.
fn tell_missing(names: &[&str], topics: &BTreeMap<String, Vec<PartitionId>>, what: &str, head: &str) -> bool {
    let missing: Vec<&&str> = names.iter().filter(|name| !topics.contains_key(**name)).collect();
    if !missing.is_empty() {
        output::line(&format!("Following {what} topics are not found, skipping them"));
    }
    for name in &missing {
        output::line(&format!("{head}{name}"));
    }
    missing.is_empty()
}

async fn reset(
    given: &Given,
    admin: &Admin,
    group: &str,
    topics: &BTreeMap<String, Vec<PartitionId>>,
) -> Outcome<bool> {
    let inputs = list(given, "input-topics");
    if given.has("intermediate-topics") {
        output::line("WARN: `--intermediate-topics` is deprecated and will be removed in a future release");
    }
    let intermediate = list(given, "intermediate-topics");
    if inputs.is_empty() && intermediate.is_empty() {
        output::line("No input or intermediate topics specified. Skipping seek.");
        return Ok(true);
    }
    for (names, what) in
        [(&inputs, "Reset-offsets for input"), (&intermediate, "Seek-to-end for intermediate")]
    {
        if !names.is_empty() {
            output::line(&format!("{what} topics {}", shown(names)));
        }
    }
    let inputs_found = tell_missing(&inputs, topics, "input", "Topic: ");
    let all_found = tell_missing(&intermediate, topics, "intermediate", "Topic:") && inputs_found;
    let partitions = |names: &[&str]| -> Outcome<Vec<TopicPartition>> {
        let mut found = Vec::new();
        for name in names.iter().filter(|name| topics.contains_key(**name)).collect::<BTreeSet<_>>() {
            let topic = json::topic_name(name)?;
            found.extend(topics[*name].iter().map(|number| TopicPartition::new(topic.clone(), *number)));
        }
        Ok(found)
    };
    let (read, between) = (partitions(&inputs)?, partitions(&intermediate)?);
    if read.is_empty() && between.is_empty() {
        return Ok(all_found);
    }
    let mut plan = Plan::new();
    if !read.is_empty() {
        output::line(&format!(
            "Following input topics offsets will be reset to (for consumer group {group})"
        ));
        plan = positions(given, admin, group, &read).await.inspect_err(|_| {
            output::flush();
            if given.has("from-file") || given.has("to-datetime") {
                output::say("ERROR: Resetting offsets failed.");
            }
        })?;
        for (TopicPartition { topic, partition }, offset) in &plan {
            output::line(&format!("Topic: {topic} Partition: {partition} Offset: {offset}"));
        }
    }
    if !between.is_empty() {
        output::line(&format!(
            "Following intermediate topics offsets will be reset to end (for consumer group {group})"
        ));
        for partition in &between {
            output::line(&format!("Topic: {}", partition.topic));
        }
        plan.extend(at(admin, &between, OffsetSpec::Latest).await?);
    }
    if !given.has("dry-run") {
        commit(admin, group, &plan).await?;
    }
    output::line("Done.");
    Ok(all_found)
}

async fn commit(admin: &Admin, group: &str, plan: &Plan) -> Outcome {
    let committed =
        |offset: &Offset| CommittedOffset { offset: *offset, leader_epoch: None, metadata: String::new() };
    let offsets = plan.iter().map(|(partition, offset)| (partition.clone(), committed(offset))).collect();
    let results = admin.set_group_offsets(group, &offsets).await.map_err(|error| thrown(&error))?;
    results.into_values().collect::<Result<(), _>>().map_err(|error| thrown(&error))
}

async fn positions(given: &Given, admin: &Admin, group: &str, read: &[TopicPartition]) -> Outcome<Plan> {
    if let Some(offset) = given.number::<i64>("to-offset")? {
        return within(admin, read.iter().map(|partition| (partition.clone(), Offset(offset))).collect())
            .await;
    }
    if given.has("to-latest") {
        return at(admin, read, OffsetSpec::Latest).await;
    }
    if let Some(shift) = given.number::<i64>("shift-by")? {
        let committed = admin.group_offsets(group).await.map_err(|error| thrown(&error))?;
        let ends = at(admin, read, OffsetSpec::Latest).await?;
        let shifted = |partition: &TopicPartition| {
            let known = committed.get(partition).map(|known| known.offset);
            let from = known.or_else(|| ends.get(partition).copied())?;
            Some((partition.clone(), Offset(from.0.saturating_add(shift))))
        };
        return within(admin, read.iter().filter_map(shifted).collect()).await;
    }
    if let Some(path) = given.one("from-file")? {
        let planned = read_plan(path)?;
        let wanted = |partition: &TopicPartition| {
            let missing = || Exit::failure(format!("{path} has no line for {partition}"));
            Ok((partition.clone(), *planned.get(partition).ok_or_else(missing)?))
        };
        return within(admin, read.iter().map(wanted).collect::<Outcome<Plan>>()?).await;
    }
    let Some(time) = moment(given)? else { return at(admin, read, OffsetSpec::Earliest).await };
    let mut plan = Plan::new();
    let mut left = Vec::new();
    for (partition, found) in listed(admin, read, OffsetSpec::Timestamp(time)).await? {
        match found.offset {
            Some(offset) => drop(plan.insert(partition, offset)),
            None => {
                output::line(&format!(
                    "Partition {} from topic {} is empty, without a committed record. Falling back to latest known offset.",
                    partition.partition, partition.topic
                ));
                left.push(partition);
            }
        }
    }
    plan.extend(at(admin, &left, OffsetSpec::Latest).await?);
    Ok(plan)
}

/// Offsets before the beginning become the beginning, those behind the end the end.
async fn within(admin: &Admin, wanted: Plan) -> Outcome<Plan> {
    let partitions: Vec<TopicPartition> = wanted.keys().cloned().collect();
    let starts = at(admin, &partitions, OffsetSpec::Earliest).await?;
    let ends = at(admin, &partitions, OffsetSpec::Latest).await?;
    let clamp = |(partition, offset): (TopicPartition, Offset)| {
        let bound = |all: &Plan| all.get(&partition).copied().unwrap_or(offset);
        let (start, end) = (bound(&starts), bound(&ends));
        let valid = if offset >= end {
            output::line(&format!(
                "New offset ({offset}) is higher than latest offset. Value will be set to {end}"
            ));
            end
        } else if offset <= start {
            output::line(&format!(
                "New offset ({offset}) is lower than earliest offset. Value will be set to {start}"
            ));
            start
        } else {
            offset
        };
        (partition.clone(), valid)
    };
    Ok(wanted.into_iter().map(clamp).collect())
}

fn read_plan(path: &str) -> Outcome<Plan> {
    const EXCEPTION: &str = "java.text.ParseException";
    let unreadable = |error: std::io::Error| {
        Exit::failure(format!("java.io.IOException: Unable to read file {path}\n{error}"))
    };
    let text = fs::read_to_string(path).map_err(unreadable)?;
    if text.is_empty() {
        return Err(Exit::failure(format!("{EXCEPTION}: Error parsing reset plan CSV file. It is empty,")));
    }
    let line = |line: &str| {
        let [topic, partition, offset] = line.split(',').collect::<Vec<_>>()[..] else {
            return Err(Exit::failure(format!(
                "{EXCEPTION}: Reset plan CSV file is not following the format `TOPIC,PARTITION,OFFSET`."
            )));
        };
        let number = |text: &str| {
            let malformed =
                |_| Exit::failure(format!("java.lang.NumberFormatException: For input string: \"{text}\""));
            text.parse::<i64>().map_err(malformed)
        };
        let partition = PartitionId(i32::try_from(number(partition)?).unwrap_or(-1));
        Ok((TopicPartition::new(json::topic_name(topic)?, partition), Offset(number(offset)?)))
    };
    text.lines().map(line).collect()
}

/// Whether Kafka Streams gives such names to topics of an application.
fn is_internal(topic: &str, application: &str) -> Outcome<bool> {
    let endings =
        ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"];
    let joined = Pattern::new(r".+-KTABLE-FK-JOIN-SUBSCRIPTION-(REGISTRATION|RESPONSE)-\d+-topic");
    let joined = match joined {
        Some(pattern) => pattern.matches(topic)?,
        None => false,
    };
    Ok(topic.starts_with(&format!("{application}-"))
        && (joined || endings.iter().any(|ending| topic.ends_with(ending))))
}

async fn delete_internal(
    given: &Given,
    admin: &Admin,
    group: &str,
    topics: impl Iterator<Item = &String>,
) -> Outcome {
    let mut inferred: Vec<&str> = Vec::new();
    for topic in topics {
        if is_internal(topic, group)? {
            inferred.push(topic);
        }
    }
    let specified = list(given, "internal-topics");
    let chosen = match specified.is_empty() {
        true => {
            output::line(&format!("Deleting inferred internal topics {}", shown(&inferred)));
            inferred
        }
        false => {
            if specified.iter().any(|name| !inferred.contains(name)) {
                return Err(Exit::failure(
                    "java.lang.IllegalArgumentException: Invalid topic specified in the --internal-topics option. Ensure that the topics specified are all internal topics. Do a dry run without the --internal-topics option to see the list of all internal topics that can be deleted.",
                ));
            }
            output::line(&format!("Deleting specified internal topics {}", shown(&specified)));
            specified
        }
    };
    if !given.has("dry-run") && !chosen.is_empty() {
        let names: Vec<TopicName> = chosen.iter().copied().map(json::topic_name).collect::<Outcome<_>>()?;
        let mut failures = 0;
        for (name, result) in admin.delete_topics(&names).await.map_err(|error| thrown(&error))? {
            if let Err(error) = result {
                failures += 1;
                output::say(&format!("ERROR: deleting topic {name}\n{}", kafka_error::exception(&error)));
            }
        }
        if failures > 0 {
            return Err(Exit::failure(
                "java.lang.RuntimeException: Encountered an error deleting one or more topics",
            ));
        }
    }
    output::line("Done.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn topics_of_an_application_are_known_by_their_names() {
        let is = |topic: &str| is_internal(topic, "app").unwrap();
        assert!(is("app-store-changelog") && is("app-x-repartition"));
        assert!(is("app-KTABLE-FK-JOIN-SUBSCRIPTION-RESPONSE-0000000012-topic"));
        assert!(!is("app-output") && !is("other-store-changelog") && !is("store-changelog"));
    }

    #[test]
    fn a_plan_is_read_line_by_line_and_refused_by_what_is_wrong_with_it() {
        let plan = |text: &str| {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            read_plan(&file.path().display().to_string())
        };
        assert_eq!(plan("t,0,5\nt,1,7\n").unwrap().into_values().collect::<Vec<_>>(), [Offset(5), Offset(7)]);
        assert!(plan("").unwrap_err().sentence().ends_with("It is empty,"));
        assert!(plan("t,0\n").unwrap_err().sentence().contains("`TOPIC,PARTITION,OFFSET`"));
        assert!(plan("t,0,x\n").unwrap_err().sentence().contains("For input string: \"x\""));
    }
}
