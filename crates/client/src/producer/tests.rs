//! The accumulator against a broker in a few lines, which checks sequences as a real one does, and a
//! network that loses requests and answers.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use millstream_record::{Compression, RecordBatch};
use millstream_types::{
    BrokerId, ErrorCode, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicName,
    TopicPartition,
};
use proptest::prelude::*;

use super::{
    accumulator::{Accumulator, Answer, Dispatch, Fate, NewRecord, Outgoing, Written},
    queue::{BatchId, Parcel},
};
use crate::{Error, config::ProducerConfig};

const LEADER: BrokerId = BrokerId(1);

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new(TopicName::from_static("t"), PartitionId(index))
}

fn record(value: u32) -> NewRecord {
    let value = Some(Bytes::from(value.to_be_bytes().to_vec()));
    NewRecord { timestamp: TimestampMs(1), key: None, value, headers: Vec::new() }
}

fn values(batch: &Bytes) -> Vec<u32> {
    let opened = RecordBatch::decode(batch, 0).unwrap();
    let number = |bytes: &Bytes| u32::from_be_bytes(bytes[..].try_into().unwrap());
    opened.records.iter().map(|r| number(r.value.as_ref().unwrap())).collect()
}

/// The values of a batch's records, in their order.
type Values = Rc<RefCell<Vec<u32>>>;
type Machine = Accumulator<Values>;

fn append(machine: &mut Machine, now: Instant, index: i32, value: u32) {
    let appended = machine.append(|| now, &partition(index), &record(value));
    let mut values = appended.waiter.borrow_mut();
    assert_eq!(values.len(), appended.index as usize);
    values.push(value);
}

/// What became of each record, and where it is if that is known.
fn fates(fates: Vec<Fate<Values>>) -> Vec<(u32, Result<Option<Offset>, Error>)> {
    let of_one = |fate: Fate<Values>| {
        let values = fate.waiter.borrow()[fate.first as usize..][..fate.count as usize].to_vec();
        let at = move |index| {
            let written = |written: Written| written.base_offset.map(|base| base.plus(index));
            fate.result.clone().map(written)
        };
        values.into_iter().zip(0..).map(move |(value, index)| (value, at(index))).collect::<Vec<_>>()
    };
    fates.into_iter().flat_map(of_one).collect()
}

/// As the sender does it.
fn seal(machine: &mut Machine, dispatch: Dispatch) -> Vec<(TopicPartition, BatchId, Bytes)> {
    let seal = |Outgoing { partition, id, parcel, .. }| {
        let bytes = Parcel::seal(parcel);
        machine.sealed(&partition, id, bytes.clone());
        (partition, id, bytes)
    };
    dispatch.batches.into_iter().map(seal).collect()
}

fn accumulator(change: impl FnOnce(&mut ProducerConfig)) -> Machine {
    let mut config = ProducerConfig { linger: Duration::ZERO, batch_size: 120, ..ProducerConfig::default() };
    change(&mut config);
    Accumulator::new(&config, Duration::from_millis(10), Duration::from_millis(100))
}

fn kafka(code: ErrorCode) -> Answer {
    Answer::Failed(Error::kafka(code, "t-0", None))
}

fn lost() -> Answer {
    Answer::Failed(Error::Disconnected { address: "b".to_owned(), reason: "gone".to_owned() })
}

fn at(offset: i64) -> Answer {
    Answer::Appended(Written { base_offset: Some(Offset(offset)), log_append_time: None })
}

/// The first and last sequence of a batch, and its base offset.
type Remembered = (Sequence, Sequence, i64);

/// One partition's log with the producer state of a real broker.
#[derive(Default)]
struct Log {
    values: Vec<u32>,
    producer: Option<(ProducerId, VecDeque<Remembered>)>,
}

impl Log {
    fn append(&mut self, batch: &Bytes) -> Answer {
        let opened = RecordBatch::decode(batch, 0).unwrap();
        if let Some(producer) = opened.header.producer() {
            let (first, last) = (producer.base_sequence.unwrap(), opened.header.last_sequence().unwrap());
            let recent = match &mut self.producer {
                Some((id, recent)) if *id == producer.id => recent,
                other => &mut other.insert((producer.id, VecDeque::new())).1,
            };
            if let Some(known) = recent.iter().find(|known| (known.0, known.1) == (first, last)) {
                return at(known.2);
            }
            // Of a producer that it does not know, a broker takes any sequence.
            if recent.back().is_some_and(|newest| first != newest.1.plus(1)) {
                return kafka(ErrorCode::OutOfOrderSequenceNumber);
            }
            recent.push_back((first, last, self.values.len() as i64));
            if recent.len() > 5 {
                recent.pop_front();
            }
        }
        let base = self.values.len() as i64;
        self.values.extend(values(batch));
        at(base)
    }
}

