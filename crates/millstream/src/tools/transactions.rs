//! `kafka-transactions`: transactions that are under way, and an end to those that hang (`TransactionsCommand`).

use std::{collections::BTreeMap, process::ExitCode};

use millstream_client::{
    ActiveProducer, Admin, Error, HangingTransaction, TransactionDescription, TransactionFilter,
};
use millstream_types::{
    BrokerId, ErrorCode, Offset, PartitionId, ProducerEpoch, ProducerId, TimestampMs, TopicPartition,
};

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    json, kafka_error,
    options::{
        Flag, Given,
        argparse::{Grammar, Verb},
    },
    run_verbs, table,
};
use crate::command::time;

const TOPIC: Flag = Flag::new("topic", "A topic.").takes("TOPIC");
const PARTITION: Flag = Flag::new("partition", "A partition of it.").takes("NUMBER").number("Integer");

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "kafka-transactions.sh",
    summary: "Shows what is going on in transactions, and ends those that nobody will end.",
    flags: &[
        Flag::new("bootstrap-server", "Brokers to ask first.").takes("HOST:PORT,…").required(),
        Flag::new("command-config", "A Java properties file with the client's configuration.").takes("FILE"),
        Flag::new("version", "Show the version of Kafka that this tool follows.").short('v'),
    ],
    groups: &[],
    verbs: &[
        Verb {
            name: "list",
            help: "List transactional ids.",
            flags: &[
                Flag::new("duration-filter", "Only transactions that have been going on longer than this.")
                    .takes("MS")
                    .number("Long"),
                Flag::new("transactional-id-pattern", "Only ids that this regular expression (RE2) fits.")
                    .takes("REGEX"),
            ],
            groups: &[],
        },
        Verb {
            name: "describe",
            help: "Show the transaction of a transactional id.",
            flags: &[Flag::new("transactional-id", "The id.").takes("ID").required()],
            groups: &[],
        },
        Verb {
            name: "describe-producers",
            help: "Show the producers that a partition remembers.",
            flags: &[
                Flag::new("broker-id", "As this replica remembers them, instead of the leader.")
                    .takes("ID")
                    .number("Integer"),
                TOPIC.required(),
                PARTITION.required(),
            ],
            groups: &[],
        },
        Verb {
            name: "abort",
            help: "End a hanging transaction of a partition.",
            flags: &[
                TOPIC.required(),
                PARTITION.required(),
                Flag::new("start-offset", "Where the transaction begins.").takes("OFFSET").number("Long"),
                Flag::new("producer-id", "For brokers before Kafka 3.0: the producer's id.")
                    .takes("ID")
                    .number("Long"),
                Flag::new("producer-epoch", "… its epoch.").takes("EPOCH").number("Short"),
                Flag::new("coordinator-epoch", "… and the coordinator's.").takes("EPOCH").number("Integer"),
            ],
            groups: &[],
        },
        Verb {
            name: "find-hanging",
            help: "Look for transactions that nobody will end.",
            flags: &[
                Flag::new("broker-id", "In the partitions of this broker.").takes("ID").number("Integer"),
                Flag::new("max-transaction-timeout", "How long a transaction may take.")
                    .takes("MINUTES")
                    .number("Integer")
                    .default("15"),
                TOPIC,
                PARTITION,
            ],
            groups: &[],
        },
        Verb {
            name: "forceTerminateTransaction",
            help: "Abort whatever a transactional id has under way, and fence its producer.",
            flags: &[Flag::new("transactionalId", "The id.").takes("ID").required()],
            groups: &[],
        },
    ],
    examples: &[
        "--bootstrap-server localhost:9092 list",
        "--bootstrap-server localhost:9092 describe --transactional-id payments",
        "--bootstrap-server localhost:9092 find-hanging --topic orders",
    ],
    help_code: 1,
};

/// How many topics or partitions one request names.
const BATCH: usize = 500;

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_verbs(&GRAMMAR, arguments, |exit| exit, |given| block_on(act(given)))
}

