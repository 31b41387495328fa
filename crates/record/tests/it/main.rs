//! This crate against Apache Kafka's own record classes.

mod golden;
