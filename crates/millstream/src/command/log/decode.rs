//! What a record of one of Kafka's own topics says: metadata, offsets, transactions, control markers. As
//! Kafka's dump tool shows it: type, version, and the fields under Kafka's names.

use std::path::Path;

use bytes::Bytes;
use millstream_record::{
    BatchHeader, Record,
    control::{ControlType, EndTransactionMarker},
    internal::decode_version,
    kraft,
    messages::*,
};
use millstream_types::codec::{DecodeError, Message, Reader};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::command::envelope::put_bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    Plain,
    Metadata,
    ConsumerOffsets,
    Transactions,
    ShareState,
}

impl Decoder {
    /// By the topic, which is the directory's name without the partition.
    pub(super) fn of(path: &Path) -> Self {
        let name = path.canonicalize().ok();
        let directory = name.as_deref().and_then(Path::parent).and_then(Path::file_name);
        let topic = directory.and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('-'));
        match topic {
            Some(("__cluster_metadata", _)) => Self::Metadata,
            Some(("__consumer_offsets", _)) => Self::ConsumerOffsets,
            Some(("__transaction_state", _)) => Self::Transactions,
            Some(("__share_group_state", _)) => Self::ShareState,
            // bootstrap.checkpoint stands beside the partitions.
            _ if path.extension().is_some_and(|end| end == "checkpoint") => Self::Metadata,
            _ => Self::Plain,
        }
    }

    /// Adds the record's contents; what cannot be decoded is shown as it is, with the reason.
    pub(super) fn describe(self, header: &BatchHeader, record: &Record, fields: &mut Map<String, Value>) {
        let (key, value) = (record.key.clone(), record.value.clone());
        let decoded = match self {
            _ if header.attributes.is_control() => Some(control(key.as_ref(), value.clone())),
            Self::Plain => None,
            Self::Metadata => value.clone().map(metadata),
            Self::ConsumerOffsets => key.clone().map(|key| consumer_offsets(key, value.clone())),
            Self::Transactions => key.clone().map(|key| transactions(key, value.clone())),
            Self::ShareState => key.clone().map(|key| share_state(key, value.clone())),
        };
        match decoded {
            Some(Ok(Value::Object(decoded))) => return fields.extend(decoded),
            Some(Err(error)) => {
                fields.insert("not_decoded".to_owned(), json!(error.to_string()));
            }
            Some(Ok(_)) | None => {}
        }
        put_bytes(fields, "key", key.as_ref());
        put_bytes(fields, "value", value.as_ref());
        for header in &record.headers {
            let mut shown = Map::new();
            shown.insert("key".to_owned(), json!(header.key_str()));
            put_bytes(&mut shown, "value", header.value.as_ref());
            let list = fields.entry("headers").or_insert_with(|| json!([]));
            list.as_array_mut().expect("made as a list just now").push(Value::Object(shown));
        }
    }
}

type Decoded = Result<Value, DecodeError>;

fn as_json(message: &impl Serialize) -> Value {
    serde_json::to_value(message).unwrap_or_default()
}

pub(super) fn metadata(value: Bytes) -> Decoded {
    let (record, version) = kraft::decode(value)?;
    Ok(json!({ "type": record.name(), "version": version, "data": as_json(&record) }))
}

fn control(key: Option<&Bytes>, value: Option<Bytes>) -> Decoded {
    fn body<M: Message + Serialize>(value: Option<Bytes>) -> Decoded {
        Ok(as_json(&M::read(&mut Reader::new(value.unwrap_or_default()), 0)?))
    }
    let key = key.map(|key| &key[..]).unwrap_or_default();
    let kind = ControlType::from_key(key).unwrap_or(ControlType::Unknown(-1));
    let data = match kind {
        ControlType::LeaderChange => body::<LeaderChangeMessage>(value)?,
        ControlType::SnapshotHeader => body::<SnapshotHeaderRecord>(value)?,
        ControlType::SnapshotFooter => body::<SnapshotFooterRecord>(value)?,
        ControlType::KRaftVersion => body::<KRaftVersionRecord>(value)?,
        ControlType::KRaftVoters => body::<VotersRecord>(value)?,
        ControlType::Abort | ControlType::Commit => {
            let marker = EndTransactionMarker::from_record(key, value.as_deref().unwrap_or_default());
            let epoch = marker.ok().flatten().map(|marker| marker.coordinator_epoch);
            json!({ "coordinatorEpoch": epoch })
        }
        ControlType::Unknown(id) => json!({ "controlType": id }),
    };
    Ok(json!({ "control": format!("{kind:?}"), "data": data }))
}

