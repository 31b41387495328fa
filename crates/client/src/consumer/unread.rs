//! What was fetched of one partition and not returned yet. Batches stay as they came until their turn: unpacked, an
//! answer would take many times the memory that `fetch.max.bytes` allows it.

use std::{collections::VecDeque, vec};

use bytes::Bytes;
use millstream_record::{BatchHeader, Record, RecordBatch};
use millstream_types::{Offset, TopicPartition};

use super::ConsumerRecord;
use crate::{Error, Result};

/// Records in order; an error is the last that comes.
#[derive(Debug)]
pub(super) struct Unread {
    partition: TopicPartition,
    /// Records before it were not asked for.
    from: Offset,
    /// A batch that says it holds more is not unpacked.
    decompressed_bytes_max: usize,
    batches: VecDeque<Bytes>,
    open: Option<(BatchHeader, vec::IntoIter<Record>)>,
}

impl Unread {
    pub(super) fn new(partition: TopicPartition, from: Offset, decompressed_bytes_max: usize) -> Self {
        Self { partition, from, decompressed_bytes_max, batches: VecDeque::new(), open: None }
    }

    pub(super) fn push(&mut self, batch: Bytes) {
        self.batches.push_back(batch);
    }

    /// Whether nothing comes any more.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.open.as_ref().is_none_or(|(_, records)| records.len() == 0)
    }

    fn open_next(&mut self) -> Option<Result<()>> {
        let bytes = self.batches.pop_front()?;
        match RecordBatch::decode(&bytes, self.decompressed_bytes_max) {
            Ok(RecordBatch { header, records }) => {
                self.open = Some((header, records.into_iter()));
                Some(Ok(()))
            }
            Err(error) => {
                self.batches.clear();
                Some(Err(damaged(&self.partition, self.from, error)))
            }
        }
    }
}

pub(super) fn damaged(partition: &TopicPartition, from: Offset, error: impl std::fmt::Display) -> Error {
    Error::malformed(format!("a batch of {partition} after offset {from}"), error)
}

impl Iterator for Unread {
    type Item = Result<ConsumerRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((header, records)) = &mut self.open {
                for record in records {
                    let offset = header.base_offset().plus(i64::from(record.offset_delta));
                    if offset >= self.from {
                        return Some(Ok(ConsumerRecord {
                            partition: self.partition.clone(),
                            offset,
                            leader_epoch: header.leader_epoch(),
                            timestamp: record.timestamp,
                            timestamp_type: header.attributes.timestamp_type(),
                            key: record.key,
                            value: record.value,
                            headers: record.headers,
                        }));
                    }
                }
                self.open = None;
            }
            if let Err(error) = self.open_next()? {
                return Some(Err(error));
            }
        }
    }
}
