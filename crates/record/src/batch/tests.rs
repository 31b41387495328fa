use bytes::Bytes;
use millstream_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use proptest::prelude::*;

use super::*;
use crate::compress::Compression;

const MAX: usize = 1 << 20;

fn bytes_strategy() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn record_strategy() -> impl Strategy<Value = Record> {
    let header = (bytes_strategy(), proptest::option::of(bytes_strategy()));
    let headers = proptest::collection::vec(header, 0..4);
    let fields = (proptest::option::of(bytes_strategy()), proptest::option::of(bytes_strategy()), headers);
    (0..1i64 << 45, fields).prop_map(|(timestamp, (key, value, headers))| Record {
        offset_delta: 0,
        timestamp: TimestampMs(timestamp),
        key,
        value,
        headers: headers.into_iter().map(|(key, value)| Header { key, value }).collect(),
    })
}

fn options_strategy() -> impl Strategy<Value = BatchOptions> {
    let producer = (any::<u32>(), 0..i16::MAX, 0..i32::MAX).prop_map(|(id, epoch, sequence)| ProducerInfo {
        id: ProducerId(i64::from(id)),
        epoch: ProducerEpoch(epoch),
        base_sequence: Some(Sequence(sequence)),
    });
    let codec = prop::sample::select(&Compression::ALL[..]);
    (codec, 0..1i64 << 50, proptest::option::of(0..1000), proptest::option::of(producer), any::<bool>())
        .prop_map(|(compression, offset, epoch, producer, transactional)| BatchOptions {
            compression,
            base_offset: Offset(offset),
            leader_epoch: epoch.map(LeaderEpoch),
            producer,
            transactional,
            ..BatchOptions::default()
        })
}

fn build(options: BatchOptions, records: &[Record]) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let (before, record_max) = (
            builder.size_in_bytes(),
            BatchBuilder::record_size_max(record.key.as_deref(), record.value.as_deref(), &record.headers),
        );
        builder.push(record);
        assert!(builder.size_in_bytes() <= before + record_max);
    }
    builder.build()
}

fn record(value: &'static str, timestamp: i64) -> Record {
    Record {
        timestamp: TimestampMs(timestamp),
        key: Some(Bytes::from_static(b"k")),
        value: Some(Bytes::from_static(value.as_bytes())),
        ..Record::default()
    }
}

const LAX: RecordRules = RecordRules { key_required: false, timestamps: None, max_decompressed: MAX };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_built_batch_opens_to_the_same_records(
        options in options_strategy(),
        records in proptest::collection::vec(record_strategy(), 1..20),
    ) {
        let batch = build(options, &records);
        let opened = RecordBatch::decode(&batch, MAX).unwrap();
        let expected: Vec<_> =
            (0..).zip(&records).map(|(delta, r)| Record { offset_delta: delta, ..r.clone() }).collect();
        prop_assert_eq!(&opened.records, &expected);
        let header = opened.header;
        prop_assert!(header.to_bytes()[..] == batch[..HEADER_BYTES]);
        prop_assert_eq!(header.size_in_bytes(), batch.len());
        prop_assert_eq!(header.producer(), options.producer);
        prop_assert_eq!(header.leader_epoch(), options.leader_epoch);
        prop_assert_eq!(header.attributes.is_transactional(), options.transactional);
        prop_assert_eq!(header.next_offset(), options.base_offset.plus(records.len() as i64));
        prop_assert_eq!(header.max_timestamp(), records.iter().map(|r| r.timestamp).max());
        let valid = validate(&batch, &LAX).unwrap();
        prop_assert!(valid.offsets_consecutive);
        prop_assert_eq!(Some(valid.max_timestamp), header.max_timestamp());
    }

    #[test]
    fn no_flipped_byte_goes_unnoticed(
        options in options_strategy(),
        records in proptest::collection::vec(record_strategy(), 1..5),
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let mut batch = build(options, &records).to_vec();
        // What stands before the magic is the broker's own and not covered by the checksum.
        let at = 16 + at.index(batch.len() - 16);
        batch[at] ^= flip;
        prop_assert!(RecordBatch::decode(&Bytes::from(batch.clone()), MAX).is_err());
        prop_assert!(validate(&batch, &LAX).is_err());
    }

    /// The checksum is made right again, so that the damage reaches the parser behind it.
    #[test]
    fn damage_behind_a_true_checksum_never_panics(
        options in options_strategy(),
        records in proptest::collection::vec(record_strategy(), 1..5),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut batch = build(options, &records).to_vec();
        let at = 17 + at.index(batch.len() - 17);
        batch[at] = byte;
        recompute_crc(&mut batch);
        let valid = validate(&batch, &LAX).is_ok();
        let opened = RecordBatch::decode(&Bytes::from(batch), MAX);
        prop_assert!(!valid || opened.is_ok());
        if let Ok(opened) = opened {
            prop_assert_eq!(opened.records.len() as i64, i64::from(opened.header.record_count));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in -2i32..100) {
        let header = BatchHeader { record_count: count, ..BatchHeader::parse(&build(BatchOptions::default(), &[])).unwrap() };
        if let Ok(walk) = records(&header, &bytes) {
            prop_assert!(walk.count() <= bytes.len() + 1);
        }
        prop_assert!(batches(&bytes).count() <= bytes.len());
    }
}

