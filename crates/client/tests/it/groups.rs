//! Groups as an administrator sees them.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_client::{Client, CommittedOffset};
use millstream_protocol::messages::{
    FindCoordinatorRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
    sync_group_request::SyncGroupRequestAssignment,
};
use millstream_record::{
    internal::encode_versioned,
    messages::{
        ConsumerProtocolAssignment, ConsumerProtocolSubscription,
        consumer_protocol_assignment::TopicPartition as Assigned,
    },
};
use millstream_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicName};

use super::{client, fresh_name, fresh_topic, partition};

fn committed(offset: i64, metadata: &str) -> CommittedOffset {
    CommittedOffset {
        offset: Offset(offset),
        leader_epoch: Some(LeaderEpoch(0)),
        metadata: metadata.to_owned(),
    }
}

#[tokio::test]
async fn offsets_are_set_read_and_forgotten_without_a_member() {
    let client = client();
    let (admin, topic) = (client.admin(), fresh_topic(&client, "committed", 3).await);
    let group = fresh_name("group").to_string();
    let offsets = BTreeMap::from([
        (partition(&topic, 0), committed(5, "")),
        (partition(&topic, 2), committed(7, "note \u{1f600}")),
    ]);
    let set = admin.set_group_offsets(&group, &offsets).await.unwrap();
    assert!(set.len() == 2 && set.values().all(Result::is_ok), "{set:?}");
    assert_eq!(admin.group_offsets(&group).await.unwrap(), offsets);

    let listed = admin.list_groups().await.unwrap();
    let listed = listed.into_iter().find(|listing| listing.id == group).unwrap();
    assert_eq!((listed.state.as_deref(), listed.group_type.as_deref()), (Some("Empty"), Some("classic")));
    let described = admin.describe_group(&group).await.unwrap();
    assert_eq!((described.state.as_str(), described.members.len()), ("Empty", 0));

    let forgotten = admin.delete_group_offsets(&group, &[partition(&topic, 0)]).await.unwrap();
    assert_eq!(forgotten[&partition(&topic, 0)], Ok(()));
    assert_eq!(
        admin.group_offsets(&group).await.unwrap().keys().collect::<Vec<_>>(),
        [&partition(&topic, 2)]
    );
    admin.delete_group(&group).await.unwrap();
    assert!(admin.group_offsets(&group).await.unwrap().is_empty());
    assert_eq!(admin.delete_group(&group).await.unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));
    assert_eq!(admin.describe_group(&group).await.unwrap_err().code(), Some(ErrorCode::GroupIdNotFound));
}

#[tokio::test]
async fn offsets_for_a_topic_that_does_not_exist_are_refused() {
    let admin = client().admin();
    let nowhere = partition(&fresh_name("nowhere"), 0);
    let offsets = BTreeMap::from([(nowhere.clone(), committed(1, ""))]);
    let set = admin.set_group_offsets(fresh_name("group").as_str(), &offsets).await.unwrap();
    assert_eq!(set[&nowhere].clone().unwrap_err().code(), Some(ErrorCode::UnknownTopicOrPartition));
}

#[tokio::test]
async fn members_and_their_partitions_are_described_and_protect_the_offsets() {
    let client = client();
    let (admin, topic) = (client.admin(), fresh_topic(&client, "members", 2).await);
    let group = fresh_name("group").to_string();
    let member = join(&client, &group, &topic).await;

    let described = admin.describe_group(&group).await.unwrap();
    assert_eq!((described.state.as_str(), described.group_type), ("Stable", "classic"));
    assert_eq!((described.protocol_type.as_str(), described.assignor.as_str()), ("consumer", "range"));
    assert_eq!(described.members[0].id, member);
    assert_eq!(described.members[0].client_id, "millstream");
    assert_eq!(described.members[0].assignment, [partition(&topic, 0), partition(&topic, 1)]);

    assert_eq!(admin.delete_group(&group).await.unwrap_err().code(), Some(ErrorCode::NonEmptyGroup));
    let offsets = BTreeMap::from([(partition(&topic, 0), committed(1, ""))]);
    let set = admin.set_group_offsets(&group, &offsets).await.unwrap();
    assert_eq!(set[&partition(&topic, 0)].clone().unwrap_err().code(), Some(ErrorCode::UnknownMemberId));

    leave(&client, &group, member).await;
    admin.delete_group(&group).await.unwrap();
}

async fn coordinator(client: &Client, group: &str) -> millstream_client::Connection {
    let request = FindCoordinatorRequest { coordinator_keys: vec![group.to_owned()], ..Default::default() };
    let any = client.any_broker().await.unwrap();
    for _ in 0..100 {
        let found = any.call(&request).await.unwrap().coordinators.remove(0);
        if found.error_code == 0 {
            client.topic(&TopicName::from_static("__consumer_offsets")).await.unwrap();
            return client.broker(BrokerId(found.node_id)).await.unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no coordinator for {group}");
}

/// The only member of a classic group, which gives itself both partitions.
async fn join(client: &Client, group: &str, topic: &TopicName) -> String {
    let connection = coordinator(client, group).await;
    let subscription = ConsumerProtocolSubscription { topics: vec![topic.to_string()], ..Default::default() };
    let mut request = JoinGroupRequest {
        group_id: group.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".to_owned(),
            metadata: encode_versioned(&subscription, 1).unwrap(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut joined = connection.call(&request).await.unwrap();
    while joined.error_code != 0 {
        request.member_id = joined.member_id;
        joined = connection.call(&request).await.unwrap();
    }
    let assigned = Assigned { topic: topic.to_string(), partitions: vec![0, 1] };
    let assignment = ConsumerProtocolAssignment { assigned_partitions: vec![assigned], user_data: None };
    let assignment: Bytes = encode_versioned(&assignment, 1).unwrap();
    let sync = SyncGroupRequest {
        group_id: group.to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some("consumer".to_owned()),
        protocol_name: Some("range".to_owned()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment,
            ..Default::default()
        }],
        ..Default::default()
    };
    assert_eq!(connection.call(&sync).await.unwrap().error_code, 0);
    joined.member_id
}

async fn leave(client: &Client, group: &str, member_id: String) {
    let request = LeaveGroupRequest {
        group_id: group.to_owned(),
        members: vec![MemberIdentity { member_id, ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(coordinator(client, group).await.call(&request).await.unwrap().error_code, 0);
}
