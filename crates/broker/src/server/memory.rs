//! What strangers can make the broker hold, over all connections: requests that have not come whole, and answers
//! that are not taken. `queued.max.request.bytes` (KIP-72) bounds both together.
//!
//! A request takes memory in proportion to the bytes that have come, never on the word of its length. A quarter is
//! left to small ones, of which each may hold as much as is still free, so that one more finds room. A request that
//! finds none is not read on, and the peer has to wait, the small and the others each in the order of arrival: what
//! becomes free wakes those that it is enough for, not all. One at a time may go on nevertheless, or those that all
//! hold a part would wait for each other. While somebody waits, a request that is not whole some time after it began is
//! given up with its connection: neither a byte now and then nor a part that never ends keeps others out for longer.
//!
//! A whole request that has to wait until its batches are judged is in memory, so it counts, and what is not whole
//! yet waits for room.
//!
//! An answer is in memory already. When there are too many, those that have waited longest to be taken are given
//! up with their connections. Records that are sent from their file are in no memory and do not count.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

const SMALL_BYTES_MAX: usize = 64 << 10;
/// Below this, new requests begin small.
const SHORT_BYTES: usize = 1 << 20;
/// What a request gets to come whole while others wait for room.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Memory {
    /// `queued.max.request.bytes`
    limit: usize,
    used: AtomicUsize,
    queue: Mutex<Queue>,
    /// How many requests are in the queue.
    waiting: watch::Sender<usize>,
    answers: Mutex<Answers>,
}

/// Requests that wait for room, in the order in which they began to.
#[derive(Default)]
struct Queue {
    small: BTreeMap<u64, Waiter>,
    others: BTreeMap<u64, Waiter>,
    /// How many there ever were.
    count: u64,
    /// One request takes what it needs.
    is_overdrawn: bool,
}

struct Waiter {
    held: usize,
    more: usize,
    granted: oneshot::Sender<Grant>,
}

/// What was taken for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    Room,
    Overdraft,
}

impl Queue {
    fn of_size(&mut self, bytes: usize) -> &mut BTreeMap<u64, Waiter> {
        if bytes <= SMALL_BYTES_MAX { &mut self.small } else { &mut self.others }
    }

    /// Whoever has waited longest.
    fn pop_first(&mut self) -> Option<Waiter> {
        let number = |waiters: &BTreeMap<u64, Waiter>| waiters.keys().next().copied().unwrap_or(u64::MAX);
        let first =
            if number(&self.small) < number(&self.others) { &mut self.small } else { &mut self.others };
        first.pop_first().map(|(_, waiter)| waiter)
    }
}

#[derive(Default)]
struct Answers {
    /// In the order in which they began to wait.
    waiting: BTreeMap<u64, Waiting>,
    count: u64,
}

struct Waiting {
    bytes: usize,
    give_up: Arc<Notify>,
}

impl Memory {
    /// `None`: without a limit.
    pub(crate) fn new(limit: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.unwrap_or(usize::MAX),
            used: AtomicUsize::new(0),
            queue: Mutex::default(),
            waiting: watch::Sender::new(0),
            answers: Mutex::default(),
        })
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn available(&self) -> usize {
        self.limit.saturating_sub(self.used())
    }

    fn try_grow(&self, held: usize, more: usize) -> bool {
        let fits = |used: usize| {
            let free = self.limit.saturating_sub(used);
            let fits = match held + more {
                small @ ..=SMALL_BYTES_MAX => small <= free,
                _ => more <= free.saturating_sub(self.limit / 4),
            };
            fits.then_some(used + more)
        };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.hand_out(&mut self.queue.lock());
        }
    }

    fn give_back(&self, grant: Grant, bytes: usize) {
        let mut queue = self.queue.lock();
        if grant == Grant::Overdraft {
            queue.is_overdrawn = false;
        }
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.hand_out(&mut queue);
    }

    /// What is free, to those that it is enough for.
    fn hand_out(&self, queue: &mut Queue) {
        let Queue { small, others, .. } = queue;
        for waiters in [small, others] {
            while let Some(first) = waiters.first_entry()
                && self.try_grow(first.get().held, first.get().more)
            {
                // Whoever does not wait any more has left the queue.
                _ = first.remove().granted.send(Grant::Room);
            }
        }
        if !queue.is_overdrawn
            && let Some(first) = queue.pop_first()
        {
            queue.is_overdrawn = true;
            self.take(first.more);
            _ = first.granted.send(Grant::Overdraft);
        }
    }
}

/// Others wait, and the request is still not whole.
#[derive(Debug)]
pub(crate) struct TooLong;

/// The memory of a request that is not whole yet, or waits to be judged.
pub(crate) struct RequestMemory {
    memory: Arc<Memory>,
    held: usize,
    began: Instant,
    /// How it came to what it holds.
    grant: Grant,
}

