//! Members against the broker's own coordinator, over a network that loses, delays, repeats and reorders
//! answers, with a coordinator that crashes and owners that fall asleep. Everything follows from a seed;
//! `MILLSTREAM_SEED=… cargo test -p millstream-client simulation` repeats one, `MILLSTREAM_SEEDS=1000` runs
//! so many.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_coordinator::{
    CoordinatorRecord, Decision, RecordOrigin, RequestToken, Shard,
    group::{
        GroupConfig as BrokerConfig, GroupEvent as Event, GroupResponse, GroupShard, Heartbeat, JoinGroup,
        LeaveGroup, LeavingMember, SyncGroup,
    },
};
use millstream_types::{BrokerId, ErrorCode, Offset, TimestampMs};

use super::{
    Election, GroupConfig, GroupEvent, GroupProtocol, JoinedMember,
    membership::{Answer, Dispatch, Joined, Membership, Request, RequestId},
};
use crate::{Error, Result};

/// What the group shares out.
const ITEMS: u8 = 7;
const REQUEST_LIMIT_MS: u64 = 20_000;
const STORM_MS: u64 = 180_000;
const CALM_MS: u64 = 200_000;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// How bad things get.
#[derive(Clone, Copy, Debug)]
struct Weather {
    lost_percent: u64,
    repeated_percent: u64,
    delay_ms_max: u64,
    crashes: bool,
    sleepers: bool,
}

const STORM: Weather =
    Weather { lost_percent: 8, repeated_percent: 10, delay_ms_max: 3_000, crashes: true, sleepers: true };
/// Nothing that costs a member its membership.
const BREEZE: Weather =
    Weather { lost_percent: 0, repeated_percent: 20, delay_ms_max: 500, crashes: false, sleepers: false };
const CALM: Weather =
    Weather { lost_percent: 0, repeated_percent: 0, delay_ms_max: 5, crashes: false, sleepers: false };

struct Member {
    membership: Membership,
    cooperative: bool,
    owned: BTreeSet<u8>,
    /// Whether the owner goes on polling, and when next.
    next_poll: u64,
    is_static: bool,
}

enum Packet {
    Request { member: usize, dispatch: Dispatch },
    Answer { member: usize, id: RequestId, answer: Result<Answer> },
}

struct World {
    random: Random,
    weather: Weather,
    origin: Instant,
    now: u64,
    members: Vec<Member>,
    packets: BTreeMap<(u64, u64), Packet>,
    sequence: u64,
    shard: Option<GroupShard>,
    log: Vec<CoordinatorRecord>,
    waiting: BTreeMap<RequestToken, (usize, RequestId)>,
    up_again: u64,
    exclusive: bool,
}

fn lost() -> Error {
    Error::Disconnected { address: "broker".to_owned(), reason: "lost".to_owned() }
}

fn kafka(code: ErrorCode) -> Error {
    Error::kafka(code, "group g", None)
}

impl World {
    fn new(seed: u64, weather: Weather, cooperative: bool) -> Self {
        let origin = Instant::now();
        let mut random = Random(seed);
        let count = 2 + random.below(3);
        let member = |index: u64| {
            let is_static = index == 0 && seed.is_multiple_of(3);
            let config = GroupConfig {
                group_id: "g".to_owned(),
                group_instance_id: is_static.then(|| "static".to_owned()),
                protocol_type: "test".to_owned(),
                session_timeout: Duration::from_secs(20),
                heartbeat_interval: Duration::from_secs(3),
                rebalance_timeout: Duration::from_secs(30),
                max_poll_interval: Some(Duration::from_secs(30)),
            };
            let retry = (Duration::from_millis(100), Duration::from_secs(1));
            let mut membership = Membership::new(config, retry, origin);
            membership.enter(origin);
            Member { membership, cooperative, owned: BTreeSet::new(), next_poll: index * 400, is_static }
        };
        let mut world = Self {
            members: (0..count).map(member).collect(),
            random,
            weather,
            origin,
            now: 0,
            packets: BTreeMap::new(),
            sequence: 0,
            shard: None,
            log: Vec::new(),
            waiting: BTreeMap::new(),
            up_again: 0,
            exclusive: weather.lost_percent == 0,
        };
        world.start_broker();
        world
    }

    fn instant(&self) -> Instant {
        self.origin + Duration::from_millis(self.now)
    }

    fn timestamp(&self) -> TimestampMs {
        TimestampMs(1_000_000 + i64::try_from(self.now).unwrap())
    }