#[test]
fn batches_are_walked_to_the_one_cut_short() {
    let one = build(BatchOptions::default(), &[record("a", 1)]);
    let two = build(BatchOptions { base_offset: Offset(1), ..BatchOptions::default() }, &[record("bb", 2)]);
    let bytes = [&one[..], &two[..], &one[..one.len() - 1]].concat();
    let mut walk = batches(&bytes);
    let seen: Vec<_> = walk.by_ref().map(|b| b.unwrap()).map(|b| (b.position, b.bytes.len())).collect();
    assert_eq!(seen, [(0, one.len()), (one.len(), two.len())]);
    assert_eq!(walk.position(), one.len() + two.len());
}

#[test]
fn an_impossible_header_ends_the_walk_with_an_error() {
    let one = build(BatchOptions::default(), &[record("a", 1)]);
    let mut old = one.to_vec();
    old[16] = 1;
    let mut small = one.to_vec();
    small[8..12].copy_from_slice(&48i32.to_be_bytes());
    for (bad, error) in [(old, BatchError::Magic(1)), (small, BatchError::TooSmall(48))] {
        let bytes = [&one[..], &bad[..], &one[..]].concat();
        let mut walk = batches(&bytes);
        assert!(walk.next().unwrap().is_ok());
        assert_eq!(walk.next().unwrap().unwrap_err(), error);
        assert!(walk.next().is_none());
        assert_eq!(walk.position(), one.len());
    }
}

