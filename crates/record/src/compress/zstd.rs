//! zstd, one frame a batch; several in a row are read. Contexts are kept by the thread: making one costs
//! more than packing a small batch.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
};

use zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_error_name, get_frame_content_size};

use super::{CompressError, Compression};

const LEVEL_DEFAULT: i32 = 3;
/// `-ZSTD_error_dstSize_tooSmall`, the only failure that a larger buffer cures.
const DESTINATION_TOO_SMALL: usize = 70usize.wrapping_neg();
/// The first guess where a frame does not state its size, and the most that is reserved for a frame that
/// states a size out of all proportion: this many times the packed size, then doubled as needed.
const EXPANSION_GUESS: usize = 8;

/// Of what is read through a window: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

thread_local! {
    static COMPRESSOR: RefCell<CCtx<'static>> = RefCell::new(CCtx::create());
    static DECOMPRESSOR: RefCell<DCtx<'static>> = RefCell::new(DCtx::create());
}

fn level_within(level: Option<i32>) -> i32 {
    level.unwrap_or(LEVEL_DEFAULT).clamp(zstd::zstd_safe::min_c_level(), zstd::zstd_safe::max_c_level())
}

pub(super) fn compress(level: Option<i32>, plain: &[u8], packed: &mut Vec<u8>) {
    let start = packed.len();
    packed.resize(start + compress_bound(plain.len()), 0);
    let written = COMPRESSOR
        .with_borrow_mut(|context| context.compress(&mut packed[start..], plain, level_within(level)))
        .expect("zstd fills a buffer of its own bound");
    packed.truncate(start + written);
}

/// As a stream; its window is the level's.
pub(super) fn pack(level: Option<i32>, plain: &mut dyn Read, packed: &mut dyn Write) -> io::Result<()> {
    zstd::stream::copy_encode(plain, packed, level_within(level))
}

/// In one call into a whole buffer, not as a stream: a stream reserves the window that the frame names,
/// up to 128 MiB, on the sender's word.
pub(super) fn decompress(packed: &[u8], max: usize, plain: &mut Vec<u8>) -> Result<(), CompressError> {
    let stated = get_frame_content_size(packed).ok().flatten().and_then(|size| usize::try_from(size).ok());
    if stated.is_some_and(|size| size > max) {
        return Err(CompressError::TooLarge { max });
    }
    let guess = packed.len().saturating_mul(EXPANSION_GUESS).max(4096);
    // One byte beyond the limit tells a batch that fits exactly from one that does not.
    let limit = max.saturating_add(1);
    // A frame may state that it holds nothing, and hold something: what grows from here must not be nothing.
    let mut capacity = stated.map_or(guess, |size| size.clamp(1, guess * 4)).max(plain.capacity()).min(limit);
    loop {
        plain.clear();
        plain.reserve_exact(capacity);
        match DECOMPRESSOR.with_borrow_mut(|context| context.decompress(plain, packed)) {
            Ok(_) if plain.len() > max => return Err(CompressError::TooLarge { max }),
            Ok(_) => return Ok(()),
            Err(DESTINATION_TOO_SMALL) if capacity < limit => {
                capacity = capacity.saturating_mul(2).min(limit)
            }
            Err(DESTINATION_TOO_SMALL) => return Err(CompressError::TooLarge { max }),
            Err(code) => return Err(Compression::Zstd.corrupt(get_error_name(code))),
        }
    }
}

/// The plain bytes; a window of them is in memory, whose size the frame names and which is limited. Levels up to
/// 19 need no more.
pub(super) fn reader(packed: &[u8]) -> Result<impl Read, CompressError> {
    if window_bytes(packed).is_some_and(|bytes| bytes > 1 << WINDOW_LOG_MAX) {
        return Err(CompressError::Window { max: 1 << WINDOW_LOG_MAX });
    }
    let mut decoder = zstd::Decoder::with_buffer(packed).expect("zstd makes a context when there is memory");
    decoder.window_log_max(WINDOW_LOG_MAX).expect("within what zstd knows");
    Ok(decoder)
}

/// As the frame's header says (RFC 8878, 3.1.1.1).
fn window_bytes(packed: &[u8]) -> Option<u64> {
    let (descriptor, window) = (*packed.get(4)?, *packed.get(5)?);
    if descriptor & 0x20 != 0 {
        return get_frame_content_size(packed).ok().flatten();
    }
    let base = 1_u64 << (10 + (window >> 3));
    Some(base + base / 8 * u64::from(window & 7))
}
