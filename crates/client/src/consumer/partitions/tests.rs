use std::time::Duration;

use millstream_record::{BatchBuilder, BatchOptions};
use millstream_types::{PartitionId, TimestampMs, TopicName};

use super::{super::epochs::EpochEnd, *};

fn partition(number: i32) -> TopicPartition {
    TopicPartition::new(TopicName::from_static("t"), PartitionId(number))
}

fn batch(from: i64, to: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(from),
        leader_epoch: Some(LeaderEpoch(3)),
        ..BatchOptions::default()
    });
    for _ in from..to {
        builder.append(TimestampMs(0), None, None, &[]);
    }
    builder
}

fn fetched(number: i32, from: i64, to: i64) -> Fetched {
    let leader_epoch = Some(LeaderEpoch(3));
    let mut records = Unread::new(partition(number), Offset(from), 1 << 20);
    records.push(batch(from, to).build());
    let outcome = Outcome {
        records,
        record_count: (to - from) as usize,
        bytes: 0,
        next: Offset(to),
        leader_epoch,
        end: Offset(to),
        log_start: None,
        next_to: None,
    };
    Fetched { partition: partition(number), fetch_offset: Offset(from), outcome: Ok(outcome) }
}

fn failed(number: i32, at: i64, code: ErrorCode) -> Fetched {
    let outcome = Err(Error::kafka(code, "t", None));
    Fetched { partition: partition(number), fetch_offset: Offset(at), outcome }
}

fn at(offsets: &[i64]) -> Partitions {
    let mut partitions = Partitions::default();
    for (number, offset) in (0..).zip(offsets) {
        partitions.insert(partition(number), Assigned::anywhere());
        partitions.seek(&partition(number), Place::Known, Offset(*offset));
    }
    partitions
}

fn take(partitions: &mut Partitions, most: usize) -> Option<Vec<i64>> {
    let records = partitions.take_ready(most, Instant::now())?.unwrap();
    Some(records.into_iter().map(|record| record.offset.0).collect())
}

#[test]
fn what_comes_before_a_damaged_batch_is_returned_and_then_the_damage_told_each_time_it_is_fetched() {
    let (mut partitions, now) = (at(&[5]), Instant::now());
    for from in [5, 8] {
        let mut answer = fetched(0, from, 8);
        let outcome = answer.outcome.as_mut().unwrap();
        let mut damaged = batch(8, 9).build().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        outcome.records.push(damaged.into());
        outcome.next = Offset(9);
        partitions.fetched(answer, OffsetReset::Latest, now).unwrap();
        if from < 8 {
            assert_eq!(take(&mut partitions, 500), Some(vec![5, 6, 7]));
        }
        let told = partitions.take_ready(500, now).unwrap().unwrap_err();
        assert!(told.to_string().contains("a batch of t-0"), "{told}");
        assert!(partitions.take_ready(500, now).is_none());
        assert_eq!(partitions.progress(&partition(0)).unwrap().position, Offset(8));
    }
}

#[test]
fn an_answer_is_returned_in_pieces_and_the_position_follows() {
    let (mut partitions, now) = (at(&[5]), Instant::now());
    partitions.fetched(fetched(0, 5, 8), OffsetReset::Latest, now).unwrap();
    assert_eq!(partitions.progress(&partition(0)).unwrap().position, Offset(5));
    assert_eq!(take(&mut partitions, 2), Some(vec![5, 6]));
    let committed = &partitions.positions()[&partition(0)];
    assert_eq!((committed.offset, committed.leader_epoch), (Offset(7), Some(LeaderEpoch(3))));
    assert_eq!(take(&mut partitions, 2), Some(vec![7]));
    assert_eq!(partitions.progress(&partition(0)).unwrap().position, Offset(8));
    assert_eq!(take(&mut partitions, 2), None);
}

#[test]
fn nothing_more_is_fetched_while_two_answers_wait() {
    let (mut partitions, now) = (at(&[0, 0]), Instant::now());
    partitions.fetched(fetched(0, 0, 2), OffsetReset::Latest, now).unwrap();
    assert!(!partitions.has_plenty(), "the next answer comes while the caller works");
    partitions.fetched(fetched(1, 0, 2), OffsetReset::Latest, now).unwrap();
    assert!(partitions.has_plenty());
    // What is paused does not keep others from being read.
    partitions.pause(&partition(1), true);
    assert!(!partitions.has_plenty());
    partitions.pause(&partition(1), false);
    assert_eq!(take(&mut partitions, 10), Some(vec![0, 1]));
    assert!(!partitions.has_plenty());
}

