//! What a broker may answer to our client.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use millstream_fuzz::{Codec, responses, try_numbered};

static RESPONSES: LazyLock<Vec<Codec>> = LazyLock::new(responses);

fuzz_target!(|input: &[u8]| try_numbered(input, &RESPONSES));
