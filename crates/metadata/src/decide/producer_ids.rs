//! Blocks of producer ids. `ProducerIdControlManager`.

use millstream_record::{kraft::MetadataRecord, messages::ProducerIdsRecord};
use millstream_types::{BrokerId, ErrorCode, ProducerId};

use super::Failure;
use crate::{BrokerEpoch, Image};

/// How many ids a block has.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Ids that are given out once the record is durable.
#[derive(Clone, Debug, PartialEq)]
pub struct ProducerIdBlock {
    pub first: ProducerId,
    /// The first that is not in the block.
    pub end: ProducerId,
    pub record: MetadataRecord,
}

/// The next block, for a node in its current incarnation.
pub fn allocate_producer_ids(image: &Image, node: BrokerId) -> Result<ProducerIdBlock, Failure> {
    let epoch = image.broker(node).map_or(BrokerEpoch(-1), |broker| broker.epoch());
    let first = image.next_producer_id();
    let Some(end) = first.0.checked_add(PRODUCER_ID_BLOCK) else {
        return Err(Failure::new(
            ErrorCode::UnknownServerError,
            format!(
                "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit: {first}"
            ),
        ));
    };
    let record = ProducerIdsRecord {
        broker_id: node.0,
        broker_epoch: epoch.0,
        next_producer_id: end,
        ..ProducerIdsRecord::default()
    };
    Ok(ProducerIdBlock { first, end: ProducerId(end), record: record.into() })
}
