//! Black-box testing: one interface in front of a Millstream process and a real Apache Kafka, so that
//! every test of behaviour runs on both (`MILLSTREAM_TARGET=millstream|kafka`). What fails on Kafka is a
//! wrong test.
//!
//! Everything here blocks and belongs to tests alone: a process started here dies with the test that
//! started it, its directory with it. The crate knows the wire protocol, for requests that no client
//! library would send, and nothing of the broker's insides.

mod cluster;
mod kafka;
mod millstream;
mod paths;
mod ports;
mod process;
mod target;
mod tools;
mod wait;
mod wire;

pub use cluster::Cluster;
pub use paths::{cache_dir, kafka_libs, millstream_binary, repository};
pub use process::{Finished, Process, Program};
pub use target::{Kind, Running, Target, TargetOptions};
pub use tools::{java_class, java_source, kafka_missing, kafka_tool, kafka_tool_class};
pub use wait::{skip, wait_until};
pub use wire::Connection;
