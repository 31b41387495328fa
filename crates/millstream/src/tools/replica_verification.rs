//! `kafka-replica-verification`: compares the replicas of partitions, batch by batch, until it is stopped
//! (`ReplicaVerificationTool`).

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use millstream_client::{Client, Error, IsolationLevel, OffsetSpec};
use millstream_protocol::messages::{
    FetchRequest,
    fetch_request::{FetchPartition, FetchTopic},
};
use millstream_record::BatchHeader;
use millstream_types::{BrokerId, ErrorCode, Offset, TimestampMs, TopicName, TopicPartition, Uuid};

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    interrupts::Interrupts,
    kafka_error,
    options::{Flag, Given, HELP, Spec, VERSION},
    output,
    pattern::Pattern,
    run_options,
};
use crate::command::time;

pub(super) const SPEC: Spec = Spec {
    name: "kafka-replica-verification",
    summary: "Compares the replicas of partitions as they grow, and tells how far they are apart. Deprecated by Kafka.",
    flags: &[
        Flag::new("broker-list", "Brokers to ask first. Required.").takes("HOST:PORT,…"),
        Flag::new("topics-include", "A Java regular expression over topics.").takes("REGEX").default(".*"),
        Flag::new("time", "Where to begin: milliseconds since 1970, -1 for the end, -2 for the beginning.")
            .takes("TIME")
            .default("-1"),
        Flag::new("fetch-size", "How much of a partition one answer brings.")
            .takes("BYTES")
            .default("1048576"),
        Flag::new("max-wait-ms", "How long an answer waits for something new.").takes("MS").default("1000"),
        Flag::new("report-interval-ms", "How often to tell.").takes("MS").default("30000"),
        HELP,
        VERSION,
    ],
    examples: &["--broker-list localhost:9092 --topics-include 'orders.*' --time -2"],
};

/// From here on a follower answers consumers too (KIP-392).
const FETCH_VERSION_FROM_FOLLOWERS: i16 = 11;
/// From here on topics go by id.
const FETCH_VERSION_WITH_IDS: i16 = 13;
const BYTES_MAX: i32 = 50 << 20;

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            given.require(&["broker-list"])?;
            block_on(act(given))
        },
    )
}

struct Verification {
    client: Client,
    ids: BTreeMap<TopicPartition, Uuid>,
    replicas: BTreeMap<TopicPartition, Vec<BrokerId>>,
    /// Up to where all replicas are known to be alike.
    offsets: BTreeMap<TopicPartition, Offset>,
    fetch_size: i32,
    max_wait_ms: i32,
}

/// What a replica has from an offset on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Piece {
    batches: Vec<Batch>,
    high_watermark: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    base: i64,
    next: i64,
    crc: u32,
}

async fn act(given: &Given) -> Outcome {
    let text = given.one("topics-include")?.unwrap_or(".*");
    let wanted = Pattern::new(text).ok_or_else(|| Exit::failure(format!("{text} is an invalid regex")))?;
    let number = |name| Ok::<i32, Exit>(given.number(name)?.unwrap_or_default());
    let (fetch_size, max_wait_ms) = (number("fetch-size")?, number("max-wait-ms")?);
    let begin: i64 = given.number("time")?.unwrap_or(-1);
    let interval = Duration::from_millis(given.number("report-interval-ms")?.unwrap_or(30_000));
    let bootstrap = given.one("broker-list")?.unwrap_or_default();
    output::say("WARN This tool is deprecated and may be removed in a future major release.");
    let cluster = Cluster::admin(bootstrap, None, "listNodes").await;
    let cluster = cluster.map_err(|exit| exit.map(super::get_offsets::timed_out))?;
    let mut all = Verification {
        client: cluster.client.clone(),
        ids: BTreeMap::new(),
        replicas: BTreeMap::new(),
        offsets: BTreeMap::new(),
        fetch_size,
        max_wait_ms,
    };
    let thrown = |error: Error| Exit::failure(kafka_error::exception(&error));
    let admin = cluster.admin_client();
    for topic in admin.list_topics().await.map_err(thrown)? {
        if !wanted.allows(topic.name.as_str(), false)? {
            continue;
        }
        for (number, partition) in topic.partitions {
            let which = TopicPartition::new(topic.name.clone(), number);
            all.ids.insert(which.clone(), topic.id.unwrap_or_default());
            all.replicas.insert(which, partition.replicas);
        }
    }
    if all.replicas.is_empty() {
        output::say(
            "ERROR No topics found. --topics-include, if specified, is either filtering out all topics or there is no topic.",
        );
        return Err(Exit::silent(1));
    }
    let spec = match begin {
        -1 => OffsetSpec::Latest,
        -2 => OffsetSpec::Earliest,
        ms => OffsetSpec::Timestamp(TimestampMs(ms)),
    };
    let asked = all.replicas.keys().map(|which| (which.clone(), spec)).collect();
    for (which, listed) in
        admin.list_offsets(&asked, IsolationLevel::ReadUncommitted).await.map_err(thrown)?
    {
        if let Some(offset) = listed.map_err(thrown)?.offset {
            all.offsets.insert(which, offset);
        }
    }
    let mut interrupts = Interrupts::new()?;
    output::line(&format!("{}: verification process is started", moment()));
    output::flush();
    tokio::select! {
        outcome = all.verify(interval) => outcome,
        exit = interrupts.next() => Err(exit),
    }
}

