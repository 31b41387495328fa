//! Every API that a broker advertises answers in every version that it advertises: the answer can be read
//! in that version and the connection stays open. Requests are small, but ask for what is there and for what
//! is not, so that answers have as many of their fields set as they can.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::Duration,
};

use bytes::Bytes;
use millstream_protocol::{Request, messages::*};
use millstream_testkit::{Kind, Running, Target, TargetOptions};
use millstream_types::Uuid;

use crate::session::{Session, batch};

const TOPIC: &str = "advertised";
const MISSING: &str = "advertised-missing";
const GROUP: &str = "advertised-group";
const TIMEOUT_MS: i32 = 10_000;

struct Caller<'a> {
    target: &'a Running,
    advertised: BTreeMap<i16, (i16, i16)>,
    answered: BTreeSet<i16>,
    topic_id: Uuid,
}

impl Caller<'_> {
    /// Sends what `make` makes in each advertised version from `first` on.
    fn each_from<R: Request + Debug>(&mut self, first: i16, make: impl Fn(i16) -> Vec<R>) {
        let key = R::KEY as i16;
        self.answered.insert(key);
        let Some(&(min, max)) = self.advertised.get(&key) else { return };
        for version in min.max(first)..=max {
            let mut session = Session::open(self.target);
            session.0.set_answer_limit(Duration::from_secs(30)).unwrap();
            for request in make(version) {
                let answer = session.0.call(version, &request);
                if let Err(error) = answer {
                    panic!("{} v{version}: {error:#}\n{request:?}", R::NAME);
                }
            }
        }
    }

    fn each<R: Request + Debug>(&mut self, make: impl Fn(i16) -> Vec<R>) {
        self.each_from(0, make);
    }

    /// Topics by name before version `ids_from`, by id from it on: one that is there, one that is not.
    fn named(&self, version: i16, ids_from: i16) -> [(String, Uuid); 2] {
        let by_id = version >= ids_from;
        [(TOPIC, self.topic_id), (MISSING, Uuid(4711))].map(|(name, id)| match by_id {
            true => (String::new(), id),
            false => (name.to_owned(), Uuid::ZERO),
        })
    }
}

#[test]
fn every_advertised_api_answers_in_every_advertised_version() {
    let target = Target::start(TargetOptions::default().set("group.initial.rebalance.delay.ms", 0)).unwrap();
    let mut session = Session::open(&target);
    let topic_id = session.topic(TOPIC, &[]);
    session.append(TOPIC, 0, batch(&["a", "b"]));
    session.new_producer_id();
    let software = ApiVersionsRequest {
        client_software_name: "conformance".to_owned(),
        client_software_version: "1".to_owned(),
        ..Default::default()
    };
    let advertised = session.call(4, &software).api_keys;
    let advertised = advertised.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
    let mut caller = Caller { target: &target, advertised, answered: BTreeSet::new(), topic_id };
    caller.each(|version| match version {
        3.. => vec![software.clone()],
        _ => vec![ApiVersionsRequest::default()],
    });
    records(&mut caller);
    offsets(&mut caller);
    members(&mut caller);
    committed(&mut caller);
    groups(&mut caller);
    topics(&mut caller);
    partitions(&mut caller);
    configs(&mut caller);
    cluster(&mut caller);
    if target.kind() == Kind::Millstream {
        let unasked = |key: &&i16| !caller.answered.contains(key);
        let left: Vec<_> = caller.advertised.keys().filter(unasked).collect();
        assert!(left.is_empty(), "advertised, but not asked for here: {left:?}");
        assert!(!target.output().contains("could not be written"), "{}", target.output());
    }
}

