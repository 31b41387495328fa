//! `millstream log`: the files of a data directory, read as they lie, with no broker.

mod batches;
mod decode;
mod indexes;
mod lookup;
mod texts;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use super::{
    failure::{Failure, usage},
    output::{Output, OutputArguments, counted, say, write},
    yaml,
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Print what is in segments, indexes, snapshots and checkpoints, Kafka's or Millstream's
    Dump(DumpArguments),
    /// Read every batch and index, and print only what is wrong; exit code 4 if something is
    Verify(VerifyArguments),
    /// Show a partition's segments and indexes, or the way to an offset or a time
    Index(lookup::Arguments),
}

#[derive(clap::Args)]
struct VerifyArguments {
    /// Files, or directories, whose files and those of the directories in them are then read in order
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(clap::Args)]
struct DumpArguments {
    /// Files, or directories, whose files are then dumped in order
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Each record, decoded where the topic is one of Kafka's own; otherwise only batches
    #[arg(short, long)]
    records: bool,
    /// Records as they are, also those of Kafka's own topics
    #[arg(long, requires = "records")]
    raw: bool,
    #[command(flatten)]
    output: OutputArguments,
}

/// The next whole batch of a segment, or why there is none; `left` is how many bytes there are.
pub(crate) fn next_batch(reader: &mut impl std::io::Read, left: u64) -> Result<Result<bytes::Bytes, String>> {
    batches::next(reader, left)
}

/// A record of the metadata log: type, version and fields.
pub(crate) fn metadata_record(value: bytes::Bytes) -> Result<Value> {
    Ok(decode::metadata(value)?)
}

/// A coordinator's record: key and value with their types, versions and fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoordinatorLog {
    ConsumerOffsets,
    Transactions,
    ShareState,
}

impl CoordinatorLog {
    pub(crate) fn record(self, key: bytes::Bytes, value: Option<bytes::Bytes>) -> Result<Value> {
        Ok(match self {
            Self::ConsumerOffsets => decode::consumer_offsets(key, value)?,
            Self::Transactions => decode::transactions(key, value)?,
            Self::ShareState => decode::share_state(key, value)?,
        })
    }
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    match arguments.verb {
        Verb::Dump(arguments) => dump(arguments),
        Verb::Verify(arguments) => verify(&arguments),
        Verb::Index(arguments) => lookup::run(&arguments),
    }
}

fn verify(arguments: &VerifyArguments) -> Result<()> {
    let mut sink = Sink::new(arguments.output.output, true)?;
    let files = files(&arguments.paths, true)?;
    for path in &files {
        let options = Options { records: false, raw: true };
        file(path, options, &mut sink).with_context(|| path.display().to_string())?;
        if sink.gone {
            return Ok(());
        }
    }
    say(&format!("{} read", counted(files.len(), "file")));
    match sink.faults {
        0 => Ok(()),
        faults => Err(Failure::CheckFailed(counted(faults, "fault")).into()),
    }
}

fn dump(arguments: DumpArguments) -> Result<()> {
    let mut sink = Sink::new(arguments.output.output, false)?;
    for path in files(&arguments.paths, false)? {
        let options = Options { records: arguments.records, raw: arguments.raw };
        if matches!(sink.output, Output::Table | Output::Wide) {
            sink.text(&format!("{}\n", path.display()))?;
        }
        file(&path, options, &mut sink).with_context(|| path.display().to_string())?;
        if sink.gone {
            return Ok(());
        }
    }
    match sink.faults {
        0 => Ok(()),
        1 => Err(anyhow!("a fault was found; it is named above")),
        faults => Err(anyhow!("{faults} faults were found; they are named above")),
    }
}

#[derive(Clone, Copy)]
struct Options {
    records: bool,
    raw: bool,
}

/// Where lines go: in a table indented below their file's name, otherwise each with the file in it.
struct Sink {
    output: Output,
    /// Whoever read the output does so no more.
    gone: bool,
    faults: u64,
    only_faults: bool,
}

impl Sink {
    fn new(output: Output, only_faults: bool) -> Result<Self> {
        if matches!(output, Output::Csv | Output::Name) {
            return Err(usage("what is in files is no table: expected --output table, json or yaml"));
        }
        Ok(Self { output, gone: false, faults: 0, only_faults })
    }

    fn text(&mut self, text: &str) -> Result<()> {
        self.gone |= !write(text.as_bytes())?;
        Ok(())
    }

    /// One thing found in a file: an object.
    fn item(&mut self, file: &Path, value: Value) -> Result<()> {
        if self.only_faults { Ok(()) } else { self.print(file, value) }
    }

