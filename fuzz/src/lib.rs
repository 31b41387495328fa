//! What the fuzz targets have in common: a table of all messages, and what must hold of any bytes.
//!
//! A target's input for one message is its number in the table, the version (two bytes each), the body.
//! That of `requests` is what stands in a frame.

mod files;

pub use files::{CLEAN_SHUTDOWN, KAFKA_FILES, seal, seal_batches, whole_batches};

use bytes::Bytes;
use millstream_protocol::{messages::RequestHeader, read_request_header, request_header_version};
use millstream_types::codec::{EncodeError, Message, Reader, Writer};

/// One message type, without its Rust type.
pub struct Codec {
    pub name: &'static str,
    try_bytes: fn(Reader, i16),
}

impl Codec {
    fn of<M: Message>() -> Self {
        Self { name: M::NAME, try_bytes: try_bytes::<M> }
    }
}

/// Whatever can be read can be written, and then read to the same bytes.
fn try_bytes<M: Message>(mut r: Reader, version: i16) {
    let Ok(message) = M::read(&mut r, version) else { return };
    let mut w = Writer::new();
    match message.write(&mut w, version) {
        Ok(()) => {}
        // Kafka too reads unknown tags that are there twice or out of order, and does not write them.
        Err(EncodeError::TagOrder { .. }) => return,
        // A string that was not UTF-8 grows when it is mended.
        Err(EncodeError::TooLong { .. }) => return,
        Err(error) => panic!("{} v{version} was read and cannot be written: {error}", M::NAME),
    }
    let first = w.into_bytes();
    let mut r = Reader::new(first.clone());
    let again = M::read(&mut r, version).unwrap_or_else(|e| panic!("{} v{version}: {e}", M::NAME));
    assert!(r.is_empty(), "{} v{version}: bytes are left", M::NAME);
    let mut w = Writer::new();
    again.write(&mut w, version).unwrap_or_else(|e| panic!("{} v{version}: {e}", M::NAME));
    assert_eq!(first, w.into_bytes(), "{} v{version}", M::NAME);
}

macro_rules! protocol_codecs {
    ($($name:ident),* $(,)?) => { &[$((millstream_protocol::messages::$name::NAME, || Codec::of::<millstream_protocol::messages::$name>())),*] };
}

macro_rules! record_codecs {
    ($($name:ident),* $(,)?) => { &[$((millstream_record::messages::$name::NAME, || Codec::of::<millstream_record::messages::$name>())),*] };
}

type Table = &'static [(&'static str, fn() -> Codec)];

static PROTOCOL: Table = millstream_protocol::every_message!(protocol_codecs);
static STORED: Table = millstream_record::every_message!(record_codecs);

fn with_suffix(suffix: &str) -> Vec<Codec> {
    PROTOCOL.iter().filter(|(name, _)| name.ends_with(suffix)).map(|(_, codec)| codec()).collect()
}

/// In the order of their keys.
pub fn requests() -> Vec<Codec> {
    with_suffix("Request")
}

pub fn responses() -> Vec<Codec> {
    with_suffix("Response")
}

/// KRaft records, coordinators' keys and values, and the rest of what lies on disk.
pub fn stored() -> Vec<Codec> {
    STORED.iter().map(|(_, codec)| codec()).collect()
}

/// What stands in a frame: the header tells which request follows.
pub fn try_frame(frame: &[u8], requests: &[Codec]) {
    let mut r = Reader::new(Bytes::copy_from_slice(frame));
    let Ok((key, header)) = read_request_header(&mut r) else { return };
    let wanted = format!("{}Request", key.name());
    let codec = requests.iter().find(|c| c.name == wanted).expect("every key has a request");
    (codec.try_bytes)(r, header.request_api_version);
}

/// The input of a target for one message out of `codecs`.
pub fn try_numbered(input: &[u8], codecs: &[Codec]) {
    let mut r = Reader::new(Bytes::copy_from_slice(input));
    let (Ok(number), Ok(version)) = (r.u16(), r.i16()) else { return };
    if let Some(codec) = codecs.get(usize::from(number)) {
        (codec.try_bytes)(r, version);
    }
}

/// The inputs that make a target try `body` as message `name`, with the target's name.
pub fn seed(name: &str, version: i16, body: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let mut w = Writer::new();
    let target = if let Some(key) =
        millstream_protocol::ApiKey::ALL.iter().find(|k| format!("{}Request", k.name()) == name)
    {
        let header = RequestHeader {
            request_api_key: *key as i16,
            request_api_version: version,
            client_id: Some("seed".to_owned()),
            ..Default::default()
        };
        header.write(&mut w, request_header_version(*key, version)).ok()?;
        "requests"
    } else {
        let find = |codecs: Vec<Codec>| codecs.iter().position(|c| c.name == name);
        let (target, number) = match (find(responses()), find(stored())) {
            (Some(number), _) => ("responses", number),
            (None, Some(number)) => ("stored", number),
            (None, None) => return None,
        };
        w.u16(u16::try_from(number).ok()?);
        w.i16(version);
        target
    };
    w.put_slice(body);
    Some((target, w.into_bytes().to_vec()))
}
