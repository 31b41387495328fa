//! `kafka-get-offsets`: offsets of partitions, by time (`GetOffsetShell`).

use std::{collections::BTreeMap, process::ExitCode};

use millstream_client::{IsolationLevel, OffsetSpec};
use millstream_types::{PartitionId, TimestampMs, TopicPartition};

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    kafka_error,
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output,
    pattern::Pattern,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-get-offsets",
    summary: "Prints TOPIC:PARTITION:OFFSET of every partition asked for.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("topic", "A Java regular expression over topics; all of them without it.").takes("TOPIC"),
        Flag::new("partitions", "Numbers of partitions; all of them without it.").takes("0,1,…"),
        Flag::new("topic-partitions", "Topics with partitions or ranges of them: a:1,b:0-3,c,d:5-,e:-3.").takes("LIST"),
        Flag::new(
            "time",
            "Milliseconds since 1970, or -1/latest, -2/earliest, -3/max-timestamp, -4/earliest-local, -5/latest-tiered, -6/earliest-pending-upload.",
        )
        .takes("TIME")
        .default("latest"),
        Flag::new("exclude-internal-topics", "Leave Kafka's own topics out."),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --topic orders",
        "--bootstrap-server localhost:9092 --topic orders --time earliest",
        "--bootstrap-server localhost:9092 --topic-partitions 'orders:0-3,payments'",
    ],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let occurred = |exit: Exit| {
        if exit.with_help { exit } else { exit.map(|sentence| format!("Error occurred: {sentence}")) }
    };
    run_options(&SPEC, arguments, occurred, |given| {
        let work = given.require(&["bootstrap-server"]).and_then(|()| block_on(act(given)));
        work.map_err(occurred)
    })
}

async fn act(given: &Given) -> Outcome {
    if given.has("topic-partitions") && (given.has("topic") || given.has("partitions")) {
        return Err(Exit::failure("--topic-partitions cannot be used with --topic or --partitions"));
    }
    let time = given.one("time")?.unwrap_or("latest");
    let rules = match given.one("topic-partitions")? {
        Some(list) => list.split(',').map(Rule::parse).collect::<Outcome<Vec<_>>>()?,
        None => vec![Rule {
            topic: Pattern::include_list(given.one("topic")?.unwrap_or(".*"))?,
            partitions: Partitions::listed(given.one("partitions")?)?,
        }],
    };
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let cluster = Cluster::admin(bootstrap, given.one("command-config")?, "listTopics").await;
    let cluster = cluster.map_err(|exit| exit.map(timed_out))?;
    let admin = cluster.admin_client();
    let spec = spec(time)?;
    let exclude_internal = given.has("exclude-internal-topics");
    let mut wanted: BTreeMap<TopicPartition, Option<OffsetSpec>> = BTreeMap::new();
    for topic in admin.list_topics().await? {
        for number in topic.partitions.keys() {
            for rule in &rules {
                if rule.topic.allows(topic.name.as_str(), exclude_internal)? && rule.partitions.has(*number) {
                    wanted.insert(TopicPartition::new(topic.name.clone(), *number), spec);
                }
            }
        }
    }
    if wanted.is_empty() {
        return Err(Exit::failure("Could not match any topic-partitions with the specified filters"));
    }
    let skip = |partition: &TopicPartition, reason: &str| {
        output::say(&format!("Skip getting offsets for topic-partition {partition} due to error: {reason}"));
    };
    let Some(spec) = spec else {
        const REASON: &str = "org.apache.kafka.common.errors.UnsupportedVersionException: The version of API is not supported.";
        wanted.keys().for_each(|partition| skip(partition, REASON));
        return Ok(());
    };
    let wanted = wanted.into_keys().map(|partition| (partition, spec)).collect();
    for (partition, listed) in admin.list_offsets(&wanted, IsolationLevel::ReadUncommitted).await? {
        match listed {
            Ok(listed) => {
                if let Some(offset) = listed.offset {
                    output::line(&format!("{}:{}:{offset}", partition.topic, partition.partition));
                }
            }
            Err(error) => skip(&partition, &kafka_error::exception(&error)),
        }
    }
    Ok(())
}