/// What the network does to one request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Fine,
    RequestLost,
    AnswerLost,
    Refused(ErrorCode),
    TimedOutAfterAppend,
}

/// Which answer comes next: those of one connection may be taken in out of their order.
#[derive(Clone, Copy, Debug)]
enum Next {
    None,
    Oldest,
    Newest,
}

fn faults() -> impl Strategy<Value = Vec<(Fault, Next)>> {
    let fault = prop_oneof![
        4 => Just(Fault::Fine),
        1 => Just(Fault::RequestLost),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::TimedOutAfterAppend),
        1 => Just(Fault::Refused(ErrorCode::NotLeaderOrFollower)),
        1 => Just(Fault::Refused(ErrorCode::InvalidRecord)),
    ];
    let next = prop_oneof![4 => Just(Next::None), 3 => Just(Next::Oldest), 1 => Just(Next::Newest)];
    proptest::collection::vec((fault, next), 0..200)
}

struct Simulation {
    now: Instant,
    accumulator: Machine,
    logs: BTreeMap<TopicPartition, Log>,
    /// Answers of requests on their way back, oldest first.
    answers: VecDeque<Vec<(TopicPartition, BatchId, Answer)>>,
    fates: BTreeMap<u32, Result<Option<Offset>, Error>>,
    next_producer: i64,
}

impl Simulation {
    fn note(&mut self, new: Vec<Fate<Values>>) {
        for (value, fate) in fates(new) {
            let before = self.fates.insert(value, fate);
            assert!(before.is_none(), "record {value} has two fates");
        }
    }

    /// Sends what can be sent; each request meets the next fault.
    fn send(&mut self, faults: &mut impl Iterator<Item = (Fault, Next)>) {
        if self.accumulator.wants_identity() {
            self.accumulator.set_identity(ProducerId(self.next_producer), ProducerEpoch(0));
            self.next_producer += 1;
        }
        for dispatch in self.accumulator.dispatch(self.now, |_| Some(LEADER)) {
            let fault = faults.next().map_or(Fault::Fine, |(fault, _)| fault);
            let mut answers = Vec::new();
            for (partition, id, batch) in seal(&mut self.accumulator, dispatch) {
                let batch = &batch;
                let log = self.logs.entry(partition.clone()).or_default();
                let answer = match fault {
                    Fault::Fine => log.append(batch),
                    Fault::RequestLost => lost(),
                    // What a broker has once accepted it does not find invalid the next time.
                    Fault::Refused(ErrorCode::InvalidRecord) if log.values.contains(&values(batch)[0]) => {
                        log.append(batch)
                    }
                    Fault::Refused(code) => kafka(code),
                    Fault::AnswerLost => {
                        log.append(batch);
                        lost()
                    }
                    Fault::TimedOutAfterAppend => match log.append(batch) {
                        Answer::Appended(_) => kafka(ErrorCode::RequestTimedOut),
                        refused => refused,
                    },
                };
                answers.push((partition, id, answer));
            }
            self.answers.push_back(answers);
        }
    }

    fn receive(&mut self, next: Next) {
        let taken = match next {
            Next::None => None,
            Next::Oldest => self.answers.pop_front(),
            Next::Newest => self.answers.pop_back(),
        };
        let Some(answers) = taken else { return };
        self.accumulator.request_done(LEADER);
        for (partition, id, answer) in answers {
            let fates = self.accumulator.answer(self.now, &partition, id, answer);
            self.note(fates);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn idempotence_appends_every_acked_record_once_and_in_order(
        faults in faults(),
        count in 1u32..80,
        partitions in 1i32..4,
    ) {
        let mut simulation = Simulation {
            now: Instant::now(),
            accumulator: accumulator(|_| {}),
            logs: BTreeMap::new(),
            answers: VecDeque::new(),
            fates: BTreeMap::new(),
            next_producer: 100,
        };
        let mut faults = faults.into_iter();
        for value in 0..count {
            append(&mut simulation.accumulator, simulation.now, value as i32 % partitions, value);
            simulation.send(&mut faults);
            simulation.receive(faults.next().map_or(Next::None, |(_, next)| next));
        }
        let mut rounds = 0;
        while !simulation.accumulator.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 2000, "no progress");
            simulation.now += Duration::from_millis(100);
            simulation.send(&mut faults);
            simulation.receive(Next::Oldest);
        }
        prop_assert_eq!(simulation.fates.len(), count as usize);
        for (partition, log) in &simulation.logs {
            let mut seen = log.values.clone();
            seen.dedup();
            prop_assert_eq!(&seen, &log.values, "twice in {}", partition);
            prop_assert!(seen.is_sorted(), "out of order in {}: {:?}", partition, seen);
            for (offset, value) in log.values.iter().enumerate() {
                // A record in the log was acked, with its offset if the broker still knew it.
                let fate = simulation.fates[value].clone();
                prop_assert!(fate.clone().is_ok_and(|at| at.is_none_or(|at| at == Offset(offset as i64))), "{fate:?}");
            }
        }
        let acked = simulation.fates.values().filter(|fate| fate.is_ok()).count();
        prop_assert_eq!(acked, simulation.logs.values().map(|log| log.values.len()).sum::<usize>());
    }
}