/// Key and value by the record type in front of the key: the pairs of one coordinator.
macro_rules! coordinator_records {
    ($name:ident: $($kind:pat => $key:ty, $value:ty;)*) => {
        pub(super) fn $name(key: Bytes, value: Option<Bytes>) -> Decoded {
            let mut reader = Reader::new(key);
            let kind = decode_version(&mut reader)?;
            match kind {
                $($kind => pair::<$key, $value>(&mut reader, kind, value),)*
                unknown => Ok(json!({ "recordType": unknown })),
            }
        }
    };
}

coordinator_records! { consumer_offsets:
    0 => LegacyOffsetCommitKey, LegacyOffsetCommitValue;
    1 => OffsetCommitKey, OffsetCommitValue;
    2 => GroupMetadataKey, GroupMetadataValue;
    3 => ConsumerGroupMetadataKey, ConsumerGroupMetadataValue;
    4 => ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue;
    5 => ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue;
    6 => ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue;
    7 => ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue;
    8 => ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue;
    10 => ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue;
    11 => ShareGroupMetadataKey, ShareGroupMetadataValue;
    12 => ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue;
    13 => ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue;
    14 => ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue;
    15 => ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue;
    16 => ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue;
    17 => StreamsGroupMetadataKey, StreamsGroupMetadataValue;
    19 => StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue;
    20 => StreamsGroupTargetAssignmentMetadataKey, StreamsGroupTargetAssignmentMetadataValue;
    21 => StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue;
    22 => StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue;
    23 => StreamsGroupTopologyKey, StreamsGroupTopologyValue;
}

coordinator_records! { transactions:
    0 => TransactionLogKey, TransactionLogValue;
}

coordinator_records! { share_state:
    0 => ShareSnapshotKey, ShareSnapshotValue;
    1 => ShareUpdateKey, ShareUpdateValue;
}

fn pair<K: Message + Serialize, V: Message + Serialize>(
    key: &mut Reader,
    kind: i16,
    value: Option<Bytes>,
) -> Decoded {
    let key = K::read(key, 0)?;
    let value = match value {
        None => Value::Null,
        Some(value) => {
            let mut reader = Reader::new(value);
            let version = decode_version(&mut reader)?;
            json!({ "type": V::NAME, "version": version, "data": as_json(&V::read(&mut reader, version)?) })
        }
    };
    Ok(json!({ "key": { "type": K::NAME, "recordType": kind, "data": as_json(&key) }, "value": value }))
}

#[cfg(test)]
mod tests {
    use millstream_record::internal::{encode_key, encode_versioned};

    use super::*;

    #[test]
    fn a_committed_offset_is_shown_with_its_names() {
        let key = OffsetCommitKey { group: "g".to_owned(), topic: "t".to_owned(), partition: 3 };
        let value = OffsetCommitValue { offset: i64::MAX, metadata: "m".to_owned(), ..Default::default() };
        let (key, value) = (encode_key(1, &key).unwrap(), encode_versioned(&value, 3).unwrap());
        let shown = consumer_offsets(key.clone(), Some(value)).unwrap();
        assert_eq!(shown["key"]["data"], json!({ "group": "g", "topic": "t", "partition": 3 }));
        assert_eq!(
            (&shown["value"]["type"], &shown["value"]["version"]),
            (&json!("OffsetCommitValue"), &json!(3))
        );
        assert_eq!(shown["value"]["data"]["offset"], json!(i64::MAX));
        assert_eq!(consumer_offsets(key, None).unwrap()["value"], Value::Null);
    }

    #[test]
    fn what_is_no_coordinator_record_is_shown_as_it_is() {
        assert!(consumer_offsets(Bytes::from_static(&[0, 1, 0]), None).is_err());
        assert_eq!(
            consumer_offsets(Bytes::from_static(&[0, 99]), None).unwrap(),
            json!({ "recordType": 99 })
        );
        let record = Record { key: Some(Bytes::from_static(&[0, 1, 0])), ..Record::default() };
        let header =
            BatchHeader::parse(&millstream_record::BatchBuilder::new(Default::default()).build()).unwrap();
        let mut fields = Map::new();
        Decoder::ConsumerOffsets.describe(&header, &record, &mut fields);
        assert!(fields.contains_key("not_decoded") && fields.contains_key("key"), "{fields:?}");
    }
}
