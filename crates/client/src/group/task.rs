//! The task behind a member: sends what the membership wants sent, and keeps it alive.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep_until};

use super::{
    Shared,
    membership::{Answer, Request, RequestId},
    request::{Lanes, perform},
};
use crate::{
    Client, Result,
    metrics::{GroupMeters, Meter},
};

/// How long the last word of a member that was dropped is waited for.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

/// Runs until the member has left and nobody holds it any more.
pub(super) async fn run(client: Client, shared: Arc<Shared>) {
    let lanes = Lanes::new(&client);
    let mut requests: JoinSet<(RequestId, Result<Answer>)> = JoinSet::new();
    let mut farewell = None;
    loop {
        let now = Instant::now();
        let (dispatches, wakeup, is_over) = {
            let mut membership = shared.membership.lock();
            let dispatches = membership.advance(now);
            (dispatches, membership.next_wakeup(now), membership.is_over())
        };
        for dispatch in dispatches {
            let config = shared.membership.lock().config().clone();
            let (client, lanes, meters) = (client.clone(), lanes.clone(), Arc::clone(&shared.meters));
            requests.spawn(async move {
                let (id, kind, began) = (dispatch.id, meter_of(&dispatch.request), Instant::now());
                let answer = perform(&client, &lanes, &config, dispatch).await;
                if let (Ok(_), Some(kind)) = (&answer, kind) {
                    kind(&meters).took(began.elapsed());
                }
                (id, answer)
            });
        }
        // Whatever else is under way, a join for instance, is of no interest any more.
        let is_alone = Arc::strong_count(&shared) == 1;
        if is_alone && (is_over || now >= *farewell.get_or_insert(now + FAREWELL_LIMIT)) {
            return;
        }
        tokio::select! {
            Some(done) = requests.join_next() => match done {
                Ok((id, answer)) => {
                    shared.membership.lock().answer(Instant::now(), id, answer);
                    shared.news.notify_one();
                }
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
            () = shared.work.notified() => {}
            () = until(wakeup.into_iter().chain(farewell).min()) => {}
        }
    }
}

fn meter_of(request: &Request) -> Option<fn(&GroupMeters) -> &Meter> {
    match request {
        Request::Join { .. } => Some(|meters| &meters.joins),
        Request::Sync { .. } => Some(|meters| &meters.syncs),
        Request::Heartbeat { .. } => Some(|meters| &meters.heartbeats),
        Request::FindCoordinator | Request::Leave { .. } => None,
    }
}

async fn until(wakeup: Option<Instant>) {
    match wakeup {
        Some(wakeup) => sleep_until(wakeup.into()).await,
        None => std::future::pending().await,
    }
}