fn records(caller: &mut Caller<'_>) {
    use fetch_request::{FetchPartition, FetchTopic};
    use produce_request::{PartitionProduceData, TopicProduceData};
    let topics = |version: i16, ids_from| caller.named(version, ids_from);
    let produce = |version: i16| {
        let topic = |(name, topic_id)| {
            let good =
                PartitionProduceData { index: 0, records: Some(batch(&["x"]).into()), ..Default::default() };
            let bad = PartitionProduceData { records: Some(Bytes::from_static(b"?").into()), ..good.clone() };
            let missing = PartitionProduceData { index: 9, ..good.clone() };
            TopicProduceData {
                name,
                topic_id,
                partition_data: vec![good, missing, bad],
                ..Default::default()
            }
        };
        let topic_data = topics(version, 13).map(topic).into();
        let request = ProduceRequest { acks: -1, timeout_ms: TIMEOUT_MS, topic_data, ..Default::default() };
        vec![ProduceRequest { transactional_id: None, ..request }]
    };
    let fetch = |version: i16| {
        let partition = |(partition, fetch_offset)| FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic = |(topic, topic_id)| {
            let partitions = [(0, 0), (0, 999_999), (9, 0)].map(partition).into();
            FetchTopic { topic, topic_id, partitions, ..Default::default() }
        };
        let topics = topics(version, 13).map(topic).into();
        vec![FetchRequest { max_bytes: 1 << 20, isolation_level: 1, topics, ..Default::default() }]
    };
    let (produce, fetch): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (0..=30).map(|version| ((version, produce(version)), (version, fetch(version)))).unzip();
    // Produce below 3 is advertised for librdkafka's sake alone, in Kafka too.
    caller.each_from(3, |version| produce[&version].clone());
    caller.each(|version| fetch[&version].clone());
}

fn offsets(caller: &mut Caller<'_>) {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    use describe_producers_request::TopicRequest;
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let names = [TOPIC, MISSING].map(str::to_owned);
    caller.each(|version| {
        let newest = match version {
            ..7 => -2,
            7 => -3,
            8 => -4,
            _ => -5,
        };
        let partition = |(partition_index, timestamp)| ListOffsetsPartition {
            partition_index,
            timestamp,
            ..Default::default()
        };
        let partitions: Vec<_> = [(0, newest), (0, 1), (9, -1)].map(partition).into();
        let topic = |name| ListOffsetsTopic { name, partitions: partitions.clone(), ..Default::default() };
        vec![ListOffsetsRequest {
            replica_id: -1,
            topics: names.clone().map(topic).into(),
            ..Default::default()
        }]
    });
    caller.each(|_| {
        let partition =
            |partition| OffsetForLeaderPartition { partition, leader_epoch: 0, ..Default::default() };
        let topic = |topic| OffsetForLeaderTopic {
            topic,
            partitions: [0, 9].map(partition).into(),
            ..Default::default()
        };
        vec![OffsetForLeaderEpochRequest { topics: names.clone().map(topic).into(), ..Default::default() }]
    });
    caller.each(|_| {
        let partition = |(partition_index, offset)| DeleteRecordsPartition {
            partition_index,
            offset,
            ..Default::default()
        };
        let topic = |name| DeleteRecordsTopic {
            name,
            partitions: [(0, 0), (9, 0)].map(partition).into(),
            ..Default::default()
        };
        let topics = names.clone().map(topic).into();
        vec![DeleteRecordsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() }]
    });
    caller.each(|_| {
        let topic = |name| TopicRequest { name, partition_indexes: vec![0, 9], ..Default::default() };
        vec![DescribeProducersRequest { topics: names.clone().map(topic).into(), ..Default::default() }]
    });
    caller.each(|_| {
        let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
        vec![InitProducerIdRequest { transactional_id: None, ..request }]
    });
}

