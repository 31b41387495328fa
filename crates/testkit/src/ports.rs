//! Ports for brokers that must come back on the port they had.

use std::{
    hash::{BuildHasher, RandomState},
    net::TcpListener,
};

use anyhow::{Result, bail};

/// A port below the range from which the kernel takes those of outgoing connections, so that none of the
/// many clients of a test run has it when a broker binds it, or binds it again after a kill.
pub(crate) fn free_port() -> Result<u16> {
    const FIRST: u64 = 12_000;
    const COUNT: u64 = 20_000;
    let random = RandomState::new();
    for attempt in 0..200_u64 {
        let port = u16::try_from(FIRST + random.hash_one(attempt) % COUNT)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port found between {FIRST} and {}", FIRST + COUNT)
}
