//! Segments and metadata snapshots: batches, one after the other, and what is in them.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use anyhow::Result;
use bytes::Bytes;
use millstream_record::{
    RecordBatch, TimestampType,
    batch::{BatchHeader, HEADER_BYTES},
};
use serde_json::{Map, Value, json};

use super::{Options, Sink, base_offset, decode::Decoder};
use crate::command::time;

const READ_BUFFER_BYTES: usize = 1 << 20;
/// A batch that claims more than this when opened is shown closed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 30;

pub(super) fn dump(path: &Path, options: Options, sink: &mut Sink) -> Result<()> {
    let decoder = if options.raw { Decoder::Plain } else { Decoder::of(path) };
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, file);
    let mut position = 0u64;
    let mut expected = base_offset(path).unwrap_or(0);
    while position < length && !sink.gone {
        let left = length - position;
        let batch = match next(&mut reader, left)? {
            Ok(batch) => batch,
            Err(fault) => return sink.fault(path, position, &fault),
        };
        let header = match BatchHeader::parse(&batch) {
            Ok(header) => header,
            Err(error) => return sink.fault(path, position, &error.to_string()),
        };
        show(path, position, &header, sink)?;
        if header.base_offset < expected {
            sink.fault(
                path,
                position,
                &format!("base offset {} after offset {}", header.base_offset, expected - 1),
            )?;
        }
        expected = header.next_offset().0;
        match RecordBatch::decode(&batch, DECOMPRESSED_BYTES_MAX) {
            Err(error) => sink.fault(path, position, &error.to_string())?,
            Ok(opened) if options.records => records(path, &opened, decoder, sink)?,
            Ok(_) => {}
        }
        position += batch.len() as u64;
    }
    Ok(())
}

/// The next whole batch, or why there is none.
pub(super) fn next(reader: &mut impl Read, left: u64) -> Result<Result<Bytes, String>> {
    let torn = |bytes: u64| Ok(Err(format!("the last {bytes} bytes are not a whole batch")));
    if left < HEADER_BYTES as u64 {
        return torn(left);
    }
    let mut bytes = vec![0; HEADER_BYTES];
    reader.read_exact(&mut bytes)?;
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Err(format!("zeros from here to the end, {left} bytes")));
    }
    let size = match BatchHeader::parse(&bytes) {
        Ok(header) => header.size_in_bytes() as u64,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if size > left {
        return torn(left);
    }
    let read = reader.take(size - HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    if read as u64 + HEADER_BYTES as u64 != size {
        return torn(left);
    }
    Ok(Ok(Bytes::from(bytes)))
}

fn show(path: &Path, position: u64, header: &BatchHeader, sink: &mut Sink) -> Result<()> {
    let attributes = header.attributes;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("position", json!(position));
    put("size", json!(header.size_in_bytes()));
    put("base_offset", json!(header.base_offset));
    put("last_offset", json!(header.last_offset().0));
    put("count", json!(header.record_count));
    put("leader_epoch", json!(header.partition_leader_epoch));
    put("compression", json!(attributes.compression().map_or("unknown", |codec| codec.name())));
    put(
        "max_timestamp",
        header.max_timestamp().map_or(json!(header.max_timestamp), |t| json!(time::format(t))),
    );
    if attributes.timestamp_type() == TimestampType::LogAppendTime {
        put("timestamp_type", json!("LogAppendTime"));
    }
    if let Some(producer) = header.producer() {
        put("producer_id", json!(producer.id.0));
        put("producer_epoch", json!(producer.epoch.0));
        put("base_sequence", json!(header.base_sequence));
    }
    for (name, set) in
        [("transactional", attributes.is_transactional()), ("control", attributes.is_control())]
    {
        if set {
            put(name, json!(true));
        }
    }
    if let Some(horizon) = header.delete_horizon() {
        put("delete_horizon", json!(time::format(horizon)));
    }
    put("crc", json!(header.crc));
    sink.item(path, json!({ "batch": Value::Object(fields) }))
}

fn records(path: &Path, batch: &RecordBatch, decoder: Decoder, sink: &mut Sink) -> Result<()> {
    for record in &batch.records {
        let mut fields = Map::new();
        fields.insert("offset".to_owned(), json!(batch.offset_of(record).0));
        fields.insert("timestamp".to_owned(), json!(time::format(record.timestamp)));
        decoder.describe(&batch.header, record, &mut fields);
        sink.item(path, json!({ "record": Value::Object(fields) }))?;
        if sink.gone {
            break;
        }
    }
    Ok(())
}
