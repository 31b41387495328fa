//! `seeds FILE DIRECTORY`: turns what `conformance/codec/Messages.java write` wrote into a corpus for each
//! target, a file for each message and version.

use std::{collections::HashSet, error::Error, fs, path::Path};

use millstream_types::codec::Reader;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, directory] = arguments.as_slice() else { return Err("usage: seeds FILE DIRECTORY".into()) };
    let mut r = Reader::new(fs::read(file)?);
    let mut seen = HashSet::new();
    while !r.is_empty() {
        let kind = char::from(r.u8()?);
        let name = String::from_utf8(r.bytes(false)?.to_vec())?;
        let version = r.i16()?;
        let body = r.bytes(false)?;
        let small_enough = body.len() < 1_000;
        if kind == 'R' && small_enough && seen.insert((name.clone(), version)) {
            let Some((target, input)) = millstream_fuzz::seed(&name, version, &body) else { continue };
            let corpus = Path::new(directory).join(target);
            fs::create_dir_all(&corpus)?;
            fs::write(corpus.join(format!("{name}-{version}")), input)?;
        }
    }
    println!("{} seeds", seen.len());
    Ok(())
}
