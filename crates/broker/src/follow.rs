//! Makes this broker what the metadata says: opens and removes logs, keeps the table of partitions, and
//! hands changed settings on. Works by comparing two images, so that start and change are the same.

use std::{collections::BTreeMap, sync::Arc};

use millstream_log::{Log, LogConfig, LogDirs, LogError};
use millstream_metadata::{Image, Topic};
use millstream_types::{BrokerId, LeaderEpoch, PartitionId, TimestampMs, TopicName, TopicPartition, Uuid};
use parking_lot::Mutex;
use tracing::{error, info, warn};

use crate::{
    partitions::{Partition, Partitions, Slot},
    settings::DynamicSettings,
};

pub(crate) struct Follower {
    pub(crate) node_id: BrokerId,
    pub(crate) log_dirs: Arc<LogDirs>,
    pub(crate) partitions: Arc<Partitions>,
    pub(crate) settings: Arc<DynamicSettings>,
    /// Partitions that could not be opened for a reason that passes, by topic id.
    pub(crate) unopened: Mutex<BTreeMap<(Uuid, PartitionId), MakeLog>>,
}

/// How a partition without a log gets one.
pub(crate) type MakeLog = fn(&LogDirs, &TopicPartition, Uuid, LogConfig) -> Result<Arc<Log>, LogError>;

/// What others have to hear of.
#[derive(Default)]
pub(crate) struct Followed {
    pub(crate) deleted: Vec<(TopicName, Uuid)>,
    pub(crate) settings_changed: bool,
}

impl Follower {
    /// At start: everything that the metadata names existed when the broker last ran, so a log that has
    /// lost its directory is not made anew.
    pub(crate) fn take_up(&self, image: &Image, now: TimestampMs) {
        self.follow_by(LogDirs::restore, &Image::default(), image, now);
    }

    /// Reads and writes files: not for the threads that serve connections.
    pub(crate) fn follow(&self, before: &Image, after: &Image, now: TimestampMs) -> Followed {
        self.follow_by(LogDirs::create, before, after, now)
    }

    fn follow_by(&self, make: MakeLog, before: &Image, after: &Image, now: TimestampMs) -> Followed {
        let mut followed = Followed { settings_changed: self.update_settings(after), ..Default::default() };
        for topic in before.topics().iter() {
            if after.topics().by_id(topic.id).is_none() {
                self.remove(topic, now);
                followed.deleted.push((topic.name.clone(), topic.id));
            }
        }
        for topic in after.topics().iter() {
            let known = before.topics().by_id(topic.id);
            if known.is_none_or(|known| known.partitions.len() != topic.partitions.len()) {
                self.open(make, topic, after);
            } else if followed.settings_changed || has_new_settings(&topic.name, before, after) {
                self.reconfigure(topic, after);
            }
        }
        followed
    }

    pub(crate) fn has_unopened(&self) -> bool {
        !self.unopened.lock().is_empty()
    }

    /// Tries again what could not be opened for a reason that may have passed. True if anything could be.
    pub(crate) fn open_again(&self, image: &Image) -> bool {
        let mut any = false;
        let unopened = std::mem::take(&mut *self.unopened.lock());
        for ((topic_id, id), make) in unopened {
            let Some(topic) = image.topics().by_id(topic_id) else { continue };
            let Some(held) = self.partitions.topic_by_id(topic_id) else { continue };
            let mut slots = held.slots();
            let Some(slot) = slots.iter_mut().find(|slot| slot.id == id) else { continue };
            slot.partition = self.open_partition(make, topic, id, slot.leader_epoch, image).ok();
            if slot.partition.is_some() {
                info!(topic = %topic.name, partition = %id, "the partition could be opened now");
                self.partitions.put(&topic.name, topic.id, slots);
                any = true;
            }
        }
        any
    }

    fn update_settings(&self, after: &Image) -> bool {
        let fixed = self.settings.current().layers.fixed.clone();
        let layers = after.broker_layers(self.node_id, fixed);
        self.settings.update(layers.dynamic, layers.dynamic_default)
    }

    /// Opens what exists and creates what does not: a topic that was decided on but whose directories a
    /// crash prevented is completed here.
    fn open(&self, make: MakeLog, topic: &Topic, image: &Image) {
        let known = self.partitions.topic_by_id(topic.id);
        let mut slots = known.map(|topic| topic.slots()).unwrap_or_default();
        let mut waiting = Vec::new();
        for (&id, partition) in topic.partitions.iter().skip(slots.len()) {
            let leader_epoch = partition.leader_epoch;
            let opened = self.open_partition(make, topic, id, leader_epoch, image);
            match &opened {
                Err(error) if error.passes() => waiting.push(error.to_string()),
                Err(error) => {
                    error!(topic = %topic.name, partition = %id, %error, "a partition cannot be opened");
                }
                Ok(_) => {}
            }
            slots.push(Slot { id, leader_epoch, partition: opened.ok() });
        }
        if let Some(reason) = waiting.first() {
            warn!(topic = %topic.name, partitions = waiting.len(), reason, "partitions cannot be opened yet");
        }
        self.partitions.put(&topic.name, topic.id, slots);
    }

    /// One that cannot be opened for a reason that passes is remembered, to be tried again.
    fn open_partition(
        &self,
        make: MakeLog,
        topic: &Topic,
        id: PartitionId,
        leader_epoch: LeaderEpoch,
        image: &Image,
    ) -> Result<Arc<Partition>, LogError> {
        let name = TopicPartition::new(topic.name.clone(), id);
        let opened = self.open_log(make, &name, topic, image).map(Partition::new);
        match &opened {
            Ok(partition) => partition.lead(leader_epoch),
            Err(error) if error.passes() => {
                self.unopened.lock().insert((topic.id, id), make);
            }
            Err(_) => {}
        }
        opened
    }

    fn open_log(
        &self,
        make: MakeLog,
        name: &TopicPartition,
        topic: &Topic,
        image: &Image,
    ) -> Result<Arc<Log>, LogError> {
        let config = self.settings.current().log_config(&image.configs().topic(topic.name.as_str()));
        if let Some(offline) = self.log_dirs.offline(name) {
            return Err(LogError::Offline(millstream_log::Offline { reason: offline.reason }));
        }
        match self.log_dirs.get(name).filter(|log| log.topic_id() == topic.id) {
            Some(log) => {
                log.update_config(config);
                Ok(log)
            }
            None => make(&self.log_dirs, name, topic.id, config),
        }
    }

    fn remove(&self, topic: &Topic, now: TimestampMs) {
        let removed = self.partitions.remove(topic.id);
        for partition in removed.iter().flat_map(|topic| topic.partitions()) {
            if let Err(error) = self.log_dirs.delete(&partition.id, now) {
                error!(partition = %partition.id, %error, "a deleted partition's directory stays");
            }
            partition.waiters.wake_all();
        }
        info!(topic = %topic.name, "topic deleted");
    }

    fn reconfigure(&self, topic: &Topic, image: &Image) {
        let config = self.settings.current().log_config(&image.configs().topic(topic.name.as_str()));
        let Some(held) = self.partitions.topic_by_id(topic.id) else { return };
        for partition in held.partitions() {
            partition.log.update_config(config.clone());
        }
    }
}

fn has_new_settings(topic: &TopicName, before: &Image, after: &Image) -> bool {
    before.configs().topic(topic.as_str()) != after.configs().topic(topic.as_str())
}
