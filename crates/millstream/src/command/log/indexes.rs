//! Indexes and producer snapshots: entries of a fixed size. Active indexes are laid out larger than they
//! are filled; the zeros behind the entries are not shown.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::Result;
use bytes::Bytes;
use millstream_record::messages::ProducerSnapshot;
use millstream_types::{TimestampMs, codec::Reader};
use serde_json::{Value, json};

use super::{Sink, base_offset};
use crate::command::time;

/// Version and checksum, which the checksum does not cover.
const SNAPSHOT_HEAD_BYTES: usize = 6;

pub(super) fn offset_index(path: &Path, sink: &mut Sink) -> Result<()> {
    let base = base_offset(path).unwrap_or(0);
    entries::<8>(path, sink, |entry| {
        let (offset, position) = offset_entry(base, entry);
        json!({ "offset": offset, "position": position })
    })
}

pub(super) fn time_index(path: &Path, sink: &mut Sink) -> Result<()> {
    let base = base_offset(path).unwrap_or(0);
    entries::<12>(path, sink, |entry| {
        let (timestamp, offset) = time_entry(base, entry);
        json!({ "timestamp": timestamp, "time": time::format(TimestampMs(timestamp)), "offset": offset })
    })
}

/// Offsets and the positions of their batches; none if there is no such file.
pub(super) fn offset_entries(path: &Path) -> Result<Vec<(i64, u64)>> {
    let base = base_offset(path).unwrap_or(0);
    let bytes = read_if_there(path)?;
    Ok(filled::<8>(&bytes).iter().map(|entry| offset_entry(base, entry)).collect())
}

/// Timestamps and the offsets up to which they are the latest; none if there is no such file.
pub(super) fn time_entries(path: &Path) -> Result<Vec<(i64, i64)>> {
    let base = base_offset(path).unwrap_or(0);
    let bytes = read_if_there(path)?;
    Ok(filled::<12>(&bytes).iter().map(|entry| time_entry(base, entry)).collect())
}

fn read_if_there(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        bytes => Ok(bytes?),
    }
}

fn offset_entry(base: i64, entry: &[u8; 8]) -> (i64, u64) {
    (base + i64::from(i32_at(entry, 0)), u64::from(i32_at(entry, 4).cast_unsigned()))
}

fn time_entry(base: i64, entry: &[u8; 12]) -> (i64, i64) {
    (i64_at(entry, 0), base + i64::from(i32_at(entry, 8)))
}

/// The entries in front of the zeros.
fn filled<const N: usize>(bytes: &[u8]) -> &[[u8; N]] {
    let filled = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let (all, _) = bytes.as_chunks::<N>();
    &all[..filled.div_ceil(N).min(all.len())]
}

pub(super) fn transaction_index(path: &Path, sink: &mut Sink) -> Result<()> {
    entries::<34>(path, sink, |entry| {
        json!({
            "version": i16::from_be_bytes([entry[0], entry[1]]),
            "producer_id": i64_at(entry, 2),
            "first_offset": i64_at(entry, 10),
            "last_offset": i64_at(entry, 18),
            "last_stable_offset": i64_at(entry, 26),
        })
    })
}

fn entries<const N: usize>(path: &Path, sink: &mut Sink, show: impl Fn(&[u8; N]) -> Value) -> Result<()> {
    let bytes = fs::read(path)?;
    let (_, rest) = bytes.as_chunks::<N>();
    for entry in filled::<N>(&bytes) {
        sink.item(path, show(entry))?;
        if sink.gone {
            return Ok(());
        }
    }
    if !rest.is_empty() {
        let fault = format!("{} bytes are no whole number of entries of {N} bytes", bytes.len());
        sink.fault(path, (bytes.len() - rest.len()) as u64, &fault)?;
    }
    Ok(())
}

pub(super) fn producer_snapshot(path: &Path, sink: &mut Sink) -> Result<()> {
    let bytes = Bytes::from(fs::read(path)?);
    let mut reader = Reader::new(bytes.clone());
    let read = reader.i16().and_then(|version| ProducerSnapshot::read(&mut reader, version));
    let snapshot = match read {
        Ok(snapshot) => snapshot,
        Err(error) => return sink.fault(path, 0, &error.to_string()),
    };
    let computed = crc32c::crc32c(&bytes[SNAPSHOT_HEAD_BYTES..]);
    if computed != snapshot.crc {
        sink.fault(path, 0, &format!("stored crc {}, computed crc {computed}", snapshot.crc))?;
    }
    for entry in &snapshot.producer_entries {
        sink.item(path, serde_json::to_value(entry)?)?;
    }
    Ok(())
}

fn i32_at(entry: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(*entry[at..].first_chunk().expect("an entry holds its fields"))
}

fn i64_at(entry: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(*entry[at..].first_chunk().expect("an entry holds its fields"))
}
