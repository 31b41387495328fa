//! The partitions that a consumer reads: where it stands in each, what was fetched and not yet returned,
//! what to fetch next. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use millstream_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicPartition};

use super::{
    ConsumerRecord, Progress,
    epochs::{Compared, Log, Stand},
    fetch::{Fetched, Outcome},
    session::FetchFrom,
    unread::Unread,
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
    /// Of the last batch fetched.
    fetch_epoch: Option<LeaderEpoch>,
    /// Whom to fetch from instead of the leader, and until when.
    next_to: Option<(BrokerId, Instant)>,
    /// The log that has what was fetched; None until the place has been compared with it.
    log: Option<Log>,
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
            progress: Progress { position: offset, end: None, log_start: None, preferred_read_replica: None },
            fetch_offset: offset,
            leader_epoch: None,
            fetch_epoch: None,
            next_to: None,
            log: None,
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
        let epochs = Self { leader_epoch, fetch_epoch: leader_epoch, ..Self::new(place, offset) };
        *self = Self { is_exact, is_paused, is_revoking, ..epochs };
    }

    /// Whom to fetch from: the leader, or a replica that it has named.
    fn source(&self, now: Instant, metadata: &Metadata, partition: &TopicPartition) -> Option<BrokerId> {
        let leader = metadata.leader(partition)?;
        let offline = &metadata.partition(partition)?.offline_replicas;
        let serves = |id: &BrokerId| metadata.brokers.contains_key(id) && !offline.contains(id);
        let named = self.next_to.filter(|(id, until)| *until > now && serves(id));
        Some(named.map_or(leader, |(id, _)| id))
    }

    /// Whether the log's loss may be made good by `auto.offset.reset`.
    fn resets(&self, reset: OffsetReset) -> bool {
        !self.is_exact && reset != OffsetReset::None
    }

    fn truncated(&self, partition: &TopicPartition, common: Option<Offset>) -> Error {
        Error::Truncated { partition: partition.clone(), position: self.progress.position, common }
    }

    fn stands_still(&self) -> bool {
        self.is_paused || self.is_revoking
    }
}

#[derive(Debug)]
struct Ready {
    partition: TopicPartition,
    records: Unread,
    /// What is told once the records before it are returned.
    failure: Option<Error>,
    /// Where reading goes on behind these records.
    next: Offset,
}

