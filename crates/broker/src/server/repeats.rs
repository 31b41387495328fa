//! Log lines that strangers could otherwise cause without end: of each kind one every few seconds, with how many were
//! left out since. What is counted in metrics is exact.

use std::{collections::HashMap, fmt, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Repeats {
    kinds: Mutex<HashMap<&'static str, Kind>>,
}

struct Kind {
    last_line: Instant,
    left_out: u64,
}

/// How many lines of a kind were left out since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut(u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} more since the last such line)"),
        }
    }
}

impl Repeats {
    /// `None`: it is too early for another line of this kind, and this one is counted.
    pub(crate) fn line(&self, kind: &'static str) -> Option<LeftOut> {
        let now = Instant::now();
        let mut kinds = self.kinds.lock();
        let Some(known) = kinds.get_mut(kind) else {
            kinds.insert(kind, Kind { last_line: now, left_out: 0 });
            return Some(LeftOut(0));
        };
        if now.saturating_duration_since(known.last_line) < PAUSE {
            known.left_out += 1;
            return None;
        }
        known.last_line = now;
        Some(LeftOut(std::mem::take(&mut known.left_out)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_line_that_repeats_is_written_now_and_then_with_how_many_were_left_out() {
        let repeats = Repeats::default();
        assert_eq!(repeats.line("refused"), Some(LeftOut(0)));
        assert_eq!(repeats.line("refused"), None);
        assert_eq!(repeats.line("refused"), None);
        assert_eq!(repeats.line("closed"), Some(LeftOut(0)), "another kind");
        tokio::time::advance(PAUSE).await;
        let line = repeats.line("refused").unwrap();
        assert_eq!(line.to_string(), " (2 more since the last such line)");
        assert_eq!(repeats.line("refused"), None);
        tokio::time::advance(PAUSE).await;
        tokio::time::advance(PAUSE).await;
        assert_eq!(repeats.line("refused"), Some(LeftOut(1)));
        assert_eq!(repeats.line("closed").unwrap().to_string(), "");
    }
}
