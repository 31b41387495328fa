//! Kafka's command line tools by their own names: `kafka-topics` as `millstream kafka-topics …`, or through
//! a link of that name, with or without `.sh`.
//!
//! Flags, output, exit codes and the first line of what goes wrong are Kafka's (4.3.1), judged by the
//! transcripts in `conformance/tests/it/transcripts`; what helps further is ours. One file a tool.

mod acls;
mod broker_api_versions;
mod client_metrics;
mod cluster;
mod cluster_tool;
mod complete;
mod configs;
mod console_consumer;
mod console_producer;
mod console_share_consumer;
mod consumer_groups;
mod consumer_perf_test;
mod delegation_tokens;
mod delete_records;
mod dump_log;
mod e2e_latency;
mod events;
mod exit;
mod features;
mod get_offsets;
mod group_kinds;
mod groups;
mod install;
mod interrupts;
mod json;
mod kafka_error;
mod leader_election;
mod log_dirs;
mod metadata_quorum;
mod metadata_shell;
mod options;
mod output;
mod pattern;
mod producer_perf_test;
mod properties;
mod reassign_partitions;
mod releases;
mod replica_verification;
mod run_class;
mod server_start;
mod server_stop;
mod share_groups;
mod storage;
mod streams_application_reset;
mod streams_groups;
mod table;
mod topics;
mod transactions;
mod verifiable_consumer;
mod verifiable_producer;
mod wanted;

use std::{ffi::OsString, path::Path, process::ExitCode};

pub(crate) use install::Arguments as InstallArguments;

use self::{
    exit::{Exit, Outcome},
    options::{
        Given, Spec,
        argparse::{Grammar, Parsed},
    },
};
use crate::completion::Hints;

/// The Kafka whose tools these are.
const KAFKA_VERSION: &str = "4.3.1";
/// The commit that it was built from, which some of its tools tell.
const KAFKA_COMMIT: &str = "26b251a451ce941d";

struct Tool {
    name: &'static str,
    run: fn(&[String]) -> ExitCode,
}

/// By name.
const TOOLS: &[Tool] = &[
    Tool { name: "kafka-acls", run: acls::run },
    Tool { name: "kafka-broker-api-versions", run: broker_api_versions::run },
    Tool { name: "kafka-client-metrics", run: client_metrics::run },
    Tool { name: "kafka-cluster", run: cluster_tool::run },
    Tool { name: "kafka-configs", run: configs::run },
    Tool { name: "kafka-console-consumer", run: console_consumer::run },
    Tool { name: "kafka-console-producer", run: console_producer::run },
    Tool { name: "kafka-console-share-consumer", run: console_share_consumer::run },
    Tool { name: "kafka-consumer-groups", run: consumer_groups::run },
    Tool { name: "kafka-consumer-perf-test", run: consumer_perf_test::run },
    Tool { name: "kafka-delegation-tokens", run: delegation_tokens::run },
    Tool { name: "kafka-delete-records", run: delete_records::run },
    Tool { name: "kafka-dump-log", run: dump_log::run },
    Tool { name: "kafka-e2e-latency", run: e2e_latency::run },
    Tool { name: "kafka-features", run: features::run },
    Tool { name: "kafka-get-offsets", run: get_offsets::run },
    Tool { name: "kafka-groups", run: groups::run },
    Tool { name: "kafka-leader-election", run: leader_election::run },
    Tool { name: "kafka-log-dirs", run: log_dirs::run },
    Tool { name: "kafka-metadata-quorum", run: metadata_quorum::run },
    Tool { name: "kafka-metadata-shell", run: metadata_shell::run },
    Tool { name: "kafka-producer-perf-test", run: producer_perf_test::run },
    Tool { name: "kafka-reassign-partitions", run: reassign_partitions::run },
    Tool { name: "kafka-replica-verification", run: replica_verification::run },
    Tool { name: "kafka-run-class", run: run_class::run },
    Tool { name: "kafka-server-start", run: server_start::run },
    Tool { name: "kafka-server-stop", run: server_stop::run },
    Tool { name: "kafka-share-groups", run: share_groups::run },
    Tool { name: "kafka-storage", run: storage::run },
    Tool { name: "kafka-streams-application-reset", run: streams_application_reset::run },
    Tool { name: "kafka-streams-groups", run: streams_groups::run },
    Tool { name: "kafka-topics", run: topics::run },
    Tool { name: "kafka-transactions", run: transactions::run },
    Tool { name: "kafka-verifiable-consumer", run: verifiable_consumer::run },
    Tool { name: "kafka-verifiable-producer", run: verifiable_producer::run },
];

