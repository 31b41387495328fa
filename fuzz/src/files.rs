//! Files as they lie in a data directory: whole ones that Kafka wrote, and bytes made to look whole.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use bytes::Bytes;
use millstream_record::{BatchHeader, batch};

/// What tells that a directory was closed in order.
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// A log directory that Kafka closed, as `/kafka`, in the order of the names.
pub static KAFKA_FILES: LazyLock<Vec<(PathBuf, Vec<u8>)>> = LazyLock::new(|| {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/log/tests/fixtures/kafka-closed.tar.gz");
    let root = std::env::temp_dir().join(format!("millstream-fuzz-{}", std::process::id()));
    fs::create_dir_all(&root).expect("the system's directory for such things can be written");
    let status = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&root).status();
    assert!(status.is_ok_and(|status| status.success()), "{archive} can be unpacked");
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    drop(fs::remove_dir_all(&root));
    files.sort();
    files
});

fn collect(root: &Path, dir: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("what was unpacked can be listed") {
        let path = entry.expect("what was unpacked can be listed").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = Path::new("/").join(path.strip_prefix(root).expect("it is below the root"));
            files.push((name, fs::read(&path).expect("what was unpacked can be read")));
        }
    }
}

/// The bytes as the contents of such a file, with the checksums that it has: they would hide everything behind
/// them.
pub fn seal(path: &Path, bytes: &[u8]) -> Vec<u8> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("log" | "checkpoint") => seal_batches(bytes).to_vec(),
        Some("snapshot") => seal_producer_snapshot(bytes),
        _ => bytes.to_vec(),
    }
}

fn seal_producer_snapshot(bytes: &[u8]) -> Vec<u8> {
    const CRC: std::ops::Range<usize> = 2..6;
    let mut sealed = bytes.to_vec();
    if let Some(rest) = sealed.get(CRC.end..) {
        let crc = crc32c::crc32c(rest);
        sealed[CRC].copy_from_slice(&crc.to_be_bytes());
    }
    sealed
}

/// Batches end to end.
pub fn seal_batches(bytes: &[u8]) -> Bytes {
    let mut sealed = bytes.to_vec();
    for range in ranges(bytes) {
        batch::recompute_crc(&mut sealed[range]);
    }
    sealed.into()
}

/// Each of the batches that are whole.
pub fn whole_batches(bytes: &Bytes) -> Vec<Bytes> {
    ranges(bytes).into_iter().map(|range| bytes.slice(range)).collect()
}

fn ranges(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut at = 0;
    let mut found = Vec::new();
    while let Some(rest) = bytes.get(at..)
        && let Ok(header) = BatchHeader::parse(rest)
        && header.size_in_bytes() <= rest.len()
    {
        found.push(at..at + header.size_in_bytes());
        at += header.size_in_bytes();
    }
    found
}
