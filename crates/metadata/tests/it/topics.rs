//! Decisions about topics. Every message was given by Kafka 4.3.1 to the same request.

use millstream_metadata::{
    Election, Failure, NewPartitions, NewTopic, Node, TopicRef, create_partitions, create_topics,
    delete_topics, elect_leaders,
};
use millstream_types::{BrokerId, ErrorCode, PartitionId, Uuid};

use crate::node::{DIRECTORY, NODE, TestNode, properties};

fn new(name: &str, partitions: Option<i32>, replication_factor: Option<i16>) -> NewTopic {
    NewTopic { name: name.into(), partitions, replication_factor, ..NewTopic::default() }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let replicas = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    let assignments = assignments.iter().map(|(number, ids)| (*number, replicas(ids))).collect();
    NewTopic { assignments, ..new(name, None, None) }
}

fn with(name: &str, settings: &[(&str, Option<&str>)]) -> NewTopic {
    let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
    NewTopic { settings, ..new(name, Some(1), Some(1)) }
}

fn refusal(node: &TestNode, topic: NewTopic) -> (i16, String) {
    let mut new_id = node.new_id();
    let decision = create_topics(node.image(), node.node(), &[topic], false, &mut new_id);
    assert_eq!(decision.records, []);
    shown(decision.results[0].1.clone().unwrap_err())
}

fn shown(failure: Failure) -> (i16, String) {
    (failure.code.code(), failure.message.unwrap_or_default())
}