    fn start_broker(&mut self) {
        let mut ids = self.random.next();
        let next_id = move || {
            ids += 1;
            u128::from(ids)
        };
        let mut shard = GroupShard::new(BrokerConfig::default(), Box::new(next_id));
        for (offset, record) in (0..).zip(&self.log) {
            shard.replay(record, RecordOrigin { offset: Offset(offset), producer: None }).unwrap();
        }
        let decision = shard.loaded(self.timestamp());
        self.shard = Some(shard);
        self.apply(decision);
    }

    fn crash_broker(&mut self) {
        self.shard = None;
        self.up_again = self.now + 500 + self.random.below(8_000);
        for (member, id) in std::mem::take(&mut self.waiting).into_values() {
            self.put(1, Packet::Answer { member, id, answer: Err(lost()) });
        }
    }

    fn put(&mut self, delay: u64, packet: Packet) {
        self.sequence += 1;
        self.packets.insert((self.now + delay, self.sequence), packet);
    }

    fn delay(&mut self) -> u64 {
        1 + self.random.below(self.weather.delay_ms_max)
    }

    fn apply(&mut self, decision: Decision<GroupResponse>) {
        let Some(shard) = &mut self.shard else { return };
        for record in decision.records {
            let offset = Offset(i64::try_from(self.log.len()).unwrap());
            shard.replay(&record, RecordOrigin { offset, producer: None }).unwrap();
            self.log.push(record);
        }
        for (token, response) in decision.responses {
            let Some((member, id)) = self.waiting.remove(&token) else { continue };
            if self.random.percent(self.weather.lost_percent) {
                self.put(REQUEST_LIMIT_MS, Packet::Answer { member, id, answer: Err(lost()) });
                continue;
            }
            let answer = to_answer(response);
            if self.random.percent(self.weather.repeated_percent) {
                let delay = self.delay();
                self.put(delay, Packet::Answer { member, id, answer: answer.clone() });
            }
            let delay = self.delay();
            self.put(delay, Packet::Answer { member, id, answer });
        }
    }

