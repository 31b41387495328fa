//! Whether a producer may append a batch, and what it changes (`ProducerAppendInfo`).

use millstream_record::{
    batch::BatchHeader,
    control::{ControlType, EndTransactionMarker},
};
use millstream_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicPartition};

use super::{BatchMetadata, ProducerEntry};
use crate::error::AppendError;

/// Who appends, which decides how much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer: everything is checked.
    Client,
    /// The group coordinator and its like: no sequences, control batches allowed.
    Coordinator,
    /// The transaction coordinator's marker; with transactions of version 2 its epoch must be new.
    TransactionMarker { transaction_version: i16 },
    /// The controller, in the metadata log: no limits of size.
    Metadata,
}

/// The state of one producer after an append that is not written yet.
#[derive(Clone, Debug)]
pub(crate) struct ProducerUpdate {
    pub(crate) id: ProducerId,
    pub(crate) entry: ProducerEntry,
    pub(crate) started: Option<Offset>,
    pub(crate) completed: Option<CompletedTxn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompletedTxn {
    pub(crate) producer_id: ProducerId,
    pub(crate) first_offset: Offset,
    /// The marker's.
    pub(crate) last_offset: Offset,
    pub(crate) aborted: bool,
}

/// Checks one batch, whose header bears its final offsets, against what is known of its producer, `entry`.
/// `marker` is the end of transaction that the batch holds, if it is a control batch with one. Without an
/// `origin` the log holds the batch already, and nothing is refused.
pub(crate) fn prepare(
    partition: &TopicPartition,
    entry: ProducerEntry,
    header: &BatchHeader,
    marker: Option<EndTransactionMarker>,
    origin: Option<Origin>,
) -> Result<Option<ProducerUpdate>, AppendError> {
    let Some(producer) = header.producer() else { return Ok(None) };
    let mut update = ProducerUpdate { id: producer.id, entry, started: None, completed: None };
    let check =
        Checked { partition, id: producer.id, epoch: producer.epoch, offset: header.base_offset(), origin };
    if header.attributes.is_control() {
        if let Some(marker) = marker {
            check.end_transaction(&mut update, marker, TimestampMs(header.max_timestamp))?;
        }
        return Ok(Some(update));
    }
    check.epoch(&update.entry, 0)?;
    if origin == Some(Origin::Client) {
        check.sequence(&update.entry, producer.base_sequence.unwrap_or_default())?;
    }
    update.entry.raise_epoch(producer.epoch);
    update.entry.add(BatchMetadata {
        last_sequence: header.last_sequence().unwrap_or(Sequence(-1)),
        last_offset: header.last_offset(),
        offset_delta: header.last_offset_delta,
        timestamp: TimestampMs(header.max_timestamp),
    });
    update.entry.last_timestamp = TimestampMs(header.max_timestamp);
    match (update.entry.txn_first_offset, header.attributes.is_transactional()) {
        (Some(_), false) if origin.is_some() => Err(AppendError::InvalidTxnState {
            partition: partition.clone(),
            producer_id: producer.id,
            offset: header.base_offset(),
        }),
        (None, true) => {
            update.entry.txn_first_offset = Some(header.base_offset());
            update.started = Some(header.base_offset());
            Ok(Some(update))
        }
        _ => Ok(Some(update)),
    }
}

struct Checked<'a> {
    partition: &'a TopicPartition,
    id: ProducerId,
    epoch: ProducerEpoch,
    offset: Offset,
    origin: Option<Origin>,
}

impl Checked<'_> {
    /// An older epoch is a zombie. With transactions of version 2 every marker has an epoch of its own, so one
    /// that is not newer is late; unless nothing is open, when it is a harmless repetition.
    fn epoch(&self, entry: &ProducerEntry, transaction_version: i16) -> Result<(), AppendError> {
        let Some(current) = entry.epoch else { return Ok(()) };
        let newer_needed = transaction_version >= 2 && entry.txn_first_offset.is_some();
        let stale = self.epoch < current || (newer_needed && self.epoch == current);
        if !stale || self.origin.is_none() {
            return Ok(());
        }
        Err(AppendError::InvalidProducerEpoch {
            partition: self.partition.clone(),
            producer_id: self.id,
            offset: self.offset,
            found: self.epoch,
            current,
        })
    }

    /// A producer that is not known may begin anywhere (KIP-360); a new epoch begins at 0; otherwise the
    /// sequences continue, wrapping to 0.
    fn sequence(&self, entry: &ProducerEntry, first: Sequence) -> Result<(), AppendError> {
        let expected = match entry.epoch {
            None => return Ok(()),
            Some(epoch) if epoch != self.epoch => Sequence(0),
            Some(_) => entry.last_sequence().map_or(Sequence(0), |last| last.plus(1)),
        };
        if first == expected {
            return Ok(());
        }
        Err(AppendError::OutOfOrderSequence {
            partition: self.partition.clone(),
            producer_id: self.id,
            offset: self.offset,
            found: first,
            expected,
        })
    }

    fn end_transaction(
        &self,
        update: &mut ProducerUpdate,
        marker: EndTransactionMarker,
        timestamp: TimestampMs,
    ) -> Result<(), AppendError> {
        let version = match self.origin {
            Some(Origin::TransactionMarker { transaction_version }) => transaction_version,
            _ => 0,
        };
        self.epoch(&update.entry, version)?;
        let current = update.entry.coordinator_epoch.unwrap_or(-1);
        if current > marker.coordinator_epoch && self.origin.is_some() {
            return Err(AppendError::TransactionCoordinatorFenced {
                partition: self.partition.clone(),
                producer_id: self.id,
                found: marker.coordinator_epoch,
                current,
            });
        }
        let entry = &mut update.entry;
        entry.raise_epoch(self.epoch);
        update.completed = entry.txn_first_offset.take().map(|first_offset| CompletedTxn {
            producer_id: self.id,
            first_offset,
            last_offset: self.offset,
            aborted: marker.kind == ControlType::Abort,
        });
        entry.coordinator_epoch = Some(marker.coordinator_epoch);
        entry.last_timestamp = timestamp;
        Ok(())
    }
}
