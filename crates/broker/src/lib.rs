//! The broker: sockets and frames, one file for each of Kafka's APIs, parked requests, and the background
//! work around the engines (`log`, `coordinator`, `metadata`), which know nothing of sockets or tokio.
//!
//! A request's way is in ARCHITECTURE.md. Invariants: an answer that promises durability leaves after the
//! flush that covers it; responses of a connection leave in the order of their requests; what was accepted
//! before a stop is answered before the sockets close.

mod api;
mod background;
mod clock;
mod controller;
mod error_map;
mod fetch_session;
mod follow;
mod gauges;
mod groups;
mod loggers;
mod metadata_log;
mod open_files;
mod options;
mod partitions;
mod parts;
mod producer_ids;
mod server;
mod settings;
mod start;
mod waiters;
mod workers;

pub use metadata_log::MetadataError;
pub use millstream_log::{Durability, FlushWith, Progress};
pub use options::{Advertised, BrokerOptions, Endpoint, Host, ListenerOptions, ListenerParseError};
pub use server::BindError;
pub use start::{Broker, StartError};