    /// A millisecond in which something happens.
    fn step(&mut self, until: u64) {
        let packet = self.packets.first_key_value().map(|((at, _), _)| *at);
        let polls = self.members.iter().map(|member| member.next_poll).min();
        let wakeups = self.members.iter().filter_map(|member| {
            let wakeup = member.membership.next_wakeup(self.instant())?;
            Some(u64::try_from((wakeup - self.origin).as_millis()).unwrap())
        });
        let broker = self.shard.as_ref().map_or(Some(self.up_again), |shard| {
            let deadline = shard.next_deadline()?.0 - 1_000_000;
            Some(u64::try_from(deadline).unwrap())
        });
        let next = wakeups.chain(packet).chain(polls).chain(broker).min();
        self.now = next.unwrap_or(until).max(self.now).min(until);

        if self.shard.is_none() && self.now >= self.up_again {
            self.start_broker();
        }
        let now = self.timestamp();
        if let Some(shard) = self.shard.as_mut().filter(|s| s.next_deadline().is_some_and(|d| d <= now)) {
            let decision = shard.on_timer(now);
            self.apply(decision);
        }
        while let Some(entry) = self.packets.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Packet::Request { member, dispatch } => self.serve(member, dispatch),
                Packet::Answer { member, id, answer } => {
                    let now = self.instant();
                    self.members[member].membership.answer(now, id, answer);
                }
            }
        }
        for index in 0..self.members.len() {
            if self.members[index].next_poll <= self.now {
                self.poll(index);
            }
            self.send(index);
        }
        self.check();
        if self.weather.crashes && self.shard.is_some() && self.random.below(2_000) == 0 {
            self.crash_broker();
        }
    }

    fn send(&mut self, index: usize) {
        let now = self.instant();
        for dispatch in self.members[index].membership.advance(now) {
            let id = dispatch.id;
            if self.random.percent(self.weather.lost_percent) {
                let answer = Packet::Answer { member: index, id, answer: Err(lost()) };
                self.put(REQUEST_LIMIT_MS, answer);
            } else {
                let delay = self.delay();
                self.put(delay, Packet::Request { member: index, dispatch });
            }
        }
    }

    fn serve(&mut self, member: usize, dispatch: Dispatch) {
        let id = dispatch.id;
        let token = RequestToken(self.sequence);
        self.sequence += 1;
        let event = to_event(&self.members[member].membership, dispatch.request);
        let (event, Some(shard)) = (event, &mut self.shard) else {
            let answer = Err(lost());
            return self.put(2, Packet::Answer { member, id, answer });
        };
        let Some(event) = event else {
            let unready = self.random.percent(self.weather.lost_percent);
            let answer = if unready {
                Err(kafka(ErrorCode::CoordinatorNotAvailable))
            } else {
                Ok(Answer::Coordinator(BrokerId(1)))
            };
            return self.put(2, Packet::Answer { member, id, answer });
        };
        if self.random.percent(self.weather.lost_percent) {
            let codes = [ErrorCode::NotCoordinator, ErrorCode::CoordinatorLoadInProgress];
            let code = codes[usize::try_from(self.random.below(2)).unwrap()];
            return self.put(2, Packet::Answer { member, id, answer: Err(kafka(code)) });
        }
        let now = TimestampMs(1_000_000 + i64::try_from(self.now).unwrap());
        self.waiting.insert(token, (member, id));
        let decision = shard.handle(token, event, now);
        self.apply(decision);
    }

    /// What a member's owner does.
    fn poll(&mut self, index: usize) {
        let asleep = self.weather.sleepers && self.random.percent(1);
        let pause = if asleep { 40_000 } else { 10 + self.random.below(1_000) };
        let now = self.instant();
        let member = &mut self.members[index];
        member.next_poll = self.now + pause;
        member.membership.polled(now);
        match member.membership.demand() {
            Ok(None) => {}
            Ok(Some(GroupEvent::Prepare { kept })) => {
                if !kept || !member.cooperative {
                    member.owned.clear();
                }
                let metadata = Bytes::from_iter(member.owned.iter().copied());
                let protocol = GroupProtocol { name: "share".to_owned(), metadata };
                member.membership.prepared(vec![protocol]);
            }
            Ok(Some(GroupEvent::Elected(election))) => {
                let shares = share(&election, member.cooperative);
                member.membership.share_out(shares);
            }
            Ok(Some(GroupEvent::Assigned(assignment))) => {
                let assigned: BTreeSet<u8> = assignment.assignment.iter().copied().collect();
                if member.cooperative && !member.owned.is_subset(&assigned) {
                    member.membership.rejoin("gave some up");
                }
                member.owned = assigned;
            }
            // A coordinator that crashed may not remember the id that it gave a static member last, and takes it
            // for another. Nothing else is fatal here.
            Err(error) => {
                let forgotten = error.code() == Some(ErrorCode::FencedInstanceId) && member.is_static;
                assert!(forgotten && self.weather.crashes, "member {index} failed: {error}");
            }
        }
    }

    /// Where nobody is thrown out, nothing is ever in two hands.
    fn check(&self) {
        if !self.exclusive {
            return;
        }
        let mut seen = BTreeSet::new();
        for item in self.members.iter().flat_map(|member| &member.owned) {
            assert!(seen.insert(item), "item {item} is in two hands at {} ms", self.now);
        }
    }

    fn run(&mut self, until: u64) {
        while self.now < until {
            self.step(until);
        }
    }

    /// All members are stable in one generation, and have all the items between them.
    fn assert_settled(&self) {
        let generations: BTreeSet<_> =
            self.members.iter().map(|m| m.membership.generation().map(|g| g.id)).collect();
        let all: Vec<u8> = self.members.iter().flat_map(|member| member.owned.iter().copied()).collect();
        let settled = generations.len() == 1
            && !generations.contains(&None)
            && self.members.iter().all(|member| !member.membership.is_rebalancing())
            && all.len() == usize::from(ITEMS)
            && all.iter().collect::<BTreeSet<_>>().len() == usize::from(ITEMS);
        let states: Vec<_> = self.members.iter().map(|m| (&m.membership, &m.owned, m.is_static)).collect();
        assert!(settled, "not settled at {} ms: {states:#?}", self.now);
    }
}

fn share(election: &Election, cooperative: bool) -> Vec<(String, Bytes)> {
    if election.skip_assignment {
        return Vec::new();
    }
    let count = election.members.len();
    let owner = |item: u8| election.members.iter().position(|m| m.metadata.contains(&item));
    let mut shares: Vec<(String, Vec<u8>)> =
        election.members.iter().map(|member| (member.member_id.clone(), Vec::new())).collect();
    for item in 0..ITEMS {
        let target = usize::from(item) % count;
        // What another still holds is given up first.
        if !cooperative || owner(item).is_none_or(|owner| owner == target) {
            shares[target].1.push(item);
        }
    }
    shares.into_iter().map(|(id, items)| (id, Bytes::from(items))).collect()
}

