//! Kafka's wire protocol: what requests and responses say in each of their versions, the headers in
//! front of them, the frame around them.
//!
//! Knows no sockets and no meaning: it turns bytes into messages and back, bounded as
//! `millstream_types::codec` describes. The messages are generated from our own tables (`xtask/schemas`),
//! which follow Apache Kafka 4.3.1; `cargo xtask compare-schemas` compares them with Kafka's jars.

mod api_versions;
mod frame;
mod header;
pub mod messages;

pub use api_versions::{KAFKA_VERSION, api_versions, offered_versions};
pub use frame::{Frame, ResponseFrame, decode_response, encode_request, encode_response};
pub use header::{HeaderError, read_request_header, request_header_version, response_header_version};
pub use messages::{ApiKey, RequestHeader, ResponseHeader};

use millstream_types::codec::Message;

/// A request knows its API and what answers it.
pub trait Request: Message {
    const KEY: ApiKey;
    type Response: Message;
}

/// What every generated file uses.
mod wire {
    pub(crate) use bytes::Bytes;
    pub(crate) use millstream_types::{
        Uuid,
        codec::{DecodeError, EncodeError, Message, Payload, Reader, TaggedFields, Writer},
    };
}
