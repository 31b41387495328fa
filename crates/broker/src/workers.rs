//! Threads for work that a stranger can make long: opening a small batch that is huge inside. They are few, so that
//! such work takes a part of the machine and no more, and they give way to the threads that serve connections.
//!
//! Who submits waits for a free thread in the order of arrival. What is waiting is bounded by whoever submits.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, mpsc},
    thread,
};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tracing::debug;

/// Of the machine's processors, one in so many, and at least one.
const PROCESSORS_PART: usize = 4;
/// As `nice` counts.
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

pub(crate) struct Workers {
    /// As many permits as threads, so that no job waits in the channel.
    free: Arc<Semaphore>,
    /// The threads end when it is dropped.
    jobs: mpsc::Sender<Job>,
}

impl Workers {
    pub(crate) fn start(name: &str) -> std::io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(name, (processors / PROCESSORS_PART).max(1))
    }

    fn with_threads(name: &str, count: usize) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(name.to_owned()).spawn(move || work_on(&queue))?;
        }
        Ok(Self { free: Arc::new(Semaphore::new(count)), jobs })
    }

    /// Runs `work` on one of the threads. What has begun goes on when nobody waits for it any more, and keeps its
    /// thread until then.
    pub(crate) async fn run<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        let free = Arc::clone(&self.free).acquire_owned().await.expect("the semaphore is never closed");
        let (done, outcome) = oneshot::channel();
        let job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            drop(free);
            drop(done.send(outcome));
        });
        self.jobs.send(job).expect("a thread lives as long as the sender, since it catches panics");
        match outcome.await.expect("a job that was sent is run") {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

fn work_on(queue: &Mutex<mpsc::Receiver<Job>>) {
    // On Linux this is the thread's own.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        debug!(%error, "a worker runs at the priority of all");
    }
    loop {
        // Whoever holds the lock waits for the next job; the others wait for the lock.
        let job = queue.lock().recv();
        match job {
            Ok(job) => job(),
            Err(mpsc::RecvError) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it waits when it is looked at once.
    async fn waits(work: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = work => false,
            () = std::future::ready(()) => true,
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_still_keeps_its_thread_from_others() {
        let workers = Workers::with_threads("test", 1).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let order = Arc::clone(&order);
            move || order.lock().push(name)
        };
        let first = note("first");
        assert!(
            waits(workers.run(move || {
                assert_eq!(released.recv(), Err(mpsc::RecvError));
                first();
            }))
            .await
        );
        assert!(waits(workers.run(note("never begun"))).await, "the only thread is taken");
        drop(release);
        workers.run(note("second")).await;
        assert_eq!(*order.lock(), ["first", "second"]);
    }

    #[tokio::test]
    #[should_panic(expected = "a bug")]
    async fn a_panic_is_that_of_whoever_submitted_the_work() {
        let workers = Workers::with_threads("test", 1).unwrap();
        workers.run(|| panic!("a bug")).await;
    }
}