impl RequestMemory {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self { memory, held: 0, began: Instant::now(), grant: Grant::Room }
    }

    /// There is little left for a new request.
    pub(crate) fn is_short(&self) -> bool {
        self.memory.available() < SHORT_BYTES
    }

    /// A whole request that has to wait: it is there already, whether there is room or not.
    pub(crate) fn of_whole(memory: &Arc<Memory>, bytes: usize) -> Self {
        let mut whole = Self::new(Arc::clone(memory));
        whole.hold(bytes);
        whole
    }

    /// Counts the beginning of a request, which is there already.
    pub(crate) fn hold(&mut self, bytes: usize) {
        if self.held == 0 {
            self.began = Instant::now();
            self.memory.take(bytes);
            self.held = bytes;
        }
    }

    /// Waits until the request may hold so many bytes in all. Cancel-safe.
    pub(crate) async fn grow_to(&mut self, bytes: usize) -> Result<(), TooLong> {
        let more = bytes.saturating_sub(self.held);
        if self.grant == Grant::Overdraft {
            self.memory.take(more);
        } else if !self.memory.try_grow(self.held, more) {
            self.grant = self.wait_for(more).await?;
        }
        self.held += more;
        Ok(())
    }

    async fn wait_for(&self, more: usize) -> Result<Grant, TooLong> {
        let _waiting = Counted::new(&self.memory.waiting);
        let mut place = Place::enter(&self.memory, self.held, more);
        tokio::select! {
            biased;
            grant = place.grant() => Ok(grant),
            () = tokio::time::sleep_until(self.began + PATIENCE) => Err(TooLong),
        }
    }

    /// Waits until the request must be given up.
    pub(crate) async fn is_given_up(&self) {
        tokio::time::sleep_until(self.began + PATIENCE).await;
        // The sender is ours and lives on.
        drop(self.memory.waiting.subscribe().wait_for(|waiting| *waiting > 0).await);
    }

    /// The request is whole, and its own business from here on.
    pub(crate) fn clear(&mut self) {
        let (grant, held) = (mem::replace(&mut self.grant, Grant::Room), mem::take(&mut self.held));
        if held > 0 {
            self.memory.give_back(grant, held);
        }
    }
}

impl Drop for RequestMemory {
    fn drop(&mut self) {
        self.clear();
    }
}

/// In the queue. Whoever gives it up leaves no trace.
struct Place<'a> {
    memory: &'a Memory,
    number: u64,
    size: usize,
    more: usize,
    /// None once it has been received.
    granted: Option<oneshot::Receiver<Grant>>,
}

impl<'a> Place<'a> {
    fn enter(memory: &'a Memory, held: usize, more: usize) -> Self {
        let (granted, receiver) = oneshot::channel();
        let mut queue = memory.queue.lock();
        queue.count += 1;
        let (number, size) = (queue.count, held + more);
        queue.of_size(size).insert(number, Waiter { held, more, granted });
        // What was released since it was looked at.
        memory.hand_out(&mut queue);
        Self { memory, number, size, more, granted: Some(receiver) }
    }

    /// Cancel-safe.
    async fn grant(&mut self) -> Grant {
        let Some(granted) = &mut self.granted else { return std::future::pending().await };
        let grant = granted.await.expect("whoever is in the queue is granted something or leaves it");
        self.granted = None;
        grant
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let has_left = self.memory.queue.lock().of_size(self.size).remove(&self.number).is_some();
        if !has_left && let Some(grant) = self.granted.take().and_then(|mut granted| granted.try_recv().ok())
        {
            self.memory.give_back(grant, self.more);
        }
    }
}

struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The memory of an answer that waits to be taken.
pub(crate) struct AnswerMemory {
    memory: Arc<Memory>,
    id: u64,
    give_up: Arc<Notify>,
}

impl AnswerMemory {
    pub(crate) fn new(memory: &Arc<Memory>, bytes: usize) -> Self {
        let give_up = Arc::new(Notify::new());
        let mut answers = memory.answers.lock();
        answers.count += 1;
        let id = answers.count;
        answers.waiting.insert(id, Waiting { bytes, give_up: Arc::clone(&give_up) });
        memory.take(bytes);
        // One alone may be larger than all that is allowed.
        while memory.used() > memory.limit && answers.waiting.len() > 1 {
            let Some((_, oldest)) = answers.waiting.pop_first() else { break };
            memory.release(oldest.bytes);
            oldest.give_up.notify_one();
        }
        drop(answers);
        Self { memory: Arc::clone(memory), id, give_up }
    }

    /// Some of it was taken.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if let Some(waiting) = self.memory.answers.lock().waiting.get_mut(&self.id) {
            self.memory.release(waiting.bytes.saturating_sub(bytes));
            waiting.bytes = waiting.bytes.min(bytes);
        }
    }

    /// Waits until the answer must be given up.
    pub(crate) async fn is_given_up(&self) {
        self.give_up.notified().await;
    }
}

