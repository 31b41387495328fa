//! The groups and offsets of one partition of `__consumer_offsets`, behind the trait that the shell runs.
//!
//! Two kinds of state. Durable: what the log says, in `metadata` and `offsets`; it changes in `replay` alone,
//! so that replaying the log gives it again. Soft: the living groups; they start from the durable state and
//! run ahead of it by the decision at hand. When that decision's records cannot be appended, the groups
//! concerned go back to what the log says of them, and who waited there is told to retry.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use millstream_record::messages::GroupMetadataValue;
use millstream_types::{ErrorCode, ProducerEpoch, ProducerId, TimestampMs};

use super::{
    DescribeGroupResponse, GroupConfig, GroupEvent, GroupResponse, JoinGroup, JoinGroupResponse, LeaveGroup,
    LeaveGroupResponse, OffsetCommit, OffsetCommitResponse, OffsetDelete, OffsetDeleteResponse, SyncGroup,
    SyncGroupResponse,
    classic::ClassicGroup,
    offsets::{Offsets, Remaining, commit},
    outcome::Outcome,
    records::GroupRecord,
    response::group_error,
};
use crate::{CoordinatorRecord, Decision, RecordOrigin, ReplayError, RequestToken, Shard, timers::Timers};

/// A clean-up goes on in the next decision after so many records, so that one batch can hold them.
const CLEANUP_RECORDS_MAX: usize = 1_000;

/// Where the random bits of member ids come from.
pub type RandomBits = Box<dyn FnMut() -> u128 + Send>;

pub struct GroupShard {
    config: Arc<GroupConfig>,
    random: RandomBits,
    /// Durable: the latest record of each group.
    metadata: BTreeMap<String, GroupMetadataValue>,
    /// Durable.
    offsets: Offsets,
    /// Soft. Every group of `metadata` and `offsets` is here once the shard is loaded.
    groups: BTreeMap<String, ClassicGroup>,
    /// Each group's next deadline.
    timers: Timers<String>,
    /// `None` until the shard is loaded.
    cleanup: Option<Cleanup>,
}

/// The round that expires offsets and empty groups.
#[derive(Debug, Clone)]
struct Cleanup {
    due: TimestampMs,
    /// The last group that the round at hand has been through; `None` between rounds.
    after: Option<String>,
}

impl Cleanup {
    fn next_round(config: &GroupConfig, now: TimestampMs) -> Self {
        Self { due: now.plus_ms(config.offsets_retention_check_interval_ms.max(1)), after: None }
    }
}

impl GroupShard {
    pub fn new(config: GroupConfig, random: RandomBits) -> Self {
        Self {
            config: Arc::new(config),
            random,
            metadata: BTreeMap::new(),
            offsets: Offsets::default(),
            groups: BTreeMap::new(),
            timers: Timers::default(),
            cleanup: None,
        }
    }

    fn handle_event(&mut self, token: RequestToken, event: GroupEvent, now: TimestampMs, out: &mut Outcome) {
        let response = match event {
            GroupEvent::JoinGroup(request) => return self.join(token, &request, now, out),
            GroupEvent::SyncGroup(request) => return self.sync(token, &request, now, out),
            GroupEvent::Heartbeat(request) => {
                GroupResponse::Heartbeat(match self.groups.get_mut(&request.group_id) {
                    _ if request.group_id.is_empty() => ErrorCode::InvalidGroupId,
                    Some(group) => group.heartbeat(&request, now),
                    None => ErrorCode::UnknownMemberId,
                })
            }
            GroupEvent::LeaveGroup(request) => GroupResponse::LeaveGroup(self.leave(&request, now, out)),
            GroupEvent::DescribeGroup { group_id } => {
                GroupResponse::DescribeGroup(match self.groups.get(&group_id) {
                    Some(group) => group.describe(),
                    None => DescribeGroupResponse::not_found(group_id),
                })
            }
            GroupEvent::ListGroups(filter) => GroupResponse::ListGroups(
                self.groups.values().filter_map(|group| group.listed(&filter)).collect(),
            ),
            GroupEvent::DeleteGroup { group_id } => {
                GroupResponse::DeleteGroup(self.delete_group(&group_id, out))
            }
            GroupEvent::OffsetCommit(request) => GroupResponse::OffsetCommit(self.commit(&request, now, out)),
            GroupEvent::OffsetFetch(request) => GroupResponse::OffsetFetch(self.offsets.fetch(&request)),
            GroupEvent::OffsetDelete(request) => {
                GroupResponse::OffsetDelete(self.delete_offsets(&request, out))
            }
            GroupEvent::TopicsDeleted { topics } => {
                self.offsets.delete_topics(&topics, out);
                out.splittable = true;
                GroupResponse::TopicsDeleted
            }
        };
        out.respond(token, response);
    }

