//! DescribeConfigs (32), versions 1-4: every key with its value, where the value comes from, and what
//! else stands for it.

use std::sync::Arc;

use millstream_config::{
    BrokerLayers, Entry, EntrySynonym, Properties, Source, describe_broker, describe_client_metrics,
    describe_default_broker, describe_group, describe_topic,
};
use millstream_metadata::{Image, ResourceType};
use millstream_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    },
};
use millstream_types::{BrokerId, ErrorCode, TopicName};

use super::context::RequestContext;
use crate::{
    error_map::{Failure, INVALID_REQUEST},
    loggers,
    parts::Parts,
    server::response::Reply,
};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DescribeConfigsRequest) -> Reply {
    let settings = parts.settings.current();
    let published = parts.controller.published();
    let describe = Describe {
        image: &published.image,
        layers: &settings.layers,
        node_id: parts.controller.node_id(),
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let known = |resource: &DescribeConfigsResource| {
        !matches!(ResourceType::from_code(resource.resource_type), ResourceType::Other(_))
    };
    // One resource of an unknown type fails all of them, as in Kafka.
    let describable = request.resources.iter().all(known);
    let result = |resource: DescribeConfigsResource| match describable {
        true => describe.resource(resource),
        false => refusal(&resource, invalid(INVALID_REQUEST)),
    };
    let results = request.resources.into_iter().map(result).collect();
    context.now(&DescribeConfigsResponse { results, ..Default::default() })
}

struct Describe<'a> {
    image: &'a Image,
    layers: &'a BrokerLayers,
    node_id: BrokerId,
    synonyms: bool,
    documentation: bool,
}

impl Describe<'_> {
    fn resource(&self, resource: DescribeConfigsResource) -> DescribeConfigsResult {
        let entries = match self.entries(&resource) {
            Ok(entries) => entries,
            Err(failure) => return refusal(&resource, failure),
        };
        let wanted = |entry: &Entry| match &resource.configuration_keys {
            Some(keys) if !keys.is_empty() => keys.contains(&entry.name),
            _ => true,
        };
        DescribeConfigsResult {
            configs: entries.into_iter().filter(wanted).map(|entry| self.row(entry)).collect(),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..Default::default()
        }
    }

    fn entries(&self, resource: &DescribeConfigsResource) -> Result<Vec<Entry>, Failure> {
        let name = resource.resource_name.as_str();
        let kind = ResourceType::from_code(resource.resource_type);
        match kind {
            ResourceType::Topic => {
                TopicName::parse(name)
                    .map_err(|error| Failure::new(ErrorCode::InvalidTopicException, error.to_string()))?;
                if self.image.topics().get(name).is_none() {
                    return Err(ErrorCode::UnknownTopicOrPartition.into());
                }
                Ok(describe_topic(&self.image.configs().topic(name), self.layers))
            }
            ResourceType::Broker if name.is_empty() => Ok(describe_default_broker(self.layers)),
            ResourceType::Broker => {
                self.check_broker_id(name, " or empty string,")?;
                Ok(describe_broker(self.layers))
            }
            ResourceType::Group if name.is_empty() => Err(invalid("Group name must not be empty")),
            ResourceType::Group => Ok(describe_group(&self.stored(kind, name), self.layers)),
            ResourceType::ClientMetrics if name.is_empty() => {
                Err(invalid("Client metrics subscription name must not be empty"))
            }
            ResourceType::ClientMetrics => Ok(describe_client_metrics(&self.stored(kind, name))),
            ResourceType::BrokerLogger if name.is_empty() => Err(invalid("Broker id must not be empty")),
            ResourceType::BrokerLogger => {
                self.check_broker_id(name, "")?;
                Ok(loggers::describe())
            }
            ResourceType::Other(_) => Err(invalid(INVALID_REQUEST)),
        }
    }

    fn stored(&self, kind: ResourceType, name: &str) -> Properties {
        self.image.configs().of(kind, name).cloned().unwrap_or_default()
    }

    fn check_broker_id(&self, name: &str, or: &str) -> Result<(), Failure> {
        let expected = self.node_id;
        match name.parse::<i32>() {
            Ok(id) if id == expected.0 => Ok(()),
            Ok(id) => {
                Err(invalid(&format!("Unexpected broker id, expected {expected}{or} but received {id}")))
            }
            Err(_) => Err(invalid(&format!("Broker id must be an integer, but it is: {name}"))),
        }
    }

    fn row(&self, entry: Entry) -> DescribeConfigsResourceResult {
        let synonyms = if self.synonyms { entry.synonyms } else { Vec::new() };
        DescribeConfigsResourceResult {
            name: entry.name,
            value: entry.value,
            read_only: entry.read_only,
            config_source: entry.source.code(),
            is_sensitive: entry.sensitive,
            synonyms: synonyms.into_iter().map(synonym).collect(),
            config_type: entry.kind_code,
            documentation: entry.documentation.filter(|_| self.documentation).map(str::to_owned),
            ..Default::default()
        }
    }
}

/// Kafka says the empty string where it has nothing to say.
fn refusal(resource: &DescribeConfigsResource, failure: Failure) -> DescribeConfigsResult {
    DescribeConfigsResult {
        error_code: failure.code.code(),
        error_message: Some(failure.message.unwrap_or_default()),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}

fn synonym(synonym: EntrySynonym) -> DescribeConfigsSynonym {
    let source: Source = synonym.source;
    DescribeConfigsSynonym {
        name: synonym.name,
        value: synonym.value,
        source: source.code(),
        ..Default::default()
    }
}

fn invalid(message: &str) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}
