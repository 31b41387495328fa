//! Which version of a record a given `metadata.version` allows. `MetadataVersion`.

use millstream_record::{
    kraft::{self, MetadataRecord},
    messages::BrokerRegistrationChangeRecord,
};
use millstream_types::codec::EncodeError;

use bytes::Bytes;

/// 3.7-IV2: replicas have directories.
const DIRECTORIES: i16 = 17;
/// 4.0-IV1: eligible leader replicas.
const ELIGIBLE_LEADERS: i16 = 23;
/// 4.3-IV0: directories can be cordoned.
const CORDONED: i16 = 30;

/// The record's frame, in the version that `metadata_version` asks for.
pub(crate) fn encode(record: &MetadataRecord, metadata_version: i16) -> Result<Bytes, EncodeError> {
    let version = version(record, metadata_version);
    kraft::encode(&fitted(record, version), version)
}

fn version(record: &MetadataRecord, metadata_version: i16) -> i16 {
    let since = |level| metadata_version >= level;
    match record {
        MetadataRecord::RegisterBroker(_) if since(CORDONED) => 4,
        MetadataRecord::RegisterBroker(_) if since(DIRECTORIES) => 3,
        MetadataRecord::RegisterBroker(_) => 1,
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) if since(ELIGIBLE_LEADERS) => 2,
        MetadataRecord::Partition(_) | MetadataRecord::PartitionChange(_) => i16::from(since(DIRECTORIES)),
        MetadataRecord::BrokerRegistrationChange(change) => lowest(change),
        other => other.max_version(),
    }
}

/// Kafka writes these in the lowest version that has what they say.
fn lowest(change: &BrokerRegistrationChangeRecord) -> i16 {
    match change {
        _ if change.cordoned_log_dirs.is_some() => 3,
        _ if !change.log_dirs.is_empty() => 2,
        _ if change.in_controlled_shutdown != 0 => 1,
        _ => 0,
    }
}

/// Without the fields that the version does not have; a snapshot taken at a lower level loses them.
fn fitted(record: &MetadataRecord, version: i16) -> MetadataRecord {
    match record {
        MetadataRecord::RegisterBroker(broker) => {
            let mut broker = broker.clone();
            if version < 4 {
                broker.cordoned_log_dirs = None;
            }
            if version < 3 {
                broker.log_dirs.clear();
            }
            if version < 2 {
                broker.is_migrating_zk_broker = false;
            }
            broker.into()
        }
        MetadataRecord::Partition(partition) if version < 2 => {
            let mut partition = partition.clone();
            partition.eligible_leader_replicas = None;
            partition.last_known_elr = None;
            if version < 1 {
                partition.directories.clear();
            }
            partition.into()
        }
        other => other.clone(),
    }
}