type Case = (NewTopic, i16, &'static str);

fn refused_by_name_or_number() -> Vec<Case> {
    let factor_2 = "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned.";
    vec![
        (new("a", Some(2), Some(1)), 36, "Topic 'a' already exists."),
        (new("", Some(2), Some(1)), 17, "Topic name is invalid: the empty string is not allowed"),
        (
            new("a b", Some(2), Some(1)),
            17,
            "Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (new("x_y", Some(1), Some(1)), 17, "Topic 'x_y' collides with existing topic: x.y"),
        (
            new("__cluster_metadata", Some(1), Some(1)),
            42,
            "Creation of internal topic __cluster_metadata is prohibited.",
        ),
        (new("c", Some(0), Some(1)), 37, "Number of partitions was set to an invalid non-positive value."),
        (new("c", Some(-2), Some(1)), 37, "Number of partitions was set to an invalid non-positive value."),
        (
            new("c", Some(1), Some(0)),
            38,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            new("c", Some(0), Some(0)),
            38,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (new("c", Some(1), Some(2)), 38, factor_2),
        (new("c", Some(10_001), Some(1)), 44, "Excessively large number of partitions per request."),
        (new("c", Some(10_000), Some(1)), 44, "Unable to perform excessively large batch operation."),
    ]
}

fn refused_by_assignment() -> Vec<Case> {
    let mut both = assigned("c", &[(0, &[1])]);
    both.replication_factor = Some(1);
    let mut counted = assigned("c", &[(0, &[1])]);
    counted.partitions = Some(1);
    vec![
        (both, 42, "A manual partition assignment was specified, but replication factor was not set to -1."),
        (counted, 42, "A manual partition assignment was specified, but numPartitions was not set to -1."),
        (assigned("c", &[(0, &[])]), 39, "The manual partition assignment includes an empty replica list."),
        (
            assigned("c", &[(0, &[1, 1])]),
            39,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            assigned("c", &[(0, &[7])]),
            39,
            "The manual partition assignment includes broker 7, but no such broker is registered.",
        ),
        (
            assigned("c", &[(0, &[1]), (1, &[1, 2])]),
            39,
            "The manual partition assignment includes broker 2, but no such broker is registered.",
        ),
        (assigned("c", &[(1, &[1])]), 39, "partitions should be a consecutive 0-based integer sequence"),
        (assigned("c", &[(-1, &[1])]), 39, "partitions should be a consecutive 0-based integer sequence"),
        (
            assigned("c", &[(0, &[1]), (0, &[1])]),
            39,
            "Found multiple manual partition assignments for partition 0",
        ),
    ]
}

fn refused_by_setting() -> Vec<Case> {
    vec![
        (with("c", &[("x", Some("y"))]), 40, "Unknown topic config name: x"),
        (
            with("c", &[("retention.ms", None)]),
            40,
            "Null value not supported for topic configs: retention.ms",
        ),
        (
            with("c", &[("retention.ms", Some("-3"))]),
            40,
            "Invalid value -3 for configuration retention.ms: Value must be at least -1",
        ),
        (
            NewTopic { replication_factor: Some(2), ..with("c", &[("bad", Some("1"))]) },
            40,
            "Unknown topic config name: bad",
        ),
    ]
}

#[test]
fn a_topic_that_cannot_be_created_is_refused_in_kafkas_words() {
    let mut node = TestNode::started();
    node.create("a", 2, &[]);
    node.create("x.y", 1, &[]);
    let cases = [refused_by_name_or_number(), refused_by_assignment(), refused_by_setting()];
    for (topic, code, message) in cases.into_iter().flatten() {
        assert_eq!(refusal(&node, topic), (code, message.to_owned()));
    }
}

#[test]
fn a_created_topic_is_in_the_image_with_its_settings() {
    let mut node = TestNode::started();
    node.create("a", 2, &[("retention.ms", "5000")]);
    let topic = node.image().topics().get("a").unwrap().clone();
    assert_eq!(topic.partitions.len(), 2);
    let partition = &topic.partitions[&PartitionId(1)];
    assert_eq!((partition.leader, partition.leader_epoch.0), (Some(NODE), 0));
    assert_eq!(partition.directory(NODE), Some(DIRECTORY));
    assert_eq!(*node.image().configs().topic("a"), properties(&[("retention.ms", "5000")]));
    assert_eq!(node.image().topics().by_id(topic.id).unwrap().name.as_str(), "a");
}

#[test]
fn numbers_that_are_not_given_are_the_brokers_defaults() {
    let mut node = TestNode::started();
    node.layers.fixed = properties(&[("num.partitions", "3")]);
    let mut new_id = node.new_id();
    let topics = [new("a", None, None), assigned("b", &[(0, &[1]), (1, &[1])])];
    let decision = create_topics(node.image(), node.node(), &topics, true, &mut new_id);
    let counts: Vec<_> =
        decision.results.iter().map(|(_, created)| created.as_ref().unwrap().partitions).collect();
    assert_eq!(counts, [3, 2]);
    assert_eq!(decision.records, [], "it was only asked whether it would work");
}

#[test]
fn a_name_that_is_asked_for_twice_is_refused_once_and_the_others_go_on() {
    let mut node = TestNode::started();
    let mut new_id = node.new_id();
    let topics = [new("c", Some(1), None), new("c", Some(1), None), new("d", Some(1), None)];
    let decision = create_topics(node.image(), node.node(), &topics, false, &mut new_id);
    let results: Vec<_> = decision
        .results
        .iter()
        .map(|(name, result)| (name.as_str(), result.as_ref().map_err(|f| f.message.as_deref())))
        .map(|(name, result)| (name, result.err().flatten()))
        .collect();
    assert_eq!(results, [("c", Some("Duplicate topic name.")), ("d", None)]);
    node.commit(&decision.records);
    assert_eq!(node.image().topics().len(), 1);
}

/// Apache Kafka answers that it has created them.
#[test]
fn no_more_partitions_are_created_than_files_may_be_open() {
    let mut node = TestNode::started();
    node.create("a", 3, &[]);
    let few = Node { partitions_max: 5, ..node.node() };
    let refused = |partitions| {
        let message = format!(
            "That would make {partitions} partitions, and the limit of open files allows 5: raise it (ulimit -n), or have fewer partitions."
        );
        Err((44, message))
    };
    let mut new_id = node.new_id();
    let topics = [new("b", Some(1), None), new("c", Some(2), None), new("d", Some(1), None)];
    let decision = create_topics(node.image(), few, &topics, false, &mut new_id);
    let results: Vec<_> =
        decision.results.into_iter().map(|(_, result)| result.map(drop).map_err(shown)).collect();
    assert_eq!(results, [Ok(()), refused(6), Ok(())]);
    let add = |count| {
        let request = NewPartitions { topic: "a".into(), count, assignments: None };
        create_partitions(node.image(), few, &[request], false).results.remove(0).1.map_err(shown)
    };
    assert_eq!([add(5), add(6)], [Ok(()), refused(6)]);
}

#[test]
fn partitions_can_only_be_added() {
    let mut node = TestNode::started();
    node.create("a", 3, &[]);
    let request = |topic: &str, count, assignments: Option<&[&[i32]]>| {
        let replicas = |ids: &&[i32]| ids.iter().copied().map(BrokerId).collect();
        let assignments = assignments.map(|lists| lists.iter().map(replicas).collect());
        NewPartitions { topic: topic.into(), count, assignments }
    };
    let cases: Vec<(NewPartitions, i16, &str)> = vec![
        (request("nope", 3, None), 3, ""),
        (request("a", 3, None), 37, "Topic already has 3 partition(s)."),
        (request("a", 2, None), 37, "The topic a currently has 3 partition(s); 2 would not be an increase."),
        (
            request("a", -1, None),
            37,
            "The topic a currently has 3 partition(s); -1 would not be an increase.",
        ),
        (
            request("a", 4, Some(&[])),
            39,
            "Attempted to add 1 additional partition(s), but only 0 assignment(s) were specified.",
        ),
        (
            request("a", 4, Some(&[&[1], &[1]])),
            39,
            "Attempted to add 1 additional partition(s), but only 2 assignment(s) were specified.",
        ),
        (
            request("a", 4, Some(&[&[5]])),
            39,
            "The manual partition assignment includes broker 5, but no such broker is registered.",
        ),
        (
            request("a", 4, Some(&[&[]])),
            39,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            request("a", 4, Some(&[&[1, 1]])),
            39,
            "The manual partition assignment includes the broker 1 more than once.",
        ),
        (request("a", i32::MAX, None), 44, "Excessively large number of partitions per request."),
    ];
    for (request, code, message) in cases {
        let decision = create_partitions(node.image(), node.node(), &[request], false);
        let failure = decision.results[0].1.clone().unwrap_err();
        assert_eq!(shown(failure), (code, message.to_owned()));
    }
    let twice = [request("a", 5, None), request("a", 6, None)];
    let decision = create_partitions(node.image(), node.node(), &twice, false);
    assert_eq!(decision.results.len(), 1);
    assert_eq!(decision.results[0].1.clone().map_err(shown), Err((42, "Duplicate topic name.".into())));
    let decision = create_partitions(node.image(), node.node(), &[request("a", 5, None)], false);
    node.commit(&decision.records);
    assert_eq!(node.image().topics().get("a").unwrap().partitions.len(), 5);
}

#[test]
fn topics_are_deleted_by_name_or_by_id_with_their_settings() {
    let mut node = TestNode::started();
    node.create("a", 1, &[("retention.ms", "5000")]);
    node.create("b", 1, &[]);
    let id = node.image().topics().get("b").unwrap().id;
    let name = |name: &str| TopicRef { name: Some(name.into()), id: None };
    let requests = [
        name("nope"),
        TopicRef { name: None, id: Some(Uuid(0x7d)) },
        TopicRef::default(),
        TopicRef { name: Some("a".into()), id: Some(Uuid(0x7d)) },
    ];
    let decision = delete_topics(node.image(), &requests);
    let answers: Vec<_> =
        decision.results.into_iter().map(|answer| shown(answer.result.unwrap_err())).collect();
    let expected = [
        (3, "This server does not host this topic-partition."),
        (100, "This server does not host this topic ID."),
        (42, "Neither topic name nor id were specified."),
        (42, "You may not specify both topic name and topic id."),
    ];
    assert_eq!(answers, expected.map(|(code, message)| (code, message.to_owned())));
    let decision = delete_topics(node.image(), &[name("a"), name("a")]);
    assert_eq!(decision.results.len(), 1);
    let failure = decision.results[0].result.clone().unwrap_err();
    assert_eq!(shown(failure), (42, "Duplicate topic name.".into()));
    let decision = delete_topics(node.image(), &[name("a"), TopicRef { name: None, id: Some(id) }]);
    assert_eq!(decision.results[1].name.as_deref(), Some("b"));
    node.commit(&decision.records);
    assert!(node.image().topics().is_empty());
    assert_eq!(node.image().configs().resources().count(), 0);
}

#[test]
fn a_topic_that_is_created_again_is_another_topic() {
    let mut node = TestNode::started();
    node.create("a", 1, &[]);
    let first = node.image().topics().get("a").unwrap().id;
    let decision = delete_topics(node.image(), &[TopicRef { name: Some("a".into()), id: None }]);
    node.commit(&decision.records);
    node.create("a", 1, &[]);
    assert_ne!(node.image().topics().get("a").unwrap().id, first);
    assert!(node.image().topics().by_id(first).is_none());
}

#[test]
fn there_is_never_a_leader_to_elect() {
    let mut node = TestNode::started();
    node.create("a", 1, &[]);
    let asked = [("a".to_owned(), vec![0, 9]), ("nope".to_owned(), vec![0])];
    let answers: Vec<_> = elect_leaders(node.image(), Some(&asked))
        .into_iter()
        .flat_map(|(_, results)| results.into_iter().map(|(_, failure)| shown(failure)))
        .collect();
    let expected = [
        (84, "Leader election not needed for topic partition."),
        (3, "No such partition as a-9"),
        (3, "No such topic as nope"),
    ];
    assert_eq!(answers, expected.map(|(code, message)| (code, message.to_owned())));
    assert_eq!(elect_leaders(node.image(), None), [("a".to_owned(), Vec::new())]);
    let failure = Election::from_code(5).unwrap_err();
    assert_eq!(
        (failure.code, failure.message.as_deref()),
        (ErrorCode::InvalidRequest, Some("Unknown election type 5"))
    );
}
