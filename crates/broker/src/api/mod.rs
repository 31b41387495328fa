//! Kafka's APIs, one file per key. This file finds the handler; a handler turns the wire's shape into
//! types, asks the engines, and turns the outcome back. Only what stands in [`SERVED`] is advertised.

#[path = "33_alter_configs.rs"]
mod alter_configs;
#[path = "18_api_versions.rs"]
mod api_versions;
#[path = "37_create_partitions.rs"]
mod create_partitions;
#[path = "19_create_topics.rs"]
mod create_topics;
#[path = "42_delete_groups.rs"]
mod delete_groups;
#[path = "21_delete_records.rs"]
mod delete_records;
#[path = "20_delete_topics.rs"]
mod delete_topics;
#[path = "60_describe_cluster.rs"]
mod describe_cluster;
#[path = "32_describe_configs.rs"]
mod describe_configs;
#[path = "15_describe_groups.rs"]
mod describe_groups;
#[path = "35_describe_log_dirs.rs"]
mod describe_log_dirs;
#[path = "61_describe_producers.rs"]
mod describe_producers;
#[path = "55_describe_quorum.rs"]
mod describe_quorum;
#[path = "75_describe_topic_partitions.rs"]
mod describe_topic_partitions;
#[path = "43_elect_leaders.rs"]
mod elect_leaders;
#[path = "01_fetch.rs"]
mod fetch;
#[path = "10_find_coordinator.rs"]
mod find_coordinator;
#[path = "12_heartbeat.rs"]
mod heartbeat;
#[path = "44_incremental_alter_configs.rs"]
mod incremental_alter_configs;
#[path = "22_init_producer_id.rs"]
mod init_producer_id;
#[path = "11_join_group.rs"]
mod join_group;
#[path = "13_leave_group.rs"]
mod leave_group;
#[path = "74_list_config_resources.rs"]
mod list_config_resources;
#[path = "16_list_groups.rs"]
mod list_groups;
#[path = "02_list_offsets.rs"]
mod list_offsets;
#[path = "46_list_partition_reassignments.rs"]
mod list_partition_reassignments;
#[path = "03_metadata.rs"]
mod metadata;
#[path = "08_offset_commit.rs"]
mod offset_commit;
#[path = "47_offset_delete.rs"]
mod offset_delete;
#[path = "09_offset_fetch.rs"]
mod offset_fetch;
#[path = "23_offset_for_leader_epoch.rs"]
mod offset_for_leader_epoch;
#[path = "00_produce.rs"]
mod produce;
#[path = "14_sync_group.rs"]
mod sync_group;
#[path = "57_update_features.rs"]
mod update_features;

mod authorized;
mod context;

use std::sync::Arc;

use bytes::Bytes;
use millstream_protocol::{ApiKey, Request, offered_versions, read_request_header};
use millstream_telemetry::Metrics;
use millstream_types::codec::{DecodeError, Reader};
use tracing::debug;

use self::context::RequestContext;
use crate::{
    parts::Parts,
    server::{
        ConnectionContext, ConnectionSettings, Memory,
        response::{FileTurns, Reply, RequestQueue},
    },
};

/// Finds the handler of a request and keeps what the handlers stand on.
pub(crate) struct Api {
    parts: Arc<Parts>,
}

impl Api {
    pub(crate) fn new(parts: Arc<Parts>) -> Arc<Self> {
        Arc::new(Self { parts })
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.parts.metrics
    }

    pub(crate) fn connection_settings(&self) -> ConnectionSettings {
        self.parts.connection_settings()
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.parts.memory
    }

    pub(crate) fn request_queue(&self) -> &Arc<RequestQueue> {
        &self.parts.request_queue
    }

    pub(crate) fn file_turns(&self) -> &FileTurns {
        &self.parts.file_turns
    }

    /// Runs one request. What cannot be read closes the connection, as in Kafka.
    pub(crate) fn handle(&self, frame: Bytes, connection: &Arc<ConnectionContext>) -> Reply {
        let frame_bytes = frame.len();
        let mut reader = Reader::new(frame);
        let (key, header) = match read_request_header(&mut reader) {
            Ok(read) => read,
            Err(error) => {
                debug!(peer = %connection.peer, %error, "a request's header cannot be read");
                return Reply::Close;
            }
        };
        let context = RequestContext::new(header, key, frame_bytes, connection, &self.parts.metrics);
        let (version, peer) = (context.version, connection.peer);
        if !offered_versions(key).contains(&version) {
            if key == ApiKey::ApiVersions {
                return context.now_in_version(&api_versions::unsupported(), 0);
            }
            debug!(%peer, api = key.name(), version, "a version that is not served was asked for");
            return Reply::Close;
        }
        self.dispatch(context, reader).unwrap_or_else(|error| {
            debug!(%peer, api = key.name(), version, %error, "a request cannot be read");
            Reply::Close
        })
    }
}

/// Reads the request and hands it on.
fn run<R: Request>(
    parts: &Arc<Parts>,
    context: RequestContext,
    mut reader: Reader,
    handler: fn(&Arc<Parts>, RequestContext, R) -> Reply,
) -> Result<Reply, DecodeError> {
    let request = R::read(&mut reader, context.version)?;
    Ok(handler(parts, context, request))
}

macro_rules! served {
    ($($module:ident: $request:ident),* $(,)?) => {
        /// Every API that is served. What is not here is not advertised, and closes the connection.
        const SERVED: &[ApiKey] = &[$(<millstream_protocol::messages::$request as Request>::KEY),*];

        impl Api {
            fn dispatch(&self, context: RequestContext, reader: Reader) -> Result<Reply, DecodeError> {
                $(if context.key == <millstream_protocol::messages::$request as Request>::KEY {
                    return run(&self.parts, context, reader, $module::handle);
                })*
                Ok(Reply::Close)
            }
        }
    };
}

served! {
    produce: ProduceRequest,
    fetch: FetchRequest,
    list_offsets: ListOffsetsRequest,
    metadata: MetadataRequest,
    offset_commit: OffsetCommitRequest,
    offset_fetch: OffsetFetchRequest,
    find_coordinator: FindCoordinatorRequest,
    join_group: JoinGroupRequest,
    heartbeat: HeartbeatRequest,
    leave_group: LeaveGroupRequest,
    sync_group: SyncGroupRequest,
    describe_groups: DescribeGroupsRequest,
    list_groups: ListGroupsRequest,
    api_versions: ApiVersionsRequest,
    create_topics: CreateTopicsRequest,
    delete_topics: DeleteTopicsRequest,
    delete_records: DeleteRecordsRequest,
    init_producer_id: InitProducerIdRequest,
    offset_for_leader_epoch: OffsetForLeaderEpochRequest,
    describe_configs: DescribeConfigsRequest,
    alter_configs: AlterConfigsRequest,
    describe_log_dirs: DescribeLogDirsRequest,
    create_partitions: CreatePartitionsRequest,
    delete_groups: DeleteGroupsRequest,
    elect_leaders: ElectLeadersRequest,
    incremental_alter_configs: IncrementalAlterConfigsRequest,
    list_partition_reassignments: ListPartitionReassignmentsRequest,
    offset_delete: OffsetDeleteRequest,
    describe_quorum: DescribeQuorumRequest,
    update_features: UpdateFeaturesRequest,
    describe_cluster: DescribeClusterRequest,
    describe_producers: DescribeProducersRequest,
    list_config_resources: ListConfigResourcesRequest,
    describe_topic_partitions: DescribeTopicPartitionsRequest,
}
