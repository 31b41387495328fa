//! A record as one line of JSON, the same out of `cat` and into `produce`; out of `cat -J` as kcat has it,
//! which `produce` reads too. Keys and values are text where they are UTF-8, and base64 under another name
//! where they are not; 64-bit numbers are exact.

use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use millstream_client::{ConsumerRecord, ProducerRecord};
use millstream_record::{Header, TimestampType};
use millstream_types::{BrokerId, PartitionId, TimestampMs, TopicName};
use serde_json::{Map, Value, json};

pub(super) fn to_json(record: &ConsumerRecord) -> Value {
    let mut fields = Map::new();
    fields.insert("topic".to_owned(), json!(record.partition.topic.as_str()));
    fields.insert("partition".to_owned(), json!(record.partition.partition.0));
    fields.insert("offset".to_owned(), json!(record.offset.0));
    fields.insert("timestamp".to_owned(), json!(record.timestamp.0));
    fields.insert("timestamp_type".to_owned(), json!(timestamp_type(record.timestamp_type)));
    put_bytes(&mut fields, "key", record.key.as_ref());
    put_bytes(&mut fields, "value", record.value.as_ref());
    if !record.headers.is_empty() {
        fields.insert("headers".to_owned(), record.headers.iter().map(header_to_json).collect());
    }
    Value::Object(fields)
}

/// kcat's envelope. `broker` is the partition's leader.
pub(super) fn to_kcat_json(record: &ConsumerRecord, broker: Option<BrokerId>) -> Value {
    let mut fields = Map::new();
    fields.insert("topic".to_owned(), json!(record.partition.topic.as_str()));
    fields.insert("partition".to_owned(), json!(record.partition.partition.0));
    fields.insert("offset".to_owned(), json!(record.offset.0));
    let kind = match record.timestamp_type {
        TimestampType::CreateTime => "create",
        TimestampType::LogAppendTime => "logappend",
    };
    fields.insert("tstype".to_owned(), json!(kind));
    fields.insert("ts".to_owned(), json!(record.timestamp.0));
    fields.insert("broker".to_owned(), json!(BrokerId::to_wire(broker)));
    if !record.headers.is_empty() {
        let text = |bytes: &Bytes| json!(String::from_utf8_lossy(bytes));
        let pair = |header: &Header| [text(&header.key), header.value.as_ref().map_or(Value::Null, text)];
        fields.insert("headers".to_owned(), record.headers.iter().flat_map(pair).collect());
    }
    put_bytes(&mut fields, "key", record.key.as_ref());
    put_bytes(&mut fields, "payload", record.value.as_ref());
    Value::Object(fields)
}

fn timestamp_type(kind: TimestampType) -> &'static str {
    match kind {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn header_to_json(header: &Header) -> Value {
    let mut fields = Map::new();
    fields.insert("key".to_owned(), json!(header.key_str()));
    put_bytes(&mut fields, "value", header.value.as_ref());
    Value::Object(fields)
}

/// Under `name`, or where the bytes are no text, under `name_base64`.
pub(super) fn put_bytes(fields: &mut Map<String, Value>, name: &str, bytes: Option<&Bytes>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| STANDARD.encode(bytes))) {
        None => fields.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => fields.insert(name.to_owned(), json!(text)),
        Some(Err(encoded)) => fields.insert(format!("{name}_base64"), json!(encoded)),
    };
}

/// What `cat --json` and `cat -J` print.
const KNOWN: [&str; 15] = [
    "topic",
    "partition",
    "offset",
    "timestamp",
    "timestamp_type",
    "ts",
    "tstype",
    "broker",
    "headers",
    "key",
    "key_base64",
    "value",
    "value_base64",
    "payload",
    "payload_base64",
];

/// Reads a line. `partition` and `timestamp` are optional, as is everything else; where the record came
/// from does not matter.
pub(super) fn from_json(line: &str, topic: &TopicName) -> Result<ProducerRecord> {
    let Value::Object(fields) = serde_json::from_str(line)? else { bail!("expected a JSON object") };
    if let Some(name) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        bail!("field {name:?} is not known; expected key, value, headers, partition, timestamp");
    }
    let integer = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_i64().map(Some).ok_or_else(|| anyhow!("{name} is {value}, expected an integer"))
        }
    };
    let partition = integer("partition")?.map(i32::try_from).transpose().context("partition")?;
    let value = match get_bytes(&fields, "value")? {
        None => get_bytes(&fields, "payload")?,
        value => value,
    };
    Ok(ProducerRecord {
        topic: topic.clone(),
        partition: partition.map(PartitionId),
        timestamp: integer("timestamp")?.or(integer("ts")?).map(TimestampMs),
        key: get_bytes(&fields, "key")?,
        value,
        headers: fields.get("headers").map_or(Ok(Vec::new()), headers)?,
    })
}

