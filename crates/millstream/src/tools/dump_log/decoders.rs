//! What records say, topic by topic. Kafka shows a record in its own version: fields that the version does not
//! have are left out, and so are those that are written only when they have something to say.

use anyhow::{Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use millstream_record::{
    Record,
    control::ControlType,
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription, KRaftVersionRecord, LeaderChangeMessage,
        RemoteLogSegmentMetadataRecord, RemoteLogSegmentMetadataSnapshotRecord,
        RemoteLogSegmentMetadataUpdateRecord, RemotePartitionDeleteMetadataRecord, SnapshotFooterRecord,
        SnapshotHeaderRecord, VotersRecord,
    },
};
use millstream_types::{
    Offset, Uuid,
    codec::{DecodeError, Message, Reader},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    command::log::{self, CoordinatorLog},
    tools::options::Given,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    Text,
    Metadata,
    Coordinator(CoordinatorLog),
    RemoteLogMetadata,
}

/// What is printed of a record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) key: Option<String>,
    pub(super) payload: Option<String>,
}

impl Decoder {
    /// Kafka asks for them in this order.
    pub(super) fn of(given: &Given) -> Self {
        let all = [
            ("offsets-decoder", Self::Coordinator(CoordinatorLog::ConsumerOffsets)),
            ("transaction-log-decoder", Self::Coordinator(CoordinatorLog::Transactions)),
            ("cluster-metadata-decoder", Self::Metadata),
            ("remote-log-metadata-decoder", Self::RemoteLogMetadata),
            ("share-group-state-decoder", Self::Coordinator(CoordinatorLog::ShareState)),
        ];
        let named = all.into_iter().find(|(option, _)| given.has(option));
        named.map_or(Self::Text, |(_, decoder)| decoder)
    }

    pub(super) fn decode(self, offset: Offset, record: &Record) -> Result<Decoded> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        Ok(match self {
            Self::Text => {
                Decoded { key: record.key.as_ref().map(text), payload: record.value.as_ref().map(text) }
            }
            Self::Metadata => Decoded {
                key: None,
                payload: Some(match metadata(record.value.clone().unwrap_or_default()) {
                    Ok(decoded) => decoded.to_string(),
                    Err(error) => format!("Error at {offset}, skipping. {error}"),
                }),
            },
            Self::RemoteLogMetadata => Decoded {
                key: None,
                payload: Some(match remote(record.value.clone().unwrap_or_default()) {
                    Ok(shown) => shown,
                    Err(error) => format!("Error at offset {offset}, skipping. {error}"),
                }),
            },
            Self::Coordinator(log) => {
                let Some(key) = record.key.clone() else {
                    bail!(
                        "Failed to decode message at offset {offset} using the specified decoder (message had a missing key)"
                    );
                };
                coordinator(log, offset, key, record.value.clone())
            }
        })
    }
}

fn metadata(value: Bytes) -> Result<Value> {
    check_frame(&mut Reader::new(value.clone()))?;
    log::metadata_record(value)
}

/// The version of the frame around records of metadata, of the cluster's and of tiered storage's.
fn check_frame(reader: &mut Reader) -> Result<()> {
    match reader.uvarint()? {
        FRAME_VERSION => Ok(()),
        version => bail!(
            "Could not deserialize metadata record due to unknown frame version {version}(only frame version {FRAME_VERSION} is supported)"
        ),
    }
}

fn coordinator(log: CoordinatorLog, offset: Offset, key: Bytes, value: Option<Bytes>) -> Decoded {
    let only_key = |key: String| Decoded { key: Some(key), payload: None };
    let decoded = match log.record(key, value) {
        Ok(decoded) => decoded,
        Err(error) => return only_key(format!("Error at offset {offset}, skipping. {error}")),
    };
    if let Some(unknown) = decoded.get("recordType") {
        return only_key(format!("Unknown record type {unknown} at offset {offset}, skipping."));
    }
    let key = json!({
        "type": decoded["key"]["recordType"].to_string(),
        "data": decoded["key"]["data"],
    });
    let payload = match &decoded["value"] {
        Value::Null => "<DELETE>".to_owned(),
        value => {
            let version = value["version"].as_i64().unwrap_or_default();
            let name = value["type"].as_str().unwrap_or_default();
            let mut data = value["data"].clone();
            prune(name, version, &mut data);
            if name == "GroupMetadataValue" && data["protocolType"] == "consumer" {
                open_members(&mut data);
            }
            json!({ "version": version.to_string(), "data": data }).to_string()
        }
    };
    Decoded { key: Some(key.to_string()), payload: Some(payload) }
}

