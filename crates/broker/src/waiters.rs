//! Who waits for a partition to move: produce requests for the flush that covers them, fetches for
//! more bytes. Waiting is "try, park, try the same again": register, look once more, then wait.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The waiters of one partition. A wake-up takes them all; whoever is not satisfied registers again.
#[derive(Default)]
pub(crate) struct Waiters {
    /// Of one parked request each. Guards nothing else; held only to push, take or prune.
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    parked: Vec<Arc<Notify>>,
    /// Prune abandoned entries (timed-out fetches of an idle partition) when the list gets this long.
    prune_at: usize,
}

const PRUNE_MIN: usize = 64;

impl Waiters {
    /// After this, a change of the partition wakes `waiter`, even if it is not waiting yet.
    pub(crate) fn register(&self, waiter: &Arc<Notify>) {
        let mut list = self.list.lock();
        if list.parked.len() >= list.prune_at.max(PRUNE_MIN) {
            list.parked.retain(|parked| Arc::strong_count(parked) > 1);
            list.prune_at = list.parked.len() * 2;
        }
        list.parked.push(Arc::clone(waiter));
    }

    pub(crate) fn wake_all(&self) {
        let parked = std::mem::take(&mut self.list.lock().parked);
        for waiter in parked {
            waiter.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_between_registering_and_waiting_is_not_lost() {
        let (waiters, waiter) = (Waiters::default(), Arc::new(Notify::new()));
        waiters.register(&waiter);
        waiters.wake_all();
        waiter.notified().await;
    }

    #[test]
    fn abandoned_waiters_do_not_pile_up() {
        let waiters = Waiters::default();
        for _ in 0..10_000 {
            waiters.register(&Arc::new(Notify::new()));
        }
        assert!(waiters.list.lock().parked.len() <= 2 * PRUNE_MIN);
    }
}