/// Takes the only batch of the only request.
fn only(machine: &mut Machine, now: Instant) -> (TopicPartition, BatchId, Bytes) {
    let [dispatch] = <[Dispatch; 1]>::try_from(machine.dispatch(now, |_| Some(LEADER))).unwrap();
    let [batch] = <[_; 1]>::try_from(seal(machine, dispatch)).unwrap();
    batch
}

#[test]
fn records_linger_unless_the_batch_is_full_or_flushed() {
    let now = Instant::now();
    let linger = Duration::from_millis(50);
    let mut machine = accumulator(|config| {
        config.linger = linger;
        config.enable_idempotence = false;
    });
    append(&mut machine, now, 0, 1);
    assert!(machine.dispatch(now, |_| Some(LEADER)).is_empty());
    assert_eq!(machine.next_wakeup(now), Some(now + linger));
    let (_, id, batch) = only(&mut machine, now + linger);
    assert_eq!(values(&batch), [1]);
    assert_eq!(machine.answer(now, &partition(0), id, at(5)).len(), 1);

    for value in 2..40 {
        append(&mut machine, now, 0, value);
    }
    assert!(values(&only(&mut machine, now).2).len() > 2);

    append(&mut machine, now, 1, 40);
    machine.flush();
    assert_eq!(values(&only(&mut machine, now).2), [40]);
}

#[test]
fn compressed_batches_grow_until_they_fill_batch_size() {
    const BATCH_SIZE: usize = 4_000;
    let now = Instant::now();
    let mut machine = accumulator(|config| {
        config.enable_idempotence = false;
        config.compression_type = Compression::Lz4;
        config.batch_size = BATCH_SIZE;
    });
    let mut noise = 1_u64;
    // Of each ten bytes so many differ.
    let mut send = |noisy: usize| {
        for _ in 0..200 {
            let mut byte = |index: usize| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if index % 50 < noisy * 5 { (noise >> 33) as u8 } else { b'x' }
            };
            let value: Vec<u8> = (0..100).map(&mut byte).collect();
            machine.append(|| now, &partition(0), &NewRecord { value: Some(value.into()), ..record(0) });
        }
        // The last of them is not full.
        let mut sizes = Vec::new();
        while !machine.is_empty() {
            let (_, id, bytes) = only(&mut machine, now);
            machine.request_done(LEADER);
            machine.answer(now, &partition(0), id, at(0));
            sizes.push(bytes.len());
        }
        sizes[0]
    };
    let sizes: Vec<usize> = (0..40).map(|_| send(2)).collect();
    assert!(sizes[0] < BATCH_SIZE / 2, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= BATCH_SIZE), "{sizes:?}");
    assert!(*sizes.last().unwrap() > BATCH_SIZE * 4 / 5, "{sizes:?}");
}

