//! The floor: what is left of a broker when everything but the bytes is taken away. A process receives
//! frames, appends them to the partitions' files, flushes in rounds and acknowledges; or sends a file.
//! No broker that flushes can need less.
//!
//! A frame is a word and a length, four bytes each in big endian, and the bytes. The word is the partition
//! to append to, or with `READ` the partition whose file is asked for (then without bytes). An append is
//! answered with four bytes: how many of the connection's frames a flush round has made durable.

pub(crate) mod client;
pub(crate) mod server;

const READ: u32 = 1 << 31;
const HEADER_BYTES: usize = 8;
/// Of one frame; the header comes from our own client, but a length is a length.
const FRAME_BYTES_MAX: usize = 64 << 20;
