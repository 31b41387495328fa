//! What a client may send in a frame: any API in any version.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millstream_fuzz::{Codec, requests, try_frame};

static REQUESTS: LazyLock<Vec<Codec>> = LazyLock::new(requests);

fuzz_target!(|input: &[u8]| try_frame(input, &REQUESTS));