async fn act(given: &Given) -> Outcome {
    match given.command {
        "list" => list(given).await,
        "describe" => describe(given).await,
        "describe-producers" => describe_producers(given).await,
        "abort" => abort(given).await,
        "find-hanging" => find_hanging(given).await,
        _ => {
            let id = given.last("transactionalId").unwrap_or_default();
            let what = format!("Failed to force terminate transactionalId `{id}`");
            let admin = connect(given, &what, "fenceProducer(api=FIND_COORDINATOR)").await?;
            admin.fence_producer(id).await.map_err(|error| coordinator_failed(&what, id, &error))
        }
    }
}

fn failed(what: &str, reason: &str) -> Exit {
    Exit::failure(format!("{what}: {reason}. Enable debug logging for additional detail."))
}

/// What the coordinator refuses is said by itself, what went wrong on the way to it by Kafka's client.
fn coordinator_failed(what: &str, id: &str, error: &Error) -> Exit {
    match error.code() {
        Some(ErrorCode::UnsupportedVersion | ErrorCode::InvalidRequest) => failed(
            what,
            &format!(
                "FindCoordinator request for key `CoordinatorKey(idValue='{id}', type=TRANSACTION)` failed due to an unexpected error"
            ),
        ),
        Some(ErrorCode::TransactionalIdAuthorizationFailed) => failed(
            what,
            &format!(
                "DescribeTransactions request for transactionalId `{id}` failed due to authorization failure"
            ),
        ),
        Some(ErrorCode::TransactionalIdNotFound) => failed(
            what,
            &format!(
                "DescribeTransactions request for transactionalId `{id}` failed because the ID could not be found"
            ),
        ),
        _ => failed(what, &kafka_error::message(error)),
    }
}

/// `what` is the sentence for failing; `call` Kafka's name for what no broker answered.
async fn connect(given: &Given, what: &str, call: &str) -> Outcome<Admin> {
    let bootstrap = given.last("bootstrap-server").unwrap_or_default();
    let cluster = Cluster::admin(bootstrap, given.last("command-config"), call).await;
    let late = |exit: Exit| match exit.sentence().starts_with("Timed out") {
        true => failed(what, exit.sentence()),
        false => exit,
    };
    Ok(cluster.map_err(late)?.admin_client())
}

fn partition_of(given: &Given) -> Outcome<Option<TopicPartition>> {
    let (Some(topic), Some(number)) = (given.last("topic"), given.last("partition")) else { return Ok(None) };
    // The grammar has seen to it that it is a number.
    Ok(Some(TopicPartition::new(json::topic_name(topic)?, PartitionId(number.parse().unwrap_or(-1)))))
}

fn number<T: std::str::FromStr>(given: &Given, name: &'static str) -> Option<T> {
    given.last(name).and_then(|text| text.parse().ok())
}

async fn list(given: &Given) -> Outcome {
    let what = "Failed to list transactions";
    let admin = connect(given, what, "listTransactions(api=METADATA)").await?;
    let filter = TransactionFilter {
        longer_than_ms: number(given, "duration-filter"),
        id_pattern: given.last("transactional-id-pattern").map(str::to_owned),
        ..Default::default()
    };
    let listed = admin.list_transactions(&filter).await;
    let listed = listed.map_err(|error| failed(what, &kafka_error::message(&error)))?;
    let mut rows = Vec::new();
    for (coordinator, transactions) in listed {
        for one in transactions {
            let producer = one.producer_id.to_string();
            rows.push(vec![one.transactional_id, coordinator.to_string(), producer, one.state]);
        }
    }
    table::print(&["TransactionalId", "Coordinator", "ProducerId", "TransactionState"], &rows);
    Ok(())
}

async fn describe(given: &Given) -> Outcome {
    let id = given.last("transactional-id").unwrap_or_default();
    let what = format!("Failed to describe transaction state of transactional-id `{id}`");
    let admin = connect(given, &what, "describeTransactions(api=FIND_COORDINATOR)").await?;
    let found = admin.describe_transaction(id).await;
    let found = found.map_err(|error| coordinator_failed(&what, id, &error))?;
    let none = || "None".to_owned();
    let partitions: Vec<String> = found.partitions.iter().map(TopicPartition::to_string).collect();
    let row = vec![
        found.coordinator.to_string(),
        id.to_owned(),
        found.producer_id.to_string(),
        found.producer_epoch.to_string(),
        found.state,
        found.timeout_ms.to_string(),
        found.started.map_or_else(none, |started| started.to_string()),
        found.started.map_or_else(none, |started| time::now().since(started).to_string()),
        partitions.join(","),
    ];
    let head = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    table::print(&head, &[row]);
    Ok(())
}

