//! The header in front of every request and response. `RequestHeader.java`, `ApiMessageType.java`.

use millstream_types::codec::{DecodeError, Reader};

use crate::messages::{ApiKey, RequestHeader};

/// Why a request's header cannot be understood. Kafka closes the connection in each case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("there is no API with key {key} (version {version} was asked for)")]
    UnknownApi { key: i16, version: i16 },
    #[error(transparent)]
    Malformed(#[from] DecodeError),
}

/// The version of the header in front of a request. It is defined for versions of the API that the codec
/// does not know, because a client asks for ApiVersions in the newest version that it knows itself.
pub fn request_header_version(key: ApiKey, version: i16) -> i16 {
    if key.is_flexible(version) { 2 } else { 1 }
}

/// The version of the header in front of a response. That of ApiVersions never changes, so that a client
/// can read it before it knows what the broker speaks.
pub fn response_header_version(key: ApiKey, version: i16) -> i16 {
    if key != ApiKey::ApiVersions && key.is_flexible(version) { 1 } else { 0 }
}

/// Reads the header of a request in whichever version it has, and leaves the body in the reader. Whether
/// the version of the API is served is the caller's question.
pub fn read_request_header(r: &mut Reader) -> Result<(ApiKey, RequestHeader), HeaderError> {
    let mut peek = r.clone();
    let (key, version) = (peek.i16()?, peek.i16()?);
    let api = ApiKey::try_from(key).map_err(|()| HeaderError::UnknownApi { key, version })?;
    let header = RequestHeader::read(r, request_header_version(api, version))?;
    Ok((api, header))
}

impl TryFrom<i16> for ApiKey {
    type Error = ();

    fn try_from(key: i16) -> Result<Self, Self::Error> {
        let index = Self::ALL.binary_search_by_key(&key, |&api| api as i16);
        index.map(|index| Self::ALL[index]).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use millstream_types::codec::Writer;

    use super::*;

    fn header(version: i16, header: &RequestHeader) -> Reader {
        let mut w = Writer::new();
        header.write(&mut w, version).unwrap();
        Reader::new(w.into_bytes())
    }

    #[test]
    fn header_versions_are_kafkas() {
        assert_eq!(request_header_version(ApiKey::Produce, 8), 1);
        assert_eq!(request_header_version(ApiKey::Produce, 9), 2);
        assert_eq!(response_header_version(ApiKey::Produce, 8), 0);
        assert_eq!(response_header_version(ApiKey::Produce, 9), 1);
        assert_eq!(request_header_version(ApiKey::SaslHandshake, 1), 1);
        assert_eq!(request_header_version(ApiKey::ApiVersions, 3), 2);
        assert_eq!(response_header_version(ApiKey::ApiVersions, 4), 0);
    }

    #[test]
    fn a_header_is_read_in_the_version_its_api_says() {
        for (version, header_version) in [(2, 1), (3, 2), (99, 2)] {
            let sent = RequestHeader {
                request_api_key: 18,
                request_api_version: version,
                correlation_id: 7,
                client_id: Some("me".to_owned()),
                unknown_tagged_fields: Vec::new(),
            };
            let read = read_request_header(&mut header(header_version, &sent));
            assert_eq!(read, Ok((ApiKey::ApiVersions, sent)));
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let sent = RequestHeader { request_api_key: 4, request_api_version: 1, ..Default::default() };
        let read = read_request_header(&mut header(1, &sent));
        assert_eq!(read, Err(HeaderError::UnknownApi { key: 4, version: 1 }));
        assert!(matches!(read_request_header(&mut Reader::new(vec![0])), Err(HeaderError::Malformed(_))));
    }

    #[test]
    fn every_key_comes_back_from_its_number() {
        for &key in ApiKey::ALL {
            assert_eq!(ApiKey::try_from(key as i16), Ok(key));
        }
        assert_eq!(ApiKey::try_from(-1), Err(()));
    }
}
