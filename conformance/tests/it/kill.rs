//! `kill -9` at random moments under load, some of them during recovery: afterwards every acknowledged
//! record is there exactly once, at the offset that was acknowledged, in order.
//!
//! `MILLSTREAM_KILL_ROUNDS` says how often (20 unless set, 2 on Apache Kafka whose restarts take long),
//! `MILLSTREAM_SEED` repeats a run's random choices.

pub(crate) mod load;
pub(crate) mod writer;

use std::{
    env, thread,
    time::{Duration, Instant},
};

use millstream_testkit::{Kind, Running, Target, TargetOptions};

use load::Load;

/// Acknowledged records between two kills, at least.
const RECORDS_PER_ROUND: u64 = 5_000;

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

pub(crate) fn from_env(name: &str) -> Option<u64> {
    env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

/// `MILLSTREAM_SEED`, or one that nobody has chosen; how to have it again is printed.
pub(crate) fn seed(rounds: &str, test: &str) -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let seed = from_env("MILLSTREAM_SEED").unwrap_or(clock as u64);
    let again = "cargo test -p millstream-conformance --test it --";
    eprintln!("to repeat: {rounds} MILLSTREAM_SEED={seed} {again} {test}");
    seed
}

#[test]
fn every_acknowledged_record_outlives_kill_9_exactly_once_at_its_offset_and_in_order() {
    let kind = Kind::from_env().unwrap();
    let rounds = from_env("MILLSTREAM_KILL_ROUNDS").unwrap_or(if kind == Kind::Kafka { 2 } else { 20 });
    let again = format!("MILLSTREAM_KILL_ROUNDS={rounds}");
    let mut random = Random::new(seed(&again, "kill::every_acknowledged"));

    let mut target = Target::start(TargetOptions::default()).unwrap();
    let mut load = Load::start(&target, &mut random);
    let started = Instant::now();
    for round in 1..=rounds {
        load.wait_for(RECORDS_PER_ROUND + random.below(2_000));
        // The kill comes first: what is told to the writers afterwards cannot make it a clean moment.
        target.kill().unwrap();
        load.down();
        let mut killed_early = 0;
        while random.below(3) == 0 {
            kill_on_the_way_up(&mut target, &mut random);
            killed_early += 1;
        }
        let restart = Instant::now();
        target.restart().unwrap();
        let restart = restart.elapsed();
        load.check(&target).unwrap();
        load.up();
        eprintln!(
            "round {round}: {} acknowledged, {killed_early} kill(s) during recovery, restart {} ms",
            load.acked(),
            restart.as_millis()
        );
    }
    let total = load.finish(&target);
    assert!(total >= rounds * RECORDS_PER_ROUND);
    eprintln!("{rounds} rounds, {total} records, {:.1} s", started.elapsed().as_secs_f64());
}

/// Starts the broker and kills it before it serves, or just after.
pub(crate) fn kill_on_the_way_up(target: &mut Running, random: &mut Random) {
    let moment = if target.kind() == Kind::Kafka { random.below(4_000) } else { random.below(120) };
    target.start_again().unwrap();
    // A random moment, waited for by no condition.
    thread::sleep(Duration::from_millis(moment));
    target.kill().unwrap();
}
