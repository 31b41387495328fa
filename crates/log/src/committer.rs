//! Group commit: every append queues its log and wakes the directory's committer at once; one round makes
//! all queued logs durable together, while the next appends gather.
//!
//! Order within a round, which is what an acknowledgement rests on: take the logs' ends, sync, note the
//! bounds, move the high watermarks, tell the listener.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use crate::{
    dir::{Durability, FlushWith, LogDir},
    error::{At, StorageError},
    log::{Log, PendingFlush},
};

/// Up to so many files and directories are synced one by one; a syncfs costs less than three.
const SINGLE_SYNCS_MAX: usize = 2;
/// The same while others keep the file system busy.
const SINGLE_SYNCS_BUSY_MAX: usize = 32;

/// What a round could not do for want of file descriptors is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(crate) struct CommitQueue {
    state: Mutex<State>,
    wake: Condvar,
    finished: Condvar,
}

#[derive(Default)]
struct State {
    logs: Vec<Arc<Log>>,
    /// Rounds asked for by [`CommitQueue::wait`], and done.
    requested: u64,
    done: u64,
    /// False: nobody but the caller of [`CommitQueue::wait`] does rounds.
    has_thread: bool,
    stopping: bool,
}

impl CommitQueue {
    pub(crate) fn push(&self, log: Arc<Log>) {
        self.state.lock().logs.push(log);
        self.wake.notify_one();
    }

    /// Returns when everything that was queued before is durable, or the directory is offline, or a round was
    /// incomplete for want of file descriptors.
    pub(crate) fn wait(&self, dir: &LogDir) {
        let mut state = self.state.lock();
        if !state.has_thread || state.stopping {
            drop(state);
            return self.round(dir);
        }
        state.requested += 1;
        let mine = state.requested;
        self.wake.notify_one();
        while state.done < mine {
            self.finished.wait(&mut state);
        }
    }

    fn round(&self, dir: &LogDir) {
        let logs = std::mem::take(&mut self.state.lock().logs);
        commit(dir, logs);
    }

    fn run(&self, dir: &LogDir) {
        let mut state = self.state.lock();
        loop {
            while state.logs.is_empty() && state.requested == state.done && !state.stopping {
                self.wake.wait(&mut state);
            }
            let logs = std::mem::take(&mut state.logs);
            let (target, stopping) = (state.requested, state.stopping);
            let round = parking_lot::MutexGuard::unlocked(&mut state, || commit(dir, logs));
            state.done = target;
            self.finished.notify_all();
            if stopping && (state.logs.is_empty() || round == Round::Incomplete) {
                return;
            }
            if round == Round::Incomplete {
                // Nobody tells when a descriptor is free again.
                self.wake.wait_for(&mut state, RETRY_AFTER);
            }
        }
    }

    /// Lets go of the logs that nobody will flush any more: they hold the directory, and so this queue.
    pub(crate) fn clear(&self) {
        let logs = std::mem::take(&mut self.state.lock().logs);
        drop(logs);
    }
}

/// The thread of one directory; dropping it does a last round and ends it.
#[derive(Debug)]
pub(crate) struct Committer {
    dir: Arc<LogDir>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(crate) fn start(dir: Arc<LogDir>) -> std::io::Result<Self> {
        let worker = dir.clone();
        let thread = thread::Builder::new()
            .name("log-committer".to_owned())
            .spawn(move || worker.queue.run(&worker))?;
        dir.queue.state.lock().has_thread = true;
        Ok(Self { dir, thread: Some(thread) })
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.dir.queue.state.lock().stopping = true;
        self.dir.queue.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(dir = %self.dir.path.display(), "the committer had panicked");
        }
    }
}

/// How a round went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// What it covered is durable, or will never be.
    Done,
    /// A directory could not be opened for want of file descriptors. No sync has failed, and the logs concerned
    /// are queued again.
    Incomplete,
}

/// A bug in a round, or in the listener, must not leave producers waiting for ever.
fn commit(dir: &LogDir, logs: Vec<Arc<Log>>) -> Round {
    if logs.is_empty() {
        return Round::Done;
    }
    let all = logs.clone();
    catch_unwind(AssertUnwindSafe(|| round(dir, logs))).unwrap_or_else(|_| {
        let error = io::Error::other("a flush round panicked");
        dir.poison(&StorageError::new("flush", &dir.path, error));
        drop(catch_unwind(AssertUnwindSafe(|| dir.shared.tell(&all))));
        Round::Done
    })
}

fn round(dir: &LogDir, logs: Vec<Arc<Log>>) -> Round {
    let pending: Vec<PendingFlush> = logs.iter().map(|log| log.begin_flush()).collect();
    if dir.check_online().is_err() {
        dir.shared.tell(&logs);
        return Round::Done;
    }
    let synced = match dir.turns.flush(|| sync(dir, &logs, &pending)) {
        Ok(synced) => synced,
        Err(error) => {
            dir.poison(&error);
            dir.shared.tell(&logs);
            return Round::Done;
        }
    };
    let mut round = Round::Done;
    let mut moved = Vec::with_capacity(logs.len());
    for ((log, pending), synced) in logs.into_iter().zip(pending).zip(synced) {
        if !synced {
            log.put_back(pending);
            log.enqueue();
            round = Round::Incomplete;
        } else if log.finish_flush(pending) && dir.shared.durability == Durability::Disk {
            moved.push(log);
        }
    }
    dir.shared.tell(&moved);
    round
}

/// For each log whether all of it is synced; not so where a directory cannot be opened for want of file
/// descriptors.
fn sync(dir: &LogDir, logs: &[Arc<Log>], pending: &[PendingFlush]) -> Result<Vec<bool>, StorageError> {
    let sync_all = || {
        dir.root.sync_all().at("sync the file system of", &dir.path)?;
        Ok(vec![true; logs.len()])
    };
    let count: usize = pending.iter().map(PendingFlush::count).sum();
    let singles_max = if dir.root.is_busy() { SINGLE_SYNCS_BUSY_MAX } else { SINGLE_SYNCS_MAX };
    if dir.shared.flush_with == FlushWith::Auto && count > singles_max {
        return sync_all();
    }
    let mut synced = Vec::with_capacity(logs.len());
    for (log, pending) in logs.iter().zip(pending) {
        match sync_one(dir, log, pending) {
            Ok(()) => synced.push(true),
            Err(error) if error.is_out_of_descriptors() => {
                dir.note_want_of_descriptors(&error);
                // A syncfs needs none.
                if dir.shared.flush_with == FlushWith::Auto {
                    return sync_all();
                }
                synced.push(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(synced)
}

fn sync_one(dir: &LogDir, log: &Log, pending: &PendingFlush) -> Result<(), StorageError> {
    for file in &pending.files {
        file.sync_data().at("sync", log.path())?;
    }
    for path in &pending.dirs {
        match dir.fs.sync_dir(path).at("sync", path) {
            // A partition that was deleted meanwhile has no directory of this name any more.
            Err(_) if log.is_deleted() => {}
            other => other?,
        }
    }
    Ok(())
}
