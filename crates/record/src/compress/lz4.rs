//! lz4 frames. Java's reader refuses blocks that depend on earlier ones, so blocks are independent, of
//! 64 KiB, without checksums, as Kafka's own writer makes them (`Lz4BlockOutputStream`).

use std::io::{self, BufRead, Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{CompressError, Compression};

pub(super) fn pack(plain: &mut dyn Read, packed: &mut dyn Write) -> io::Result<()> {
    let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(frame, packed);
    io::copy(plain, &mut encoder)?;
    Ok(encoder.try_finish()?)
}

/// Block by block out of the decoder's own buffer: to read into `plain` would be to clear it first.
pub(super) fn decompress(packed: &[u8], max: usize, plain: &mut Vec<u8>) -> Result<(), CompressError> {
    let mut decoder = FrameDecoder::new(packed);
    loop {
        let block = decoder.fill_buf().map_err(|error| Compression::Lz4.corrupt(error))?;
        if block.is_empty() {
            return Ok(());
        }
        if block.len() > max - plain.len() {
            return Err(CompressError::TooLarge { max });
        }
        plain.extend_from_slice(block);
        let used = block.len();
        decoder.consume(used);
    }
}

pub(super) fn reader(packed: &[u8]) -> impl Read {
    FrameDecoder::new(packed)
}
