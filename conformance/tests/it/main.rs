//! Black-box tests of the broker, on Millstream or (`MILLSTREAM_TARGET=kafka`) on a real Apache Kafka.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a helper fails the test that called it")]

mod advertised;
mod clients;
mod codec;
mod dynamic;
mod faults;
mod flush;
mod formatted;
mod handover;
mod hostile;
mod kill;
mod mounted;
mod power;
mod quorum;
mod semantics;
mod session;
mod shared;
mod tools;
mod transcripts;
