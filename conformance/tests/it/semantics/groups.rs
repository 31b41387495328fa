//! Classic groups: joining, voting, fencing, timeouts, offsets.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use millstream_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, SyncGroupRequest, SyncGroupResponse,
    describe_groups_response::DescribedGroup, join_group_request::JoinGroupRequestProtocol,
    leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment,
};
use millstream_record::{internal::encode_versioned, messages::ConsumerProtocolSubscription};
use millstream_testkit::{Running, wait_until};
use millstream_types::ErrorCode;

use crate::{
    session::{Session, code},
    shared::shared,
};

/// Sessions may be short here, so that members can be seen to expire.
pub(super) fn group_broker() -> Arc<Running> {
    shared(&[("group.min.session.timeout.ms", "50"), ("group.initial.rebalance.delay.ms", "0")])
}

/// One member on a connection of its own, for a joining member waits for the others.
pub(crate) struct Member {
    pub(crate) session: Session,
    pub(super) join: JoinGroupRequest,
    pub(super) generation: i32,
}

impl Member {
    pub(crate) fn new(target: &Running, group: &str) -> Self {
        let mut session = Session::open(target);
        find_coordinator(&mut session, group);
        let join = JoinGroupRequest {
            group_id: group.to_owned(),
            session_timeout_ms: 30_000,
            rebalance_timeout_ms: 30_000,
            protocol_type: "consumer".to_owned(),
            ..Default::default()
        };
        Self { session, join, generation: -1 }.protocols(&["range"])
    }

    pub(super) fn protocols(mut self, names: &[&str]) -> Self {
        let protocol = |name: &&str| JoinGroupRequestProtocol {
            name: (*name).to_owned(),
            metadata: subscription(&[], name),
            ..Default::default()
        };
        self.join.protocols = names.iter().map(protocol).collect();
        self
    }

    fn instance(mut self, id: &str) -> Self {
        self.join.group_instance_id = Some(id.to_owned());
        self
    }

    fn timeouts(mut self, session_ms: i32, rebalance_ms: i32) -> Self {
        (self.join.session_timeout_ms, self.join.rebalance_timeout_ms) = (session_ms, rebalance_ms);
        self
    }

    /// Asks to join without waiting for the answer. A member without an id first asks for one.
    pub(super) fn begin_join(&mut self) {
        if self.join.member_id.is_empty() && self.join.group_instance_id.is_none() {
            let refused = self.session.call(9, &self.join);
            assert_eq!(code(refused.error_code), ErrorCode::MemberIdRequired, "{refused:?}");
            self.join.member_id = refused.member_id;
        }
        self.session.0.send(9, &self.join).unwrap();
    }

    pub(super) fn end_join(&mut self) -> JoinGroupResponse {
        let response = self.session.0.receive::<JoinGroupRequest>(9).unwrap().1;
        if response.error_code == 0 {
            self.join.member_id.clone_from(&response.member_id);
            self.generation = response.generation_id;
        }
        response
    }

    /// Joins, which must go well.
    pub(super) fn joined(&mut self) -> JoinGroupResponse {
        self.begin_join();
        let response = self.end_join();
        assert_eq!(code(response.error_code), ErrorCode::None, "{response:?}");
        response
    }