fn to_event(membership: &Membership, request: Request) -> Option<Event> {
    let config = membership.config();
    let (group_id, group_instance_id) = (config.group_id.clone(), config.group_instance_id.clone());
    let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap();
    Some(match request {
        Request::FindCoordinator => return None,
        Request::Join { member_id, protocols, reason } => Event::JoinGroup(JoinGroup {
            group_id,
            member_id,
            group_instance_id,
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            requires_known_member_id: true,
            supports_skipping_assignment: true,
            session_timeout_ms: millis(config.session_timeout),
            rebalance_timeout_ms: millis(config.rebalance_timeout),
            protocol_type: config.protocol_type.clone(),
            protocols: protocols.into_iter().map(|p| (p.name, p.metadata)).collect(),
            reason: Some(reason),
        }),
        Request::Sync { generation, member_id, protocol, assignments } => Event::SyncGroup(SyncGroup {
            group_id,
            generation_id: generation,
            member_id,
            group_instance_id,
            protocol_type: Some(config.protocol_type.clone()),
            protocol_name: Some(protocol),
            assignments,
        }),
        Request::Heartbeat { generation, member_id } => {
            Event::Heartbeat(Heartbeat { group_id, generation_id: generation, member_id, group_instance_id })
        }
        Request::Leave { member_id, reason } => {
            let leaving = LeavingMember { member_id, group_instance_id, reason: Some(reason) };
            Event::LeaveGroup(LeaveGroup { group_id, members: vec![leaving] })
        }
    })
}

fn to_answer(response: GroupResponse) -> Result<Answer> {
    let checked = |code: ErrorCode, answer: Answer| match code {
        ErrorCode::None => Ok(answer),
        code => Err(kafka(code)),
    };
    match response {
        GroupResponse::JoinGroup(joined) if joined.error == ErrorCode::MemberIdRequired => {
            Ok(Answer::MemberIdRequired(joined.member_id))
        }
        GroupResponse::JoinGroup(joined) => {
            let member = |m: millstream_coordinator::group::JoinedMember| JoinedMember {
                member_id: m.member_id,
                group_instance_id: m.group_instance_id,
                metadata: m.metadata,
            };
            let answer = Joined {
                generation: joined.generation_id.unwrap_or_default(),
                protocol_type: joined.protocol_type,
                protocol: joined.protocol_name.unwrap_or_default(),
                leader: joined.leader,
                member_id: joined.member_id,
                skip_assignment: joined.skip_assignment,
                members: joined.members.into_iter().map(member).collect(),
            };
            checked(joined.error, Answer::Joined(answer))
        }
        GroupResponse::SyncGroup(synced) => {
            let (protocol_type, protocol) = (synced.protocol_type, synced.protocol_name);
            let assignment = synced.assignment;
            checked(synced.error, Answer::Synced { protocol_type, protocol, assignment })
        }
        GroupResponse::Heartbeat(code) => checked(code, Answer::Alive),
        GroupResponse::LeaveGroup(left) => checked(left.error, Answer::Left),
        other => panic!("nobody asked for {other:?}"),
    }
}

fn seeds() -> Vec<u64> {
    if let Ok(seed) = std::env::var("MILLSTREAM_SEED") {
        return vec![seed.parse().expect("MILLSTREAM_SEED is a number")];
    }
    let count = std::env::var("MILLSTREAM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    (0..count).collect()
}

fn simulate(seed: u64, weather: Weather, cooperative: bool) {
    let run = std::panic::AssertUnwindSafe(|| {
        let mut world = World::new(seed, weather, cooperative);
        world.run(STORM_MS);
        world.weather = CALM;
        if world.shard.is_none() {
            world.start_broker();
        }
        world.run(STORM_MS + CALM_MS);
        world.assert_settled();
    });
    if std::panic::catch_unwind(run).is_err() {
        panic!("MILLSTREAM_SEED={seed} repeats this ({weather:?}, cooperative: {cooperative})");
    }
}

#[test]
fn members_settle_after_losses_repetitions_crashes_and_sleep() {
    for seed in seeds() {
        simulate(seed, STORM, seed.is_multiple_of(2));
    }
}

#[test]
fn nothing_is_ever_in_two_hands_while_nobody_is_thrown_out() {
    for seed in seeds() {
        simulate(seed, BREEZE, seed.is_multiple_of(2));
    }
}
