//! Record batches, as a producer sends them and as they lie in a segment: opened whole, and walked.
#![no_main]

use std::ops::ControlFlow;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_fuzz::seal_batches;
use millstream_record::{BatchError, BatchHeader, RecordBatch, batch};

const PLAIN_BYTES_MAX: usize = 1 << 20;
/// Beyond what is opened into a buffer, so that the walk goes on with a window.
const WALKED_BYTES_MAX: usize = 16 << 20;

fuzz_target!(|input: &[u8]| {
    // The checksum would hide everything behind it, so it is made right.
    let bytes = seal_batches(input);
    let Ok(header) = BatchHeader::parse(&bytes) else { return };
    let Some(stored) = bytes.get(batch::HEADER_BYTES..header.size_in_bytes()) else { return };

    let decoded = RecordBatch::decode(&bytes, PLAIN_BYTES_MAX);
    if let Ok(batch) = &decoded {
        let keys: usize = batch.records.iter().filter_map(|r| r.key.as_ref()).map(Bytes::len).sum();
        assert!(keys <= PLAIN_BYTES_MAX);
    }
    let walked = walk(&header, stored, PLAIN_BYTES_MAX);
    // Decoding does not open what claims to hold nothing.
    if header.record_count > 0 {
        let decoded = decoded.ok().map(|batch| batch.records.iter().map(|r| r.offset_delta).collect::<Vec<_>>());
        assert_eq!(decoded, walked.as_ref().ok().cloned());
    }
    let further = walk(&header, stored, WALKED_BYTES_MAX);
    if walked.is_ok() {
        assert_eq!(walked, further);
    }
});

/// The offsets of the records.
fn walk(header: &BatchHeader, stored: &[u8], max: usize) -> Result<Vec<i32>, BatchError> {
    let mut seen = Vec::new();
    batch::walk(header, stored, max, |record| {
        seen.push(record.offset_delta);
        ControlFlow::Continue(())
    })?;
    Ok(seen)
}
