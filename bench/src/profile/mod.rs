//! `make profile`: what Millstream's processor time goes to and how often it allocates, under the loads of the
//! benchmark. A flame graph for each, and `PROFILE.md`.

mod load;
mod perf;
mod report;
mod stacks;

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use millstream_testkit::{Kind, Running, Target, TargetOptions, millstream_binary};

use self::{load::Load, perf::Allocations, stacks::Stacks};
use crate::{Place, machine::Machine};

/// Until connections stand, and memory and caches are what they stay.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each load is sampled, and its allocations counted
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// What was seen of one load.
struct Profile {
    load: Load,
    /// Of processor time.
    cpu: Stacks,
    /// Of allocations.
    allocating: Stacks,
    allocations: u64,
    /// Answered while allocations were counted, at the rate of some moments more.
    requests: f64,
}

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let binary = millstream_binary()?;
    let machine = Machine::read(&binary);
    let directory = match &place.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let allocations = Allocations::watch(&binary)?;
    let options = TargetOptions::default()
        .kind(Kind::Millstream)
        .dir(&directory.path().join("millstream"))
        .set("log.segment.delete.delay.ms", 1_000);
    let broker = Target::start(options)?;
    let span = Duration::from_secs(arguments.seconds);
    let mut profiles = Vec::new();
    for load in load::ALL {
        eprintln!("profile: {load}");
        let profile = profile(load, &broker, &allocations, span, directory.path());
        profiles.push(profile.with_context(|| load.to_string())?);
    }
    let out = place.out.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_owned());
    report::write(&out, &machine, arguments.seconds, &profiles)
}

fn profile(
    load: Load,
    broker: &Running,
    allocations: &Allocations,
    span: Duration,
    scratch: &Path,
) -> Result<Profile> {
    let under_way = load.prepare(broker)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let driver = scope.spawn(|| under_way.go_on_until(&stop));
        thread::sleep(WARM_UP);
        let observed = observe(load, broker, allocations, span, scratch);
        let ended_early = driver.is_finished();
        stop.store(true, Ordering::Relaxed);
        driver.join().map_err(|_| anyhow!("the load panicked"))??;
        ensure!(!ended_early, "the load ended before it was measured");
        observed
    })
}

fn observe(
    load: Load,
    broker: &Running,
    allocations: &Allocations,
    span: Duration,
    scratch: &Path,
) -> Result<Profile> {
    let pid = broker.pid()?;
    let cpu = perf::cpu(pid, span, scratch)?;
    let (began, before) = (Instant::now(), load.requests(broker)?);
    let counted = allocations.count(pid, span)?;
    // perf takes a while to begin and to end, and the load goes on meanwhile.
    let part = span.div_duration_f64(began.elapsed());
    let requests = (load.requests(broker)? - before) as f64 * part;
    ensure!(requests > 0.0, "no request was answered");
    let allocating = allocations.sample(pid, scratch)?;
    Ok(Profile { load, cpu, allocating, allocations: counted, requests })
}