#[test]
fn what_is_paused_waits_and_what_is_revoked_or_sought_elsewhere_is_forgotten() {
    let (mut partitions, now) = (at(&[0, 0, 0]), Instant::now());
    for number in 0..3 {
        partitions.fetched(fetched(number, 0, 2), OffsetReset::Latest, now).unwrap();
    }
    partitions.pause(&partition(0), true);
    partitions.revoke(&[partition(1)].into());
    partitions.seek(&partition(2), Place::Known, Offset(9));
    assert_eq!(take(&mut partitions, 10), None);
    // An answer to a question from before the seek.
    partitions.fetched(fetched(2, 2, 4), OffsetReset::Latest, now).unwrap();
    assert_eq!(take(&mut partitions, 10), None);
    partitions.pause(&partition(0), false);
    assert_eq!(take(&mut partitions, 10), Some(vec![0, 1]));
    assert_eq!(partitions.positions()[&partition(1)].offset, Offset(0));
}

#[test]
fn an_offset_out_of_range_is_reset_unless_the_caller_chose_it_or_there_is_no_reset() {
    let (mut partitions, now) = (at(&[5]), Instant::now());
    let gone = || failed(0, 5, ErrorCode::OffsetOutOfRange);
    assert!(partitions.fetched(gone(), OffsetReset::None, now).is_err());
    assert_eq!(partitions.fetched(gone(), OffsetReset::Earliest, now), Ok(false));
    assert_eq!(partitions.progress(&partition(0)), None);
    let (committed, resets) = partitions.take_look_ups(now);
    assert!(committed.is_empty());
    assert_eq!(resets, BTreeMap::from([(partition(0), OffsetReset::Earliest)]));
    assert_eq!(partitions.take_look_ups(now), Default::default());
    // Sought elsewhere while the answer was on its way.
    partitions.seek(&partition(0), Place::Known, Offset(7));
    partitions.found_reset(&partition(0), OffsetReset::Earliest, Offset(1));
    assert_eq!(partitions.progress(&partition(0)).unwrap().position, Offset(7));

    partitions.insert(partition(0), Assigned::exactly(Offset(5)));
    assert!(partitions.fetched(gone(), OffsetReset::Earliest, now).is_err());
}

#[test]
fn a_lookup_in_vain_is_repeated_after_a_while() {
    let now = Instant::now();
    let mut partitions = Partitions::default();
    partitions.insert(partition(0), Assigned::anywhere());
    assert_eq!(partitions.take_look_ups(now).0.len(), 1);
    let later = now + Duration::from_secs(1);
    partitions.look_up_failed(&partition(0), later);
    assert_eq!(partitions.next_look_up(now), Some(later));
    assert!(partitions.take_look_ups(now).0.is_empty());
    assert_eq!(partitions.take_look_ups(later).0.len(), 1);
    let reset = OffsetReset::None;
    let missing = partitions.found_committed(&partition(0), None, reset).unwrap_err();
    assert_eq!(missing, Error::NoOffset { partitions: vec![partition(0)] });
}
fn metadata(topic_id: u128, leader_epoch: i32) -> Metadata {
    use millstream_protocol::messages::{
        MetadataResponse,
        metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
    };
    let partition = MetadataResponsePartition { leader_id: 1, leader_epoch, ..Default::default() };
    let topic = MetadataResponseTopic {
        name: Some("t".to_owned()),
        topic_id: millstream_types::Uuid(topic_id),
        partitions: vec![partition],
        ..Default::default()
    };
    let broker = MetadataResponseBroker { node_id: 1, port: 9, ..Default::default() };
    let answer = MetadataResponse { brokers: vec![broker], topics: vec![topic], ..Default::default() };
    let mut metadata = Metadata::default();
    metadata.update(answer);
    metadata
}

/// Five records fetched in epoch 3, two of them returned.
fn in_the_midst() -> Partitions {
    let (mut partitions, now) = (at(&[0]), Instant::now());
    assert!(compare(&mut partitions, &metadata(1, 3), OffsetReset::Latest).unwrap().is_empty());
    partitions.fetched(fetched(0, 0, 5), OffsetReset::Latest, now).unwrap();
    assert_eq!(take(&mut partitions, 2), Some(vec![0, 1]));
    partitions
}

fn compare(
    partitions: &mut Partitions,
    metadata: &Metadata,
    reset: OffsetReset,
) -> Result<BTreeMap<TopicPartition, Stand>> {
    let now = Instant::now();
    let (stands, outcome) = partitions.take_comparisons(now, metadata, reset, now);
    outcome.map(|()| stands)
}

fn next_fetch(partitions: &Partitions, metadata: &Metadata) -> Option<i64> {
    let (wanted, _) = partitions.to_fetch(Instant::now(), metadata, &BTreeSet::new());
    wanted.values().flatten().next().map(|from| from.offset.0)
}

/// A leader of epoch 4 says where epoch 3 has ended.
fn answer(partitions: &mut Partitions, end: Option<i64>, reset: OffsetReset) -> Result<()> {
    let metadata = metadata(1, 4);
    let stand = Stand { offset: Offset(5), leader_epoch: LeaderEpoch(3) };
    let stands = compare(partitions, &metadata, reset)?;
    assert_eq!(stands, BTreeMap::from([(partition(0), stand)]));
    assert_eq!(next_fetch(partitions, &metadata), None);
    let log = Log::of(&metadata, &partition(0)).unwrap();
    let end = end.map(|end| EpochEnd { leader_epoch: LeaderEpoch(3), offset: Offset(end) });
    partitions.compared(&partition(0), stand, Compared::End(log, end), reset, Instant::now())
}