fn members(caller: &mut Caller<'_>) {
    use join_group_request::JoinGroupRequestProtocol;
    use leave_group_request::MemberIdentity;
    caller.each(|version| {
        let protocol = JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: Bytes::new(),
            ..Default::default()
        };
        vec![JoinGroupRequest {
            group_id: format!("{GROUP}-{version}"),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: if version >= 1 { 60_000 } else { -1 },
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol],
            ..Default::default()
        }]
    });
    caller.each(|version| {
        let protocol = |name: &str| (version >= 5).then(|| name.to_owned());
        vec![SyncGroupRequest {
            group_id: GROUP.to_owned(),
            member_id: "nobody".to_owned(),
            protocol_type: protocol("consumer"),
            protocol_name: protocol("range"),
            ..Default::default()
        }]
    });
    caller.each(|_| {
        let member_id = "nobody".to_owned();
        vec![HeartbeatRequest { group_id: GROUP.to_owned(), member_id, ..Default::default() }]
    });
    caller.each(|version| {
        let member_id = "nobody".to_owned();
        let group_id = GROUP.to_owned();
        vec![match version {
            3.. => {
                let members = vec![MemberIdentity { member_id, ..Default::default() }];
                LeaveGroupRequest { group_id, members, ..Default::default() }
            }
            _ => LeaveGroupRequest { group_id, member_id, ..Default::default() },
        }]
    });
}

fn committed(caller: &mut Caller<'_>) {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
    use offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics};
    let named: Vec<_> = (0..=30).map(|version| caller.named(version, 10)).collect();
    let named = |version: i16| named[usize::try_from(version).unwrap()].clone();
    caller.each(|version| {
        let partition = |partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: 1,
            committed_metadata: Some("m".to_owned()),
            ..Default::default()
        };
        let topic = |(name, topic_id)| OffsetCommitRequestTopic {
            name,
            topic_id,
            partitions: [0, 9].map(partition).into(),
            ..Default::default()
        };
        let topics = named(version).map(topic).into();
        vec![OffsetCommitRequest { group_id: GROUP.to_owned(), topics, ..Default::default() }]
    });
    caller.each(|version| {
        let one =
            |(name, _)| OffsetFetchRequestTopic { name, partition_indexes: vec![0, 9], ..Default::default() };
        let several = |(name, topic_id)| OffsetFetchRequestTopics {
            name,
            topic_id,
            partition_indexes: vec![0, 9],
            ..Default::default()
        };
        let group = |group_id: &str, topics| OffsetFetchRequestGroup {
            group_id: group_id.to_owned(),
            topics,
            ..Default::default()
        };
        let topics: Vec<_> = named(version).map(several).into();
        match version {
            8.. => {
                let groups = vec![
                    group(GROUP, Some(topics.clone())),
                    group("nobody", Some(topics)),
                    group(GROUP, None),
                ];
                vec![OffsetFetchRequest { groups, ..Default::default() }]
            }
            _ => {
                let topics = Some(named(version).map(one).into());
                vec![OffsetFetchRequest { group_id: GROUP.to_owned(), topics, ..Default::default() }]
            }
        }
    });
    caller.each(|version| {
        let partition = |partition_index| OffsetDeleteRequestPartition { partition_index };
        let topic = |(name, _)| OffsetDeleteRequestTopic { name, partitions: [0, 9].map(partition).into() };
        let request = |group_id: &str| OffsetDeleteRequest {
            group_id: group_id.to_owned(),
            topics: named(version).map(topic).into(),
        };
        vec![request(GROUP), request("nobody")]
    });
}

fn groups(caller: &mut Caller<'_>) {
    let ids = || [format!("{GROUP}-0"), GROUP.to_owned(), "nobody".to_owned()].to_vec();
    caller.each(|version| {
        let request = FindCoordinatorRequest::default();
        match version {
            4.. => vec![FindCoordinatorRequest { coordinator_keys: ids(), ..request }],
            _ => vec![FindCoordinatorRequest { key: GROUP.to_owned(), ..request }],
        }
    });
    caller.each(|version| {
        let include_authorized_operations = version >= 3;
        vec![DescribeGroupsRequest { groups: ids(), include_authorized_operations, ..Default::default() }]
    });
    caller.each(|version| {
        let states_filter = if version >= 4 { vec!["Empty".to_owned()] } else { Vec::new() };
        vec![ListGroupsRequest::default(), ListGroupsRequest { states_filter, ..Default::default() }]
    });
    caller.each(|_| {
        vec![DeleteGroupsRequest {
            groups_names: vec![GROUP.to_owned(), "nobody".to_owned()],
            ..Default::default()
        }]
    });
}

