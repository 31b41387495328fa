//! `kafka-metadata-shell`: what a metadata snapshot, or a piece of the metadata log, says of the cluster, as a
//! tree of directories and files (`MetadataShell`, KIP-500). Only read: a broker may be at work meanwhile.

mod commands;
mod tree;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    process::ExitCode,
};

use anyhow::{Result, ensure};
use millstream_metadata::Image;
use millstream_record::{BatchHeader, RecordBatch, kraft};

use self::{commands::Shell, tree::Node};
use super::{
    exit::{Exit, Outcome},
    options::{
        Flag,
        argparse::{Grammar, Parsed},
    },
    output,
};
use crate::command::log;

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "kafka-metadata-shell",
    summary: "Shows a cluster's metadata as a tree of directories and files. Without a command it asks for them; help lists them.",
    flags: &[Flag::new("snapshot", "A snapshot, or a segment of the metadata log.")
        .short('s')
        .takes("FILE")
        .required()],
    groups: &[],
    verbs: &[],
    examples: &[
        "--snapshot data/kafka/__cluster_metadata-0/00000000000000000000.log",
        "--snapshot data/kafka/__cluster_metadata-0/00000000000000000000.log cat /image/topics/byName/orders/0",
    ],
    help_code: 1,
};

/// A batch that opens to more than this is not opened.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

pub(super) fn run(arguments: &[String]) -> ExitCode {
    // The command, and all that belongs to it, begins with the first word that is no option.
    let mut split = 0;
    while let Some(word) = arguments.get(split).filter(|word| word.starts_with('-')) {
        let takes_next = matches!(word.as_str(), "--snapshot" | "-s");
        split = (split + 1 + usize::from(takes_next)).min(arguments.len());
    }
    let (options, command) = arguments.split_at(split);
    let outcome = match GRAMMAR.parse(options) {
        Err(exit) => Err(exit),
        Ok(Parsed::Help(text)) => {
            output::bytes(text.as_bytes());
            Err(Exit::silent(GRAMMAR.help_code))
        }
        // Kafka's has no --version.
        Ok(Parsed::Version) => Ok(()),
        Ok(Parsed::Given(given)) => act(given.last("snapshot").unwrap_or_default(), command),
    };
    super::finish(outcome, String::new)
}

fn act(path: &str, command: &[String]) -> Outcome {
    let unexpected = |error: anyhow::Error| Exit::failure(format!("Unexpected error: {error:#}"));
    let mut shell = Shell::new(load(path).map_err(unexpected)?);
    if !command.is_empty() {
        shell.run(command);
        return Ok(());
    }
    let asks = io::stdin().is_terminal();
    if asks {
        output::line("[ Kafka Metadata Shell ]");
    }
    let mut lines = io::stdin().lock().lines();
    loop {
        if asks {
            output::bytes(b">> ");
        }
        if !output::flush() {
            return Ok(());
        }
        let Some(line) = lines.next() else { return Ok(()) };
        let words: Vec<String> = line?.split_whitespace().map(str::to_owned).collect();
        if !words.is_empty() && !shell.run(&words) {
            return Ok(());
        }
    }
}

/// Everything that the file's records come to.
fn load(path: &str) -> Result<Node> {
    let missing = "java.nio.file.NoSuchFileException";
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow::anyhow!("{missing}: {path}"),
        _ => anyhow::anyhow!("{path}: {error}"),
    })?;
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut image = Image::default();
    let (mut position, mut end, mut epoch, mut timestamp) = (0, -1, -1, -1);
    while position < length {
        // What a running broker has written only half is not there yet.
        let Ok(batch) = log::next_batch(&mut reader, length - position)? else {
            ensure!(position > 0, "{path} is neither a snapshot nor a piece of the metadata log");
            break;
        };
        position += batch.len() as u64;
        let header = BatchHeader::parse(&batch)?;
        end = header.last_offset().0;
        epoch = header.partition_leader_epoch;
        timestamp = header.max_timestamp;
        if header.attributes.is_control() {
            continue;
        }
        for record in RecordBatch::decode(&batch, DECOMPRESSED_BYTES_MAX)?.records {
            let (record, _) = kraft::decode(record.value.clone().unwrap_or_default())?;
            if let Err(error) = image.apply(&record) {
                output::say(&format!("WARN a record before offset {end} does not fit: {error}"));
            }
        }
    }
    Ok(tree::of_image(&image, end, epoch, timestamp))
}
