//! `millstream`: the platform in one binary. `up` starts it; the other commands are Kafka clients that
//! work with any Kafka.

mod command;
mod completion;
mod demo;
mod tools;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "millstream", version, about = "The whole Kafka platform in one binary")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the platform; an empty directory is set up on the way
    Up(up::Arguments),
    #[command(flatten)]
    Verb(command::Command),
    /// Make links by the names of Kafka's command line tools
    InstallTools(tools::InstallArguments),
    /// Print a script that completes command lines, ours and those of Kafka's tools, in a shell
    Completion(completion::Arguments),
    #[command(hide = true)]
    Complete(completion::CompleteArguments),
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = tools::run_if_named(&arguments) {
        return code;
    }
    let parsed = Arguments::command().after_help(tools::list()).get_matches();
    let arguments = Arguments::from_arg_matches(&parsed).unwrap_or_else(|error| error.exit());
    let outcome = match arguments.command {
        Command::Up(arguments) => up::run(arguments),
        Command::Verb(command) => Ok(command::run(command)),
        Command::InstallTools(arguments) => tools::install(&arguments),
        Command::Completion(arguments) => completion::script(&arguments),
        Command::Complete(arguments) => completion::complete(&arguments, &Arguments::command()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            command::say(&format!("millstream: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
