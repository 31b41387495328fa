//! The outputs of a tool, indifferent to whether anybody still reads, as the JVM's are. Standard output is
//! buffered.

use std::{
    io::{self, BufWriter, Stdout, Write},
    sync::{Mutex, PoisonError},
};

static OUT: Mutex<Option<BufWriter<Stdout>>> = Mutex::new(None);

fn with<T>(work: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<T>) -> bool {
    let mut out = OUT.lock().unwrap_or_else(PoisonError::into_inner);
    work(out.get_or_insert_with(|| BufWriter::with_capacity(64 << 10, io::stdout()))).is_ok()
}

/// A line; false if whoever read has gone.
pub(super) fn line(text: &str) -> bool {
    with(|out| out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")))
}

pub(super) fn bytes(bytes: &[u8]) -> bool {
    with(|out| out.write_all(bytes))
}

/// Hands everything over; false if whoever read has gone.
pub(super) fn flush() -> bool {
    with(BufWriter::flush)
}

/// A line on standard error.
pub(super) fn say(text: &str) {
    say_part(&format!("{text}\n"));
}

/// Text on standard error; if nobody reads it, nobody does.
pub(super) fn say_part(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}
