//! The partitions that a consumer reads: where it stands in each, what was fetched and not yet returned,
//! what to fetch next. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use millstream_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicPartition};

use super::{
    ConsumerRecord, Progress,
    fetch::{Fetched, Outcome},
};
use crate::{CommittedOffset, Error, Metadata, OffsetReset, Result};

/// How far it is known where to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// From the committed offset, which is to be asked for.
    Committed,
    /// From where a reset leads.
    Reset(OffsetReset),
    Known,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Assigned {
    pub(super) place: Place,
    /// Means something once the place is known.
    progress: Progress,
    /// What to fetch next; ahead of the position while records wait to be polled.
    fetch_offset: Offset,
    /// Of the last record returned.
    leader_epoch: Option<LeaderEpoch>,
    /// Not fetched or looked up before this, after an answer that did not help.
    not_before: Option<Instant>,
    /// When it last gave records, counted in answers: an answer is limited, so the longest without comes
    /// first in the next request.
    served: u64,
    /// The caller chose the offset and is told if it is not there; `auto.offset.reset` does not apply.
    is_exact: bool,
    is_paused: bool,
    /// About to be given up: it stands still.
    is_revoking: bool,
    /// A question about its place is under way.
    is_looked_up: bool,
}

impl Assigned {
    fn new(place: Place, offset: Offset) -> Self {
        Self {
            place,
            progress: Progress { position: offset, end: None, log_start: None },
            fetch_offset: offset,
            leader_epoch: None,
            not_before: None,
            served: 0,
            is_exact: false,
            is_paused: false,
            is_revoking: false,
            is_looked_up: false,
        }
    }

    /// Wherever the group has committed.
    pub(super) fn anywhere() -> Self {
        Self::new(Place::Committed, Offset::ZERO)
    }

    /// At an offset of the caller's, which must be there.
    pub(super) fn exactly(offset: Offset) -> Self {
        Self { is_exact: true, ..Self::new(Place::Known, offset) }
    }

    fn go(&mut self, place: Place, offset: Offset, leader_epoch: Option<LeaderEpoch>) {
        let (is_exact, is_paused, is_revoking) = (self.is_exact, self.is_paused, self.is_revoking);
        *self = Self { is_exact, is_paused, is_revoking, leader_epoch, ..Self::new(place, offset) };
    }

    fn stands_still(&self) -> bool {
        self.is_paused || self.is_revoking
    }
}

#[derive(Debug)]
struct Ready {
    partition: TopicPartition,
    records: std::vec::IntoIter<ConsumerRecord>,
    /// Where reading goes on behind these records.
    next: Offset,
}

/// What to fetch from whom, in the order in which an answer that must end somewhere should serve it.
pub(super) type Wanted = BTreeMap<BrokerId, Vec<(TopicPartition, Offset)>>;

#[derive(Debug, Default)]
pub(super) struct Partitions {
    assigned: BTreeMap<TopicPartition, Assigned>,
    ready: VecDeque<Ready>,
    answers: u64,
}

impl Partitions {
    pub(super) fn clear(&mut self) {
        self.assigned.clear();
        self.ready.clear();
    }

