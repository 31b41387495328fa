//! One fetch request and the records in its answer.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Instant,
};

use bytes::Bytes;
use millstream_protocol::messages::{
    FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    fetch_response::PartitionData,
};
use millstream_record::{
    BatchHeader, RecordBatch,
    batch::batches,
    control::{ControlType, EndTransactionMarker},
};
use millstream_types::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionId, TopicName, TopicPartition, Uuid,
};

use super::{
    session::{Ask, FINAL_EPOCH, FetchFrom, Session},
    unread::{Unread, damaged},
};
use crate::{
    Client, Connection, Error, Result,
    client::Lane,
    config::{ConsumerConfig, IsolationLevel, as_millis_i32},
    metrics::ConsumerMeters,
};

/// From here on topics go by id (KIP-516).
const VERSION_WITH_IDS: i16 = 13;
/// From here on there are fetch sessions (KIP-227).
const VERSION_WITH_SESSIONS: i16 = 7;
/// From here on a consumer may read from the replica next to it (KIP-392).
const VERSION_WITH_RACK: i16 = 11;

/// What became of one partition of a fetch.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) partition: TopicPartition,
    /// Where the fetch began, to tell whether it is still wanted.
    pub(super) fetch_offset: Offset,
    pub(super) outcome: Result<Outcome>,
}

#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) records: Unread,
    /// How many those are, with some perhaps that were not asked for.
    pub(super) record_count: usize,
    /// As they were sent.
    pub(super) bytes: usize,
    /// Behind the last batch.
    pub(super) next: Offset,
    /// Of the last batch.
    pub(super) leader_epoch: Option<LeaderEpoch>,
    pub(super) end: Offset,
    pub(super) log_start: Option<Offset>,
    /// A replica next to this consumer (KIP-392), and until when to read from it.
    pub(super) next_to: Option<(BrokerId, Instant)>,
}

/// Whom a fetch is to be sent to, over which connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) lane: Lane,
    pub(super) broker: BrokerId,
}

/// One fetch from one broker. A partition that is not mentioned has nothing new, unless the answer had to
/// mention it.
pub(super) async fn fetch(
    client: &Client,
    config: &ConsumerConfig,
    source: Source,
    session: &mut Session,
    (wanted, meters): (Vec<FetchFrom>, &ConsumerMeters),
) -> Vec<Fetched> {
    let (answer, is_full) = exchange(client, config, source, session, (&wanted, meters)).await;
    let mut answered = match answer {
        Ok(answered) => answered,
        Err(error) => wanted.iter().map(|from| (from.partition.clone(), Err(error.clone()))).collect(),
    };
    let fetched = |FetchFrom { partition, offset, .. }: FetchFrom| {
        let missing = || Err(Error::kafka(ErrorCode::RequestTimedOut, partition.to_string(), None));
        let outcome = answered.remove(&partition).or_else(|| is_full.then(missing))?;
        let outcome = outcome.and_then(|data| {
            let replica = BrokerId::from_wire(data.preferred_read_replica);
            let mut outcome = open(config, &partition, offset, data)?;
            outcome.next_to = replica.map(|id| (id, Instant::now() + client.config().metadata_max_age));
            Ok(outcome)
        });
        Some(Fetched { partition, fetch_offset: offset, outcome })
    };
    let fetched: Vec<Fetched> = wanted.into_iter().filter_map(fetched).collect();
    count(meters, &fetched);
    fetched
}

fn count(meters: &ConsumerMeters, fetched: &[Fetched]) {
    let mut topics: BTreeMap<TopicName, (usize, usize)> = BTreeMap::new();
    for fetched in fetched {
        if let Ok(outcome) = &fetched.outcome
            && outcome.bytes > 0
        {
            let (bytes, records) = topics.entry(fetched.partition.topic.clone()).or_default();
            *bytes += outcome.bytes;
            *records += outcome.record_count;
        }
    }
    if !topics.is_empty() {
        meters.fetched(&topics);
    }
}

type Answered = BTreeMap<TopicPartition, Result<PartitionData>>;

