//! `millstream cat`: from where to where, and in which form, records are printed.

mod format;
mod group;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use millstream_client::{Client, Consumer, ConsumerRecord, IsolationLevel, Topic};
use millstream_types::{ErrorCode, Offset, PartitionId, TopicPartition};

use self::format::Format;
use super::{
    connect::ConnectArguments,
    envelope,
    failure::usage,
    output::{reader_is_gone, write},
    position::{Position, Range, bounds, resolve},
    topic::{find, parse_name},
};

/// How long one poll waits; what is printed does not depend on it.
const POLL: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The topic
    name: String,
    /// Where to begin: beginning, end, stored, N, +N after the beginning, -N before the end, @TIME (ms, -1h,
    /// a date); FROM:TO; as in kcat also s@TIME, and e@TIME in a second -o
    #[arg(short, long, value_name = "WHERE", allow_hyphen_values = true)]
    offset: Vec<Range>,
    /// Where to stop, in the same words; the record there is not printed
    #[arg(short, long, value_name = "WHERE", allow_hyphen_values = true)]
    until: Option<Position>,
    /// Which partitions: 0,2,5-7 [default: all]
    #[arg(short, long, value_name = "LIST")]
    partitions: Option<String>,
    /// Stop after so many records
    #[arg(short = 'n', long, visible_short_alias = 'c')]
    count: Option<usize>,
    /// Stop at the end of the topic instead of waiting for more
    #[arg(short, long)]
    exit: bool,
    /// Read as a member of this group, and commit what was printed; with `-o stored` only begin where it is
    #[arg(short, long, visible_short_alias = 'G', value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    shape: ShapeArguments,
    /// Do not show records of open or aborted transactions
    #[arg(long)]
    read_committed: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// `topic tail`: as `cat -o end`.
#[derive(clap::Args)]
pub(crate) struct TailArguments {
    /// The topic
    name: String,
    /// First the last so many records of each partition
    #[arg(short = 'n', long, default_value_t = 0)]
    lines: u32,
    /// Which partitions: 0,2,5-7 [default: all]
    #[arg(short, long, value_name = "LIST")]
    partitions: Option<String>,
    #[command(flatten)]
    shape: ShapeArguments,
    /// Do not show records of open or aborted transactions
    #[arg(long)]
    read_committed: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

impl From<TailArguments> for Arguments {
    fn from(arguments: TailArguments) -> Self {
        let TailArguments { name, lines, partitions, shape, read_committed, connect } = arguments;
        let from = Position::BeforeEnd(i64::from(lines));
        Self {
            name,
            offset: vec![Range { from: Some(from), to: None }],
            until: None,
            partitions,
            count: None,
            exit: false,
            group: None,
            shape,
            read_committed,
            connect,
        }
    }
}

#[derive(clap::Args)]
struct ShapeArguments {
    /// How to print a record; --help lists the tokens [default: %v\n]
    #[arg(short, long, long_help = format::HELP)]
    format: Option<String>,
    /// Print the key too, with this between it and the value
    #[arg(short = 'K', long, value_name = "TEXT", conflicts_with = "format")]
    key_separator: Option<String>,
    /// What ends a record [default: \n]
    #[arg(short = 'D', long, value_name = "TEXT", conflicts_with = "format")]
    delimiter: Option<String>,
    /// One JSON object a line, as `produce --json` reads it
    #[arg(short, long, conflicts_with_all = ["format", "key_separator", "delimiter"])]
    json: bool,
    /// One JSON object a line, as kcat's -J prints it
    #[arg(short = 'J', long, conflicts_with_all = ["format", "key_separator", "delimiter", "json"])]
    kcat_json: bool,
    /// What stands for a key or value that is null
    #[arg(short = 'Z', long, value_name = "TEXT", default_value = "")]
    null: String,
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let connect = arguments.connect.clone();
    match arguments.reads_as_member() {
        true => connect.run_to_its_end(group::run(arguments)),
        false => connect.run(print(arguments)),
    }
}

impl Arguments {
    fn range(&self) -> Result<Range> {
        let mut range = Range { from: None, to: self.until };
        for one in &self.offset {
            for (part, news) in [(&mut range.from, one.from), (&mut range.to, one.to)] {
                if part.is_some() && news.is_some() {
                    return Err(usage("--offset: where to begin or to stop is said twice"));
                }
                *part = part.or(news);
            }
        }
        if range.to == Some(Position::Stored) {
            return Err(usage("stored is a place to begin, not one to stop"));
        }
        if range.from == Some(Position::Stored) && self.group.is_none() {
            return Err(usage("--offset stored: whose? Say --group GROUP"));
        }
        Ok(range)
    }