    fn join(&mut self, token: RequestToken, request: &JoinGroup, now: TimestampMs, out: &mut Outcome) {
        let timeouts = self.config.session_timeout_min_ms..=self.config.session_timeout_max_ms;
        let is_known = self.groups.contains_key(&request.group_id);
        let refused = if request.group_id.is_empty() {
            Some(ErrorCode::InvalidGroupId)
        } else if !timeouts.contains(&request.session_timeout_ms) {
            Some(ErrorCode::InvalidSessionTimeout)
        } else if !is_known && !request.member_id.is_empty() {
            Some(ErrorCode::UnknownMemberId)
        } else {
            None
        };
        if let Some(error) = refused {
            return out.respond(token, JoinGroupResponse::failed(error, &request.member_id));
        }
        let new_group = || ClassicGroup::new(request.group_id.clone(), Arc::clone(&self.config), Some(now));
        let group = self.groups.entry(request.group_id.clone()).or_insert_with(new_group);
        group.join(token, request, &mut *self.random, now, out);
        if !is_known && out.records.is_empty() {
            out.records.push(group.to_empty_record());
        }
    }

    fn sync(&mut self, token: RequestToken, request: &SyncGroup, now: TimestampMs, out: &mut Outcome) {
        match self.groups.get_mut(&request.group_id) {
            _ if request.group_id.is_empty() => {
                out.respond(token, SyncGroupResponse::failed(ErrorCode::InvalidGroupId));
            }
            Some(group) => group.sync(token, request, now, out),
            None => out.respond(token, SyncGroupResponse::failed(ErrorCode::UnknownMemberId)),
        }
    }

    fn leave(&mut self, request: &LeaveGroup, now: TimestampMs, out: &mut Outcome) -> LeaveGroupResponse {
        match self.groups.get_mut(&request.group_id) {
            _ if request.group_id.is_empty() => {
                LeaveGroupResponse { error: ErrorCode::InvalidGroupId, members: Vec::new() }
            }
            Some(group) => group.leave(request, now, out),
            None => LeaveGroupResponse {
                error: ErrorCode::None,
                members: request
                    .members
                    .iter()
                    .map(|leaving| leaving.left(ErrorCode::UnknownMemberId))
                    .collect(),
            },
        }
    }

    fn delete_group(&mut self, group_id: &str, out: &mut Outcome) -> ErrorCode {
        match self.groups.get(group_id) {
            None => ErrorCode::GroupIdNotFound,
            Some(group) if !group.is_empty() => ErrorCode::NonEmptyGroup,
            Some(_) => {
                self.offsets.delete_group(group_id, out);
                out.records.push(GroupRecord::Group { group_id: group_id.to_owned(), value: None });
                out.splittable = true;
                ErrorCode::None
            }
        }
    }

    fn commit(
        &mut self,
        request: &OffsetCommit,
        now: TimestampMs,
        out: &mut Outcome,
    ) -> OffsetCommitResponse {
        let (member_id, instance_id) = (request.member_id.as_str(), request.group_instance_id.as_deref());
        let generation = request.generation_or_epoch;
        let checked = match self.groups.get_mut(&request.group_id) {
            Some(group) => group.check_offset_commit(member_id, instance_id, generation, now),
            // Who manages its partitions itself needs no group: committing makes one.
            None if generation < 0 => Ok(()),
            None => Err(ErrorCode::GroupIdNotFound),
        };
        match checked {
            Ok(()) => commit(request, &self.config, now, out),
            Err(error) => OffsetCommitResponse::failed(error, request),
        }
    }

    fn delete_offsets(&mut self, request: &OffsetDelete, out: &mut Outcome) -> OffsetDeleteResponse {
        let failed = |error| OffsetDeleteResponse { error, topics: Vec::new() };
        match self.groups.get(&request.group_id) {
            _ if request.group_id.is_empty() => failed(ErrorCode::InvalidGroupId),
            None => failed(ErrorCode::GroupIdNotFound),
            Some(group) if !group.allows_offset_delete() => failed(ErrorCode::NonEmptyGroup),
            Some(group) => self.offsets.delete(request, group, out),
        }
    }

