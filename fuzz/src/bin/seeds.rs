//! `seeds DIRECTORY FILE...`: a corpus for each target, out of files of two kinds. `*.bin` holds record
//! batches as Kafka wrote them; anything else is what `conformance/codec/Messages.java write` wrote, of
//! which one message for each version is taken.

use std::{collections::HashSet, error::Error, fs, path::Path};

use millstream_record::{Compression, batch};
use millstream_types::codec::Reader;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const HEADER_BYTES: usize = batch::HEADER_BYTES;
const MESSAGE_BYTES_MAX: usize = 1_000;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, files) = arguments.split_first().ok_or("usage: seeds DIRECTORY FILE...")?;
    for file in files {
        let directory = Path::new(directory);
        let file = Path::new(file);
        match file.extension().is_some_and(|e| e == "bin") {
            true => batches(directory, file)?,
            false => messages(directory, file)?,
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