fn topics(caller: &mut Caller<'_>) {
    use create_topics_request::{CreatableTopic, CreatableTopicConfig};
    use delete_topics_request::DeleteTopicState;
    use metadata_request::MetadataRequestTopic;
    let topic_id = caller.topic_id;
    caller.each(|version| {
        let named = |name: &str| MetadataRequestTopic { name: Some(name.to_owned()), ..Default::default() };
        let identified = |topic_id| MetadataRequestTopic { name: None, topic_id, ..Default::default() };
        let mut topics = vec![named(TOPIC), named(MISSING), named("not a topic")];
        if version >= 12 {
            topics.extend([identified(topic_id), identified(Uuid(4711))]);
        }
        let request = MetadataRequest {
            topics: Some(topics),
            allow_auto_topic_creation: version < 4,
            include_topic_authorized_operations: version >= 8,
            ..Default::default()
        };
        let all = if version == 0 { Some(Vec::new()) } else { None };
        vec![request, MetadataRequest { topics: all, ..Default::default() }]
    });
    caller.each(|version| {
        let topic = |name: String, num_partitions| CreatableTopic {
            name,
            num_partitions,
            replication_factor: 1,
            configs: vec![CreatableTopicConfig {
                name: "retention.ms".to_owned(),
                value: Some("1000000".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        };
        let topics = vec![
            topic(format!("advertised-{version}"), 1),
            topic(TOPIC.to_owned(), 1),
            topic("?".to_owned(), 0),
        ];
        vec![CreateTopicsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() }]
    });
    caller.each(|version| {
        let names = [format!("advertised-{version}"), MISSING.to_owned()];
        let by_name = |name| DeleteTopicState { name: Some(name), ..Default::default() };
        let unknown = DeleteTopicState { name: None, topic_id: Uuid(4711), ..Default::default() };
        let request = DeleteTopicsRequest { timeout_ms: TIMEOUT_MS, ..Default::default() };
        vec![match version {
            6.. => {
                let topics = names.map(by_name).into_iter().chain([unknown]).collect();
                DeleteTopicsRequest { topics, ..request }
            }
            _ => DeleteTopicsRequest { topic_names: names.into(), ..request },
        }]
    });
}

fn partitions(caller: &mut Caller<'_>) {
    use create_partitions_request::CreatePartitionsTopic;
    use describe_log_dirs_request::DescribableLogDirTopic;
    use describe_topic_partitions_request::TopicRequest;
    use elect_leaders_request::TopicPartitions;
    let names = [TOPIC, MISSING].map(str::to_owned);
    caller.each(|_| {
        let topic = |name| CreatePartitionsTopic { name, count: 2, assignments: None, ..Default::default() };
        let topics = names.clone().map(topic).into();
        let request = CreatePartitionsRequest { topics, timeout_ms: TIMEOUT_MS, ..Default::default() };
        vec![CreatePartitionsRequest { validate_only: true, ..request }]
    });
    caller.each(|_| {
        let topic = |topic| DescribableLogDirTopic { topic, partitions: vec![0, 9], ..Default::default() };
        let topics = Some(names.clone().map(topic).into());
        let some = DescribeLogDirsRequest { topics, ..Default::default() };
        vec![some, DescribeLogDirsRequest { topics: None, ..Default::default() }]
    });
    caller.each(|version| {
        let topic = |topic| TopicPartitions { topic, partitions: vec![0, 9], ..Default::default() };
        let topic_partitions = Some(names.clone().map(topic).into());
        let request = ElectLeadersRequest { topic_partitions, timeout_ms: TIMEOUT_MS, ..Default::default() };
        let unknown = ElectLeadersRequest { election_type: i8::from(version >= 1) * 5, ..request.clone() };
        vec![request, unknown]
    });
    caller.each(|_| {
        let request = ListPartitionReassignmentsRequest { timeout_ms: TIMEOUT_MS, ..Default::default() };
        vec![ListPartitionReassignmentsRequest { topics: None, ..request }]
    });
    caller.each(|_| {
        let topics = names.clone().map(|name| TopicRequest { name, ..Default::default() }).into();
        vec![DescribeTopicPartitionsRequest { topics, cursor: None, ..Default::default() }]
    });
}

fn configs(caller: &mut Caller<'_>) {
    use describe_configs_request::DescribeConfigsResource;
    const RESOURCES: [(i8, &str); 6] = [(2, TOPIC), (2, MISSING), (4, "1"), (4, "x"), (8, "1"), (32, GROUP)];
    caller.each(|version| {
        let resource = |(resource_type, name): (i8, &str)| DescribeConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configuration_keys: None,
            ..Default::default()
        };
        vec![DescribeConfigsRequest {
            resources: RESOURCES.map(resource).into(),
            include_synonyms: true,
            include_documentation: version >= 3,
            ..Default::default()
        }]
    });
    caller.each(|_| {
        use alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let config = AlterableConfig { name: "no.such.key".to_owned(), value: None, ..Default::default() };
        let resource = |(resource_type, name): (i8, &str)| AlterConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configs: vec![config.clone()],
            ..Default::default()
        };
        let resources = RESOURCES[..4].iter().copied().map(resource).collect();
        vec![AlterConfigsRequest { resources, validate_only: true, ..Default::default() }]
    });
    caller.each(|_| {
        use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
        let config = AlterableConfig { name: "no.such.key".to_owned(), value: None, ..Default::default() };
        let resource = |(resource_type, name): (i8, &str)| AlterConfigsResource {
            resource_type,
            resource_name: name.to_owned(),
            configs: vec![config.clone()],
            ..Default::default()
        };
        let resources = RESOURCES.map(resource).into();
        vec![IncrementalAlterConfigsRequest { resources, validate_only: true, ..Default::default() }]
    });
    caller.each(|version| {
        let resource_types = if version >= 1 { vec![2, 4] } else { Vec::new() };
        vec![ListConfigResourcesRequest { resource_types, ..Default::default() }]
    });
}

