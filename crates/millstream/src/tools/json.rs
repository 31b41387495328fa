//! Files of JSON that name topics and partitions, refused in Kafka's words (`org.apache.kafka.server.util.json`).

use std::fs;

use millstream_types::{PartitionId, TopicName, TopicPartition};
use serde_json::Value;

use super::exit::{Exit, Outcome};

pub(super) fn read_text(path: &str) -> Outcome<String> {
    let failed = |error: std::io::Error| Exit::failure(format!("Unable to read file {path}")).because(error);
    fs::read_to_string(path).map_err(failed)
}

/// What a file says, if it is JSON at all. Where it is not, Kafka tells in a Java library's own words.
pub(super) fn parse(text: &str) -> Outcome<Value> {
    serde_json::from_str(text)
        .map_err(|error| Exit::failure("The input string is not a valid JSON").because(error))
}

/// A field that must be there.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> Outcome<&'a Value> {
    object_field(value, name)?.ok_or_else(|| Exit::failure(format!("No such field exists: `{name}`")))
}

/// A field that need not be there, of what must be an object.
pub(super) fn object_field<'a>(value: &'a Value, name: &str) -> Outcome<Option<&'a Value>> {
    let refused = || Exit::failure(format!("Expected JSON object, received {value}"));
    Ok(value.as_object().ok_or_else(refused)?.get(name))
}

pub(super) fn array(value: &Value) -> Outcome<&[Value]> {
    let refused = || Exit::failure(format!("Expected JSON array, received {value}"));
    value.as_array().map(Vec::as_slice).ok_or_else(refused)
}

pub(super) fn text(value: &Value) -> Outcome<&str> {
    value.as_str().ok_or_else(|| Exit::failure(format!("Expected `String` value, received {value}")))
}

pub(super) fn number(value: &Value) -> Outcome<i32> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| Exit::failure(format!("Expected `Integer` value, received {value}")))
}

/// The fields `topic` and `partition`.
pub(super) fn partition(value: &Value) -> Outcome<TopicPartition> {
    let topic = topic_name(text(field(value, "topic")?)?)?;
    Ok(TopicPartition::new(topic, PartitionId(number(field(value, "partition")?)?)))
}

pub(super) fn topic_name(name: &str) -> Outcome<TopicName> {
    TopicName::parse(name).map_err(|error| Exit::failure(format!("Topic name is invalid: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let refusal = |value: Value| partition(&value).unwrap_err().sentence().to_owned();
        assert_eq!(refusal(json!({ "topic": "t" })), "No such field exists: `partition`");
        assert_eq!(refusal(json!({ "topic": 5 })), "Expected `String` value, received 5");
        assert_eq!(
            refusal(json!({ "topic": "t", "partition": "x" })),
            "Expected `Integer` value, received \"x\""
        );
        assert_eq!(refusal(json!([1])), "Expected JSON object, received [1]");
        assert!(refusal(json!({ "topic": "a b", "partition": 0 })).starts_with("Topic name is invalid: "));
        assert_eq!(partition(&json!({ "topic": "t", "partition": 3 })).unwrap().to_string(), "t-3");
    }
}
