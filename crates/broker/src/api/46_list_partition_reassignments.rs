//! ListPartitionReassignments (46), version 0: with one broker there is never one under way.

use std::sync::Arc;

use millstream_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::context::RequestContext;
use crate::{parts::Parts, server::response::Reply};

pub(super) fn handle(_: &Arc<Parts>, context: RequestContext, _: ListPartitionReassignmentsRequest) -> Reply {
    context.now(&ListPartitionReassignmentsResponse { error_message: None, ..Default::default() })
}
