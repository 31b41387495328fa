//! Members of a group, and a committer that is in none, and what they have been promised: an offset that was
//! committed, or fetched, does not go back to an earlier one; of one generation there is one assignment; a
//! request is answered once.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_coordinator::{
    RequestToken,
    group::{
        GroupEvent, GroupResponse, Heartbeat, JoinGroup, JoinGroupResponse, LeaveGroup, LeavingMember,
        OffsetCommit, OffsetCommitPartition, OffsetFetch, OffsetFetchResponse, SyncGroup, SyncGroupResponse,
    },
};
use millstream_types::{ErrorCode, GenerationId, Offset, PartitionId, TimestampMs, TopicName, Uuid};

use crate::{node::Node, random::Random};

const MEMBERS: usize = 3;
const GROUP: &str = "group";
/// The group of the one that needs no group.
const ALONE: &str = "alone";
const TOPIC: &str = "data";

#[derive(Debug)]
pub(crate) struct Groups {
    members: Vec<Member>,
    waiting: BTreeMap<RequestToken, Asked>,
    offsets: BTreeMap<&'static str, Committed>,
    /// What was handed out in each generation: a number that is new with each assignment.
    assigned: BTreeMap<GenerationId, u64>,
    next_number: u64,
    pub(crate) committed_count: usize,
    pub(crate) generation_count: usize,
}

#[derive(Debug, Default)]
struct Member {
    /// Of a static member.
    instance: Option<String>,
    id: String,
    stage: Stage,
}

#[derive(Debug, Default, Clone, PartialEq)]
enum Stage {
    #[default]
    Outside,
    /// A JoinGroup or SyncGroup is on its way.
    Waiting,
    Joined {
        generation: GenerationId,
        leads: bool,
        members: Vec<String>,
    },
    Assigned {
        generation: GenerationId,
    },
}

