use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::Uuid;

fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut w = Writer::new();
    write(&mut w);
    w.into_bytes()
}

#[test]
fn numbers_are_big_endian_and_come_back() {
    let bytes = written(|w| {
        w.i8(-2);
        w.u16(0xfffe);
        w.i32(-3);
        w.u32(u32::MAX);
        w.i64(i64::MIN);
        w.f64(1.5);
        w.bool(true);
        w.uuid(Uuid(7));
    });
    assert_eq!(&bytes[..3], [0xfe, 0xff, 0xfe]);
    let mut r = Reader::new(bytes);
    assert_eq!(r.i8(), Ok(-2));
    assert_eq!(r.u16(), Ok(0xfffe));
    assert_eq!(r.i32(), Ok(-3));
    assert_eq!(r.u32(), Ok(u32::MAX));
    assert_eq!(r.i64(), Ok(i64::MIN));
    assert_eq!(r.f64(), Ok(1.5));
    assert_eq!(r.bool(), Ok(true));
    assert_eq!(r.uuid(), Ok(Uuid(7)));
    assert!(r.is_empty());
}

#[test]
fn varints_come_back_at_their_edges() {
    for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX / 2, u32::MAX] {
        assert_eq!(Reader::new(written(|w| w.uvarint(value))).uvarint(), Ok(value));
    }
    for value in [0, -1, 1, 63, -64, 64, i32::MIN, i32::MAX] {
        assert_eq!(Reader::new(written(|w| w.varint(value))).varint(), Ok(value));
    }
    for value in [0, -1, 64, i64::MIN, i64::MAX] {
        assert_eq!(Reader::new(written(|w| w.varlong(value))).varlong(), Ok(value));
    }
}

#[test]
fn a_varint_that_does_not_end_is_refused() {
    let five = Reader::new(vec![0xff; 5]).uvarint();
    assert_eq!(five, Err(DecodeError { at: 5, kind: DecodeErrorKind::EndlessVarint }));
    assert!(Reader::new(vec![0xff; 10]).varlong().is_err());
    assert!(Reader::new(vec![0x80]).uvarint().is_err());
}

#[test]
fn strings_and_bytes_come_back_in_both_forms() {
    for flexible in [false, true] {
        let payload = Bytes::from(vec![9; 1000]);
        let mut w = Writer::new();
        w.string(flexible, "tøpic").unwrap();
        w.nullable_string(flexible, None).unwrap();
        w.bytes(flexible, &payload).unwrap();
        w.nullable_bytes(flexible, None).unwrap();
        w.nullable_array::<i32>(flexible, None, |_, _| Ok(())).unwrap();
        w.array(flexible, &[1, 2], |w, e| {
            w.i32(*e);
            Ok(())
        })
        .unwrap();
        let mut r = Reader::new(w.into_bytes());
        assert_eq!(r.string(flexible).unwrap(), "tøpic");
        assert_eq!(r.nullable_string(flexible), Ok(None));
        assert_eq!(r.bytes(flexible), Ok(payload));
        assert_eq!(r.nullable_bytes(flexible), Ok(None));
        assert_eq!(r.nullable_array(flexible, Reader::i32), Ok(None));
        assert_eq!(r.array(flexible, Reader::i32), Ok(vec![1, 2]));
        assert!(r.is_empty());
    }
}

#[test]
fn null_is_refused_where_a_value_must_be() {
    let null = DecodeErrorKind::Null;
    assert_eq!(Reader::new(vec![0xff, 0xff]).string(false).unwrap_err().kind, null);
    assert_eq!(Reader::new(vec![0]).bytes(true).unwrap_err().kind, null);
    assert_eq!(Reader::new(vec![0]).array(true, Reader::i8).unwrap_err().kind, null);
}

#[test]
fn bytes_that_are_not_utf8_become_replacement_characters() {
    assert_eq!(Reader::new(vec![0, 3, b'a', 0xff, b'b']).string(false).unwrap(), "a\u{fffd}b");
}

#[test]
fn byte_fields_share_the_memory_they_were_read_from() {
    let bytes = Bytes::from(vec![0, 0, 0, 2, 5, 6]);
    let field = Reader::new(bytes.clone()).bytes(false).unwrap();
    assert_eq!(field.as_ptr(), bytes[4..].as_ptr());
}

