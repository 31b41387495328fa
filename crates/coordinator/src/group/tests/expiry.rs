//! Offsets that are forgotten in time (KIP-211), and groups with them.

use super::*;

const MINUTE_MS: i64 = 60_000;
const RETENTION_MS: i64 = 60 * MINUTE_MS;
const INTERVAL_MS: i64 = 10 * MINUTE_MS;

fn bench() -> Bench {
    Bench::with(GroupConfig { offsets_retention_ms: RETENTION_MS, ..GroupConfig::default() })
}

/// Time passes while the member stays alive.
fn pass_alive(bench: &mut Bench, member: &str, generation: i32, ms: i64) {
    let end = bench.now.plus_ms(ms);
    while bench.now < end {
        bench.pass((SESSION_MS - 1).min(end.since(bench.now)));
        assert_eq!(bench.heartbeat(member, generation), ErrorCode::None);
    }
}

#[test]
fn offsets_of_no_members_expire_by_their_commit() {
    let mut bench = bench();
    bench.commit(simple_commit(GROUP, &[("t", 0, 5)]));
    bench.pass(30 * MINUTE_MS);
    bench.commit(simple_commit(GROUP, &[("t", 1, 5)]));
    bench.pass(30 * MINUTE_MS);
    assert_eq!((bench.fetch_offset(GROUP, "t", 0), bench.fetch_offset(GROUP, "t", 1)), (None, Some(5)));
    assert_eq!(bench.state(), GroupState::Empty);
    let records = bench.log.len();
    bench.pass(30 * MINUTE_MS);
    assert_eq!(bench.records_from(records), [offset_tombstone(GROUP, "t", 1), group_tombstone(GROUP)]);
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn the_offsets_of_a_group_in_use_do_not_expire() {
    let mut bench = bench();
    let ids = bench.stable(&["a"]);
    bench.commit(member_commit(&ids[0], 1, &[("t", 0, 5)]));
    pass_alive(&mut bench, &ids[0], 1, RETENTION_MS + INTERVAL_MS);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(5));
}

#[test]
fn the_retention_begins_when_the_group_empties_also_over_a_restart() {
    let mut bench = bench();
    let ids = bench.stable(&["a"]);
    bench.commit(member_commit(&ids[0], 1, &[("t", 0, 5)]));
    pass_alive(&mut bench, &ids[0], 1, 50 * MINUTE_MS);
    bench.leave(&[(&ids[0], None)]);
    bench.pass(30 * MINUTE_MS);
    bench.restart();
    bench.pass(29 * MINUTE_MS);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(5));
    bench.pass(INTERVAL_MS + MINUTE_MS);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), None);
    assert_eq!(bench.state(), GroupState::Dead);
}

#[test]
fn consumers_lose_the_offsets_of_topics_that_they_no_longer_read() {
    let mut bench = bench();
    let ids = [bench.join(consumer("a", &["t"])).member_id];
    bench.sync_all(&ids, 1);
    bench.commit(member_commit(&ids[0], 1, &[("t", 0, 5), ("old", 0, 5)]));
    pass_alive(&mut bench, &ids[0], 1, RETENTION_MS + INTERVAL_MS);
    assert_eq!((bench.fetch_offset(GROUP, "t", 0), bench.fetch_offset(GROUP, "old", 0)), (Some(5), None));
}

/// OffsetCommit versions 2 to 4. Asked: gone with the next check after its time, though the group is new.
#[test]
fn a_commit_may_bring_its_own_retention() {
    let mut bench = bench();
    bench.commit(OffsetCommit { retention_time_ms: Some(5_000), ..simple_commit(GROUP, &[("t", 0, 5)]) });
    bench.commit(OffsetCommit {
        retention_time_ms: Some(2 * RETENTION_MS),
        ..simple_commit(GROUP, &[("t", 1, 5)])
    });
    bench.pass(INTERVAL_MS);
    assert_eq!((bench.fetch_offset(GROUP, "t", 0), bench.fetch_offset(GROUP, "t", 1)), (None, Some(5)));
    bench.restart();
    bench.pass(RETENTION_MS + INTERVAL_MS);
    assert_eq!(bench.fetch_offset(GROUP, "t", 1), Some(5));
    bench.pass(RETENTION_MS);
    assert_eq!(bench.fetch_offset(GROUP, "t", 1), None);
}

/// Asked: ten minutes after it emptied.
#[test]
fn an_empty_group_without_offsets_is_gone_with_the_next_check() {
    let mut bench = bench();
    let ids = bench.stable(&["a"]);
    bench.leave(&[(&ids[0], None)]);
    let records = bench.log.len();
    bench.pass(INTERVAL_MS);
    assert_eq!(bench.records_from(records), [group_tombstone(GROUP)]);
}

#[test]
fn a_group_that_somebody_is_about_to_join_stays() {
    let mut bench = bench();
    bench.pass(INTERVAL_MS - 1);
    let id = bench.join(dynamic("a")).member_id;
    bench.pass(1);
    assert_eq!(bench.join(known(&id, "a")).error, ErrorCode::None);
}

#[test]
fn a_large_clean_up_comes_in_pieces() {
    let mut bench = bench();
    for group in 0..5 {
        let offsets: Vec<_> = (0..700).map(|partition| ("t", partition, 1)).collect();
        bench.commit(simple_commit(&format!("g{group}"), &offsets));
    }
    let records = bench.log.len();
    bench.now = bench.now.plus_ms(RETENTION_MS + INTERVAL_MS);
    let mut pieces = Vec::new();
    while bench.shard.next_deadline().unwrap() <= bench.now {
        let decision = bench.shard.on_timer(bench.now);
        assert!(decision.splittable);
        pieces.push(decision.records.len());
        bench.apply(decision);
    }
    assert_eq!(pieces, [1_000, 1_000, 1_000, 505]);
    assert_eq!(bench.log.len(), records + 5 * 700 + 5);
    assert_eq!(bench.shard.durable(), Bench::new().shard.durable());
}

#[test]
fn a_clean_up_that_cannot_be_written_is_tried_again_with_the_next_check() {
    let mut bench = bench();
    bench.commit(simple_commit(GROUP, &[("t", 0, 5)]));
    bench.append_error = Some(ErrorCode::KafkaStorageError);
    bench.pass(RETENTION_MS);
    assert!(bench.append_error.is_none(), "it was tried");
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(5));
    bench.pass(INTERVAL_MS);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), None);
}
