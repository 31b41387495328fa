//! The table of partitions held here: from a topic's name or id to its logs, and who waits for them.
//! What exists is decided by the metadata (`controller.rs`); this table follows it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use millstream_log::Log;
use millstream_telemetry::{Metrics, TopicMetrics};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, TopicName, TopicPartition, Uuid};
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::{error_map::Failure, fetch_session::Said, waiters::Waiters};

pub(crate) struct Partition {
    pub(crate) id: TopicPartition,
    pub(crate) log: Arc<Log>,
    pub(crate) waiters: Waiters,
    leader_epoch: AtomicI32,
}

pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) id: Uuid,
    pub(crate) metrics: TopicMetrics,
    /// By partition id; grows with CreatePartitions, never shrinks.
    slots: RwLock<Vec<Slot>>,
}

/// A partition's place: the metadata says that it exists, whether or not its log could be opened.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) id: PartitionId,
    pub(crate) leader_epoch: LeaderEpoch,
    /// `None`: its directory is damaged or missing, or could not be made yet.
    pub(crate) partition: Option<Arc<Partition>>,
}

impl Slot {
    pub(crate) fn is_offline(&self) -> bool {
        self.partition.as_ref().is_none_or(|partition| partition.log.is_offline())
    }
}

#[derive(Default, Clone)]
struct Table {
    by_name: HashMap<TopicName, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

pub(crate) struct Partitions {
    /// Replaced as a whole on each change, so that a request looks up without holding the lock.
    table: RwLock<Arc<Table>>,
    metadata: Arc<Partition>,
    metrics: Arc<Metrics>,
}

impl Partition {
    /// Its leader epoch is the log's latest until [`Self::lead`] says otherwise.
    pub(crate) fn new(log: Arc<Log>) -> Arc<Self> {
        let epoch = log.latest_epoch().unwrap_or_default();
        Arc::new(Self {
            id: log.partition().clone(),
            log,
            waiters: Waiters::default(),
            leader_epoch: AtomicI32::new(epoch.0),
        })
    }

    pub(crate) fn lead(&self, epoch: LeaderEpoch) {
        self.log.assign_leader_epoch(epoch);
        self.leader_epoch.store(epoch.0, Ordering::Release);
    }

    /// Until everything below `until` is durable, or the log can no longer become so.
    pub(crate) async fn wait_for_high_watermark(&self, until: Offset) -> Result<(), ErrorCode> {
        if self.log.high_watermark() >= until {
            return Ok(());
        }
        let waiter = Arc::new(Notify::new());
        loop {
            self.waiters.register(&waiter);
            // Looked at after registering: what moved in between is either seen here or wakes the waiter.
            if self.log.high_watermark() >= until {
                return Ok(());
            }
            if self.log.is_offline() {
                return Err(ErrorCode::KafkaStorageError);
            }
            if self.log.is_deleted() {
                return Err(ErrorCode::UnknownTopicOrPartition);
            }
            waiter.notified().await;
        }
    }

    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// A client that names an epoch must name the present one (KIP-320); one that names none is served.
    pub(crate) fn check_leader_epoch(&self, claimed: Option<LeaderEpoch>) -> Result<(), Failure> {
        let current = self.leader_epoch();
        match claimed {
            Some(claimed) if claimed < current => Err(ErrorCode::FencedLeaderEpoch.into()),
            Some(claimed) if claimed > current => Err(ErrorCode::UnknownLeaderEpoch.into()),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn said(&self) -> Said {
        Said { high_watermark: self.log.high_watermark().0, log_start_offset: self.log.log_start_offset().0 }
    }
}

impl Topic {
    /// The partition, or why there is none to use.
    pub(crate) fn partition(&self, id: PartitionId) -> Result<Arc<Partition>, ErrorCode> {
        let index = usize::try_from(id.0).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        let slots = self.slots.read();
        let slot = slots.get(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        slot.partition.clone().ok_or(ErrorCode::KafkaStorageError)
    }

    /// By partition id; `None` where the log could not be opened.
    pub(crate) fn all_partitions(&self) -> Vec<Option<Arc<Partition>>> {
        self.slots.read().iter().map(|slot| slot.partition.clone()).collect()
    }

    /// Those that are open.
    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        self.slots.read().iter().filter_map(|slot| slot.partition.clone()).collect()
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.slots.read().clone()
    }

    pub(crate) fn has_partition(&self, id: PartitionId) -> bool {
        usize::try_from(id.0).is_ok_and(|index| index < self.slots.read().len())
    }
}

impl Partitions {
    pub(crate) fn new(metrics: Arc<Metrics>, metadata_log: Arc<Log>) -> Arc<Self> {
        let metadata = Partition::new(metadata_log);
        Arc::new(Self { table: RwLock::default(), metadata, metrics })
    }

    /// `__cluster_metadata-0`, which is no topic that clients see.
    pub(crate) fn metadata(&self) -> &Arc<Partition> {
        &self.metadata
    }

    /// Adds a topic, or the partitions that it has gained: the first is partition 0.
    pub(crate) fn put(&self, name: &TopicName, id: Uuid, slots: Vec<Slot>) {
        let mut table = self.table.write();
        let mut next = Table::clone(&table);
        let topic = next.by_id.get(&id).cloned().unwrap_or_else(|| {
            let metrics = self.metrics.topic(name.as_str());
            Arc::new(Topic { name: name.clone(), id, metrics, slots: RwLock::default() })
        });
        *topic.slots.write() = slots;
        next.by_name.insert(name.clone(), Arc::clone(&topic));
        next.by_id.insert(id, topic);
        *table = Arc::new(next);
    }

    /// Takes a topic out; whoever waits for its partitions is woken and finds it gone.
    pub(crate) fn remove(&self, id: Uuid) -> Option<Arc<Topic>> {
        let mut table = self.table.write();
        let mut next = Table::clone(&table);
        let topic = next.by_id.remove(&id)?;
        if next.by_name.get(topic.name.as_str()).is_some_and(|named| named.id == id) {
            next.by_name.remove(topic.name.as_str());
            self.metrics.remove_topic(topic.name.as_str());
        }
        *table = Arc::new(next);
        Some(topic)
    }

    /// These logs' durable offsets moved, or they went offline.
    pub(crate) fn wake(&self, logs: &[Arc<Log>]) {
        let table = Arc::clone(&self.table.read());
        for log in logs {
            if log.topic_id() == Uuid::METADATA_TOPIC {
                self.metadata.waiters.wake_all();
            } else if let Some(topic) = table.by_id.get(&log.topic_id())
                && let Ok(partition) = topic.partition(log.partition().partition)
            {
                partition.waiters.wake_all();
            }
        }
    }

    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.table.read().by_name.get(name).cloned()
    }

    pub(crate) fn topic_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.table.read().by_id.get(&id).cloned()
    }

    pub(crate) fn topics(&self) -> Vec<Arc<Topic>> {
        self.table.read().by_name.values().cloned().collect()
    }
}
