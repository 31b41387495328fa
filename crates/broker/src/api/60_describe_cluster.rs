//! DescribeCluster (60), versions 0-2. There are no separate controllers to ask for.

use std::sync::Arc;

use millstream_protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker,
};
use millstream_types::ErrorCode;

use super::{authorized, context::RequestContext};
use crate::{parts::Parts, server::response::Reply};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DescribeClusterRequest) -> Reply {
    if request.endpoint_type != BROKERS {
        let (code, message) = match request.endpoint_type {
            CONTROLLERS => (
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                    .to_owned(),
            ),
            other => (ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}")),
        };
        let refusal = DescribeClusterResponse {
            error_code: code.code(),
            error_message: Some(message),
            endpoint_type: BROKERS,
            ..Default::default()
        };
        return context.now(&refusal);
    }
    let settings = parts.settings.current();
    let node_id = settings.broker.node_id.0;
    let advertised = &context.connection.advertised;
    let response = DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: parts.cluster_id().to_owned(),
        controller_id: node_id,
        brokers: vec![DescribeClusterBroker {
            broker_id: node_id,
            host: advertised.host.clone(),
            port: advertised.port.into(),
            rack: settings.broker.rack.clone(),
            ..Default::default()
        }],
        cluster_authorized_operations: authorized::cluster_operations(
            request.include_cluster_authorized_operations,
        ),
        ..Default::default()
    };
    context.now(&response)
}
