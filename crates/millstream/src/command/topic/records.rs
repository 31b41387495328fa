//! Counting, removing and copying the records of a topic.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use millstream_client::{
    Admin, Consumer, ConsumerRecord, Delivery, IsolationLevel, Producer, ProducerRecord, Topic,
};
use millstream_types::{Offset, PartitionId, TopicName, TopicPartition};
use serde_json::json;

use super::{find, parse_name};
use crate::command::{
    connect::{ConnectArguments, interrupted},
    failure::{Failure, usage},
    output::{Answer, OutputArguments, Section, ShowArguments, counted, say},
    position::{Bounds, Position, bounds, resolve},
};

/// Records on their way at a time.
const DELIVERIES_OPEN: usize = 10_000;
const POLL: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(super) struct CountArguments {
    /// The topics
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn count(arguments: CountArguments) -> Result<()> {
    let names = arguments.names.iter().map(|name| parse_name(name)).collect::<Result<Vec<_>>>()?;
    let admin = arguments.connect.connect().await?.client.admin();
    arguments.show.show(async || count_once(&admin, &names).await).await
}

async fn count_once(admin: &Admin, names: &[TopicName]) -> Result<Answer> {
    let columns = ["START", "END"];
    let mut section = Section::new("partition", &["TOPIC", "PARTITION", "RECORDS"]).wide(&columns);
    let (mut values, mut total) = (Vec::new(), 0);
    for name in names {
        let topic = find(admin, name).await?;
        for (partition, bounds) in all_bounds(admin, &topic).await? {
            let count = bounds.end.since(bounds.start);
            total += count;
            section.row([
                name.to_string(),
                partition.partition.to_string(),
                count.to_string(),
                bounds.start.to_string(),
                bounds.end.to_string(),
            ]);
            values.push(json!({
                "topic": name.as_str(),
                "partition": partition.partition.0,
                "records": count,
                "start_offset": bounds.start.0,
                "end_offset": bounds.end.0,
            }));
        }
    }
    let mut answer = Answer::new(values, vec![section]);
    answer.note = Some(format!(
        "{} by their offsets; markers of transactions and what compaction removed count too",
        counted(total, "record")
    ));
    Ok(answer)
}

async fn all_bounds(admin: &Admin, topic: &Topic) -> Result<BTreeMap<TopicPartition, Bounds>> {
    let of_topic = |partition: &PartitionId| TopicPartition::new(topic.name.clone(), *partition);
    let partitions: Vec<TopicPartition> = topic.partitions.keys().map(of_topic).collect();
    bounds(admin, &partitions, IsolationLevel::ReadUncommitted).await
}

#[derive(clap::Args)]
pub(super) struct TrimArguments {
    /// The topic
    name: String,
    /// Remove everything before this: beginning, end, N, +N, -N before the end, @TIME (ms, -1h, a date)
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    before: Position,
    /// Only this partition; repeat for more [default: all]
    #[arg(short, long = "partition")]
    partitions: Vec<i32>,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn trim(arguments: TrimArguments) -> Result<()> {
    if arguments.before == Position::Stored {
        return Err(usage("--before stored: whose? Expected beginning, end, N, +N, -N or @TIME"));
    }
    let name = parse_name(&arguments.name)?;
    let admin = arguments.connect.connect().await?.client.admin();
    let topic = find(&admin, &name).await?;
    let mut known = all_bounds(&admin, &topic).await?;
    if let Some(missing) =
        arguments.partitions.iter().find(|number| !topic.partitions.contains_key(&PartitionId(**number)))
    {
        return Err(anyhow!("topic {name} has no partition {missing}"));
    }
    let is_wanted = |partition: &TopicPartition| {
        arguments.partitions.is_empty() || arguments.partitions.contains(&partition.partition.0)
    };
    known.retain(|partition, _| is_wanted(partition));
    let places = resolve(&admin, &known, arguments.before, IsolationLevel::ReadUncommitted).await?;
    let removed = |partition: &TopicPartition, place: Offset| {
        known.get(partition).map_or(0, |bounds| place.since(bounds.start))
    };
    let total: i64 = places.iter().map(|(partition, place)| removed(partition, *place)).sum();
    if !arguments.dry_run {
        let before = places.iter().map(|(partition, place)| (partition.clone(), Some(*place))).collect();
        for (_, result) in admin.delete_records(&before).await? {
            result?;
        }
    }
    let mut section = Section::new("partition", &["TOPIC", "PARTITION", "START", "BEFORE", "RECORDS"]);
    let mut values = Vec::new();
    for (partition, place) in &places {
        let start = known.get(partition).map_or(Offset::ZERO, |bounds| bounds.start);
        let count = removed(partition, *place);
        section.row([
            name.to_string(),
            partition.partition.to_string(),
            place.to_string(),
            start.to_string(),
            count.to_string(),
        ]);
        values.push(json!({
            "topic": name.as_str(),
            "partition": partition.partition.0,
            "start_offset": place.0,
            "before": start.0,
            "records": count,
        }));
    }
    let total = counted(total, "record");
    say(&match arguments.dry_run {
        true => format!("{total} would be removed; nothing was changed"),
        false => format!("{total} removed, which cannot be undone"),
    });
    arguments.output.print(&Answer::new(values, vec![section]))
}

#[derive(clap::Args)]
pub(super) struct CopyArguments {
    /// The topic to read, up to its present end
    from: String,
    /// The topic to write to; it must exist
    to: String,
    /// Where to begin: beginning, N, +N, -N before the end, @TIME (ms, -1h, a date)
    #[arg(short, long, value_name = "WHERE", default_value = "beginning", allow_hyphen_values = true)]
    offset: Position,
    /// Each record to the partition that it is in [default: by key, as a producer would]
    #[arg(long)]
    same_partition: bool,
    /// Only say what would be copied
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn copy(arguments: CopyArguments) -> Result<()> {
    if arguments.offset == Position::Stored {
        return Err(usage("--offset stored: whose? Expected beginning, end, N, +N, -N or @TIME"));
    }
    let (from, to) = (parse_name(&arguments.from)?, parse_name(&arguments.to)?);
    if from == to {
        return Err(usage(format!("{from} into {to} would never end")));
    }
    let connected = arguments.connect.connect().await?;
    let admin = connected.client.admin();
    let known = all_bounds(&admin, &find(&admin, &from).await?).await?;
    let target = find(&admin, &to).await?;
    if arguments.same_partition
        && let Some(missing) =
            known.keys().map(|one| one.partition).find(|number| !target.partitions.contains_key(number))
    {
        return Err(anyhow!("topic {to} has no partition {missing}; leave --same-partition out"));
    }
    let starts = resolve(&admin, &known, arguments.offset, IsolationLevel::ReadUncommitted).await?;
    if arguments.dry_run {
        let count = starts.iter().map(|(one, start)| known[one].end.since(*start)).sum::<i64>();
        say(&format!("{} would be copied; nothing was changed", counted(count, "record")));
        return Ok(());
    }
    let ends: BTreeMap<TopicPartition, Offset> =
        known.iter().map(|(partition, bounds)| (partition.clone(), bounds.end)).collect();
    let mut consumer = Consumer::new(connected.client.clone(), connected.consumer);
    consumer.assign(starts.into_iter().filter(|(partition, start)| *start < ends[partition]));
    let mut copying = Copying {
        producer: Producer::new(connected.client, connected.producer)?,
        to: to.clone(),
        same_partition: arguments.same_partition,
        open: VecDeque::new(),
        written: 0,
    };
    let outcome = tokio::select! {
        outcome = copying.run(&mut consumer, &ends) => outcome,
        () = interrupted() => Err(Failure::Interrupted.into()),
    };
    let settled = tokio::select! {
        settled = copying.settle_all() => settled,
        () = interrupted() => Err(Failure::Interrupted.into()),
    };
    say(&format!("{} copied from {from} to {to}", counted(copying.written, "record")));
    settled.and(outcome)
}

struct Copying {
    producer: Producer,
    to: TopicName,
    same_partition: bool,
    open: VecDeque<(TopicPartition, Offset, Delivery)>,
    written: u64,
}

impl Copying {
    async fn run(&mut self, consumer: &mut Consumer, ends: &BTreeMap<TopicPartition, Offset>) -> Result<()> {
        loop {
            let is_done = |partition: &TopicPartition| {
                let progress = consumer.progress(partition);
                progress.is_some_and(|progress| progress.position >= ends[partition])
            };
            let done: Vec<TopicPartition> =
                consumer.assignment().into_iter().filter(|partition| is_done(partition)).collect();
            for partition in &done {
                consumer.unassign(partition);
            }
            if consumer.assignment().is_empty() {
                return Ok(());
            }
            for record in consumer.poll(POLL).await? {
                if record.offset < ends[&record.partition] {
                    self.send(record).await?;
                }
            }
        }
    }

    async fn send(&mut self, record: ConsumerRecord) -> Result<()> {
        let copy = ProducerRecord {
            topic: self.to.clone(),
            partition: self.same_partition.then_some(record.partition.partition),
            timestamp: Some(record.timestamp),
            key: record.key,
            value: record.value,
            headers: record.headers,
        };
        let (partition, offset) = (record.partition, record.offset);
        let delivery =
            self.producer.send(copy).await.with_context(|| format!("{partition} at offset {offset}"))?;
        self.open.push_back((partition, offset, delivery));
        if self.open.len() >= DELIVERIES_OPEN {
            self.settle_first().await?;
        }
        Ok(())
    }

    async fn settle_first(&mut self) -> Result<()> {
        // It stays in the row while it is waited for: the wait may be cut short.
        let Some((_, _, delivery)) = self.open.front_mut() else { return Ok(()) };
        let fate = delivery.await;
        let Some((partition, offset, _)) = self.open.pop_front() else { return Ok(()) };
        fate.with_context(|| format!("{partition} at offset {offset}"))?;
        self.written += 1;
        Ok(())
    }

    async fn settle_all(&mut self) -> Result<()> {
        self.producer.flush().await?;
        let mut outcome = Ok(());
        while !self.open.is_empty() {
            outcome = outcome.and(self.settle_first().await);
        }
        outcome
    }
}
