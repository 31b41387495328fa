//! `make bench`: Millstream beside a real Apache Kafka and the bare floor, in one run.
//!
//! The same client (librdkafka; Kafka's Java tools as a second opinion) loads each in turn, round after
//! round, so that what the machine does meanwhile meets all alike. The medians and their ratios go to
//! `RESULTS.md`. Knows the brokers from outside only: their address, their process, their directory.

mod consume;
mod fleet;
mod floor;
mod java;
mod latency;
mod machine;
mod payload;
mod plan;
mod produce;
mod report;
mod rounds;
mod samples;
mod startup;
mod topics;
mod usage;

use std::{env, os::unix::process::CommandExt, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures Millstream beside Apache Kafka and writes RESULTS.md")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Internal>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Internal {
    /// The bare receive, write and flush loop, as a process of its own
    #[command(hide = true)]
    Floor { directory: PathBuf },
}

#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// The millstream to measure: a release build
    #[arg(long, env = "MILLSTREAM_BIN")]
    bin: Option<PathBuf>,
    /// Where the results go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md"))]
    out: PathBuf,
    /// Where the data goes while it is measured [default: the system's temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Rounds over all scenarios and subjects [default: 3]
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds that one producing run goes on [default: 10]
    #[arg(long)]
    seconds: Option<u64>,
    /// Bytes after which a producing run ends in any case, in MiB [default: 4096]
    #[arg(long)]
    mebibytes: Option<u64>,
    /// Only scenarios whose name contains this, such as `produce 100`
    #[arg(long)]
    only: Option<String>,
    /// One short round of a few scenarios: does it all work?
    #[arg(long)]
    quick: bool,
}

impl Options {
    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 1 } else { 10 }))
    }

    fn bytes_max(&self) -> u64 {
        self.mebibytes.unwrap_or(if self.quick { 256 } else { 4096 }) << 20
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Internal::Floor { directory }) = arguments.command {
        return floor::server::serve(&directory);
    }
    let options = arguments.options;
    if let Some(bin) = &options.bin
        && env::var_os("MILLSTREAM_BIN").is_none()
    {
        // The launcher finds the binary by the environment.
        let bin = bin.canonicalize().with_context(|| bin.display().to_string())?;
        let failure =
            Command::new(env::current_exe()?).args(env::args_os().skip(1)).env("MILLSTREAM_BIN", bin).exec();
        return Err(failure.into());
    }
    let samples = rounds::run(&options)?;
    let text = report::render(&options, &samples)?;
    std::fs::write(&options.out, &text).with_context(|| options.out.display().to_string())?;
    println!("{text}");
    eprintln!("wrote {}", options.out.display());
    Ok(())
}
