//! The demo stream: a real week of departures from New York, replayed into `flights.*` topics as if it
//! happened now.
//!
//! `week` knows the data, `replay` which records are due at a moment (no clock, no I/O), `publish` is a
//! Kafka client like any other. Where the data comes from stands in `data/README.md`.

mod publish;
mod replay;
mod values;
mod week;

pub(crate) use publish::run;
pub(crate) use replay::Speed;
