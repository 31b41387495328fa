//! Topics, configuration, the cluster.

use std::collections::BTreeMap;

use millstream_client::{ConfigChange, ConfigResource, ConfigSource, NewTopic};
use millstream_types::{BrokerId, ErrorCode, PartitionId, TopicName};

use super::{client, eventually, fresh_name, fresh_topic, partition};

#[tokio::test]
async fn a_topic_is_made_found_enlarged_and_removed() {
    let (client, name) = (client(), fresh_name("life"));
    let admin = client.admin();
    let configs = BTreeMap::from([("retention.ms".to_owned(), "60000".to_owned())]);
    let topic = NewTopic {
        name: name.to_string(),
        partitions: Some(2),
        replication_factor: Some(1),
        configs,
        ..NewTopic::default()
    };

    let dry = admin.create_topics(std::slice::from_ref(&topic), true).await.unwrap();
    assert!(dry[name.as_str()].is_ok());
    assert!(admin.list_topics().await.unwrap().iter().all(|topic| topic.name != name));

    let created = admin.create_topics(std::slice::from_ref(&topic), false).await.unwrap();
    let created = created[name.as_str()].clone().unwrap();
    assert_eq!((created.partitions, created.replication_factor), (Some(2), Some(1)));
    let known = client.topic(&name).await.unwrap();
    assert_eq!((known.id, known.partitions.len(), known.is_internal), (created.id, 2, false));
    assert!(created.id.is_some());

    let again = admin.create_topics(&[topic], false).await.unwrap();
    assert_eq!(again[name.as_str()].clone().unwrap_err().code(), Some(ErrorCode::TopicAlreadyExists));

    admin.create_partitions(&name, 5, false).await.unwrap();
    let fewer = admin.create_partitions(&name, 1, false).await.unwrap_err();
    assert_eq!(fewer.code(), Some(ErrorCode::InvalidPartitions));
    let described = async || {
        let mut described = admin.describe_topics(std::slice::from_ref(&name)).await.unwrap();
        described.remove(&name).unwrap()
    };
    let enlarged =
        eventually(described, |topic| topic.as_ref().is_ok_and(|topic| topic.partitions.len() == 5)).await;
    assert!(enlarged.is_ok());

    assert!(admin.delete_topics(std::slice::from_ref(&name)).await.unwrap()[name.as_str()].is_ok());
    let gone = admin.delete_topics(std::slice::from_ref(&name)).await.unwrap();
    assert_eq!(gone[name.as_str()].clone().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
    let gone = eventually(described, Result::is_err).await;
    assert_eq!(gone.unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn what_cannot_be_made_is_refused_with_the_brokers_reason() {
    let admin = client().admin();
    let refused = async |topic: NewTopic| {
        let name = topic.name.clone();
        admin.create_topics(&[topic], false).await.unwrap().remove(&name).unwrap().unwrap_err()
    };
    let new = |name: &str| NewTopic { name: name.to_owned(), ..NewTopic::default() };
    let named = refused(new("no spaces")).await;
    assert_eq!(named.code(), Some(ErrorCode::InvalidTopicException));
    assert!(named.to_string().contains("no spaces"), "{named}");
    let none = NewTopic { partitions: Some(0), ..new("none") };
    assert_eq!(refused(none).await.code(), Some(ErrorCode::InvalidPartitions));
    let many = NewTopic { replication_factor: Some(99), ..new("many") };
    assert_eq!(refused(many).await.code(), Some(ErrorCode::InvalidReplicationFactor));
    let configs = BTreeMap::from([("no.such.key".to_owned(), "1".to_owned())]);
    let strange = NewTopic { configs, ..new("strange") };
    assert_eq!(refused(strange).await.code(), Some(ErrorCode::InvalidConfig));
    let assignments = BTreeMap::from([(PartitionId(0), vec![BrokerId(77)])]);
    let elsewhere = NewTopic { assignments, ..new("elsewhere") };
    assert_eq!(refused(elsewhere).await.code(), Some(ErrorCode::InvalidReplicaAssignment));
}

#[tokio::test]
async fn a_topics_key_is_changed_and_reset() {
    let client = client();
    let (admin, name) = (client.admin(), fresh_topic(&client, "configs", 1).await);
    let resource = ConfigResource::Topic(name);
    let retention = async || {
        let entries = admin.describe_configs(&resource).await.unwrap();
        entries.into_iter().find(|entry| entry.name == "retention.ms").unwrap()
    };
    assert_eq!(retention().await.source, ConfigSource::Default);
    let set = [("retention.ms".to_owned(), ConfigChange::Set("1234".to_owned()))];
    admin.alter_configs(&resource, &set, true).await.unwrap();
    assert_eq!(retention().await.source, ConfigSource::Default);
    admin.alter_configs(&resource, &set, false).await.unwrap();
    let changed = eventually(retention, |entry| entry.source == ConfigSource::Topic).await;
    assert_eq!((changed.value.as_deref(), changed.source), (Some("1234"), ConfigSource::Topic));
    assert_eq!(changed.synonyms[0].source, ConfigSource::Topic);
    admin
        .alter_configs(&resource, &[("retention.ms".to_owned(), ConfigChange::Delete)], false)
        .await
        .unwrap();
    eventually(retention, |entry| entry.source == ConfigSource::Default).await;

    admin.alter_configs(&resource, &set, false).await.unwrap();
    eventually(retention, |entry| entry.source == ConfigSource::Topic).await;
    let other = BTreeMap::from([("segment.ms".to_owned(), "5678".to_owned())]);
    admin.replace_configs(&resource, &other, false).await.unwrap();
    eventually(retention, |entry| entry.source == ConfigSource::Default).await;

    let wrong = [("retention.ms".to_owned(), ConfigChange::Set("soon".to_owned()))];
    assert_eq!(
        admin.alter_configs(&resource, &wrong, false).await.unwrap_err().code(),
        Some(ErrorCode::InvalidConfig)
    );
    let nobody = ConfigResource::Topic(TopicName::from_static("nobody"));
    let unknown = admin.describe_configs(&nobody).await.unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn the_cluster_its_brokers_and_their_directories_are_described() {
    let client = client();
    let (admin, name) = (client.admin(), fresh_topic(&client, "dirs", 2).await);
    let cluster = admin.describe_cluster().await.unwrap();
    assert!(!cluster.cluster_id.is_empty());
    let brokers: Vec<BrokerId> = cluster.brokers.iter().map(|broker| broker.id).collect();
    assert!(cluster.controller.is_some_and(|controller| brokers.contains(&controller)));

    let dirs = eventually(
        async || admin.describe_log_dirs().await.unwrap(),
        |dirs| {
            let replicas: Vec<_> = dirs.values().flatten().flat_map(|dir| dir.replicas.keys()).collect();
            [0, 1].iter().all(|index| replicas.contains(&&partition(&name, *index)))
        },
    )
    .await;
    assert_eq!(dirs.keys().copied().collect::<Vec<_>>(), brokers);
    assert!(dirs.values().flatten().all(|dir| dir.error.is_none() && dir.total_bytes > Some(0)));

    let broker = admin.describe_configs(&ConfigResource::Broker(brokers[0])).await.unwrap();
    assert!(broker.iter().any(|entry| entry.name == "node.id" && entry.is_read_only));
}

#[tokio::test]
async fn partitions_are_described_in_pages_as_in_one() {
    let client = client();
    let name = fresh_topic(&client, "pages", 5).await;
    let admin = client.admin();
    let whole = admin.describe_topic_partitions(std::slice::from_ref(&name), 2000).await.unwrap();
    let whole = whole[&name].clone().unwrap();
    assert_eq!(whole.topic.partitions.len(), 5);
    let paged = admin.describe_topic_partitions(std::slice::from_ref(&name), 2).await.unwrap();
    assert_eq!(paged[&name].clone().unwrap(), whole);
    let missing = fresh_name("missing");
    let described = admin.describe_topic_partitions(std::slice::from_ref(&missing), 10).await.unwrap();
    assert_eq!(described[&missing].clone().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn a_broker_tells_its_versions_features_and_quorum() {
    let admin = client().admin();
    let brokers = admin.describe_brokers(true).await.unwrap();
    assert!(!brokers.is_empty() && brokers.iter().all(|one| !one.is_fenced));
    let apis = admin.api_versions(brokers[0].broker.id).await.unwrap();
    let produce = apis.iter().find(|api| api.key == 0).unwrap();
    assert_eq!((produce.name, produce.broker.map(|range| range.0)), (Some("Produce"), Some(0)));
    let features = admin.describe_features(None).await.unwrap();
    assert!(features.features["metadata.version"].finalized.is_some_and(|level| level >= 7));
    let quorum = admin.describe_quorum().await.unwrap();
    assert!(quorum.voters.iter().any(|voter| Some(voter.id) == quorum.leader));
    let unknown = admin.unregister_broker(BrokerId(4711)).await.unwrap_err();
    assert!(
        unknown.code().is_some() || matches!(unknown, millstream_client::Error::UnsupportedApi { .. }),
        "{unknown}"
    );
}
