//! Producer state from the log: the latest snapshot that fits, and the batches after it
//! (`UnifiedLog.rebuildProducerState`).

use std::{collections::HashMap, path::Path, sync::Arc};

use millstream_record::batch::BatchHeader;
use millstream_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicPartition};

use super::prepare::end_transaction_marker;
use crate::{
    error::{At, StorageError},
    fs::{Fs, read_file, remove_if_there},
    names::{SNAPSHOT, file_path},
    producer::{BatchMetadata, ProducerStates, decode, prepare},
    scan::{Located, read_control},
    segment::Segment,
    txn_index::AbortedTxn,
};

/// Of each producer a snapshot holds one batch. The log's last bytes give back those before it: all requests
/// that a producer can have in flight, for batches of ordinary size.
const REFILL_BYTES: u64 = 1 << 20;

pub(super) struct Replay<'a> {
    pub(super) fs: &'a dyn Fs,
    pub(super) dir: &'a Path,
    pub(super) partition: &'a TopicPartition,
    pub(super) segments: &'a [Arc<Segment>],
    /// Offsets of the snapshots that are there, rising.
    pub(super) snapshots: Vec<Offset>,
    pub(super) log_start_offset: Offset,
    pub(super) next_offset: Offset,
    /// From here on the transaction indexes have to be made anew.
    pub(super) aborted_unknown_from: Option<Offset>,
}

impl Replay<'_> {
    /// The state at the log's end. Snapshots that cannot be used are removed.
    pub(super) fn run(mut self) -> Result<ProducerStates, StorageError> {
        let (mut states, from) = self.load_snapshot()?;
        if from < self.next_offset {
            for segment in self.segments_from(from) {
                segment.aborted.truncate(self.fs, from)?;
            }
            self.walk(from, self.next_offset, &mut |segment, batch| self.apply(&mut states, segment, batch))?;
        }
        // Whatever was read is made durable before anyone else can read it.
        states.on_high_watermark(self.next_offset);
        if !states.is_empty() {
            let found = self.batches_before(from)?;
            states.refill(&found);
        }
        Ok(states)
    }

    fn load_snapshot(&mut self) -> Result<(ProducerStates, Offset), StorageError> {
        let first = self.segments[0].base_offset.max(self.log_start_offset);
        let limit = self.aborted_unknown_from.unwrap_or(self.next_offset);
        while let Some(offset) = self.snapshots.pop() {
            let path = file_path(self.dir, offset, SNAPSHOT);
            if offset > self.next_offset {
                remove_if_there(self.fs, &path).at("remove", &path)?;
                continue;
            }
            if offset > limit {
                continue;
            }
            match decode(&read_file(self.fs, &path).at("read", &path)?.unwrap_or_default()) {
                Ok(states) => return Ok((states, offset)),
                Err(reason) => {
                    tracing::warn!(path = %path.display(), reason, "producer snapshot is not readable");
                    remove_if_there(self.fs, &path).at("remove", &path)?;
                }
            }
        }
        Ok((ProducerStates::default(), first.min(self.next_offset)))
    }

    fn segments_from(&self, offset: Offset) -> &[Arc<Segment>] {
        let after = self.segments.partition_point(|segment| segment.base_offset <= offset);
        &self.segments[after.saturating_sub(1)..]
    }

    /// Visits the batches whose base offset lies in `[from, to)`.
    fn walk(
        &self,
        from: Offset,
        to: Offset,
        visit: &mut dyn FnMut(&Segment, &Located) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        for segment in self.segments_from(from) {
            let entry = segment.index.last_where(self.fs, |entry| entry.last_offset < from)?;
            let file = segment.file(self.fs)?;
            let mut walk = segment.walk(&*file, entry.map_or(0, |entry| entry.position), segment.size());
            while let Ok(Some(batch)) = walk.next().at("read", segment.path())? {
                if batch.header.base_offset() >= to {
                    return Ok(());
                }
                if batch.header.base_offset() >= from {
                    visit(segment, &batch)?;
                }
            }
        }
        Ok(())
    }

    fn apply(
        &self,
        states: &mut ProducerStates,
        segment: &Segment,
        batch: &Located,
    ) -> Result<(), StorageError> {
        let Some(producer) = batch.header.producer() else { return Ok(()) };
        let marker = if batch.header.attributes.is_control() {
            let bytes = read_control(&*segment.file(self.fs)?, batch).at("read", segment.path())?;
            bytes.and_then(|bytes| end_transaction_marker(&batch.header, &bytes)).unwrap_or(None)
        } else {
            None
        };
        let entry = states.get(producer.id).cloned().unwrap_or_default();
        let update = prepare(self.partition, entry, &batch.header, marker, None)
            .expect("a batch that the log holds already is not refused");
        let Some(update) = update else { return Ok(()) };
        if let Some(completed) = update.completed.filter(|completed| completed.aborted) {
            let entry = AbortedTxn {
                producer_id: completed.producer_id,
                first_offset: completed.first_offset,
                last_offset: completed.last_offset,
                last_stable_offset: states.last_stable_after(&completed),
            };
            segment.aborted.append(self.fs, entry)?;
        }
        states.apply(update);
        Ok(())
    }

    fn batches_before(
        &self,
        end: Offset,
    ) -> Result<HashMap<ProducerId, Vec<(ProducerEpoch, BatchMetadata)>>, StorageError> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        let mut left = REFILL_BYTES;
        let mut from = self.log_start_offset;
        for segment in self.segments.iter().rev().filter(|segment| segment.base_offset < end) {
            match segment.size().checked_sub(left) {
                None => left -= segment.size(),
                Some(near) => {
                    let entry = segment.index.last_where(self.fs, |entry| entry.position <= near)?;
                    from = entry.map_or(segment.base_offset, |entry| entry.last_offset);
                    break;
                }
            }
        }
        self.walk(from.max(self.log_start_offset), end, &mut |_, batch| {
            if let Some((id, epoch, metadata)) = metadata_of(&batch.header) {
                found.entry(id).or_default().push((epoch, metadata));
            }
            Ok(())
        })?;
        Ok(found)
    }
}

fn metadata_of(header: &BatchHeader) -> Option<(ProducerId, ProducerEpoch, BatchMetadata)> {
    let producer = header.producer().filter(|_| !header.attributes.is_control())?;
    let metadata = BatchMetadata {
        last_sequence: header.last_sequence().unwrap_or(Sequence(-1)),
        last_offset: header.last_offset(),
        offset_delta: header.last_offset_delta,
        timestamp: TimestampMs(header.max_timestamp),
    };
    Some((producer.id, producer.epoch, metadata))
}
