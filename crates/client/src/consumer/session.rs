//! A fetch session with one broker (KIP-227): the broker remembers which partitions are wanted and from
//! where, a request says only what has changed, an answer only what is new. Both sides count the requests of
//! a session, so that they notice when they no longer mean the same. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use millstream_types::{ErrorCode, Offset, TopicPartition, Uuid};

use super::epochs::Log;

/// The broker is to open no session, or to close the one that is named.
pub(super) const FINAL_EPOCH: i32 = -1;
/// The request names all its partitions; a session named is closed and a new one opened.
const INITIAL_EPOCH: i32 = 0;
/// No session.
const NO_SESSION: i32 = 0;

/// Which partition is wanted and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FetchFrom {
    pub(super) partition: TopicPartition,
    pub(super) offset: Offset,
    pub(super) log: Log,
}

/// What the next request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    /// Whether topics go by id.
    pub(super) by_id: bool,
    pub(super) partitions: Vec<FetchFrom>,
    /// Not wanted any more; topics by the id that they had.
    pub(super) forgotten: Vec<(TopicPartition, Option<Uuid>)>,
}

impl Ask {
    /// Whether the answer has to name every partition.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.session_epoch, INITIAL_EPOCH | FINAL_EPOCH)
    }
}

#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    /// Of the next request.
    epoch: i32,
    by_id: bool,
    /// What the broker remembers.
    partitions: BTreeMap<TopicPartition, (Offset, Log)>,
}

impl Session {
    pub(super) fn id(&self) -> Option<i32> {
        Some(self.id).filter(|id| *id != NO_SESSION)
    }

    /// The request for these partitions, in their order.
    pub(super) fn ask(&mut self, wanted: &[FetchFrom], by_id: bool) -> Ask {
        if self.by_id != by_id {
            self.restart();
            self.by_id = by_id;
        }
        let mut ask = Ask { session_id: self.id, session_epoch: self.epoch, by_id, ..Ask::default() };
        if ask.is_full() {
            self.partitions.clear();
        }
        let names: BTreeSet<&TopicPartition> = wanted.iter().map(|from| &from.partition).collect();
        self.partitions.retain(|partition, (_, log)| {
            let stays = names.contains(partition);
            if !stays {
                ask.forgotten.push((partition.clone(), log.topic_id));
            }
            stays
        });
        for from in wanted {
            let before = self.partitions.insert(from.partition.clone(), (from.offset, from.log));
            if before == Some((from.offset, from.log)) {
                continue;
            }
            ask.partitions.push(from.clone());
            // By its id it is another partition.
            if let Some((_, log)) = before.filter(|(_, log)| by_id && log.topic_id != from.log.topic_id) {
                ask.forgotten.push((from.partition.clone(), log.topic_id));
            }
        }
        ask
    }

    /// What the broker remembers under a topic's id.
    pub(super) fn topic_ids(&self) -> impl Iterator<Item = (Uuid, &TopicPartition)> {
        self.partitions.iter().filter_map(|(partition, (_, log))| Some((log.topic_id?, partition)))
    }

    pub(super) fn contains(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    /// The request was answered, with records or without.
    pub(super) fn answered(&mut self, session_id: i32) {
        if session_id == NO_SESSION || (self.epoch != INITIAL_EPOCH && session_id != self.id) {
            // The broker has no room for a session, or has given this one to someone else.
            *self = Self { by_id: self.by_id, ..Self::default() };
            return;
        }
        self.id = session_id;
        self.epoch = self.epoch.checked_add(1).unwrap_or(INITIAL_EPOCH + 1);
    }

    /// The request was refused as a whole.
    pub(super) fn refused(&mut self, code: ErrorCode) {
        self.restart();
        if code == ErrorCode::FetchSessionIdNotFound {
            self.id = NO_SESSION;
        }
    }

    /// Whether the broker knows the request is not known, or what it remembers is in doubt: the next request
    /// closes the session and opens another.
    pub(super) fn restart(&mut self) {
        self.epoch = INITIAL_EPOCH;
    }
}

#[cfg(test)]
mod tests {
    use millstream_types::{LeaderEpoch, PartitionId, TopicName};