    /// Expires what is due, group by group, and empty groups without offsets with it.
    fn clean_up(&mut self, now: TimestampMs, out: &mut Outcome) {
        let Some(cleanup) = self.cleanup.as_mut().filter(|cleanup| cleanup.due <= now) else { return };
        let after = cleanup.after.clone();
        let retention_ms = self.config.offsets_retention_ms;
        let rest = self.groups.iter().filter(|(id, _)| after.as_ref().is_none_or(|after| *id > after));
        for (group_id, group) in rest {
            let remaining = self.offsets.expire(group_id, group, retention_ms, now, CLEANUP_RECORDS_MAX, out);
            if out.records.len() >= CLEANUP_RECORDS_MAX {
                // Again from this group on: what is tombstoned by then is gone.
                break;
            }
            if remaining == Remaining::Nothing && group.is_abandoned() {
                out.records.push(GroupRecord::Group { group_id: group_id.clone(), value: None });
            }
            cleanup.after = Some(group_id.clone());
        }
        if out.records.len() < CLEANUP_RECORDS_MAX {
            *cleanup = Cleanup::next_round(&self.config, now);
        }
    }

    /// Gives a group whose records could not be appended back the state that the log has.
    fn revert(&mut self, group_id: &str, error: ErrorCode, now: TimestampMs, out: &mut Outcome) {
        if let Some(mut group) = self.groups.remove(group_id) {
            answer_waiting(&mut group, error, out);
        }
        self.restore(group_id, now);
    }

    /// Makes the living group from the durable state, if that knows it.
    fn restore(&mut self, group_id: &str, now: TimestampMs) {
        let (id, config) = (group_id.to_owned(), Arc::clone(&self.config));
        if let Some(record) = self.metadata.get(group_id) {
            self.groups.insert(id.clone(), ClassicGroup::from_record(id, config, record, now));
        } else if self.offsets.has_group(group_id) {
            self.groups.insert(id.clone(), ClassicGroup::new(id, config, None));
        }
        self.watch(group_id);
    }

    fn fail(
        &mut self,
        groups: BTreeSet<String>,
        responses: Vec<(RequestToken, GroupResponse)>,
        error: ErrorCode,
        now: TimestampMs,
    ) -> Decision<GroupResponse> {
        let mut out = Outcome::default();
        for (token, response) in responses {
            out.respond(token, response.failed(error));
        }
        for group_id in groups {
            self.revert(&group_id, group_error(error), now, &mut out);
        }
        // A round of cleaning up that cannot be written is not tried again at once.
        if let Some(cleanup) = self.cleanup.as_mut().filter(|cleanup| cleanup.due <= now) {
            *cleanup = Cleanup::next_round(&self.config, now);
        }
        Decision { responses: out.responses, ..Decision::default() }
    }

    /// Turns the records into bytes.
    fn finish(&mut self, out: Outcome, now: TimestampMs) -> Decision<GroupResponse> {
        let encoded: Result<Vec<_>, _> = out.records.iter().map(GroupRecord::encode).collect();
        match encoded {
            Ok(records) => Decision { records, splittable: out.splittable, responses: out.responses },
            // Something is longer than the format allows; Kafka, too, finds out only here.
            Err(_) => {
                let groups =
                    out.records.iter().filter_map(GroupRecord::written_group).map(str::to_owned).collect();
                self.fail(groups, out.responses, ErrorCode::UnknownServerError, now)
            }
        }
    }

    fn is_loaded(&self) -> bool {
        self.cleanup.is_some()
    }

    /// Keeps the group's next deadline among those of the shard.
    fn watch(&mut self, group_id: &str) {
        match self.groups.get(group_id).and_then(ClassicGroup::next_deadline) {
            Some(deadline) => self.timers.schedule(group_id.to_owned(), deadline),
            None => self.timers.cancel(&group_id.to_owned()),
        }
    }
}

#[cfg(test)]
impl GroupShard {
    pub(crate) fn durable(&self) -> (&BTreeMap<String, GroupMetadataValue>, &Offsets) {
        (&self.metadata, &self.offsets)
    }

    /// `waiting` are the requests without an answer: each must stand in exactly one group.
    pub(crate) fn check_invariants(&self, waiting: &BTreeSet<RequestToken>) {
        let mut found = Vec::new();
        for (id, group) in &self.groups {
            group.check_invariants(&mut found);
            let is_written = self.metadata.contains_key(id) || self.offsets.has_group(id);
            assert!(is_written || group.is_abandoned(), "{id} is in no record");
        }
        for id in self.metadata.keys().cloned().chain(self.offsets.group_ids()) {
            assert!(self.groups.contains_key(&id), "{id} is in the log but not alive");
        }
        assert_eq!(found.len(), waiting.len());
        assert_eq!(&found.into_iter().collect::<BTreeSet<_>>(), waiting);
        let with_deadline = self.groups.iter().filter(|(_, group)| group.next_deadline().is_some());
        assert!(with_deadline.map(|(id, _)| id).eq(self.timers.keys()));
    }
}

impl Shard for GroupShard {
    type Event = GroupEvent;
    type Response = GroupResponse;

