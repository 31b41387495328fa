//! Messages as JSON, by their tables: names and shapes as in Kafka's own JSON, bytes as base64, 64-bit
//! numbers exact.

use anyhow::{Result, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use millstream_types::{
    Uuid,
    codec::{DecodeError, Reader, TaggedFields, Writer},
};
use serde_json::{Map, Value, json};

use super::schema::{Field, Kind, Message};

/// A message's bytes. What is left out of the JSON has its default.
pub(super) fn encode(message: &Message, value: &Value, version: i16, w: &mut Writer) -> Result<()> {
    Encoder { message, version, flexible: message.is_flexible(version) }.fields(&message.fields, value, "", w)
}

pub(super) fn decode(message: &Message, version: i16, r: &mut Reader) -> Result<Value, DecodeError> {
    Decoder { message, version, flexible: message.is_flexible(version) }.fields(&message.fields, r)
}

struct Encoder<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
}

impl Encoder<'_> {
    fn fields(&self, fields: &[Field], value: &Value, path: &str, w: &mut Writer) -> Result<()> {
        let place = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let here = if path.is_empty() { "the request" } else { path };
        let object = value.as_object().ok_or_else(|| anyhow!("{here} is {value}, expected an object"))?;
        if let Some(name) = object.keys().find(|name| !fields.iter().any(|field| field.name == **name)) {
            let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            bail!("{here} has no field {name:?}; its fields are {}", known.join(", "));
        }
        let mut tagged: Vec<(u32, Writer)> = Vec::new();
        for field in fields {
            let given = object.get(&field.name);
            let path = place(&field.name);
            if !field.versions.contains(&self.version) {
                if given.is_some() {
                    let (first, last) = (field.versions.start(), field.versions.end());
                    bail!("{path} is in versions {first} to {last}, not in {}", self.version);
                }
                continue;
            }
            match (field.tag, given) {
                (None, given) => {
                    let default = default(field);
                    self.value(field, &field.kind, given.unwrap_or(&default), &path, w)?;
                }
                // What has its default is left out.
                (Some(_), None) => {}
                (Some(tag), Some(given)) => {
                    let mut section = Writer::new();
                    self.value(field, &field.kind, given, &path, &mut section)?;
                    tagged.push((tag, section));
                }
            }
        }
        tagged.sort_by_key(|(tag, _)| *tag);
        let mut section = TaggedFields::default();
        for (tag, bytes) in tagged {
            section.put(tag, |w| {
                w.append(bytes);
                Ok(())
            })?;
        }
        Ok(section.finish(w, self.flexible, &[])?)
    }

    fn value(&self, field: &Field, kind: &Kind, value: &Value, path: &str, w: &mut Writer) -> Result<()> {
        let flexible = self.flexible && !field.is_classic;
        let is_whole = *kind == field.kind;
        if value.is_null() && !(is_whole && field.is_nullable(self.version)) {
            bail!("{path} may not be null in version {}", self.version);
        }
        let expected = |what: &str| anyhow!("{path} is {value}, expected {what}");
        match kind {
            Kind::Bool => w.bool(value.as_bool().ok_or_else(|| expected("true or false"))?),
            Kind::Int8 => w.i8(integer(value).ok_or_else(|| expected("a number of 8 bits"))?),
            Kind::Int16 => w.i16(integer(value).ok_or_else(|| expected("a number of 16 bits"))?),
            Kind::Uint16 => w.u16(integer(value).ok_or_else(|| expected("a number from 0 to 65535"))?),
            Kind::Int32 => w.i32(integer(value).ok_or_else(|| expected("a number of 32 bits"))?),
            Kind::Uint32 => w.u32(integer(value).ok_or_else(|| expected("a number from 0 on, of 32 bits"))?),
            Kind::Int64 => w.i64(integer(value).ok_or_else(|| expected("a number of 64 bits"))?),
            Kind::Float64 => w.f64(value.as_f64().ok_or_else(|| expected("a number"))?),
            Kind::Uuid => {
                let text = value.as_str().ok_or_else(|| expected("an id of 22 characters"))?;
                w.uuid(text.parse::<Uuid>().map_err(|error| anyhow!("{path}: {error}"))?);
            }
            Kind::String if value.is_null() => w.nullable_string(flexible, None)?,
            Kind::String => w.string(flexible, value.as_str().ok_or_else(|| expected("text"))?)?,
            Kind::Bytes if value.is_null() => w.nullable_bytes(flexible, None)?,
            Kind::Bytes => {
                let text = value.as_str().ok_or_else(|| expected("base64"))?;
                let bytes = STANDARD.decode(text).map_err(|error| anyhow!("{path}: {error}"))?;
                w.bytes(flexible, &Bytes::from(bytes))?;
            }
            Kind::Array(_) if value.is_null() => w.nullable_array::<()>(flexible, None, |_, ()| Ok(()))?,
            Kind::Array(element) => {
                let items = value.as_array().ok_or_else(|| expected("a list"))?;
                let mut written = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let mut one = Writer::new();
                    self.value(field, element, item, &format!("{path}[{index}]"), &mut one)?;
                    written.push(one.into_bytes());
                }
                w.array(flexible, &written, |w, bytes| {
                    w.put_payload(bytes.clone());
                    Ok(())
                })?;
            }
            Kind::Struct(_) => {
                if is_whole && field.is_nullable(self.version) {
                    match (value.is_null(), field.tag) {
                        (true, Some(_)) => w.uvarint(0),
                        (true, None) => w.i8(-1),
                        (false, _) => w.i8(1),
                    }
                }
                if !value.is_null() {
                    self.fields(self.message.below(field), value, path, w)?;
                }
            }
        }
        Ok(())
    }
}

fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_i64()?).ok()
}

fn default(field: &Field) -> Value {
    match (field.default.as_deref(), &field.kind) {
        (Some("null"), _) => Value::Null,
        (Some(text), Kind::String) => json!(text),
        (Some(text), Kind::Uuid) => json!(text),
        // Numbers and truth values are written as in JSON; `9223372036854775807` too.
        (Some(text), _) => serde_json::from_str(text).unwrap_or(Value::Null),
        (None, Kind::Bool) => json!(false),
        (None, Kind::Uuid) => json!(Uuid::ZERO.to_string()),
        (None, Kind::String | Kind::Bytes) => json!(""),
        (None, Kind::Struct(_)) => json!({}),
        (None, Kind::Array(_)) => json!([]),
        (None, _) => json!(0),
    }
}

struct Decoder<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
}

impl Decoder<'_> {
    fn fields(&self, fields: &[Field], r: &mut Reader) -> Result<Value, DecodeError> {
        let mut object = Map::new();
        let present = fields.iter().filter(|field| field.versions.contains(&self.version));
        for field in present.clone().filter(|field| field.tag.is_none()) {
            object.insert(field.name.clone(), self.value(field, &field.kind, r)?);
        }
        if self.flexible {
            let unknown = r.tagged_fields(|tag, r| {
                let Some(field) = present.clone().find(|field| field.tag == Some(tag)) else {
                    return Ok(false);
                };
                object.insert(field.name.clone(), self.value(field, &field.kind, r)?);
                Ok(true)
            })?;
            for (tag, bytes) in unknown {
                object.insert(format!("unknownTag{tag}"), json!(STANDARD.encode(bytes)));
            }
        }
        Ok(Value::Object(object))
    }

    fn value(&self, field: &Field, kind: &Kind, r: &mut Reader) -> Result<Value, DecodeError> {
        let flexible = self.flexible && !field.is_classic;
        Ok(match kind {
            Kind::Bool => json!(r.bool()?),
            Kind::Int8 => json!(r.i8()?),
            Kind::Int16 => json!(r.i16()?),
            Kind::Uint16 => json!(r.u16()?),
            Kind::Int32 => json!(r.i32()?),
            Kind::Uint32 => json!(r.u32()?),
            Kind::Int64 => json!(r.i64()?),
            Kind::Float64 => json!(r.f64()?),
            Kind::Uuid => json!(r.uuid()?.to_string()),
            Kind::String => json!(r.nullable_string(flexible)?),
            Kind::Bytes => json!(r.nullable_bytes(flexible)?.map(|bytes| STANDARD.encode(bytes))),
            Kind::Array(element) => {
                json!(r.nullable_array(flexible, |r| self.value(field, element, r))?)
            }
            Kind::Struct(_) => {
                let below = self.message.below(field);
                let is_nullable = *kind == field.kind && field.is_nullable(self.version);
                match (is_nullable, field.tag) {
                    (false, _) => self.fields(below, r)?,
                    (true, None) => r.nullable(|r| self.fields(below, r))?.unwrap_or_default(),
                    (true, Some(_)) => r.nullable_tagged(|r| self.fields(below, r))?.unwrap_or_default(),
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use millstream_protocol::messages::{
        CreateTopicsRequest, FetchResponse, MetadataRequest, MetadataResponse,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        fetch_response::{FetchableTopicResponse, PartitionData},
        metadata_response::MetadataResponseTopic,
    };

    use millstream_types::codec::Message as _;

    use super::{super::schema::find, *};

    /// What the generated code writes is what the tables make of the same JSON.
    #[test]
    fn requests_are_the_bytes_that_the_codec_writes() {
        let api = find("CreateTopics").unwrap();
        let config = CreatableTopicConfig { name: "a".to_owned(), value: None, ..Default::default() };
        let topic = CreatableTopic {
            name: "t".to_owned(),
            num_partitions: 3,
            replication_factor: -1,
            configs: vec![config],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5, ..Default::default() };
        let value = json!({"timeoutMs": 5, "topics": [{"name": "t", "numPartitions": 3, "replicationFactor": -1,
            "configs": [{"name": "a", "value": null}]}]});
        for version in CreateTopicsRequest::MIN_VERSION..=CreateTopicsRequest::MAX_VERSION {
            let (mut ours, mut codecs) = (Writer::new(), Writer::new());
            encode(&api.request, &value, version, &mut ours).unwrap();
            request.write(&mut codecs, version).unwrap();
            assert_eq!(ours.into_bytes(), codecs.into_bytes(), "version {version}");
        }
    }

    #[test]
    fn answers_are_read_as_the_codec_writes_them_tagged_fields_included() {
        let api = find("Metadata").unwrap();
        let topic = MetadataResponseTopic { name: Some("t".to_owned()), ..Default::default() };
        let answer = MetadataResponse { topics: vec![topic], throttle_time_ms: 7, ..Default::default() };
        let mut w = Writer::new();
        answer.write(&mut w, 12).unwrap();
        let mut r = Reader::new(w.into_bytes());
        let read = decode(&api.response, 12, &mut r).unwrap();
        assert!(r.is_empty());
        assert_eq!((&read["throttleTimeMs"], &read["topics"][0]["name"]), (&json!(7), &json!("t")));
        assert_eq!(read["clusterId"], Value::Null);

        let api = find("Fetch").unwrap();
        let mut partition = PartitionData { high_watermark: i64::MAX, ..Default::default() };
        partition.current_leader.leader_id = 5;
        let topic = FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
        let answer = FetchResponse { responses: vec![topic], ..Default::default() };
        let mut w = Writer::new();
        answer.write(&mut w, 12).unwrap();
        let read = decode(&api.response, 12, &mut Reader::new(w.into_bytes())).unwrap();
        let partition = &read["responses"][0]["partitions"][0];
        assert_eq!(partition["currentLeader"]["leaderId"], 5);
        assert_eq!(partition["highWatermark"], i64::MAX);
    }

    /// Every request can be made with its defaults, and is what the codec reads.
    #[test]
    fn an_empty_object_is_a_request_with_its_defaults() {
        let api = find("Metadata").unwrap();
        for version in MetadataRequest::MIN_VERSION..=MetadataRequest::MAX_VERSION {
            let mut w = Writer::new();
            encode(&api.request, &json!({}), version, &mut w).unwrap();
            let read = MetadataRequest::read(&mut Reader::new(w.into_bytes()), version).unwrap();
            assert_eq!(read, MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
        }
        for key in millstream_protocol::ApiKey::ALL {
            let api = find(key.name()).unwrap();
            for version in key.versions() {
                let made = encode(&api.request, &json!({}), version, &mut Writer::new());
                assert!(made.is_ok(), "{} {version}: {made:?}", key.name());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_place() {
        let api = find("Metadata").unwrap();
        let refused = |value: Value, version| {
            encode(&api.request, &value, version, &mut Writer::new()).unwrap_err().to_string()
        };
        assert!(
            refused(json!({"topics": [{"nmae": "t"}]}), 9).starts_with("topics[0] has no field \"nmae\"")
        );
        assert!(
            refused(json!({"topics": [{"name": 1}]}), 9).starts_with("topics[0].name is 1, expected text")
        );
        assert!(refused(json!({"topics": null}), 0).contains("may not be null"));
        assert!(refused(json!({"allowAutoTopicCreation": true}), 0).contains("versions 4 to 13, not in 0"));
        assert!(refused(json!([]), 0).contains("expected an object"));
        let api = find("ListOffsets").unwrap();
        let value = json!({"replicaId": 3_000_000_000i64});
        assert!(encode(&api.request, &value, 1, &mut Writer::new()).is_err());
    }
}
