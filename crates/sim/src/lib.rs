//! Simulates a broker's log and group coordinator from a seed: clients, time, crashes and a bad disk, all of
//! it made up and all of it repeatable. The same seed does the same again, down to the last byte.
//!
//! Under test, unchanged: `millstream-log` behind its file trait, with its recovery, checkpoints and producer
//! state, and `millstream-coordinator` behind its shard trait. Simulated: the disk (`disk`), the process that
//! runs the two (`node`), producers and consumers (`data`), members of a group (`groups`), and chance
//! (`random`). What is promised to clients is remembered beside them and checked after every restart.
//!
//! Each log directory has one partition, because a directory's partitions are gone through in no particular
//! order; two directories make two.

mod data;
pub mod disk;
mod groups;
mod node;
mod random;
mod world;

use std::{fmt, path::PathBuf, sync::Arc};

use millstream_log::fs::Fs;

use crate::{
    disk::{Disk, Lies},
    random::Random,
};

/// A fault that is made on purpose, to see that the checks find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Producers are acknowledged when their records are written, not when they are flushed.
    AckBeforeFlush,
    /// Members are answered when the group's records are written, not when they are flushed.
    AnswerBeforeFlush,
    /// The disk says that it has synced a file, and has not.
    SyncNoFiles,
    /// The disk says that it has synced a directory, and has not.
    SyncNoDirectories,
    /// Producers send without sequence numbers, so that repetitions are not recognised.
    ForgetSequences,
}

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Options {
    /// Before the end, in which everything is brought to rest.
    pub steps: usize,
    pub plant: Option<Plant>,
}

impl Default for Options {
    fn default() -> Self {
        Self { steps: 200, plant: None }
    }
}

/// What happened in a simulation without a failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub acked_batches: usize,
    pub committed_offsets: usize,
    pub generations: usize,
    pub restarts: usize,
    pub power_cuts: usize,
    /// The same for every run of the same seed.
    pub trace: u64,
}

impl Summary {
    /// Adds up what several simulations have done.
    pub fn add(&mut self, other: Summary) {
        self.acked_batches += other.acked_batches;
        self.committed_offsets += other.committed_offsets;
        self.generations += other.generations;
        self.restarts += other.restarts;
        self.power_cuts += other.power_cuts;
        self.trace ^= other.trace;
    }
}

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Failure {
    pub seed: u64,
    pub options: Options,
    pub reason: String,
    /// The last that happened before it was noticed.
    pub steps: Vec<String>,
}

/// Simulates one seed.
///
/// # Errors
/// When something that was promised does not hold.
pub fn run(seed: u64, options: &Options) -> Result<Summary, Box<Failure>> {
    world::run(seed, options)
}

/// A disk of good manners that holds these files, for others that open a log on one.
pub fn disk(files: &[(PathBuf, Vec<u8>)]) -> Arc<dyn Fs> {
    Arc::new(Disk::new(Random::new(0), Lies::default(), files))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "    {step}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, self.reason)?;
        write!(
            f,
            "again: cargo run -p millstream-sim -- --seed {} --steps {}",
            self.seed, self.options.steps
        )?;
        if let Some(plant) = self.options.plant {
            use clap::ValueEnum;
            let name = plant.to_possible_value().map(|value| value.get_name().to_owned());
            write!(f, " --plant {}", name.unwrap_or_default())?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_same_seed_does_the_same_again() {
        for seed in 0..30 {
            let play = || run(seed, &Options::default()).map_err(|failure| (failure.reason, failure.steps));
            assert_eq!(play(), play(), "seed {seed}");
        }
    }

    #[test]
    fn every_planted_fault_is_found() {
        for plant in Plant::value_variants() {
            let options = Options { plant: Some(*plant), ..Options::default() };
            assert!((0..100).any(|seed| run(seed, &options).is_err()), "{plant:?}");
        }
    }

    #[test]
    fn a_failure_tells_how_to_see_it_again() {
        let options = Options { steps: 7, plant: Some(Plant::AckBeforeFlush) };
        let failure =
            Failure { seed: 42, options, reason: "lost".to_owned(), steps: vec!["flush".to_owned()] };
        let expected = "    flush\nseed 42: lost\n\
                        again: cargo run -p millstream-sim -- --seed 42 --steps 7 --plant ack-before-flush";
        assert_eq!(failure.to_string(), expected);
    }
}
