//! Idempotent producers and a reader, and what they have been promised: a record that was acknowledged, or
//! read, stays where it was; every record is there at most once; each producer's records stand in the order
//! in which they were sent, without a gap.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use millstream_log::{AppendError, Isolation, LogError};
use millstream_record::batch::{BatchBuilder, BatchOptions, ProducerInfo};
use millstream_types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::{
    Plant,
    node::{Node, read},
    random::{Random, mix},
};

const PRODUCERS: usize = 3;
/// Of one producer; with those acknowledged last the broker remembers five.
const IN_FLIGHT_MAX: usize = 3;

/// The producer in the upper half, its how manieth record in the lower.
type RecordId = u64;

#[derive(Debug)]
pub(crate) struct Data {
    producers: Vec<Producer>,
    /// What each offset is known to hold: it was acknowledged or read.
    promised: BTreeMap<Offset, RecordId>,
    /// Records before this may be gone: somebody has asked for that.
    deleted_to: Offset,
    /// Records before this are gone: the answer said so.
    gone_to: Offset,
    pub(crate) acked_count: usize,
}

#[derive(Debug)]
struct Producer {
    id: ProducerId,
    next_record: u64,
    next_sequence: Sequence,
    in_flight: VecDeque<Batch>,
    last_acked: Option<(Batch, Offset)>,
}

#[derive(Debug, Clone)]
struct Batch {
    bytes: Bytes,
    ids: Vec<RecordId>,
    /// Where it begins, since it was appended in the current life of the process.
    appended: Option<Offset>,
    was_sent: bool,
}

impl Data {
    pub(crate) fn new() -> Self {
        let producer = |index: usize| Producer {
            id: ProducerId(1_000 + index as i64),
            next_record: 0,
            next_sequence: Sequence(0),
            in_flight: VecDeque::new(),
            last_acked: None,
        };
        Self {
            producers: (0..PRODUCERS).map(producer).collect(),
            promised: BTreeMap::new(),
            deleted_to: Offset::ZERO,
            gone_to: Offset::ZERO,
            acked_count: 0,
        }
    }

    /// One producer sends what it has not sent, and perhaps something new.
    pub(crate) fn produce(
        &mut self,
        node: &Node,
        plant: Option<Plant>,
        random: &mut Random,
        now: TimestampMs,
    ) -> Result<String, String> {
        let index = random.below(PRODUCERS);
        let producer = &mut self.producers[index];
        if producer.in_flight.len() < IN_FLIGHT_MAX {
            let count = 1 + random.below(3);
            producer.make_batch(index, count, plant, now);
        }
        let mut done = String::new();
        for batch in producer.in_flight.iter_mut().filter(|batch| batch.appended.is_none()) {
            let names = batch.names();
            match batch.send(node, now)? {
                Some(offset) => done += &format!("{names} at {offset}; "),
                None => {
                    done += &format!("{names} refused; ");
                    break;
                }
            }
        }
        Ok(done)
    }

    /// What was acknowledged last is sent again, as after a lost response: it must be recognised.
    pub(crate) fn repeat(
        &mut self,
        node: &Node,
        random: &mut Random,
        now: TimestampMs,
    ) -> Result<String, String> {
        let producer = &self.producers[random.below(PRODUCERS)];
        let Some((batch, offset)) = producer.last_acked.as_ref().filter(|_| producer.in_flight.is_empty())
        else {
            return Ok("nothing".to_owned());
        };
        if *offset < self.deleted_to {
            return Ok("nothing".to_owned());
        }
        match node.append(batch.bytes.clone(), now) {
            Ok(info) if info.duplicate && info.base_offset == *offset => Ok(batch.names()),
            Ok(info) => {
                Err(format!("{}, acknowledged at {offset}, was sent again and is {info:?}", batch.names()))
            }
            Err(error) => refused(&error).map(|()| format!("{} refused", batch.names())),
        }
    }

