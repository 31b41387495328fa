//! Sockets and frames: listeners, connections, and the order of responses.

mod connection;
mod frame;
mod limits;
mod listener;
mod memory;
mod pacing;
mod repeats;
pub(crate) mod response;

pub(crate) use connection::{ConnectionContext, ConnectionSettings};
pub(crate) use limits::ConnectionLimits;
pub use listener::BindError;
pub(crate) use listener::{BoundListener, Tuning, bind, serve};
pub(crate) use memory::{Memory, RequestMemory};
