//! Indexes and producer snapshots.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use millstream_record::{
    batch::{BatchHeader, HEADER_BYTES},
    messages::ProducerSnapshot,
};
use millstream_types::codec::Reader;

use super::{Findings, Options, base_offset, optional_long};
use crate::tools::output;

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

fn check_sanity(path: &Path, length: usize, is_whole: bool) -> Result<()> {
    let path = path.display();
    ensure!(is_whole, "{path} is corrupt: {length} bytes are no whole number of entries");
    output::line(&format!("{path} {}", if length == 0 { "is empty." } else { "passed sanity check." }));
    Ok(())
}

pub(super) fn offset_index(path: &Path, options: Options, findings: &mut Findings) -> Result<()> {
    let bytes = read(path)?;
    let base = base_offset(path);
    let (entries, rest) = bytes.as_chunks::<8>();
    if options.sanity_only {
        return check_sanity(path, bytes.len(), rest.is_empty());
    }
    let mut segment = File::open(path.with_extension("log"))
        .with_context(|| path.with_extension("log").display().to_string())?;
    let mut mismatches = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let [a, b, c, d, e, f, g, h] = *entry;
        let offset = base + i64::from(i32::from_be_bytes([a, b, c, d]));
        let position = i32::from_be_bytes([e, f, g, h]);
        // Behind the last entry of an index in use there are zeros.
        if offset <= base && number > 0 {
            break;
        }
        match last_offset_at(&mut segment, position) {
            Some(found) if found == offset => {}
            found => mismatches.push((offset, found.unwrap_or(-1))),
        }
        if !options.verify_only {
            output::line(&format!("offset: {offset} position: {position}"));
        }
    }
    if mismatches.iter().any(|(offset, _)| *offset > base) {
        findings.mismatches.push((path.display().to_string(), mismatches));
    }
    Ok(())
}

fn last_offset_at(segment: &mut File, position: i32) -> Option<i64> {
    segment.seek(SeekFrom::Start(u64::try_from(position).ok()?)).ok()?;
    let mut header = [0; HEADER_BYTES];
    segment.read_exact(&mut header).ok()?;
    Some(BatchHeader::parse(&header).ok()?.last_offset().0)
}

pub(super) fn time_index(path: &Path, options: Options) -> Result<()> {
    let bytes = read(path)?;
    let base = base_offset(path);
    let (entries, rest) = bytes.as_chunks::<12>();
    if options.sanity_only {
        return check_sanity(path, bytes.len(), rest.is_empty());
    }
    for (number, entry) in entries.iter().enumerate() {
        let timestamp = i64::from_be_bytes(*entry.first_chunk().expect("an entry holds a time"));
        let offset =
            base + i64::from(i32::from_be_bytes(*entry.last_chunk().expect("an entry holds an offset")));
        if offset <= base && timestamp == 0 && number > 0 {
            break;
        }
        if !options.verify_only {
            output::line(&format!("timestamp: {timestamp} offset: {offset}"));
        }
    }
    Ok(())
}

pub(super) fn transaction_index(path: &Path) -> Result<()> {
    let bytes = read(path)?;
    for entry in bytes.as_chunks::<34>().0 {
        let long =
            |at: usize| i64::from_be_bytes(*entry[at..].first_chunk().expect("an entry holds its fields"));
        output::line(&format!(
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            i16::from_be_bytes([entry[0], entry[1]]),
            long(2),
            long(10),
            long(18),
            long(26)
        ));
    }
    Ok(())
}

pub(super) fn producer_snapshot(path: &Path) -> Result<()> {
    let bytes = Bytes::from(read(path)?);
    let mut reader = Reader::new(bytes.clone());
    let snapshot = reader.i16().and_then(|version| ProducerSnapshot::read(&mut reader, version));
    let snapshot = snapshot.map_err(|error| anyhow!("{}: {error}", path.display()))?;
    // Version and checksum are not covered by it.
    let computed = crc32c::crc32c(&bytes[6..]);
    ensure!(
        computed == snapshot.crc,
        "{}: stored crc {}, computed crc {computed}",
        path.display(),
        snapshot.crc
    );
    for entry in &snapshot.producer_entries {
        let open = Some(entry.current_txn_first_offset).filter(|offset| *offset >= 0);
        let mut line = format!(
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {}",
            entry.producer_id,
            entry.epoch,
            entry.coordinator_epoch,
            optional_long(open),
            entry.timestamp
        );
        if entry.last_sequence >= 0 {
            line += &format!(
                " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                entry.last_sequence.wrapping_sub(entry.offset_delta) & 0x7fff_ffff,
                entry.last_sequence,
                entry.last_offset,
                entry.offset_delta,
                entry.timestamp
            );
        }
        output::line(&line);
    }
    Ok(())
}