    fn handle(
        &mut self,
        token: RequestToken,
        event: GroupEvent,
        now: TimestampMs,
    ) -> Decision<GroupResponse> {
        let mut out = Outcome::default();
        let group_id = event.group_id().map(str::to_owned);
        self.handle_event(token, event, now, &mut out);
        if let Some(group_id) = group_id {
            self.watch(&group_id);
        }
        self.finish(out, now)
    }

    fn replay(&mut self, record: &CoordinatorRecord, origin: RecordOrigin) -> Result<(), ReplayError> {
        let failed = |reason: String| ReplayError { offset: origin.offset, reason };
        match GroupRecord::decode(record).map_err(|error| failed(error.to_string()))? {
            None => return Err(failed("a kind of record that is not kept here".to_owned())),
            Some(GroupRecord::Offset { group_id, topic, partition, value }) => {
                let producer = origin.producer.map(|(id, _)| id);
                let makes_group = value.is_some() && self.is_loaded() && !self.groups.contains_key(&group_id);
                if makes_group {
                    let group = ClassicGroup::new(group_id.clone(), Arc::clone(&self.config), None);
                    self.groups.insert(group_id.clone(), group);
                }
                self.offsets.replay(group_id, (topic, partition), value, origin.offset, producer);
            }
            Some(GroupRecord::Group { group_id, value: Some(value) }) => {
                self.metadata.insert(group_id, value);
            }
            Some(GroupRecord::Group { group_id, value: None }) => {
                self.metadata.remove(&group_id);
                self.groups.remove(&group_id);
                self.timers.cancel(&group_id);
            }
        }
        Ok(())
    }

    fn replay_end_transaction(&mut self, producer_id: ProducerId, _: ProducerEpoch, committed: bool) {
        self.offsets.end_transaction(producer_id, committed);
    }

    fn loaded(&mut self, now: TimestampMs) -> Decision<GroupResponse> {
        let mut out = Outcome::default();
        let group_ids: BTreeSet<String> =
            self.metadata.keys().cloned().chain(self.offsets.group_ids()).collect();
        for group_id in group_ids {
            self.restore(&group_id, now);
            if let Some(group) = self.groups.get_mut(&group_id) {
                group.rebalance_if_too_large(now, &mut out);
            }
            self.watch(&group_id);
        }
        self.cleanup = Some(Cleanup::next_round(&self.config, now));
        self.finish(out, now)
    }

    fn clock_was_set(&mut self, by_ms: i64) {
        self.groups.values_mut().for_each(|group| group.clock_was_set(by_ms));
        self.timers.shift(by_ms);
        if let Some(cleanup) = &mut self.cleanup {
            cleanup.due = cleanup.due.plus_ms(by_ms);
        }
    }

    fn next_deadline(&self) -> Option<TimestampMs> {
        let cleanup = self.cleanup.as_ref().map(|cleanup| cleanup.due);
        self.timers.next_deadline().into_iter().chain(cleanup).min()
    }

    fn on_timer(&mut self, now: TimestampMs) -> Decision<GroupResponse> {
        // Each group's records stand for themselves, and each tombstone too.
        let mut out = Outcome { splittable: true, ..Outcome::default() };
        for _ in 0..self.timers.due_count(now) {
            if out.records.len() >= CLEANUP_RECORDS_MAX {
                return self.finish(out, now);
            }
            let Some(group_id) = self.timers.pop_due(now) else { break };
            if let Some(group) = self.groups.get_mut(&group_id) {
                group.on_timer(now, &mut out);
            }
            self.watch(&group_id);
        }
        self.clean_up(now, &mut out);
        self.finish(out, now)
    }

    fn append_failed(
        &mut self,
        failed: Decision<GroupResponse>,
        error: ErrorCode,
        now: TimestampMs,
    ) -> Decision<GroupResponse> {
        let records = failed.records.iter().filter_map(|record| GroupRecord::decode(record).ok().flatten());
        let groups = records.filter_map(|record| record.written_group().map(str::to_owned)).collect();
        self.fail(groups, failed.responses, error, now)
    }

    fn unload(&mut self) -> Vec<(RequestToken, GroupResponse)> {
        let mut out = Outcome::default();
        for group in self.groups.values_mut() {
            answer_waiting(group, ErrorCode::NotCoordinator, &mut out);
        }
        self.metadata.clear();
        self.offsets = Offsets::default();
        self.groups.clear();
        self.timers = Timers::default();
        self.cleanup = None;
        out.responses
    }
}

fn answer_waiting(group: &mut ClassicGroup, error: ErrorCode, out: &mut Outcome) {
    let (joins, syncs) = group.take_waiting();
    for (token, member_id) in joins {
        out.respond(token, JoinGroupResponse::failed(error, &member_id));
    }
    for token in syncs {
        out.respond(token, SyncGroupResponse::failed(error));
    }
}