/// The answer, and whether it had to mention everything that is wanted.
async fn exchange(
    client: &Client,
    config: &ConsumerConfig,
    source: Source,
    session: &mut Session,
    (wanted, meters): (&[FetchFrom], &ConsumerMeters),
) -> (Result<Answered>, bool) {
    let (connection, version) = match connect(client, source).await {
        Ok(begun) => begun,
        Err(error) => {
            session.restart();
            return (Err(error), true);
        }
    };
    let all_have_ids = wanted.iter().all(|from| from.log.topic_id.is_some());
    let version = if all_have_ids { version } else { version.min(VERSION_WITH_IDS - 1) };
    let mut ask = session.ask(wanted, version >= VERSION_WITH_IDS);
    if version < VERSION_WITH_SESSIONS {
        ask.session_epoch = FINAL_EPOCH;
    }
    let is_full = ask.is_full();
    let began = Instant::now();
    let answer = connection.send(version, &request(config, version, ask)).await;
    meters.fetch_latency.took(began.elapsed());
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            session.restart();
            return (Err(error), true);
        }
    };
    let code = ErrorCode::from_code(answer.error_code);
    if code != ErrorCode::None {
        tracing::debug!(broker = %source.broker, %code, is_full, "fetch refused");
        session.refused(code);
        // In a session it is the session that is wrong, and the next request opens another. Without, it is
        // the fetch.
        let refused = Error::kafka(code, format!("fetch from broker {}", source.broker), None);
        return if is_full { (Err(refused), true) } else { (Ok(Answered::new()), false) };
    }
    let session_id = answer.session_id;
    let (answered, is_sound) = by_partition(session, version, answer);
    session.answered(session_id);
    if !is_sound || (is_full && wanted.iter().any(|from| !answered.contains_key(&from.partition))) {
        session.restart();
    }
    (Ok(answered), is_full)
}

async fn connect(client: &Client, source: Source) -> Result<(Connection, i16)> {
    let connection = client.lane(source.broker, source.lane).await?;
    let version = connection.version_of::<FetchRequest>()?;
    Ok((connection, version))
}

fn request(config: &ConsumerConfig, version: i16, ask: Ask) -> FetchRequest {
    let name = |name: &TopicName| if ask.by_id { String::new() } else { name.to_string() };
    let id = |id: Option<Uuid>| id.filter(|_| ask.by_id).unwrap_or_default();
    // In the order wanted, which a broker keeps when its answer must end somewhere.
    let mut topics: Vec<(&TopicName, FetchTopic)> = Vec::new();
    for FetchFrom { partition, offset, log } in &ask.partitions {
        let fetch = FetchPartition {
            partition: partition.partition.0,
            current_leader_epoch: LeaderEpoch::to_wire(log.leader_epoch),
            fetch_offset: offset.0,
            partition_max_bytes: config.max_partition_fetch_bytes,
            ..Default::default()
        };
        match topics.iter_mut().find(|(name, _)| **name == partition.topic) {
            Some((_, topic)) => topic.partitions.push(fetch),
            None => {
                let (topic, topic_id) = (name(&partition.topic), id(log.topic_id));
                let partitions = vec![fetch];
                topics.push((
                    &partition.topic,
                    FetchTopic { topic, topic_id, partitions, ..Default::default() },
                ));
            }
        }
    }
    let forgotten = ask.forgotten.iter().map(|(partition, topic_id)| ForgottenTopic {
        topic: name(&partition.topic),
        topic_id: id(*topic_id),
        partitions: vec![partition.partition.0],
        ..Default::default()
    });
    let rack = config.client_rack.clone().filter(|_| version >= VERSION_WITH_RACK);
    FetchRequest {
        max_wait_ms: as_millis_i32(config.fetch_max_wait),
        min_bytes: config.fetch_min_bytes,
        max_bytes: config.fetch_max_bytes,
        isolation_level: config.isolation_level.to_wire(),
        session_id: ask.session_id,
        session_epoch: ask.session_epoch,
        topics: topics.into_iter().map(|(_, topic)| topic).collect(),
        forgotten_topics_data: forgotten.collect(),
        rack_id: rack.unwrap_or_default(),
        ..FetchRequest::default()
    }
}

/// The answer by partition, and whether it speaks only of what the session is about.
fn by_partition(session: &Session, version: i16, answer: FetchResponse) -> (Answered, bool) {
    let names: HashMap<Uuid, &TopicName> =
        session.topic_ids().map(|(id, partition)| (id, &partition.topic)).collect();
    let (mut partitions, mut is_sound) = (Answered::new(), true);
    for topic in answer.responses {
        let name = match version {
            VERSION_WITH_IDS.. => names.get(&topic.topic_id).map(|name| (*name).clone()),
            _ => TopicName::parse(&topic.topic).ok(),
        };
        for data in topic.partitions {
            let which = name.clone().map(|name| TopicPartition::new(name, PartitionId(data.partition_index)));
            let Some(which) = which.filter(|which| session.contains(which)) else {
                is_sound = false;
                continue;
            };
            let result = match ErrorCode::from_code(data.error_code) {
                ErrorCode::None => Ok(data),
                code => Err(Error::kafka(code, which.to_string(), None)),
            };
            partitions.insert(which, result);
        }
    }
    (partitions, is_sound)
}