    use super::*;

    fn from(number: i32, offset: i64, topic_id: u128) -> FetchFrom {
        FetchFrom {
            partition: TopicPartition::new(TopicName::from_static("t"), PartitionId(number)),
            offset: Offset(offset),
            log: Log { topic_id: Some(Uuid(topic_id)), leader_epoch: Some(LeaderEpoch(0)) },
        }
    }

    fn names(ask: &Ask) -> (Vec<i32>, Vec<i32>) {
        let sent = ask.partitions.iter().map(|from| from.partition.partition.0).collect();
        (sent, ask.forgotten.iter().map(|(partition, _)| partition.partition.0).collect())
    }

    /// A session that knows partitions 0 and 1.
    fn open() -> Session {
        let mut session = Session::default();
        let ask = session.ask(&[from(0, 0, 1), from(1, 0, 1)], true);
        assert_eq!((ask.session_id, ask.session_epoch, ask.is_full()), (0, 0, true));
        assert_eq!(names(&ask), (vec![0, 1], vec![]));
        session.answered(77);
        session
    }

    #[test]
    fn a_session_says_only_what_has_changed() {
        let mut session = open();
        let ask = session.ask(&[from(0, 5, 1), from(1, 0, 1), from(2, 0, 1)], true);
        assert_eq!((ask.session_id, ask.session_epoch, ask.is_full()), (77, 1, false));
        assert_eq!(names(&ask), (vec![0, 2], vec![]));
        session.answered(77);
        let ask = session.ask(&[from(2, 0, 1)], true);
        assert_eq!((ask.session_epoch, names(&ask)), (2, (vec![], vec![0, 1])));
        session.answered(77);
        assert_eq!(names(&session.ask(&[from(2, 0, 1)], true)), (vec![], vec![]));
    }

    #[test]
    fn a_topic_made_anew_is_forgotten_by_its_old_id() {
        let mut session = open();
        let ask = session.ask(&[from(0, 0, 2), from(1, 0, 1)], true);
        assert_eq!(names(&ask), (vec![0], vec![0]));
        assert_eq!(ask.forgotten[0].1, Some(Uuid(1)));
        assert_eq!(ask.partitions[0].log.topic_id, Some(Uuid(2)));
    }

    #[test]
    fn whatever_goes_wrong_the_next_request_says_all_and_opens_a_session() {
        let wanted = [from(0, 0, 1), from(1, 0, 1)];
        let next = |change: fn(&mut Session)| {
            let mut session = open();
            session.ask(&[from(0, 3, 1)], true);
            change(&mut session);
            let ask = session.ask(&wanted, true);
            assert_eq!(names(&ask), (vec![0, 1], vec![]));
            assert!(ask.is_full());
            ask.session_id
        };
        assert_eq!(next(|session| session.refused(ErrorCode::FetchSessionIdNotFound)), 0);
        // The broker may have it still, and is told to close it.
        assert_eq!(next(|session| session.refused(ErrorCode::InvalidFetchSessionEpoch)), 77);
        assert_eq!(next(|session| session.refused(ErrorCode::FetchSessionTopicIdError)), 77);
        assert_eq!(next(Session::restart), 77);
        assert_eq!(next(|session| session.answered(0)), 0);
        assert_eq!(next(|session| session.answered(5)), 0);
        let mut session = open();
        assert!(session.ask(&wanted, false).is_full());
    }

    #[test]
    fn the_count_of_requests_begins_again_at_one() {
        let mut session = open();
        session.epoch = i32::MAX;
        session.answered(77);
        assert_eq!(session.epoch, 1);
    }
}
