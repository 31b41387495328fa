//! Record batches, format v2 (`DefaultRecordBatch`, `DefaultRecord`; KIP-98): what Produce carries, what
//! a segment holds and what Fetch returns, byte for byte the same.
//!
//! [`BatchHeader`] reads the 61 bytes before the records; [`batches`] walks batches laid end to end;
//! [`RecordBatch::decode`] and [`records`] open one, [`walk`] does not; [`validate`] judges one that a client sent;
//! [`BatchBuilder`] makes one; the `set_…` functions change one in place.
//!
//! Magic 0 and 1 do not exist here: brokers since Kafka 4.0 neither accept nor serve them.

mod builder;
mod decode;
mod edit;
mod header;
mod iter;
mod rebuild;
mod validate;
mod walk;

pub use builder::{BatchBuilder, BatchOptions, ProducerInfo};
pub use decode::{
    Header, HeaderRef, HeaderRefs, Record, RecordBatch, RecordFault, RecordRef, RecordRefs, records,
};
pub use edit::{
    recompute_crc, set_base_offset, set_leader_epoch, set_log_append_time, set_max_timestamp, set_producer,
};
pub use header::{Attributes, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, TimestampType};
pub use iter::{BatchView, Batches, batches};
pub use rebuild::{Recompressed, rebuild, recompress};
pub use validate::{RecordError, RecordRules, Rejection, TimestampRange, ValidBatch, validate};
pub use walk::{RecordHead, walk};

use crate::compress::CompressError;

/// Why bytes are not a record batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("record batch is cut short: it needs {needed} bytes, {found} are there")]
    Truncated { needed: usize, found: usize },
    #[error("record batch length {0} is smaller than its header")]
    TooSmall(i32),
    #[error("record batch has magic {0}; only 2 is supported")]
    Magic(i8),
    #[error("record batch is corrupt: stored crc {stored}, computed crc {computed}")]
    Crc { stored: u32, computed: u32 },
    #[error("record batch names compression type {0}, which does not exist")]
    CompressionType(u8),
    #[error(transparent)]
    Compress(#[from] CompressError),
    #[error("record batch claims {0} records, more than its bytes can hold or fewer than none")]
    Count(i32),
    #[error("record {index} of the batch is malformed: {fault}")]
    Record { index: usize, fault: RecordFault },
    #[error("{0} bytes are left after the batch's last record")]
    TrailingBytes(usize),
}

#[cfg(test)]
mod tests;
