//! `quorum-state`: what can be read is written as a text that says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_metadata::QuorumState;

fuzz_target!(|text: &str| {
    if let Ok(state) = QuorumState::parse(text) {
        assert_eq!(QuorumState::parse(&state.to_text()), Ok(state));
    }
});
