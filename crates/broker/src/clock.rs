//! The broker's only clock: everything below it gets the time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use millstream_types::TimestampMs;

pub(crate) trait Clock: Send + Sync {
    fn now(&self) -> TimestampMs;
}

pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> TimestampMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
