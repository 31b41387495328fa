//! FindCoordinator (10), versions 0-6: several keys from 4 on. There is one broker, so it coordinates
//! every group; looking for a coordinator creates `__consumer_offsets` where it is missing.

use std::sync::Arc;

use millstream_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator,
};
use millstream_types::ErrorCode;

use super::context::RequestContext;
use crate::{
    error_map::{Failure, INVALID_REQUEST},
    parts::Parts,
    server::response::Reply,
};

const SEVERAL_KEYS_FROM: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: FindCoordinatorRequest) -> Reply {
    let version = context.version;
    let connection = Arc::clone(&context.connection);
    let parts = Arc::clone(parts);
    context.later(async move {
        let outcome = check(request.key_type, version);
        let outcome = match outcome {
            Ok(()) => parts.open_groups().await,
            Err(failure) => Err(failure),
        };
        let node_id = parts.controller.node_id().0;
        let success = Some(if version >= SEVERAL_KEYS_FROM { "" } else { ErrorCode::None.name() }.to_owned());
        let found = |key: String| match &outcome {
            Ok(()) => Coordinator {
                key,
                error_message: success.clone(),
                node_id,
                host: connection.advertised.host.clone(),
                port: connection.advertised.port.into(),
                ..Default::default()
            },
            Err(failure) => Coordinator {
                key,
                node_id: -1,
                port: -1,
                error_code: failure.code.code(),
                error_message: failure.message.clone(),
                ..Default::default()
            },
        };
        if version >= SEVERAL_KEYS_FROM {
            let coordinators = request.coordinator_keys.into_iter().map(found).collect();
            return FindCoordinatorResponse { coordinators, ..Default::default() };
        }
        let one = found(request.key);
        FindCoordinatorResponse {
            error_code: one.error_code,
            error_message: one.error_message,
            node_id: one.node_id,
            host: one.host,
            port: one.port,
            ..Default::default()
        }
    })
}

fn check(key_type: i8, version: i16) -> Result<(), Failure> {
    match key_type {
        GROUP => Ok(()),
        TRANSACTION => Err(Failure::new(
            ErrorCode::UnsupportedVersion,
            "this Millstream has no transactions yet; idempotent producers work",
        )),
        SHARE if version >= 6 => {
            Err(Failure::new(ErrorCode::InvalidRequest, "this Millstream has no share groups yet"))
        }
        _ => Err(Failure::new(ErrorCode::InvalidRequest, INVALID_REQUEST)),
    }
}
