//! Groups and their committed offsets: what one partition of `__consumer_offsets` holds.

mod classic;
mod config;
mod event;
mod offsets;
mod outcome;
mod partition;
mod records;
mod response;
mod shard;
#[cfg(test)]
mod tests;

pub use config::GroupConfig;
pub use event::{
    GroupEvent, Heartbeat, JoinGroup, LeaveGroup, LeavingMember, ListGroups, OffsetCommit,
    OffsetCommitPartition, OffsetDelete, OffsetFetch, OffsetFetchTopic, SyncGroup,
};
pub use partition::partition_for;
pub use response::{
    CommittedOffset, DescribeGroupResponse, DescribedMember, GroupResponse, GroupState, GroupType,
    JoinGroupResponse, JoinedMember, LeaveGroupResponse, LeftMember, ListedGroup, OffsetCommitResponse,
    OffsetDeleteResponse, OffsetFetchResponse, SyncGroupResponse,
};
pub use shard::{GroupShard, RandomBits};