/// Runs the tool that the program was called as, or that its first argument names; None if neither is one.
pub(crate) fn run_if_named(arguments: &[OsString]) -> Option<ExitCode> {
    let mut words = arguments.iter();
    let called = Path::new(words.next()?).file_name()?.to_string_lossy().into_owned();
    let tool = match named(&called) {
        Some(tool) => tool,
        None => named(&words.next()?.to_string_lossy())?,
    };
    let arguments: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    Some((tool.run)(&arguments))
}

fn named(name: &str) -> Option<&'static Tool> {
    let name = name.strip_suffix(".sh").unwrap_or(name);
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The names of all tools.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TOOLS.iter().map(|tool| tool.name)
}

/// A tool's name, as it was called, with or without the suffix.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    named(name).map(|tool| tool.name)
}

/// What can come next on a tool's command line, behind the words that are complete.
pub(crate) fn hints(tool: &str, before: &[String]) -> Hints {
    complete::hints(tool, before)
}

/// Makes links to this program by the tools' names.
pub(crate) fn install(arguments: &InstallArguments) -> anyhow::Result<ExitCode> {
    let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    install::run(arguments, &names)
}

/// For `millstream --help`.
pub(crate) fn list() -> String {
    let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    format!("Kafka's tools, each with Kafka's own options (NAME --help):\n  {}", names.join("\n  "))
}

/// A tool that stands on joptsimple, from its command line to its end: help without arguments or if asked
/// for, then the version, then the work.
fn run_options(
    spec: &Spec,
    arguments: &[String],
    parse_fails: impl FnOnce(Exit) -> Exit,
    work: impl FnOnce(&Given) -> Outcome,
) -> ExitCode {
    let outcome = match spec.parse(arguments) {
        Err(exit) => Err(parse_fails(exit)),
        // Kafka's tools take it for a wrong command line to be asked for help.
        Ok(given) if given.is_empty() || given.has("help") => {
            output::say_part(&spec.help());
            Err(Exit::silent(1))
        }
        Ok(given) if given.has("version") => {
            output::line(KAFKA_VERSION);
            Ok(())
        }
        Ok(given) => work(&given),
    };
    finish(outcome, || spec.help())
}

/// A tool that stands on argparse4j.
fn run_verbs(
    grammar: &Grammar,
    arguments: &[String],
    parse_fails: impl FnOnce(Exit) -> Exit,
    work: impl FnOnce(&Given) -> Outcome,
) -> ExitCode {
    let outcome = match grammar.parse(arguments) {
        Err(exit) => Err(parse_fails(exit)),
        Ok(Parsed::Help(text)) => {
            output::bytes(text.as_bytes());
            match grammar.help_code {
                0 => Ok(()),
                code => Err(Exit::silent(code)),
            }
        }
        Ok(Parsed::Version) => {
            output::line(&format!("{KAFKA_VERSION} (Commit:{KAFKA_COMMIT})"));
            Ok(())
        }
        Ok(Parsed::Given(given)) => work(&given),
    };
    finish(outcome, String::new)
}

/// Says what went wrong, if anything, and turns it into the exit code.
fn finish(outcome: Outcome, help: impl FnOnce() -> String) -> ExitCode {
    let Err(exit) = outcome else {
        output::flush();
        return ExitCode::SUCCESS;
    };
    if exit.on_stdout {
        output::line(exit.sentence());
    } else if !exit.sentence().is_empty() {
        output::flush();
        output::say(exit.sentence());
    }
    output::flush();
    if !exit.more.is_empty() {
        output::say(&format!("  {}", exit.more));
    }
    if exit.with_help {
        output::say_part(&format!("\n{}", help()));
    }
    exit.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_known_by_its_name_with_and_without_the_suffix() {
        assert_eq!(named("kafka-topics.sh").map(|tool| tool.name), Some("kafka-topics"));
        assert!(
            named("kafka-topics").is_some()
                && named("kafka-topics.bat").is_none()
                && named("millstream").is_none()
        );
        let mut names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        names.dedup();
        assert_eq!(names.len(), TOOLS.len());
    }
}