/// Tells a broker that a session is over, so that it may forget it.
pub(super) async fn close_session(client: &Client, broker: BrokerId, session_id: i32) -> Result<()> {
    let connection = client.broker(broker).await?;
    let request = FetchRequest { session_id, session_epoch: FINAL_EPOCH, ..FetchRequest::default() };
    connection.call(&request).await.map(drop)
}

/// The records that may be shown, from `fetch_offset` on.
fn open(
    config: &ConsumerConfig,
    partition: &TopicPartition,
    fetch_offset: Offset,
    data: PartitionData,
) -> Result<Outcome> {
    let committed_only = config.isolation_level == IsolationLevel::ReadCommitted;
    let end = if committed_only { data.last_stable_offset } else { data.high_watermark };
    let mut outcome = Outcome {
        records: Unread::new(partition.clone(), fetch_offset, config.max_decompressed_bytes),
        record_count: 0,
        bytes: 0,
        next: fetch_offset,
        leader_epoch: None,
        end: Offset(end),
        log_start: Offset::from_wire(data.log_start_offset),
        next_to: None,
    };
    let bytes = data.records.unwrap_or_default().into_bytes();
    outcome.bytes = bytes.len();
    let mut aborted = Aborted::new(
        data.aborted_transactions.unwrap_or_default().into_iter().map(|a| (a.producer_id, a.first_offset)),
    );
    for view in batches(&bytes) {
        let view = match view {
            Ok(view) => view,
            Err(error) if outcome.next == fetch_offset => {
                return Err(damaged(partition, fetch_offset, error));
            }
            // What comes before it can be read; then it is fetched again.
            Err(_) => break,
        };
        let header = view.header;
        if header.next_offset() <= fetch_offset {
            continue;
        }
        outcome.next = header.next_offset();
        outcome.leader_epoch = header.leader_epoch();
        let batch = bytes.slice_ref(view.bytes);
        if header.attributes.is_control() {
            let marker = RecordBatch::decode(&batch, config.max_decompressed_bytes);
            aborted.marker(&marker.map_err(|error| damaged(partition, fetch_offset, error))?);
        } else if !(committed_only && aborted.covers(&header)) {
            outcome.records.push(batch);
            outcome.record_count += usize::try_from(header.record_count).unwrap_or(0);
        }
    }
    Ok(outcome)
}

/// Which producers' records are of an aborted transaction at the offset reached so far. The broker lists
/// transactions by where they began; each ends with its marker.
struct Aborted {
    starts: HashMap<i64, VecDeque<i64>>,
    open: HashSet<i64>,
}

impl Aborted {
    fn new(transactions: impl Iterator<Item = (i64, i64)>) -> Self {
        let mut starts: HashMap<i64, VecDeque<i64>> = HashMap::new();
        for (producer, first_offset) in transactions {
            starts.entry(producer).or_default().push_back(first_offset);
        }
        starts.values_mut().for_each(|offsets| offsets.make_contiguous().sort_unstable());
        Self { starts, open: HashSet::new() }
    }

    fn covers(&mut self, header: &BatchHeader) -> bool {
        if !header.attributes.is_transactional() {
            return false;
        }
        self.reach(header);
        self.open.contains(&header.producer_id)
    }

    /// Opens the transactions that have begun by the end of this batch.
    fn reach(&mut self, header: &BatchHeader) {
        if let Some(starts) = self.starts.get_mut(&header.producer_id) {
            while starts.pop_front_if(|start| *start <= header.last_offset().0).is_some() {
                self.open.insert(header.producer_id);
            }
        }
    }

