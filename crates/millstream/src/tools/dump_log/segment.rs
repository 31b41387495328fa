//! Batches and records.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::{Context, Result};
use millstream_record::{
    Record, RecordBatch, TimestampType,
    batch::BatchHeader,
    control::{ControlType, EndTransactionMarker},
};

use super::{
    Findings, Options, base_offset,
    decoders::{Decoded, control_fields},
    optional_long,
};
use crate::{command::log, tools::output};

/// A batch that opens to more than this is shown closed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

pub(super) fn dump(path: &Path, options: Options, findings: &mut Findings) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let length = file.metadata()?.len();
    head(path);
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut position = 0;
    let mut gaps = Vec::new();
    let mut last: Option<i64> = None;
    while position < length && position < options.max_bytes {
        let Ok(batch) = log::next_batch(&mut reader, length - position)? else { break };
        if position + batch.len() as u64 > options.max_bytes {
            return Ok(());
        }
        let header = BatchHeader::parse(&batch)?;
        print_batch(&header, header.verify_crc(&batch).is_ok(), position);
        if options.deep {
            let opened = RecordBatch::decode(&batch, DECOMPRESSED_BYTES_MAX)?;
            for record in &opened.records {
                let offset = opened.offset_of(record).0;
                if let Some(before) = last.filter(|before| before + 1 != offset) {
                    gaps.push((before, offset));
                }
                last = Some(offset);
                print_record(&opened, record, options)?;
            }
        }
        position += batch.len() as u64;
        if !output::flush() {
            return Ok(());
        }
    }
    let left = length.saturating_sub(position);
    if left > 0 && position < options.max_bytes {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        output::line(&format!("Found {left} invalid bytes at the end of {name}"));
    }
    if !gaps.is_empty() {
        findings.gaps.push((path.display().to_string(), gaps));
    }
    Ok(())
}

fn head(path: &Path) {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.ends_with(".log") {
        output::line(&format!("Log starting offset: {}", base_offset(path)));
    } else if name == "bootstrap.checkpoint" {
        output::line("KRaft bootstrap snapshot");
    } else if let Some((_, epoch)) = name.trim_end_matches(".checkpoint").split_once('-') {
        let epoch = epoch.parse().unwrap_or(0i64);
        output::line(&format!("Snapshot end offset: {}, epoch: {epoch}", base_offset(path)));
    }
}

fn kind(header: &BatchHeader) -> &'static str {
    match header.attributes.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn print_batch(header: &BatchHeader, is_valid: bool, position: u64) {
    output::line(&format!(
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {} position: {position} {}: {} size: {} magic: {} compresscodec: {} crc: {} isvalid: {is_valid}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.last_sequence().map_or(-1, |sequence| sequence.0),
        header.producer_id,
        header.producer_epoch,
        header.partition_leader_epoch,
        header.attributes.is_transactional(),
        header.attributes.is_control(),
        optional_long(header.delete_horizon().map(|horizon| horizon.0)),
        kind(header),
        header.max_timestamp,
        header.size_in_bytes(),
        header.magic,
        header.attributes.compression().map_or("unknown", |codec| codec.name()),
        header.crc,
    ));
}

fn print_record(batch: &RecordBatch, record: &Record, options: Options) -> Result<()> {
    let header = &batch.header;
    let is_control = header.attributes.is_control();
    let mut line = String::from("| ");
    let mut prefix = "";
    if !options.skip_record_metadata {
        let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64);
        let keys: Vec<_> = record.headers.iter().map(|one| one.key_str()).collect();
        let sequence = match header.base_sequence {
            -1 => -1,
            base => (i64::from(base) + i64::from(record.offset_delta)) & 0x7fff_ffff,
        };
        line += &format!(
            "offset: {} {}: {} keySize: {} valueSize: {} sequence: {sequence} headerKeys: [{}]",
            batch.offset_of(record),
            kind(header),
            record.timestamp,
            size(&record.key),
            size(&record.value),
            keys.join(",")
        );
        prefix = " ";
        if is_control {
            line += &control(record);
        }
    }
    if options.contents && !is_control {
        // What is known of a record is shown, even if it cannot be opened.
        let decoded = options.decoder.decode(batch.offset_of(record), record);
        let Decoded { key, payload } = decoded.inspect_err(|_| {
            if !options.skip_record_metadata {
                output::bytes(line.as_bytes());
            }
        })?;
        if let Some(key) = key {
            line += &format!("{prefix}key: {key}");
            prefix = " ";
        }
        if let Some(payload) = payload {
            line += &format!("{prefix}payload: {payload}");
        }
    }
    output::line(&line);
    Ok(())
}

fn control(record: &Record) -> String {
    let key = record.key.as_deref().unwrap_or_default();
    let value = record.value.as_deref().unwrap_or_default();
    match ControlType::from_key(key).unwrap_or(ControlType::Unknown(-1)) {
        kind @ (ControlType::Abort | ControlType::Commit) => {
            let marker = EndTransactionMarker::from_record(key, value).ok().flatten();
            let epoch = marker.map_or("-1".to_owned(), |marker| marker.coordinator_epoch.to_string());
            format!(" endTxnMarker: {} coordinatorEpoch: {epoch}", format!("{kind:?}").to_uppercase())
        }
        kind @ (ControlType::LeaderChange
        | ControlType::SnapshotHeader
        | ControlType::SnapshotFooter
        | ControlType::KRaftVersion
        | ControlType::KRaftVoters) => {
            let colon = if kind == ControlType::LeaderChange { ":" } else { "" };
            format!(" {kind:?}{colon} {}", control_fields(kind, value))
        }
        ControlType::Unknown(id) => format!(" controlType: UNKNOWN({id})"),
    }
}
