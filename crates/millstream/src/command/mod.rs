//! Millstream's own verbs: noun, then verb. All of them are clients of whatever Kafka they are pointed at.
//!
//! What every verb has stands in one place each: the cluster (`connect`), the answer's shape (`output`), exit
//! codes (`failure`), `--explain`.

mod api;
mod bench;
mod broker;
mod cat;
mod cluster;
mod config;
mod connect;
mod envelope;
mod explain;
mod failure;
mod group;
mod key_value;
mod lag;
pub(crate) mod log;
mod output;
mod position;
mod produce;
mod profile;
pub(crate) mod time;
mod top;
mod topic;
mod yaml;

use std::process::ExitCode;

pub(crate) use output::say;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Topics and the records in them
    Topic(topic::Arguments),
    /// Consumer groups, their offsets and lag
    Group(group::Arguments),
    /// The cluster as a whole: brokers, health, quorum, features
    Cluster(cluster::Arguments),
    /// Single brokers: configuration, log directories
    Broker(broker::Arguments),
    /// Configuration of topics, brokers, groups, client metrics and loggers
    Config(config::Arguments),
    /// Write records from standard input
    Produce(produce::Arguments),
    /// Print records
    Cat(cat::Arguments),
    /// Watch topics, groups and brokers in the terminal
    Top(top::Arguments),
    /// Measure how quickly records are produced and consumed
    Bench(bench::Arguments),
    /// Clusters by name
    Profile(profile::Arguments),
    /// Requests of Kafka's protocol, one by one
    Api(api::Arguments),
    /// The files of a data directory, read without a broker
    Log(log::Arguments),
}

pub(crate) fn run(command: Command) -> ExitCode {
    failure::exit_code(match command {
        Command::Topic(arguments) => topic::run(arguments),
        Command::Group(arguments) => group::run(arguments),
        Command::Cluster(arguments) => cluster::run(arguments),
        Command::Broker(arguments) => broker::run(arguments),
        Command::Config(arguments) => config::run(arguments),
        Command::Produce(arguments) => produce::run(arguments),
        Command::Cat(arguments) => cat::run(arguments),
        Command::Top(arguments) => top::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        Command::Profile(arguments) => profile::run(arguments),
        Command::Api(arguments) => api::run(arguments),
        Command::Log(arguments) => log::run(arguments),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[derive(clap::Parser)]
    struct Whole {
        #[command(subcommand)]
        _command: super::Command,
    }

    #[test]
    fn no_verb_has_flags_that_contradict_each_other() {
        Whole::command().debug_assert();
    }
}