impl Drop for AnswerMemory {
    fn drop(&mut self) {
        if let Some(waiting) = self.memory.answers.lock().waiting.remove(&self.id) {
            self.memory.release(waiting.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn holding(memory: &Arc<Memory>, bytes: usize) -> RequestMemory {
        let mut request = RequestMemory::new(Arc::clone(memory));
        request.hold(1);
        request.grow_to(bytes).await.unwrap();
        request
    }

    /// Whether it waits when it is looked at once.
    async fn waits<T>(work: impl Future<Output = T>) -> bool {
        tokio::select! {
            biased;
            _ = work => false,
            () = std::future::ready(()) => true,
        }
    }

    #[tokio::test]
    async fn a_small_request_may_hold_what_is_free_and_another_one_finds_room_beside_it() {
        let memory = Memory::new(Some(100));
        let mut large = holding(&memory, 50).await;
        let small = holding(&memory, 25).await;
        assert_eq!(memory.available(), 25);
        let mut second = RequestMemory::new(Arc::clone(&memory));
        memory.queue.lock().is_overdrawn = true;
        assert!(waits(second.grow_to(26)).await);
        assert!(waits(large.grow_to(51)).await);
        drop(small);
        assert!(!waits(second.grow_to(26)).await);
        drop((large, second));
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test]
    async fn large_requests_leave_a_quarter_to_small_ones() {
        let memory = Memory::new(Some(1 << 20));
        let large = holding(&memory, 700 << 10).await;
        memory.queue.lock().is_overdrawn = true;
        let mut second = RequestMemory::new(Arc::clone(&memory));
        assert!(waits(second.grow_to(100 << 10)).await);
        assert!(!waits(second.grow_to(64 << 10)).await);
        drop(large);
        assert!(!waits(second.grow_to(700 << 10)).await);
    }

    #[tokio::test]
    async fn what_is_released_goes_to_those_that_wait_in_their_order_and_to_nobody_who_left() {
        let memory = Memory::new(Some(100));
        let all = holding(&memory, 100).await;
        memory.queue.lock().is_overdrawn = true;
        let [mut first, mut second, mut third] = [(); 3].map(|()| RequestMemory::new(Arc::clone(&memory)));
        let mut growing = Box::pin(first.grow_to(60));
        assert!(waits(&mut growing).await);
        assert!(waits(second.grow_to(60)).await);
        let mut growing_too = Box::pin(third.grow_to(30));
        assert!(waits(&mut growing_too).await);
        drop(all);
        assert_eq!(memory.used(), 90, "nobody has looked yet");
        drop(growing);
        assert_eq!(memory.used(), 30);
        growing_too.await.unwrap();
        drop(third);
        assert_eq!(memory.used(), 0);
    }

    #[tokio::test]
    async fn when_all_wait_for_each_other_one_goes_on_and_then_the_next() {
        let memory = Memory::new(Some(100));
        let (mut first, mut second) = (holding(&memory, 50).await, holding(&memory, 25).await);
        first.grow_to(1_000).await.unwrap();
        assert!(waits(second.grow_to(1_000)).await);
        first.clear();
        second.grow_to(1_000).await.unwrap();
        assert_eq!(memory.used(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_takes_too_long_is_given_up_as_soon_as_somebody_waits() {
        let memory = Memory::new(Some(100));
        let slow = holding(&memory, 50).await;
        let mut overdrawn = holding(&memory, 60).await;
        tokio::time::advance(PATIENCE).await;
        assert!(waits(slow.is_given_up()).await, "nobody is hindered");
        let mut waiting = RequestMemory::new(Arc::clone(&memory));
        tokio::select! {
            biased;
            _ = waiting.grow_to(30) => panic!("there is no room"),
            () = slow.is_given_up() => {}
        }
        assert!(waits(waiting.is_given_up()).await, "it has only begun");
        overdrawn.clear();
    }

    #[tokio::test]
    async fn too_many_answers_that_are_not_taken_cost_the_oldest_its_connection() {
        let memory = Memory::new(Some(100));
        let first = AnswerMemory::new(&memory, 60);
        let mut second = AnswerMemory::new(&memory, 40);
        second.shrink_to(30);
        assert!(waits(first.is_given_up()).await);
        let third = AnswerMemory::new(&memory, 20);
        first.is_given_up().await;
        assert!(waits(second.is_given_up()).await);
        assert_eq!(memory.used(), 50);
        drop((first, second, third));
        assert_eq!(memory.used(), 0);
        let alone = AnswerMemory::new(&memory, 1_000);
        assert!(waits(alone.is_given_up()).await);
    }
}
