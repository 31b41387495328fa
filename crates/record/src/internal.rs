//! Keys and values of the internal topics (`__consumer_offsets`, `__transaction_state`,
//! `__share_group_state`) and of the blobs that consumers exchange: a version of two bytes, then the
//! message. `MessageUtil.toVersionPrefixedBytes`.
//!
//! In a key the number in front is the record's type, and its layout has version 0: that is how
//! `CoordinatorRecordSerde` tells the types of one topic apart.

use bytes::Bytes;
use millstream_types::codec::{DecodeError, EncodeError, Message, Reader, Writer};

/// A value, or a blob of the consumer protocol: its version in front.
pub fn encode_versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    encode_prefixed(version, message, version)
}

/// A key: its record type in front, the layout always version 0.
pub fn encode_key<M: Message>(record_type: i16, key: &M) -> Result<Bytes, EncodeError> {
    encode_prefixed(record_type, key, 0)
}

/// Takes the number in front: a value's version, a key's record type.
pub fn decode_version(r: &mut Reader) -> Result<i16, DecodeError> {
    r.i16()
}

/// A value in whichever version it has. Bytes behind it are ignored, as in Kafka.
pub fn decode_versioned<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let mut r = Reader::new(bytes);
    let version = decode_version(&mut r)?;
    M::read(&mut r, version)
}

fn encode_prefixed<M: Message>(prefix: i16, message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::new();
    w.i16(prefix);
    message.write(&mut w, version)?;
    Ok(w.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{OffsetCommitKey, OffsetCommitValue};

    #[test]
    fn a_key_has_its_record_type_in_front() {
        let key = OffsetCommitKey { group: "g".to_owned(), topic: "t".to_owned(), partition: 3 };
        let bytes = encode_key(1, &key).unwrap();
        assert_eq!(bytes[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
        let mut r = Reader::new(bytes);
        assert_eq!(decode_version(&mut r), Ok(1));
        assert_eq!(OffsetCommitKey::read(&mut r, 0), Ok(key));
    }

    #[test]
    fn a_value_comes_back_in_the_version_it_was_written_in() {
        let value = OffsetCommitValue { offset: 5, metadata: "m".to_owned(), ..Default::default() };
        for version in [0, 3, 4] {
            let bytes = encode_versioned(&value, version).unwrap();
            assert_eq!(bytes[..2], version.to_be_bytes());
            assert_eq!(decode_versioned::<OffsetCommitValue>(bytes), Ok(value.clone()));
        }
    }

    fn survives<M: Message + Default>() {
        for version in M::MIN_VERSION..=M::LATEST_VERSION {
            let mut w = Writer::new();
            M::default().write(&mut w, version).unwrap();
            let whole = w.into_bytes();
            for length in 0..whole.len() {
                let cut = M::read(&mut Reader::new(whole.slice(..length)), version);
                assert!(cut.is_err(), "{} v{version} is complete after {length} bytes", M::NAME);
            }
            for unit in
                [&[0xff][..], &[0x7f, 0xff, 0xff, 0xff], &[0x80, 0x80, 0x80, 0x80, 0x0f], &[2], &[1, 0]]
            {
                let lie = [&whole[..whole.len() / 2], &unit.repeat(1_000 / unit.len())].concat();
                let answer = M::read(&mut Reader::new(lie), version);
                drop(answer);
            }
        }
    }

    macro_rules! survive {
        ($($name:ident),* $(,)?) => { $(survives::<crate::messages::$name>();)* };
    }

    #[test]
    fn a_stored_message_that_was_cut_or_made_up_is_an_error_and_not_a_panic() {
        crate::every_message!(survive);
    }
}
