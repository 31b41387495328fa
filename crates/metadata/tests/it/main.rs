//! The metadata crate as a whole: against files that Kafka wrote, against Kafka's tools, and against random
//! sequences of decisions.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what went wrong by failing")]

mod alter;
mod fixtures;
mod kafka;
mod node;
mod restart;
mod sequences;
mod tools;
mod topics;
