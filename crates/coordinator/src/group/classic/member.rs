//! One member of a classic group, as the coordinator knows it.

use bytes::Bytes;
use millstream_record::messages::group_metadata_value::MemberMetadata;

use crate::{RequestToken, group::JoinGroup};

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: String,
    /// Of a static member (KIP-345): it outlives the member id.
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// Name and metadata, the favourite first. Of a member read back from the log: the one that was chosen.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// Its JoinGroup that waits for the rebalance.
    pub(super) awaiting_join: Option<RequestToken>,
    /// Its SyncGroup that waits for the leader's.
    pub(super) awaiting_sync: Option<RequestToken>,
    /// Has not been through a rebalance yet: it does not know its id, and so cannot send heartbeats.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn joining(id: String, request: &JoinGroup, token: RequestToken) -> Self {
        Self {
            id,
            instance_id: request.group_instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: own_protocols(&request.protocols),
            assignment: Bytes::new(),
            awaiting_join: Some(token),
            awaiting_sync: None,
            is_new: true,
        }
    }

    pub(super) fn from_record(record: &MemberMetadata, protocol: &str) -> Self {
        Self {
            id: record.member_id.clone(),
            instance_id: record.group_instance_id.clone(),
            client_id: record.client_id.clone(),
            client_host: record.client_host.clone(),
            // Version 0 of the record has none.
            rebalance_timeout_ms: match record.rebalance_timeout {
                -1 => record.session_timeout,
                timeout_ms => timeout_ms,
            },
            session_timeout_ms: record.session_timeout,
            protocols: vec![(protocol.to_owned(), record.subscription.clone())],
            assignment: record.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    pub(super) fn to_record(&self, protocol: &str) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: self.rebalance_timeout_ms,
            session_timeout: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
            unknown_tagged_fields: Vec::new(),
        }
    }

    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What the member sent along with this protocol; empty for one that it does not support.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    /// A member whose request waits here is alive without heartbeats; but a new one may have gone away
    /// while it waited, which cannot be seen, so it is given up after a while all the same.
    pub(super) fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// Copied out of the request's frame, which would otherwise live as long as the member.
pub(super) fn own_protocols(protocols: &[(String, Bytes)]) -> Vec<(String, Bytes)> {
    protocols.iter().map(|(name, metadata)| (name.clone(), Bytes::copy_from_slice(metadata))).collect()
}
