//! The program from outside: what it prints, where, and how it exits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod cluster;
mod command;
mod completion;
mod demo;
mod endings;
mod profile;
mod records;
mod tools;
