//! A partition of `__consumer_offsets` that anyone may have written: it loads or says what it cannot use, and
//! the groups that come of it serve requests and run out their timers.
#![no_main]

use bytes::{BufMut, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use millstream_coordinator::{
    CoordinatorRecord, Decision, RecordOrigin, RequestToken, Shard,
    group::{GroupConfig, GroupEvent, GroupResponse, GroupShard, JoinGroup, ListGroups},
};
use millstream_types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

fuzz_target!(|input: &[u8]| {
    let mut bits = 0u128;
    let random = move || {
        bits += 1;
        bits
    };
    let mut shard = GroupShard::new(GroupConfig::default(), Box::new(random));
    let mut rest = Bytes::copy_from_slice(input);
    for offset in 0.. {
        let Some((record, producer)) = take_record(&mut rest) else { break };
        drop(shard.replay(&record, RecordOrigin { offset: Offset(offset), producer }));
        if let Some((id, epoch)) = producer.filter(|_| offset % 3 == 0) {
            shard.replay_end_transaction(id, epoch, offset % 2 == 0);
        }
    }
    let mut now = TimestampMs(1_000_000);
    let decision = shard.loaded(now);
    settle(&mut shard, decision, now);
    for group_id in group_ids(&mut shard, now) {
        for event in [
            GroupEvent::DescribeGroup { group_id: group_id.clone() },
            GroupEvent::JoinGroup(join(&group_id)),
            GroupEvent::DeleteGroup { group_id },
        ] {
            let decision = shard.handle(RequestToken(1), event, now);
            settle(&mut shard, decision, now);
        }
    }
    for _ in 0..50 {
        let Some(deadline) = shard.next_deadline() else { break };
        now = now.max(deadline);
        let decision = shard.on_timer(now);
        settle(&mut shard, decision, now);
    }
    shard.unload();
});

/// Lengths of key and value, a byte each, then both. Flags make a tombstone, a transactional record, and a key
/// of one of the types that are kept, or any.
fn take_record(rest: &mut Bytes) -> Option<(CoordinatorRecord, Option<(ProducerId, ProducerEpoch)>)> {
    let [flags, key_length, value_length] = *rest.first_chunk()?;
    let body = rest.split_off(3);
    *rest = body;
    let mut key = BytesMut::new();
    if flags & 4 == 0 {
        key.put_i16(i16::from(flags >> 4 & 3));
    }
    key.put(rest.split_to(rest.len().min(key_length.into())));
    let value = rest.split_to(rest.len().min(value_length.into()));
    let producer = (flags & 2 != 0).then_some((ProducerId(i64::from(flags >> 6)), ProducerEpoch(0)));
    Some((CoordinatorRecord { key: key.freeze(), value: (flags & 1 == 0).then_some(value) }, producer))
}

/// What the shard decides, it can replay.
fn settle(shard: &mut GroupShard, decision: Decision<GroupResponse>, now: TimestampMs) {
    for record in &decision.records {
        let origin = RecordOrigin { offset: Offset(now.0), producer: None };
        shard.replay(record, origin).expect("a shard can replay what it has decided");
    }
}

fn group_ids(shard: &mut GroupShard, now: TimestampMs) -> Vec<String> {
    let decision = shard.handle(RequestToken(0), GroupEvent::ListGroups(ListGroups::default()), now);
    match decision.responses.into_iter().next() {
        Some((_, GroupResponse::ListGroups(groups))) => {
            groups.into_iter().map(|group| group.group_id).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn join(group_id: &str) -> JoinGroup {
    JoinGroup {
        group_id: group_id.to_owned(),
        member_id: String::new(),
        group_instance_id: None,
        client_id: "fuzz".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        requires_known_member_id: false,
        supports_skipping_assignment: true,
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(&[0, 0, 0, 0, 0, 0]))],
        reason: None,
    }
}
