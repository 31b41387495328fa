//! Batches that Kafka wrote are read as Kafka reads them, and Kafka reads ours.

use std::{fmt::Write, fs, path::PathBuf};

use bytes::Bytes;
use millstream_record::{
    BatchBuilder, BatchOptions, Compression, Header, ProducerInfo, RecordBatch, TimestampType,
    batch::{batches, rebuild, set_log_append_time},
    control::{ControlType, EndTransactionMarker},
};
use millstream_testkit::{java_source, kafka_libs, repository, skip};
use millstream_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

const MAX: usize = 1 << 20;
const T0: i64 = 1_700_000_000_000;

fn fixtures() -> PathBuf {
    repository().join("crates/record/tests/fixtures")
}

fn golden(name: &str) -> Bytes {
    Bytes::from(fs::read(fixtures().join(format!("java-{name}.bin"))).unwrap())
}

/// The text that `Batches.java` prints.
fn show(bytes: &Bytes) -> String {
    let mut text = String::new();
    for view in batches(bytes) {
        let batch = RecordBatch::decode(&bytes.slice_ref(view.unwrap().bytes), MAX).unwrap();
        let header = batch.header;
        let kind = match header.attributes.timestamp_type() {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        };
        writeln!(
            text,
            "batch {} {} epoch {} {} {kind} max {} producer {} {} {} {} transactional {} control {} count {} size {}",
            header.base_offset,
            header.last_offset(),
            header.partition_leader_epoch,
            header.attributes.compression().unwrap(),
            header.max_timestamp,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            Sequence::to_wire(header.last_sequence()),
            header.attributes.is_transactional(),
            header.attributes.is_control(),
            header.record_count,
            header.size_in_bytes(),
        )
        .unwrap();
        for record in &batch.records {
            let (key, value) = (digest(&record.key), digest(&record.value));
            write!(text, "record {} {} key {key} value {value}", batch.offset_of(record), record.timestamp)
                .unwrap();
            for header in &record.headers {
                write!(text, " {}={}", header.key_str(), digest(&header.value)).unwrap();
            }
            text.push('\n');
        }
    }
    text
}

fn digest(field: &Option<Bytes>) -> String {
    field.as_ref().map_or("null".to_owned(), |bytes| format!("{}:{:x}", bytes.len(), crc32c::crc32c(bytes)))
}

#[test]
fn every_batch_that_kafka_wrote_reads_as_kafka_reads_it() {
    let mut seen = 0;
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "bin") {
            let expected = fs::read_to_string(path.with_extension("txt")).unwrap();
            assert_eq!(show(&Bytes::from(fs::read(&path).unwrap())), expected, "{}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 9);
}

/// Without compression the same records leave no choice of bytes.
#[test]
fn an_uncompressed_batch_is_kafkas_to_the_byte() {
    assert_eq!(rebuild(&golden("none"), Compression::None, None, MAX).unwrap(), golden("none"));
}

#[test]
fn end_of_transaction_markers_are_kafkas_to_the_byte() {
    let producer =
        ProducerInfo { id: ProducerId(1_234_567_890_123), epoch: ProducerEpoch(7), base_sequence: None };
    for (name, kind, offset, coordinator_epoch) in
        [("commit", ControlType::Commit, 42, 3), ("abort", ControlType::Abort, 43, 4)]
    {
        let marker = EndTransactionMarker { kind, coordinator_epoch };
        let mut batch = marker.to_batch(producer, LeaderEpoch(5), TimestampMs(T0)).to_vec();
        millstream_record::batch::set_base_offset(&mut batch, Offset(offset));
        assert_eq!(batch, golden(name), "{name}");
    }
}

#[test]
fn kafka_reads_every_batch_that_we_write() {
    let libs = match kafka_libs() {
        Ok(libs) => libs,
        Err(error) => return skip("kafka_reads_every_batch_that_we_write", &format!("{error:#}")),
    };
    let dir = tempfile::tempdir().unwrap();
    let mut program = java_source(&fixtures().join("Batches.java"), Some(&libs)).unwrap().arg("show");
    let mut expected = String::new();
    for (index, batch) in our_batches().iter().enumerate() {
        let file = dir.path().join(format!("{index}.bin"));
        fs::write(&file, batch).unwrap();
        expected += &show(batch);
        program = program.arg(file.display().to_string());
    }
    assert_eq!(program.run().unwrap().ok().unwrap(), expected);
}

fn our_batches() -> Vec<Bytes> {
    let producer = ProducerInfo {
        id: ProducerId(1),
        epoch: ProducerEpoch(i16::MAX),
        base_sequence: Some(Sequence(i32::MAX - 1)),
    };
    let mut made = Vec::new();
    for compression in Compression::ALL {
        for level in [None, Some(1), Some(9)] {
            let options = BatchOptions {
                compression,
                compression_level: level,
                base_offset: Offset(1 << 40),
                producer: Some(producer),
                ..BatchOptions::default()
            };
            // Enough for several lz4 and snappy blocks, and bytes that do not compress.
            made.push(batch_of(options, 60, 4000));
            made.push(batch_of(options, 1, 0));
        }
        let plain =
            BatchOptions { compression, leader_epoch: Some(LeaderEpoch(3)), ..BatchOptions::default() };
        let mut stamped = batch_of(plain, 5, 10).to_vec();
        set_log_append_time(&mut stamped, TimestampMs(T0 + 5));
        made.push(Bytes::from(stamped));
    }
    made
}

fn batch_of(options: BatchOptions, count: i64, value_bytes: u32) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for i in 0..count {
        let key = (i % 5 != 0).then(|| format!("key-{i}"));
        // Even records repeat themselves; odd ones are pseudo-random.
        let value: Vec<u8> = (0..value_bytes)
            .map(|n| if i % 2 == 0 { b'a' + n as u8 % 3 } else { mixed(n + i as u32) })
            .collect();
        let value = (i % 7 != 3).then_some(value);
        let headers = [
            Header::new("trace", Some(Bytes::from(vec![i as u8]))),
            Header::new("trace", Some(Bytes::new())),
            Header::new("größe", None),
        ];
        let headers = if i % 3 == 0 { &headers[..] } else { &[] };
        let timestamp = TimestampMs(T0 - (i * 977) % 100_000);
        builder.append(timestamp, key.as_ref().map(String::as_bytes), value.as_deref(), headers);
    }
    builder.build()
}

fn mixed(n: u32) -> u8 {
    (n.wrapping_mul(2_654_435_761) >> 13) as u8
}
