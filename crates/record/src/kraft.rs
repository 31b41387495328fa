//! The metadata log's records: the frame that stands as a record's value, and what is in it.
//! `MetadataRecordSerde.java`, `AbstractApiMessageSerde.java`; KIP-631.
//!
//! A frame is its own version, the record's type and the type's version, each an unsigned varint, then the
//! body.

use bytes::Bytes;
use millstream_types::codec::{DecodeError, DecodeErrorKind, EncodeError, Reader, Writer};

pub use crate::messages::kraft::MetadataRecord;

const FRAME_VERSION: u32 = 1;

pub fn encode(record: &MetadataRecord, version: i16) -> Result<Bytes, EncodeError> {
    let unsupported = || EncodeError::UnsupportedVersion { message: record.name(), version };
    let mut w = Writer::new();
    w.uvarint(FRAME_VERSION);
    w.uvarint(u32::from(record.api_key().unsigned_abs()));
    w.uvarint(u32::try_from(version).map_err(|_| unsupported())?);
    record.write(&mut w, version)?;
    Ok(w.into_bytes())
}

/// The record and its version. Bytes behind it are an error, as in Kafka.
pub fn decode(frame: Bytes) -> Result<(MetadataRecord, i16), DecodeError> {
    let mut r = Reader::new(frame);
    let frame_version = r.uvarint()?;
    if frame_version != FRAME_VERSION {
        return Err(unknown(&r, "metadata frame version", frame_version));
    }
    let api_key = r.uvarint()?;
    let version = r.uvarint()?;
    let version = i16::try_from(version).map_err(|_| unknown(&r, "metadata record version", version))?;
    let record = MetadataRecord::read(&mut r, api_key, version)?;
    match r.remaining() {
        0 => Ok((record, version)),
        left => Err(r.error(DecodeErrorKind::TrailingBytes { left })),
    }
}

fn unknown(r: &Reader, what: &'static str, value: u32) -> DecodeError {
    r.error(DecodeErrorKind::UnknownValue { what, value: value.into() })
}

#[cfg(test)]
mod tests {
    use millstream_types::Uuid;

    use super::*;
    use crate::messages::{FeatureLevelRecord, TopicRecord};

    #[test]
    fn a_frame_has_three_varints_in_front() {
        let record = TopicRecord { name: "t".to_owned(), topic_id: Uuid(7), ..Default::default() };
        let bytes = encode(&record.clone().into(), 0).unwrap();
        assert_eq!(bytes[..5], [1, 2, 0, 2, b't']);
        assert_eq!(decode(bytes), Ok((record.into(), 0)));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let error = |bytes: &'static [u8]| decode(Bytes::from_static(bytes)).unwrap_err().kind;
        let value = |what, value| DecodeErrorKind::UnknownValue { what, value };
        assert_eq!(error(&[2]), value("metadata frame version", 2));
        assert_eq!(error(&[1, 6, 0]), value("metadata record type", 6));
        assert_eq!(error(&[1, 2, 0xff, 0xff, 0x7f]), value("metadata record version", 2_097_151));
        let unsupported = DecodeErrorKind::UnsupportedVersion { message: "TopicRecord", version: 9 };
        assert_eq!(error(&[1, 2, 9]), unsupported);
    }

    #[test]
    fn bytes_behind_a_record_are_refused() {
        let mut bytes = encode(&FeatureLevelRecord::default().into(), 0).unwrap().to_vec();
        bytes.push(0);
        assert_eq!(decode(bytes.into()).unwrap_err().kind, DecodeErrorKind::TrailingBytes { left: 1 });
    }
}