    /// A member reads from where its group is, as far as it goes.
    fn reads_as_member(&self) -> bool {
        self.group.is_some() && self.offset.is_empty()
    }
}

/// Prints records of partitions that are known beforehand.
async fn print(arguments: Arguments) -> Result<()> {
    let name = parse_name(&arguments.name)?;
    let range = arguments.range()?;
    let mut connected = arguments.connect.connect().await?;
    if arguments.read_committed {
        connected.consumer.isolation_level = IsolationLevel::ReadCommitted;
    }
    let printer = Printer::new(&arguments.shape, &connected.client)?;
    let isolation = connected.consumer.isolation_level;
    let admin = connected.client.admin();
    let topic = find(&admin, &name).await?;
    let partitions = chosen(&topic, arguments.partitions.as_deref())?;
    let known = bounds(&admin, &partitions, isolation).await?;
    let from = range.from.unwrap_or(Position::Beginning);
    let mut starts = resolve(&admin, &known, from, isolation).await?;
    if let (Position::Stored, Some(group)) = (from, &arguments.group) {
        let committed = admin.group_offsets(group).await?;
        for (partition, start) in &mut starts {
            *start = committed.get(partition).map_or(*start, |committed| committed.offset);
        }
    }
    let stops = match range.to.or(arguments.exit.then_some(Position::End)) {
        Some(until) => Some(resolve(&admin, &known, until, isolation).await?),
        None => None,
    };
    connected.consumer.group_id = None;
    let mut reading = Reading {
        consumer: Consumer::new(connected.client, connected.consumer),
        open: starts.keys().cloned().collect(),
        stops,
        left: arguments.count.unwrap_or(usize::MAX),
    };
    reading.consumer.assign(starts);
    reading.run(&printer).await
}

/// How a record is printed.
struct Printer {
    shape: Shape,
    null: String,
    client: Client,
    /// On a terminal, bytes that are no text are printed as what they are.
    is_terminal: bool,
}

enum Shape {
    Format(Format),
    Json,
    KcatJson,
}

impl Printer {
    fn new(arguments: &ShapeArguments, client: &Client) -> Result<Self> {
        let shape = match arguments {
            ShapeArguments { json: true, .. } => Shape::Json,
            ShapeArguments { kcat_json: true, .. } => Shape::KcatJson,
            ShapeArguments { format: Some(format), .. } => {
                Shape::Format(Format::parse(format).map_err(|error| usage(format!("--format: {error:#}")))?)
            }
            ShapeArguments { key_separator, delimiter, .. } => {
                let end = delimiter.as_deref().unwrap_or("\\n");
                let format = Format::of_parts(key_separator.as_deref(), end);
                Shape::Format(format.map_err(|error| usage(format!("{error:#}")))?)
            }
        };
        let is_terminal = io::stdout().is_terminal();
        Ok(Self { shape, null: arguments.null.clone(), client: client.clone(), is_terminal })
    }

    fn print(&self, record: &ConsumerRecord, out: &mut Vec<u8>) {
        let value = match &self.shape {
            Shape::Format(format) => return format.write(record, &self.null, self.is_terminal, out),
            Shape::Json => envelope::to_json(record),
            Shape::KcatJson => {
                envelope::to_kcat_json(record, self.client.metadata().leader(&record.partition))
            }
        };
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(b'\n');
    }
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
    async fn run(mut self, printer: &Printer) -> Result<()> {
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
                    printer.print(record, &mut out);
                    self.left -= 1;
                }
            }
            if out.is_empty() {
                if reader_is_gone() {
                    return Ok(());
                }
            } else if !write(&out)? {
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
            usage(format!("--partitions: expected numbers and ranges such as 0,2,5-7, found {text:?}"))
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
