//! `kill -9` at random moments under load, some of them during recovery: afterwards every acknowledged
//! record is there exactly once, at the offset that was acknowledged, in order.
//!
//! `MILLSTREAM_KILL_ROUNDS` says how often (20 unless set, 2 on Apache Kafka whose restarts take long),
//! `MILLSTREAM_SEED` repeats a run's random choices.

mod writer;

use std::{
    env,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use millstream_conformance::stored::batch_headers;
use millstream_testkit::{Kind, Running, Target, TargetOptions, wait_until};

use crate::session::{Session, decoded};
use writer::{Acked, Broker, Writer};

const TOPIC: &str = "kill";
const PARTITIONS: i32 = 3;
/// Acknowledged records between two kills, at least.
const RECORDS_PER_ROUND: u64 = 5_000;
/// Small, so that kills fall into rolls too.
const SEGMENT_BYTES: &str = "1048576";
/// How long a round may take on a busy machine.
const ROUND_LIMIT: Duration = Duration::from_secs(120);

/// SplitMix64: the same choices for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

fn from_env(name: &str) -> Option<u64> {
    env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

#[test]
fn every_acknowledged_record_outlives_kill_9_exactly_once_at_its_offset_and_in_order() {
    let kind = Kind::from_env().unwrap();
    let rounds = from_env("MILLSTREAM_KILL_ROUNDS").unwrap_or(if kind == Kind::Kafka { 2 } else { 20 });
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let seed = from_env("MILLSTREAM_SEED").unwrap_or(clock as u64);
    let again = "cargo test -p millstream-conformance --test it -- kill::every_acknowledged";
    eprintln!("to repeat: MILLSTREAM_KILL_ROUNDS={rounds} MILLSTREAM_SEED={seed} {again}");
    let mut random = Random::new(seed);

    let mut target = Target::start(TargetOptions::default()).unwrap();
    Session::open(&target).topic_of(TOPIC, PARTITIONS, &[("segment.bytes", SEGMENT_BYTES)]);
    let broker = Arc::new(Broker::new(target.bootstrap()));
    // Apache Kafka recovers each producer's last batch alone, so there a second one in flight would be lost.
    let in_flight = if kind == Kind::Kafka { 1 } else { 5 };
    let writers: Vec<Writer> = (0..PARTITIONS)
        .map(|partition| Writer::start(&broker, TOPIC, partition, in_flight, random.below(u64::MAX)))
        .collect();

    let mut seen = vec![Seen::default(); PARTITIONS as usize];
    let started = Instant::now();
    for round in 1..=rounds {
        let goal = acked(&writers) + RECORDS_PER_ROUND + random.below(2_000);
        wait_until("the round's records to be acknowledged", ROUND_LIMIT, || {
            writers.iter().for_each(Writer::must_live);
            Ok((acked(&writers) >= goal).then_some(()))
        })
        .unwrap();
        // The kill comes first: what is told to the writers afterwards cannot make it a clean moment.
        target.kill().unwrap();
        broker.down();
        let promised: Vec<u64> = writers.iter().map(|w| w.acked().len() as u64).collect();
        let mut killed_early = 0;
        while random.below(3) == 0 {
            kill_on_the_way_up(&mut target, &mut random);
            killed_early += 1;
        }
        let restart = Instant::now();
        target.restart().unwrap();
        let restart = restart.elapsed();
        // Before the writers go on: what was promised is there now, not by grace of a retry.
        look(&target, &mut seen, &writers);
        for (partition, (seen, promised)) in seen.iter().zip(&promised).enumerate() {
            assert!(
                seen.end >= *promised,
                "partition {partition} ends at {}, {promised} were acknowledged",
                seen.end
            );
        }
        broker.up();
        eprintln!(
            "round {round}: {} acknowledged, {killed_early} kill(s) during recovery, restart {} ms",
            acked(&writers),
            restart.as_millis()
        );
    }

    let acknowledged: Vec<Acked> = writers.into_iter().map(Writer::finish).collect();
    check_the_end(&target, &mut seen, &acknowledged);
    let total: usize = acknowledged.iter().map(Acked::len).sum();
    assert!(total as u64 >= rounds * RECORDS_PER_ROUND);
    eprintln!("{rounds} rounds, {total} records, {:.1} s", started.elapsed().as_secs_f64());
}

/// Over the wire and in the files: as many records as were acknowledged, each at its offset.
fn check_the_end(target: &Running, seen: &mut [Seen], acknowledged: &[Acked]) {
    let mut session = Session::open(target);
    for (partition, (seen, acked)) in (0..).zip(seen.iter_mut().zip(acknowledged)) {
        seen.read_on(&mut session, partition);
        assert_eq!(
            seen.end,
            acked.len() as u64,
            "partition {partition}: as many records as were acknowledged"
        );
        acked.check(partition);
        let mut next = 0;
        for header in batch_headers(&target.log_dir(), TOPIC, partition).unwrap() {
            assert_eq!(header.base_offset, next, "partition {partition}: the files hold every offset once");
            next = header.next_offset().0;
        }
    }
}

fn acked(writers: &[Writer]) -> u64 {
    writers.iter().map(|w| w.acked().len() as u64).sum()
}

/// Starts the broker and kills it before it serves, or just after.
fn kill_on_the_way_up(target: &mut Running, random: &mut Random) {
    let moment = if target.kind() == Kind::Kafka { random.below(4_000) } else { random.below(120) };
    target.start_again().unwrap();
    // A random moment, waited for by no condition.
    thread::sleep(Duration::from_millis(moment));
    target.kill().unwrap();
}

/// How much of a partition has been read and found right.
#[derive(Clone, Default)]
struct Seen {
    end: u64,
}

impl Seen {
    /// Reads from where the last look ended: the record at offset N must be the N-th that was written.
    fn read_on(&mut self, session: &mut Session, partition: i32) {
        loop {
            let data = session.fetch_partition(TOPIC, partition, self.end as i64);
            assert_eq!(data.error_code, 0, "{data:?}");
            let before = self.end;
            for batch in decoded(&data) {
                for record in &batch.records {
                    let offset = batch.offset_of(record).0 as u64;
                    if offset < before {
                        continue;
                    }
                    let value = record.value.as_ref().unwrap();
                    let number = writer::number_of(value);
                    assert_eq!(
                        (offset, number),
                        (self.end, self.end),
                        "partition {partition}: offset, record"
                    );
                    self.end += 1;
                }
            }
            if self.end == before {
                return;
            }
        }
    }
}

fn look(target: &Running, seen: &mut [Seen], writers: &[Writer]) {
    let mut session = Session::open(target);
    for (partition, seen) in (0..).zip(seen) {
        // Kafka tells that it serves before it leads all its partitions again.
        session.wait_served(TOPIC, partition);
        let promised = writers[partition as usize].acked().len() as u64;
        wait_until("the acknowledged records to be visible", Duration::from_secs(30), || {
            seen.read_on(&mut session, partition);
            Ok((seen.end >= promised).then_some(()))
        })
        .unwrap();
    }
}