    fn begin_sync(&mut self, assignments: &[(&str, &'static [u8])]) {
        let assignment = |(id, bytes): &(&str, &'static [u8])| SyncGroupRequestAssignment {
            member_id: (*id).to_owned(),
            assignment: Bytes::from_static(bytes),
            ..Default::default()
        };
        let request = SyncGroupRequest {
            group_id: self.join.group_id.clone(),
            generation_id: self.generation,
            member_id: self.join.member_id.clone(),
            group_instance_id: self.join.group_instance_id.clone(),
            protocol_type: Some(self.join.protocol_type.clone()),
            protocol_name: Some(self.join.protocols[0].name.clone()),
            assignments: assignments.iter().map(assignment).collect(),
            ..Default::default()
        };
        self.session.0.send(5, &request).unwrap();
    }

    fn end_sync(&mut self) -> SyncGroupResponse {
        self.session.0.receive::<SyncGroupRequest>(5).unwrap().1
    }

    pub(super) fn sync(&mut self, assignments: &[(&str, &'static [u8])]) -> SyncGroupResponse {
        self.begin_sync(assignments);
        self.end_sync()
    }

    /// Joins and syncs alone in its group.
    pub(crate) fn settle(&mut self) {
        self.joined();
        let id = self.join.member_id.clone();
        let synced = self.sync(&[(&id, b"everything")]);
        assert_eq!((code(synced.error_code), &synced.assignment[..]), (ErrorCode::None, &b"everything"[..]));
    }

    pub(crate) fn heartbeat(&mut self) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: self.join.group_id.clone(),
            generation_id: self.generation,
            member_id: self.join.member_id.clone(),
            group_instance_id: self.join.group_instance_id.clone(),
            ..Default::default()
        };
        code(self.session.call(4, &request).error_code)
    }

    /// Waits until the coordinator answers a heartbeat with this.
    fn until_heartbeat_says(&mut self, expected: ErrorCode) {
        let what = format!("a heartbeat to be answered with {expected}");
        wait_until(&what, Duration::from_secs(20), || Ok((self.heartbeat() == expected).then_some(())))
            .unwrap();
    }

    fn leave(&mut self) -> ErrorCode {
        let member = MemberIdentity { member_id: self.join.member_id.clone(), ..Default::default() };
        let request = LeaveGroupRequest {
            group_id: self.join.group_id.clone(),
            members: vec![member],
            ..Default::default()
        };
        let response = self.session.call(5, &request);
        assert_eq!(code(response.error_code), ErrorCode::None);
        code(response.members[0].error_code)
    }
}

/// As a consumer says what it subscribes to (`ConsumerProtocolSubscription`, version 0).
pub(super) fn subscription(topics: &[&str], user_data: &str) -> Bytes {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(|t| (*t).to_owned()).collect(),
        user_data: Some(Bytes::copy_from_slice(user_data.as_bytes())),
        ..Default::default()
    };
    encode_versioned(&subscription, 0).unwrap()
}

/// Waits until the group's coordinator serves: at first use Kafka creates the offsets topic.
pub(crate) fn find_coordinator(session: &mut Session, group: &str) {
    let request = FindCoordinatorRequest { coordinator_keys: vec![group.to_owned()], ..Default::default() };
    wait_until("a coordinator", Duration::from_secs(30), || {
        let found = session.call(4, &request).coordinators.remove(0).error_code == 0;
        // It may be found before it knows that it is the one, or has loaded its partition.
        Ok((found && describe(session, group).error_code == 0).then_some(()))
    })
    .unwrap();
}

fn describe(session: &mut Session, group: &str) -> DescribedGroup {
    session
        .call(5, &DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() })
        .groups
        .remove(0)
}

#[test]
fn the_coordinator_is_a_broker_that_metadata_names() {
    let target = group_broker();
    let mut session = Session::open(&target);
    find_coordinator(&mut session, "groups-find");
    let request =
        FindCoordinatorRequest { coordinator_keys: vec!["groups-find".to_owned()], ..Default::default() };
    let found = session.call(4, &request).coordinators.remove(0);
    let metadata = session.metadata(None, false);
    let broker = metadata.brokers.iter().find(|b| b.node_id == found.node_id).unwrap();
    assert_eq!((&broker.host, broker.port), (&found.host, found.port));
    assert_eq!(format!("{}:{}", found.host, found.port), target.bootstrap());
    let single = FindCoordinatorRequest { key: "groups-find".to_owned(), ..Default::default() };
    assert_eq!(session.call(2, &single).node_id, found.node_id);
    let share =
        FindCoordinatorRequest { key_type: 9, coordinator_keys: vec!["x".to_owned()], ..Default::default() };
    assert_eq!(code(session.call(4, &share).coordinators[0].error_code), ErrorCode::InvalidRequest);
}

#[test]
fn a_new_member_must_first_take_an_id_from_version_4_on() {
    let target = group_broker();
    let mut member = Member::new(&target, "groups-id");
    let refused = member.session.call(4, &member.join);
    assert_eq!(code(refused.error_code), ErrorCode::MemberIdRequired);
    assert!(refused.member_id.starts_with("testkit-"), "{} begins with the client id", refused.member_id);
    let mut old = Member::new(&target, "groups-id-old");
    let response = old.session.call(3, &old.join);
    assert_eq!((code(response.error_code), response.generation_id), (ErrorCode::None, 1));
    assert_eq!(response.leader, response.member_id);
    let mut invented = Member::new(&target, "groups-id");
    invented.join.member_id = "invented".to_owned();
    assert_eq!(code(invented.session.call(5, &invented.join).error_code), ErrorCode::UnknownMemberId);
}

