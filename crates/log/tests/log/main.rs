//! The log through its public interface, on real files.

mod append;
mod support;
