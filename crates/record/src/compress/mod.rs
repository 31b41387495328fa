//! The five codecs of a record batch (`CompressionType`; KIP-110, KIP-390), in the framing that Kafka's
//! clients read and write.
//!
//! Decompression writes at most `max` bytes, whatever the input claims, and reserves memory in proportion
//! to what it has been given.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use std::io::{self, Read, Write};

/// How a batch's records are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    #[error("records decompress to more than {max} bytes")]
    TooLarge { max: usize },
    #[error("records need a window of more than {max} bytes to be decompressed")]
    Window { max: usize },
    #[error("records are not valid {codec}: {reason}")]
    Corrupt { codec: Compression, reason: String },
}

impl Compression {
    pub const ALL: [Compression; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// As `compression.type` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }

    pub(crate) fn corrupt(self, reason: impl ToString) -> CompressError {
        CompressError::Corrupt { codec: self, reason: reason.to_string() }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

pub fn compress(codec: Compression, level: Option<i32>, plain: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    compress_into(codec, level, plain, &mut packed);
    packed
}

/// Appends the packed form of `plain`. `level` is the codec's own (`compression.gzip.level`,
/// `compression.zstd.level`); snappy has none, and lz4's is accepted without effect, for its encoder here
/// has one speed. Levels outside the codec's range are taken as the nearest inside.
pub fn compress_into(codec: Compression, level: Option<i32>, plain: &[u8], packed: &mut Vec<u8>) {
    match codec {
        Compression::None => packed.extend_from_slice(plain),
        Compression::Zstd => zstd::compress(level, plain, packed),
        _ => pack(codec, level, &mut &*plain, packed).expect("a Vec takes every write"),
    }
}

/// The same for plain bytes that come one after the other. Fails only if reading or writing does.
fn pack(
    codec: Compression,
    level: Option<i32>,
    plain: &mut dyn Read,
    packed: &mut dyn Write,
) -> io::Result<()> {
    match codec {
        Compression::None => io::copy(plain, packed).map(drop),
        Compression::Gzip => gzip::pack(level, plain, packed),
        Compression::Snappy => snappy::pack(plain, packed),
        Compression::Lz4 => lz4::pack(plain, packed),
        Compression::Zstd => zstd::pack(level, plain, packed),
    }
}

/// From one codec to another; of the plain bytes, `max` at most, only a window is in memory. `out` must take
/// every write.
pub(crate) fn repack(
    from: Compression,
    packed: &[u8],
    max: usize,
    to: Compression,
    level: Option<i32>,
    out: &mut dyn Write,
) -> Result<(), CompressError> {
    let mut plain = reader(from, packed)?.take(u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1));
    pack(to, level, &mut plain, out).map_err(|error| from.corrupt(error))?;
    if plain.limit() == 0 { Err(CompressError::TooLarge { max }) } else { Ok(()) }
}

pub fn decompress(codec: Compression, packed: &[u8], max: usize) -> Result<Vec<u8>, CompressError> {
    let mut plain = Vec::new();
    decompress_into(codec, packed, max, &mut plain)?;
    Ok(plain)
}

/// Replaces the contents of `plain`, keeping its memory for the next call.
pub fn decompress_into(
    codec: Compression,
    packed: &[u8],
    max: usize,
    plain: &mut Vec<u8>,
) -> Result<(), CompressError> {
    plain.clear();
    match codec {
        Compression::None if packed.len() > max => Err(CompressError::TooLarge { max }),
        Compression::None => {
            plain.extend_from_slice(packed);
            Ok(())
        }
        Compression::Gzip => gzip::decompress(packed, max, plain),
        Compression::Snappy => snappy::decompress(packed, max, plain),
        Compression::Lz4 => lz4::decompress(packed, max, plain),
        Compression::Zstd => zstd::decompress(packed, max, plain),
    }
}

/// The plain bytes one after the other, of which only a window is in memory.
pub(crate) fn reader<'a>(codec: Compression, packed: &'a [u8]) -> Result<Box<dyn Read + 'a>, CompressError> {
    Ok(match codec {
        Compression::None => Box::new(packed),
        Compression::Gzip => Box::new(gzip::reader(packed)),
        Compression::Snappy => Box::new(snappy::reader(packed)?),
        Compression::Lz4 => Box::new(lz4::reader(packed)),
        Compression::Zstd => Box::new(zstd::reader(packed)?),
    })
}

/// Drains a decoder into `plain`, stopping as soon as it has given more than `max`.
fn read_bounded(
    codec: Compression,
    decoder: impl Read,
    max: usize,
    plain: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(plain).map_err(|error| codec.corrupt(error))?;
    if plain.len() > max { Err(CompressError::TooLarge { max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
