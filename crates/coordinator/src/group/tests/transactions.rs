//! Offsets that were committed in transactions, as a log may bring them (KIP-98, KIP-447).

use super::*;
use crate::group::records::StoredOffset;

/// A commit as it stands in the log, plain or in a producer's transaction.
fn replay(shard: &mut GroupShard, at: i64, producer_id: Option<i64>, value: Option<i64>) {
    let stored = |offset| StoredOffset {
        offset: Offset(offset),
        leader_epoch: None,
        metadata: String::new(),
        committed_at: START,
        expires_at: None,
        topic_id: None,
    };
    let (group_id, topic, partition) = (GROUP.to_owned(), topic("t"), PartitionId(0));
    let record =
        GroupRecord::Offset { group_id, topic, partition, value: value.map(stored) }.encode().unwrap();
    let origin = RecordOrigin { offset: Offset(at), producer: producer_id.and_then(producer) };
    shard.replay(&record, origin).unwrap();
}

fn end(shard: &mut GroupShard, producer_id: i64, committed: bool) {
    shard.replay_end_transaction(ProducerId(producer_id), ProducerEpoch(0), committed);
}

fn stable_offset(bench: &mut Bench) -> Result<Option<i64>, ErrorCode> {
    let topics =
        vec![OffsetFetchTopic { topic: "t".to_owned(), topic_id: None, partitions: vec![PartitionId(0)] }];
    let fetched = bench.fetch(OffsetFetch { require_stable: true, topics: Some(topics), ..fetch_all(GROUP) });
    let found = &fetched[0].1[0];
    match found.error {
        ErrorCode::None => Ok(found.offset.map(|offset| offset.0)),
        error => Err(error),
    }
}

#[test]
fn an_offset_counts_once_its_transaction_is_committed() {
    let mut bench = Bench::new();
    replay(&mut bench.shard, 0, Some(9), Some(5));
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), None);
    assert_eq!(stable_offset(&mut bench), Err(ErrorCode::UnstableOffsetCommit));
    end(&mut bench.shard, 9, true);
    assert_eq!(stable_offset(&mut bench), Ok(Some(5)));
}

#[test]
fn an_aborted_offset_never_counts() {
    let mut bench = Bench::new();
    replay(&mut bench.shard, 0, None, Some(3));
    replay(&mut bench.shard, 1, Some(9), Some(5));
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(3));
    end(&mut bench.shard, 9, false);
    assert_eq!(stable_offset(&mut bench), Ok(Some(3)));
}

#[test]
fn of_two_commits_the_later_in_the_log_wins_whenever_the_transaction_ends() {
    let mut bench = Bench::new();
    replay(&mut bench.shard, 1, Some(9), Some(5));
    replay(&mut bench.shard, 2, None, Some(7));
    end(&mut bench.shard, 9, true);
    assert_eq!(stable_offset(&mut bench), Ok(Some(7)));
}

#[test]
fn deleting_takes_pending_offsets_too() {
    let mut bench = Bench::new();
    replay(&mut bench.shard, 0, Some(9), Some(5));
    assert_eq!(bench.delete(GROUP), ErrorCode::None);
    assert_eq!(bench.records_from(0), [offset_tombstone(GROUP, "t", 0), group_tombstone(GROUP)]);
    end(&mut bench.shard, 9, true);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), None);
}

#[test]
fn a_group_with_an_open_transaction_does_not_expire() {
    let mut bench = Bench::new();
    replay(&mut bench.shard, 0, None, Some(3));
    replay(&mut bench.shard, 1, Some(9), Some(5));
    bench.pass(30 * 24 * 3_600_000);
    assert_eq!(bench.fetch_offset(GROUP, "t", 0), Some(3));
    end(&mut bench.shard, 9, false);
    bench.pass(3_600_000);
    assert_eq!(bench.state(), GroupState::Dead);
}
