//! The membership step by step, with the answers that brokers give.

use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream_types::{BrokerId, ErrorCode, GenerationId};

use super::{
    Assignment, Generation, GroupConfig, GroupEvent, GroupProtocol,
    membership::{Answer, Dispatch, Joined, Membership, Request, RequestId},
};
use crate::Error;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    membership: Membership,
    now: Instant,
}

fn kafka(code: ErrorCode) -> Error {
    Error::kafka(code, "group g", None)
}

fn gone() -> Error {
    Error::Disconnected { address: "b".to_owned(), reason: "gone".to_owned() }
}

fn protocols() -> Vec<GroupProtocol> {
    vec![GroupProtocol { name: "p".to_owned(), metadata: Bytes::from_static(b"m") }]
}

fn joined(generation: i32, leader: &str) -> Answer {
    Answer::Joined(Joined {
        generation: GenerationId(generation),
        protocol_type: Some("test".to_owned()),
        protocol: "p".to_owned(),
        leader: leader.to_owned(),
        member_id: "me".to_owned(),
        skip_assignment: false,
        members: Vec::new(),
    })
}

fn synced(assignment: &'static [u8]) -> Answer {
    let (protocol_type, protocol) = (Some("test".to_owned()), Some("p".to_owned()));
    Answer::Synced { protocol_type, protocol, assignment: Bytes::from_static(assignment) }
}

impl Bench {
    fn new(change: impl FnOnce(&mut GroupConfig)) -> Self {
        let now = Instant::now();
        let mut config = GroupConfig {
            group_id: "g".to_owned(),
            group_instance_id: None,
            protocol_type: "test".to_owned(),
            session_timeout: 45 * SECOND,
            heartbeat_interval: 3 * SECOND,
            rebalance_timeout: 300 * SECOND,
            max_poll_interval: Some(300 * SECOND),
        };
        change(&mut config);
        let mut membership = Membership::new(config, (SECOND / 10, SECOND), now);
        membership.enter(now);
        Self { membership, now }
    }

    /// The one request that is sent now.
    fn sent(&mut self) -> Dispatch {
        let mut sent = self.membership.advance(self.now);
        assert_eq!(sent.len(), 1, "{sent:?} {:?}", self.membership);
        sent.remove(0)
    }

    fn sends_nothing(&mut self) {
        assert_eq!(self.membership.advance(self.now), []);
    }

    fn answer(&mut self, id: RequestId, answer: Result<Answer, Error>) {
        self.membership.answer(self.now, id, answer);
    }

    fn find(&mut self) {
        let find = self.sent();
        assert_eq!((find.coordinator, &find.request), (None, &Request::FindCoordinator));
        self.answer(find.id, Ok(Answer::Coordinator(BrokerId(1))));
    }

    fn prepare(&mut self, kept: bool) {
        assert_eq!(self.membership.demand(), Ok(Some(GroupEvent::Prepare { kept })));
        self.membership.prepared(protocols());
    }

    fn join(&mut self, generation: i32, leader: &str) {
        let join = self.sent();
        assert!(matches!(join.request, Request::Join { .. }), "{join:?}");
        self.answer(join.id, Ok(joined(generation, leader)));
    }

    fn sync(&mut self, assignment: &'static [u8]) {
        let sync = self.sent();
        assert!(matches!(sync.request, Request::Sync { .. }), "{sync:?}");
        self.answer(sync.id, Ok(synced(assignment)));
    }

    /// A follower with an assignment.
    fn stable(change: impl FnOnce(&mut GroupConfig)) -> Self {
        let mut bench = Self::new(change);
        bench.find();
        bench.prepare(false);
        bench.join(1, "other");
        bench.sync(b"a");
        bench.takes(1, b"a");
        bench
    }

    fn takes(&mut self, generation: i32, assignment: &'static [u8]) {
        let generation =
            Generation { id: GenerationId(generation), member_id: "me".to_owned(), protocol: "p".to_owned() };
        let assignment = Assignment { generation, assignment: Bytes::from_static(assignment) };
        assert_eq!(self.membership.demand(), Ok(Some(GroupEvent::Assigned(assignment))));
    }

    fn heartbeat(&mut self) -> RequestId {
        self.now += 3 * SECOND;
        let heartbeat = self.sent();
        assert!(matches!(heartbeat.request, Request::Heartbeat { .. }), "{heartbeat:?}");
        heartbeat.id
    }

    fn wanders(&mut self, code: ErrorCode) {
        let id = self.heartbeat();
        self.answer(id, Err(kafka(code)));
    }
}

