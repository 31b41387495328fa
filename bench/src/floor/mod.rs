//! The floor: what is left of a broker when everything but the bytes is taken away. A process receives
//! frames, appends them to the partitions' files, flushes in rounds and acknowledges; or sends files.
//! No broker that flushes can need less.
//!
//! A frame is a word and a length, four bytes each in big endian, and the bytes. The word is the partition
//! to append the bytes to; an append is answered with four bytes: how many of the connection's frames a
//! flush round has made durable. Or the word is `READ`, and the bytes are positions, each a partition (four
//! bytes) and where to begin in its file (eight); the answer has for each a length (four bytes) and as many
//! bytes of the file, `CHUNK_BYTES_MAX` at most. That is the shape of a fetch response.

pub(crate) mod client;
pub(crate) mod server;

pub(crate) const HEADER_BYTES: usize = 8;
const READ: u32 = u32::MAX;
const POSITION_BYTES: usize = 12;
/// librdkafka's `fetch.message.max.bytes`.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// librdkafka's `fetch.max.bytes`.
const ANSWER_BYTES_MAX: usize = 50 << 20;
/// Of one frame; the header comes from our own client, but a length is a length.
const FRAME_BYTES_MAX: usize = 64 << 20;