#[test]
fn a_long_payload_is_a_segment_of_its_own_and_a_short_one_is_not() {
    let long = Bytes::from(vec![1; 512]);
    let mut w = Writer::new();
    w.i32(7);
    w.put_payload(Bytes::from_static(b"short"));
    w.put_payload(long.clone());
    w.i8(1);
    assert_eq!(w.len(), 4 + 5 + 512 + 1);
    let segments = w.into_segments();
    assert_eq!(segments.iter().map(Payload::len).collect::<Vec<_>>(), [9, 512, 1]);
    assert_eq!(segments[1].in_memory().unwrap().as_ptr(), long.as_ptr());
}

#[test]
fn records_in_a_file_are_announced_and_stay_in_the_file() {
    let file = Arc::new(std::fs::File::open("/dev/null").unwrap());
    let slice = Payload::File(FileSlice { file, position: 7, length: 300 });
    for flexible in [false, true] {
        let mut w = Writer::new();
        w.nullable_payload(flexible, Some(&slice)).unwrap();
        w.nullable_payload(flexible, None).unwrap();
        let segments = w.into_segments();
        let head = if flexible { vec![0xad, 0x02] } else { vec![0, 0, 0x01, 0x2c] };
        let tail = if flexible { vec![0] } else { vec![0xff; 4] };
        assert_eq!(segments, [Payload::from(head), slice.clone(), Payload::from(tail)]);
    }
}

#[test]
fn a_length_beyond_the_bytes_left_is_refused_before_anything_is_allocated() {
    let lie = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    let error = Reader::new(lie.to_vec()).array(false, Reader::i64).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::ArrayBeyondEnd { count: i32::MAX as usize, left: 4 });
    let error = Reader::new(lie.to_vec()).bytes(false).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Truncated { need: i32::MAX as usize, left: 4 });
    let error = Reader::new(vec![0xff, 0xff, 0xff, 0xff, 0x0f]).array(true, Reader::i8).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::ArrayBeyondEnd { count: u32::MAX as usize - 1, left: 0 });
}

#[test]
fn a_million_elements_are_the_most_in_one_array() {
    let count = ARRAY_ELEMENTS_MAX + 1;
    let bytes = written(|w| {
        w.i32(count as i32);
        w.put_slice(&vec![0; count]);
    });
    let error = Reader::new(bytes).array(false, Reader::i8).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::ArrayTooLong { count, limit: ARRAY_ELEMENTS_MAX });
}

#[test]
fn unknown_tags_are_kept_and_written_among_the_known_ones() {
    let unknown = vec![(0, Bytes::from_static(b"a")), (5, Bytes::from_static(b"bc"))];
    let mut fields = TaggedFields::default();
    fields
        .put(3, |w| {
            w.i32(42);
            Ok(())
        })
        .unwrap();
    let mut w = Writer::new();
    fields.finish(&mut w, true, &unknown).unwrap();
    let mut seen = None;
    let mut r = Reader::new(w.into_bytes());
    let kept = r
        .tagged_fields(|tag, r| {
            if tag != 3 {
                return Ok(false);
            }
            seen = Some(r.i32()?);
            Ok(true)
        })
        .unwrap();
    assert_eq!(kept, unknown);
    assert_eq!(seen, Some(42));
}

#[test]
fn a_tag_cannot_be_written_twice_or_out_of_order() {
    let field = |tag| (tag, Bytes::new());
    for unknown in [[field(1), field(1)], [field(2), field(1)]] {
        let error = Writer::new().unknown_tagged_fields(true, &unknown).unwrap_err();
        assert_eq!(error, EncodeError::TagOrder { tag: 1 });
    }
}

#[test]
fn a_tagged_field_must_use_exactly_the_bytes_it_announced() {
    let error =
        Reader::new(vec![1, 0, 5, 0, 0, 0, 0, 0]).tagged_fields(|_, r| r.i32().map(|_| true)).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TaggedFieldLength { tag: 0, announced: 5, used: 4 });
}

#[test]
fn too_many_tagged_fields_are_refused() {
    let count = TAGGED_FIELDS_MAX + 1;
    let error = Reader::new(written(|w| w.uvarint(count as u32))).unknown_tagged_fields(true).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooManyTaggedFields { count, limit: TAGGED_FIELDS_MAX });
}

#[test]
fn a_string_longer_than_kafka_allows_is_neither_read_nor_written() {
    let long = "x".repeat(STRING_BYTES_MAX + 1);
    for flexible in [false, true] {
        let error = Writer::new().string(flexible, &long).unwrap_err();
        assert_eq!(error, EncodeError::TooLong { length: long.len(), limit: STRING_BYTES_MAX });
    }
    let bytes = written(|w| {
        w.uvarint(long.len() as u32 + 1);
        w.put_slice(long.as_bytes());
    });
    let error = Reader::new(bytes).string(true).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::StringTooLong { length: long.len(), limit: STRING_BYTES_MAX });
}
