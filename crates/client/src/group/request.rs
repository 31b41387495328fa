//! The membership's requests on the wire.

use std::{sync::Arc, time::Duration};

use millstream_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
    sync_group_request::SyncGroupRequestAssignment,
};
use millstream_types::{BrokerId, ErrorCode, GenerationId};

use super::{
    GroupConfig, JoinedMember,
    membership::{Answer, Dispatch, Joined, Request},
};
use crate::{
    Client, Connection, Error, Result,
    client::{Lane, LaneId},
    config::as_millis_i32,
};

/// A coordinator answers `JoinGroup` when the rebalance timeout is over at the latest, and may be late.
const REBALANCE_LAPSE: Duration = Duration::from_secs(5);
/// From here on a leave names its members in a list.
const LEAVE_VERSION_WITH_MEMBERS: i16 = 3;
/// The first versions that carry `group.instance.id`.
const JOIN_VERSION_WITH_INSTANCE: i16 = 5;
const SYNC_VERSION_WITH_INSTANCE: i16 = 3;
const HEARTBEAT_VERSION_WITH_INSTANCE: i16 = 3;
/// Kafka refuses longer ones.
const REASON_BYTES_MAX: usize = 255;

/// Two connections to the coordinator of this member's own. A broker answers the requests of a connection
/// one after the other, and those of a rebalance only when all members have come: neither heartbeats nor
/// other members may stand behind them.
#[derive(Clone)]
pub(super) struct Lanes {
    rebalance: Arc<LaneId>,
    heartbeat: Arc<LaneId>,
}

impl Lanes {
    pub(super) fn new(client: &Client) -> Self {
        Self { rebalance: Arc::new(LaneId::new(client)), heartbeat: Arc::new(LaneId::new(client)) }
    }
}

pub(super) async fn perform(
    client: &Client,
    lanes: &Lanes,
    config: &GroupConfig,
    dispatch: Dispatch,
) -> Result<Answer> {
    let group = &config.group_id;
    let Some(broker) = dispatch.coordinator else {
        client.forget_coordinator(group);
        return client.known_coordinator(group).await.map(Answer::Coordinator);
    };
    match dispatch.request {
        Request::FindCoordinator => client.known_coordinator(group).await.map(Answer::Coordinator),
        Request::Join { member_id, protocols, reason } => {
            let connection = coordinator(client, broker, &lanes.rebalance).await?;
            let protocol = |protocol: super::GroupProtocol| JoinGroupRequestProtocol {
                name: protocol.name,
                metadata: protocol.metadata,
                ..Default::default()
            };
            let request = JoinGroupRequest {
                group_id: group.clone(),
                session_timeout_ms: as_millis_i32(config.session_timeout),
                rebalance_timeout_ms: as_millis_i32(config.rebalance_timeout),
                member_id,
                group_instance_id: config.group_instance_id.clone(),
                protocol_type: config.protocol_type.clone(),
                protocols: protocols.into_iter().map(protocol).collect(),
                reason: Some(shortened(reason)),
                ..Default::default()
            };
            join(&connection, config, request).await
        }
        Request::Sync { generation, member_id, protocol, assignments } => {
            let connection = coordinator(client, broker, &lanes.rebalance).await?;
            let assignment = |(member_id, assignment)| SyncGroupRequestAssignment {
                member_id,
                assignment,
                ..Default::default()
            };
            let request = SyncGroupRequest {
                group_id: group.clone(),
                generation_id: generation.0,
                member_id,
                group_instance_id: config.group_instance_id.clone(),
                protocol_type: Some(config.protocol_type.clone()),
                protocol_name: Some(protocol),
                assignments: assignments.into_iter().map(assignment).collect(),
                ..Default::default()
            };
            sync(&connection, config, request).await
        }
        Request::Heartbeat { generation, member_id } => {
            let connection = coordinator(client, broker, &lanes.heartbeat).await?;
            let limit = config.session_timeout.min(client.config().request_timeout);
            heartbeat(&connection, limit, config, generation, member_id).await
        }
        Request::Leave { member_id, reason } => {
            let connection = coordinator(client, broker, &lanes.heartbeat).await?;
            leave(&connection, config, member_id, reason).await
        }
    }
}

