//! `make bench`: Millstream beside a real Apache Kafka and the bare floor, in one run.
//!
//! The same client (librdkafka; Kafka's Java tools as a second opinion) loads each in turn, round after
//! round, so that what the machine does meanwhile meets all alike. Every run's figures are saved at once;
//! the medians, their ratios and what was to be reached go to `RESULTS.md`. `make soak` is in `soak`. Knows the brokers from outside
//! only: their address, their process, their directory.

mod chart;
mod clients;
mod cold;
mod consume;
mod fleet;
mod floor;
mod growth;
mod java;
mod latency;
mod machine;
mod payload;
mod plan;
mod produce;
mod profile;
mod report;
mod rounds;
mod samples;
mod soak;
mod startup;
mod targets;
mod throughput;
mod topics;
mod usage;
mod wire;

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use crate::{
    machine::Machine,
    plan::Extent,
    samples::{Began, Samples},
};

#[derive(Parser)]
#[command(about = "Measures Millstream beside Apache Kafka and writes RESULTS.md")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Place,
    /// Goes on where a benchmark was cut off, as far as it was to go
    #[arg(long, conflicts_with = "Extent")]
    resume: bool,
    /// Measures nothing; renders what was measured
    #[arg(long, conflicts_with_all = ["Extent", "resume"])]
    render: bool,
    #[command(flatten)]
    extent: Extent,
}

#[derive(Subcommand)]
enum Command {
    /// Loads Millstream with everything at once and for long, and fails if it grows; writes SOAK.md
    Soak(soak::Arguments),
    /// Measures Millstream's client beside librdkafka and Java's; writes CLIENTS.md
    Clients(clients::Arguments),
    /// Shows what Millstream's processor time goes to and how often it allocates; writes PROFILE.md
    Profile(profile::Arguments),
    /// One client, as a process of its own
    #[command(hide = true)]
    Client(clients::Run),
    /// The bare receive, write and flush loop, as a process of its own
    #[command(hide = true)]
    Floor { directory: PathBuf },
}

#[derive(clap::Args)]
struct Place {
    /// The millstream to measure: a release build
    #[arg(long, env = "MILLSTREAM_BIN")]
    bin: Option<PathBuf>,
    /// The directory for the results [default: bench, and bench/partial when not all is measured]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where the data goes while it is measured [default: the system's temporary directory]
    #[arg(long)]
    dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    if let Some(Command::Floor { directory }) = &arguments.command {
        return floor::server::serve(directory);
    }
    if let Some(Command::Client(run)) = &arguments.command {
        return clients::be(run);
    }
    if let Some(bin) = &arguments.place.bin
        && env::var_os("MILLSTREAM_BIN").is_none()
    {
        // The launcher finds the binary by the environment.
        let bin = bin.canonicalize().with_context(|| bin.display().to_string())?;
        let failure = process::Command::new(env::current_exe()?)
            .args(env::args_os().skip(1))
            .env("MILLSTREAM_BIN", bin)
            .exec();
        return Err(failure.into());
    }
    match &arguments.command {
        Some(Command::Soak(soak)) => return soak::run(soak, &arguments.place),
        Some(Command::Clients(clients)) => return clients::run(clients, &arguments.place),
        Some(Command::Profile(profile)) => return profile::run(profile, &arguments.place),
        _ => {}
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    // What goes on or is rendered has no extent of its own.
    let is_partial = arguments.extent.is_partial() && !arguments.resume && !arguments.render;
    let usual = if is_partial { own.join("partial") } else { own.to_owned() };
    let out = arguments.place.out.clone().unwrap_or(usual);
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let mut samples = samples(&arguments, &out.join("results.jsonl"))?;
    if !arguments.render {
        rounds::run(&arguments.place, &mut samples, |samples| render(samples, &out))?;
    }
    render(&samples, &out)?;
    println!("{}", fs::read_to_string(out.join("RESULTS.md"))?);
    eprintln!("wrote {}", out.join("RESULTS.md").display());
    let failed = samples.failures().count();
    ensure!(failed == 0, "{failed} runs failed");
    Ok(())
}

fn samples(arguments: &Arguments, path: &Path) -> Result<Samples> {
    if arguments.render {
        return Samples::open(path);
    }
    let machine = Machine::read(&millstream_testkit::millstream_binary()?);
    if arguments.resume {
        let mut samples = Samples::open(path)?;
        if samples.began.machine.binary != machine.binary {
            eprintln!("it began with another Millstream: {}", samples.began.machine.binary);
        }
        let (done, planned) = samples.progress();
        if done < planned {
            samples.resume(machine)?;
        }
        return Ok(samples);
    }
    let extent = arguments.extent.clone();
    Samples::create(path, Began { extent, machine, arguments: env::args().skip(1).collect() })
}

fn render(samples: &Samples, directory: &Path) -> Result<()> {
    fs::write(directory.join("growth.svg"), chart::growth(samples)?)?;
    Ok(fs::write(directory.join("RESULTS.md"), report::render(samples)?)?)
}