#[test]
fn the_oldest_versions_of_joining_and_syncing_still_work() {
    let target = group_broker();
    for version in 0..3 {
        let mut member = Member::new(&target, &format!("groups-version-{version}"));
        let joined = member.session.call(version, &member.join);
        assert_eq!((code(joined.error_code), joined.generation_id), (ErrorCode::None, 1));
        let assignment = SyncGroupRequestAssignment {
            member_id: joined.member_id.clone(),
            assignment: Bytes::from_static(b"everything"),
            ..Default::default()
        };
        let request = SyncGroupRequest {
            group_id: member.join.group_id.clone(),
            generation_id: 1,
            member_id: joined.member_id,
            assignments: vec![assignment],
            ..Default::default()
        };
        let synced = member.session.call(version.min(1), &request);
        assert_eq!((code(synced.error_code), &synced.assignment[..]), (ErrorCode::None, &b"everything"[..]));
    }
}

#[test]
fn requests_that_no_group_can_serve_are_refused() {
    let target = group_broker();
    let mut member = Member::new(&target, "groups-refused");
    let mut ask = |change: &dyn Fn(&mut JoinGroupRequest)| {
        let mut request = member.join.clone();
        change(&mut request);
        code(member.session.call(5, &request).error_code)
    };
    assert_eq!(ask(&|r| r.group_id.clear()), ErrorCode::InvalidGroupId);
    assert_eq!(ask(&|r| r.session_timeout_ms = 49), ErrorCode::InvalidSessionTimeout);
    assert_eq!(ask(&|r| r.session_timeout_ms = 1_800_001), ErrorCode::InvalidSessionTimeout);
    assert_eq!(ask(&|r| r.protocols.clear()), ErrorCode::InconsistentGroupProtocol);
    assert_eq!(ask(&|r| r.protocol_type.clear()), ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn members_vote_for_a_protocol_that_all_support() {
    let target = group_broker();
    let mut first = Member::new(&target, "groups-vote").protocols(&["range", "sticky", "roundrobin"]);
    first.settle();
    let mut second = Member::new(&target, "groups-vote").protocols(&["roundrobin", "sticky"]);
    second.begin_join();
    first.until_heartbeat_says(ErrorCode::RebalanceInProgress);
    first.begin_join();
    let (led, followed) = (first.end_join(), second.end_join());
    // Each votes for its first choice among those that all support: sticky and roundrobin, one vote each.
    assert_eq!(led.protocol_name, followed.protocol_name);
    assert!(["sticky", "roundrobin"].contains(&led.protocol_name.as_deref().unwrap()));
    assert_eq!((led.generation_id, followed.generation_id), (2, 2));
    assert_eq!(led.leader, first.join.member_id);
    assert_eq!((led.members.len(), followed.members.len()), (2, 0), "the leader alone is told who is there");
    let expected = subscription(&[], &led.protocol_name.unwrap());
    assert!(led.members.iter().all(|m| m.metadata == expected));

    let mut third = Member::new(&target, "groups-vote").protocols(&["range"]);
    let refused = third.session.call(5, &third.join);
    assert_eq!(code(refused.error_code), ErrorCode::InconsistentGroupProtocol, "not all support range");
    third.join.protocol_type = "connect".to_owned();
    third = third.protocols(&["sticky"]);
    assert_eq!(code(third.session.call(5, &third.join).error_code), ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn the_leaders_assignment_reaches_everyone_and_an_absent_one_is_empty_bytes() {
    let target = group_broker();
    let mut leader = Member::new(&target, "groups-assign");
    leader.settle();
    let mut others = [Member::new(&target, "groups-assign"), Member::new(&target, "groups-assign")];
    others.iter_mut().for_each(Member::begin_join);
    leader.until_heartbeat_says(ErrorCode::RebalanceInProgress);
    // All are in before the leader comes back, for then the round closes.
    let mut observer = Session::open(&target);
    wait_until("two waiting members", Duration::from_secs(20), || {
        Ok((describe(&mut observer, "groups-assign").members.len() == 3).then_some(()))
    })
    .unwrap();
    leader.begin_join();
    assert_eq!(code(leader.end_join().error_code), ErrorCode::None);
    others.iter_mut().for_each(|m| assert_eq!(code(m.end_join().error_code), ErrorCode::None));
    others.iter_mut().for_each(|m| m.begin_sync(&[]));
    let ids = [leader.join.member_id.clone(), others[0].join.member_id.clone()];
    let led = leader.sync(&[(&ids[0], b"a"), (&ids[1], b"b")]);
    assert_eq!(&led.assignment[..], b"a");
    let followed = others.each_mut().map(|m| m.end_sync());
    assert_eq!((code(followed[0].error_code), &followed[0].assignment[..]), (ErrorCode::None, &b"b"[..]));
    assert_eq!((code(followed[1].error_code), &followed[1].assignment[..]), (ErrorCode::None, &b""[..]));
    let described = describe(&mut leader.session, "groups-assign");
    assert_eq!((described.group_state.as_str(), described.protocol_data.as_str()), ("Stable", "range"));
    assert_eq!(described.members.len(), 3);
}

#[test]
fn wrong_members_and_generations_are_fenced() {
    let target = group_broker();
    let mut member = Member::new(&target, "groups-fenced");
    member.settle();
    assert_eq!(member.heartbeat(), ErrorCode::None);
    member.generation += 1;
    assert_eq!(member.heartbeat(), ErrorCode::IllegalGeneration);
    assert_eq!(code(member.sync(&[]).error_code), ErrorCode::IllegalGeneration);
    member.generation -= 1;
    let own = std::mem::replace(&mut member.join.member_id, "somebody else".to_owned());
    assert_eq!(member.heartbeat(), ErrorCode::UnknownMemberId);
    assert_eq!(code(member.sync(&[]).error_code), ErrorCode::UnknownMemberId);
    assert_eq!(member.leave(), ErrorCode::UnknownMemberId);
    member.join.member_id = own;
    assert_eq!(member.leave(), ErrorCode::None);
    assert_eq!(member.heartbeat(), ErrorCode::UnknownMemberId);
    let mut stranger = Member::new(&target, "groups-never-seen");
    (stranger.join.member_id, stranger.generation) = ("x".to_owned(), 1);
    assert_eq!(stranger.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_silent_member_expires_and_the_last_one_leaves_the_group_empty() {
    let target = group_broker();
    let mut member = Member::new(&target, "groups-expiry").timeouts(100, 100);
    member.settle();
    let mut observer = Session::open(&target);
    wait_until("the group to be empty", Duration::from_secs(20), || {
        let found = describe(&mut observer, "groups-expiry");
        Ok((found.group_state == "Empty" && found.members.is_empty()).then_some(()))
    })
    .unwrap();
    assert_eq!(member.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_took_an_id_and_never_came_is_forgotten() {
    let target = group_broker();
    let mut ghost = Member::new(&target, "groups-pending").timeouts(100, 60_000);
    let refused = ghost.session.call(5, &ghost.join);
    assert_eq!(code(refused.error_code), ErrorCode::MemberIdRequired);
    let mut member = Member::new(&target, "groups-pending");
    // The rebalance does not wait for its sixty seconds.
    member.settle();
    ghost.join.member_id = refused.member_id;
    wait_until("the id to expire", Duration::from_secs(20), || {
        let mut probe = Member::new(&target, "groups-pending");
        probe.join.member_id.clone_from(&ghost.join.member_id);
        probe.generation = member.generation;
        Ok((probe.heartbeat() == ErrorCode::UnknownMemberId).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_member_that_joins_and_does_not_sync_is_removed() {
    let target = group_broker();
    let mut lazy = Member::new(&target, "groups-pending-sync").timeouts(60_000, 300);
    lazy.joined();
    let mut observer = Session::open(&target);
    wait_until("the lazy member to be gone", Duration::from_secs(20), || {
        Ok(describe(&mut observer, "groups-pending-sync").members.is_empty().then_some(()))
    })
    .unwrap();
    assert_eq!(lazy.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_does_not_rejoin_within_the_rebalance_timeout_is_removed() {
    let target = group_broker();
    let mut slow = Member::new(&target, "groups-rebalance").timeouts(60_000, 300);
    slow.settle();
    let mut eager = Member::new(&target, "groups-rebalance").timeouts(60_000, 300);
    let joined = eager.joined();
    assert_eq!((joined.members.len(), &joined.leader), (1, &eager.join.member_id));
    assert_eq!(slow.heartbeat(), ErrorCode::UnknownMemberId);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_former_self() {
    let target = group_broker();
    let mut first = Member::new(&target, "groups-static").instance("one");
    first.settle();
    let mut again = Member::new(&target, "groups-static").instance("one");
    let joined = again.joined();
    assert_eq!(joined.generation_id, first.generation, "no rebalance");
    assert_ne!(again.join.member_id, first.join.member_id);
    assert!(joined.skip_assignment, "the leader that came back need not assign anew");
    assert_eq!(joined.members.len(), 1);
    let synced = again.sync(&[]);
    assert_eq!(&synced.assignment[..], b"everything");
    assert_eq!(first.heartbeat(), ErrorCode::FencedInstanceId);
    assert_eq!(code(first.sync(&[]).error_code), ErrorCode::FencedInstanceId);
    assert_eq!(again.heartbeat(), ErrorCode::None);
    let by_instance = MemberIdentity { group_instance_id: Some("one".to_owned()), ..Default::default() };
    let stranger = MemberIdentity { group_instance_id: Some("two".to_owned()), ..Default::default() };
    let request = LeaveGroupRequest {
        group_id: "groups-static".to_owned(),
        members: vec![by_instance, stranger],
        ..Default::default()
    };
    let left = again.session.call(5, &request);
    let errors: Vec<_> = left.members.iter().map(|m| code(m.error_code)).collect();
    assert_eq!(errors, [ErrorCode::None, ErrorCode::UnknownMemberId]);
    assert_eq!(describe(&mut again.session, "groups-static").group_state, "Empty");
}

#[test]
fn groups_are_listed_by_state_and_type_and_described_when_unknown() {
    let target = group_broker();
    let mut member = Member::new(&target, "groups-list");
    member.settle();
    let mut listed = |states: &[&str], types: &[&str]| {
        let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let request =
            ListGroupsRequest { states_filter: own(states), types_filter: own(types), ..Default::default() };
        let groups = member.session.call(5, &request).groups;
        groups
            .into_iter()
            .find(|g| g.group_id == "groups-list")
            .map(|g| (g.group_state, g.group_type, g.protocol_type))
    };
    let expected = Some(("Stable".to_owned(), "classic".to_owned(), "consumer".to_owned()));
    assert_eq!(listed(&[], &[]), expected);
    assert_eq!(listed(&["stable"], &["Classic"]), expected);
    assert_eq!(listed(&["Empty"], &[]), None);
    assert_eq!(listed(&[], &["consumer"]), None);
    let unknown = describe(&mut member.session, "groups-unknown");
    assert_eq!((code(unknown.error_code), unknown.group_state.as_str()), (ErrorCode::None, "Dead"));
    let request = DescribeGroupsRequest { groups: vec!["groups-unknown".to_owned()], ..Default::default() };
    let newer = member.session.call(6, &request).groups.remove(0);
    assert_eq!((code(newer.error_code), newer.group_state.as_str()), (ErrorCode::GroupIdNotFound, "Dead"));
    assert_eq!(newer.error_message.as_deref(), Some("Group groups-unknown not found."));
}

#[test]
fn only_an_empty_group_can_be_deleted() {
    let target = group_broker();
    let mut member = Member::new(&target, "groups-delete");
    member.settle();
    let delete = |session: &mut Session| {
        let names = ["groups-delete", "groups-delete-unknown"].map(str::to_owned).to_vec();
        let results =
            session.call(2, &DeleteGroupsRequest { groups_names: names, ..Default::default() }).results;
        let of = |name: &str| code(results.iter().find(|r| r.group_id == name).unwrap().error_code);
        (of("groups-delete"), of("groups-delete-unknown"))
    };
    assert_eq!(delete(&mut member.session), (ErrorCode::NonEmptyGroup, ErrorCode::GroupIdNotFound));
    member.leave();
    assert_eq!(delete(&mut member.session), (ErrorCode::None, ErrorCode::GroupIdNotFound));
    assert_eq!(describe(&mut member.session, "groups-delete").group_state, "Dead");
}
