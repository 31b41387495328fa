//! `kafka-producer-perf-test`: how fast records can be written (`ProducerPerformance`).

mod stats;

use std::{
    fs,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_client::{Error, Producer, ProducerRecord};
use millstream_types::{TopicName, Uuid};
use parking_lot::Mutex;

use self::stats::Stats;
use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    options::{
        Flag, Given,
        argparse::{Grammar, Group},
    },
    output,
    properties::Properties,
    run_verbs,
};

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "kafka-producer-perf-test",
    summary: "Writes records as fast as it can, or as fast as told, and measures.",
    flags: &[
        Flag::new("bootstrap-server", "Brokers to ask first.").takes("HOST:PORT,…"),
        Flag::new("topic", "Where the records go.").takes("TOPIC").required(),
        Flag::new("num-records", "How many.").takes("COUNT").number("Long").required(),
        Flag::new("record-size", "Bytes of a record.").takes("BYTES").number("Integer"),
        Flag::new("payload-file", "A text file with payloads, of which each record takes one at random.")
            .takes("FILE"),
        Flag::new("payload-delimiter", "What stands between them.").takes("TEXT").default("\\n"),
        Flag::new("payload-monotonic", "Payloads are increasing numbers."),
        Flag::new("throughput", "At most so many records a second; -1 for no limit.")
            .takes("RATE")
            .number("Double")
            .required(),
        Flag::new("command-property", "The producer's configuration.").takes_many("KEY=VALUE"),
        Flag::new("producer-props", "").takes_many("KEY=VALUE").hidden(),
        Flag::new("command-config", "A Java properties file of the same.").takes("FILE"),
        Flag::new("producer.config", "").takes("FILE").hidden(),
        Flag::new("print-metrics", "").hidden(),
        Flag::new("transactional-id", "Write in transactions under this id.").takes("ID"),
        Flag::new(
            "transaction-duration-ms",
            "How long a transaction goes on [default: 3000]; without an id one is made up.",
        )
        .takes("MS")
        .number("Long"),
        Flag::new("warmup-records", "So many records at first are not counted in the last line.")
            .takes("COUNT")
            .number("Long")
            .default("0"),
        Flag::new("reporting-interval", "How often a line tells of progress.")
            .takes("MS")
            .number("Long")
            .default("5000"),
    ],
    groups: &[Group { names: &["record-size", "payload-file", "payload-monotonic"], required: true }],
    verbs: &[],
    examples: &[
        "--bootstrap-server localhost:9092 --topic load --num-records 100000 --record-size 100 --throughput -1",
    ],
    help_code: 1,
};

/// In front of the records of every batch.
const BATCH_HEADER_BYTES: usize = 61;
const TRANSACTION_DURATION: Duration = Duration::from_millis(3000);

pub(super) fn run(arguments: &[String]) -> ExitCode {
    if arguments.is_empty() {
        return run_verbs(
            &Grammar { help_code: 0, ..GRAMMAR },
            &["--help".to_owned()],
            |exit| exit,
            |_| Ok(()),
        );
    }
    run_verbs(&GRAMMAR, arguments, |exit| exit, |given| block_on(act(given)))
}

fn number<T: std::str::FromStr>(given: &Given, name: &'static str) -> Option<T> {
    given.last(name).and_then(|text| text.parse().ok())
}