async fn describe_producers(given: &Given) -> Outcome {
    let Some(partition) = partition_of(given)? else { return Ok(()) };
    let broker = number(given, "broker-id").map(BrokerId);
    let whose = broker.map_or_else(|| "leader".to_owned(), |id| format!("broker {id}"));
    let what = format!("Failed to describe producers for partition {partition} on {whose}");
    let call = if broker.is_some() { "DESCRIBE_PRODUCERS" } else { "METADATA" };
    let admin = connect(given, &what, &format!("describeProducers(api={call})")).await?;
    let result = match admin.describe_producers_of(std::slice::from_ref(&partition), broker).await {
        Ok(mut results) => results.remove(&partition).unwrap_or_else(|| Ok(Vec::new())),
        Err(error) => Err(error),
    };
    let producers = result.map_err(|error| failed(&what, &kafka_error::message(&error)))?;
    let row = |one: &ActiveProducer| {
        vec![
            one.id.to_string(),
            one.epoch.to_string(),
            one.coordinator_epoch.unwrap_or(-1).to_string(),
            one.last_sequence.map_or(-1, |sequence| sequence.0).to_string(),
            one.last_timestamp.map_or(-1, |at| at.0).to_string(),
            one.transaction_start_offset.map_or_else(|| "None".to_owned(), |offset| offset.to_string()),
        ]
    };
    let head = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    table::print(&head, &producers.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

async fn abort(given: &Given) -> Outcome {
    let Some(partition) = partition_of(given)? else { return Ok(()) };
    let hanging = match (number::<i64>(given, "start-offset"), number(given, "producer-id")) {
        (None, None) => {
            return Err(Exit::failure(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            ));
        }
        (None, Some(id)) => {
            let missing = |name: &str| Exit::failure(format!("Missing required argument --{name}"));
            let epoch = number(given, "producer-epoch").ok_or_else(|| missing("producer-epoch"))?;
            let coordinator = number(given, "coordinator-epoch");
            let coordinator: i32 = coordinator.ok_or_else(|| missing("coordinator-epoch"))?;
            HangingTransaction {
                partition,
                producer_id: ProducerId(id),
                producer_epoch: ProducerEpoch(epoch),
                // A producer whose first transaction hangs has had no coordinator write anything yet.
                coordinator_epoch: coordinator.max(0),
            }
        }
        (Some(start), _) => {
            let what = format!("Failed to validate producer state for partition {partition}");
            let admin = connect(given, &what, "describeProducers(api=METADATA)").await?;
            let producers = admin.describe_producers(&partition).await;
            let producers = producers.map_err(|error| failed(&what, &kafka_error::message(&error)))?;
            let starts_there =
                |one: &&ActiveProducer| one.transaction_start_offset.map(|offset| offset.0) == Some(start);
            let Some(found) = producers.iter().find(starts_there) else {
                return Err(Exit::failure(format!(
                    "Could not find any open transactions starting at offset {start} on partition {partition}"
                )));
            };
            HangingTransaction {
                partition,
                producer_id: found.id,
                producer_epoch: found.epoch,
                coordinator_epoch: found.coordinator_epoch.unwrap_or(0),
            }
        }
    };
    let what = format!(
        "Failed to abort transaction AbortTransactionSpec(topicPartition={}, producerId={}, producerEpoch={}, coordinatorEpoch={})",
        hanging.partition, hanging.producer_id, hanging.producer_epoch, hanging.coordinator_epoch
    );
    let admin = connect(given, &what, "abortTransaction(api=METADATA)").await?;
    admin.abort_transaction(&hanging).await.map_err(|error| failed(&what, &kafka_error::message(&error)))
}

async fn find_hanging(given: &Given) -> Outcome {
    let broker = number(given, "broker-id").map(BrokerId);
    let topic = given.last("topic").map(json::topic_name).transpose()?;
    if topic.is_none() && broker.is_none() {
        return Err(Exit::failure(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        ));
    }
    if given.has("partition") && topic.is_none() {
        return Err(Exit::failure("The --partition argument requires --topic to be provided"));
    }
    let minutes: i64 = number(given, "max-transaction-timeout").unwrap_or(15);
    let admin = connect(given, "Failed to list topics", "listTopics").await?;
    let partitions = match (partition_of(given)?, topic) {
        (Some(one), _) => vec![one],
        (None, topic) => {
            let topics = match topic {
                Some(topic) => vec![topic],
                None => admin.list_topics().await?.into_iter().map(|topic| topic.name).collect(),
            };
            let what = format!("Failed to describe {} topics", topics.len());
            let mut found = Vec::new();
            for (name, described) in admin.describe_topics(&topics).await? {
                let described = described.map_err(|error| failed(&what, &kafka_error::message(&error)))?;
                let theirs = described
                    .partitions
                    .iter()
                    .filter(|(_, one)| broker.is_none_or(|id| one.replicas.contains(&id)));
                found.extend(theirs.map(|(number, _)| TopicPartition::new(name.clone(), *number)));
            }
            found
        }
    };
    let now = time::now();
    let mut candidates = Vec::new();
    for batch in partitions.chunks(BATCH) {
        let what =
            format!("Failed to describe producers for {} partitions on broker {broker:?}", batch.len());
        let failed = |error: Error| failed(&what, &kafka_error::message(&error));
        for (partition, producers) in admin.describe_producers_of(batch, broker).await.map_err(failed)? {
            let open = producers.map_err(failed)?.into_iter().filter(|one| {
                let age = one.last_timestamp.map_or(0, |at| now.since(at));
                one.transaction_start_offset.is_some() && age > minutes * 60_000
            });
            candidates.extend(open.map(|producer| (partition.clone(), producer)));
        }
    }
    let known = coordinated(&admin, &candidates).await?;
    // The coordinator will still end what it knows of.
    candidates.retain(|(partition, producer)| {
        known.get(&producer.id).is_none_or(|one| !one.partitions.contains(partition))
    });
    print_hanging(&candidates, now);
    Ok(())
}

fn print_hanging(candidates: &[(TopicPartition, ActiveProducer)], now: TimestampMs) {
    let row = |(partition, one): &(TopicPartition, ActiveProducer)| {
        vec![
            partition.topic.to_string(),
            partition.partition.to_string(),
            one.id.to_string(),
            one.epoch.to_string(),
            one.coordinator_epoch.unwrap_or(-1).to_string(),
            one.transaction_start_offset.unwrap_or(Offset(-1)).to_string(),
            one.last_timestamp.map_or(-1, |at| at.0).to_string(),
            (one.last_timestamp.map_or(0, |at| now.since(at)) / 60_000).to_string(),
        ]
    };
    let head = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    table::print(&head, &candidates.iter().map(row).collect::<Vec<_>>());
}

/// What coordinators know of the transactions of these producers.
async fn coordinated(
    admin: &Admin,
    candidates: &[(TopicPartition, ActiveProducer)],
) -> Outcome<BTreeMap<ProducerId, TransactionDescription>> {
    let mut known = BTreeMap::new();
    let mut ids: Vec<ProducerId> = candidates.iter().map(|(_, producer)| producer.id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(known);
    }
    let what = format!("Failed to list transactions for {} producers", ids.len());
    let filter = TransactionFilter { producer_ids: ids, ..Default::default() };
    let listed = admin.list_transactions(&filter).await;
    let listed = listed.map_err(|error| failed(&what, &kafka_error::message(&error)))?;
    let listed: Vec<_> = listed.into_values().flatten().collect();
    let what = format!("Failed to describe {} transactions", listed.len());
    for one in &listed {
        match admin.describe_transaction(&one.transactional_id).await {
            Ok(description) => drop(known.insert(one.producer_id, description)),
            Err(error) if error.code() == Some(ErrorCode::TransactionalIdNotFound) => {}
            Err(error) => return Err(coordinator_failed(&what, &one.transactional_id, &error)),
        }
    }
    Ok(known)
}
