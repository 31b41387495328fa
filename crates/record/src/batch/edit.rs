//! Changing a batch where it lies, as a broker does when it appends: the base offset and leader epoch
//! stand before the checksum and cost nothing; a timestamp makes it necessary to compute it anew.
//!
//! Each function takes exactly one whole batch, from a [`super::BatchView`] or after
//! [`BatchHeader::parse`]; less than a header is a bug of the caller and panics.

use millstream_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use super::{
    ProducerInfo, TimestampType,
    header::{ATTRIBUTES_AT, Attributes, CRC_AT, LEADER_EPOCH_AT, MAX_TIMESTAMP_AT, PRODUCER_AT},
};

pub fn set_base_offset(batch: &mut [u8], offset: Offset) {
    batch[..8].copy_from_slice(&offset.0.to_be_bytes());
}

pub fn set_leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) {
    batch[LEADER_EPOCH_AT..LEADER_EPOCH_AT + 4].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Stamps the batch with the broker's clock (`message.timestamp.type=LogAppendTime`): every record now has
/// this timestamp, although none is rewritten. Computes the checksum.
pub fn set_log_append_time(batch: &mut [u8], now: TimestampMs) {
    set_timestamp(batch, TimestampType::LogAppendTime, now);
}

/// Sets the largest timestamp of a batch with producers' timestamps, which a broker computes itself and
/// does not take from the producer. Computes the checksum if that changed anything.
pub fn set_max_timestamp(batch: &mut [u8], max: TimestampMs) {
    set_timestamp(batch, TimestampType::CreateTime, max);
}

fn set_timestamp(batch: &mut [u8], kind: TimestampType, max: TimestampMs) {
    let before = Attributes(i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]));
    let attributes = before.with_timestamp_type(kind);
    let max = max.0.to_be_bytes();
    let field = MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8;
    if attributes == before && batch[field.clone()] == max {
        return;
    }
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.0.to_be_bytes());
    batch[field].copy_from_slice(&max);
    recompute_crc(batch);
}

/// Sets who wrote the batch: a producer learns its sequence only when it sends. Computes the checksum.
pub fn set_producer(batch: &mut [u8], producer: Option<ProducerInfo>) {
    let (id, rest) = batch[PRODUCER_AT..PRODUCER_AT + 14].split_at_mut(8);
    let (epoch, sequence) = rest.split_at_mut(2);
    id.copy_from_slice(&ProducerId::to_wire(producer.map(|p| p.id)).to_be_bytes());
    epoch.copy_from_slice(&ProducerEpoch::to_wire(producer.map(|p| p.epoch)).to_be_bytes());
    sequence.copy_from_slice(&Sequence::to_wire(producer.and_then(|p| p.base_sequence)).to_be_bytes());
    recompute_crc(batch);
}

/// Makes the checksum true again after a change behind it.
pub fn recompute_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
}
