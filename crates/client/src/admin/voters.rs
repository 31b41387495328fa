//! Who votes in the metadata quorum (KIP-853).

use millstream_protocol::messages::{
    AddRaftVoterRequest, RemoveRaftVoterRequest, add_raft_voter_request::Listener,
};
use millstream_types::{BrokerId, Uuid};

use super::{Admin, check};
use crate::{Result, config::as_millis_i32};

/// Where a controller is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    /// The listener's name.
    pub listener: String,
    pub host: String,
    pub port: u16,
}

impl Admin {
    /// Makes a controller that follows the quorum a voter. `directory` is that of its metadata log.
    pub async fn add_voter(&self, id: BrokerId, directory: Uuid, endpoints: &[VoterEndpoint]) -> Result<()> {
        let listener = |one: &VoterEndpoint| Listener {
            name: one.listener.clone(),
            host: one.host.clone(),
            port: one.port,
            ..Default::default()
        };
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: as_millis_i32(self.client.config().request_timeout),
            voter_id: id.0,
            voter_directory_id: directory,
            listeners: endpoints.iter().map(listener).collect(),
            ..Default::default()
        };
        let what = format!("controller {id} as a voter");
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, what.clone(), answer.error_message)
        };
        self.client.retry(&what, ask).await
    }

    /// Makes a voter a mere follower of the quorum.
    pub async fn remove_voter(&self, id: BrokerId, directory: Uuid) -> Result<()> {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: id.0,
            voter_directory_id: directory,
            ..Default::default()
        };
        let what = format!("removal of the voter {id}");
        let ask = || async {
            let answer = self.client.controller().await?.call(&request).await?;
            check(answer.error_code, what.clone(), answer.error_message)
        };
        self.client.retry(&what, ask).await
    }
}
