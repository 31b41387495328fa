//! Record batches, as a producer sends them and as they lie in a segment.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_record::{BatchHeader, RecordBatch, batch};

const PLAIN_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    // The checksum would hide everything behind it, so it is made right.
    let mut fixed = input.to_vec();
    if BatchHeader::parse(&fixed).is_ok_and(|h| h.size_in_bytes() <= fixed.len()) {
        batch::recompute_crc(&mut fixed);
    }
    let bytes = Bytes::from(fixed);
    if let Ok(batch) = RecordBatch::decode(&bytes, PLAIN_BYTES_MAX) {
        let keys: usize = batch.records.iter().filter_map(|r| r.key.as_ref()).map(Bytes::len).sum();
        assert!(keys <= PLAIN_BYTES_MAX);
    }
});
