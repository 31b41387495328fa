//! `millstream topic cat`: from where to where, and in which form, records are printed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use millstream_client::{Consumer, ConsumerRecord, IsolationLevel, Topic};
use millstream_types::{ErrorCode, Offset, PartitionId, TopicPartition};

use super::{
    envelope, find,
    format::{self, Format},
    parse_name,
};
use crate::command::{
    connect::ConnectArguments,
    output::write,
    position::{Position, bounds, resolve},
};

/// How long one poll waits; what is printed does not depend on it.
const POLL: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The topic
    name: String,
    /// Where to begin: beginning, end, N, +N after the beginning, -N before the end, @TIME (ms, -1h, a date)
    #[arg(short, long, value_name = "WHERE", default_value = "beginning", allow_hyphen_values = true)]
    offset: Position,
    /// Where to stop, in the same words; the record there is not printed
    #[arg(short, long, value_name = "WHERE", allow_hyphen_values = true)]
    until: Option<Position>,
    /// Which partitions: 0,2,5-7 [default: all]
    #[arg(short, long, value_name = "LIST")]
    partitions: Option<String>,
    /// Stop after so many records
    #[arg(short = 'n', long)]
    count: Option<usize>,
    /// Stop at the end of the topic instead of waiting for more
    #[arg(short, long)]
    exit: bool,
    /// How to print a record; --help lists the tokens
    #[arg(short, long, default_value = "%v\\n", long_help = format::HELP)]
    format: String,
    /// One JSON object a line, as `topic produce --json` reads it
    #[arg(short, long, visible_short_alias = 'J', conflicts_with = "format")]
    json: bool,
    /// What stands for a key or value that is null
    #[arg(short = 'Z', long, value_name = "TEXT", default_value = "")]
    null: String,
    /// Do not show records of open or aborted transactions
    #[arg(long)]
    read_committed: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let name = parse_name(&arguments.name)?;
    let format = Format::parse(&arguments.format).context("--format")?;
    let mut connected = arguments.connect.connect().await?;
    if arguments.read_committed {
        connected.consumer.isolation_level = IsolationLevel::ReadCommitted;
    }
    let isolation = connected.consumer.isolation_level;
    let admin = connected.client.admin();
    let topic = find(&admin, &name).await?;
    let partitions = chosen(&topic, arguments.partitions.as_deref())?;
    let known = bounds(&admin, &partitions, isolation).await?;
    let starts = resolve(&admin, &known, arguments.offset, isolation).await?;
    let stops = match arguments.until.or(arguments.exit.then_some(Position::End)) {
        Some(until) => Some(resolve(&admin, &known, until, isolation).await?),
        None => None,
    };
    let mut reading = Reading {
        consumer: Consumer::new(connected.client, connected.consumer),
        open: starts.keys().cloned().collect(),
        stops,
        left: arguments.count.unwrap_or(usize::MAX),
    };
    reading.consumer.assign(starts);
    let print = |record: &ConsumerRecord, out: &mut Vec<u8>| {
        if arguments.json {
            out.extend_from_slice(envelope::to_json(record).to_string().as_bytes());
            out.push(b'\n');
        } else {
            format.write(record, &arguments.null, out);
        }
    };
    reading.run(print).await
}

struct Reading {
    consumer: Consumer,
    /// Partitions that have not been read to their stop.
    open: BTreeSet<TopicPartition>,
    stops: Option<BTreeMap<TopicPartition, Offset>>,
    /// How many records may still be printed.
    left: usize,
}

impl Reading {
    async fn run(mut self, print: impl Fn(&ConsumerRecord, &mut Vec<u8>)) -> Result<()> {
        let mut out = Vec::new();
        self.close_finished();
        while self.left > 0 && !self.open.is_empty() {
            let records = match self.consumer.poll(POLL).await {
                Ok(records) => records,
                Err(error) if error.code() == Some(ErrorCode::OffsetOutOfRange) => {
                    return Err(anyhow!(error).context(
                        "the records to be read were removed meanwhile; begin anew with --offset beginning",
                    ));
                }
                Err(error) => return Err(error.into()),
            };
            for record in &records {
                if self.left > 0 && !self.is_behind_stop(record) {
                    print(record, &mut out);
                    self.left -= 1;
                }
            }
            if !out.is_empty() && !write(&out)? {
                return Ok(());
            }
            out.clear();
            self.close_finished();
        }
        Ok(())
    }

    fn is_behind_stop(&self, record: &ConsumerRecord) -> bool {
        let stop = self.stops.as_ref().and_then(|stops| stops.get(&record.partition));
        stop.is_some_and(|stop| record.offset >= *stop)
    }

    /// Stops reading partitions whose stop has been reached.
    fn close_finished(&mut self) {
        let Some(stops) = &self.stops else { return };
        let reached = |partition: &TopicPartition| {
            let position = self.consumer.progress(partition).map(|progress| progress.position);
            position.is_none_or(|position| stops.get(partition).is_none_or(|stop| position >= *stop))
        };
        let finished: Vec<TopicPartition> =
            self.open.iter().filter(|partition| reached(partition)).cloned().collect();
        for partition in finished {
            self.consumer.unassign(&partition);
            self.open.remove(&partition);
        }
    }
}

fn chosen(topic: &Topic, list: Option<&str>) -> Result<Vec<TopicPartition>> {
    let wanted: Vec<PartitionId> = match list {
        None => topic.partitions.keys().copied().collect(),
        Some(list) => numbers(list)?.into_iter().map(PartitionId).collect(),
    };
    if let Some(missing) = wanted.iter().find(|partition| !topic.partitions.contains_key(partition)) {
        let count = topic.partitions.len();
        bail!(
            "topic {} has no partition {missing}; its partitions are 0 to {}",
            topic.name,
            count.saturating_sub(1)
        );
    }
    Ok(wanted.into_iter().map(|partition| TopicPartition::new(topic.name.clone(), partition)).collect())
}

/// `0,2,5-7`
fn numbers(list: &str) -> Result<BTreeSet<i32>> {
    const PARTITIONS_MAX: i32 = 100_000;
    let number = |text: &str| {
        let number = text.trim().parse::<i32>().ok().filter(|number| (0..PARTITIONS_MAX).contains(number));
        number.ok_or_else(|| {
            anyhow!("--partitions: expected numbers and ranges such as 0,2,5-7, found {text:?}")
        })
    };
    let mut all = BTreeSet::new();
    for part in list.split(',') {
        match part.split_once('-') {
            Some((first, last)) => all.extend(number(first)?..=number(last)?),
            None => {
                all.insert(number(part)?);
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_numbers_and_ranges() {
        assert_eq!(numbers("0,2, 5-7").unwrap(), [0, 2, 5, 6, 7].into());
        for wrong in ["", "a", "1-", "-1", "1,,2", "0-99999999"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }
}
