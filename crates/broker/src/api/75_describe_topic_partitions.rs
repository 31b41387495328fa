//! DescribeTopicPartitions (75), version 0: topics in the order of their names, cut off after so many
//! partitions, with a cursor to go on from.

use std::sync::Arc;

use millstream_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    describe_topic_partitions_response::{
        Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
    },
};
use millstream_types::{ErrorCode, TopicName};

use super::{authorized, context::RequestContext};
use crate::{
    partitions::{Slot, Topic},
    parts::Parts,
    server::response::Reply,
};

pub(super) fn handle(
    parts: &Arc<Parts>,
    context: RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> Reply {
    let settings = parts.settings.current();
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let limit = limit.min(usize::try_from(settings.broker.fetch.partitions_max).unwrap_or(usize::MAX)).max(1);
    let (mut names, fetch_all): (Vec<String>, bool) = match request.topics.is_empty() {
        true => (parts.partitions.topics().iter().map(|topic| topic.name.to_string()).collect(), true),
        false => (request.topics.into_iter().map(|topic| topic.name).collect(), false),
    };
    names.sort();
    names.dedup();
    let (from_topic, mut from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    if from_partition < 0 {
        return context.now(&DescribeTopicPartitionsResponse::default());
    }
    let mut page = Page { node_id: settings.broker.node_id.0, left: limit, response: Default::default() };
    for name in names.iter().filter(|name| name.as_str() >= from_topic) {
        if name != from_topic {
            from_partition = 0;
        }
        match parts.partitions.topic(name) {
            Some(topic) => page.add(&topic, usize::try_from(from_partition).unwrap_or(0)),
            None if fetch_all => {}
            None => page.add_unknown(name),
        }
        if page.response.next_cursor.is_some() {
            break;
        }
    }
    context.now(&page.response)
}

struct Page {
    node_id: i32,
    /// Partitions that still fit.
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page {
    fn add(&mut self, topic: &Topic, from: usize) {
        let slots = topic.slots();
        let rest = slots.get(from..).unwrap_or_default();
        let taken = rest.len().min(self.left);
        if taken < rest.len() {
            self.response.next_cursor = Some(Cursor {
                topic_name: topic.name.to_string(),
                partition_index: i32::try_from(from + taken).unwrap_or(i32::MAX),
                ..Default::default()
            });
        }
        if taken == 0 && !rest.is_empty() {
            return;
        }
        self.left -= taken;
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(topic.name.to_string()),
            topic_id: topic.id,
            is_internal: topic.name.is_internal(),
            partitions: rest[..taken].iter().map(|slot| describe(self.node_id, slot)).collect(),
            topic_authorized_operations: authorized::topic_operations(true),
            ..Default::default()
        });
    }

    fn add_unknown(&mut self, name: &str) {
        let code = match TopicName::parse(name) {
            Ok(_) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::InvalidTopicException,
        };
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: code.code(),
            name: Some(name.to_owned()),
            ..Default::default()
        });
    }
}

fn describe(node_id: i32, slot: &Slot) -> DescribeTopicPartitionsResponsePartition {
    let offline = slot.is_offline();
    DescribeTopicPartitionsResponsePartition {
        error_code: if offline { ErrorCode::LeaderNotAvailable.code() } else { 0 },
        partition_index: slot.id.0,
        leader_id: if offline { -1 } else { node_id },
        leader_epoch: slot.leader_epoch.0,
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: if offline { vec![node_id] } else { Vec::new() },
        ..Default::default()
    }
}
