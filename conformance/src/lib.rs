//! Real clients as judges. Each program in `clients/` takes a bootstrap address, goes through the same
//! cases and prints one line per case; this crate knows the programs, runs them against a target of the
//! testkit, and holds what they say against what is expected of them.
//!
//! It knows nothing of Millstream's insides. What a test here demands was first seen on Apache Kafka.

pub mod cases;
pub mod clients;
pub mod stored;
pub mod table;
pub mod trace;
