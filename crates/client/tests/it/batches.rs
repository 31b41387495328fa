//! Batches that no client should send: the broker answers with the code that `validate` has for them.

use millstream_protocol::messages::{
    ProduceRequest,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use millstream_record::{
    BatchBuilder, BatchHeader, BatchOptions, Compression,
    batch::{HEADER_BYTES, RecordRules, recompute_crc, validate},
};
use millstream_types::{ErrorCode, TimestampMs, TopicName};

use super::{client, fresh_topic, partition};

fn batch(compression: Compression, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    for value in ["first", "second"] {
        builder.append(TimestampMs(1_700_000_000_000), Some(b"key"), Some(value.as_bytes()), &[]);
    }
    let mut bytes = builder.build().to_vec();
    let mut header = BatchHeader::parse(&bytes).unwrap();
    change(&mut header);
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    recompute_crc(&mut bytes);
    bytes
}

/// Damage behind a checksum that is right.
fn damaged(compression: Compression, damage: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch(compression, |_| {});
    damage(&mut bytes);
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.batch_length = (bytes.len() - 12) as i32;
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    recompute_crc(&mut bytes);
    bytes
}

fn cases() -> Vec<(String, Vec<u8>)> {
    let mut cases: Vec<(String, Vec<u8>)> = Vec::new();
    let mut case = |name: &str, bytes: Vec<u8>| cases.push((name.to_owned(), bytes));
    case("fine", batch(Compression::None, |_| {}));
    case("wrong crc", {
        let mut bytes = batch(Compression::None, |_| {});
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    });
    case("magic 1", batch(Compression::None, |header| header.magic = 1));
    case(
        "control",
        batch(Compression::None, |header| header.attributes = header.attributes.with_control(true)),
    );
    case("codec 5", batch(Compression::None, |header| header.attributes.0 |= 5));
    case("producer without sequence", batch(Compression::None, |header| header.producer_id = 7));
    case(
        "one record too many claimed",
        batch(Compression::None, |h| (h.record_count, h.last_offset_delta) = (3, 2)),
    );
    case(
        "one record too few claimed",
        batch(Compression::None, |h| (h.record_count, h.last_offset_delta) = (1, 0)),
    );
    case("count and offsets differ", batch(Compression::None, |header| header.last_offset_delta = 5));
    case("no records", batch(Compression::None, |h| (h.record_count, h.last_offset_delta) = (0, -1)));
    case("cut record", damaged(Compression::None, |bytes| bytes.truncate(bytes.len() - 3)));
    case("trailing bytes", damaged(Compression::None, |bytes| bytes.extend([0; 5])));
    case("record length too large", damaged(Compression::None, |bytes| bytes[HEADER_BYTES] = 0x7e));
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        case(&format!("{codec} fine"), batch(codec, |_| {}));
        case(&format!("{codec} garbage"), damaged(codec, |bytes| bytes[HEADER_BYTES..].fill(0x55)));
        case(&format!("{codec} cut"), damaged(codec, |bytes| bytes.truncate(bytes.len() - 9)));
        case(
            &format!("{codec} claims too many"),
            batch(codec, |h| (h.record_count, h.last_offset_delta) = (3, 2)),
        );
        case(
            &format!("{codec} claims too few"),
            batch(codec, |h| (h.record_count, h.last_offset_delta) = (1, 0)),
        );
    }
    cases
}

#[tokio::test]
async fn every_kind_of_wrong_batch_gets_its_code() {
    let client = client();
    let topic = fresh_topic(&client, "batches", 1).await;
    let rules = RecordRules { key_required: false, timestamps: None, max_decompressed: 1 << 20 };
    let mut differences = Vec::new();
    for (name, bytes) in cases() {
        let ours = validate(&bytes, &rules).err().map_or(ErrorCode::None, |rejection| rejection.error_code());
        let brokers = produce(&client, &topic, bytes).await;
        if brokers != ours {
            differences.push(format!("{name}: the broker says {brokers}, validate {ours}"));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

async fn produce(client: &millstream_client::Client, topic: &TopicName, batch: Vec<u8>) -> ErrorCode {
    let leader = client.metadata().leader(&partition(topic, 0)).unwrap();
    let connection = client.broker(leader).await.unwrap();
    let data = PartitionProduceData { index: 0, records: Some(batch.into()), ..Default::default() };
    let topic_data =
        TopicProduceData { name: topic.to_string(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 5000, topic_data: vec![topic_data], ..Default::default() };
    // The last version with names.
    let answer = connection.send(12, &request).await.unwrap();
    ErrorCode::from_code(answer.responses[0].partition_responses[0].error_code)
}
