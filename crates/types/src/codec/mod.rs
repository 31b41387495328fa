//! Kafka's primitive wire types, read and written within bounds. Everything that is generated from the
//! schema tables stands on these two: [`Reader`] and [`Writer`].
//!
//! Must not know any message. Sources: Kafka's protocol guide, KIP-482 (compact forms, tagged fields),
//! `org.apache.kafka.common.protocol.{Readable, Writable, ByteBufferAccessor}`.
//!
//! Invariants: a length is compared with the bytes left before anything is allocated or sliced; no input
//! panics; reading never copies byte fields, writing never copies large ones and never reads files.

mod error;
mod payload;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use payload::{FileSlice, Payload};
pub use reader::Reader;
pub use writer::{TaggedFields, Writer};

/// More elements than this in one array are refused, as Kafka does from 4.4 on.
pub const ARRAY_ELEMENTS_MAX: usize = 1_000_000;
/// More fields than this in one tagged section are refused, as Kafka does from 4.4 on.
pub const TAGGED_FIELDS_MAX: usize = 10_000;
/// Room for at most so many elements is made before the first of them has been read.
pub const FIRST_ALLOCATION_ELEMENTS_MAX: usize = 1_000;
/// The longest string in bytes, in the compact form too.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A message of Kafka's with its versions.
pub trait Message: Sized {
    /// As Kafka spells it: `ProduceRequest`.
    const NAME: &'static str;
    /// The oldest version that can be read and written.
    const MIN_VERSION: i16;
    /// The newest stable version.
    const MAX_VERSION: i16;
    /// The newest version that can be read and written: above [`Self::MAX_VERSION`] they are unstable.
    const LATEST_VERSION: i16 = Self::MAX_VERSION;

    /// Whether this version has compact lengths and tagged fields.
    fn is_flexible(version: i16) -> bool;

    /// Reads one message; bytes behind it stay in the reader.
    fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Refuses what this version cannot carry, unless Kafka lets the field be ignored.
    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError>;
}