    /// Takes in what is acknowledged by now.
    pub(crate) fn acknowledge(&mut self, node: &Node, plant: Option<Plant>) -> Result<(), String> {
        let durable = match plant {
            Some(Plant::AckBeforeFlush) => node.data.log_end_offset(),
            _ => node.data.high_watermark(),
        };
        for producer in &mut self.producers {
            while let Some(batch) = producer.in_flight.front() {
                let Some(offset) = batch.appended else { break };
                if offset.plus(batch.ids.len() as i64) > durable {
                    break;
                }
                for (id, offset) in batch.ids.iter().zip(offset.0..) {
                    promise(&mut self.promised, Offset(offset), *id)?;
                }
                self.acked_count += 1;
                producer.last_acked = producer.in_flight.pop_front().map(|batch| (batch, offset));
            }
        }
        Ok(())
    }

    /// Reads as a consumer does, up to the high watermark.
    pub(crate) fn consume(&mut self, node: &Node, random: &mut Random) -> Result<String, String> {
        let (start, end) = (node.data.log_start_offset(), node.data.high_watermark());
        let from = start.plus(random.below((end.since(start).max(0) + 1) as usize) as i64);
        for (offset, id) in records(node, from, Isolation::ReadUncommitted)? {
            if offset >= end {
                return Err(format!("offset {offset} was read, but the high watermark is {end}"));
            }
            promise(&mut self.promised, offset, id)?;
        }
        Ok(format!("{from} to {end}"))
    }

    /// Of acknowledged records only: one that is sent again after it was deleted could not be recognised.
    pub(crate) fn delete_records(&mut self, node: &Node, random: &mut Random) -> Result<String, String> {
        if !self.is_settled() {
            return Ok("nothing".to_owned());
        }
        let (start, end) = (node.data.log_start_offset(), node.data.high_watermark());
        let to = start.plus(random.below((end.since(start).max(0) / 2 + 1) as usize) as i64);
        self.deleted_to = self.deleted_to.max(to);
        match node.delete_records_to(to) {
            Ok(found) if found >= to => {
                self.gone_to = found;
                Ok(format!("before {to}"))
            }
            Ok(found) => Err(format!("records before {to} were deleted, but the log starts at {found}")),
            Err(LogError::Full { .. }) => Ok("nothing".to_owned()),
            Err(_) if node.has_offline_dir() => Ok("nothing".to_owned()),
            Err(error) => Err(format!("records before {to} cannot be deleted: {error}")),
        }
    }