fn cluster(caller: &mut Caller<'_>) {
    use describe_quorum_request::{PartitionData, TopicData};
    use update_features_request::FeatureUpdateKey;
    caller.each(|version| {
        let request =
            DescribeClusterRequest { include_cluster_authorized_operations: true, ..Default::default() };
        let controllers =
            DescribeClusterRequest { endpoint_type: if version >= 1 { 2 } else { 1 }, ..request.clone() };
        vec![request, controllers]
    });
    caller.each(|_| {
        let partition = |partition_index| PartitionData { partition_index, ..Default::default() };
        let topic = |topic_name: &str| TopicData {
            topic_name: topic_name.to_owned(),
            partitions: vec![partition(0)],
            ..Default::default()
        };
        let request =
            |topic_name| DescribeQuorumRequest { topics: vec![topic(topic_name)], ..Default::default() };
        vec![request("__cluster_metadata"), request(MISSING)]
    });
    caller.each(|version| {
        let update = |feature: &str| FeatureUpdateKey {
            feature: feature.to_owned(),
            max_version_level: 1,
            ..Default::default()
        };
        let feature_updates = vec![update("no.such.feature"), update("group.version")];
        let request = UpdateFeaturesRequest { timeout_ms: TIMEOUT_MS, feature_updates, ..Default::default() };
        vec![UpdateFeaturesRequest { validate_only: version >= 1, ..request }]
    });
}
