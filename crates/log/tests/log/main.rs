//! The log through its public interface, on real files and on a disk that loses power.

mod append;
mod disk;
mod read;
mod support;
mod transactions;