    fn print(&mut self, file: &Path, value: Value) -> Result<()> {
        let Value::Object(fields) = value else { return Ok(()) };
        match self.output {
            Output::Table | Output::Wide => {
                // Otherwise the file's name stands above.
                let place = if self.only_faults { format!("{}:", file.display()) } else { String::new() };
                self.text(&format!("{place}  {}\n", columns(&fields)))
            }
            output => {
                let mut all = Map::new();
                all.insert("file".to_owned(), json!(file.display().to_string()));
                all.extend(fields);
                let value = Value::Object(all);
                self.text(&match output {
                    Output::Yaml => format!("---\n{}", yaml::to_string(&value)),
                    _ => format!("{value}\n"),
                })
            }
        }
    }

    /// Something that should not be there, at a place in the file.
    fn fault(&mut self, file: &Path, position: u64, fault: &str) -> Result<()> {
        self.faults += 1;
        self.print(file, json!({ "position": position, "fault": fault }))
    }
}

/// `name: value` of every field, for people; what has a name itself stands behind it.
fn columns(fields: &Map<String, Value>) -> String {
    if let Some((name, Value::Object(inner))) = fields.iter().next().filter(|_| fields.len() == 1) {
        return format!("{name}  {}", columns(inner));
    }
    let shown = |value: &Value| match value {
        Value::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => text.clone(),
        other => other.to_string(),
    };
    fields.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect::<Vec<_>>().join("  ")
}

/// The files named, and those in the directories named; a `log.dirs` has files of its own, and its
/// partitions are directories that must be named themselves.
fn files(paths: &[PathBuf], deep: bool) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        let known = fs::metadata(path);
        if known.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Err(Failure::NotFound(format!("{} does not exist", path.display())).into());
        }
        if !known.with_context(|| path.display().to_string())?.is_dir() {
            all.push(path.clone());
            continue;
        }
        let before = all.len();
        files_within(path, deep, &mut all).with_context(|| path.display().to_string())?;
        if all.len() == before {
            bail!("{} has no file of a log; expected a partition's directory or a log.dirs", path.display());
        }
    }
    Ok(all)
}

/// The files of a directory and, if it is to go deep, of those in it, in the order of their names. Links to
/// directories are not followed.
fn files_within(directory: &Path, deep: bool, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let (mut within, mut below) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            below.insert(path);
        } else if Kind::of(&path).is_some() && path.is_file() {
            within.insert(path);
        }
    }
    files.extend(within);
    for directory in below.iter().filter(|_| deep) {
        files_within(directory, deep, files)?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Batches: segments, and snapshots of the metadata log.
    Batches,
    OffsetIndex,
    TimeIndex,
    TransactionIndex,
    ProducerSnapshot,
    /// A version, a count, lines.
    Checkpoint,
    /// `key=value` or `key: value` lines.
    Properties,
    Json,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let name =
            [".deleted", ".cleaned", ".swap"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        Some(match name {
            "meta.properties" | "partition.metadata" => Self::Properties,
            "quorum-state" | ".kafka_cleanshutdown" => Self::Json,
            "leader-epoch-checkpoint"
            | "recovery-point-offset-checkpoint"
            | "log-start-offset-checkpoint"
            | "replication-offset-checkpoint"
            | "cleaner-offset-checkpoint" => Self::Checkpoint,
            _ => match name.rsplit_once('.')?.1 {
                "log" | "checkpoint" => Self::Batches,
                "index" => Self::OffsetIndex,
                "timeindex" => Self::TimeIndex,
                "txnindex" => Self::TransactionIndex,
                "snapshot" => Self::ProducerSnapshot,
                _ => return None,
            },
        })
    }
}

fn file(path: &Path, options: Options, sink: &mut Sink) -> Result<()> {
    let kind = Kind::of(path).ok_or_else(|| {
        anyhow!("not a file of a log: expected .log, .index, .timeindex, .txnindex, .snapshot, .checkpoint, a checkpoint or a properties file")
    })?;
    match kind {
        Kind::Batches => batches::dump(path, options, sink),
        Kind::OffsetIndex => indexes::offset_index(path, sink),
        Kind::TimeIndex => indexes::time_index(path, sink),
        Kind::TransactionIndex => indexes::transaction_index(path, sink),
        Kind::ProducerSnapshot => indexes::producer_snapshot(path, sink),
        Kind::Checkpoint => texts::checkpoint(path, sink),
        Kind::Properties => texts::properties(path, sink),
        Kind::Json => texts::json(path, sink),
    }
}

/// The offset in a file's name, which is its first record's.
fn base_offset(path: &Path) -> Option<i64> {
    path.file_name()?.to_str()?.get(..20)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        let kind = |name: &str| Kind::of(Path::new(name));
        assert_eq!(kind("00000000000000000000.log"), Some(Kind::Batches));
        assert_eq!(kind("00000000000000000007.timeindex.deleted"), Some(Kind::TimeIndex));
        assert_eq!(kind("00000000000000000010-0000000001.checkpoint"), Some(Kind::Batches));
        assert_eq!(kind("leader-epoch-checkpoint"), Some(Kind::Checkpoint));
        assert_eq!(kind("quorum-state"), Some(Kind::Json));
        assert_eq!(kind("notes.txt"), None);
        assert_eq!(kind(".lock"), None);
    }
}