#[test]
fn a_new_member_joins_twice_and_then_heartbeats() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.membership.demand(), Ok(None));
    bench.find();
    bench.prepare(false);
    let first = bench.sent();
    assert!(matches!(&first.request, Request::Join { member_id, .. } if member_id.is_empty()));
    bench.answer(first.id, Ok(Answer::MemberIdRequired("me".to_owned())));
    let second = bench.sent();
    assert!(matches!(&second.request, Request::Join { member_id, .. } if member_id == "me"));
    bench.answer(second.id, Ok(joined(1, "other")));
    bench.sync(b"a");
    bench.takes(1, b"a");
    bench.sends_nothing();
    let id = bench.heartbeat();
    bench.answer(id, Ok(Answer::Alive));
    bench.sends_nothing();
    assert_eq!(bench.membership.demand(), Ok(None));
}

#[test]
fn a_leader_shares_out_before_it_syncs() {
    let mut bench = Bench::new(|_| {});
    bench.find();
    bench.prepare(false);
    bench.join(1, "me");
    bench.sends_nothing();
    assert!(matches!(bench.membership.demand(), Ok(Some(GroupEvent::Elected(_)))));
    assert_eq!(bench.membership.demand(), Ok(None));
    // An owner that takes its time is alive all the while.
    let id = bench.heartbeat();
    bench.answer(id, Err(kafka(ErrorCode::RebalanceInProgress)));
    bench.membership.share_out(vec![("me".to_owned(), Bytes::from_static(b"a"))]);
    bench.sync(b"a");
    bench.takes(1, b"a");
    assert!(bench.membership.is_leader());
}

#[test]
fn a_rebalance_keeps_what_is_assigned_and_the_loss_of_the_generation_does_not() {
    let mut bench = Bench::stable(|_| {});
    bench.wanders(ErrorCode::RebalanceInProgress);
    bench.prepare(true);
    bench.join(2, "other");
    bench.sync(b"b");
    bench.takes(2, b"b");
    for code in [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration] {
        bench.wanders(code);
        assert_eq!(bench.membership.generation(), None);
        bench.prepare(false);
        let join = bench.sent();
        let expected = if code == ErrorCode::UnknownMemberId { "" } else { "me" };
        assert!(matches!(&join.request, Request::Join { member_id, .. } if member_id == expected));
        bench.answer(join.id, Ok(joined(3, "other")));
        bench.sync(b"c");
        bench.takes(3, b"c");
    }
}

#[test]
fn what_is_lost_while_the_owner_prepares_is_told_before_it_joins() {
    let mut bench = Bench::stable(|_| {});
    bench.wanders(ErrorCode::RebalanceInProgress);
    assert_eq!(bench.membership.demand(), Ok(Some(GroupEvent::Prepare { kept: true })));
    bench.wanders(ErrorCode::UnknownMemberId);
    bench.membership.prepared(protocols());
    bench.sends_nothing();
    bench.prepare(false);
}

#[test]
fn an_assignment_of_a_lost_generation_is_not_taken() {
    let mut bench = Bench::new(|_| {});
    bench.find();
    bench.prepare(false);
    bench.join(1, "other");
    bench.sync(b"a");
    bench.wanders(ErrorCode::UnknownMemberId);
    bench.prepare(false);
}

#[test]
fn late_repeated_and_misplaced_answers_change_nothing() {
    let mut bench = Bench::new(|_| {});
    bench.find();
    bench.prepare(false);
    let join = bench.sent();
    bench.answer(join.id, Ok(joined(1, "other")));
    let sync = bench.sent();
    bench.answer(join.id, Ok(joined(9, "me")));
    bench.answer(RequestId(999), Ok(synced(b"x")));
    bench.answer(sync.id, Ok(synced(b"a")));
    bench.answer(sync.id, Err(kafka(ErrorCode::UnknownMemberId)));
    bench.takes(1, b"a");
    let old = bench.heartbeat();
    bench.membership.rejoin("changed");
    bench.prepare(true);
    bench.join(2, "other");
    bench.answer(old, Err(kafka(ErrorCode::UnknownMemberId)));
    bench.sync(b"b");
    bench.takes(2, b"b");
}

#[test]
fn a_coordinator_that_moves_is_found_again_and_membership_goes_on() {
    for error in [kafka(ErrorCode::NotCoordinator), kafka(ErrorCode::CoordinatorNotAvailable), gone()] {
        let mut bench = Bench::stable(|_| {});
        let id = bench.heartbeat();
        bench.answer(id, Err(error));
        bench.find();
        bench.now += SECOND / 10;
        let again = bench.sent();
        assert!(matches!(again.request, Request::Heartbeat { .. }));
        bench.answer(again.id, Ok(Answer::Alive));
        assert_eq!(bench.membership.demand(), Ok(None));
    }
}