#[test]
fn a_batch_is_sent_again_as_often_as_retries_says() {
    let mut machine = accumulator(|config| {
        (config.linger, config.enable_idempotence, config.retries) = (Duration::ZERO, false, 2);
    });
    let mut now = Instant::now();
    append(&mut machine, now, 0, 1);
    let unreachable = Error::Connect { address: "b".to_owned(), reason: "refused".to_owned() };
    for _ in 0..5 {
        let (_, id, _) = only(&mut machine, now);
        machine.request_done(LEADER);
        assert!(machine.answer(now, &partition(0), id, Answer::Failed(unreachable.clone())).is_empty());
        now += Duration::from_secs(5);
    }
    for attempt in 0..3 {
        let (_, id, _) = only(&mut machine, now);
        machine.request_done(LEADER);
        let lost = Error::kafka(ErrorCode::NotLeaderOrFollower, "t-0", None);
        let fates = machine.answer(now, &partition(0), id, Answer::Failed(lost.clone()));
        assert_eq!(self::fates(fates), if attempt < 2 { vec![] } else { vec![(1, Err(lost))] });
        now += Duration::from_secs(5);
    }
    assert!(machine.is_empty());
}

#[test]
fn a_flush_waits_for_what_came_before_it_and_for_nothing_else() {
    let now = Instant::now();
    let mut machine = accumulator(|config| {
        config.linger = Duration::from_secs(3600);
        config.batch_size = 1000;
        config.enable_idempotence = false;
    });
    (0..3).for_each(|value| append(&mut machine, now, 0, value));
    let mark = machine.flush();
    append(&mut machine, now, 0, 3);
    append(&mut machine, now, 1, 4);
    assert_eq!(machine.oldest(), Some(mark));
    let (_, id, batch) = only(&mut machine, now);
    assert_eq!(values(&batch), [0, 1, 2]);
    machine.request_done(LEADER);
    // Halves of it are of it.
    assert!(machine.answer(now, &partition(0), id, kafka(ErrorCode::MessageTooLarge)).is_empty());
    for half in [vec![0], vec![1, 2]] {
        assert_eq!(machine.oldest(), Some(mark));
        let (_, id, batch) = only(&mut machine, now);
        assert_eq!(values(&batch), half);
        machine.request_done(LEADER);
        machine.answer(now, &partition(0), id, at(0));
    }
    assert_eq!(machine.oldest(), None);
    assert!(machine.dispatch(now, |_| Some(LEADER)).is_empty(), "what came later lingers");
    assert!(machine.flush() > mark);
}

#[test]
fn without_a_leader_records_wait_until_they_expire() {
    let now = Instant::now();
    let mut machine = accumulator(|config| config.enable_idempotence = false);
    append(&mut machine, now, 0, 1);
    assert!(machine.dispatch(now, |_| None).is_empty());
    assert_eq!(machine.next_wakeup(now), Some(now + Duration::from_secs(120)));
    assert!(machine.expire(now + Duration::from_secs(119)).is_empty());
    let fates = machine.expire(now + Duration::from_secs(120));
    assert!(matches!(fates[0].result, Err(Error::Timeout { .. })));
    assert!(machine.is_empty());
}

#[test]
fn a_batch_too_large_for_the_broker_goes_in_halves_and_a_single_record_is_refused() {
    let now = Instant::now();
    let mut machine = accumulator(|config| config.batch_size = 1000);
    for value in 0..3 {
        append(&mut machine, now, 0, value);
    }
    machine.set_identity(ProducerId(1), ProducerEpoch(0));
    let mut log = Log::default();
    let mut refused = Vec::new();
    for _ in 0..8 {
        for dispatch in machine.dispatch(now, |_| Some(LEADER)) {
            machine.request_done(LEADER);
            for (partition, id, batch) in seal(&mut machine, dispatch) {
                let values = values(&batch);
                let too_large = values.len() > 1 || values == [2];
                let answer = if too_large { kafka(ErrorCode::MessageTooLarge) } else { log.append(&batch) };
                let fates = fates(machine.answer(now, &partition, id, answer));
                refused.extend(fates.into_iter().filter(|(_, fate)| fate.is_err()));
            }
        }
    }
    assert_eq!(log.values, [0, 1]);
    assert_eq!(refused.iter().map(|(value, _)| *value).collect::<Vec<_>>(), [2]);
    assert!(machine.is_empty());
}

#[test]
fn requests_to_a_broker_are_limited_and_carry_many_partitions() {
    let now = Instant::now();
    let mut machine = accumulator(|config| config.max_in_flight = 1);
    machine.set_identity(ProducerId(1), ProducerEpoch(0));
    for value in 0..6 {
        append(&mut machine, now, value as i32 % 3, value);
    }
    let first = machine.dispatch(now, |_| Some(LEADER));
    assert_eq!((first.len(), first[0].batches.len()), (1, 3));
    append(&mut machine, now, 4, 9);
    assert!(machine.dispatch(now, |_| Some(LEADER)).is_empty());
    machine.request_done(LEADER);
    assert_eq!(machine.dispatch(now, |_| Some(LEADER)).len(), 1);
}

