//! What happens without a request: retention and checkpoints, group timers, metadata snapshots, and
//! passing on what a change of the metadata means to others.

use std::{sync::Arc, time::Duration};

use millstream_coordinator::group::GroupEvent;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use crate::{follow::Followed, parts::Parts};

const TICK: Duration = Duration::from_secs(1);

/// Starts the background tasks; the receiver learns why the broker cannot go on.
pub(crate) fn spawn(
    parts: &Arc<Parts>,
    follows: mpsc::Receiver<Followed>,
) -> watch::Receiver<Option<String>> {
    let (failure, failed) = watch::channel(None);
    parts.tasks.spawn(tick(Arc::clone(parts), failure));
    parts.tasks.spawn(pass_on(Arc::clone(parts), follows));
    parts.tasks.spawn(Arc::clone(&parts.groups).run_timers(parts.stopping.clone()));
    failed
}

async fn tick(parts: Arc<Parts>, failure: watch::Sender<Option<String>>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = parts.stopping.cancelled() => return,
            _ = interval.tick() => {}
        }
        let working = Arc::clone(&parts);
        let worked = tokio::task::spawn_blocking(move || working.log_dirs.tick(working.clock.now())).await;
        if let Err(error) = worked {
            error!(%error, "background work on the logs failed");
        }
        if parts.controller.open_again().await && parts.groups.is_open() {
            parts.load_groups();
        }
        parts.controller.tick().await;
        if let Some(reason) = why_it_cannot_go_on(&parts) {
            failure.send_replace(Some(reason));
        }
    }
}

/// Some log directories may fail, but not all, and not the one with the metadata (`ReplicaManager.
/// handleLogDirFailure` halts then).
fn why_it_cannot_go_on(parts: &Parts) -> Option<String> {
    let dirs = parts.log_dirs.dirs();
    if dirs.iter().all(|dir| dir.offline.is_some()) {
        let reasons: Vec<String> = dirs.into_iter().filter_map(|dir| dir.offline).collect();
        return Some(format!("no log directory is usable any more: {}", reasons.join("; ")));
    }
    let offline = parts.log_dirs.metadata_log().offline()?;
    Some(format!("the log directory with the metadata is not usable any more: {offline}"))
}

async fn pass_on(parts: Arc<Parts>, mut follows: mpsc::Receiver<Followed>) {
    loop {
        let followed = tokio::select! {
            () = parts.stopping.cancelled() => return,
            followed = follows.recv() => followed,
        };
        let Some(followed) = followed else { return };
        if followed.settings_changed {
            let settings = parts.settings.current();
            parts.log_dirs.set_producer_id_expiration_ms(settings.broker.storage.producer_id_expiration_ms);
        }
        if !followed.deleted.is_empty() {
            let event = GroupEvent::TopicsDeleted { topics: followed.deleted };
            for forgotten in parts.groups.submit_to_all(&event).await {
                if let Err(code) = forgotten {
                    warn!(%code, "a group may keep offsets of a deleted topic");
                }
            }
        }
    }
}
