//! Records as the batches of the metadata log.

use bytes::Bytes;
use millstream_record::{BatchBuilder, BatchOptions, kraft::MetadataRecord};
use millstream_types::{LeaderEpoch, Offset, TimestampMs, codec::EncodeError};

use crate::version;

/// The most records in one batch, and so in one atomic change; `QuorumController.MAX_RECORDS_PER_USER_OP`.
pub const RECORDS_MAX: usize = 10_000;

/// One batch at an offset; what it says happens wholly or not at all.
pub(crate) fn encode_batch(
    records: &[MetadataRecord],
    base_offset: Offset,
    epoch: LeaderEpoch,
    now: TimestampMs,
    metadata_version: i16,
) -> Result<Bytes, EncodeError> {
    let options = BatchOptions { base_offset, leader_epoch: Some(epoch), ..BatchOptions::default() };
    let mut batch = BatchBuilder::new(options);
    for record in records {
        let frame = version::encode(record, metadata_version)?;
        batch.append(now, None, Some(&frame), &[]);
    }
    Ok(batch.build())
}