#[test]
fn setters_change_only_their_field_and_keep_the_checksum_true() {
    let mut batch = build(BatchOptions::default(), &[record("a", 1000), record("b", 2000)]).to_vec();
    let before = BatchHeader::parse(&batch).unwrap();
    set_base_offset(&mut batch, Offset(77));
    set_leader_epoch(&mut batch, LeaderEpoch(5));
    let after = BatchHeader::parse(&batch).unwrap();
    assert_eq!(after, BatchHeader { base_offset: 77, partition_leader_epoch: 5, ..before });
    after.verify_crc(&batch).unwrap();

    set_log_append_time(&mut batch, TimestampMs(9000));
    let opened = RecordBatch::decode(&Bytes::from(batch.clone()), 0).unwrap();
    assert_eq!(opened.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert!(opened.records.iter().all(|r| r.timestamp == TimestampMs(9000)));

    let producer =
        ProducerInfo { id: ProducerId(8), epoch: ProducerEpoch(2), base_sequence: Some(Sequence(6)) };
    for producer in [Some(producer), None] {
        set_producer(&mut batch, producer);
        let opened = RecordBatch::decode(&Bytes::from(batch.clone()), 0).unwrap();
        assert_eq!(opened.header.producer(), producer);
    }

    set_max_timestamp(&mut batch, TimestampMs(2000));
    let opened = RecordBatch::decode(&Bytes::from(batch), 0).unwrap();
    assert_eq!(opened.records.iter().map(|r| r.timestamp.0).collect::<Vec<_>>(), [1000, 2000]);
    assert_eq!(opened.header.attributes, before.attributes);
}

#[test]
fn header_keys_may_repeat_and_keep_their_order() {
    let header = |key: &'static str, value| Header::new(key, Some(Bytes::from_static(value)));
    let headers = vec![header("a", b"1"), header("b", b""), header("a", b"2"), Header::new("a", None)];
    let sent = Record { headers: headers.clone(), ..record("v", 1) };
    let opened = RecordBatch::decode(&build(BatchOptions::default(), &[sent]), 0).unwrap();
    assert_eq!(opened.records[0].headers, headers);
}

#[test]
fn a_claimed_count_beyond_the_bytes_is_refused_before_anything_is_reserved() {
    let mut batch = build(BatchOptions::default(), &[record("a", 1)]).to_vec();
    for count in [i32::MAX, 2, -1] {
        batch[57..61].copy_from_slice(&count.to_be_bytes());
        recompute_crc(&mut batch);
        let error = RecordBatch::decode(&Bytes::from(batch.clone()), MAX).unwrap_err();
        assert_eq!(error, BatchError::Count(count));
    }
}

#[test]
fn an_emptied_batch_keeps_its_offsets() {
    let mut builder =
        BatchBuilder::new(BatchOptions { compression: Compression::Zstd, ..BatchOptions::default() });
    builder.extend_to(9);
    let opened = RecordBatch::decode(&builder.build(), MAX).unwrap();
    assert_eq!((opened.records.len(), opened.header.next_offset()), (0, Offset(10)));
}

#[test]
fn clients_batches_with_wrong_counts_control_bits_or_sequences_are_refused() {
    let rejected = |change: &dyn Fn(&mut BatchHeader)| {
        let mut batch = build(BatchOptions::default(), &[record("a", 1)]).to_vec();
        let mut header = BatchHeader::parse(&batch).unwrap();
        change(&mut header);
        batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        recompute_crc(&mut batch);
        let rejection = validate(&batch, &LAX).unwrap_err();
        (rejection.error_code(), rejection)
    };
    let (code, why) = rejected(&|h| h.last_offset_delta = 1);
    assert_eq!(code, ErrorCode::InvalidRecord);
    assert_eq!(why, Rejection::OffsetRange { first: Offset(0), last: Offset(1), count: 1 });
    assert_eq!(rejected(&|h| h.attributes = h.attributes.with_control(true)).1, Rejection::ControlBatch);
    assert_eq!(rejected(&|h| h.producer_id = 1).1, Rejection::Sequence(-1));
    assert!(matches!(
        rejected(&|h| h.attributes.0 |= 5).1,
        Rejection::Malformed(BatchError::CompressionType(5))
    ));
    let (code, why) = rejected(&|h| (h.record_count, h.last_offset_delta) = (0, -1));
    assert_eq!((code, matches!(why, Rejection::OffsetRange { .. })), (ErrorCode::InvalidRecord, true));
}

#[test]
fn a_wrong_checksum_is_a_corrupt_message() {
    let mut batch = build(BatchOptions::default(), &[record("a", 1)]).to_vec();
    *batch.last_mut().unwrap() ^= 1;
    assert_eq!(validate(&batch, &LAX).unwrap_err().error_code(), ErrorCode::CorruptMessage);
}

#[test]
fn every_refused_record_is_named_with_its_reason() {
    let range = TimestampRange { earliest: TimestampMs(100), latest: TimestampMs(200) };
    let records = [
        record("ok", 150),
        Record { key: None, ..record("no key", 150) },
        record("old", 99),
        record("new", 201),
    ];
    for compression in Compression::ALL {
        let batch = build(BatchOptions { compression, ..BatchOptions::default() }, &records);
        let rules = RecordRules { key_required: true, timestamps: Some(range), max_decompressed: MAX };
        let rejection = validate(&batch, &rules).unwrap_err();
        assert_eq!(rejection.error_code(), ErrorCode::InvalidTimestamp);
        let at =
            |index, timestamp| RecordError::Timestamp { index, timestamp: TimestampMs(timestamp), range };
        let errors = vec![RecordError::NoKey { index: 1 }, at(2, 99), at(3, 201)];
        assert_eq!(rejection, Rejection::Records { count: 3, errors });
        let keys_only = RecordRules { timestamps: None, ..rules };
        assert_eq!(validate(&batch, &keys_only).unwrap_err().error_code(), ErrorCode::InvalidRecord);
    }
}

#[test]
fn a_record_without_a_timestamp_is_never_too_old() {
    let batch = build(BatchOptions::default(), &[record("a", -1)]);
    let range = TimestampRange { earliest: TimestampMs(100), latest: TimestampMs(200) };
    let valid = validate(&batch, &RecordRules { timestamps: Some(range), ..LAX }).unwrap();
    assert_eq!((valid.max_timestamp, valid.max_timestamp_offset_delta), (TimestampMs(-1), None));
}

#[test]
fn the_first_of_equal_timestamps_is_the_largest() {
    let batch = build(BatchOptions::default(), &[record("a", 1), record("b", 5), record("c", 5)]);
    let valid = validate(&batch, &LAX).unwrap();
    assert_eq!((valid.max_timestamp, valid.max_timestamp_offset_delta), (TimestampMs(5), Some(1)));
}

#[test]
fn rebuilding_changes_the_codec_and_closes_gaps_and_nothing_else() {
    let producer =
        ProducerInfo { id: ProducerId(9), epoch: ProducerEpoch(1), base_sequence: Some(Sequence(4)) };
    let options =
        BatchOptions { producer: Some(producer), base_offset: Offset(3), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.append_at(0, TimestampMs(10), None, Some(b"x"), &[]);
    builder.append_at(5, TimestampMs(11), Some(b"k"), None, &[Header::new("h", None)]);
    let gapped = builder.build();
    let before = RecordBatch::decode(&gapped, MAX).unwrap();
    let after = RecordBatch::decode(&rebuild(&gapped, Compression::Lz4, None, MAX).unwrap(), MAX).unwrap();
    assert_eq!(after.header.attributes.compression(), Ok(Compression::Lz4));
    assert_eq!(after.header.producer(), Some(producer));
    assert_eq!(after.header.last_offset(), Offset(4));
    assert_eq!(after.records[0], before.records[0]);
    assert_eq!(after.records[1], Record { offset_delta: 1, ..before.records[1].clone() });
}

/// Small batches are opened as a whole, those that open to more than a megabyte through a window.
#[test]
fn recompressing_changes_the_codec_and_nothing_else() {
    for value_bytes in [10, 3 << 20] {
        let records: Vec<Record> = (0..3)
            .map(|n| Record {
                value: Some(Bytes::from(vec![n; value_bytes])),
                offset_delta: i32::from(n),
                timestamp: TimestampMs(i64::from(n)),
                ..Record::default()
            })
            .collect();
        for from in Compression::ALL {
            let before = build(BatchOptions { compression: from, ..BatchOptions::default() }, &records);
            for to in Compression::ALL {
                let Recompressed::Batch(after) = recompress(&before, to, None, 1 << 24, 1 << 24).unwrap()
                else {
                    panic!("{from} to {to}: too large")
                };
                let after = RecordBatch::decode(&after, 1 << 24).unwrap();
                assert_eq!(after.header.attributes.compression(), Ok(to));
                assert_eq!(after.records, records, "{from} to {to}");
                assert_eq!(after.header.max_timestamp, 2);
                let whole = after.header.size_in_bytes();
                let tight = recompress(&before, to, None, 1 << 24, whole - 1);
                assert_eq!(tight, Ok(Recompressed::TooLarge(whole)), "{from} to {to}");
                if from != Compression::None {
                    let little = 3 * value_bytes - 1;
                    assert!(recompress(&before, to, None, little, 1 << 24).is_err(), "{from} to {to}");
                }
            }
        }
    }
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let value = Bytes::from(vec![0; 4 << 20]);
    let bomb = Record { value: Some(value), ..Record::default() };
    for compression in &Compression::ALL[1..] {
        let batch = build(
            BatchOptions { compression: *compression, ..BatchOptions::default() },
            std::slice::from_ref(&bomb),
        );
        assert!(batch.len() < 1 << 18);
        let rejection = validate(&batch, &LAX).unwrap_err();
        assert!(matches!(rejection, Rejection::Malformed(BatchError::Compress(_))), "{rejection}");
    }
}