    /// The process is gone; what was not acknowledged is to be sent again.
    pub(crate) fn node_died(&mut self) {
        for producer in &mut self.producers {
            producer.in_flight.iter_mut().for_each(|batch| batch.appended = None);
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.producers.iter().all(|producer| producer.in_flight.is_empty())
    }

    pub(crate) fn settle(&mut self, node: &Node, now: TimestampMs) -> Result<(), String> {
        for batch in self.producers.iter_mut().flat_map(|producer| &mut producer.in_flight) {
            if batch.appended.is_none() && batch.send(node, now)?.is_none() {
                return Err("an append is refused though the disk is well".to_owned());
            }
        }
        Ok(())
    }

    /// Everything that the log holds against everything that was promised.
    pub(crate) fn check(&self, node: &Node) -> Result<(), String> {
        let (start, end) = (node.data.log_start_offset(), node.data.log_end_offset());
        if start > self.deleted_to {
            return Err(format!("the log starts at {start}, but only {} was asked to go", self.deleted_to));
        }
        if start < self.gone_to {
            return Err(format!(
                "the log starts at {start}, but records before {} were deleted",
                self.gone_to
            ));
        }
        let first = self.promised.range(start..).next_back();
        if let Some((offset, id)) = first.filter(|(offset, _)| **offset >= end) {
            return Err(format!("the log ends at {end}, but {} was promised at {offset}", named(*id)));
        }
        let mut expected = start;
        let mut seen = BTreeSet::new();
        let mut latest: BTreeMap<u64, u64> = BTreeMap::new();
        for (offset, id) in records(node, start, Isolation::LogEnd)? {
            // The batch that holds the start may begin before it.
            if offset < start {
                continue;
            }
            if offset != expected {
                return Err(format!("offset {offset} follows where {expected} should"));
            }
            expected = offset.next();
            if self.promised.get(&offset).is_some_and(|promised| *promised != id) {
                return Err(format!(
                    "offset {offset} holds {}, promised was {}",
                    named(id),
                    named(self.promised[&offset])
                ));
            }
            if !seen.insert(id) {
                return Err(format!("{} is there twice, the second time at {offset}", named(id)));
            }
            let (producer, number) = (id >> 32, id & u64::from(u32::MAX));
            if let Some(before) = latest.insert(producer, number).filter(|before| before + 1 != number) {
                return Err(format!("{} at {offset} follows the producer's {before}", named(id)));
            }
        }
        if expected != end {
            return Err(format!("the log can be read up to {expected}, but ends at {end}"));
        }
        Ok(())
    }
}

impl Producer {
    fn make_batch(&mut self, index: usize, count: usize, plant: Option<Plant>, now: TimestampMs) {
        let ids: Vec<RecordId> =
            (0..count as u64).map(|n| ((index as u64) << 32) | (self.next_record + n)).collect();
        let info =
            ProducerInfo { id: self.id, epoch: ProducerEpoch(0), base_sequence: Some(self.next_sequence) };
        let producer = Some(info).filter(|_| plant != Some(Plant::ForgetSequences));
        let mut builder = BatchBuilder::new(BatchOptions { producer, ..BatchOptions::default() });
        for id in &ids {
            builder.append(now, None, Some(&payload(*id)), &[]);
        }
        self.next_record += count as u64;
        self.next_sequence = self.next_sequence.plus(count as i32);
        self.in_flight.push_back(Batch { bytes: builder.build(), ids, appended: None, was_sent: false });
    }
}

impl Batch {
    /// Where it went; `None`: to be sent again later.
    fn send(&mut self, node: &Node, now: TimestampMs) -> Result<Option<Offset>, String> {
        let was_sent = std::mem::replace(&mut self.was_sent, true);
        match node.append(self.bytes.clone(), now) {
            Ok(info) if info.duplicate && !was_sent => {
                Err(format!("{:?} is new and called a duplicate", self.ids))
            }
            Ok(info) => {
                self.appended = Some(info.base_offset);
                Ok(self.appended)
            }
            Err(error) => refused(&error).map(|()| None),
        }
    }

    fn names(&self) -> String {
        let number = |id: &RecordId| id & u64::from(u32::MAX);
        let (first, last) = (self.ids.first().map_or(0, number), self.ids.last().map_or(0, number));
        format!("producer {}: {first} to {last}", self.ids.first().map_or(0, |id| id >> 32))
    }
}

/// A disk that is full or gives up is a reason to refuse; nothing else here is.
fn refused(error: &AppendError) -> Result<(), String> {
    match error {
        AppendError::Full { .. }
        | AppendError::Descriptors(_)
        | AppendError::Offline(_)
        | AppendError::Storage(_) => Ok(()),
        other => Err(format!("a producer's batch is refused: {other}")),
    }
}

fn promise(promised: &mut BTreeMap<Offset, RecordId>, offset: Offset, id: RecordId) -> Result<(), String> {
    match promised.insert(offset, id) {
        Some(other) if other != id => {
            Err(format!("offset {offset} is said to hold {}, earlier it was {}", named(id), named(other)))
        }
        _ => Ok(()),
    }
}

fn records(node: &Node, from: Offset, isolation: Isolation) -> Result<Vec<(Offset, RecordId)>, String> {
    let batches = match read(&node.data, from, isolation) {
        Ok(batches) => batches,
        Err(_) if node.has_offline_dir() => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for batch in batches {
        for record in &batch.records {
            let offset = batch.offset_of(record);
            let value = record.value.clone().unwrap_or_default();
            let id = value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
            match id.filter(|id| payload(*id) == value) {
                Some(id) => found.push((offset, id)),
                None => return Err(format!("offset {offset} holds what nobody has sent: {value:?}")),
            }
        }
    }
    Ok(found)
}

/// The id, and as many bytes after it as the id says.
fn payload(id: RecordId) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    let length = mix(id) % 300;
    bytes.extend((0..length).map(|index| mix(id ^ index << 40) as u8));
    bytes
}

fn named(id: RecordId) -> String {
    format!("record {} of producer {}", id & u64::from(u32::MAX), id >> 32)
}