/// A field that not every record has: from the first version on to the last, and, where it is written only
/// if it is not the default, that default.
struct Rule {
    message: &'static str,
    /// Of the fields of the elements of `list`, if there is one.
    list: Option<&'static str>,
    field: &'static str,
    versions: (i64, i64),
    default: Option<&'static str>,
}

const fn since(message: &'static str, field: &'static str, first: i64) -> Rule {
    Rule { message, list: None, field, versions: (first, i64::MAX), default: None }
}

const fn tagged(message: &'static str, field: &'static str, first: i64, default: &'static str) -> Rule {
    Rule { message, list: None, field, versions: (first, i64::MAX), default: Some(default) }
}

const fn in_list(message: &'static str, list: &'static str, field: &'static str, first: i64) -> Rule {
    Rule { message, list: Some(list), field, versions: (first, i64::MAX), default: None }
}

const fn tagged_in_list(message: &'static str, list: &'static str, field: &'static str) -> Rule {
    Rule { message, list: Some(list), field, versions: (0, i64::MAX), default: Some("null") }
}

const ZERO_ID: &str = "\"AAAAAAAAAAAAAAAAAAAAAA\"";

const RULES: [Rule; 32] = [
    since("OffsetCommitValue", "leaderEpoch", 3),
    Rule {
        message: "OffsetCommitValue",
        list: None,
        field: "expireTimestamp",
        versions: (1, 1),
        default: None,
    },
    tagged("OffsetCommitValue", "topicId", 4, ZERO_ID),
    since("GroupMetadataValue", "currentStateTimestamp", 2),
    in_list("GroupMetadataValue", "members", "groupInstanceId", 3),
    in_list("GroupMetadataValue", "members", "rebalanceTimeout", 1),
    tagged("ConsumerGroupMetadataValue", "metadataHash", 0, "0"),
    tagged("ConsumerGroupMemberMetadataValue", "classicMemberMetadata", 0, "null"),
    tagged("ConsumerGroupTargetAssignmentMetadataValue", "assignmentTimestamp", 0, "0"),
    tagged_in_list("ConsumerGroupCurrentMemberAssignmentValue", "assignedPartitions", "assignmentEpochs"),
    tagged_in_list(
        "ConsumerGroupCurrentMemberAssignmentValue",
        "partitionsPendingRevocation",
        "assignmentEpochs",
    ),
    tagged("ShareGroupTargetAssignmentMetadataValue", "assignmentTimestamp", 0, "0"),
    tagged("StreamsGroupMetadataValue", "validatedTopologyEpoch", 0, "-1"),
    tagged("StreamsGroupMetadataValue", "lastAssignmentConfigs", 0, "null"),
    tagged("StreamsGroupTargetAssignmentMetadataValue", "assignmentTimestamp", 0, "0"),
    tagged_in_list("StreamsGroupCurrentMemberAssignmentValue", "activeTasks", "assignmentEpochs"),
    tagged_in_list(
        "StreamsGroupCurrentMemberAssignmentValue",
        "activeTasksPendingRevocation",
        "assignmentEpochs",
    ),
    tagged_in_list("StreamsGroupCurrentMemberAssignmentValue", "standbyTasks", "assignmentEpochs"),
    tagged_in_list("StreamsGroupCurrentMemberAssignmentValue", "warmupTasks", "assignmentEpochs"),
    tagged_in_list(
        "StreamsGroupCurrentMemberAssignmentValue",
        "standbyTasksPendingRevocation",
        "assignmentEpochs",
    ),
    tagged_in_list(
        "StreamsGroupCurrentMemberAssignmentValue",
        "warmupTasksPendingRevocation",
        "assignmentEpochs",
    ),
    tagged("TransactionLogValue", "previousProducerId", 1, "-1"),
    tagged("TransactionLogValue", "nextProducerId", 1, "-1"),
    tagged("TransactionLogValue", "nextProducerEpoch", 1, "-1"),
    tagged("TransactionLogValue", "clientTransactionVersion", 1, "0"),
    tagged("ShareSnapshotValue", "deliveryCompleteCount", 0, "-1"),
    tagged("ShareUpdateValue", "deliveryCompleteCount", 0, "-1"),
    since("ConsumerProtocolSubscription", "ownedPartitions", 1),
    since("ConsumerProtocolSubscription", "generationId", 2),
    since("ConsumerProtocolSubscription", "rackId", 3),
    in_list("LeaderChangeMessage", "voters", "voterDirectoryId", 1),
    in_list("LeaderChangeMessage", "grantingVoters", "voterDirectoryId", 1),
];

