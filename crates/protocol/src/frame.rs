//! Whole frames: a length of four bytes, a header, a message. Written as segments, so that record bytes
//! are handed to the socket as they are.

use std::collections::VecDeque;

use bytes::Bytes;
use millstream_types::codec::{DecodeError, EncodeError, Message, Payload, Reader, Writer};

use crate::{
    ApiKey, Request, RequestHeader, ResponseHeader, request_header_version, response_header_version,
};

/// Room for what of most messages is not records, so that it need not be made again and again.
const ROOM: usize = 1024;

/// The segments of a request's frame, its length in front.
pub type Frame = VecDeque<Bytes>;
/// The same of a response, whose records may lie in files.
pub type ResponseFrame = VecDeque<Payload>;

pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Frame, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::KEY as i16,
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
        unknown_tagged_fields: Vec::new(),
    };
    let mut w = Writer::with_capacity(ROOM);
    header.write(&mut w, request_header_version(R::KEY, version))?;
    request.write(&mut w, version)?;
    Ok(with_length(w)?.into_iter().map(Payload::into_bytes).collect())
}

/// For the API of the request, which a response does not know.
pub fn encode_response<R: Message>(
    response: &R,
    key: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<ResponseFrame, EncodeError> {
    let header = ResponseHeader { correlation_id, ..Default::default() };
    let mut w = Writer::with_capacity(ROOM);
    header.write(&mut w, response_header_version(key, version))?;
    response.write(&mut w, version)?;
    with_length(w)
}

/// From a frame without its length: the correlation id and the answer to a request of `version`.
pub fn decode_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::read(&mut r, response_header_version(R::KEY, version))?;
    Ok((header.correlation_id, R::Response::read(&mut r, version)?))
}

fn with_length(w: Writer) -> Result<ResponseFrame, EncodeError> {
    const LIMIT: usize = i32::MAX as usize;
    let length = w.len();
    let announced = i32::try_from(length).map_err(|_| EncodeError::TooLong { length, limit: LIMIT })?;
    let mut segments = VecDeque::from(w.into_segments());
    segments.push_front(Bytes::copy_from_slice(&announced.to_be_bytes()).into());
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        messages::{ApiVersionsRequest, ApiVersionsResponse, produce_request::*},
        read_request_header,
    };

    fn without_length(frame: Frame) -> Bytes {
        let joined = frame.into_iter().collect::<Vec<_>>().concat();
        let announced = i32::from_be_bytes(joined[..4].try_into().unwrap());
        assert_eq!(announced as usize, joined.len() - 4);
        Bytes::from(joined).slice(4..)
    }

    #[test]
    fn a_request_comes_back_with_its_header() {
        let request =
            ApiVersionsRequest { client_software_name: "millstream".to_owned(), ..Default::default() };
        let frame = encode_request(&request, 3, 42, None).unwrap();
        let mut r = Reader::new(without_length(frame));
        let (key, header) = read_request_header(&mut r).unwrap();
        assert_eq!((key, header.correlation_id, header.client_id), (ApiKey::ApiVersions, 42, None));
        assert_eq!(ApiVersionsRequest::read(&mut r, 3), Ok(request));
        assert!(r.is_empty());
    }

    #[test]
    fn a_response_comes_back_with_its_correlation_id() {
        let response = ApiVersionsResponse { throttle_time_ms: 5, ..Default::default() };
        let frame = encode_response(&response, ApiKey::ApiVersions, 4, 42).unwrap();
        let frame = frame.into_iter().map(Payload::into_bytes).collect();
        let read = decode_response::<ApiVersionsRequest>(without_length(frame), 4);
        assert_eq!(read, Ok((42, response)));
    }

    #[test]
    fn record_bytes_are_a_segment_of_their_own() {
        let records = Bytes::from(vec![1; 4096]);
        let partition = PartitionProduceData { records: Some(records.clone().into()), ..Default::default() };
        let topic = TopicProduceData { partition_data: vec![partition], ..Default::default() };
        let request = ProduceRequest { topic_data: vec![topic], ..Default::default() };
        let frame = encode_request(&request, 9, 1, None).unwrap();
        assert_eq!(frame.len(), 4, "length, head, records, tail");
        assert_eq!(frame[2].as_ptr(), records.as_ptr());
    }
}
