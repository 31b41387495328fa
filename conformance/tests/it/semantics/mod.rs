//! What clones of Kafka get wrong: each of these was first seen on Apache Kafka, and is asked in the same
//! words of Millstream.

mod cluster;
pub(crate) mod committed;
mod configs;
mod connection;
mod fetch;
pub(crate) mod groups;
pub(crate) mod offsets;
mod produce;
mod restart;
mod topics;
