//! Random sequences of requests: whatever is decided applies, log and snapshot agree, and what must always
//! hold holds.

use millstream_config::AlterOp;
use millstream_metadata::{
    ConfigChange, ConfigOp, ConfigResource, NewPartitions, NewTopic, ResourceType, TopicRef,
    allocate_producer_ids, create_partitions, create_topics, delete_topics, incremental_alter_configs,
    snapshot,
};
use millstream_types::{BrokerId, PartitionId, TimestampMs};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::node::{DIRECTORY, NODE, TestNode, replayed};

#[derive(Clone, Debug)]
enum Request {
    Create(Vec<NewTopic>),
    Delete(Vec<TopicRef>),
    Grow(Vec<NewPartitions>),
    Alter(Vec<ConfigChange>),
    ProducerIds,
    Stop,
    Kill,
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "c.d", "c_d", "e", "", "f g", "__consumer_offsets"]).prop_map(str::to_owned)
}

fn setting() -> impl Strategy<Value = (String, Option<String>)> {
    let key = select(vec!["retention.ms", "segment.bytes", "cleanup.policy", "nonsense"]);
    let value = select(vec!["-1", "1048576", "compact", "delete", "x", "9223372036854775808"]);
    (key, option::weighted(0.9, value)).prop_map(|(key, value)| (key.to_owned(), value.map(str::to_owned)))
}

fn replicas() -> impl Strategy<Value = Vec<BrokerId>> {
    vec(select(vec![1, 1, 1, 2]).prop_map(BrokerId), 0..3)
}

fn request() -> impl Strategy<Value = Request> {
    let topic = (
        name(),
        option::of(-2..4_i32),
        option::of(-1..3_i16),
        vec((-1..3_i32, replicas()), 0..3),
        vec(setting(), 0..3),
    );
    let topic = topic.prop_map(|(name, partitions, replication_factor, assignments, settings)| NewTopic {
        name,
        partitions,
        replication_factor,
        assignments,
        settings,
    });
    let growth = (name(), -1..6_i32, option::of(vec(replicas(), 0..3)));
    let growth = growth.prop_map(|(topic, count, assignments)| NewPartitions { topic, count, assignments });
    let resource = (select(vec![2_i8, 4, 8, 16, 32, 3]), select(vec!["", "1", "a", "c.d"]));
    let op = (setting(), -1..5_i8).prop_map(|((name, value), op)| ConfigOp {
        name,
        op: AlterOp::from_code(op),
        value,
    });
    let change = (resource, vec(op, 0..3)).prop_map(|((kind, name), ops)| ConfigChange {
        resource: ConfigResource::new(ResourceType::from_code(kind), name),
        ops,
    });
    prop_oneof![
        6 => vec(topic, 0..4).prop_map(Request::Create),
        2 => vec(option::of(name()).prop_map(|name| TopicRef { name, id: None }), 0..3).prop_map(Request::Delete),
        3 => vec(growth, 0..3).prop_map(Request::Grow),
        4 => vec(change, 0..4).prop_map(Request::Alter),
        1 => Just(Request::ProducerIds),
        1 => Just(Request::Stop),
        1 => Just(Request::Kill),
    ]
}

fn submit(node: &mut TestNode, request: &Request) {
    let records = match request {
        Request::Create(topics) => {
            let mut new_id = node.new_id();
            create_topics(node.image(), node.node(), topics, false, &mut new_id).records
        }
        Request::Delete(topics) => delete_topics(node.image(), topics).records,
        Request::Grow(topics) => create_partitions(node.image(), node.node(), topics, false).records,
        Request::Alter(changes) => {
            incremental_alter_configs(node.image(), node.node(), changes, false).records
        }
        Request::ProducerIds => vec![allocate_producer_ids(node.image(), NODE).unwrap().record],
        Request::Stop => {
            node.stop();
            node.start(None).unwrap();
            return;
        }
        Request::Kill => {
            node.start(None).unwrap();
            return;
        }
    };
    node.commit(&records);
    node.reload();
}

fn check(node: &TestNode) {
    for topic in node.image().topics().iter() {
        let numbers: Vec<_> = topic.partitions.keys().copied().collect();
        let expected: Vec<_> = (0..).map(PartitionId).take(numbers.len()).collect();
        assert_eq!(numbers, expected, "partitions are numbered from 0 without a gap");
        assert!(!numbers.is_empty());
        for partition in topic.partitions.values() {
            assert_eq!(partition.replicas, [NODE]);
            assert_eq!(partition.isr, [NODE]);
            assert_eq!(partition.leader, Some(NODE));
            assert_eq!(partition.directories, [DIRECTORY]);
        }
        assert_eq!(node.image().topics().by_id(topic.id), Some(topic));
    }
    for (resource, settings) in node.image().configs().resources() {
        assert!(!settings.is_empty());
        if resource.kind == ResourceType::Topic {
            assert!(node.image().topics().get(&resource.name).is_some(), "{resource}");
            assert!(millstream_config::validate_topic(settings, &node.layers).is_ok());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_decided_applies_and_log_and_snapshot_agree(requests in vec(request(), 1..20)) {
        let mut node = TestNode::started();
        for request in &requests {
            let before = node.replay.next_offset();
            submit(&mut node, request);
            prop_assert!(node.replay.next_offset() >= before);
            check(&node);
        }
        prop_assert_eq!(&replayed(&node.log), &node.replay);
        let (id, bytes) = snapshot::write(&node.replay, TimestampMs(1)).unwrap();
        prop_assert_eq!(&snapshot::read(id, &bytes).unwrap(), &node.replay);
    }

    /// What a request would do is not done when it only asks.
    #[test]
    fn validation_alone_changes_nothing(requests in vec(request(), 1..10)) {
        let mut node = TestNode::started();
        node.create("a", 2, &[]);
        for request in &requests {
            let mut new_id = node.new_id();
            let records = match request {
                Request::Create(topics) => {
                    create_topics(node.image(), node.node(), topics, true, &mut new_id).records
                }
                Request::Grow(topics) => create_partitions(node.image(), node.node(), topics, true).records,
                Request::Alter(changes) => {
                    incremental_alter_configs(node.image(), node.node(), changes, true).records
                }
                _ => Vec::new(),
            };
            prop_assert_eq!(records, vec![]);
        }
    }

    /// Damaged or hostile logs are refused or understood, and never panic.
    #[test]
    fn a_changed_byte_is_an_error_or_does_no_harm(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let mut node = TestNode::started();
        node.create("a", 2, &[("retention.ms", "5")]);
        let mut log = node.log.clone();
        let at = at.index(log.len());
        log[at] ^= flip;
        let mut replay = millstream_metadata::Replay::default();
        for view in millstream_record::batch::batches(&log) {
            let Ok(view) = view else { break };
            if replay.apply_batch(&bytes::Bytes::copy_from_slice(view.bytes)).is_err() {
                break;
            }
        }
        prop_assert!(replay.next_offset() <= node.replay.next_offset());
    }
}
