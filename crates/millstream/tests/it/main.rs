//! The program from outside: what it prints, where, and how it exits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod cluster;
mod command;
mod completion;
mod days;
mod demo;
mod endings;
mod placement;
mod profile;
mod records;
mod terminal;
mod tools;
mod top;
