//! Fetch sessions (KIP-227): the broker remembers what a consumer fetches, so that a request names only
//! what changed and a response only what has news. `org.apache.kafka.server.FetchSession`.
//!
//! Knows nothing of logs: it keeps what was asked and what was last said of each partition.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use millstream_types::{ErrorCode, TimestampMs, Uuid};
use parking_lot::Mutex;

/// How a request names a topic: by id from version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    Name(Arc<str>),
    Id(Uuid),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FetchKey {
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
}

/// What the consumer wants of one partition, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) fetch_offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
}

/// What a response says of a partition, as far as it decides whether saying it again is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionRef {
    pub(crate) id: i32,
    pub(crate) epoch: i32,
}

const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;

/// What a request turned out to mean.
#[derive(Debug)]
pub(crate) enum FetchContext {
    /// Answer everything, remember nothing.
    Sessionless,
    /// Answer everything and, if there is room, remember it.
    Full,
    /// Answer only what has news.
    Incremental { id: i32 },
}

struct Session {
    epoch: i32,
    by_id: bool,
    last_used: TimestampMs,
    /// In the order in which partitions are looked at: one that just had records goes to the end, so
    /// that a busy partition does not starve the others.
    order: BTreeMap<u64, Entry>,
    places: HashMap<FetchKey, u64>,
    next_place: u64,
}

struct Entry {
    key: FetchKey,
    wanted: Wanted,
    said: Option<Said>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimits {
    /// `max.incremental.fetch.session.cache.slots`
    pub(crate) slots: usize,
    /// `min.incremental.fetch.session.eviction.ms`
    pub(crate) eviction_ms: i64,
}

pub(crate) struct FetchSessions {
    limits: SessionLimits,
    /// Held for the bookkeeping of one request, never across a read.
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    sessions: HashMap<i32, Session>,
    last_id: i32,
}

/// The request's side of a session: what it adds or changes, and what it forgets.
pub(crate) struct SessionRequest {
    pub(crate) session: SessionRef,
    pub(crate) by_id: bool,
    pub(crate) wanted: Vec<(FetchKey, Wanted)>,
    pub(crate) forgotten: Vec<FetchKey>,
}

impl FetchSessions {
    pub(crate) fn new(limits: SessionLimits) -> Self {
        Self { limits, cache: Mutex::default() }
    }

    /// The partitions to read for this request, in order, and how its answer is to be treated.
    pub(crate) fn begin(
        &self,
        request: SessionRequest,
        now: TimestampMs,
    ) -> Result<(FetchContext, Vec<(FetchKey, Wanted)>), ErrorCode> {
        let SessionRef { id, epoch } = request.session;
        let mut cache = self.cache.lock();
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            if id != 0 {
                cache.sessions.remove(&id);
            }
            let context = if epoch == INITIAL_EPOCH { FetchContext::Full } else { FetchContext::Sessionless };
            return Ok((context, request.wanted));
        }
        let session = cache.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != request.by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.epoch = next_epoch(epoch);
        session.last_used = now;
        for (key, wanted) in request.wanted {
            session.upsert(key, wanted, None);
        }
        for key in &request.forgotten {
            session.forget(key);
        }
        let partitions = session.order.values().map(|entry| (entry.key.clone(), entry.wanted)).collect();
        if session.order.is_empty() {
            cache.sessions.remove(&id);
            return Ok((FetchContext::Sessionless, partitions));
        }
        Ok((FetchContext::Incremental { id }, partitions))
    }

