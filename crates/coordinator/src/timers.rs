//! Deadlines as data: at most one for each key. Knows no clock; the time is an argument.

use std::collections::{BTreeMap, BTreeSet};

use millstream_types::TimestampMs;

#[derive(Debug, Clone)]
pub(crate) struct Timers<K> {
    /// The same pairs as in `by_key`, earliest first.
    by_deadline: BTreeSet<(TimestampMs, K)>,
    by_key: BTreeMap<K, TimestampMs>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { by_deadline: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets the key's deadline; an earlier one of the same key no longer counts.
    pub(crate) fn schedule(&mut self, key: K, deadline: TimestampMs) {
        if let Some(earlier) = self.by_key.insert(key.clone(), deadline) {
            self.by_deadline.remove(&(earlier, key.clone()));
        }
        self.by_deadline.insert((deadline, key));
    }

    pub(crate) fn cancel(&mut self, key: &K) {
        if let Some((key, deadline)) = self.by_key.remove_entry(key) {
            self.by_deadline.remove(&(deadline, key));
        }
    }

    /// The clock that gives the deadlines their meaning was set by so much.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        self.by_key.values_mut().for_each(|deadline| *deadline = deadline.plus_ms(by_ms));
        self.by_deadline = self.by_key.iter().map(|(key, deadline)| (*deadline, key.clone())).collect();
    }

    pub(crate) fn next_deadline(&self) -> Option<TimestampMs> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the earliest key whose time has come.
    pub(crate) fn pop_due(&mut self, now: TimestampMs) -> Option<K> {
        self.next_deadline().filter(|deadline| *deadline <= now)?;
        let (_, key) = self.by_deadline.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    pub(crate) fn due_count(&self, now: TimestampMs) -> usize {
        self.by_deadline.iter().take_while(|(deadline, _)| *deadline <= now).count()
    }

    #[cfg(test)]
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.by_key.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescheduling_replaces_the_earlier_deadline() {
        let mut timers = Timers::default();
        timers.schedule("a", TimestampMs(10));
        timers.schedule("b", TimestampMs(20));
        timers.schedule("a", TimestampMs(30));
        assert_eq!(timers.next_deadline(), Some(TimestampMs(20)));
        assert_eq!(timers.due_count(TimestampMs(30)), 2);
        assert_eq!(timers.pop_due(TimestampMs(19)), None);
        assert_eq!(timers.pop_due(TimestampMs(30)), Some("b"));
        assert_eq!(timers.pop_due(TimestampMs(30)), Some("a"));
        assert_eq!(timers.pop_due(TimestampMs(30)), None);
    }

    #[test]
    fn a_cancelled_timer_never_comes_due() {
        let mut timers = Timers::default();
        timers.schedule(1, TimestampMs(10));
        timers.cancel(&1);
        timers.cancel(&2);
        assert_eq!((timers.next_deadline(), timers.keys().count()), (None, 0));
    }
}