/// Which question a token stands for.
#[derive(Debug)]
enum Asked {
    Join(usize),
    Sync(usize, GenerationId),
    Heartbeat(usize),
    Leave,
    Commit(&'static str, i64),
    Fetch(&'static str),
}

/// Offsets committed for one partition by one group: they only rise.
#[derive(Debug, Default)]
struct Committed {
    issued: BTreeSet<i64>,
    /// Answered with an error that says it does not count.
    rejected: BTreeSet<i64>,
    promised: Option<i64>,
}

impl Groups {
    pub(crate) fn new() -> Self {
        let member = |index: usize| Member {
            instance: (index == 0).then(|| "instance".to_owned()),
            ..Member::default()
        };
        Self {
            members: (0..MEMBERS).map(member).collect(),
            waiting: BTreeMap::new(),
            offsets: [(GROUP, Committed::default()), (ALONE, Committed::default())].into(),
            assigned: BTreeMap::new(),
            next_number: 0,
            committed_count: 0,
            generation_count: 0,
        }
    }

    /// Members, and the one alone, do what they would do next.
    pub(crate) fn act(&mut self, node: &mut Node, random: &mut Random, now: TimestampMs) -> String {
        for _ in 0..3 {
            self.act_once(node, random, now);
        }
        format!("{:?}", self.waiting.last_key_value())
    }

    fn act_once(&mut self, node: &mut Node, random: &mut Random, now: TimestampMs) {
        if random.chance(80) {
            self.commit(node, ALONE, None, now);
        } else if random.chance(80) {
            let group = if random.chance(500) { GROUP } else { ALONE };
            self.fetch(node, group, now);
        } else {
            self.act_as_member(node, random, now);
        }
    }

    fn act_as_member(&mut self, node: &mut Node, random: &mut Random, now: TimestampMs) {
        let index = random.below(MEMBERS);
        match self.members[index].stage.clone() {
            Stage::Outside => self.join(node, index, now),
            // Its client gave up waiting and asks again elsewhere.
            Stage::Waiting if random.chance(50) => self.join(node, index, now),
            Stage::Waiting => {}
            Stage::Joined { generation, leads, members } => {
                self.sync(node, index, generation, leads, &members, now)
            }
            Stage::Assigned { generation } => match random.below(20) {
                0 => self.join(node, index, now),
                1 => self.leave(node, index, now),
                // It restarts: a static member keeps its instance, others begin from nothing.
                2 => {
                    self.members[index].id.clear();
                    self.join(node, index, now);
                }
                3..8 => self.commit(node, GROUP, Some((index, generation)), now),
                _ => self.heartbeat(node, index, generation, now),
            },
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn ask(&mut self, node: &mut Node, event: GroupEvent, asked: Asked, now: TimestampMs) {
        let token = node.submit(event, now);
        self.waiting.insert(token, asked);
    }

    fn join(&mut self, node: &mut Node, index: usize, now: TimestampMs) {
        let member = &mut self.members[index];
        member.stage = Stage::Waiting;
        let request = JoinGroup {
            group_id: GROUP.to_owned(),
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            client_id: format!("client-{index}"),
            client_host: "/127.0.0.1".to_owned(),
            requires_known_member_id: true,
            supports_skipping_assignment: true,
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 20_000,
            protocol_type: "simulated".to_owned(),
            protocols: vec![("only".to_owned(), Bytes::from_static(b"metadata"))],
            reason: None,
        };
        self.ask(node, GroupEvent::JoinGroup(request), Asked::Join(index), now);
    }

    fn sync(
        &mut self,
        node: &mut Node,
        index: usize,
        generation: GenerationId,
        leads: bool,
        members: &[String],
        now: TimestampMs,
    ) {
        let number = self.number();
        let part = Bytes::copy_from_slice(&number.to_be_bytes());
        let assignments = members.iter().filter(|_| leads).map(|id| (id.clone(), part.clone())).collect();
        let member = &mut self.members[index];
        member.stage = Stage::Waiting;
        let request = SyncGroup {
            group_id: GROUP.to_owned(),
            generation_id: generation,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            protocol_type: None,
            protocol_name: None,
            assignments,
        };
        self.ask(node, GroupEvent::SyncGroup(request), Asked::Sync(index, generation), now);
    }

    fn heartbeat(&mut self, node: &mut Node, index: usize, generation_id: GenerationId, now: TimestampMs) {
        let member = &self.members[index];
        let request = Heartbeat {
            group_id: GROUP.to_owned(),
            generation_id,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
        };
        self.ask(node, GroupEvent::Heartbeat(request), Asked::Heartbeat(index), now);
    }

    fn leave(&mut self, node: &mut Node, index: usize, now: TimestampMs) {
        let member = &mut self.members[index];
        member.stage = Stage::Outside;
        let leaving = LeavingMember {
            member_id: std::mem::take(&mut member.id),
            group_instance_id: member.instance.clone(),
            reason: None,
        };
        let request = LeaveGroup { group_id: GROUP.to_owned(), members: vec![leaving] };
        self.ask(node, GroupEvent::LeaveGroup(request), Asked::Leave, now);
    }

    fn commit(
        &mut self,
        node: &mut Node,
        group: &'static str,
        member: Option<(usize, GenerationId)>,
        now: TimestampMs,
    ) {
        let offset = self.number() as i64;
        let partition = OffsetCommitPartition {
            topic: TopicName::from_static(TOPIC),
            topic_id: Uuid(77),
            partition: PartitionId(0),
            offset: Offset(offset),
            leader_epoch: None,
            metadata: None,
        };
        let request = OffsetCommit {
            group_id: group.to_owned(),
            member_id: member.map(|(index, _)| self.members[index].id.clone()).unwrap_or_default(),
            group_instance_id: member.and_then(|(index, _)| self.members[index].instance.clone()),
            generation_or_epoch: member.map_or(-1, |(_, generation)| generation.0),
            retention_time_ms: None,
            partitions: vec![partition],
        };
        self.offsets.entry(group).or_default().issued.insert(offset);
        self.ask(node, GroupEvent::OffsetCommit(request), Asked::Commit(group, offset), now);
    }

    fn fetch(&mut self, node: &mut Node, group: &'static str, now: TimestampMs) {
        let request = OffsetFetch {
            group_id: group.to_owned(),
            member_id: None,
            member_epoch: -1,
            require_stable: true,
            topics: None,
        };
        self.ask(node, GroupEvent::OffsetFetch(request), Asked::Fetch(group), now);
    }

    /// Takes in what the node has answered.
    pub(crate) fn hear(&mut self, answers: Vec<(RequestToken, GroupResponse)>) -> Result<(), String> {
        for (token, response) in answers {
            let Some(asked) = self.waiting.remove(&token) else {
                return Err(format!("{token:?} is answered twice, or was never asked: {response:?}"));
            };
            match (asked, response) {
                (Asked::Join(index), GroupResponse::JoinGroup(answer)) => self.heard_join(index, answer)?,
                (Asked::Sync(index, generation), GroupResponse::SyncGroup(answer)) => {
                    self.heard_sync(index, generation, &answer)?;
                }
                (Asked::Heartbeat(index), GroupResponse::Heartbeat(error)) => {
                    self.members[index].react(error)
                }
                (Asked::Leave, GroupResponse::LeaveGroup(_)) => {}
                (Asked::Commit(group, offset), GroupResponse::OffsetCommit(answer)) => {
                    self.heard_commit(group, offset, answer.partitions[0].2);
                }
                (Asked::Fetch(group), GroupResponse::OffsetFetch(answer)) => {
                    self.heard_fetch(group, &answer)?
                }
                (asked, response) => return Err(format!("{asked:?} is answered with {response:?}")),
            }
        }
        Ok(())
    }

    fn heard_join(&mut self, index: usize, answer: JoinGroupResponse) -> Result<(), String> {
        let member = &mut self.members[index];
        match (answer.error, answer.generation_id) {
            (ErrorCode::None, Some(generation)) => {
                let leads = answer.leader == answer.member_id && !answer.skip_assignment;
                if leads && self.assigned.contains_key(&generation) {
                    return Err(format!("{generation:?} is to be assigned again by {}", answer.member_id));
                }
                member.id = answer.member_id;
                let members = answer.members.into_iter().map(|member| member.member_id).collect();
                member.stage = Stage::Joined { generation, leads, members };
            }
            (ErrorCode::MemberIdRequired, _) => {
                member.id = answer.member_id;
                member.stage = Stage::Outside;
            }
            (error, _) => member.react(error),
        }
        Ok(())
    }

    fn heard_sync(
        &mut self,
        index: usize,
        generation: GenerationId,
        answer: &SyncGroupResponse,
    ) -> Result<(), String> {
        if answer.error != ErrorCode::None {
            self.members[index].react(answer.error);
            return Ok(());
        }
        self.members[index].stage = Stage::Assigned { generation };
        let Some(number) = answer.assignment.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else {
            return Ok(());
        };
        match self.assigned.insert(generation, number) {
            Some(other) if other != number => {
                Err(format!("{generation:?} has two assignments, number {other} and number {number}"))
            }
            Some(_) => Ok(()),
            None => {
                self.generation_count += 1;
                Ok(())
            }
        }
    }

    fn heard_commit(&mut self, group: &'static str, offset: i64, error: ErrorCode) {
        let committed = self.offsets.entry(group).or_default();
        match error {
            ErrorCode::None => {
                committed.promised = committed.promised.max(Some(offset));
                self.committed_count += 1;
            }
            // The log may have it all the same.
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable => {}
            _ => drop(committed.rejected.insert(offset)),
        }
    }

    fn heard_fetch(&mut self, group: &'static str, answer: &OffsetFetchResponse) -> Result<(), String> {
        let found = answer.topics.first().and_then(|(_, offsets)| offsets.first());
        let found = found.and_then(|found| found.offset).map(|offset| offset.0);
        let committed = self.offsets.entry(group).or_default();
        let sound = found
            .is_none_or(|found| committed.issued.contains(&found) && !committed.rejected.contains(&found));
        if !sound || found < committed.promised {
            return Err(format!("{group} has committed {:?}, but {found:?} is fetched", committed.promised));
        }
        committed.promised = found;
        Ok(())
    }

    /// The process is gone, and with it every connection.
    pub(crate) fn node_died(&mut self) {
        self.waiting.clear();
        for member in &mut self.members {
            if member.stage == Stage::Waiting {
                member.stage = Stage::Outside;
            }
        }
    }

    /// Asks for all that was committed.
    pub(crate) fn fetch_all(&mut self, node: &mut Node, now: TimestampMs) {
        for group in [GROUP, ALONE] {
            self.fetch(node, group, now);
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Member {
    /// What a client does on an error: join again, under its id if that is still good.
    fn react(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => {
                self.id.clear();
                self.stage = Stage::Outside;
            }
            _ => self.stage = Stage::Outside,
        }
    }
}