    pub(super) fn insert(&mut self, partition: TopicPartition, assigned: Assigned) {
        self.forget_ready(&partition);
        self.assigned.insert(partition, assigned);
    }

    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        self.forget_ready(partition);
        self.assigned.remove(partition);
    }

    pub(super) fn names(&self) -> BTreeSet<TopicPartition> {
        self.assigned.keys().cloned().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TopicPartition> {
        self.assigned.keys()
    }

    pub(super) fn contains(&self, partition: &TopicPartition) -> bool {
        self.assigned.contains_key(partition)
    }

    pub(super) fn progress(&self, partition: &TopicPartition) -> Option<Progress> {
        self.assigned.get(partition).filter(|assigned| assigned.place == Place::Known).map(|a| a.progress)
    }

    /// Reads on from elsewhere; false if the partition is not assigned.
    pub(super) fn seek(&mut self, partition: &TopicPartition, place: Place, offset: Offset) -> bool {
        self.forget_ready(partition);
        let assigned = self.assigned.get_mut(partition);
        assigned.map(|assigned| assigned.go(place, offset, None)).is_some()
    }

    pub(super) fn pause(&mut self, partition: &TopicPartition, paused: bool) -> bool {
        self.assigned.get_mut(partition).map(|assigned| assigned.is_paused = paused).is_some()
    }

    pub(super) fn paused(&self) -> BTreeSet<TopicPartition> {
        let paused = self.assigned.iter().filter(|(_, assigned)| assigned.is_paused);
        paused.map(|(partition, _)| partition.clone()).collect()
    }

    /// These are about to be given up: nothing more of them is returned.
    pub(super) fn revoke(&mut self, partitions: &BTreeSet<TopicPartition>) {
        for partition in partitions {
            if let Some(assigned) = self.assigned.get_mut(partition) {
                assigned.is_revoking = true;
            }
        }
    }

    /// Where reading would go on if it began anew: behind what has been returned.
    pub(super) fn positions(&self) -> BTreeMap<TopicPartition, CommittedOffset> {
        let known = self.assigned.iter().filter(|(_, assigned)| assigned.place == Place::Known);
        let offset = |assigned: &Assigned| CommittedOffset {
            offset: assigned.progress.position,
            leader_epoch: assigned.leader_epoch,
            metadata: String::new(),
        };
        known.map(|(partition, assigned)| (partition.clone(), offset(assigned))).collect()
    }

    fn forget_ready(&mut self, partition: &TopicPartition) {
        self.ready.retain(|ready| ready.partition != *partition);
    }

    fn next_ready(&self) -> Option<usize> {
        let waits = |ready: &Ready| {
            self.assigned.get(&ready.partition).is_none_or(|assigned| !assigned.stands_still())
        };
        self.ready.iter().position(waits)
    }

    /// Whether so much waits that no more need be fetched: more than what is being returned right now.
    pub(super) fn has_plenty(&self) -> bool {
        let waits = |ready: &&Ready| {
            self.assigned.get(&ready.partition).is_some_and(|assigned| !assigned.stands_still())
        };
        self.ready.iter().filter(waits).count() > 1
    }

    /// The next records of some partition, and moves its position behind them.
    pub(super) fn take_ready(&mut self, records_max: usize) -> Option<Vec<ConsumerRecord>> {
        let index = self.next_ready()?;
        let ready = &mut self.ready[index];
        let records: Vec<ConsumerRecord> = ready.records.by_ref().take(records_max).collect();
        let is_last = ready.records.len() == 0;
        let position = match records.last() {
            Some(last) if !is_last => last.offset.next(),
            _ => ready.next,
        };
        if let Some(assigned) = self.assigned.get_mut(&ready.partition) {
            assigned.progress.position = position;
            assigned.leader_epoch =
                records.last().and_then(|last| last.leader_epoch).or(assigned.leader_epoch);
        }
        if is_last {
            self.ready.remove(index);
        }
        Some(records)
    }

    /// What to fetch from each leader that is not busy, and when one that is being held back may be tried
    /// again.
    pub(super) fn to_fetch(
        &self,
        now: Instant,
        metadata: &Metadata,
        busy: &BTreeSet<BrokerId>,
    ) -> (Wanted, Option<Instant>) {
        let mut wakeup: Option<Instant> = None;
        let mut by_leader: BTreeMap<BrokerId, Vec<(u64, TopicPartition, Offset)>> = BTreeMap::new();
        for (partition, assigned) in &self.assigned {
            if assigned.stands_still() || assigned.place != Place::Known {
                continue;
            }
            if let Some(not_before) = assigned.not_before.filter(|time| *time > now) {
                wakeup = Some(wakeup.map_or(not_before, |wakeup| wakeup.min(not_before)));
                continue;
            }
            let leader = metadata.leader(partition).filter(|leader| !busy.contains(leader));
            let Some(leader) = leader else { continue };
            let wanted = (assigned.served, partition.clone(), assigned.fetch_offset);
            by_leader.entry(leader).or_default().push(wanted);
        }
        let in_order = |mut wanted: Vec<(u64, TopicPartition, Offset)>| {
            wanted.sort_unstable();
            wanted.into_iter().map(|(_, partition, offset)| (partition, offset)).collect()
        };
        (by_leader.into_iter().map(|(leader, wanted)| (leader, in_order(wanted))).collect(), wakeup)
    }

    /// Takes in what became of one partition of a fetch; an error is one for the caller. True if the
    /// metadata may be stale.
    pub(super) fn fetched(
        &mut self,
        fetched: Fetched,
        reset: OffsetReset,
        try_again: Instant,
    ) -> Result<bool> {
        let Fetched { partition, fetch_offset, outcome } = fetched;
        // Assigned anew or sought elsewhere meanwhile: nobody wants this any more.
        let wanted = |a: &&mut Assigned| a.fetch_offset == fetch_offset && a.place == Place::Known;
        let Some(assigned) = self.assigned.get_mut(&partition).filter(wanted) else { return Ok(false) };
        match outcome {
            Ok(Outcome { records, next, end, log_start }) => {
                assigned.progress = Progress { end: Some(end), log_start, ..assigned.progress };
                assigned.not_before = None;
                assigned.fetch_offset = next;
                if next > fetch_offset {
                    assigned.served = self.answers;
                    self.ready.push_back(Ready { partition, records: records.into_iter(), next });
                }
                Ok(false)
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%partition, %error, "not fetched; trying again");
                assigned.not_before = Some(try_again);
                Ok(error.is_stale_metadata())
            }
            Err(error) => {
                let out_of_range = error.code() == Some(ErrorCode::OffsetOutOfRange);
                if out_of_range && !assigned.is_exact && reset != OffsetReset::None {
                    tracing::info!(%partition, offset = fetch_offset.0, ?reset, "no such offset; resetting");
                    assigned.go(Place::Reset(reset), fetch_offset, None);
                    return Ok(false);
                }
                // Reported once; whoever polls again without a seek asks again.
                assigned.not_before = Some(try_again);
                Err(error)
            }
        }
    }

    pub(super) fn count_answer(&mut self) {
        self.answers += 1;
    }

    /// Partitions whose place must be asked for, now marked as asked for.
    pub(super) fn take_look_ups(
        &mut self,
        now: Instant,
    ) -> (BTreeSet<TopicPartition>, BTreeMap<TopicPartition, OffsetReset>) {
        let (mut committed, mut resets) = (BTreeSet::new(), BTreeMap::new());
        for (partition, assigned) in &mut self.assigned {
            let waits = assigned.is_revoking || assigned.is_looked_up;
            if waits || assigned.not_before.is_some_and(|time| time > now) {
                continue;
            }
            match assigned.place {
                Place::Committed => assigned.is_looked_up = committed.insert(partition.clone()),
                Place::Reset(reset) => {
                    assigned.is_looked_up = true;
                    resets.insert(partition.clone(), reset);
                }
                Place::Known => {}
            }
        }
        (committed, resets)
    }

    /// The earliest time at which a place may be asked for again.
    pub(super) fn next_look_up(&self, now: Instant) -> Option<Instant> {
        let waiting = self.assigned.values().filter(|a| a.place != Place::Known && !a.is_looked_up);
        waiting.filter_map(|assigned| assigned.not_before).filter(|time| *time > now).min()
    }

    /// What the group has committed for a partition; without a commit the reset says where.
    pub(super) fn found_committed(
        &mut self,
        partition: &TopicPartition,
        committed: Option<&CommittedOffset>,
        reset: OffsetReset,
    ) -> Result<()> {
        let Some(assigned) = self.asked(partition, Place::Committed) else { return Ok(()) };
        match committed {
            Some(at) => assigned.go(Place::Known, at.offset, at.leader_epoch),
            None if reset == OffsetReset::None => {
                return Err(Error::NoOffset { partitions: vec![partition.clone()] });
            }
            None => assigned.go(Place::Reset(reset), Offset::ZERO, None),
        }
        Ok(())
    }

    pub(super) fn found_reset(&mut self, partition: &TopicPartition, reset: OffsetReset, offset: Offset) {
        if let Some(assigned) = self.asked(partition, Place::Reset(reset)) {
            tracing::debug!(%partition, offset = offset.0, "reset");
            assigned.go(Place::Known, offset, None);
        }
    }

    /// The question was in vain; it is put again later.
    pub(super) fn look_up_failed(&mut self, partition: &TopicPartition, try_again: Instant) {
        if let Some(assigned) = self.assigned.get_mut(partition) {
            assigned.is_looked_up = false;
            assigned.not_before = Some(try_again);
        }
    }

    /// The partition, if it still waits for this answer.
    fn asked(&mut self, partition: &TopicPartition, place: Place) -> Option<&mut Assigned> {
        let assigned = self.assigned.get_mut(partition)?;
        let waited = std::mem::replace(&mut assigned.is_looked_up, false);
        (waited && assigned.place == place).then_some(assigned)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use millstream_record::TimestampType;
    use millstream_types::{PartitionId, TimestampMs, TopicName};

    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new(TopicName::from_static("t"), PartitionId(number))
    }

    fn fetched(number: i32, from: i64, to: i64) -> Fetched {
        let record = |offset| ConsumerRecord {
            partition: partition(number),
            offset: Offset(offset),
            leader_epoch: Some(LeaderEpoch(3)),
            timestamp: TimestampMs(0),
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        let records = (from..to).map(record).collect();
        let outcome = Outcome { records, next: Offset(to), end: Offset(to), log_start: None };
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
        let records = partitions.take_ready(most)?;
        Some(records.into_iter().map(|record| record.offset.0).collect())
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
}