/// A list of `{"key": …, "value": …}`, kcat's list of names and values in turn, or an object of them.
fn headers(value: &Value) -> Result<Vec<Header>> {
    let from_object = |fields: &Map<String, Value>| {
        let name =
            fields.get("key").and_then(Value::as_str).ok_or_else(|| anyhow!("a header without key"))?;
        Ok(Header::new(name.to_owned(), get_bytes(fields, "value")?))
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) if items.first().is_some_and(Value::is_string) => {
            if items.len() % 2 != 0 {
                bail!("headers are a name without a value, {value}");
            }
            let pair = |pair: &[Value]| {
                let name = pair[0].as_str().ok_or_else(|| anyhow!("header name {} is no text", pair[0]))?;
                Ok(Header::new(name.to_owned(), text(&pair[1])))
            };
            items.chunks_exact(2).map(pair).collect()
        }
        Value::Array(items) => {
            let each = |item: &Value| {
                from_object(item.as_object().ok_or_else(|| anyhow!("header {item} is no object"))?)
            };
            items.iter().map(each).collect()
        }
        Value::Object(fields) => {
            Ok(fields.iter().map(|(name, value)| Header::new(name.clone(), text(value))).collect())
        }
        other => bail!("headers are {other}, expected a list or an object"),
    }
}

fn get_bytes(fields: &Map<String, Value>, name: &str) -> Result<Option<Bytes>> {
    if let Some(encoded) = fields.get(&format!("{name}_base64")) {
        let encoded = encoded.as_str().ok_or_else(|| anyhow!("{name}_base64 is no text"))?;
        return Ok(Some(STANDARD.decode(encoded).with_context(|| format!("{name}_base64"))?.into()));
    }
    Ok(fields.get(name).and_then(text))
}

/// Text as it is, null as nothing, everything else as JSON.
fn text(value: &Value) -> Option<Bytes> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Bytes::from(text.clone())),
        other => Some(Bytes::from(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use millstream_types::{Offset, TopicPartition};

    use super::*;

    #[test]
    fn what_cat_prints_produce_reads() {
        let topic = TopicName::from_static("t");
        let headers = vec![Header::new("a", Some(Bytes::from_static(b"1"))), Header::new("a", None)];
        let record = ConsumerRecord {
            partition: TopicPartition::new(topic.clone(), PartitionId(3)),
            offset: Offset(i64::MAX),
            leader_epoch: None,
            timestamp: TimestampMs(9_007_199_254_740_993),
            timestamp_type: TimestampType::CreateTime,
            key: Some(Bytes::from_static(b"\xff\x00")),
            value: None,
            headers: headers.clone(),
        };
        let line = to_json(&record).to_string();
        assert!(line.contains("9007199254740993") && line.contains("9223372036854775807"), "{line}");
        let read = from_json(&line, &topic).unwrap();
        assert_eq!((read.partition, read.timestamp), (Some(PartitionId(3)), Some(record.timestamp)));
        assert_eq!((read.key, read.value, read.headers), (record.key, record.value, headers));
    }

    #[test]
    fn what_cat_prints_as_kcat_does_produce_reads() {
        let topic = TopicName::from_static("t");
        let record = ConsumerRecord {
            partition: TopicPartition::new(topic.clone(), PartitionId(3)),
            offset: Offset(7),
            leader_epoch: None,
            timestamp: TimestampMs(5),
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(Bytes::from_static(b"v")),
            headers: vec![Header::new("a", Some(Bytes::from_static(b"1"))), Header::new("b", None)],
        };
        let line = to_kcat_json(&record, Some(BrokerId(1))).to_string();
        let expected = r#"{"topic":"t","partition":3,"offset":7,"tstype":"create","ts":5,"broker":1,"headers":["a","1","b",null],"key":null,"payload":"v"}"#;
        assert_eq!(line, expected);
        let read = from_json(&line, &topic).unwrap();
        assert_eq!((read.timestamp, read.value), (Some(record.timestamp), record.value));
        assert_eq!(read.headers, record.headers);
        assert!(from_json(r#"{"headers":["a"]}"#, &topic).is_err());
        assert!(from_json(r#"{"headers":["a","b",1,"c"]}"#, &topic).is_err());
    }

    #[test]
    fn values_need_not_be_text_and_everything_may_be_left_out() {
        let topic = TopicName::from_static("t");
        let read = from_json(r#"{"value": {"b": [1, 2.5]}, "headers": {"h": "x"}}"#, &topic).unwrap();
        assert_eq!(read.value.unwrap(), r#"{"b":[1,2.5]}"#);
        assert_eq!(read.headers, [Header::new("h", Some(Bytes::from_static(b"x")))]);
        assert_eq!((read.key, read.partition, read.timestamp), (None, None, None));
    }

    #[test]
    fn what_cannot_be_a_record_is_refused_with_the_reason() {
        let refused = |line| format!("{:#}", from_json(line, &TopicName::from_static("t")).unwrap_err());
        assert!(refused("[1]").contains("expected a JSON object"));
        assert!(refused(r#"{"vlaue": 1}"#).contains("\"vlaue\" is not known"));
        assert!(refused(r#"{"partition": "x"}"#).contains("partition is \"x\", expected an integer"));
        assert!(refused(r#"{"key_base64": "*"}"#).contains("key_base64"));
        assert!(refused(r#"{"headers": 1}"#).contains("headers are 1"));
    }
}
