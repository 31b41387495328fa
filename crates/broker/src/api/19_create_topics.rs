//! CreateTopics (19), versions 2-7.

use std::sync::Arc;

use millstream_config::{Entry, describe_topic};
use millstream_metadata::{CreatedTopic, NewTopic};
use millstream_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse,
    create_topics_request::CreatableTopic,
    create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
};
use millstream_types::BrokerId;

use super::context::RequestContext;
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

/// From this version on the answer says what was created.
const DETAILS_FROM: i16 = 5;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: CreateTopicsRequest) -> Reply {
    let version = context.version;
    let parts = Arc::clone(parts);
    context.later(async move {
        let names: Vec<String> = request.topics.iter().map(|topic| topic.name.clone()).collect();
        let topics = request.topics.into_iter().map(new_topic).collect();
        let topics = match parts.controller.create_topics(topics, request.validate_only).await {
            Ok(results) => results
                .into_iter()
                .map(|(name, result)| match result {
                    Ok(created) => describe(&parts, name, created, version),
                    Err(failure) => refused(name, failure.into()),
                })
                .collect(),
            Err(failure) => names.into_iter().map(|name| refused(name, failure.clone())).collect(),
        };
        CreateTopicsResponse { topics, ..Default::default() }
    })
}

fn new_topic(topic: CreatableTopic) -> NewTopic {
    let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    NewTopic {
        name: topic.name,
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then_some(topic.replication_factor),
        assignments: topic
            .assignments
            .into_iter()
            .map(|a| (a.partition_index, brokers(a.broker_ids)))
            .collect(),
        settings: topic.configs.into_iter().map(|config| (config.name, config.value)).collect(),
    }
}

fn describe(parts: &Parts, name: String, created: CreatedTopic, version: i16) -> CreatableTopicResult {
    let configs = (version >= DETAILS_FROM).then(|| {
        let settings = parts.settings.current();
        describe_topic(&created.settings, &settings.layers).into_iter().map(config).collect()
    });
    CreatableTopicResult {
        name,
        topic_id: created.id,
        error_message: None,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs,
        ..Default::default()
    }
}

fn config(entry: Entry) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: entry.name,
        value: entry.value,
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        ..Default::default()
    }
}

fn refused(name: String, failure: Failure) -> CreatableTopicResult {
    CreatableTopicResult {
        name,
        error_code: failure.code.code(),
        error_message: failure.message,
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