/// What to fetch from whom, in the order in which an answer that must end somewhere should serve it.
pub(super) type Wanted = BTreeMap<BrokerId, Vec<FetchFrom>>;

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
        let assigned = self.assigned.get(partition).filter(|assigned| assigned.place == Place::Known)?;
        let preferred_read_replica = assigned.next_to.map(|(id, _)| id);
        Some(Progress { preferred_read_replica, ..assigned.progress })
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

    /// The next records of some partition, and moves its position behind them. After an error the partition is
    /// fetched again from `try_again` on.
    pub(super) fn take_ready(
        &mut self,
        records_max: usize,
        try_again: Instant,
    ) -> Option<Result<Vec<ConsumerRecord>>> {
        let index = self.next_ready()?;
        let ready = &mut self.ready[index];
        let mut records = Vec::new();
        while ready.failure.is_none() && records.len() < records_max {
            match ready.records.next() {
                Some(Ok(record)) => records.push(record),
                Some(Err(error)) => ready.failure = Some(error),
                None => break,
            }
        }
        if let Some(failure) = ready.failure.take_if(|_| records.is_empty()) {
            let partition = ready.partition.clone();
            self.forget_ready(&partition);
            if let Some(assigned) = self.assigned.get_mut(&partition) {
                assigned.fetch_offset = assigned.progress.position;
                assigned.not_before = Some(try_again);
            }
            return Some(Err(failure));
        }
        let is_last = ready.failure.is_none() && ready.records.is_empty();
        let position = if is_last { Some(ready.next) } else { records.last().map(|last| last.offset.next()) };
        if let Some(assigned) = self.assigned.get_mut(&ready.partition) {
            assigned.progress.position = position.unwrap_or(assigned.progress.position);
            assigned.leader_epoch =
                records.last().and_then(|last| last.leader_epoch).or(assigned.leader_epoch);
        }
        if is_last {
            self.ready.remove(index);
        }
        Some(Ok(records))
    }

    /// What to fetch from each broker that is not busy, and when one that is being held back may be tried
    /// again.
    pub(super) fn to_fetch(
        &self,
        now: Instant,
        metadata: &Metadata,
        busy: &BTreeSet<BrokerId>,
    ) -> (Wanted, Option<Instant>) {
        let mut wakeup: Option<Instant> = None;
        let mut by_source: BTreeMap<BrokerId, Vec<(u64, FetchFrom)>> = BTreeMap::new();
        for (partition, assigned) in &self.assigned {
            if assigned.stands_still() || assigned.place != Place::Known || assigned.is_looked_up {
                continue;
            }
            if let Some(not_before) = assigned.not_before.filter(|time| *time > now) {
                wakeup = Some(wakeup.map_or(not_before, |wakeup| wakeup.min(not_before)));
                continue;
            }
            let source = assigned.source(now, metadata, partition).filter(|broker| !busy.contains(broker));
            let log = Log::of(metadata, partition).filter(|log| assigned.log == Some(*log));
            let Some((source, log)) = source.zip(log) else { continue };
            let from = FetchFrom { partition: partition.clone(), offset: assigned.fetch_offset, log };
            by_source.entry(source).or_default().push((assigned.served, from));
        }
        let in_order = |mut wanted: Vec<(u64, FetchFrom)>| {
            // Partitions are in order already.
            wanted.sort_by_key(|(served, _)| *served);
            wanted.into_iter().map(|(_, from)| from).collect()
        };
        (by_source.into_iter().map(|(source, wanted)| (source, in_order(wanted))).collect(), wakeup)
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
            Ok(Outcome { records, next, leader_epoch, end, log_start, next_to, .. }) => {
                assigned.progress = Progress { end: Some(end), log_start, ..assigned.progress };
                if next_to.is_some() {
                    assigned.next_to = next_to;
                }
                assigned.not_before = None;
                assigned.fetch_offset = next;
                assigned.fetch_epoch = leader_epoch.or(assigned.fetch_epoch);
                if next > fetch_offset {
                    assigned.served = self.answers;
                    self.ready.push_back(Ready { partition, records, failure: None, next });
                }
                Ok(false)
            }
            Err(error) if error.is_retriable() => {
                tracing::debug!(%partition, %error, "not fetched; trying again");
                assigned.not_before = Some(try_again);
                assigned.next_to = None;
                Ok(error.is_stale_metadata())
            }
            Err(error) => {
                if let Some((replica, _)) = assigned.next_to.take() {
                    // It may be behind; the leader knows.
                    tracing::debug!(%partition, %replica, %error, "not fetched; asking the leader");
                    return Ok(false);
                }
                let out_of_range = error.code() == Some(ErrorCode::OffsetOutOfRange);
                if out_of_range && assigned.resets(reset) {
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

    /// Places to be compared with the log that the metadata tells of, now marked as asked for. Those that need
    /// no comparison are settled; an error is one for the caller.
    pub(super) fn take_comparisons(
        &mut self,
        now: Instant,
        metadata: &Metadata,
        reset: OffsetReset,
        try_again: Instant,
    ) -> (BTreeMap<TopicPartition, Stand>, Result<()>) {
        let (mut stands, mut anew, mut failure) = (BTreeMap::new(), Vec::new(), Ok(()));
        for (partition, assigned) in &mut self.assigned {
            let waits = assigned.is_revoking || assigned.is_looked_up || assigned.place != Place::Known;
            if waits || assigned.not_before.is_some_and(|time| time > now) {
                continue;
            }
            let Some(log) = Log::of(metadata, partition).filter(|log| assigned.log != Some(*log)) else {
                continue;
            };
            if assigned.log.is_some_and(|known| known.is_of_another_topic(&log)) {
                if !assigned.resets(reset) {
                    assigned.not_before = Some(try_again);
                    failure = Err(assigned.truncated(partition, None));
                    continue;
                }
                tracing::info!(%partition, "the topic was made anew; reading it from its beginning");
                // All that the new topic has is younger than what was read.
                let from = if let OffsetReset::ByDuration(_) = reset { reset } else { OffsetReset::Earliest };
                assigned.go(Place::Reset(from), Offset::ZERO, None);
                anew.push(partition.clone());
                continue;
            }
            match assigned.fetch_epoch.filter(|_| log.leader_epoch.is_some()) {
                Some(leader_epoch) => {
                    assigned.is_looked_up = true;
                    stands.insert(partition.clone(), Stand { offset: assigned.fetch_offset, leader_epoch });
                }
                None => assigned.log = Some(log),
            }
        }
        for partition in &anew {
            self.forget_ready(partition);
        }
        (stands, failure)
    }

    /// What the leader said of a place that was compared; an error is one for the caller.
    pub(super) fn compared(
        &mut self,
        partition: &TopicPartition,
        stand: Stand,
        compared: Compared,
        reset: OffsetReset,
        try_again: Instant,
    ) -> Result<()> {
        let Some(assigned) = self.asked(partition, Place::Known) else { return Ok(()) };
        if assigned.fetch_offset != stand.offset {
            // An answer came in meanwhile; it is compared anew.
            return Ok(());
        }
        let (log, end) = match compared {
            Compared::Unknown(log) => {
                assigned.log = Some(log);
                return Ok(());
            }
            Compared::End(log, end) => (log, end),
        };
        match end {
            Some(end) if end.offset >= assigned.fetch_offset => assigned.log = Some(log),
            // Only what has not been returned yet is gone.
            Some(end) if end.offset >= assigned.progress.position => {
                assigned.fetch_offset = assigned.progress.position;
                assigned.fetch_epoch = assigned.leader_epoch;
                assigned.log = Some(log);
                self.forget_ready(partition);
            }
            _ if !assigned.resets(reset) => {
                assigned.not_before = Some(try_again);
                return Err(assigned.truncated(partition, end.map(|end| end.offset)));
            }
            Some(end) => {
                let position = assigned.progress.position.0;
                tracing::warn!(%partition, position, end = end.offset.0, "the log was cut; reading on at its end");
                assigned.go(Place::Known, end.offset, Some(end.leader_epoch));
                assigned.log = Some(log);
                self.forget_ready(partition);
            }
            None => {
                tracing::warn!(%partition, ?reset, "the log has nothing of what was read; resetting");
                assigned.go(Place::Reset(reset), Offset::ZERO, None);
                self.forget_ready(partition);
            }
        }
        Ok(())
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
mod tests;
