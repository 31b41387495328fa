//! Bytes that a stranger made up: every decoder answers with an error, at once and without reserving
//! memory. The whole test process may have 2 GiB of address space, so a decoder that believed an announced
//! count would bring it down.

use std::sync::Once;

use bytes::Bytes;
use millstream_protocol::{messages::*, read_request_header};
use millstream_types::codec::{DecodeErrorKind, Message, Reader, Writer};
use rustix::process::{Resource, Rlimit, setrlimit};

const ADDRESS_SPACE_BYTES: u64 = 2 << 30;

fn limit_memory() {
    static LIMIT: Once = Once::new();
    LIMIT.call_once(|| {
        let limit = Rlimit { current: Some(ADDRESS_SPACE_BYTES), maximum: Some(ADDRESS_SPACE_BYTES) };
        setrlimit(Resource::As, limit).expect("a limit can always be lowered");
    });
}

fn error<M: Message>(bytes: &[u8], version: i16) -> DecodeErrorKind {
    limit_memory();
    let result = M::read(&mut Reader::new(bytes.to_vec()), version);
    result.map(|_| ()).expect_err("these bytes are a lie").kind
}

#[test]
fn five_bytes_cannot_announce_54_million_topics() {
    let mut w = Writer::new();
    w.uvarint(54_000_000 + 1);
    let mut bytes = w.into_bytes().to_vec();
    bytes.push(0);
    assert_eq!(bytes.len(), 5);
    let kind = error::<MetadataRequest>(&bytes, 12);
    assert_eq!(kind, DecodeErrorKind::ArrayBeyondEnd { count: 54_000_000, left: 1 });
}

#[test]
fn eight_bytes_cannot_reserve_memory_for_two_billion_elements() {
    let kind = error::<MetadataRequest>(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], 4);
    assert_eq!(kind, DecodeErrorKind::ArrayBeyondEnd { count: i32::MAX as usize, left: 4 });
}

/// Kafka says "Tag 1 is not valid for version 12", and closes the connection.
#[test]
fn a_tagged_field_of_other_versions_is_no_unknown_one() {
    let tagged =
        |tag| FetchRequest { unknown_tagged_fields: vec![(tag, Bytes::new())], ..Default::default() };
    let mut w = Writer::new();
    tagged(1).write(&mut w, 12).unwrap();
    let kind = error::<FetchRequest>(&w.into_bytes(), 12);
    assert_eq!(kind, DecodeErrorKind::TagOfOtherVersions { tag: 1, version: 12 });
    let mut w = Writer::new();
    tagged(77).write(&mut w, 12).unwrap();
    assert_eq!(FetchRequest::read(&mut Reader::new(w.into_bytes()), 12), Ok(tagged(77)));
}

#[test]
fn an_array_as_long_as_a_large_frame_is_refused_by_its_count() {
    let mut bytes = 50_000_000_u32.to_be_bytes().to_vec();
    bytes.resize(50_000_004, 0);
    let kind = error::<MetadataRequest>(&bytes, 4);
    assert_eq!(kind, DecodeErrorKind::ArrayTooLong { count: 50_000_000, limit: 1_000_000 });
}

#[test]
fn arrays_in_arrays_that_all_announce_more_than_comes_end_at_the_first_lie() {
    // Topics, partitions in each, replicas in each: every count is below the bytes left and above
    // what follows.
    let mut w = Writer::new();
    w.i32(90_000);
    for _ in 0..1_000 {
        w.string(false, "t").unwrap();
        w.i32(1);
        w.i16(1);
        w.i32(80_000);
        w.put_slice(&[0; 60]);
    }
    let kind = error::<CreateTopicsRequest>(&w.into_bytes(), 2);
    assert!(
        matches!(kind, DecodeErrorKind::ArrayBeyondEnd { .. } | DecodeErrorKind::Truncated { .. }),
        "{kind}"
    );
}

/// Each message in each version: what it is cut to at every byte, and what a liar would send.
fn survives<M: Message + Default>() {
    for version in M::MIN_VERSION..=M::LATEST_VERSION {
        let mut w = Writer::new();
        let name = M::NAME;
        M::default().write(&mut w, version).unwrap_or_else(|e| panic!("{name} v{version}: {e}"));
        let whole = w.into_bytes();
        for length in 0..whole.len() {
            let cut = M::read(&mut Reader::new(whole.slice(..length)), version);
            assert!(cut.is_err(), "{name} v{version} is complete after {length} of {} bytes", whole.len());
        }
        for pattern in patterns() {
            // Some of these are messages; what matters is that there is an answer.
            for start in 0..pattern.len().min(16) {
                let answer = M::read(&mut Reader::new(pattern.slice(start..)), version);
                drop(answer);
            }
            let answer = M::read(&mut Reader::new([&whole[..whole.len() / 2], &pattern].concat()), version);
            drop(answer);
        }
    }
}

fn patterns() -> Vec<Bytes> {
    let repeated = |unit: &[u8]| Bytes::from(unit.repeat(4_096 / unit.len()));
    vec![
        repeated(&[0xff]),
        repeated(&[0x7f, 0xff, 0xff, 0xff]),
        repeated(&[0, 0, 0x03, 0xe8]),
        repeated(&[0x80, 0x80, 0x80, 0x80, 0x0f]),
        repeated(&[0x02]),
        repeated(&[0x01, 0x00]),
        repeated(&[0x00]),
    ]
}

macro_rules! survive {
    ($($name:ident),* $(,)?) => { $(survives::<$name>();)* };
}

#[test]
fn no_message_in_any_version_believes_what_a_stranger_announces() {
    limit_memory();
    millstream_protocol::every_message!(survive);
}

#[test]
fn a_header_of_any_bytes_has_an_answer() {
    limit_memory();
    for pattern in patterns() {
        for start in 0..16 {
            for length in 0..64 {
                let answer = read_request_header(&mut Reader::new(pattern.slice(start..start + length)));
                drop(answer);
            }
        }
    }
}
