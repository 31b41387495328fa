//! Black-box tests of the broker, on Millstream or (`MILLSTREAM_TARGET=kafka`) on a real Apache Kafka.

mod clients;
mod codec;
mod semantics;
mod session;
mod shared;
mod tools;
