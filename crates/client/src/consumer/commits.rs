//! Committing: by hand, waited for or not, and by the clock. Commits of one consumer reach the coordinator
//! in the order in which they were made.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::offsets::{Committer, Offsets, commit};
use crate::{Client, Error, Result, group::Feedback, metrics::ConsumerMeters};

/// What became of a commit, some time after it was begun. Dropping it does not take the commit back.
#[derive(Debug)]
pub struct Commit(pub(super) oneshot::Receiver<Result<()>>);

impl Future for Commit {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = Pin::new(&mut self.0).poll(context);
        outcome.map(|outcome| outcome.unwrap_or(Err(Error::Closed("the consumer"))))
    }
}

#[derive(Debug, Default)]
pub(super) struct Commits {
    /// Is over when the last commit begun is.
    turn: Option<oneshot::Receiver<()>>,
    /// When the clock commits next; None while it does not.
    due: Option<Instant>,
    auto_under_way: bool,
}

impl Commits {
    /// A commit that waits for those before it, to be run by whoever asks for it.
    pub(super) fn begin(
        &mut self,
        client: Client,
        committer: Committer,
        feedback: Option<Feedback>,
        offsets: Offsets,
        (persistent, meters): (bool, Arc<ConsumerMeters>),
    ) -> impl Future<Output = Result<()>> + Send + 'static {
        let (done, next_turn) = oneshot::channel::<()>();
        let turn = self.turn.replace(next_turn);
        async move {
            if let Some(turn) = turn {
                // The sender is dropped, not used.
                turn.await.ok();
            }
            let began = Instant::now();
            let outcome = commit(&client, &committer, &offsets, persistent).await;
            if outcome.is_ok() && !offsets.is_empty() {
                meters.commits.took(began.elapsed());
            }
            if let (Err(error), Some(feedback), Some(generation)) = (&outcome, feedback, committer.generation)
                && let Some(code) = error.code()
            {
                feedback.commit_refused(generation.id, code);
            }
            drop(done);
            outcome
        }
    }

    /// Starts the clock anew.
    pub(super) fn restart(&mut self, now: Instant, interval: Duration) {
        self.due = Some(now + interval);
    }

    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.auto_under_way)
    }

    /// Whether the clock commits now; then it is under way.
    pub(super) fn take_due(&mut self, now: Instant, interval: Duration) -> bool {
        let is_due = self.due().is_some_and(|due| now >= due);
        if is_due {
            self.auto_under_way = true;
            self.restart(now, interval);
        }
        is_due
    }

    pub(super) fn auto_committed(&mut self, now: Instant, outcome: Result<()>, backoff: Duration) {
        self.auto_under_way = false;
        match outcome {
            Ok(()) => {}
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "offsets not committed; trying again");
                self.due = self.due.map(|due| due.min(now + backoff));
            }
            Err(error) => tracing::warn!(%error, "offsets not committed"),
        }
    }
}