/// As Java's `yyyy-MM-dd HH:mm:ss,SSS`, in UTC.
fn moment() -> String {
    time::format(time::now()).trim_end_matches('Z').replace('T', " ").replace('.', ",")
}

impl Verification {
    async fn verify(&mut self, interval: Duration) -> Outcome {
        let mut reported = Instant::now();
        loop {
            let pieces = tokio::select! {
                pieces = self.fetch() => pieces,
                _ = tokio::signal::ctrl_c() => return Err(Exit::silent(130)),
            };
            let mut worst: Option<(i64, Offset, TopicPartition)> = None;
            for (which, by_replica) in &pieces {
                let from = self.offsets.get(which).copied().unwrap_or_default();
                let compared = compare(from, by_replica);
                for (what, first, second) in compared.differences {
                    output::line(&format!("{}: partition {which}{}", moment(), what.told(first, second)));
                }
                self.offsets.insert(which.clone(), compared.next);
                if worst.as_ref().is_none_or(|(lag, ..)| compared.lag > *lag) {
                    worst = Some((compared.lag, compared.next, which.clone()));
                }
            }
            if reported.elapsed() >= interval
                && let Some((lag, offset, which)) = worst
            {
                reported = Instant::now();
                let count = self.replicas.len();
                output::line(&format!(
                    "{}: max lag is {lag} for partition {which} at offset {offset} among {count} partitions",
                    moment()
                ));
            }
            if !output::flush() {
                return Ok(());
            }
        }
    }