async fn act(given: &Given) -> Outcome {
    let mut properties = properties(given)?;
    let (count, warmup) = checked(given)?;
    let transaction = transaction(given, &mut properties)?;
    let payloads = Payloads::of(given)?;
    if warmup > 0 {
        output::line(&format!(
            "Warmup first {warmup} records. Steady state results will print after the complete test summary."
        ));
    }
    let interval = Duration::from_millis(number(given, "reporting-interval").unwrap_or(5000));
    let topic = TopicName::parse(given.last("topic").unwrap_or_default());
    let topic = topic.map_err(|error| Exit::failure(error.to_string()))?;
    let cluster = Cluster::prepare(&properties, true).await?;
    let producer = Arc::new(Producer::new(cluster.client.clone(), cluster.producer.clone())?);
    let stats = Arc::new(Mutex::new(Stats::new(count, warmup, interval)));
    let throughput: f64 = number(given, "throughput").unwrap_or(-1.0);
    if transaction.is_some() {
        producer.init_transactions().await?;
    }
    let mut open: Option<Instant> = None;
    let started = Instant::now();
    for index in 0..count {
        let value = payloads.get(index);
        let bytes = value.len();
        if transaction.is_some() && open.is_none() {
            producer.begin_transaction()?;
            open = Some(Instant::now());
        }
        let sent = Instant::now();
        let delivery = match producer.send(ProducerRecord::new(topic.clone(), None, Some(value))).await {
            Ok(delivery) => delivery,
            Err(Error::RecordTooLarge { bytes, limit }) => {
                tell_too_large(bytes, limit);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let stats = Arc::clone(&stats);
        tokio::spawn(async move {
            match delivery.await {
                Ok(_) => stats.lock().record(index, sent.elapsed(), bytes),
                Err(error) => output::say(&format!("ERROR a record was not written: {error}")),
            }
        });
        if open.is_some_and(|since| Some(since.elapsed()) >= transaction) {
            producer.commit_transaction().await?;
            open = None;
        }
        if throughput > 0.0 {
            let due = started + Duration::from_secs_f64((index + 1) as f64 / throughput);
            tokio::time::sleep_until(due.into()).await;
        } else if index % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    match open {
        Some(_) => producer.commit_transaction().await?,
        None => producer.flush().await?,
    }
    // The last of them have met their fate; let those who noted it finish.
    while Arc::strong_count(&stats) > 1 {
        tokio::task::yield_now().await;
    }
    stats.lock().print_total();
    Ok(())
}

/// A record that is too large is told of and not counted, as in Kafka, whose estimate has the batch's header in it.
fn tell_too_large(bytes: usize, limit: usize) {
    output::say(&format!(
        "org.apache.kafka.common.errors.RecordTooLargeException: The message is {} bytes when serialized which is larger than {limit}, which is the value of the max.request.size configuration.",
        bytes + BATCH_HEADER_BYTES
    ));
}

/// How many records, and how many of them at first do not count.
fn checked(given: &Given) -> Outcome<(u64, u64)> {
    for name in ["num-records", "transaction-duration-ms", "reporting-interval"] {
        if number::<i64>(given, name).is_some_and(|number| number <= 0) {
            return Err(GRAMMAR.error(&format!("--{name} should be greater than zero.")));
        }
    }
    let (count, warmup): (u64, u64) =
        (number(given, "num-records").unwrap_or(0), number(given, "warmup-records").unwrap_or(0));
    if warmup >= count {
        return Err(GRAMMAR.error(
            "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
        ));
    }
    Ok((count, warmup))
}

/// How long a transaction goes on, if there are to be any.
fn transaction(given: &Given, properties: &mut Properties) -> Outcome<Option<Duration>> {
    if let Some(id) = given.last("transactional-id") {
        properties.set("transactional.id", id);
    }
    let asked = number(given, "transaction-duration-ms").map(Duration::from_millis);
    if properties.get("transactional.id").is_none() && asked.is_none() {
        return Ok(None);
    }
    properties.set_default("transactional.id", format!("performance-producer-{}", Uuid::random()));
    Ok(Some(asked.unwrap_or(TRANSACTION_DURATION)))
}

fn properties(given: &Given) -> Outcome<Properties> {
    for (new, old) in [("command-property", "producer-props"), ("command-config", "producer.config")] {
        if given.has(new) && given.has(old) {
            return Err(GRAMMAR.error(&format!("--{new} and --{old} cannot be specified together.")));
        }
        if given.has(old) {
            output::line(&format!(
                "Option --{old} has been deprecated and will be removed in a future version. Use --{new} instead."
            ));
        }
    }
    let pairs: Vec<&str> = given.all("command-property").chain(given.all("producer-props")).collect();
    let config = given.last("command-config").or_else(|| given.last("producer.config"));
    if pairs.is_empty() && config.is_none() && !given.has("bootstrap-server") {
        return Err(GRAMMAR.error(
            "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified.",
        ));
    }
    let mut properties = Properties::read_if_given(config)?;
    if let Some(bad) = pairs.iter().find(|pair| !pair.contains('=')) {
        return Err(Exit::failure(format!("Invalid property: {bad}")));
    }
    properties.extend(Properties::parse(pairs.into_iter()));
    if let Some(bootstrap) = given.last("bootstrap-server") {
        properties.set("bootstrap.servers", bootstrap);
    }
    properties.set_default("client.id", "perf-producer-client");
    let acks = properties.get("acks").unwrap_or("all");
    if acks != "all" && acks != "-1" {
        properties.set_default("enable.idempotence", "false");
    }
    Ok(properties)
}

enum Payloads {
    Fixed(Bytes),
    Numbers,
    File(Vec<Bytes>),
}

impl Payloads {
    fn of(given: &Given) -> Outcome<Self> {
        if given.has("payload-monotonic") {
            return Ok(Self::Numbers);
        }
        if let Some(path) = given.last("payload-file") {
            let shown = std::path::absolute(path)?;
            output::line(&format!("Reading payloads from: {}", shown.display()));
            let refused = || Exit::failure("File does not exist or empty file provided.");
            let text = fs::read_to_string(path).map_err(|error| refused().because(error))?;
            if text.is_empty() {
                return Err(refused());
            }
            let delimiter =
                given.last("payload-delimiter").unwrap_or("\n").replace("\\n", "\n").replace("\\t", "\t");
            let payloads = text.split(delimiter.as_str()).filter(|text| !text.trim().is_empty());
            let payloads: Vec<Bytes> = payloads.map(|text| Bytes::copy_from_slice(text.as_bytes())).collect();
            output::line(&format!("Number of records read: {}", payloads.len()));
            return match payloads.is_empty() {
                true => {
                    Err(Exit::failure("No payload file, record size or payload-monotonic option provided."))
                }
                false => Ok(Self::File(payloads)),
            };
        }
        let size: usize = match number::<i64>(given, "record-size") {
            Some(size) if size > 0 => usize::try_from(size).unwrap_or(usize::MAX),
            _ => return Err(GRAMMAR.error("--record-size should be greater than zero.")),
        };
        // Letters that do not compress to nothing, the same on every run.
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut letter = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            b'A' + (seed % 26) as u8
        };
        Ok(Self::Fixed((0..size).map(|_| letter()).collect()))
    }

    fn get(&self, index: u64) -> Bytes {
        match self {
            Self::Fixed(bytes) => bytes.clone(),
            Self::Numbers => Bytes::from(index.to_string()),
            Self::File(all) => {
                let mixed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
                all[(mixed % all.len().max(1) as u64) as usize].clone()
            }
        }
    }
}
