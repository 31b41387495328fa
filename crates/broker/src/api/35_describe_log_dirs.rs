//! DescribeLogDirs (35), versions 1-5: each log directory with its partitions' sizes.

use std::{collections::BTreeMap, sync::Arc};

use millstream_protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse,
    describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
};
use millstream_types::ErrorCode;

use super::context::{RequestContext, blocking};
use crate::{parts::Parts, server::response::Reply};

pub(super) fn handle(parts: &Arc<Parts>, context: RequestContext, request: DescribeLogDirsRequest) -> Reply {
    let parts = Arc::clone(parts);
    context.later(blocking(move || {
        let dirs = parts.log_dirs.dirs();
        let results = dirs.into_iter().map(|dir| describe(&parts, dir, &request)).collect();
        DescribeLogDirsResponse { results, ..Default::default() }
    }))
}

fn describe(
    parts: &Parts,
    dir: millstream_log::DirInfo,
    request: &DescribeLogDirsRequest,
) -> DescribeLogDirsResult {
    let log_dir = dir.path.display().to_string();
    if dir.offline.is_some() {
        let error_code = ErrorCode::KafkaStorageError.code();
        return DescribeLogDirsResult { error_code, log_dir, ..Default::default() };
    }
    let asked = |topic: &str, partition: i32| match &request.topics {
        None => true,
        Some(topics) => topics.iter().any(|t| t.topic == topic && t.partitions.contains(&partition)),
    };
    let mut by_topic: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for topic in parts.partitions.topics() {
        for partition in topic.partitions() {
            let id = &partition.id;
            if partition.log.log_dir() == dir.path && asked(id.topic.as_str(), id.partition.0) {
                let size = i64::try_from(partition.log.size_bytes()).unwrap_or(i64::MAX);
                let described = DescribeLogDirsPartition {
                    partition_index: id.partition.0,
                    partition_size: size,
                    ..Default::default()
                };
                by_topic.entry(id.topic.to_string()).or_default().push(described);
            }
        }
    }
    let topic = |(name, partitions)| DescribeLogDirsTopic { name, partitions, ..Default::default() };
    DescribeLogDirsResult {
        log_dir,
        topics: by_topic.into_iter().map(topic).collect(),
        total_bytes: bytes(dir.total_bytes),
        usable_bytes: bytes(dir.usable_bytes),
        ..Default::default()
    }
}

/// -1 where the operating system would not tell.
fn bytes(value: Option<u64>) -> i64 {
    value.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}
