//! The generated codec against Kafka's own, on the same bytes, in both directions
//! (`conformance/codec/Messages.java`): every message, every version, defaults, smallest, edge and random
//! values.
//!
//! A failure names the seed; `MILLSTREAM_SEED=… cargo test -p millstream-conformance codec` repeats it.

mod rows;
mod values;

use std::{
    collections::BTreeSet,
    env, fs,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use millstream_testkit::{Program, java_source, repository, skip};
use millstream_types::codec::{EncodeError, Message, Reader, Writer};

use rows::Row;
use values::{Kind, Values};

#[path = "../../../../xtask/src/codegen/table.rs"]
mod table;

/// One message type, without its Rust type.
struct Codec {
    name: &'static str,
    first: i16,
    last: i16,
    again: fn(&Bytes, i16) -> Result<Bytes, String>,
    default: fn(i16) -> Result<Bytes, EncodeError>,
}

impl Codec {
    fn of<M: Message + Default + PartialEq>() -> Self {
        Self {
            name: M::NAME,
            first: M::MIN_VERSION,
            last: M::LATEST_VERSION,
            again: again::<M>,
            default: |version| write(&M::default(), version),
        }
    }

    fn versions(&self) -> impl Iterator<Item = (&'static str, i16)> {
        (self.first..=self.last).map(|version| (self.name, version))
    }
}

fn write<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    message.write(&mut w, version)?;
    Ok(w.into_bytes())
}

/// Reads the bytes to their end and writes what was read; that, read again, must be the same message.
fn again<M: Message + PartialEq>(bytes: &Bytes, version: i16) -> Result<Bytes, String> {
    let read = |bytes: &Bytes| {
        let mut r = Reader::new(bytes.clone());
        let message = M::read(&mut r, version).map_err(|e| format!("cannot be read: {e}"))?;
        if r.is_empty() { Ok(message) } else { Err(format!("{} bytes are left", r.remaining())) }
    };
    let message = read(bytes)?;
    let written = write(&message, version).map_err(|e| format!("cannot be written: {e}"))?;
    if read(&written)? == message {
        Ok(written)
    } else {
        Err("is read differently the second time".to_owned())
    }
}

macro_rules! protocol_codecs {
    ($($name:ident),* $(,)?) => { vec![$(Codec::of::<millstream_protocol::messages::$name>()),*] };
}

macro_rules! record_codecs {
    ($($name:ident),* $(,)?) => { vec![$(Codec::of::<millstream_record::messages::$name>()),*] };
}

fn codecs() -> Vec<Codec> {
    let mut codecs: Vec<Codec> = millstream_protocol::every_message!(protocol_codecs);
    codecs.extend::<Vec<Codec>>(millstream_record::every_message!(record_codecs));
    codecs
}

fn find<'a>(codecs: &'a [Codec], name: &str) -> &'a Codec {
    codecs.iter().find(|c| c.name == name).unwrap_or_else(|| panic!("no message is named {name}"))
}

fn seed() -> u64 {
    match env::var("MILLSTREAM_SEED") {
        Ok(text) => text.parse().expect("MILLSTREAM_SEED is a number"),
        // Java's seeds are signed.
        Err(_) => RandomState::new().hash_one("a seed") >> 1,
    }
}

/// The Java program, unless it cannot be run here.
fn messages_java(test: &str) -> Option<Program> {
    java_source(&repository().join("conformance/codec/Messages.java"), None)
        .inspect_err(|error| skip(test, &format!("{error:#}")))
        .ok()
}

fn fail_on(complaints: &[String], seed: u64) {
    let shown = complaints.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        complaints.is_empty(),
        "MILLSTREAM_SEED={seed}: {} messages are wrong:\n{shown}",
        complaints.len()
    );
}

#[test]
fn codec_reads_and_writes_what_kafka_writes_to_identical_bytes() {
    let Some(java) = messages_java("codec_reads_and_writes_what_kafka_writes_to_identical_bytes") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kafka.messages");
    let seed = seed();
    let arguments = ["write".to_owned(), seed.to_string(), "6".to_owned(), file.display().to_string()];
    java.args(arguments).run().unwrap().ok().unwrap();

    let codecs = codecs();
    let mut seen = BTreeSet::new();
    let mut complaints = Vec::new();
    for Row { kind, name, version, bytes } in rows::read(&file).unwrap() {
        let codec = find(&codecs, &name);
        seen.insert((codec.name, version));
        let ours = match kind {
            'D' => (codec.default)(version).map_err(|e| format!("the default cannot be written: {e}")),
            _ => (codec.again)(&bytes, version),
        };
        match ours {
            Ok(ours) if ours == bytes => {}
            Ok(_) => complaints.push(format!("{name} v{version} ({kind}): is written differently")),
            Err(error) => complaints.push(format!("{name} v{version} ({kind}): {error}")),
        }
    }
    fail_on(&complaints, seed);
    let all: BTreeSet<_> = codecs.iter().flat_map(Codec::versions).collect();
    assert_eq!(seen, all, "Kafka and we know different versions");
}

#[test]
fn codec_writes_what_kafka_reads_and_writes_to_identical_bytes() {
    let Some(java) = messages_java("codec_writes_what_kafka_reads_and_writes_to_identical_bytes") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("millstream.messages");
    let seed = seed();
    let (rows, complaints) = our_rows(seed);
    fail_on(&complaints, seed);
    rows::write(&file, &rows).unwrap();
    let finished = java.args(["check".to_owned(), file.display().to_string()]).run().unwrap();
    assert!(finished.ok().is_ok(), "MILLSTREAM_SEED={seed}: Kafka found differences");
}

/// Messages made from the tables, read and written by the generated code.
fn our_rows(seed: u64) -> (Vec<Row>, Vec<String>) {
    let codecs = codecs();
    let mut rows = Vec::new();
    let mut complaints = Vec::new();
    for message in tables() {
        let codec = find(&codecs, &message.name);
        for version in message.versions.first..=message.versions.last {
            for (kind, round) in Kind::rounds(6) {
                let mut values = Values::new(kind, seed, &format!("{} {version} {round}", message.name));
                let made = Bytes::from(values.message(&message, version));
                match (codec.again)(&made, version) {
                    // A tagged field that holds its default is left out, so the bytes may be fewer.
                    Ok(bytes) if bytes == made || values.has_tagged_fields() => {
                        rows.push(Row { kind: kind.letter(), name: message.name.clone(), version, bytes });
                    }
                    Ok(_) => complaints.push(format!("{} v{version}: is written differently", message.name)),
                    Err(error) => complaints.push(format!("{} v{version}: {error}", message.name)),
                }
            }
        }
    }
    (rows, complaints)
}

fn tables() -> Vec<table::Message> {
    let groups = entries(&repository().join("xtask/schemas")).into_iter().filter(|path| path.is_dir());
    let mut messages = Vec::new();
    for file in groups.flat_map(|group| entries(&group)) {
        let text = fs::read_to_string(&file).expect("the schema tables are in the checkout");
        messages.extend(table::parse(&text).expect("the schema tables can be read"));
    }
    messages
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the schema tables are in the checkout");
    entries.map(|entry| entry.expect("the directory can be read").path()).collect()
}