    fn marker(&mut self, batch: &RecordBatch) {
        // Its records may all be before the fetch: then what comes behind the marker is of another transaction.
        self.reach(&batch.header);
        let marker = batch.records.first().and_then(|record| {
            let key: &Bytes = record.key.as_ref()?;
            EndTransactionMarker::from_record(key, record.value.as_deref().unwrap_or_default()).ok()?
        });
        if marker.is_some_and(|marker| marker.kind == ControlType::Abort) {
            self.open.remove(&batch.header.producer_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_record::{BatchBuilder, BatchOptions, ProducerInfo};
    use millstream_types::{ProducerEpoch, ProducerId, Sequence, TimestampMs};

    use super::{super::ConsumerRecord, *};

    fn producer(id: i64) -> ProducerInfo {
        ProducerInfo { id: ProducerId(id), epoch: ProducerEpoch(0), base_sequence: Some(Sequence(0)) }
    }

    fn transactional(offset: i64, id: i64, values: &[&str]) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: Offset(offset),
            producer: Some(producer(id)),
            transactional: true,
            ..BatchOptions::default()
        });
        for value in values {
            builder.append(TimestampMs(1), None, Some(value.as_bytes()), &[]);
        }
        builder.build()
    }

    fn marker(offset: i64, id: i64, kind: ControlType) -> Bytes {
        let marker = EndTransactionMarker { kind, coordinator_epoch: 0 };
        let mut batch = marker.to_batch(producer(id), LeaderEpoch(0), TimestampMs(1)).to_vec();
        millstream_record::batch::set_base_offset(&mut batch, Offset(offset));
        Bytes::from(batch)
    }

    fn shown_under(
        isolation_level: IsolationLevel,
        from: i64,
        records: &[Bytes],
        aborted: &[(i64, i64)],
    ) -> (Vec<String>, Offset) {
        let aborted = aborted.iter().map(|(producer_id, first_offset)| {
            millstream_protocol::messages::fetch_response::AbortedTransaction {
                producer_id: *producer_id,
                first_offset: *first_offset,
                ..Default::default()
            }
        });
        let data = PartitionData {
            records: Some(records.concat().into()),
            aborted_transactions: Some(aborted.collect()),
            ..Default::default()
        };
        let config = ConsumerConfig { isolation_level, ..ConsumerConfig::default() };
        let partition = TopicPartition::new(TopicName::from_static("t"), PartitionId(0));
        let outcome = open(&config, &partition, Offset(from), data).unwrap();
        let text = |record: Result<ConsumerRecord>| {
            String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap()
        };
        (outcome.records.map(text).collect(), outcome.next)
    }

    /// Two producers take turns; the first aborts, commits, and aborts again.
    fn interleaved() -> Vec<Bytes> {
        vec![
            transactional(0, 1, &["a0", "a1"]),
            transactional(2, 2, &["b2"]),
            marker(3, 1, ControlType::Abort),
            transactional(4, 1, &["a4"]),
            marker(5, 2, ControlType::Commit),
            marker(6, 1, ControlType::Commit),
            transactional(7, 1, &["a7"]),
            marker(8, 1, ControlType::Abort),
        ]
    }

    #[test]
    fn read_committed_hides_aborted_transactions_and_nothing_else() {
        // In any order: brokers have not always sorted them.
        let aborted = [(1, 7), (1, 0)];
        let (shown, next) = shown_under(IsolationLevel::ReadCommitted, 0, &interleaved(), &aborted);
        assert_eq!((shown, next), (vec!["b2".to_owned(), "a4".to_owned()], Offset(9)));
        let (shown, _) = shown_under(IsolationLevel::ReadUncommitted, 0, &interleaved(), &[]);
        assert_eq!(shown, ["a0", "a1", "b2", "a4", "a7"]);
    }

    #[test]
    fn a_transaction_that_began_before_the_fetch_is_hidden_too() {
        let (shown, _) = shown_under(IsolationLevel::ReadCommitted, 1, &interleaved(), &[(1, 0), (1, 7)]);
        assert_eq!(shown, ["b2", "a4"]);
    }

    #[test]
    fn a_fetch_that_begins_at_the_marker_of_an_abort_shows_what_the_producer_wrote_next() {
        let from_the_marker = &interleaved()[2..];
        let (shown, _) = shown_under(IsolationLevel::ReadCommitted, 3, from_the_marker, &[(1, 0), (1, 7)]);
        assert_eq!(shown, ["a4"]);
    }

    #[test]
    fn a_batch_that_is_cut_short_is_left_for_the_next_fetch() {
        let whole = transactional(0, 1, &["a"]);
        let cut = transactional(1, 1, &["b"]);
        let (shown, next) = shown_under(IsolationLevel::ReadUncommitted, 0, &[whole, cut.slice(..65)], &[]);
        assert_eq!((shown, next), (vec!["a".to_owned()], Offset(1)));
    }
}