/// Takes out what a record of this version does not have.
fn prune(message: &str, version: i64, data: &mut Value) {
    for rule in RULES.iter().filter(|rule| rule.message == message) {
        let outside = version < rule.versions.0 || version > rule.versions.1;
        let unsaid = |value: &Value| {
            let said = value.to_string();
            rule.default.is_some_and(|default| said == default)
        };
        let take = |fields: &mut Value| {
            if let Some(fields) = fields.as_object_mut()
                && (outside || fields.get(rule.field).is_some_and(unsaid))
            {
                // Not `remove`, which would change the order.
                fields.shift_remove(rule.field);
            }
        };
        match rule.list {
            None => take(data),
            Some(list) => {
                let elements = data.get_mut(list).and_then(Value::as_array_mut);
                elements.into_iter().flatten().for_each(take);
            }
        }
    }
}

/// The blobs of a group's members, which are those of the consumer protocol.
fn open_members(data: &mut Value) {
    for member in data["members"].as_array_mut().into_iter().flatten() {
        open::<ConsumerProtocolSubscription>(&mut member["subscription"]);
        open::<ConsumerProtocolAssignment>(&mut member["assignment"]);
    }
}

/// A blob that is not what it should be stays as it is.
fn open<M: Message + Serialize>(field: &mut Value) {
    let Some(bytes) = field.as_str().and_then(|text| STANDARD.decode(text).ok()) else { return };
    let mut reader = Reader::new(bytes);
    let Ok(version) = reader.i16() else { return };
    // Newer consumers are read as far as this version goes.
    let known = version.min(M::MAX_VERSION);
    let Ok(message) = M::read(&mut reader, known) else { return };
    let mut data = serde_json::to_value(&message).unwrap_or_default();
    prune(M::NAME, known.into(), &mut data);
    *field = data;
}

/// The fields of a control record of the metadata log; its version stands in front.
pub(super) fn control_fields(kind: ControlType, value: &[u8]) -> String {
    fn fields<M: Message + Serialize>(value: &[u8]) -> Result<String, DecodeError> {
        let version = Reader::new(Bytes::copy_from_slice(value)).i16()?;
        let message = M::read(&mut Reader::new(Bytes::copy_from_slice(value)), version)?;
        let mut data = serde_json::to_value(&message).unwrap_or_default();
        prune(M::NAME, version.into(), &mut data);
        Ok(data.to_string())
    }
    let shown = match kind {
        ControlType::LeaderChange => fields::<LeaderChangeMessage>(value),
        ControlType::SnapshotHeader => fields::<SnapshotHeaderRecord>(value),
        ControlType::SnapshotFooter => fields::<SnapshotFooterRecord>(value),
        ControlType::KRaftVersion => fields::<KRaftVersionRecord>(value),
        ControlType::KRaftVoters => fields::<VotersRecord>(value),
        ControlType::Abort | ControlType::Commit | ControlType::Unknown(_) => Ok(String::new()),
    };
    shown.unwrap_or_else(|error| format!("({error})"))
}

const FRAME_VERSION: u32 = 1;
const SEGMENT_STATES: [&str; 4] =
    ["COPY_SEGMENT_STARTED", "COPY_SEGMENT_FINISHED", "DELETE_SEGMENT_STARTED", "DELETE_SEGMENT_FINISHED"];
const PARTITION_STATES: [&str; 3] =
    ["DELETE_PARTITION_MARKED", "DELETE_PARTITION_STARTED", "DELETE_PARTITION_FINISHED"];

