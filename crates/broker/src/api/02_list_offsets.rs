//! ListOffsets (2), versions 1-11: offsets by timestamp, and the six special ones, each from the version
//! that brought it. The leader epoch told is that of the record found.

use std::{collections::HashSet, sync::Arc};

use millstream_log::Isolation;
use millstream_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse,
    list_offsets_request::ListOffsetsPartition,
    list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
};
use millstream_types::{ErrorCode, LeaderEpoch, Offset, PartitionId, TimestampMs};

use super::context::RequestContext;
use crate::{error_map::Failure, partitions::Partition, parts::Parts, server::response::Reply};

const LEADER_EPOCH_FROM: i16 = 4;

/// What stands in the timestamp's place, and from which version it may.
#[derive(Clone, Copy)]
enum Sought {
    Latest,
    Earliest,
    MaxTimestamp,
    EarliestLocal,
    LatestTiered,
    EarliestPendingUpload,
    At(TimestampMs),
}

impl Sought {
    fn parse(timestamp: i64, version: i16) -> Result<Self, ErrorCode> {
        let (sought, since) = match timestamp {
            -1 => (Sought::Latest, 1),
            -2 => (Sought::Earliest, 1),
            -3 => (Sought::MaxTimestamp, 7),
            -4 => (Sought::EarliestLocal, 8),
            -5 => (Sought::LatestTiered, 9),
            -6 => (Sought::EarliestPendingUpload, 11),
            at if at < 0 => return Err(ErrorCode::UnsupportedVersion),
            at => (Sought::At(TimestampMs(at)), 1),
        };
        if version >= since { Ok(sought) } else { Err(ErrorCode::UnsupportedVersion) }
    }
}

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: ListOffsetsRequest) -> Reply {
    let isolation =
        if request.isolation_level == 0 { Isolation::ReadUncommitted } else { Isolation::ReadCommitted };
    let version = context.version;
    let twice = named_twice(&request);
    let parts = Arc::clone(parts);
    context.later(async move {
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for wanted in topic.partitions {
                // There may be a million.
                tokio::task::consume_budget().await;
                let index = wanted.partition_index;
                let outcome = match twice.contains(&(topic.name.clone(), index)) {
                    true => Err(ErrorCode::InvalidRequest.into()),
                    false => find(&parts, &topic.name, &wanted, version, isolation).await,
                };
                partitions.push(outcome.unwrap_or_else(|failure: Failure| failed(index, failure.code)));
            }
            topics.push(ListOffsetsTopicResponse { name: topic.name, partitions, ..Default::default() });
        }
        ListOffsetsResponse { topics, ..Default::default() }
    })
}

fn named_twice(request: &ListOffsetsRequest) -> HashSet<(String, i32)> {
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    for topic in &request.topics {
        for partition in &topic.partitions {
            let key = (topic.name.clone(), partition.partition_index);
            if !seen.insert(key.clone()) {
                twice.insert(key);
            }
        }
    }
    twice
}

fn failed(index: i32, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index: index, error_code: code.code(), ..Default::default() }
}

struct Found {
    timestamp: Option<TimestampMs>,
    offset: Offset,
    epoch: Option<LeaderEpoch>,
}

async fn find(
    parts: &Parts,
    topic: &str,
    wanted: &ListOffsetsPartition,
    version: i16,
    isolation: Isolation,
) -> Result<ListOffsetsPartitionResponse, Failure> {
    let sought = Sought::parse(wanted.timestamp, version)?;
    let topic = parts.partitions.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic.partition(PartitionId(wanted.partition_index))?;
    partition.check_leader_epoch(LeaderEpoch::from_wire(wanted.current_leader_epoch))?;
    let found = match sought {
        // Reads segments and opens batches: not on the threads that serve connections. One partition at a time,
        // so that a request for many does not keep out all others.
        Sought::MaxTimestamp | Sought::At(_) => {
            let partition = Arc::clone(&partition);
            parts.openers.run(move || search(&partition, sought, isolation)).await?
        }
        _ => search(&partition, sought, isolation)?,
    };
    Ok(ListOffsetsPartitionResponse {
        partition_index: wanted.partition_index,
        timestamp: TimestampMs::to_wire(found.as_ref().and_then(|f| f.timestamp)),
        offset: Offset::to_wire(found.as_ref().map(|f| f.offset)),
        leader_epoch: LeaderEpoch::to_wire(
            found.and_then(|f| f.epoch).filter(|_| version >= LEADER_EPOCH_FROM),
        ),
        ..Default::default()
    })
}

fn search(partition: &Partition, sought: Sought, isolation: Isolation) -> Result<Option<Found>, Failure> {
    let log = &partition.log;
    let at_time = |found: Option<millstream_log::TimestampOffset>| {
        found.map(|f| Found { timestamp: Some(f.timestamp), offset: f.offset, epoch: f.leader_epoch })
    };
    Ok(match sought {
        Sought::Latest => Some(Found {
            timestamp: None,
            offset: log.visible_end(isolation),
            epoch: Some(partition.leader_epoch()),
        }),
        Sought::Earliest | Sought::EarliestLocal => {
            let offset = log.log_start_offset();
            Some(Found { timestamp: None, offset, epoch: log.epoch_at(offset) })
        }
        // Nothing is tiered here, ever.
        Sought::LatestTiered | Sought::EarliestPendingUpload => None,
        Sought::MaxTimestamp => at_time(log.max_timestamp_offset(isolation)?),
        Sought::At(timestamp) => at_time(log.offset_for_timestamp(timestamp, isolation)?),
    })
}
