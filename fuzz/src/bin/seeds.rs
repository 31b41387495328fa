//! `seeds DIRECTORY FILE...`: a corpus for each target, out of files of several kinds. `*.bin` holds record
//! batches as Kafka wrote them; `*.properties`, `*.toml`, `quorum-state`, metadata logs and `*.checkpoint` are
//! what they are called; anything else is what `conformance/codec/Messages.java write` wrote, of which one message
//! for each version is taken. To these come the files of a log directory of Kafka's.

use std::{collections::HashSet, error::Error, fs, path::Path};

use millstream_fuzz::KAFKA_FILES;
use millstream_record::{Compression, batch};
use millstream_types::codec::Reader;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const HEADER_BYTES: usize = batch::HEADER_BYTES;
const MESSAGE_BYTES_MAX: usize = 1_000;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, files) = arguments.split_first().ok_or("usage: seeds DIRECTORY FILE...")?;
    let directory = Path::new(directory);
    for file in files.iter().map(Path::new) {
        let name = file.file_name().and_then(|name| name.to_str()).ok_or("a strange name")?;
        let target = match name.rsplit('.').next() {
            Some("bin") => {
                batches(directory, file)?;
                continue;
            }
            Some("properties") => "server_properties",
            Some("toml") => "millstream_toml",
            Some("quorum-state") => "quorum_state",
            Some("log" | "checkpoint") => "metadata_log",
            _ => {
                messages(directory, file)?;
                continue;
            }
        };
        let parent = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        put(directory, target, &format!("{parent}-{name}"), &fs::read(file)?)?;
    }
    log_dir(directory)
}

/// Each file of the directory as itself, of one that was closed and of one that was not.
fn log_dir(directory: &Path) -> Result {
    for ((path, bytes), choice) in KAFKA_FILES.iter().zip(0..) {
        for unclean in [0, 0x80] {
            let mut input = vec![choice | unclean];
            input.extend_from_slice(bytes);
            put(directory, "log_dir", &format!("{choice}-{unclean}-{}", path.display()).replace('/', "_"), &input)?;
        }
    }
    Ok(())
}

fn batches(directory: &Path, file: &Path) -> Result {
    let bytes = fs::read(file)?;
    let name = file.file_stem().and_then(|s| s.to_str()).ok_or("a strange name")?;
    for view in batch::batches(&bytes) {
        let view = view?;
        let seed = format!("{name}-{}", view.position);
        put(directory, "record_batch", &seed, view.bytes)?;
        let codec = view.header.attributes.compression()?;
        if codec != Compression::None {
            put(directory, &format!("decompress_{}", codec.name()), &seed, &view.bytes[HEADER_BYTES..])?;
        }
    }
    Ok(())
}

fn messages(directory: &Path, file: &Path) -> Result {
    let mut r = Reader::new(fs::read(file)?);
    let mut seen = HashSet::new();
    while !r.is_empty() {
        let kind = char::from(r.u8()?);
        let name = String::from_utf8(r.bytes(false)?.to_vec())?;
        let version = r.i16()?;
        let body = r.bytes(false)?;
        let wanted = kind == 'R' && body.len() <= MESSAGE_BYTES_MAX;
        if wanted
            && seen.insert((name.clone(), version))
            && let Some((target, input)) = millstream_fuzz::seed(&name, version, &body)
        {
            put(directory, target, &format!("{name}-{version}"), &input)?;
        }
    }
    Ok(())
}

fn put(directory: &Path, target: &str, name: &str, input: &[u8]) -> Result {
    let corpus = directory.join(target);
    fs::create_dir_all(&corpus)?;
    Ok(fs::write(corpus.join(name), input)?)
}
