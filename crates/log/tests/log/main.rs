//! The log through its public interface, on real files and on a disk that loses power.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test as the tests do")]

mod append;
mod corruption;
mod directories;
mod disk;
mod faults;
mod kafka;
mod model;
mod read;
mod restart;
mod retention;
mod support;
mod transactions;