    /// Remembers a full fetch. 0 when there is no room: the client then goes on without a session.
    pub(crate) fn create(
        &self,
        by_id: bool,
        partitions: impl IntoIterator<Item = (FetchKey, Wanted, Option<Said>)>,
        now: TimestampMs,
    ) -> i32 {
        let mut cache = self.cache.lock();
        if cache.sessions.len() >= self.limits.slots && !cache.evict(self.limits.eviction_ms, now) {
            return 0;
        }
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            last_used: now,
            order: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
        };
        for (key, wanted, said) in partitions {
            session.upsert(key, wanted, said);
        }
        if session.order.is_empty() {
            return 0;
        }
        let id = cache.free_id();
        cache.sessions.insert(id, session);
        id
    }

    /// Of an incremental answer: which of these partitions have news. Records or an error always are;
    /// otherwise a moved high watermark or log start offset. Notes what is now said.
    pub(crate) fn news(&self, id: i32, outcomes: &[(FetchKey, Option<Said>, bool)]) -> Vec<bool> {
        let mut cache = self.cache.lock();
        let Some(session) = cache.sessions.get_mut(&id) else { return vec![true; outcomes.len()] };
        outcomes.iter().map(|(key, said, must_tell)| session.note(key, *said, *must_tell)).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.cache.lock().sessions.len()
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

impl Session {
    fn upsert(&mut self, key: FetchKey, wanted: Wanted, said: Option<Said>) {
        if let Some(entry) = self.places.get(&key).and_then(|place| self.order.get_mut(place)) {
            entry.wanted = wanted;
            return;
        }
        self.append(Entry { key, wanted, said });
    }

    fn append(&mut self, entry: Entry) {
        self.places.insert(entry.key.clone(), self.next_place);
        self.order.insert(self.next_place, entry);
        self.next_place += 1;
    }

    fn forget(&mut self, key: &FetchKey) {
        if let Some(place) = self.places.remove(key) {
            self.order.remove(&place);
        }
    }

    fn note(&mut self, key: &FetchKey, said: Option<Said>, must_tell: bool) -> bool {
        let Some(&place) = self.places.get(key) else { return true };
        let Some(entry) = self.order.get_mut(&place) else { return true };
        // After an error nothing is taken as said, so that the recovery is told again.
        let news = must_tell || entry.said != said;
        entry.said = said;
        if must_tell
            && said.is_some()
            && let Some(entry) = self.order.remove(&place)
        {
            self.append(entry);
        }
        news
    }
}

impl Cache {
    /// Makes room by dropping the session that was unused longest, if that is long enough.
    fn evict(&mut self, eviction_ms: i64, now: TimestampMs) -> bool {
        let oldest = self.sessions.iter().min_by_key(|(_, session)| session.last_used);
        let Some((&id, session)) = oldest else { return false };
        let idle = now.since(session.last_used) >= eviction_ms;
        if idle {
            self.sessions.remove(&id);
        }
        idle
    }

    /// Ids start anywhere but 0 and are never in use twice.
    fn free_id(&mut self) -> i32 {
        loop {
            self.last_id = if self.last_id == i32::MAX { 1 } else { self.last_id + 1 };
            if !self.sessions.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000);
    const WANTED: Wanted =
        Wanted { fetch_offset: 0, max_bytes: 1, current_leader_epoch: -1, last_fetched_epoch: -1 };

    fn key(partition: i32) -> FetchKey {
        FetchKey { topic: TopicKey::Name("t".into()), partition }
    }

    fn said(high_watermark: i64) -> Option<Said> {
        Some(Said { high_watermark, log_start_offset: 0 })
    }

    fn request(id: i32, epoch: i32) -> SessionRequest {
        SessionRequest { session: SessionRef { id, epoch }, by_id: false, wanted: vec![], forgotten: vec![] }
    }

    fn sessions(slots: usize) -> FetchSessions {
        FetchSessions::new(SessionLimits { slots, eviction_ms: 100 })
    }

    #[test]
    fn an_incremental_fetch_reads_what_was_asked_before_and_tells_only_news() {
        let sessions = sessions(1);
        let id = sessions.create(false, [(key(0), WANTED, said(5)), (key(1), WANTED, said(5))], NOW);
        assert_ne!(id, 0);
        let (context, partitions) = sessions.begin(request(id, 1), NOW).unwrap();
        assert!(matches!(context, FetchContext::Incremental { .. }));
        assert_eq!(partitions.len(), 2);
        let told = sessions.news(id, &[(key(0), said(5), false), (key(1), said(6), false)]);
        assert_eq!(told, [false, true]);
    }

    #[test]
    fn a_partition_with_records_goes_to_the_end() {
        let sessions = sessions(1);
        let id = sessions.create(false, [(key(0), WANTED, None), (key(1), WANTED, None)], NOW);
        sessions.news(id, &[(key(0), said(1), true)]);
        let (_, partitions) = sessions.begin(request(id, 1), NOW).unwrap();
        assert_eq!(partitions.into_iter().map(|(k, _)| k.partition).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn wrong_ids_and_epochs_are_refused_by_name() {
        let sessions = sessions(1);
        let id = sessions.create(false, [(key(0), WANTED, None)], NOW);
        assert_eq!(sessions.begin(request(id + 1, 1), NOW).unwrap_err(), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(sessions.begin(request(id, 7), NOW).unwrap_err(), ErrorCode::InvalidFetchSessionEpoch);
        let by_id = SessionRequest { by_id: true, ..request(id, 1) };
        assert_eq!(sessions.begin(by_id, NOW).unwrap_err(), ErrorCode::FetchSessionTopicIdError);
    }

    #[test]
    fn a_full_cache_gives_no_session_until_one_has_idled_long_enough() {
        let sessions = sessions(1);
        assert_ne!(sessions.create(false, [(key(0), WANTED, None)], NOW), 0);
        assert_eq!(sessions.create(false, [(key(0), WANTED, None)], NOW.plus_ms(99)), 0);
        assert_ne!(sessions.create(false, [(key(0), WANTED, None)], NOW.plus_ms(100)), 0);
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn forgetting_the_last_partition_ends_the_session() {
        let sessions = sessions(1);
        let id = sessions.create(false, [(key(0), WANTED, None)], NOW);
        let forget = SessionRequest { forgotten: vec![key(0)], ..request(id, 1) };
        assert!(matches!(sessions.begin(forget, NOW), Ok((FetchContext::Sessionless, _))));
        assert_eq!(sessions.count(), 0);
    }
}
