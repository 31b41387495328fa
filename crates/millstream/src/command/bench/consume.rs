//! `bench consume`

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use millstream_client::{Client, Consumer, ConsumerConfig, IsolationLevel};
use millstream_types::{Offset, PartitionId, TopicPartition};
use tokio::task::JoinSet;

use super::{
    ResultArguments,
    produce::all,
    progress::{Counters, Progress},
    report::Report,
    topic::NAME_DEFAULT,
};
use crate::command::{
    connect::{ConnectArguments, interrupted},
    failure::{Failure, usage},
    output::say,
    position::{Bounds, bounds},
    time,
    topic::{find, parse_name},
};

const POLL: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The topic, which is read from its beginning to its present end
    #[arg(short, long, default_value = NAME_DEFAULT)]
    topic: String,
    /// Stop after so many records
    #[arg(short = 'n', long)]
    records: Option<u64>,
    /// Stop after so long
    #[arg(long = "for", value_name = "TIME", value_parser = time::duration)]
    duration: Option<Duration>,
    /// How many consumers share the partitions, each with connections of its own
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    #[command(flatten)]
    result: ResultArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    if arguments.consumers == 0 || arguments.consumers > 1000 {
        return Err(usage(format!("--consumers {}: expected 1 to 1000", arguments.consumers)));
    }
    let name = parse_name(&arguments.topic)?;
    let earlier = arguments.result.earlier()?;
    let connected = arguments.connect.connect().await?;
    let admin = connected.client.admin();
    let topic = find(&admin, &name).await?;
    let of_topic = |partition: &PartitionId| TopicPartition::new(name.clone(), *partition);
    let partitions: Vec<TopicPartition> = topic.partitions.keys().map(of_topic).collect();
    let mut known = bounds(&admin, &partitions, IsolationLevel::ReadUncommitted).await?;
    known.retain(|_, bounds| bounds.end > bounds.start);
    let there: i64 = known.values().map(|bounds| bounds.end.since(bounds.start)).sum();
    if there == 0 {
        return Err(anyhow!("topic {name} is empty; `millstream bench produce --topic {name}` fills it"));
    }
    let consumers = arguments.consumers.min(known.len());
    let mut config = connected.consumer;
    config.group_id = None;
    // One poll hands over what one fetch brought.
    config.max_poll_records = config.max_poll_records.max(100_000);
    let mut shares: Vec<BTreeMap<TopicPartition, Bounds>> = vec![BTreeMap::new(); consumers];
    for (index, (partition, bounds)) in known.into_iter().enumerate() {
        shares[index % consumers].insert(partition, bounds);
    }
    let counters = Counters::new();
    let limits = Limits {
        records: arguments.records.unwrap_or(u64::MAX),
        until: arguments.duration.map(|duration| counters.started() + duration),
    };
    let mut work = JoinSet::new();
    for share in shares {
        let client = Client::new(connected.client.config().clone())?;
        work.spawn(read(client, config.clone(), share, limits, Arc::clone(&counters)));
    }
    let total = arguments.records.unwrap_or(u64::MAX).min(u64::try_from(there).unwrap_or(u64::MAX));
    let progress = Progress::new(&counters, Some(total));
    let (outcome, per_second) = progress
        .during(async {
            tokio::select! {
                outcome = all(&mut work) => outcome,
                () = interrupted() => Err(Failure::Interrupted.into()),
            }
        })
        .await;
    let elapsed = counters.started().elapsed();
    let settings = [
        ("consumers", consumers.to_string()),
        ("partitions", partitions.len().to_string()),
        ("fetch_max_bytes", config.fetch_max_bytes.to_string()),
        ("max_partition_fetch_bytes", config.max_partition_fetch_bytes.to_string()),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value)).into();
    let report = Report::new("consume", name.as_str(), settings, counters.volume(elapsed, per_second));
    if outcome.is_err() {
        say("what was measured until then:");
        arguments.result.output.print(&report.answer())?;
        return outcome;
    }
    arguments.result.finish(&report, earlier.as_ref())
}

#[derive(Clone, Copy)]
struct Limits {
    /// Of all consumers together.
    records: u64,
    until: Option<Instant>,
}

async fn read(
    client: Client,
    config: ConsumerConfig,
    mut share: BTreeMap<TopicPartition, Bounds>,
    limits: Limits,
    counters: Arc<Counters>,
) -> Result<()> {
    let mut consumer = Consumer::new(client, config);
    let starts: Vec<(TopicPartition, Offset)> =
        share.iter().map(|(partition, bounds)| (partition.clone(), bounds.start)).collect();
    consumer.assign(starts);
    while !share.is_empty() && counters.records() < limits.records {
        if limits.until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let records = consumer.poll(POLL).await?;
        let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let sizes: Vec<usize> =
            records.iter().map(|record| size(&record.key) + size(&record.value)).collect();
        // What a poll brought beyond what was asked for is not counted.
        counters.count_up_to(limits.records, &sizes);
        // Read to where it ended when the run began.
        let is_read = |partition: &TopicPartition, bounds: &Bounds| {
            consumer.progress(partition).is_some_and(|progress| progress.position >= bounds.end)
        };
        let done: Vec<TopicPartition> = share
            .iter()
            .filter(|(partition, bounds)| is_read(partition, bounds))
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in done {
            consumer.unassign(&partition);
            share.remove(&partition);
        }
    }
    Ok(())
}
