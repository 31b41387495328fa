//! Control records: the markers in control batches. `ControlRecordType`, `EndTransactionMarker`; KIP-98
//! and KIP-595.
//!
//! The key is a version and a type, two bytes each. The values of commit and abort are here; those of the
//! KRaft markers are generated messages (`LeaderChangeMessage`, `SnapshotHeaderRecord`, …).

use bytes::Bytes;
use millstream_types::{LeaderEpoch, Offset, TimestampMs};

use crate::batch::{BatchBuilder, BatchOptions, ProducerInfo};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KRaftVersion,
    KRaftVoters,
    /// A later Kafka's; skipped by readers.
    Unknown(i16),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {found} bytes, at least {needed} expected")]
pub struct ControlError {
    what: &'static str,
    needed: usize,
    found: usize,
}

const KEY_VERSION: i16 = 0;
const MARKER_VERSION: i16 = 0;

impl ControlType {
    pub fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KRaftVersion => 5,
            Self::KRaftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    pub fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KRaftVersion,
            6 => Self::KRaftVoters,
            id => Self::Unknown(id),
        }
    }

    /// The key of a control record of this type.
    pub fn to_key(self) -> Bytes {
        pair(KEY_VERSION.to_be_bytes(), self.id().to_be_bytes())
    }

    /// Reads a control record's key; whatever version, the type stands in the same place.
    pub fn from_key(key: &[u8]) -> Result<Self, ControlError> {
        let found = key.len();
        let [_, _, high, low] =
            *key.first_chunk().ok_or(ControlError { what: "control record key", needed: 4, found })?;
        Ok(Self::from_id(i16::from_be_bytes([high, low])))
    }
}

/// How a transaction ended in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    pub kind: ControlType,
    /// Which incarnation of the transaction coordinator decided it.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    pub fn to_value(self) -> Bytes {
        pair(MARKER_VERSION.to_be_bytes(), self.coordinator_epoch.to_be_bytes())
    }

    /// The marker in a control record; None if the record is another kind of marker.
    pub fn from_record(key: &[u8], value: &[u8]) -> Result<Option<Self>, ControlError> {
        let kind = ControlType::from_key(key)?;
        if !matches!(kind, ControlType::Abort | ControlType::Commit) {
            return Ok(None);
        }
        let found = value.len();
        let short = ControlError { what: "end of transaction marker", needed: 6, found };
        let [_, _, epoch @ ..] = *value.first_chunk::<6>().ok_or(short)?;
        Ok(Some(Self { kind, coordinator_epoch: i32::from_be_bytes(epoch) }))
    }

    /// The batch that a coordinator writes into each partition of a transaction.
    pub fn to_batch(self, producer: ProducerInfo, leader_epoch: LeaderEpoch, now: TimestampMs) -> Bytes {
        let options = BatchOptions {
            leader_epoch: Some(leader_epoch),
            producer: Some(ProducerInfo { base_sequence: None, ..producer }),
            transactional: true,
            ..BatchOptions::default()
        };
        control_batch(options, now, &[(self.kind, self.to_value())])
    }
}

/// One control batch with the given markers; `options.control` need not be set.
pub fn control_batch(options: BatchOptions, now: TimestampMs, markers: &[(ControlType, Bytes)]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions { control: true, ..options });
    for (kind, value) in markers {
        builder.append(now, Some(&kind.to_key()), Some(value), &[]);
    }
    builder.build()
}

/// The batch of a single KRaft marker, uncompressed and without a producer.
pub fn kraft_control_batch(
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    now: TimestampMs,
    kind: ControlType,
    value: Bytes,
) -> Bytes {
    let options = BatchOptions { base_offset, leader_epoch: Some(leader_epoch), ..BatchOptions::default() };
    control_batch(options, now, &[(kind, value)])
}

fn pair<const N: usize>(version: [u8; 2], rest: [u8; N]) -> Bytes {
    Bytes::from([version.as_slice(), rest.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::RecordBatch;
    use millstream_types::{ProducerEpoch, ProducerId};

    #[test]
    fn a_commit_marker_is_a_transactional_control_batch_without_a_sequence() {
        let producer = ProducerInfo { id: ProducerId(7), epoch: ProducerEpoch(3), base_sequence: None };
        let marker = EndTransactionMarker { kind: ControlType::Commit, coordinator_epoch: 11 };
        let batch = marker.to_batch(producer, LeaderEpoch(2), TimestampMs(1000));
        let batch = RecordBatch::decode(&batch, 0).unwrap();
        assert!(batch.header.attributes.is_control() && batch.header.attributes.is_transactional());
        assert_eq!(batch.header.producer(), Some(producer));
        let record = &batch.records[0];
        let (key, value) = (record.key.as_deref().unwrap(), record.value.as_deref().unwrap());
        assert_eq!((key, value), ([0, 0, 0, 1].as_slice(), [0, 0, 0, 0, 0, 11].as_slice()));
        assert_eq!(EndTransactionMarker::from_record(key, value), Ok(Some(marker)));
    }

    #[test]
    fn short_keys_and_values_are_errors_and_other_markers_are_none() {
        assert!(ControlType::from_key(&[0, 0, 0]).is_err());
        assert!(EndTransactionMarker::from_record(&[0, 0, 0, 0], &[0, 0, 0]).is_err());
        assert_eq!(EndTransactionMarker::from_record(&[0, 0, 0, 2], &[]), Ok(None));
        for id in -1..9 {
            assert_eq!(ControlType::from_id(id).id(), id);
        }
    }
}