#[test]
fn abandoned_records_all_learn_why() {
    let now = Instant::now();
    let mut machine = accumulator(|config| config.enable_idempotence = false);
    for value in 0..30 {
        append(&mut machine, now, 0, value);
    }
    machine.dispatch(now, |_| Some(LEADER));
    let closed = Error::Closed("the producer");
    let expected: Vec<_> = (0..30).map(|value| (value, Err(closed.clone()))).collect();
    assert_eq!(fates(machine.abandon(&closed)), expected);
    assert!(machine.is_empty());
}

fn transactional() -> Machine {
    let mut machine = accumulator(|config| {
        config.transactional_id = Some("id".to_owned());
        // One record a batch.
        config.batch_size = 1;
    });
    machine.set_identity(ProducerId(1), ProducerEpoch(0));
    machine
}

/// Sends everything that may go; each batch with its header.
fn send_all(machine: &mut Machine) -> Vec<(BatchId, RecordBatch)> {
    let mut sent = Vec::new();
    loop {
        let dispatches = machine.dispatch(Instant::now(), |_| Some(LEADER));
        if dispatches.is_empty() {
            return sent;
        }
        for dispatch in dispatches {
            for (_, id, bytes) in seal(machine, dispatch) {
                sent.push((id, RecordBatch::decode(&bytes, 0).unwrap()));
            }
        }
    }
}

#[test]
fn what_a_failed_transaction_leaves_is_not_sent_again_and_the_next_is_numbered_anew() {
    let (mut machine, now) = (transactional(), Instant::now());
    let aborted = Error::IllegalState("aborted");
    append(&mut machine, now, 0, 0);
    let first = send_all(&mut machine);
    assert!(first[0].1.header.attributes.is_transactional());
    machine.request_done(LEADER);
    machine.answer(now, &partition(0), first[0].0, at(0));
    for value in 1..9 {
        append(&mut machine, now, 0, value);
    }
    let sent = send_all(&mut machine);
    assert_eq!(sent.len(), 5);
    let given_up = fates(machine.give_up(&aborted));
    assert_eq!(given_up, [6, 7, 8].map(|value| (value, Err(aborted.clone()))));
    assert!(!machine.is_empty(), "what is in flight is waited for");
    // One is answered, the others come back and are not sent again.
    assert!(machine.answer(now, &partition(0), sent[0].0, at(1))[0].result.is_ok());
    for (id, _) in &sent[1..] {
        let fates = machine.answer(now, &partition(0), *id, lost());
        assert_eq!(fates[0].result.as_ref().err(), Some(&aborted));
    }
    assert!(machine.is_empty() && machine.given_up().is_some());
    for _ in 0..5 {
        machine.request_done(LEADER);
    }
    assert!(machine.resume(), "sequences miss");
    append(&mut machine, now, 0, 9);
    assert!(send_all(&mut machine).is_empty());
    machine.set_identity(ProducerId(1), ProducerEpoch(1));
    let anew = send_all(&mut machine).remove(0).1.header.producer().unwrap();
    assert_eq!((anew.epoch, anew.base_sequence), (ProducerEpoch(1), Some(Sequence(0))));
}

#[test]
fn in_a_transaction_a_gap_of_its_own_is_fatal_to_it_and_one_behind_a_batch_in_doubt_is_not() {
    let (mut machine, now) = (transactional(), Instant::now());
    append(&mut machine, now, 0, 0);
    let first = send_all(&mut machine);
    machine.request_done(LEADER);
    machine.answer(now, &partition(0), first[0].0, at(0));
    for value in 1..3 {
        append(&mut machine, now, 0, value);
    }
    let sent = send_all(&mut machine);
    assert_eq!(sent.len(), 2);
    assert!(machine.answer(now, &partition(0), sent[0].0, lost()).is_empty());
    let gap = || kafka(ErrorCode::OutOfOrderSequenceNumber);
    assert!(machine.answer(now, &partition(0), sent[1].0, gap()).is_empty());
    for _ in 0..2 {
        machine.request_done(LEADER);
    }
    let later = now + Duration::from_secs(1);
    let (_, id, _) = only(&mut machine, later);
    assert_eq!(id, sent[0].0);
    let fates = machine.answer(later, &partition(0), id, gap());
    assert_eq!(fates[0].result.as_ref().unwrap_err().code(), Some(ErrorCode::OutOfOrderSequenceNumber));
}
