use super::*;
use proptest::prelude::*;

const MAX: usize = 1 << 20;

fn plain_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..2000),
        (proptest::collection::vec(any::<u8>(), 1..50), 1usize..4000)
            .prop_map(|(unit, times)| unit.repeat(times)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_packed_comes_back(plain in plain_bytes(), level in proptest::option::of(-3i32..25)) {
        for codec in Compression::ALL {
            let packed = compress(codec, level, &plain);
            prop_assert_eq!(&decompress(codec, &packed, plain.len()).unwrap(), &plain, "{}", codec);
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_or_bounded(plain in plain_bytes(), at: prop::sample::Index, flip in 1u8.., cut: prop::sample::Index) {
        for codec in Compression::ALL {
            let mut packed = compress(codec, None, &plain);
            packed.push(0);
            let at = at.index(packed.len());
            packed[at] ^= flip;
            packed.truncate(cut.index(packed.len() + 1));
            if let Ok(out) = decompress(codec, &packed, MAX) {
                prop_assert!(out.len() <= MAX);
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(packed in proptest::collection::vec(any::<u8>(), 0..400)) {
        for codec in Compression::ALL {
            let plain = decompress(codec, &packed, MAX).unwrap_or_default();
            prop_assert!(plain.len() <= MAX);
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let plain = vec![7u8; 8 << 20];
    for codec in Compression::ALL {
        let packed = compress(codec, None, &plain);
        for max in [0, 1, plain.len() - 1] {
            assert_eq!(decompress(codec, &packed, max), Err(CompressError::TooLarge { max }), "{codec}");
        }
        assert_eq!(decompress(codec, &packed, plain.len()).unwrap(), plain, "{codec}");
    }
}

#[test]
fn a_zstd_frame_of_unknown_size_is_read_into_a_growing_buffer_and_capped() {
    let plain = vec![1u8; 3 << 20];
    // A stream does not know its length when it writes the frame's head, as with Java's.
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    std::io::Write::write_all(&mut encoder, &plain).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(::zstd::zstd_safe::get_frame_content_size(&packed).ok().flatten(), None);
    assert_eq!(decompress(Compression::Zstd, &packed, plain.len()).unwrap(), plain);
    let max = plain.len() - 1;
    assert_eq!(decompress(Compression::Zstd, &packed, max), Err(CompressError::TooLarge { max }));
}

#[test]
fn a_zstd_frame_that_states_no_size_but_holds_something_is_refused() {
    // Magic; one segment of stated size 0; the last block, a byte repeated 100 times.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x23, 0x03, 0x00, b'a'];
    let error = decompress(Compression::Zstd, &frame, MAX).unwrap_err();
    assert!(matches!(error, CompressError::Corrupt { .. }), "{error}");
}

#[test]
fn raw_snappy_is_read_and_an_impossible_claim_is_refused() {
    let plain = b"the quick brown fox".repeat(100);
    let raw = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    assert_eq!(decompress(Compression::Snappy, &raw, MAX).unwrap(), plain);
    // A varint that claims 500 MiB in front of one byte.
    let claim = [0x80, 0x80, 0x80, 0xee, 0x01, 0x00];
    assert!(matches!(
        decompress(Compression::Snappy, &claim, usize::MAX),
        Err(CompressError::Corrupt { .. })
    ));
}

#[test]
fn several_frames_in_a_row_are_one_stream() {
    for codec in [Compression::Gzip, Compression::Zstd] {
        let packed = [compress(codec, None, b"one "), compress(codec, None, b"two")].concat();
        assert_eq!(decompress(codec, &packed, MAX).unwrap(), b"one two", "{codec}");
    }
}

#[test]
fn names_and_numbers_are_kafkas() {
    let names: Vec<_> = Compression::ALL.iter().map(|codec| (codec.id(), codec.name())).collect();
    assert_eq!(names, [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")]);
    assert_eq!(Compression::from_id(5), None);
    assert_eq!(Compression::from_name("ZSTD"), None);
}
