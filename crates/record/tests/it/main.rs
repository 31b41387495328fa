//! This crate against Apache Kafka's own record classes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod golden;