#[test]
fn a_session_without_answers_makes_it_look_for_another_coordinator() {
    let mut bench = Bench::stable(|config| config.max_poll_interval = None);
    bench.heartbeat();
    bench.now += 42 * SECOND;
    bench.find();
    assert!(bench.membership.generation().is_some());
}

#[test]
fn joins_that_fail_for_now_are_tried_again_after_a_pause() {
    for error in [kafka(ErrorCode::CoordinatorLoadInProgress), kafka(ErrorCode::NotCoordinator), gone()] {
        let elsewhere = error.code() != Some(ErrorCode::CoordinatorLoadInProgress);
        let mut bench = Bench::new(|_| {});
        bench.find();
        bench.prepare(false);
        let join = bench.sent();
        bench.answer(join.id, Err(error));
        if elsewhere {
            bench.find();
        }
        bench.sends_nothing();
        assert_eq!(bench.membership.next_wakeup(bench.now), Some(bench.now + SECOND / 10));
        bench.now += SECOND / 10;
        bench.join(1, "other");
    }
}

#[test]
fn what_cannot_pass_is_told_once_and_a_further_demand_tries_again() {
    for code in [
        ErrorCode::InconsistentGroupProtocol,
        ErrorCode::InvalidSessionTimeout,
        ErrorCode::InvalidGroupId,
        ErrorCode::GroupAuthorizationFailed,
        ErrorCode::GroupMaxSizeReached,
        ErrorCode::FencedInstanceId,
    ] {
        let mut bench = Bench::new(|_| {});
        bench.find();
        bench.prepare(false);
        let join = bench.sent();
        bench.answer(join.id, Err(kafka(code)));
        bench.sends_nothing();
        assert_eq!(bench.membership.demand().unwrap_err().code(), Some(code));
        bench.prepare(false);
        bench.join(1, "other");
    }
}

#[test]
fn a_sync_that_meets_another_rebalance_joins_again_with_what_was_prepared() {
    let mut bench = Bench::new(|_| {});
    bench.find();
    bench.prepare(false);
    bench.join(1, "other");
    let sync = bench.sent();
    bench.answer(sync.id, Err(kafka(ErrorCode::RebalanceInProgress)));
    bench.join(2, "other");
    bench.sync(b"b");
    bench.takes(2, b"b");
}

#[test]
fn an_owner_that_stops_polling_leaves_and_comes_back_when_it_polls() {
    let mut bench = Bench::stable(|config| config.max_poll_interval = Some(5 * SECOND));
    let id = bench.heartbeat();
    bench.answer(id, Ok(Answer::Alive));
    bench.now += 2 * SECOND;
    assert!(matches!(bench.sent().request, Request::Leave { .. }));
    assert_eq!(bench.membership.generation(), None);
    bench.now += 20 * SECOND;
    bench.sends_nothing();
    bench.membership.polled(bench.now);
    bench.prepare(false);
    bench.join(2, "other");
}

#[test]
fn a_static_member_goes_without_a_word_and_is_fenced_by_another() {
    let mut bench = Bench::stable(|config| config.group_instance_id = Some("i".to_owned()));
    bench.membership.leave("closed");
    bench.sends_nothing();
    assert!(bench.membership.is_over());

    let mut bench = Bench::stable(|config| config.group_instance_id = Some("i".to_owned()));
    bench.wanders(ErrorCode::FencedInstanceId);
    assert_eq!(bench.membership.demand().unwrap_err().code(), Some(ErrorCode::FencedInstanceId));
}

#[test]
fn a_member_that_leaves_says_so_and_then_nothing_more() {
    let mut bench = Bench::stable(|_| {});
    bench.membership.leave("closed");
    assert!(!bench.membership.is_over());
    let leave = bench.sent();
    let expected = Request::Leave { member_id: "me".to_owned(), reason: "closed".to_owned() };
    assert_eq!(leave.request, expected);
    bench.answer(leave.id, Err(gone()));
    assert!(bench.membership.is_over());
    bench.now += 500 * SECOND;
    bench.sends_nothing();
    assert_eq!(bench.membership.demand(), Ok(None));
}

#[test]
fn a_commit_that_was_refused_tells_of_the_loss_unless_it_is_old() {
    let mut bench = Bench::stable(|_| {});
    bench.membership.commit_refused(GenerationId(0), ErrorCode::UnknownMemberId);
    assert!(bench.membership.generation().is_some());
    bench.membership.commit_refused(GenerationId(1), ErrorCode::RebalanceInProgress);
    bench.prepare(true);
    bench.membership.commit_refused(GenerationId(1), ErrorCode::IllegalGeneration);
    bench.prepare(false);
}
