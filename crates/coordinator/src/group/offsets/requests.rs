//! OffsetCommit, OffsetFetch and OffsetDelete, once the group has allowed them.

use std::collections::BTreeMap;

use millstream_types::{ErrorCode, PartitionId, TimestampMs, TopicName, Uuid};

use super::{Offsets, Replayed};
use crate::group::{
    CommittedOffset, GroupConfig, OffsetCommit, OffsetCommitPartition, OffsetCommitResponse, OffsetDelete,
    OffsetDeleteResponse, OffsetFetch, OffsetFetchResponse, OffsetFetchTopic,
    classic::ClassicGroup,
    outcome::Outcome,
    records::{GroupRecord, StoredOffset},
};

impl OffsetCommitResponse {
    /// An error of the whole request stands at each of its partitions.
    pub(crate) fn failed(error: ErrorCode, request: &OffsetCommit) -> Self {
        let partitions = request.partitions.iter().map(|p| (p.topic.clone(), p.partition, error)).collect();
        Self { partitions }
    }
}

pub(crate) fn commit(
    request: &OffsetCommit,
    config: &GroupConfig,
    now: TimestampMs,
    out: &mut Outcome,
) -> OffsetCommitResponse {
    let expires_at = request.retention_time_ms.map(|retention_ms| now.plus_ms(retention_ms));
    let mut commit_one = |partition: &OffsetCommitPartition| {
        let metadata = partition.metadata.as_deref().unwrap_or_default();
        if metadata.encode_utf16().count() > config.offset_metadata_max {
            return ErrorCode::OffsetMetadataTooLarge;
        }
        let stored = StoredOffset {
            offset: partition.offset,
            leader_epoch: partition.leader_epoch,
            metadata: metadata.to_owned(),
            committed_at: now,
            expires_at,
            topic_id: Some(partition.topic_id).filter(|id| !id.is_zero()),
        };
        out.records.push(GroupRecord::Offset {
            group_id: request.group_id.clone(),
            topic: partition.topic.clone(),
            partition: partition.partition,
            value: Some(stored),
        });
        ErrorCode::None
    };
    let partitions =
        request.partitions.iter().map(|p| (p.topic.clone(), p.partition, commit_one(p))).collect();
    OffsetCommitResponse { partitions }
}

impl Offsets {
    /// A group that has committed nothing, or does not exist, has no offsets: that is no error.
    pub(crate) fn fetch(&self, request: &OffsetFetch) -> OffsetFetchResponse {
        let topics = match &request.topics {
            Some(topics) => topics.iter().map(|topic| self.fetch_topic(request, topic)).collect(),
            None => self.fetch_all(request),
        };
        OffsetFetchResponse { error: ErrorCode::None, topics }
    }

    fn fetch_topic(&self, request: &OffsetFetch, asked: &OffsetFetchTopic) -> (String, Vec<CommittedOffset>) {
        let of_this_topic = |replayed: &&Replayed| match (replayed.stored.topic_id, asked.topic_id) {
            (Some(stored), Some(asked)) => stored == asked,
            _ => true,
        };
        let fetch = |partition: &PartitionId| {
            let found = self.find(&request.group_id, &asked.topic, *partition).filter(of_this_topic);
            self.fetch_one(request, &asked.topic, *partition, found)
        };
        (asked.topic.clone(), asked.partitions.iter().map(fetch).collect())
    }

    fn fetch_all(&self, request: &OffsetFetch) -> Vec<(String, Vec<CommittedOffset>)> {
        let Some(topics) = self.committed.get(&request.group_id) else { return Vec::new() };
        let fetch = |(topic, held): (&TopicName, &BTreeMap<PartitionId, Replayed>)| {
            let name = topic.as_str();
            let offsets =
                held.iter().map(|(partition, found)| self.fetch_one(request, name, *partition, Some(found)));
            (name.to_owned(), offsets.collect())
        };
        topics.iter().map(fetch).collect()
    }

    fn fetch_one(
        &self,
        request: &OffsetFetch,
        topic: &str,
        partition: PartitionId,
        found: Option<&Replayed>,
    ) -> CommittedOffset {
        let unstable = request.require_stable && self.is_pending(&request.group_id, topic, partition);
        let found = found.map(|found| &found.stored).filter(|_| !unstable);
        CommittedOffset {
            partition,
            offset: found.map(|stored| stored.offset),
            leader_epoch: found.and_then(|stored| stored.leader_epoch),
            metadata: found.map(|stored| stored.metadata.clone()).unwrap_or_default(),
            error: if unstable { ErrorCode::UnstableOffsetCommit } else { ErrorCode::None },
        }
    }

    /// Offsets of topics that the group is reading stay.
    pub(crate) fn delete(
        &self,
        request: &OffsetDelete,
        group: &ClassicGroup,
        out: &mut Outcome,
    ) -> OffsetDeleteResponse {
        let mut topics = Vec::new();
        for (topic, partitions) in &request.topics {
            let error = match group.is_subscribed_to(topic) {
                true => ErrorCode::GroupSubscribedToTopic,
                false => ErrorCode::None,
            };
            topics.push((topic.clone(), partitions.iter().map(|partition| (*partition, error)).collect()));
            if error == ErrorCode::None {
                for partition in partitions {
                    out.records.extend(self.tombstone(&request.group_id, topic, *partition));
                }
            }
        }
        OffsetDeleteResponse { error: ErrorCode::None, topics }
    }

    fn tombstone(&self, group_id: &str, topic: &str, partition: PartitionId) -> Option<GroupRecord> {
        let held =
            self.find(group_id, topic, partition).is_some() || self.is_pending(group_id, topic, partition);
        let topic = TopicName::parse(topic).ok().filter(|_| held)?;
        Some(GroupRecord::Offset { group_id: group_id.to_owned(), topic, partition, value: None })
    }

    /// Tombstones for all that a group has.
    pub(crate) fn delete_group(&self, group_id: &str, out: &mut Outcome) {
        out.records.extend(self.places(group_id).into_iter().map(|(topic, partition)| GroupRecord::Offset {
            group_id: group_id.to_owned(),
            topic,
            partition,
            value: None,
        }));
    }

    /// Tombstones for what was committed for these topics, in all groups. An offset that does not say for
    /// which topic of its name it was committed goes too.
    pub(crate) fn delete_topics(&self, topics: &[(TopicName, Uuid)], out: &mut Outcome) {
        for group_id in self.group_ids() {
            for (topic, partition) in self.places(&group_id) {
                let Some((_, deleted_id)) = topics.iter().find(|(name, _)| *name == topic) else { continue };
                let of_deleted_topic =
                    |stored: &StoredOffset| stored.topic_id.is_none_or(|id| id == *deleted_id);
                if self.holding(&group_id, &topic, partition).any(of_deleted_topic) {
                    let group_id = group_id.clone();
                    out.records.push(GroupRecord::Offset { group_id, topic, partition, value: None });
                }
            }
        }
    }

    /// The committed offset of this place and the pending ones.
    fn holding<'a>(
        &'a self,
        group_id: &'a str,
        topic: &'a TopicName,
        partition: PartitionId,
    ) -> impl Iterator<Item = &'a StoredOffset> {
        let all = std::iter::once(&self.committed).chain(self.pending.values());
        all.filter_map(move |groups| groups.get(group_id)?.get(topic)?.get(&partition))
            .map(|replayed| &replayed.stored)
    }
}
