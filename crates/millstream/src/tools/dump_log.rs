//! `kafka-dump-log`: segments, indexes and snapshots as they lie on disk (`DumpLogSegments`).

mod decoders;
mod indexes;
mod segment;

use std::{path::Path, process::ExitCode};

use self::decoders::Decoder;
use super::{
    exit::{Exit, Outcome},
    options::{Flag, Given, HELP, Spec, VERSION},
    output, run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-dump-log",
    summary: "Prints what is in the files of a partition: segments, indexes, snapshots.",
    flags: &[
        Flag::new("files", "The files.").takes("FILE,…"),
        Flag::new("print-data-log", "Print records as well as batches."),
        Flag::new("deep-iteration", "Go through the records without printing what is in them."),
        Flag::new("offsets-decoder", "Records are those of __consumer_offsets."),
        Flag::new("transaction-log-decoder", "Records are those of __transaction_state."),
        Flag::new("cluster-metadata-decoder", "Records are those of the metadata log."),
        Flag::new("share-group-state-decoder", "Records are those of __share_group_state."),
        Flag::new("remote-log-metadata-decoder", "Records are those of __remote_log_metadata."),
        Flag::new("skip-record-metadata", "Print only what is in records, and no control records."),
        Flag::new("max-bytes", "Stop after so many bytes of a file.").takes("BYTES").default("2147483647"),
        Flag::new("max-message-size", "The largest record expected.").takes("BYTES").default("5242880"),
        Flag::new("verify-index-only", "Look at indexes without printing them."),
        Flag::new("index-sanity-check", "Only check whether indexes are whole."),
        Flag::new("key-decoder-class", "The Java class that reads keys; Kafka's StringDecoder is built in.")
            .may_take("CLASS")
            .default(STRING_DECODER),
        Flag::new(
            "value-decoder-class",
            "The Java class that reads values; Kafka's StringDecoder is built in.",
        )
        .may_take("CLASS")
        .default(STRING_DECODER),
        HELP,
        VERSION,
    ],
    examples: &[
        "--files data/kafka/orders-0/00000000000000000000.log --print-data-log",
        "--files data/kafka/__consumer_offsets-0/00000000000000000000.log --offsets-decoder",
    ],
};

const STRING_DECODER: &str = "org.apache.kafka.tools.api.StringDecoder";

#[derive(Clone, Copy)]
struct Options {
    /// Go through the records of batches.
    deep: bool,
    contents: bool,
    decoder: Decoder,
    skip_record_metadata: bool,
    max_bytes: u64,
    verify_only: bool,
    sanity_only: bool,
}

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(&SPEC, arguments, |exit| exit, act)
}

fn act(given: &Given) -> Outcome {
    given.require(&["files"])?;
    let decoder = Decoder::of(given);
    let mut strange_class = None;
    let mut contents = given.has("print-data-log") || decoder != Decoder::Text;
    for option in ["key-decoder-class", "value-decoder-class"] {
        contents |= given.has(option);
        if let Some(class) = given.one(option)?.filter(|class| *class != STRING_DECODER) {
            strange_class.get_or_insert(class);
        }
    }
    let options = Options {
        deep: contents || given.has("deep-iteration"),
        contents,
        decoder,
        skip_record_metadata: given.has("skip-record-metadata"),
        max_bytes: given.number::<u64>("max-bytes")?.unwrap_or(u64::MAX),
        verify_only: given.has("verify-index-only"),
        sanity_only: given.has("index-sanity-check"),
    };
    let mut findings = Findings::default();
    for file in given.one("files")?.unwrap_or_default().split(',').map(str::trim) {
        output::line(&format!("Dumping {file}"));
        let path = Path::new(file);
        let outcome = match path.extension().and_then(|end| end.to_str()).unwrap_or_default() {
            "log" | "checkpoint" => {
                // Kafka's tool loads it only now.
                if let Some(class) = strange_class.filter(|_| decoder == Decoder::Text) {
                    return Err(Exit::failure("Failed to load decoder class").because(format!(
                        "no Java classes can be loaded, {class} neither; built in is {STRING_DECODER}"
                    )));
                }
                segment::dump(path, options, &mut findings)
            }
            "index" => indexes::offset_index(path, options, &mut findings),
            "timeindex" => indexes::time_index(path, options),
            "snapshot" => indexes::producer_snapshot(path),
            "txnindex" => indexes::transaction_index(path),
            _ => {
                output::flush();
                output::say(&format!("Ignoring unknown file {file}"));
                Ok(())
            }
        };
        outcome.map_err(|error| Exit::failure(format!("{error:#}")))?;
    }
    findings.print();
    Ok(())
}

/// What is told of after all files.
#[derive(Default)]
struct Findings {
    /// By file: an index's offset and that of the batch it points to.
    mismatches: Vec<(String, Vec<(i64, i64)>)>,
    /// By file: offsets that do not follow each other.
    gaps: Vec<(String, Vec<(i64, i64)>)>,
}

impl Findings {
    fn print(&self) {
        for (file, pairs) in &self.mismatches {
            output::line(&format!("Mismatches in :{file}"));
            for (index, log) in pairs {
                output::line(&format!("  Index offset: {index}, log offset: {log}"));
            }
        }
        for (file, pairs) in &self.gaps {
            output::line(&format!("Non-consecutive offsets in {file}"));
            for (first, second) in pairs {
                output::line(&format!("  {first} is followed by {second}"));
            }
        }
    }
}

/// A time or offset that need not be there, as Java prints it.
fn optional_long(value: Option<i64>) -> String {
    value.map_or_else(|| "OptionalLong.empty".to_owned(), |value| format!("OptionalLong[{value}]"))
}

/// The offset in a file's name.
fn base_offset(path: &Path) -> i64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.get(..20).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