/// What tiered storage keeps of segments elsewhere, as Java prints it (`RemoteLogMetadataSerde`).
fn state(states: &[&'static str], raw: i8) -> String {
    let named = usize::try_from(raw).ok().and_then(|index| states.get(index));
    named.map_or_else(|| raw.to_string(), |name| (*name).to_owned())
}

fn custom(bytes: &Option<Bytes>) -> String {
    match bytes {
        Some(bytes) => format!("Optional[CustomMetadata{{{} bytes}}]", bytes.len()),
        None => "Optional.empty".to_owned(),
    }
}

fn segment(topic: Uuid, name: &str, partition: i32, id: Uuid) -> String {
    format!("RemoteLogSegmentId{{topicIdPartition={topic}:{name}-{partition}, id={id}}}")
}

fn epochs(all: impl Iterator<Item = (i32, i64)>) -> String {
    let all: Vec<String> = all.map(|(epoch, offset)| format!("{epoch}={offset}")).collect();
    format!("{{{}}}", all.join(", "))
}

fn remote(value: Bytes) -> Result<String> {
    let mut reader = Reader::new(value);
    check_frame(&mut reader)?;
    let kind = reader.uvarint()?;
    let version = i16::try_from(reader.uvarint()?)?;
    Ok(match kind {
        0 => {
            let one = RemoteLogSegmentMetadataRecord::read(&mut reader, version)?;
            let at = &one.remote_log_segment_id.topic_id_partition;
            format!(
                "RemoteLogSegmentMetadata{{remoteLogSegmentId={}, startOffset={}, endOffset={}, brokerId={}, maxTimestampMs={}, eventTimestampMs={}, segmentLeaderEpochs={}, segmentSizeInBytes={}, customMetadata={}, state={}, txnIdxEmpty={}}}",
                segment(at.id, &at.name, at.partition, one.remote_log_segment_id.id),
                one.start_offset,
                one.end_offset,
                one.broker_id,
                one.max_timestamp_ms,
                one.event_timestamp_ms,
                epochs(one.segment_leader_epochs.iter().map(|entry| (entry.leader_epoch, entry.offset))),
                one.segment_size_in_bytes,
                custom(&one.custom_metadata),
                state(&SEGMENT_STATES, one.remote_log_segment_state),
                one.txn_index_empty
            )
        }
        1 => {
            let one = RemoteLogSegmentMetadataUpdateRecord::read(&mut reader, version)?;
            let at = &one.remote_log_segment_id.topic_id_partition;
            format!(
                "RemoteLogSegmentMetadataUpdate{{remoteLogSegmentId={}, customMetadata={}, state={}, eventTimestampMs={}, brokerId={}}}",
                segment(at.id, &at.name, at.partition, one.remote_log_segment_id.id),
                custom(&one.custom_metadata),
                state(&SEGMENT_STATES, one.remote_log_segment_state),
                one.event_timestamp_ms,
                one.broker_id
            )
        }
        2 => {
            let one = RemotePartitionDeleteMetadataRecord::read(&mut reader, version)?;
            let at = &one.topic_id_partition;
            format!(
                "RemotePartitionDeleteMetadata{{topicPartition={}:{}-{}, state={}, eventTimestampMs={}, brokerId={}}}",
                at.id,
                at.name,
                at.partition,
                state(&PARTITION_STATES, one.remote_partition_delete_state),
                one.event_timestamp_ms,
                one.broker_id
            )
        }
        3 => {
            let one = RemoteLogSegmentMetadataSnapshotRecord::read(&mut reader, version)?;
            format!(
                "RemoteLogSegmentMetadataSnapshot{{segmentId={}, startOffset={}, endOffset={}, maxTimestampMs={}, segmentLeaderEpochs={}, segmentSizeInBytes={}, customMetadata={}, state={}, txnIdxEmpty={}}}",
                one.segment_id,
                one.start_offset,
                one.end_offset,
                one.max_timestamp_ms,
                epochs(one.segment_leader_epochs.iter().map(|entry| (entry.leader_epoch, entry.offset))),
                one.segment_size_in_bytes,
                custom(&one.custom_metadata),
                state(&SEGMENT_STATES, one.remote_log_segment_state),
                one.txn_index_empty
            )
        }
        unknown => bail!("record type {unknown} is none of remote log metadata"),
    })
}

#[cfg(test)]
mod tests {
    use millstream_record::{
        internal::{encode_key, encode_versioned},
        messages::{
            GroupMetadataKey, GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, TransactionLogKey,
            TransactionLogValue, group_metadata_value::MemberMetadata,
        },
    };
    use millstream_types::codec::Writer;

    use super::*;

    fn decoded(log: CoordinatorLog, key: Bytes, value: Option<Bytes>) -> (String, String) {
        let decoded = coordinator(log, Offset(7), key, value);
        (decoded.key.unwrap_or_default(), decoded.payload.unwrap_or_default())
    }

    #[test]
    fn a_record_shows_the_fields_of_its_own_version() {
        let key = OffsetCommitKey { group: "g".to_owned(), topic: "t".to_owned(), partition: 3 };
        let key = encode_key(1, &key).expect("a key");
        let value = OffsetCommitValue { offset: 5, metadata: "m".to_owned(), ..Default::default() };
        let of_version = |version| {
            let value = encode_versioned(&value, version).expect("a value");
            decoded(CoordinatorLog::ConsumerOffsets, key.clone(), Some(value))
        };
        let (shown, payload) = of_version(3);
        assert_eq!(shown, "{\"type\":\"1\",\"data\":{\"group\":\"g\",\"topic\":\"t\",\"partition\":3}}");
        assert_eq!(
            payload,
            "{\"version\":\"3\",\"data\":{\"offset\":5,\"leaderEpoch\":-1,\"metadata\":\"m\",\"commitTimestamp\":0}}"
        );
        assert!(of_version(1).1.ends_with("\"commitTimestamp\":0,\"expireTimestamp\":-1}}"));
        assert_eq!(decoded(CoordinatorLog::ConsumerOffsets, key, None).1, "<DELETE>");
    }

    #[test]
    fn transactions_and_what_cannot_be_read_are_told() {
        let key = TransactionLogKey { transactional_id: "x".to_owned() };
        let key = encode_key(0, &key).expect("a key");
        let value = TransactionLogValue { producer_id: 9, ..Default::default() };
        let value = encode_versioned(&value, 1).expect("a value");
        let (shown, payload) = decoded(CoordinatorLog::Transactions, key, Some(value));
        assert_eq!(shown, "{\"type\":\"0\",\"data\":{\"transactionalId\":\"x\"}}");
        assert!(payload.contains("\"producerId\":9") && !payload.contains("nextProducerId"), "{payload}");
        let strange = decoded(CoordinatorLog::Transactions, Bytes::from_static(&[0, 99]), None);
        assert_eq!(strange.0, "Unknown record type 99 at offset 7, skipping.");
        let cut = decoded(CoordinatorLog::Transactions, Bytes::from_static(&[0]), None);
        assert!(cut.0.starts_with("Error at offset 7, skipping."), "{cut:?}");
        let without_key = Decoder::Coordinator(CoordinatorLog::Transactions)
            .decode(Offset(7), &Record::default())
            .unwrap_err();
        assert!(without_key.to_string().contains("missing key"));
    }

    #[test]
    fn what_consumers_told_each_other_is_opened() {
        let subscription =
            ConsumerProtocolSubscription { topics: vec!["t".to_owned()], ..Default::default() };
        let member = MemberMetadata {
            member_id: "m".to_owned(),
            subscription: encode_versioned(&subscription, 1).expect("a blob"),
            assignment: Bytes::from_static(b"?"),
            ..Default::default()
        };
        let value = GroupMetadataValue {
            protocol_type: "consumer".to_owned(),
            members: vec![member],
            ..Default::default()
        };
        let key = encode_key(2, &GroupMetadataKey { group: "g".to_owned() }).expect("a key");
        let value = encode_versioned(&value, 3).expect("a value");
        let payload = decoded(CoordinatorLog::ConsumerOffsets, key, Some(value)).1;
        assert!(
            payload
                .contains("\"subscription\":{\"topics\":[\"t\"],\"userData\":null,\"ownedPartitions\":[]}"),
            "{payload}"
        );
        assert!(payload.contains("\"assignment\":\"Pw==\""), "{payload}");
    }

    #[test]
    fn remote_segments_look_as_in_java() {
        let mut writer = Writer::new();
        for number in [1, 2, 0] {
            writer.uvarint(number);
        }
        let mut record = RemotePartitionDeleteMetadataRecord { broker_id: 4, ..Default::default() };
        record.topic_id_partition.name = "t".to_owned();
        record.topic_id_partition.id = Uuid(1);
        record.write(&mut writer, 0).expect("written");
        assert_eq!(
            remote(writer.into_bytes()).unwrap(),
            "RemotePartitionDeleteMetadata{topicPartition=AAAAAAAAAAAAAAAAAAAAAQ:t-0, state=DELETE_PARTITION_MARKED, eventTimestampMs=0, brokerId=4}"
        );
        assert!(remote(Bytes::from_static(&[9, 0, 0])).is_err());
        assert!(remote(Bytes::from_static(&[1, 77, 0])).unwrap_err().to_string().contains("type 77"));
    }
}
