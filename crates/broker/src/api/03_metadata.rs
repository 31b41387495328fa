//! Metadata (3), versions 0-13: brokers and topics, by name or (from 10 on) by id. A topic asked for by
//! name that does not exist is created where both the broker and the client allow it. Kafka answers the
//! first such request with an error and the client asks again; here the topic is there when the answer is.

use std::sync::Arc;

use millstream_protocol::messages::{
    MetadataRequest, MetadataResponse,
    metadata_request::MetadataRequestTopic,
    metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
};
use millstream_types::{ErrorCode, Uuid};

use super::{authorized, context::RequestContext};
use crate::{
    partitions::{Slot, Topic},
    parts::Parts,
    server::{ConnectionContext, response::Reply},
};

/// From this version on an unknown topic id can be told apart.
const TOPIC_IDS_FROM: i16 = 10;
/// From this version on a topic that is known only by id may have no name.
const NULL_NAME_FROM: i16 = 12;
/// In version 0 an empty list asks for all topics; afterwards a null one does.
const NULL_IS_ALL_FROM: i16 = 1;
/// Below this version a broken listener is worded differently; above, the error has a place.
const AUTO_CREATE_FLAG_FROM: i16 = 4;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: MetadataRequest) -> Reply {
    let version = context.version;
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && version < NULL_IS_ALL_FROM,
    };
    let (connection, include) =
        (Arc::clone(&context.connection), request.include_topic_authorized_operations);
    let mut response = skeleton(parts, &connection);
    response.cluster_authorized_operations =
        authorized::cluster_operations(request.include_cluster_authorized_operations);
    if all {
        let mut topics = parts.partitions.topics();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        response.topics = topics.iter().map(|topic| describe(parts, topic, include)).collect();
        return context.now(&response);
    }
    let may_create = version < AUTO_CREATE_FLAG_FROM || request.allow_auto_topic_creation;
    let mut missing = Vec::new();
    for wanted in request.topics.unwrap_or_default() {
        match find(parts, &wanted, version) {
            Ok(topic) => response.topics.push(describe(parts, &topic, include)),
            Err(code) => {
                let creatable = code == ErrorCode::UnknownTopicOrPartition && may_create;
                if let Some(name) = wanted.name.clone().filter(|_| creatable) {
                    missing.push((response.topics.len(), name));
                }
                response.topics.push(absent(wanted, code, include, version));
            }
        }
    }
    if missing.is_empty() || !parts.settings.current().broker.topics.auto_create {
        return context.now(&response);
    }
    let parts = Arc::clone(parts);
    context.later(async move {
        let names = missing.iter().map(|(_, name)| name.clone()).collect();
        let created = parts.auto_create(names).await;
        for ((place, _), created) in missing.into_iter().zip(created) {
            match created {
                Ok(topic) => response.topics[place] = describe(&parts, &topic, include),
                Err(code) => response.topics[place].error_code = code.code(),
            }
        }
        response
    })
}

fn skeleton(parts: &Parts, connection: &ConnectionContext) -> MetadataResponse {
    let settings = parts.settings.current();
    let node_id = settings.broker.node_id.0;
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id,
            host: connection.advertised.host.clone(),
            port: connection.advertised.port.into(),
            rack: settings.broker.rack.clone(),
            ..Default::default()
        }],
        cluster_id: Some(parts.cluster_id().to_owned()),
        controller_id: node_id,
        ..Default::default()
    }
}

fn find(parts: &Parts, wanted: &MetadataRequestTopic, version: i16) -> Result<Arc<Topic>, ErrorCode> {
    if is_by_id(wanted, version) {
        return parts.partitions.topic_by_id(wanted.topic_id).ok_or(ErrorCode::UnknownTopicId);
    }
    let name = wanted.name.as_deref().ok_or(ErrorCode::InvalidRequest)?;
    millstream_types::TopicName::parse(name).map_err(|_| ErrorCode::InvalidTopicException)?;
    parts.partitions.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)
}

/// An id goes before a name.
fn is_by_id(wanted: &MetadataRequestTopic, version: i16) -> bool {
    version >= TOPIC_IDS_FROM && !wanted.topic_id.is_zero()
}

fn absent(
    wanted: MetadataRequestTopic,
    code: ErrorCode,
    include: bool,
    version: i16,
) -> MetadataResponseTopic {
    let by_id = is_by_id(&wanted, version);
    let name = wanted.name.filter(|_| !by_id);
    MetadataResponseTopic {
        error_code: code.code(),
        name: if version >= NULL_NAME_FROM { name } else { Some(name.unwrap_or_default()) },
        topic_id: if by_id { wanted.topic_id } else { Uuid::ZERO },
        topic_authorized_operations: authorized::topic_operations(include && !by_id),
        ..Default::default()
    }
}

fn describe(parts: &Parts, topic: &Topic, include: bool) -> MetadataResponseTopic {
    let node_id = parts.settings.current().broker.node_id.0;
    let slots = topic.slots();
    MetadataResponseTopic {
        name: Some(topic.name.to_string()),
        topic_id: topic.id,
        is_internal: topic.name.is_internal(),
        partitions: slots.iter().map(|slot| describe_partition(node_id, slot)).collect(),
        topic_authorized_operations: authorized::topic_operations(include),
        ..Default::default()
    }
}

fn describe_partition(node_id: i32, slot: &Slot) -> MetadataResponsePartition {
    let offline = slot.is_offline();
    MetadataResponsePartition {
        error_code: if offline { ErrorCode::LeaderNotAvailable.code() } else { 0 },
        partition_index: slot.id.0,
        leader_id: if offline { -1 } else { node_id },
        leader_epoch: slot.leader_epoch.0,
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        offline_replicas: if offline { vec![node_id] } else { Vec::new() },
        ..Default::default()
    }
}
