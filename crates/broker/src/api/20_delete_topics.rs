//! DeleteTopics (20), versions 1-6: by name, or by id from version 6 on.

use std::sync::Arc;

use millstream_metadata::{Decision, TopicRef, TopicResult, delete_topics};
use millstream_protocol::messages::{
    DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_response::DeletableTopicResult,
};
use millstream_types::{ErrorCode, Uuid};

use super::context::RequestContext;
use crate::{error_map::Failure, parts::Parts, server::response::Reply};

const TOPIC_IDS_FROM: i16 = 6;
/// From this version on a disabled deletion has an error of its own.
const DISABLED_ERROR_FROM: i16 = 3;

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DeleteTopicsRequest) -> Reply {
    let topics: Vec<TopicRef> = if context.version >= TOPIC_IDS_FROM {
        let topic = |topic: millstream_protocol::messages::delete_topics_request::DeleteTopicState| {
            TopicRef { name: topic.name, id: (!topic.topic_id.is_zero()).then_some(topic.topic_id) }
        };
        request.topics.into_iter().map(topic).collect()
    } else {
        request.topic_names.into_iter().map(|name| TopicRef { name: Some(name), id: None }).collect()
    };
    if !parts.settings.current().broker.topics.delete_enable {
        let code = match context.version {
            DISABLED_ERROR_FROM.. => ErrorCode::TopicDeletionDisabled,
            _ => ErrorCode::InvalidRequest,
        };
        return context.now(&refuse_all(topics, &code.into()));
    }
    let parts = Arc::clone(parts);
    context.later(async move {
        let named = topics.clone();
        let deleted = parts.controller.change(move |image, _| {
            let Decision { records, results } = delete_topics(image, &topics);
            (records, results)
        });
        match deleted.await {
            Ok(results) => {
                let responses = results.into_iter().map(result).collect();
                DeleteTopicsResponse { responses, ..Default::default() }
            }
            Err(failure) => refuse_all(named, &failure),
        }
    })
}

fn result(topic: TopicResult) -> DeletableTopicResult {
    let (name, failure) = match topic.result {
        Ok(name) => (Some(name.to_string()), None),
        Err(failure) => (topic.name, Some(failure)),
    };
    DeletableTopicResult {
        name,
        topic_id: topic.id.unwrap_or(Uuid::ZERO),
        error_code: failure.as_ref().map_or(0, |failure| failure.code.code()),
        error_message: failure.and_then(|failure| failure.message),
        ..Default::default()
    }
}

fn refuse_all(topics: Vec<TopicRef>, failure: &Failure) -> DeleteTopicsResponse {
    let refused = |topic: TopicRef| DeletableTopicResult {
        name: topic.name,
        topic_id: topic.id.unwrap_or(Uuid::ZERO),
        error_code: failure.code.code(),
        error_message: failure.message.clone(),
        ..Default::default()
    };
    DeleteTopicsResponse { responses: topics.into_iter().map(refused).collect(), ..Default::default() }
}
