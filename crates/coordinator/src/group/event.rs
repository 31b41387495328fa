//! What can be asked of a group shard. One event concerns one group (but for the two that concern all):
//! who serves a request over several groups splits it by group and puts the answers together.
//!
//! Strings stand as the client sent them; an empty member id is one that has not been given yet.

use bytes::Bytes;
use millstream_types::{GenerationId, LeaderEpoch, Offset, PartitionId, TopicName, Uuid};

use super::{GroupState, GroupType};

#[derive(Debug, Clone, PartialEq)]
pub enum GroupEvent {
    JoinGroup(JoinGroup),
    SyncGroup(SyncGroup),
    Heartbeat(Heartbeat),
    LeaveGroup(LeaveGroup),
    DescribeGroup {
        group_id: String,
    },
    ListGroups(ListGroups),
    DeleteGroup {
        group_id: String,
    },
    OffsetCommit(OffsetCommit),
    OffsetFetch(OffsetFetch),
    OffsetDelete(OffsetDelete),
    /// These topics no longer exist; their offsets are forgotten in every group. Goes to every shard.
    TopicsDeleted {
        topics: Vec<(TopicName, Uuid)>,
    },
}

impl GroupEvent {
    /// The group concerned; `None` when it is all groups of the shard.
    pub fn group_id(&self) -> Option<&str> {
        match self {
            Self::JoinGroup(request) => Some(&request.group_id),
            Self::SyncGroup(request) => Some(&request.group_id),
            Self::Heartbeat(request) => Some(&request.group_id),
            Self::LeaveGroup(request) => Some(&request.group_id),
            Self::DescribeGroup { group_id } | Self::DeleteGroup { group_id } => Some(group_id),
            Self::OffsetCommit(request) => Some(&request.group_id),
            Self::OffsetFetch(request) => Some(&request.group_id),
            Self::OffsetDelete(request) => Some(&request.group_id),
            Self::ListGroups(_) | Self::TopicsDeleted { .. } => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct JoinGroup {
    pub group_id: String,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    /// As Kafka shows it: `/127.0.0.1`.
    pub client_host: String,
    /// From version 4 on a member must come back with the id it was given (KIP-394).
    pub requires_known_member_id: bool,
    /// From version 9 on a leader can be told not to assign anew (KIP-814).
    pub supports_skipping_assignment: bool,
    pub session_timeout_ms: i32,
    /// Version 0 has none: there it is the session timeout.
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    /// Name and metadata, the member's favourite first.
    pub protocols: Vec<(String, Bytes)>,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SyncGroup {
    pub group_id: String,
    pub generation_id: GenerationId,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// Both absent below version 5. From then on both must be there: otherwise the API answers
    /// INCONSISTENT_GROUP_PROTOCOL by itself.
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    /// Member id and assignment; the leader's are taken, anyone else sends none.
    pub assignments: Vec<(String, Bytes)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    pub group_id: String,
    pub generation_id: GenerationId,
    pub member_id: String,
    pub group_instance_id: Option<String>,
}

/// Below version 3 there is one member and no instance id; its error is then the whole request's.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaveGroup {
    pub group_id: String,
    pub members: Vec<LeavingMember>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeavingMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub reason: Option<String>,
}

/// The groups of this shard that pass both filters; an empty filter lets all pass. A filter name that
/// Kafka does not know matches nothing, so whoever asks must not send an empty list in its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListGroups {
    pub states: Vec<GroupState>,
    pub types: Vec<GroupType>,
}

/// Only partitions that exist: UNKNOWN_TOPIC_OR_PARTITION and UNKNOWN_TOPIC_ID are the broker's to say.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommit {
    pub group_id: String,
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// `generation_id_or_member_epoch` as on the wire; negative from who is no member of the group.
    pub generation_or_epoch: i32,
    /// Versions 2 to 4 may say how long the offsets are kept.
    pub retention_time_ms: Option<i64>,
    pub partitions: Vec<OffsetCommitPartition>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommitPartition {
    pub topic: TopicName,
    /// Goes into the record, whichever version the request has.
    pub topic_id: Uuid,
    pub partition: PartitionId,
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
    /// Absent counts as empty.
    pub metadata: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetch {
    pub group_id: String,
    /// From version 9 on; only the consumer protocol (KIP-848) sends them.
    pub member_id: Option<String>,
    pub member_epoch: i32,
    /// Wait for open transactions rather than answer from before them (KIP-447).
    pub require_stable: bool,
    /// `None`: all that the group has committed. The answer keeps this order.
    pub topics: Option<Vec<OffsetFetchTopic>>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetchTopic {
    pub topic: String,
    /// From version 10 on: an offset that was committed for an earlier topic of this name does not count.
    pub topic_id: Option<Uuid>,
    pub partitions: Vec<PartitionId>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetDelete {
    pub group_id: String,
    pub topics: Vec<(String, Vec<PartitionId>)>,
}