    /// The same place of every partition, from each of its brokers. A broker that does not answer is told of,
    /// and its partitions wait for the next time.
    async fn fetch(&self) -> BTreeMap<TopicPartition, BTreeMap<BrokerId, Piece>> {
        let mut by_broker: BTreeMap<BrokerId, Vec<&TopicPartition>> = BTreeMap::new();
        for (which, brokers) in &self.replicas {
            brokers.iter().for_each(|broker| by_broker.entry(*broker).or_default().push(which));
        }
        let mut pieces: BTreeMap<TopicPartition, BTreeMap<BrokerId, Piece>> = BTreeMap::new();
        let mut silent = false;
        for (broker, partitions) in by_broker {
            match self.ask(broker, &partitions).await {
                Ok(answers) => answers.into_iter().for_each(|(which, piece)| {
                    pieces.entry(which).or_default().insert(broker, piece);
                }),
                Err(error) => {
                    silent = true;
                    output::say(&format!("WARN broker {broker}: {error}"));
                }
            }
        }
        if silent {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        pieces.retain(|which, answers| answers.len() == self.replicas[which].len());
        pieces
    }

    async fn ask(
        &self,
        broker: BrokerId,
        partitions: &[&TopicPartition],
    ) -> Result<Vec<(TopicPartition, Piece)>, Error> {
        let connection = self.client.broker(broker).await?;
        let version = connection.version_of::<FetchRequest>()?;
        if version < FETCH_VERSION_FROM_FOLLOWERS {
            let message = Some("it is too old to show its replicas".to_owned());
            let what = format!("broker {broker}");
            return Err(Error::Kafka { code: ErrorCode::UnsupportedVersion, what, message });
        }
        let mut topics: BTreeMap<&TopicName, FetchTopic> = BTreeMap::new();
        for which in partitions {
            let topic = topics.entry(&which.topic).or_default();
            if version >= FETCH_VERSION_WITH_IDS {
                topic.topic_id = self.ids.get(*which).copied().unwrap_or_default();
            } else {
                topic.topic = which.topic.to_string();
            }
            topic.partitions.push(FetchPartition {
                partition: which.partition.0,
                fetch_offset: self.offsets.get(*which).copied().unwrap_or_default().0,
                partition_max_bytes: self.fetch_size,
                ..Default::default()
            });
        }
        let request = FetchRequest {
            max_wait_ms: self.max_wait_ms,
            min_bytes: 1,
            max_bytes: BYTES_MAX,
            session_id: 0,
            // No session.
            session_epoch: -1,
            topics: topics.into_values().collect(),
            ..Default::default()
        };
        let answer = connection.send(version, &request).await?;
        let mut pieces = Vec::new();
        for topic in answer.responses {
            for data in topic.partitions {
                let named = |which: &&&TopicPartition| {
                    let same_topic = match topic.topic_id.is_zero() {
                        true => which.topic.as_str() == topic.topic,
                        false => self.ids.get(**which) == Some(&topic.topic_id),
                    };
                    same_topic && which.partition.0 == data.partition_index
                };
                let Some(which) = partitions.iter().find(named) else { continue };
                let code = ErrorCode::from_code(data.error_code);
                if code != ErrorCode::None {
                    return Err(Error::Kafka { code, what: which.to_string(), message: None });
                }
                let bytes = data.records.map(|records| records.into_bytes()).unwrap_or_default();
                let piece = Piece { batches: batches(&bytes), high_watermark: data.high_watermark };
                pieces.push(((**which).clone(), piece));
            }
        }
        Ok(pieces)
    }
}

/// The batches that are whole.
fn batches(bytes: &[u8]) -> Vec<Batch> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Ok(header) = BatchHeader::parse(rest) {
        let size = header.size_in_bytes();
        if size == 0 || size > rest.len() {
            break;
        }
        found.push(Batch { base: header.base_offset, next: header.last_offset().0 + 1, crc: header.crc });
        rest = &rest[size..];
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    Offset,
    Checksum { at: i64 },
}

impl Difference {
    fn told(self, (one, first): (BrokerId, Batch), (other, second): (BrokerId, Batch)) -> String {
        match self {
            Self::Offset => format!(
                ": replica {other}'s offset {} doesn't match replica {one}'s offset {}",
                second.base, first.base
            ),
            Self::Checksum { at } => format!(
                " has unmatched checksum at offset {at}; replica {one}'s checksum {}; replica {other}'s checksum {}",
                first.crc, second.crc
            ),
        }
    }
}

type Replica = (BrokerId, Batch);

struct Compared {
    differences: Vec<(Difference, Replica, Replica)>,
    /// Up to where all have been compared.
    next: Offset,
    /// How far the slowest is behind.
    lag: i64,
}

/// Goes through the batches as far as every replica has them.
fn compare(from: Offset, replicas: &BTreeMap<BrokerId, Piece>) -> Compared {
    let mut compared = Compared { differences: Vec::new(), next: from, lag: 0 };
    let rounds = replicas.values().map(|piece| piece.batches.len()).min().unwrap_or(0);
    for round in 0..rounds {
        let mut row = replicas.iter().map(|(id, piece)| (*id, piece.batches[round]));
        let Some(first) = row.next() else { break };
        for other in row {
            if other.1.base != first.1.base {
                compared.differences.push((Difference::Offset, first, other));
            } else if other.1.crc != first.1.crc {
                compared.differences.push((Difference::Checksum { at: first.1.base }, first, other));
            }
        }
        compared.next = Offset(first.1.next.max(compared.next.0));
    }
    let end = replicas.values().map(|piece| piece.high_watermark).max().unwrap_or(0);
    compared.lag = (end - compared.next.0).max(0);
    compared
}

#[test]
fn replicas_are_compared_as_far_as_all_of_them_go() {
    let batch = |base, crc| Batch { base, next: base + 10, crc };
    let piece = |batches: &[Batch]| Piece { batches: batches.to_vec(), high_watermark: 40 };
    let of = |first: &[Batch], second: &[Batch]| {
        let both = BTreeMap::from([(BrokerId(1), piece(first)), (BrokerId(2), piece(second))]);
        let compared = compare(Offset(0), &both);
        let told: Vec<String> =
            compared.differences.iter().map(|(what, one, other)| what.told(*one, *other)).collect();
        (told, compared.next, compared.lag)
    };
    let alike = of(&[batch(0, 7), batch(10, 8)], &[batch(0, 7)]);
    assert_eq!(alike, (vec![], Offset(10), 30));
    let (told, ..) = of(&[batch(0, 7)], &[batch(0, 9)]);
    assert_eq!(told, [" has unmatched checksum at offset 0; replica 1's checksum 7; replica 2's checksum 9"]);
    let (told, ..) = of(&[batch(0, 7)], &[batch(5, 7)]);
    assert_eq!(told, [": replica 2's offset 5 doesn't match replica 1's offset 0"]);
}
