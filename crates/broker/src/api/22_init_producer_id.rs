//! InitProducerId (22), versions 0-5, for idempotent producers. Transactional ones are refused until
//! transactions are there.

use std::sync::Arc;

use millstream_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use millstream_types::ErrorCode;

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: InitProducerIdRequest) -> Reply {
    match request.transactional_id.as_deref() {
        None => {}
        Some("") => return context.now(&failed(ErrorCode::InvalidRequest)),
        Some(_) => return context.now(&failed(ErrorCode::CoordinatorNotAvailable)),
    }
    let parts = Arc::clone(parts);
    context.later(async move {
        match parts.producer_ids.next(&parts.controller).await {
            Ok(id) => InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() },
            Err(failure) => failed(failure.code),
        }
    })
}

fn failed(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: code.code(), producer_epoch: -1, ..Default::default() }
}
