//! `log index`: the segments of a partition with what their indexes know, and the way from an offset or a time to
//! the batch that a broker would read first.

use std::{
    fs::{self, File},
    io::{BufReader, ErrorKind, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use millstream_record::batch::BatchHeader;
use millstream_types::TimestampMs;
use serde_json::{Value, json};

use super::{base_offset, batches, indexes};
use crate::command::{
    failure::Failure,
    output::{Answer, OutputArguments, Section, or_dash},
    time,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// A partition's directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Which batch has this offset, or the first after it
    #[arg(long, value_name = "OFFSET", conflicts_with = "time", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// Which batch has the first record that is at least this late: milliseconds since 1970, -1h, a date
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    time: Option<String>,
    #[command(flatten)]
    output: OutputArguments,
}

struct Segment {
    base: i64,
    path: PathBuf,
    bytes: u64,
    /// Offsets and positions.
    offsets: Vec<(i64, u64)>,
    /// Timestamps and offsets.
    times: Vec<(i64, i64)>,
}

/// What is looked for.
#[derive(Clone, Copy)]
enum Wanted {
    Offset(i64),
    Time(TimestampMs),
}

/// A batch and how it was found.
struct Found<'a> {
    segment: &'a Segment,
    /// Where the index said to begin.
    from: u64,
    position: u64,
    header: BatchHeader,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let segments =
        segments(&arguments.directory).with_context(|| arguments.directory.display().to_string())?;
    let time = arguments.time.as_deref().map(|text| time::parse(text, time::now())).transpose();
    let time = time.map_err(|error| crate::command::failure::usage(format!("--time: {error:#}")))?;
    let wanted = arguments.offset.map(Wanted::Offset).or(time.map(Wanted::Time));
    let answer = match wanted {
        None => overview(&segments),
        Some(wanted) => match find(&segments, wanted)? {
            Some(found) => found.answer(),
            None => return Err(Failure::NotFound(nothing(wanted)).into()),
        },
    };
    arguments.output.print(&answer)
}

fn segments(directory: &Path) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Failure::NotFound("does not exist".to_owned()).into());
        }
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|end| end == "log");
        let Some(base) = base_offset(&path).filter(|_| is_segment) else { continue };
        let offsets = indexes::offset_entries(&path.with_extension("index"))?;
        let times = indexes::time_entries(&path.with_extension("timeindex"))?;
        segments.push(Segment { base, bytes: fs::metadata(&path)?.len(), path, offsets, times });
    }
    if segments.is_empty() {
        bail!("no segment in it; expected a partition's directory, such as DATA/kafka/orders-0");
    }
    segments.sort_by_key(|segment| segment.base);
    Ok(segments)
}

fn overview(segments: &[Segment]) -> Answer {
    let columns = ["SEGMENT", "BYTES", "OFFSET-ENTRIES", "TIME-ENTRIES", "LAST-INDEXED", "LATEST"];
    let mut section = Section::new("segment", &columns);
    let mut values = Vec::new();
    for segment in segments {
        let last = segment.offsets.last().map(|(offset, _)| *offset);
        let latest = segment.times.last().map(|(at, _)| time::format(TimestampMs(*at)));
        section.row([
            segment.base.to_string(),
            segment.bytes.to_string(),
            segment.offsets.len().to_string(),
            segment.times.len().to_string(),
            or_dash(last),
            or_dash(latest.as_ref()),
        ]);
        values.push(json!({
            "segment": segment.base,
            "file": segment.path.display().to_string(),
            "bytes": segment.bytes,
            "offset_entries": segment.offsets.len(),
            "time_entries": segment.times.len(),
            "last_indexed_offset": last,
            "latest_indexed_time": latest,
        }));
    }
    Answer::new(Value::from(values), vec![section])
}

fn find(segments: &[Segment], wanted: Wanted) -> Result<Option<Found<'_>>> {
    let first = match wanted {
        Wanted::Offset(offset) => {
            segments.partition_point(|segment| segment.base <= offset).saturating_sub(1)
        }
        // Those before it hold nothing as late; the last one's index need not be complete.
        Wanted::Time(time) => {
            let is_early = |segment: &Segment| segment.times.last().is_some_and(|(at, _)| *at < time.0);
            segments.iter().position(|segment| !is_early(segment)).unwrap_or(segments.len() - 1)
        }
    };
    for segment in &segments[first..] {
        if let Some(found) = segment.find(wanted).with_context(|| segment.path.display().to_string())? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

impl Segment {
    /// The last position in the index that is not behind what is wanted.
    fn begin(&self, wanted: Wanted) -> u64 {
        let offset = match wanted {
            Wanted::Offset(offset) => offset,
            Wanted::Time(time) => {
                let before = self.times.partition_point(|(at, _)| *at < time.0);
                // A time's entry is of the batch that ends with it, whose offset is its last.
                before.checked_sub(1).map_or(self.base, |at| self.times[at].1)
            }
        };
        let behind = self.offsets.partition_point(|(at, _)| *at <= offset);
        behind.checked_sub(1).map_or(0, |at| self.offsets[at].1)
    }

    fn find(&self, wanted: Wanted) -> Result<Option<Found<'_>>> {
        let from = self.begin(wanted);
        if from > self.bytes {
            bail!("the index says position {from}, and the segment has {} bytes", self.bytes);
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(from))?;
        let mut reader = BufReader::new(file);
        let mut position = from;
        while position < self.bytes {
            let at = |fault| anyhow!("position {position}: {fault}");
            let batch = batches::next(&mut reader, self.bytes - position)?.map_err(at)?;
            let header = BatchHeader::parse(&batch)?;
            let is_wanted = match wanted {
                Wanted::Offset(offset) => header.last_offset().0 >= offset,
                Wanted::Time(time) => header.max_timestamp().is_some_and(|latest| latest >= time),
            };
            if is_wanted {
                return Ok(Some(Found { segment: self, from, position, header }));
            }
            position += batch.len() as u64;
        }
        Ok(None)
    }
}

impl Found<'_> {
    fn answer(&self) -> Answer {
        let columns = ["SEGMENT", "FROM", "POSITION", "BASE-OFFSET", "LAST-OFFSET", "COUNT", "LATEST"];
        let mut section = Section::new("batch", &columns);
        let latest = self.header.max_timestamp().map(time::format);
        let (base, last) = (self.header.base_offset().0, self.header.last_offset().0);
        section.row([
            self.segment.base.to_string(),
            self.from.to_string(),
            self.position.to_string(),
            base.to_string(),
            last.to_string(),
            self.header.record_count.to_string(),
            or_dash(latest.as_ref()),
        ]);
        let value = json!({
            "segment": self.segment.base,
            "file": self.segment.path.display().to_string(),
            "indexed_position": self.from,
            "position": self.position,
            "base_offset": base,
            "last_offset": last,
            "count": self.header.record_count,
            "max_timestamp": latest,
        });
        Answer::new(value, vec![section])
    }
}

fn nothing(wanted: Wanted) -> String {
    match wanted {
        Wanted::Offset(offset) => format!("offset {offset} is behind the end of the partition"),
        Wanted::Time(time) => format!("no record is as late as {}", time::format(time)),
    }
}
