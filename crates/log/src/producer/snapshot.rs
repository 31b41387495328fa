//! `.snapshot` files: what is known of all producers at one offset (`ProducerSnapshot.json` version 1,
//! `ProducerStateManager.readSnapshot`). Of each producer only the last batch is kept; the log's tail gives
//! the others back.
//!
//! ```text
//! version i16 = 1 · crc u32 of all that follows · count i32
//! producer id i64 · epoch i16 · last sequence i32 · last offset i64 · offset delta i32 · timestamp i64 ·
//! coordinator epoch i32 · first offset of the open transaction i64
//! ```

use millstream_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::{BatchMetadata, ProducerEntry, ProducerStates};

const VERSION: i16 = 1;
const HEAD_BYTES: usize = 6;
const ENTRY_BYTES: usize = 46;

pub(crate) fn encode(states: &ProducerStates) -> Vec<u8> {
    let mut entries: Vec<_> = states.iter().collect();
    entries.sort_by_key(|(id, _)| *id);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + 4 + entries.len() * ENTRY_BYTES);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let count = i32::try_from(entries.len()).expect("fewer than 2^31 producers fit in memory");
    bytes.extend_from_slice(&count.to_be_bytes());
    for (id, entry) in entries {
        let last = entry.last_batch();
        bytes.extend_from_slice(&id.0.to_be_bytes());
        bytes.extend_from_slice(&ProducerEpoch::to_wire(entry.epoch).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(-1, |batch| batch.last_sequence.0).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset.0).to_be_bytes());
        bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&entry.last_timestamp.0.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.unwrap_or(-1).to_be_bytes());
        bytes.extend_from_slice(&Offset::to_wire(entry.txn_first_offset).to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[HEAD_BYTES..]);
    bytes[2..HEAD_BYTES].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Why a file is not taken as a snapshot.
pub(crate) fn decode(bytes: &[u8]) -> Result<ProducerStates, String> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or("it is cut short")?;
    let version = i16::from_be_bytes([head[0], head[1]]);
    if version != VERSION {
        return Err(format!("version {version} is not known"));
    }
    let stored = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    let computed = crc32c::crc32c(rest);
    if stored != computed {
        return Err(format!("stored crc {stored}, computed crc {computed}"));
    }
    let (count, entries) = rest.split_first_chunk::<4>().ok_or("it is cut short")?;
    let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| "its count is negative")?;
    if entries.len() != count.saturating_mul(ENTRY_BYTES) {
        return Err(format!("{count} producers announced in {} bytes", entries.len()));
    }
    let mut states = ProducerStates::default();
    for chunk in entries.chunks_exact(ENTRY_BYTES) {
        let (id, entry) = decode_entry(chunk);
        states.insert(id, entry);
    }
    Ok(states)
}

fn decode_entry(bytes: &[u8]) -> (ProducerId, ProducerEntry) {
    let i64_at =
        |at: usize| i64::from_be_bytes(*bytes[at..].first_chunk().expect("within the entry's 46 bytes"));
    let i32_at =
        |at: usize| i32::from_be_bytes(*bytes[at..].first_chunk().expect("within the entry's 46 bytes"));
    let timestamp = TimestampMs(i64_at(26));
    let mut entry = ProducerEntry {
        epoch: ProducerEpoch::from_wire(i16::from_be_bytes([bytes[8], bytes[9]])),
        coordinator_epoch: Some(i32_at(34)).filter(|&epoch| epoch >= 0),
        last_timestamp: timestamp,
        txn_first_offset: Offset::from_wire(i64_at(38)),
        ..ProducerEntry::default()
    };
    if let Some(last_offset) = Offset::from_wire(i64_at(14)) {
        entry.add(BatchMetadata {
            last_sequence: Sequence(i32_at(10)),
            last_offset,
            offset_delta: i32_at(22),
            timestamp,
        });
    }
    (ProducerId(i64_at(0)), entry)
}