#[test]
fn under_a_new_leader_reading_goes_on_where_its_log_agrees() {
    let new = metadata(1, 4);
    for (end, from, still_returned) in
        [(9, 5, Some(vec![2, 3, 4])), (5, 5, Some(vec![2, 3, 4])), (3, 2, None)]
    {
        let mut partitions = in_the_midst();
        answer(&mut partitions, Some(end), OffsetReset::None).unwrap();
        assert_eq!(next_fetch(&partitions, &new), Some(from), "the end is {end}");
        assert_eq!(take(&mut partitions, 9), still_returned);
    }
}

#[test]
fn what_was_read_and_is_in_the_log_no_more_is_an_error_without_a_reset() {
    let new = metadata(1, 4);
    let mut partitions = in_the_midst();
    answer(&mut partitions, Some(1), OffsetReset::Latest).unwrap();
    assert_eq!(next_fetch(&partitions, &new), Some(1));
    assert_eq!(partitions.positions()[&partition(0)].offset, Offset(1));
    let mut partitions = in_the_midst();
    answer(&mut partitions, None, OffsetReset::Latest).unwrap();
    assert_eq!(partitions.take_look_ups(Instant::now()).1.len(), 1);
    for end in [Some(1), None] {
        let cut = answer(&mut in_the_midst(), end, OffsetReset::None).unwrap_err();
        let common = end.map(Offset);
        assert_eq!(cut, Error::Truncated { partition: partition(0), position: Offset(2), common });
    }
}

#[test]
fn a_topic_that_was_made_anew_is_read_from_its_beginning() {
    let new = metadata(2, 0);
    let mut partitions = in_the_midst();
    assert!(compare(&mut partitions, &new, OffsetReset::Latest).unwrap().is_empty());
    assert_eq!(take(&mut partitions, 9), None);
    let (_, resets) = partitions.take_look_ups(Instant::now());
    assert_eq!(resets, BTreeMap::from([(partition(0), OffsetReset::Earliest)]));
    partitions.found_reset(&partition(0), OffsetReset::Earliest, Offset(0));
    assert!(compare(&mut partitions, &new, OffsetReset::Latest).unwrap().is_empty());
    assert_eq!(next_fetch(&partitions, &new), Some(0));

    let told = compare(&mut in_the_midst(), &new, OffsetReset::None).unwrap_err();
    assert!(matches!(told, Error::Truncated { common: None, .. }), "{told}");
}

#[test]
fn a_replica_that_the_leader_names_is_read_until_it_fails_or_its_time_is_over() {
    let (mut metadata, now) = (metadata(1, 3), Instant::now());
    let source = |partitions: &Partitions, metadata: &Metadata, now: Instant| {
        partitions.to_fetch(now, metadata, &BTreeSet::new()).0.into_keys().next()
    };
    let named = |partitions: &mut Partitions, from: i64| {
        let mut named = fetched(0, from, from);
        let until = now + Duration::from_secs(300);
        named.outcome =
            named.outcome.map(|outcome| Outcome { next_to: Some((BrokerId(2), until)), ..outcome });
        partitions.fetched(named, OffsetReset::Earliest, now).unwrap();
    };
    let mut partitions = in_the_midst();
    named(&mut partitions, 5);
    assert_eq!(source(&partitions, &metadata, now), Some(BrokerId(1)), "the replica's address is not known");
    let broker = crate::Broker { id: BrokerId(2), host: "h".to_owned(), port: 9, rack: None };
    metadata.brokers.insert(BrokerId(2), broker);
    assert_eq!(source(&partitions, &metadata, now), Some(BrokerId(2)));
    assert_eq!(partitions.progress(&partition(0)).unwrap().preferred_read_replica, Some(BrokerId(2)));
    assert_eq!(source(&partitions, &metadata, now + Duration::from_secs(300)), Some(BrokerId(1)));
    // A replica that is behind does not know the offset yet: no reason for a reset.
    let failed = failed(0, 5, ErrorCode::OffsetOutOfRange);
    assert_eq!(partitions.fetched(failed, OffsetReset::Earliest, now), Ok(false));
    assert_eq!(source(&partitions, &metadata, now), Some(BrokerId(1)));
}

#[test]
fn an_answer_about_a_place_that_was_left_counts_for_nothing() {
    let mut partitions = in_the_midst();
    let stands = compare(&mut partitions, &metadata(1, 4), OffsetReset::Latest).unwrap();
    partitions.seek(&partition(0), Place::Known, Offset(7));
    let log = Log::of(&metadata(1, 4), &partition(0)).unwrap();
    let nothing = Compared::End(log, None);
    let stand = stands[&partition(0)];
    partitions.compared(&partition(0), stand, nothing, OffsetReset::Latest, Instant::now()).unwrap();
    assert_eq!(partitions.positions()[&partition(0)].offset, Offset(7));
}
