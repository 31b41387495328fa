//! Runs simulations, many or one, and says how to repeat the one that fails.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Instant,
};

use clap::Parser;
use millstream_sim::{Failure, Options, Plant, Summary, run};

#[derive(Parser)]
#[command(about = "Simulates the log and the group coordinator on a bad disk, from a seed")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this one seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Steps of each simulation.
    #[arg(long, default_value_t = Options::default().steps)]
    steps: usize,
    /// Make a fault on purpose: the run should fail.
    #[arg(long, value_enum)]
    plant: Option<Plant>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]
fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options { steps: args.steps, plant: args.plant };
    let (first, count) = args.seed.map_or((args.from, args.seeds), |seed| (seed, 1));
    // A panic inside a simulation is reported with its seed, not where it happens.
    std::panic::set_hook(Box::new(|_| {}));
    let started = Instant::now();
    match run_all(first, count, &options) {
        Ok(total) => {
            println!(
                "{count} seeds from {first} hold: {} batches acknowledged, {} offsets committed, {} generations, \
                 {} restarts, {} power cuts, in {:.1} s",
                total.acked_batches,
                total.committed_offsets,
                total.generations,
                total.restarts,
                total.power_cuts,
                started.elapsed().as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// With a thread for each processor. Of several failures the one with the smallest seed.
fn run_all(first: u64, count: u64, options: &Options) -> Result<Summary, Box<Failure>> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut total = Summary::default();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count || stop.load(Ordering::Relaxed) {
                return Ok(total);
            }
            match run(first + index, options) {
                Ok(summary) => total.add(summary),
                Err(failure) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a simulation's panic is caught")).collect()
    });
    let mut total = Summary::default();
    let mut failures = Vec::new();
    for result in results {
        match result {
            Ok(summary) => total.add(summary),
            Err(failure) => failures.push(failure),
        }
    }
    failures.into_iter().min_by_key(|failure| failure.seed).map_or(Ok(total), Err)
}
