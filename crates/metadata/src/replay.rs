//! Following the metadata log: batches in, an image out. `MetadataLoader`, `MetadataBatchLoader`.
//!
//! Records between the marks of a transaction count only once it ends (KIP-868).

use bytes::Bytes;
use millstream_record::{
    BatchError, RecordBatch,
    control::{ControlError, ControlType},
    kraft::{self, MetadataRecord},
    messages::{KRaftVersionRecord, VotersRecord},
};
use millstream_types::{
    LeaderEpoch, Offset, TimestampMs,
    codec::{DecodeError, EncodeError, Message, Reader},
};

use crate::{ApplyError, Image, Voters, batch::encode_batch, features};

/// Metadata batches are never compressed by Kafka; one that is may open to this many bytes.
const DECOMPRESSED_MAX: usize = 64 << 20;

/// The state after some prefix of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    image: Image,
    /// The image with the open transaction's records, while one is open.
    staged: Option<Image>,
    voters: Voters,
    next_offset: Offset,
    epoch: LeaderEpoch,
    last_timestamp: TimestampMs,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("metadata log at offset {at}: {error}")]
    Batch { at: Offset, error: BatchError },
    #[error("metadata log at offset {at}: {error}")]
    Control { at: Offset, error: ControlError },
    #[error("metadata record at offset {at}: {error}")]
    Decode { at: Offset, error: DecodeError },
    #[error("metadata record at offset {at} has no value")]
    NoValue { at: Offset },
    #[error("metadata record at offset {at} does not fit: {error}")]
    Apply { at: Offset, error: ApplyError },
    #[error("metadata batch at offset {found}, after the log or snapshot that ends at {expected}")]
    Gap { expected: Offset, found: Offset },
    #[error(
        "metadata batch at offset {found} is of epoch {epoch}, but the snapshot that ends at {end} is of an older one: the log lacks what the snapshot holds"
    )]
    Behind { found: Offset, epoch: LeaderEpoch, end: Offset },
    #[error("metadata batch at offset {at} has epoch {found}, after epoch {epoch}")]
    EpochBack { at: Offset, epoch: LeaderEpoch, found: LeaderEpoch },
    #[error("metadata record at offset {at} begins a transaction inside of another, or ends none")]
    Transaction { at: Offset },
}

impl Replay {
    /// What the records so far say, without those of an open transaction.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// A transaction was begun and neither ended nor aborted.
    pub fn is_in_transaction(&self) -> bool {
        self.staged.is_some()
    }

    pub fn voters(&self) -> &Voters {
        &self.voters
    }

    /// The offset after the last batch.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The epoch of the last batch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The largest timestamp of the last batch.
    pub fn last_timestamp(&self) -> TimestampMs {
        self.last_timestamp
    }

    /// As it is after a snapshot's records: the log goes on at `end`.
    pub(crate) fn from_snapshot(
        image: Image,
        voters: Voters,
        end: Offset,
        epoch: LeaderEpoch,
        last_timestamp: TimestampMs,
    ) -> Self {
        Self { image, staged: None, voters, next_offset: end, epoch, last_timestamp }
    }

    /// Follows the log by the batch at the start of `batch`. A batch that lies before what has been
    /// followed already (a segment begins below its snapshot) changes nothing.
    pub fn apply_batch(&mut self, batch: &Bytes) -> Result<(), ReplayError> {
        let at = self.next_offset;
        let batch =
            RecordBatch::decode(batch, DECOMPRESSED_MAX).map_err(|error| ReplayError::Batch { at, error })?;
        let header = &batch.header;
        let (found, epoch) = (header.base_offset(), header.leader_epoch().unwrap_or_default());
        if header.last_offset() < at {
            return match epoch > self.epoch {
                true => Err(ReplayError::Behind { found, epoch, end: at }),
                false => Ok(()),
            };
        }
        if found != at {
            return Err(ReplayError::Gap { expected: at, found });
        }
        if epoch < self.epoch {
            return Err(ReplayError::EpochBack { at, epoch: self.epoch, found: epoch });
        }
        for record in &batch.records {
            let at = batch.offset_of(record);
            let value = record.value.clone().ok_or(ReplayError::NoValue { at })?;
            if header.attributes.is_control() {
                let key = record.key.as_deref().unwrap_or_default();
                let kind = ControlType::from_key(key).map_err(|error| ReplayError::Control { at, error })?;
                self.apply_control(kind, value).map_err(|error| ReplayError::Decode { at, error })?;
            } else {
                let (record, _) = kraft::decode(value).map_err(|error| ReplayError::Decode { at, error })?;
                self.apply_record(&record, at)?;
            }
        }
        self.next_offset = header.next_offset();
        self.epoch = epoch;
        self.last_timestamp = header.max_timestamp().unwrap_or(self.last_timestamp);
        Ok(())
    }

    /// The records as the batch that comes next, in the versions that their `metadata.version` asks for.
    pub fn encode_next(
        &self,
        records: &[MetadataRecord],
        epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Bytes, EncodeError> {
        let level = match self.image.metadata_version() {
            0 => features::level_in(records),
            level => level,
        };
        encode_batch(records, self.next_offset, epoch, now, level)
    }

    /// Follows records that were just appended in one batch that ends before `next_offset`.
    pub fn apply_records(
        &mut self,
        records: &[MetadataRecord],
        next_offset: Offset,
        epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<(), ReplayError> {
        let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
        if self.next_offset.plus(count) != next_offset {
            let found = next_offset.plus(-count);
            return Err(ReplayError::Gap { expected: self.next_offset, found });
        }
        for (record, index) in records.iter().zip(0..) {
            self.apply_record(record, self.next_offset.plus(index))?;
        }
        self.next_offset = next_offset;
        self.epoch = epoch;
        self.last_timestamp = now;
        Ok(())
    }

    fn apply_record(&mut self, record: &MetadataRecord, at: Offset) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::BeginTransaction(_) => match self.staged {
                Some(_) => return Err(ReplayError::Transaction { at }),
                None => self.staged = Some(self.image.clone()),
            },
            MetadataRecord::EndTransaction(_) => {
                self.image = self.staged.take().ok_or(ReplayError::Transaction { at })?;
            }
            MetadataRecord::AbortTransaction(_) => {
                self.staged.take().ok_or(ReplayError::Transaction { at })?;
            }
            _ => {}
        }
        let image = self.staged.as_mut().unwrap_or(&mut self.image);
        image.apply(record).map_err(|error| ReplayError::Apply { at, error })
    }

    fn apply_control(&mut self, kind: ControlType, value: Bytes) -> Result<(), DecodeError> {
        apply_voters(&mut self.voters, kind, value)
    }
}

/// What the control records of a log or snapshot say about the quorum.
pub(crate) fn apply_voters(voters: &mut Voters, kind: ControlType, value: Bytes) -> Result<(), DecodeError> {
    match kind {
        ControlType::KRaftVersion => {
            voters.kraft_version = read_control::<KRaftVersionRecord>(value)?.kraft_version;
        }
        ControlType::KRaftVoters => voters.record = Some(read_control::<VotersRecord>(value)?),
        _ => {}
    }
    Ok(())
}

/// A control record's value; every version of these messages begins with its own number.
pub(crate) fn read_control<M: Message>(value: Bytes) -> Result<M, DecodeError> {
    let version = match value.first_chunk() {
        Some(first) => i16::from_be_bytes(*first).clamp(M::MIN_VERSION, M::MAX_VERSION),
        None => M::MIN_VERSION,
    };
    M::read(&mut Reader::new(value), version)
}
