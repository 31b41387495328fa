//! What a group shard answers. Each is what a response of the newest version carries; an API file drops
//! what its version lacks.

use std::fmt;

use bytes::Bytes;
use millstream_types::{ErrorCode, GenerationId, LeaderEpoch, Offset, PartitionId, TopicName};

#[derive(Debug, Clone, PartialEq)]
pub enum GroupResponse {
    JoinGroup(JoinGroupResponse),
    SyncGroup(SyncGroupResponse),
    Heartbeat(ErrorCode),
    LeaveGroup(LeaveGroupResponse),
    DescribeGroup(DescribeGroupResponse),
    ListGroups(Vec<ListedGroup>),
    DeleteGroup(ErrorCode),
    OffsetCommit(OffsetCommitResponse),
    OffsetFetch(OffsetFetchResponse),
    OffsetDelete(OffsetDeleteResponse),
    TopicsDeleted,
}

impl GroupResponse {
    /// The same answer had its records not been appended, for the log's `error`. What was only read stands.
    pub(crate) fn failed(self, error: ErrorCode) -> Self {
        let whole = group_error(error);
        match self {
            Self::JoinGroup(_) => JoinGroupResponse::failed(whole, ""),
            Self::SyncGroup(_) => SyncGroupResponse::failed(whole),
            Self::Heartbeat(_) => Self::Heartbeat(whole),
            Self::LeaveGroup(_) => Self::LeaveGroup(LeaveGroupResponse { error: whole, members: Vec::new() }),
            Self::DeleteGroup(_) => Self::DeleteGroup(whole),
            Self::OffsetCommit(mut response) => {
                for (_, _, outcome) in &mut response.partitions {
                    if *outcome == ErrorCode::None {
                        *outcome = commit_error(error);
                    }
                }
                Self::OffsetCommit(response)
            }
            Self::OffsetDelete(_) => {
                Self::OffsetDelete(OffsetDeleteResponse { error: whole, topics: Vec::new() })
            }
            read @ (Self::DescribeGroup(_)
            | Self::ListGroups(_)
            | Self::OffsetFetch(_)
            | Self::TopicsDeleted) => read,
        }
    }
}

/// What a member is told for the log's error.
pub(crate) fn group_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}

fn commit_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::InvalidCommitOffsetSize
        }
        other => group_error(other),
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct JoinGroupResponse {
    pub error: ErrorCode,
    /// None, on the wire -1, with most errors.
    pub generation_id: Option<GenerationId>,
    pub protocol_type: Option<String>,
    /// Versions below 7 write an absent name as the empty string.
    pub protocol_name: Option<String>,
    /// Empty with an error.
    pub leader: String,
    /// The leader must not assign: the group keeps its assignment (KIP-814).
    pub skip_assignment: bool,
    pub member_id: String,
    /// For the leader alone.
    pub members: Vec<JoinedMember>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JoinedMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    /// What the member sent with the protocol that was chosen.
    pub metadata: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SyncGroupResponse {
    pub error: ErrorCode,
    pub protocol_type: Option<String>,
    pub protocol_name: Option<String>,
    pub assignment: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeaveGroupResponse {
    /// Of the whole request; the members are then empty.
    pub error: ErrorCode,
    pub members: Vec<LeftMember>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LeftMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub error: ErrorCode,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DescribeGroupResponse {
    /// GROUP_ID_NOT_FOUND is for version 6 and later; earlier ones say NONE, with state `Dead`.
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub group_id: String,
    pub state: GroupState,
    pub protocol_type: String,
    /// The protocol's name; empty unless the group is stable.
    pub protocol_data: String,
    pub members: Vec<DescribedMember>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DescribedMember {
    pub member_id: String,
    pub group_instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ListedGroup {
    pub group_id: String,
    pub protocol_type: String,
    pub state: GroupState,
    pub group_type: GroupType,
}

/// A state by Kafka's name, of any kind of group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupState {
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
    Empty,
    Assigning,
    Reconciling,
    NotReady,
}

impl GroupState {
    const ALL: [GroupState; 8] = [
        Self::PreparingRebalance,
        Self::CompletingRebalance,
        Self::Stable,
        Self::Dead,
        Self::Empty,
        Self::Assigning,
        Self::Reconciling,
        Self::NotReady,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::NotReady => "NotReady",
        }
    }

    /// By name, whatever the case, as ListGroups takes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupType {
    Classic,
    Consumer,
    Share,
    Streams,
}

impl GroupType {
    const ALL: [GroupType; 4] = [Self::Classic, Self::Consumer, Self::Share, Self::Streams];

    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
            Self::Share => "share",
            Self::Streams => "streams",
        }
    }

    /// By name, whatever the case, as ListGroups takes it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for GroupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommitResponse {
    /// In the request's order. What concerns the whole request stands at every partition, as in Kafka.
    /// GROUP_ID_NOT_FOUND is for version 9 and later; earlier ones say ILLEGAL_GENERATION.
    pub partitions: Vec<(TopicName, PartitionId, ErrorCode)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetchResponse {
    /// Of the whole group; the topics are then empty.
    pub error: ErrorCode,
    pub topics: Vec<(String, Vec<CommittedOffset>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CommittedOffset {
    pub partition: PartitionId,
    /// None, on the wire -1: nothing committed, which is no error.
    pub offset: Option<Offset>,
    pub leader_epoch: Option<LeaderEpoch>,
    pub metadata: String,
    pub error: ErrorCode,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetDeleteResponse {
    /// Of the whole request; the topics are then empty.
    pub error: ErrorCode,
    pub topics: Vec<(String, Vec<(PartitionId, ErrorCode)>)>,
}
