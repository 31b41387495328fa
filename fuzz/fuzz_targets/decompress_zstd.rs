//! zstd: any bytes end in an error or in no more than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_record::{Compression, compress};

const PLAIN_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|packed: &[u8]| {
    if let Ok(plain) = compress::decompress(Compression::Zstd, packed, PLAIN_BYTES_MAX) {
        assert!(plain.len() <= PLAIN_BYTES_MAX);
    }
});
