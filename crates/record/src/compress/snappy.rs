//! snappy in the framing of xerial's Java library: a header of 16 bytes, then blocks of at most 32 KiB of
//! plain bytes, each behind its packed length. Read, too, without the framing: librdkafka sends one raw
//! snappy block.

use std::io::{self, Read, Write};

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::{CompressError, Compression};

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version, and the oldest version that can read it.
const FRAME_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const BLOCK_BYTES: usize = 32 << 10;
/// The longest copy makes 64 bytes of 3, so no block can truly grow more than this.
const EXPANSION_MAX: usize = 22;

pub(super) fn pack(plain: &mut dyn Read, packed: &mut dyn Write) -> io::Result<()> {
    packed.write_all(&FRAME_HEADER)?;
    let (mut encoder, mut block, mut out) = (Encoder::new(), Vec::with_capacity(BLOCK_BYTES), Vec::new());
    while plain.take(BLOCK_BYTES as u64).read_to_end(&mut block)? > 0 {
        out.resize(max_compress_len(block.len()), 0);
        let written = encoder.compress(&block, &mut out).expect("the buffer is of snappy's own bound");
        let length = i32::try_from(written).expect("a block of 32 KiB packs into less than 2 GiB");
        packed.write_all(&length.to_be_bytes())?;
        packed.write_all(&out[..written])?;
        block.clear();
    }
    Ok(())
}

pub(super) fn decompress(packed: &[u8], max: usize, plain: &mut Vec<u8>) -> Result<(), CompressError> {
    let mut blocks = Blocks::new(packed)?;
    while let Some(block) = blocks.next()? {
        decompress_block(block, max, plain)?;
    }
    Ok(())
}

/// The plain bytes; a block of them is in memory.
pub(super) fn reader(packed: &[u8]) -> Result<impl Read, CompressError> {
    Ok(Reader { blocks: Blocks::new(packed)?, plain: Vec::new(), used: 0 })
}

struct Reader<'a> {
    blocks: Blocks<'a>,
    plain: Vec<u8>,
    used: usize,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.used == self.plain.len() {
            let Some(block) = self.blocks.next().map_err(io::Error::other)? else { return Ok(0) };
            self.plain.clear();
            self.used = 0;
            decompress_block(block, usize::MAX, &mut self.plain).map_err(io::Error::other)?;
        }
        let count = (&self.plain[self.used..]).read(buffer)?;
        self.used += count;
        Ok(count)
    }
}

/// The packed blocks of the framing, or a single one without it.
struct Blocks<'a> {
    rest: &'a [u8],
    framed: bool,
}

impl<'a> Blocks<'a> {
    fn new(packed: &'a [u8]) -> Result<Self, CompressError> {
        let framed = packed.starts_with(&MAGIC);
        let rest = if framed { packed.get(FRAME_HEADER.len()..) } else { Some(packed) };
        let rest = rest.ok_or_else(|| Compression::Snappy.corrupt("header cut short"))?;
        if rest.is_empty() && !framed {
            return Err(Compression::Snappy.corrupt("no block"));
        }
        Ok(Self { rest, framed })
    }

    fn next(&mut self) -> Result<Option<&'a [u8]>, CompressError> {
        if self.rest.is_empty() || !self.framed {
            return Ok(Some(std::mem::take(&mut self.rest)).filter(|block| !block.is_empty()));
        }
        let (length, tail) =
            self.rest.split_first_chunk().ok_or_else(|| Compression::Snappy.corrupt("length cut short"))?;
        let length = i32::from_be_bytes(*length);
        let block = usize::try_from(length).ok().and_then(|length| tail.split_at_checked(length));
        let (block, tail) = block.ok_or_else(|| {
            Compression::Snappy.corrupt(format!("block of {length} bytes, {} left", tail.len()))
        })?;
        self.rest = tail;
        Ok(Some(block))
    }
}

/// Appends one raw block's plain bytes.
fn decompress_block(block: &[u8], max: usize, plain: &mut Vec<u8>) -> Result<(), CompressError> {
    let length = decompress_len(block).map_err(|error| Compression::Snappy.corrupt(error))?;
    if length > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(Compression::Snappy.corrupt(format!("block of {} bytes claims {length}", block.len())));
    }
    let start = plain.len();
    if length > max.saturating_sub(start) {
        return Err(CompressError::TooLarge { max });
    }
    plain.resize(start + length, 0);
    let written = Decoder::new().decompress(block, &mut plain[start..]);
    written.map(|_| ()).map_err(|error| Compression::Snappy.corrupt(error))
}
