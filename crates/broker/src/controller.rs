//! Changes of the metadata, one at a time: decide on the current image, append the records, wait until
//! they are durable, make this broker follow, publish the new image. Readers see an image whole.

use std::{sync::Arc, time::Duration};

use millstream_metadata::{
    CreatedTopic, Decision, Image, NewTopic, Node, allocate_producer_ids, create_topics,
};
use millstream_record::kraft::MetadataRecord;
use millstream_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, Uuid};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::{
    clock::Clock,
    error_map::Failure,
    follow::{Followed, Follower},
    metadata_log::{MetadataError, MetadataLog},
    open_files::OpenFiles,
    partitions::Partition,
    settings::DynamicSettings,
};

/// An image and the offset after the last record that is in it.
pub(crate) struct Published {
    pub(crate) image: Image,
    pub(crate) next_offset: Offset,
}

pub(crate) struct Controller {
    node_id: BrokerId,
    epoch: LeaderEpoch,
    partitions_max: usize,
    clock: Arc<dyn Clock>,
    settings: Arc<DynamicSettings>,
    follower: Arc<Follower>,
    partition: Arc<Partition>,
    tasks: TaskTracker,
    published: RwLock<Arc<Published>>,
    /// Held by the change under way, through append, flush and following.
    log: Arc<Mutex<MetadataLog>>,
    /// Told of what a change means to others.
    followed: tokio::sync::mpsc::Sender<Followed>,
}

pub(crate) struct Setup {
    pub(crate) node_id: BrokerId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Arc<DynamicSettings>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) partition: Arc<Partition>,
    pub(crate) tasks: TaskTracker,
    pub(crate) followed: tokio::sync::mpsc::Sender<Followed>,
}

impl Controller {
    /// Publishes what the log says; nothing is followed yet.
    pub(crate) fn new(setup: Setup, log: MetadataLog) -> Arc<Self> {
        let published = Published { image: log.image().clone(), next_offset: log.next_offset() };
        let Setup { node_id, clock, settings, follower, partition, tasks, followed } = setup;
        Arc::new(Self {
            node_id,
            epoch: log.epoch(),
            partitions_max: OpenFiles::of_process().for_partitions(),
            clock,
            settings,
            follower,
            partition,
            tasks,
            published: RwLock::new(Arc::new(published)),
            log: Arc::new(Mutex::new(log)),
            followed,
        })
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.read())
    }

    pub(crate) fn node_id(&self) -> BrokerId {
        self.node_id
    }

    pub(crate) fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    pub(crate) fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Decides, and carries the decision out. Goes on to its end even if whoever asked is gone.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        decide: impl FnOnce(&Image, Node<'_>) -> (Vec<MetadataRecord>, T) + Send + 'static,
    ) -> Result<T, Failure> {
        let controller = Arc::clone(self);
        let changing = self.tasks.spawn(async move { controller.carry_out(decide).await });
        changing.await.unwrap_or_else(|error| {
            error!(%error, "a change of the metadata failed");
            Err(ErrorCode::UnknownServerError.into())
        })
    }

    async fn carry_out<T>(
        &self,
        decide: impl FnOnce(&Image, Node<'_>) -> (Vec<MetadataRecord>, T),
    ) -> Result<T, Failure> {
        let mut log = self.log.lock().await;
        let settings = self.settings.current();
        let node = Node { id: self.node_id, layers: &settings.layers, partitions_max: self.partitions_max };
        let (records, outcome) = decide(log.image(), node);
        if records.is_empty() {
            return Ok(outcome);
        }
        let end = log.append(&records, self.clock.now()).map_err(failure)?;
        self.partition.wait_for_high_watermark(end).await?;
        self.follow(log.image().clone(), end).await;
        Ok(outcome)
    }

    /// Files are opened and removed off the threads that serve connections; only then is the image
    /// published, so that whoever sees a topic can use it.
    async fn follow(&self, image: Image, next_offset: Offset) {
        let before = self.published();
        let (follower, now) = (Arc::clone(&self.follower), self.clock.now());
        let after = image.clone();
        let following =
            tokio::task::spawn_blocking(move || follower.follow(&before.image, &after, now)).await;
        *self.published.write() = Arc::new(Published { image, next_offset });
        match following {
            // The receiver goes with the broker.
            Ok(followed) => drop(self.followed.send(followed).await),
            Err(error) => error!(%error, "a change of the metadata could not be followed"),
        }
    }

    pub(crate) async fn create_topics(
        self: &Arc<Self>,
        topics: Vec<NewTopic>,
        validate_only: bool,
    ) -> Result<Vec<(String, Result<CreatedTopic, millstream_metadata::Failure>)>, Failure> {
        self.change(move |image, node| {
            let decision = create_topics(image, node, &topics, validate_only, &mut Uuid::random);
            let Decision { records, results } = decision;
            (records, results)
        })
        .await
    }

    /// A block of producer ids that nobody else will ever get.
    pub(crate) async fn reserve_producer_ids(self: &Arc<Self>) -> Result<std::ops::Range<i64>, Failure> {
        let reserved = self.change(|image, node| match allocate_producer_ids(image, node.id) {
            Ok(block) => (vec![block.record], Ok(block.first.0..block.end.0)),
            Err(failure) => (Vec::new(), Err(Failure::from(failure))),
        });
        reserved.await?
    }

    /// Tries again to open partitions that a full disk, or a want of file descriptors, has prevented. True if
    /// there are more now.
    pub(crate) async fn open_again(&self) -> bool {
        if !self.follower.has_unopened() {
            return false;
        }
        // Held so that no change is followed meanwhile.
        let _log = self.log.lock().await;
        let (follower, published) = (Arc::clone(&self.follower), self.published());
        let opening = tokio::task::spawn_blocking(move || follower.open_again(&published.image));
        opening.await.unwrap_or_else(|error| {
            error!(%error, "partitions could not be opened");
            false
        })
    }

    /// Writes a snapshot when it is time for one.
    pub(crate) async fn tick(&self) {
        let config = self.settings.current();
        let limits = &config.broker.metadata_log;
        let now = self.clock.now();
        let log = self.log.lock().await;
        if !log.wants_snapshot(limits.snapshot_after_bytes, limits.snapshot_after_ms, now) {
            return;
        }
        drop(log);
        let retention = limits.clone();
        let (log, log_dirs) = (Arc::clone(&self.log), Arc::clone(&self.follower.log_dirs));
        let written = tokio::task::spawn_blocking(move || {
            // The long flush first, so that changes wait only for the short one.
            log_dirs.flush();
            let mut log = log.blocking_lock();
            log_dirs.flush();
            log.snapshot(&retention, now)
        })
        .await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "no snapshot of the metadata was written"),
            Err(error) => warn!(%error, "no snapshot of the metadata was written"),
        }
    }

    /// The records of a clean stop, durable.
    pub(crate) async fn shut_down(&self) -> Result<(), Failure> {
        const TIMEOUT: Duration = Duration::from_secs(10);
        let mut log = self.log.lock().await;
        for records in millstream_metadata::shut_down(log.image(), self.node_id) {
            let end = log.append(&records, self.clock.now()).map_err(failure)?;
            let durable = self.partition.wait_for_high_watermark(end);
            tokio::time::timeout(TIMEOUT, durable).await.unwrap_or(Err(ErrorCode::RequestTimedOut))?;
        }
        Ok(())
    }
}

fn failure(error: MetadataError) -> Failure {
    error!(%error, "the metadata could not be changed");
    Failure::new(ErrorCode::KafkaStorageError, error.to_string())
}
