//! The power goes at random moments under load, some of them during recovery, on a disk that then may have lost
//! any part of what was not synced, file contents and names: afterwards every acknowledged record, offset and
//! topic is there, and the broker starts.
//!
//! `MILLSTREAM_POWER_ROUNDS` says how often (2 unless set), `MILLSTREAM_SEED` repeats the random choices; the
//! broker's own timing it cannot repeat. Apache Kafka does not flush before it acknowledges and is not asked.

mod clerk;

use anyhow::Result;

use crate::{
    kill::{Random, from_env, kill_on_the_way_up, load::Load, seed},
    mounted::Machine,
};
use clerk::Clerk;

/// Acknowledged records between two cuts, at least.
const RECORDS_PER_ROUND: u64 = 3_000;

/// One cut, perhaps some more on the way up, until the broker is up again. The load is left waiting.
fn cut(machine: &mut Machine, load: &mut Load, clerk: &Clerk, random: &mut Random) {
    load.wait_for(RECORDS_PER_ROUND + random.below(2_000));
    clerk.wait();
    machine.target.kill().unwrap();
    machine.disk.cut_power();
    load.down();
    while random.below(3) == 0 {
        kill_on_the_way_up(&mut machine.target, random);
        machine.disk.cut_power();
    }
    machine.target.restart().unwrap();
}

/// Whether everything acknowledged is there.
fn check(machine: &Machine, load: &mut Load, clerk: &Clerk) -> Result<()> {
    load.check(&machine.target)?;
    clerk.check(&machine.target)
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes() {
    let rounds = from_env("MILLSTREAM_POWER_ROUNDS").unwrap_or(2);
    let seed = seed(&format!("MILLSTREAM_POWER_ROUNDS={rounds}"), "power::nothing_acknowledged");
    let Some(mut machine) = Machine::start("power loss", seed, &[]) else { return };
    let mut random = Random::new(seed);
    let mut load = Load::start(&machine.target, &mut random);
    let clerk = Clerk::start(&machine.target, load.broker());
    for round in 1..=rounds {
        cut(&mut machine, &mut load, &clerk, &mut random);
        check(&machine, &mut load, &clerk).unwrap();
        load.up();
        eprintln!("round {round}: {} records acknowledged", load.acked());
    }
    let (committed, topics) = clerk.finish();
    let records = load.finish(&machine.target);
    assert!(records >= rounds * RECORDS_PER_ROUND);
    eprintln!("{rounds} rounds, {records} records, {committed} commits, {topics} topics");
}

/// What the test above would see if the broker did not flush: the same rounds find a loss.
#[test]
fn what_durability_os_loses_is_found() {
    let seed = seed("", "power::what_durability_os");
    let Some(mut machine) = Machine::start("power loss found", seed, &["--durability", "os"]) else { return };
    let mut random = Random::new(seed);
    let mut load = Load::start(&machine.target, &mut random);
    let clerk = Clerk::start(&machine.target, load.broker());
    cut(&mut machine, &mut load, &clerk, &mut random);
    eprintln!("{:#}", check(&machine, &mut load, &clerk).unwrap_err());
}
