//! The broker's only clocks: everything below it gets the time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millstream_types::TimestampMs;

pub(crate) trait Clock: Send + Sync {
    /// What stands in records. It can be set, and then jumps.
    fn now(&self) -> TimestampMs;

    /// Since some moment; never jumps.
    fn elapsed(&self) -> Duration;
}

pub(crate) struct SystemClock {
    started: Instant,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> TimestampMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Notices when the clock was set, so that what waits by it waits neither longer nor shorter than it should:
/// Kafka's timers run on a clock that cannot be set (`SystemTimer`, `Time.hiResClockMs`).
#[derive(Debug)]
pub(crate) struct Jumps {
    /// The time of the clock when nothing had elapsed.
    start_ms: i64,
}

/// What a clock that is not set may be off by; reading two clocks takes time as well.
const JUMP_MIN_MS: i64 = 500;

impl Jumps {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { start_ms: start_ms(clock) }
    }

    /// By how much the clock was set since it was last asked, if it was.
    pub(crate) fn by_ms(&mut self, clock: &dyn Clock) -> Option<i64> {
        let start_ms = start_ms(clock);
        let by_ms = start_ms - self.start_ms;
        if by_ms.abs() < JUMP_MIN_MS {
            return None;
        }
        self.start_ms = start_ms;
        Some(by_ms)
    }
}

fn start_ms(clock: &dyn Clock) -> i64 {
    clock.now().0 - i64::try_from(clock.elapsed().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hands {
        now: i64,
        elapsed: u64,
    }

    impl Clock for Hands {
        fn now(&self) -> TimestampMs {
            TimestampMs(self.now)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.elapsed)
        }
    }

    #[test]
    fn time_that_passes_is_no_jump_and_a_clock_that_is_set_is_one_once() {
        let mut jumps = Jumps::new(&Hands { now: 1_000_000, elapsed: 5 });
        assert_eq!(jumps.by_ms(&Hands { now: 8_000_000, elapsed: 7_000_005 }), None);
        let set = Hands { now: 11_600_000, elapsed: 7_000_005 };
        assert_eq!(jumps.by_ms(&set), Some(3_600_000));
        assert_eq!(jumps.by_ms(&set), None);
        assert_eq!(jumps.by_ms(&Hands { now: 1, elapsed: 7_000_006 }), Some(-11_600_000));
    }
}
