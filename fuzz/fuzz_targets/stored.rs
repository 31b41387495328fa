//! What lies on disk: metadata records, coordinators' records, snapshots and the like.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_fuzz::{Codec, stored, try_numbered};
use millstream_record::kraft;

static STORED: LazyLock<Vec<Codec>> = LazyLock::new(stored);

fuzz_target!(|input: &[u8]| {
    try_numbered(input, &STORED);
    if let Ok((record, version)) = kraft::decode(Bytes::copy_from_slice(input))
        && let Ok(first) = kraft::encode(&record, version)
    {
        let (again, _) = kraft::decode(first.clone()).expect("what was written can be read");
        assert_eq!(kraft::encode(&again, version).as_ref(), Ok(&first));
    }
});