/// A time-out with the exception's name, which Java's future puts in front.
pub(super) fn timed_out(sentence: &str) -> String {
    match sentence.starts_with("Timed out") {
        true => format!("org.apache.kafka.common.errors.TimeoutException: {sentence}"),
        false => sentence.to_owned(),
    }
}

/// None for a number that means something only to a later Kafka.
fn spec(time: &str) -> Outcome<Option<OffsetSpec>> {
    let malformed = |_| {
        Exit::failure(format!(
            "Malformed time argument {time}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
        ))
    };
    Ok(Some(match time {
        "latest" => OffsetSpec::Latest,
        "earliest" => OffsetSpec::Earliest,
        "max-timestamp" => OffsetSpec::MaxTimestamp,
        "earliest-local" => OffsetSpec::EarliestLocal,
        "latest-tiered" => OffsetSpec::LatestTiered,
        "earliest-pending-upload" => OffsetSpec::EarliestPendingUpload,
        number => match number.parse::<i64>().map_err(malformed)? {
            -1 => OffsetSpec::Latest,
            -2 => OffsetSpec::Earliest,
            -3 => OffsetSpec::MaxTimestamp,
            -4 => OffsetSpec::EarliestLocal,
            -5 => OffsetSpec::LatestTiered,
            -6 => OffsetSpec::EarliestPendingUpload,
            ..=-7 => return Ok(None),
            time => OffsetSpec::Timestamp(TimestampMs(time)),
        },
    }))
}

struct Rule {
    topic: Pattern,
    partitions: Partitions,
}

enum Partitions {
    All,
    Some(Vec<i32>),
    /// From the first on, before the second.
    Range(Option<i32>, Option<i32>),
}

impl Rule {
    fn parse(text: &str) -> Outcome<Self> {
        let invalid = || {
            Exit::failure(format!(
                "org.apache.kafka.tools.TerseException: Invalid rule specification: {text}"
            ))
        };
        let (topic, partitions) = match text.split_once(':') {
            None => (text, Partitions::All),
            Some((topic, partitions)) => {
                let number = |text: &str| match text {
                    "" => Ok(None),
                    text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                        text.parse().map(Some).map_err(|_| invalid())
                    }
                    _ => Err(invalid()),
                };
                let partitions = match partitions.split_once('-') {
                    Some((from, to)) => Partitions::Range(number(from)?, number(to)?),
                    None => number(partitions)?.map_or(Partitions::All, |one| Partitions::Some(vec![one])),
                };
                (topic, partitions)
            }
        };
        let topic = Pattern::include_list(if topic.is_empty() { ".*" } else { topic })?;
        Ok(Self { topic, partitions })
    }
}

impl Partitions {
    fn listed(list: Option<&str>) -> Outcome<Self> {
        let Some(list) = list else { return Ok(Self::All) };
        let malformed = |part: &str| {
            Exit::failure(format!(
                "--partitions expects a comma separated list of numeric partition ids, but received: {part}"
            ))
        };
        let numbers = list.split(',').map(|part| part.trim().parse().map_err(|_| malformed(list)));
        Ok(Self::Some(numbers.collect::<Outcome<_>>()?))
    }

    fn has(&self, PartitionId(number): PartitionId) -> bool {
        match self {
            Self::All => true,
            Self::Some(numbers) => numbers.contains(&number),
            Self::Range(from, to) => {
                from.is_none_or(|from| number >= from) && to.is_none_or(|to| number < to)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_their_beginning_and_not_their_end() {
        let has = |rule: &str, number| Rule::parse(rule).unwrap().partitions.has(PartitionId(number));
        assert!(has("t:1", 1) && !has("t:1", 2) && has("t", 9) && has("t:", 9));
        assert!(has("t:2-4", 2) && !has("t:2-4", 4) && has("t:2-", 99) && has("t:-2", 1) && !has("t:-2", 2));
        assert!(
            Rule::parse("t:x").is_err()
                && Rule::parse("t:1-2-3").is_err()
                && Rule::parse("t:99999999999").is_err()
        );
    }
}
