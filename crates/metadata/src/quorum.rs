//! The quorum of one: `quorum-state`, voters, and the record that begins an epoch.
//! `FileQuorumStateStore`, `VoterSet`; KIP-595, KIP-853.

use bytes::Bytes;
use millstream_record::{
    control::{ControlType, kraft_control_batch},
    messages::{LeaderChangeMessage, VotersRecord, leader_change_message},
};
use millstream_types::{
    BrokerId, LeaderEpoch, Offset, TimestampMs, Uuid,
    codec::{EncodeError, Message, Writer},
};
use serde_json::{Value, json};

/// What `quorum-state` says. It is advice: a sole voter whose file is gone elects itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumState {
    pub leader: Option<BrokerId>,
    pub epoch: LeaderEpoch,
    pub voted: Option<BrokerId>,
    /// Only where `kraft.version` is 0: there the voters stand in this file.
    pub voters: Option<Vec<BrokerId>>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuorumStateError {
    #[error("quorum-state is not JSON: {0}")]
    Json(String),
    #[error("quorum-state: {field} is {found}, a number expected")]
    Field { field: &'static str, found: String },
    #[error("quorum-state has data_version {0}; 0 and 1 are known")]
    Version(i64),
}

impl QuorumState {
    /// This node leads an epoch, and there is no other voter.
    pub fn leading(node: BrokerId, epoch: LeaderEpoch, voters: &Voters) -> Self {
        let in_file = voters.kraft_version == 0;
        Self { leader: Some(node), epoch, voted: None, voters: in_file.then(|| vec![node]) }
    }

    /// The file's text, as Kafka writes it.
    pub fn to_text(&self) -> String {
        let leader = BrokerId::to_wire(self.leader);
        let voted = BrokerId::to_wire(self.voted);
        let epoch = self.epoch.0;
        let Some(voters) = &self.voters else {
            let nobody = Uuid::ZERO;
            return format!(
                r#"{{"leaderId":{leader},"leaderEpoch":{epoch},"votedId":{voted},"votedDirectoryId":"{nobody}","data_version":1}}"#
            );
        };
        let voters = voters.iter().map(|voter| json!({ "voterId": voter.0 })).collect::<Vec<_>>();
        let voters = Value::from(voters);
        format!(
            r#"{{"clusterId":"","leaderId":{leader},"leaderEpoch":{epoch},"votedId":{voted},"appliedOffset":0,"currentVoters":{voters},"data_version":0}}"#
        )
    }

    pub fn parse(text: &str) -> Result<Self, QuorumStateError> {
        let json: Value =
            serde_json::from_str(text).map_err(|error| QuorumStateError::Json(error.to_string()))?;
        let number = |field: &'static str| {
            let value = &json[field];
            let error = || QuorumStateError::Field { field, found: value.to_string() };
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
            number.ok_or_else(error)
        };
        let version = number("data_version")?;
        if !(0..=1).contains(&version) {
            return Err(QuorumStateError::Version(version.into()));
        }
        let voters = json["currentVoters"].as_array().map(|voters| {
            let ids = voters.iter().filter_map(|voter| voter["voterId"].as_i64());
            ids.filter_map(|id| i32::try_from(id).ok()).map(BrokerId).collect()
        });
        Ok(Self {
            leader: BrokerId::from_wire(number("leaderId")?),
            epoch: LeaderEpoch(number("leaderEpoch")?.max(0)),
            voted: BrokerId::from_wire(number("votedId")?),
            voters,
        })
    }
}

/// Who votes. With `kraft.version` 0 the configuration says so, and nothing is in the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Voters {
    pub kraft_version: i16,
    pub record: Option<VotersRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the voters by the metadata log and quorum-state are {voters:?}, but node {node} must be the only one"
)]
pub struct VotersError {
    pub voters: Vec<i32>,
    pub node: BrokerId,
}

impl Voters {
    /// That nobody but this node votes: it could not see what others decide.
    pub fn check_only(&self, node: BrokerId, state: Option<&QuorumState>) -> Result<(), VotersError> {
        let in_log = self.record.iter().flat_map(|record| record.voters.iter().map(|voter| voter.voter_id));
        let in_file = state.and_then(|state| state.voters.as_ref()).into_iter().flatten();
        let voters: Vec<i32> = in_log.chain(in_file.map(|voter| voter.0)).collect();
        match voters.iter().all(|voter| *voter == node.0) {
            true => Ok(()),
            false => Err(VotersError { voters, node }),
        }
    }
}

/// The control batch with which a leader begins its epoch, voted in by itself. Kafka's leaders write
/// version 0 of the message, whatever `kraft.version` is.
pub fn leader_change_batch(
    node: BrokerId,
    epoch: LeaderEpoch,
    at: Offset,
    now: TimestampMs,
) -> Result<Bytes, EncodeError> {
    let voter = leader_change_message::Voter { voter_id: node.0, ..Default::default() };
    let message = LeaderChangeMessage {
        version: 0,
        leader_id: node.0,
        voters: vec![voter.clone()],
        granting_voters: vec![voter],
        ..LeaderChangeMessage::default()
    };
    let value = encode_control(&message, 0)?;
    Ok(kraft_control_batch(at, epoch, now, ControlType::LeaderChange, value))
}

pub(crate) fn encode_control<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    message.write(&mut writer, version)?;
    Ok(writer.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both texts are from files of Kafka 4.3.1.
    #[test]
    fn quorum_state_is_written_and_read_as_kafka_does() {
        let static_voters = r#"{"clusterId":"","leaderId":1,"leaderEpoch":3,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
        let dynamic_voters = r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        for (text, epoch, kraft_version) in [(static_voters, 3, 0), (dynamic_voters, 1, 1)] {
            let voters = Voters { kraft_version, record: None };
            let state = QuorumState::leading(BrokerId(1), LeaderEpoch(epoch), &voters);
            assert_eq!(state.to_text(), text);
            assert_eq!(QuorumState::parse(text), Ok(state));
        }
    }

    #[test]
    fn a_damaged_quorum_state_is_an_error_that_names_the_field() {
        let error = QuorumState::parse(r#"{"leaderId":"x","leaderEpoch":1,"votedId":-1,"data_version":0}"#);
        assert_eq!(error.unwrap_err().to_string(), r#"quorum-state: leaderId is "x", a number expected"#);
        assert!(matches!(QuorumState::parse("{"), Err(QuorumStateError::Json(_))));
        let newer = r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"data_version":2}"#;
        assert_eq!(QuorumState::parse(newer), Err(QuorumStateError::Version(2)));
    }

    #[test]
    fn another_voter_is_refused() {
        let state = QuorumState::parse(
            r#"{"clusterId":"","leaderId":2,"leaderEpoch":3,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#,
        );
        let error = Voters::default().check_only(BrokerId(1), state.ok().as_ref()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the voters by the metadata log and quorum-state are [1, 2], but node 1 must be the only one"
        );
        assert_eq!(Voters::default().check_only(BrokerId(1), None), Ok(()));
    }
}
