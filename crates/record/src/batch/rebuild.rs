//! Writing a batch anew with another codec or with consecutive offsets, keeping everything else: what a
//! broker does when a topic's `compression.type` differs from the producer's, or an old client numbered
//! its records wrongly.

use std::io::{self, Write};

use bytes::Bytes;

use super::{
    Attributes, BatchBuilder, BatchError, BatchHeader, BatchOptions, HEADER_BYTES, RecordBatch,
    header::{ATTRIBUTES_AT, LENGTH_AT},
    recompute_crc,
    walk::OPENED_BYTES_MAX,
};
use crate::compress::{self, CompressError, Compression};

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

/// A batch with another codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recompressed {
    Batch(Bytes),
    /// It would be of so many bytes, more than were allowed; they were not kept.
    TooLarge(usize),
}

/// The same records in another codec, byte for byte. Of what opens to more than a megabyte only a window is in
/// memory.
pub fn recompress(
    batch: &[u8],
    compression: Compression,
    compression_level: Option<i32>,
    max_decompressed: usize,
    max_bytes: usize,
) -> Result<Recompressed, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let (codec, stored) = (header.attributes.compression()?, &batch[HEADER_BYTES..]);
    let mut out = Bounded { bytes: batch[..HEADER_BYTES].to_vec(), size: HEADER_BYTES, max: max_bytes };
    let opened_max = max_decompressed.min(OPENED_BYTES_MAX);
    match compress::decompress(codec, stored, opened_max) {
        Ok(plain) => {
            compress::compress_into(compression, compression_level, &plain, &mut out.bytes);
            out.size = out.bytes.len();
        }
        Err(CompressError::TooLarge { .. }) if opened_max < max_decompressed => {
            compress::repack(codec, stored, max_decompressed, compression, compression_level, &mut out)?;
        }
        Err(error) => return Err(error.into()),
    }
    let Bounded { mut bytes, size, max } = out;
    let length = i32::try_from(size - super::LENGTH_PREFIX_BYTES);
    let Ok(length) = length.map_err(drop).and_then(|length| if size > max { Err(()) } else { Ok(length) })
    else {
        return Ok(Recompressed::TooLarge(size));
    };
    bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    let attributes: Attributes = header.attributes.with_compression(compression);
    bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.0.to_be_bytes());
    recompute_crc(&mut bytes);
    Ok(Recompressed::Batch(Bytes::from(bytes)))
}

/// Keeps what is written up to a limit, and counts the rest.
struct Bounded {
    bytes: Vec<u8>,
    size: usize,
    max: usize,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.size += more.len();
        if self.size <= self.max {
            self.bytes.extend_from_slice(more);
        }
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
