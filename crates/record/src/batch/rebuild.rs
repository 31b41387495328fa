//! Writing a batch anew with another codec or with consecutive offsets, keeping everything else: what a
//! broker does when a topic's `compression.type` differs from the producer's, or an old client numbered
//! its records wrongly.

use bytes::Bytes;

use super::{BatchBuilder, BatchError, BatchOptions, RecordBatch};
use crate::compress::Compression;

/// The same records as `batch`, at offsets 0, 1, 2 … from its base offset.
pub fn rebuild(
    batch: &Bytes,
    compression: Compression,
    compression_level: Option<i32>,
    max_decompressed: usize,
) -> Result<Bytes, BatchError> {
    let RecordBatch { header, records } = RecordBatch::decode(batch, max_decompressed)?;
    let mut builder = BatchBuilder::new(BatchOptions {
        compression,
        compression_level,
        base_offset: header.base_offset(),
        leader_epoch: header.leader_epoch(),
        timestamp_type: header.attributes.timestamp_type(),
        producer: header.producer(),
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
    });
    for record in &records {
        builder.push(record);
    }
    Ok(builder.build())
}