async fn coordinator(client: &Client, broker: BrokerId, lane: &LaneId) -> Result<Connection> {
    client.lane(broker, Lane::Own(lane.number())).await
}

async fn join(connection: &Connection, config: &GroupConfig, request: JoinGroupRequest) -> Result<Answer> {
    let version = connection.version_of::<JoinGroupRequest>()?;
    check_instance(connection, config, version, JOIN_VERSION_WITH_INSTANCE)?;
    let limit = config.rebalance_timeout + REBALANCE_LAPSE;
    let answer = connection.send_within(limit, version, &request).await?;
    let JoinGroupResponse { generation_id, protocol_type, protocol_name, leader, member_id, .. } = answer;
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => {}
        ErrorCode::MemberIdRequired => return Ok(Answer::MemberIdRequired(member_id)),
        code => return Err(refused(config, code)),
    }
    let member = |member: millstream_protocol::messages::join_group_response::JoinGroupResponseMember| {
        let (member_id, group_instance_id) = (member.member_id, member.group_instance_id);
        JoinedMember { member_id, group_instance_id, metadata: member.metadata }
    };
    Ok(Answer::Joined(Joined {
        generation: GenerationId(generation_id),
        protocol_type,
        protocol: protocol_name.unwrap_or_default(),
        leader,
        member_id,
        skip_assignment: answer.skip_assignment,
        members: answer.members.into_iter().map(member).collect(),
    }))
}

async fn sync(connection: &Connection, config: &GroupConfig, request: SyncGroupRequest) -> Result<Answer> {
    let version = connection.version_of::<SyncGroupRequest>()?;
    check_instance(connection, config, version, SYNC_VERSION_WITH_INSTANCE)?;
    let limit = config.rebalance_timeout + REBALANCE_LAPSE;
    let answer = connection.send_within(limit, version, &request).await?;
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => Ok(Answer::Synced {
            protocol_type: answer.protocol_type,
            protocol: answer.protocol_name,
            assignment: answer.assignment,
        }),
        code => Err(refused(config, code)),
    }
}

async fn heartbeat(
    connection: &Connection,
    limit: Duration,
    config: &GroupConfig,
    generation: GenerationId,
    member_id: String,
) -> Result<Answer> {
    let version = connection.version_of::<HeartbeatRequest>()?;
    check_instance(connection, config, version, HEARTBEAT_VERSION_WITH_INSTANCE)?;
    let request = HeartbeatRequest {
        group_id: config.group_id.clone(),
        generation_id: generation.0,
        member_id,
        group_instance_id: config.group_instance_id.clone(),
        ..Default::default()
    };
    let answer = connection.send_within(limit, version, &request).await?;
    match ErrorCode::from_code(answer.error_code) {
        ErrorCode::None => Ok(Answer::Alive),
        code => Err(refused(config, code)),
    }
}

async fn leave(
    connection: &Connection,
    config: &GroupConfig,
    member_id: String,
    reason: String,
) -> Result<Answer> {
    let version = connection.version_of::<LeaveGroupRequest>()?;
    let mut request = LeaveGroupRequest { group_id: config.group_id.clone(), ..Default::default() };
    if version >= LEAVE_VERSION_WITH_MEMBERS {
        let group_instance_id = config.group_instance_id.clone();
        let reason = Some(shortened(reason));
        request.members = vec![MemberIdentity { member_id, group_instance_id, reason, ..Default::default() }];
    } else {
        request.member_id = member_id;
    }
    let answer = connection.send(version, &request).await?;
    let of_member = answer.members.first().map_or(0, |member| member.error_code);
    match ErrorCode::from_code(if answer.error_code == 0 { of_member } else { answer.error_code }) {
        ErrorCode::None => Ok(Answer::Left),
        code => Err(refused(config, code)),
    }
}

/// A static member on a broker that would not know it for one.
fn check_instance(connection: &Connection, config: &GroupConfig, version: i16, needed: i16) -> Result<()> {
    if config.group_instance_id.is_none() || version >= needed {
        return Ok(());
    }
    let reason = format!("the broker at {} is too old for static members", connection.address());
    Err(Error::config("group.instance.id", reason))
}

fn refused(config: &GroupConfig, code: ErrorCode) -> Error {
    Error::kafka(code, format!("group {}", config.group_id), None)
}

fn shortened(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}
