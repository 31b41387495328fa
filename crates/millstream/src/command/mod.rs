//! The verbs: `topic`, `group` and `log`. The first two are Kafka clients that work with any cluster; the
//! last reads files and needs none.
//!
//! Data goes to standard output, everything said to people to standard error. The exit code is 0 when it
//! was done, 1 when it failed, 2 for wrong usage, 3 when what was named does not exist.

mod connect;
mod failure;
pub(crate) mod group;
pub(crate) mod log;
mod output;
mod position;
pub(crate) mod time;
pub(crate) mod topic;
mod yaml;
