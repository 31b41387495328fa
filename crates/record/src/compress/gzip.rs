//! gzip: one member as Kafka writes it; several in a row are read as Java reads them.

use std::io::{self, Read, Write};

use flate2::{Compression as Level, read::MultiGzDecoder, write::GzEncoder};

use super::{CompressError, Compression, read_bounded};

const LEVEL_DEFAULT: u32 = 6;

pub(super) fn pack(level: Option<i32>, plain: &mut dyn Read, packed: &mut dyn Write) -> io::Result<()> {
    // -1 is Kafka's spelling of the default.
    let level =
        level.filter(|&level| level != -1).map_or(LEVEL_DEFAULT, |level| level.clamp(1, 9).unsigned_abs());
    let mut encoder = GzEncoder::new(packed, Level::new(level));
    io::copy(plain, &mut encoder)?;
    encoder.try_finish()
}

pub(super) fn decompress(packed: &[u8], max: usize, plain: &mut Vec<u8>) -> Result<(), CompressError> {
    read_bounded(Compression::Gzip, reader(packed), max, plain)
}

pub(super) fn reader(packed: &[u8]) -> impl Read {
    MultiGzDecoder::new(packed)
}
