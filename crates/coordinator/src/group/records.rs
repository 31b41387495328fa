//! The records of `__consumer_offsets` that groups and offsets are kept in, typed.
//!
//! Formats: `OffsetCommitKey`/`OffsetCommitValue`, `GroupMetadataKey`/`GroupMetadataValue` of Kafka's group
//! coordinator. Which versions Kafka 4.3.1 writes was read off its own log with kafka-dump-log, and is the
//! same at every metadata version: group metadata 3, offsets 4 with the topic's id, or 1 when the commit
//! carries a time of expiry of its own. Every version is read.

use bytes::Bytes;
use millstream_record::{
    internal::{decode_version, decode_versioned, encode_key, encode_versioned},
    messages::{
        GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitValue, OffsetCommitKey, OffsetCommitValue,
    },
};
use millstream_types::{
    LeaderEpoch, Offset, PartitionId, TimestampMs, TopicName, Uuid,
    codec::{DecodeError, EncodeError, Reader},
};

use crate::CoordinatorRecord;

const LEGACY_OFFSET_COMMIT: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;

const GROUP_METADATA_VALUE_VERSION: i16 = 3;
const OFFSET_COMMIT_VALUE_VERSION: i16 = 4;
/// The only version with a time of expiry.
const EXPIRING_OFFSET_COMMIT_VALUE_VERSION: i16 = 1;

/// A record as its reader understands it; a missing value is a tombstone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupRecord {
    Offset { group_id: String, topic: TopicName, partition: PartitionId, value: Option<StoredOffset> },
    Group { group_id: String, value: Option<GroupMetadataValue> },
}

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredOffset {
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    pub(crate) metadata: String,
    pub(crate) committed_at: TimestampMs,
    /// Said by a client of versions 2 to 4; otherwise the retention of the broker counts.
    pub(crate) expires_at: Option<TimestampMs>,
    /// Not in records that Kafka wrote before 4.1.
    pub(crate) topic_id: Option<Uuid>,
}

impl GroupRecord {
    /// Fails on a string that is too long for the format: a member's id is made of two strings, and bytes
    /// that are no UTF-8 grow when they are replaced on reading.
    pub(crate) fn encode(&self) -> Result<CoordinatorRecord, EncodeError> {
        let (key, value) = match self {
            Self::Offset { group_id, topic, partition, value } => {
                (offset_key(group_id, topic, *partition), value.as_ref().map(encode_offset))
            }
            Self::Group { group_id, value } => {
                let encode = |value| encode_versioned(value, GROUP_METADATA_VALUE_VERSION);
                (group_key(group_id), value.as_ref().map(encode))
            }
        };
        Ok(CoordinatorRecord { key: key?, value: value.transpose()? })
    }

    /// The group whose state this record writes down; not one that it only removes.
    pub(crate) fn written_group(&self) -> Option<&str> {
        match self {
            Self::Group { group_id, value: Some(_) } => Some(group_id),
            _ => None,
        }
    }

    /// `None`: a type of record that belongs to a kind of group not kept here.
    pub(crate) fn decode(record: &CoordinatorRecord) -> Result<Option<Self>, MalformedRecord> {
        let mut key = Reader::new(record.key.clone());
        let value = record.value.clone();
        match decode_version(&mut key)? {
            record_type @ (LEGACY_OFFSET_COMMIT | OFFSET_COMMIT) => {
                let key = OffsetCommitKey::read(&mut key, 0)?;
                let value = match value {
                    Some(value) if record_type == LEGACY_OFFSET_COMMIT => Some(decode_legacy_offset(value)?),
                    Some(value) => Some(decode_offset(value)?),
                    None => None,
                };
                let topic =
                    TopicName::parse(&key.topic).map_err(|error| MalformedRecord(error.to_string()))?;
                Ok(Some(Self::Offset {
                    group_id: key.group,
                    topic,
                    partition: PartitionId(key.partition),
                    value,
                }))
            }
            GROUP_METADATA => {
                let key = GroupMetadataKey::read(&mut key, 0)?;
                // Copied, as the record is a part of a larger piece of the log, which need not stay in memory.
                let value =
                    value.map(|value| decode_versioned::<GroupMetadataValue>(Bytes::copy_from_slice(&value)));
                let value = value.transpose()?;
                if let Some(value) = &value {
                    check_group(value)?;
                }
                Ok(Some(Self::Group { group_id: key.group, value }))
            }
            _ => Ok(None),
        }
    }
}

/// Why a record is not what Kafka or Millstream would write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct MalformedRecord(String);

impl From<DecodeError> for MalformedRecord {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

fn offset_key(group_id: &str, topic: &TopicName, partition: PartitionId) -> Result<Bytes, EncodeError> {
    let key = OffsetCommitKey {
        group: group_id.to_owned(),
        topic: topic.as_str().to_owned(),
        partition: partition.0,
    };
    encode_key(OFFSET_COMMIT, &key)
}

fn group_key(group_id: &str) -> Result<Bytes, EncodeError> {
    encode_key(GROUP_METADATA, &GroupMetadataKey { group: group_id.to_owned() })
}

fn encode_offset(stored: &StoredOffset) -> Result<Bytes, EncodeError> {
    let version = match stored.expires_at {
        Some(_) => EXPIRING_OFFSET_COMMIT_VALUE_VERSION,
        None => OFFSET_COMMIT_VALUE_VERSION,
    };
    let value = OffsetCommitValue {
        offset: stored.offset.0,
        leader_epoch: LeaderEpoch::to_wire(stored.leader_epoch),
        metadata: stored.metadata.clone(),
        commit_timestamp: stored.committed_at.0,
        expire_timestamp: TimestampMs::to_wire(stored.expires_at),
        topic_id: stored.topic_id.unwrap_or(Uuid::ZERO),
        unknown_tagged_fields: Vec::new(),
    };
    encode_versioned(&value, version)
}

fn decode_offset(value: Bytes) -> Result<StoredOffset, MalformedRecord> {
    let value = decode_versioned::<OffsetCommitValue>(value)?;
    Ok(StoredOffset {
        offset: Offset(value.offset),
        leader_epoch: LeaderEpoch::from_wire(value.leader_epoch),
        metadata: value.metadata,
        committed_at: TimestampMs(value.commit_timestamp),
        expires_at: TimestampMs::from_wire(value.expire_timestamp),
        topic_id: Some(value.topic_id).filter(|id| !id.is_zero()),
    })
}

fn decode_legacy_offset(value: Bytes) -> Result<StoredOffset, MalformedRecord> {
    let value = decode_versioned::<LegacyOffsetCommitValue>(value)?;
    Ok(StoredOffset {
        offset: Offset(value.offset),
        leader_epoch: None,
        metadata: value.metadata,
        committed_at: TimestampMs(value.commit_timestamp),
        expires_at: None,
        topic_id: None,
    })
}

/// Members agree on a protocol before they are ever stored.
fn check_group(value: &GroupMetadataValue) -> Result<(), MalformedRecord> {
    if !value.members.is_empty() && (value.protocol.is_none() || value.protocol_type.is_empty()) {
        return Err(MalformedRecord("a group with members but without a protocol".to_owned()));
    }
    Ok(())
}
