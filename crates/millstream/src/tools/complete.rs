//! What can come next on a tool's command line.

use super::{
    options::{Flag, Spec, Takes, argparse::Grammar},
    *,
};
use crate::completion::{Hints, Live, Word};

enum Options {
    Spec(&'static Spec),
    Grammar(&'static Grammar),
}

/// None for a tool whose options stand elsewhere.
fn options_of(tool: &str) -> Option<Options> {
    Some(match tool {
        "kafka-acls" => Options::Spec(&acls::SPEC),
        "kafka-broker-api-versions" => Options::Spec(&broker_api_versions::SPEC),
        "kafka-client-metrics" => Options::Spec(&client_metrics::SPEC),
        "kafka-cluster" => Options::Grammar(&cluster_tool::GRAMMAR),
        "kafka-configs" => Options::Spec(&configs::SPEC),
        "kafka-console-consumer" => Options::Spec(&console_consumer::SPEC),
        "kafka-console-producer" => Options::Spec(&console_producer::SPEC),
        "kafka-console-share-consumer" => Options::Spec(&console_share_consumer::SPEC),
        "kafka-consumer-groups" => Options::Spec(&consumer_groups::SPEC),
        "kafka-consumer-perf-test" => Options::Spec(&consumer_perf_test::SPEC),
        "kafka-delegation-tokens" => Options::Spec(&delegation_tokens::SPEC),
        "kafka-delete-records" => Options::Spec(&delete_records::SPEC),
        "kafka-dump-log" => Options::Spec(&dump_log::SPEC),
        "kafka-e2e-latency" => Options::Spec(&e2e_latency::SPEC),
        "kafka-features" => Options::Grammar(&features::GRAMMAR),
        "kafka-get-offsets" => Options::Spec(&get_offsets::SPEC),
        "kafka-groups" => Options::Spec(&groups::SPEC),
        "kafka-leader-election" => Options::Spec(&leader_election::SPEC),
        "kafka-log-dirs" => Options::Spec(&log_dirs::SPEC),
        "kafka-metadata-quorum" => Options::Grammar(&metadata_quorum::GRAMMAR),
        "kafka-metadata-shell" => Options::Grammar(&metadata_shell::GRAMMAR),
        "kafka-producer-perf-test" => Options::Grammar(&producer_perf_test::GRAMMAR),
        "kafka-reassign-partitions" => Options::Spec(&reassign_partitions::SPEC),
        "kafka-replica-verification" => Options::Spec(&replica_verification::SPEC),
        "kafka-server-start" => Options::Spec(&server_start::SPEC),
        "kafka-server-stop" => Options::Spec(&server_stop::SPEC),
        "kafka-share-groups" => Options::Spec(&share_groups::SPEC),
        "kafka-storage" => Options::Grammar(&storage::GRAMMAR),
        "kafka-streams-application-reset" => Options::Spec(&streams_application_reset::SPEC),
        "kafka-streams-groups" => Options::Spec(&streams_groups::SPEC),
        "kafka-topics" => Options::Spec(&topics::SPEC),
        "kafka-transactions" => Options::Grammar(&transactions::GRAMMAR),
        "kafka-verifiable-consumer" => Options::Grammar(&verifiable_consumer::GRAMMAR),
        "kafka-verifiable-producer" => Options::Grammar(&verifiable_producer::GRAMMAR),
        _ => return None,
    })
}

/// `before` are the words behind the tool's name that are complete.
pub(super) fn hints(tool: &str, before: &[String]) -> Hints {
    let mut hints = Hints::default();
    let flags = match options_of(tool) {
        None => return hints,
        Some(Options::Spec(spec)) => spec.flags,
        Some(Options::Grammar(grammar)) => {
            let chosen = grammar.verbs.iter().find(|verb| before.iter().any(|word| word == verb.name));
            match chosen {
                Some(verb) => verb.flags,
                None => {
                    hints.words.extend(grammar.verbs.iter().map(|verb| Word::new(verb.name, verb.help)));
                    grammar.flags
                }
            }
        }
    };
    for flag in flags.iter().filter(|flag| !flag.hidden) {
        hints.options.push(Word::new(format!("--{}", flag.name), flag.help));
        if !matches!(flag.takes, Takes::Nothing) {
            hints.values.insert(format!("--{}", flag.name), values(flag, before));
        }
    }
    hints
}

/// What an option's value may be.
fn values(flag: &Flag, before: &[String]) -> Hints {
    let mut hints = Hints::default();
    let behind = |option: &str| {
        let at = before.iter().position(|word| word == option)?;
        before.get(at + 1).map(String::as_str)
    };
    let fixed: &[&str] = match flag.name {
        "topic"
        | "topics"
        | "topic-list"
        | "input-topic"
        | "input-topics"
        | "intermediate-topics"
        | "internal-topics" => {
            hints.live = Some(Live::Topics);
            &[]
        }
        "group" | "application-id" => {
            hints.live = Some(Live::Groups);
            &[]
        }
        "entity-name" => {
            hints.live = match behind("--entity-type") {
                Some("topics") => Some(Live::Topics),
                Some("groups") => Some(Live::Groups),
                _ => None,
            };
            &[]
        }
        "entity-type" => {
            &["topics", "brokers", "broker-loggers", "groups", "client-metrics", "users", "clients", "ips"]
        }
        "election-type" => &["preferred", "unclean"],
        "group-type" => &["classic", "consumer", "share", "streams"],
        "isolation-level" => &["read_uncommitted", "read_committed"],
        "resource-pattern-type" => &["literal", "prefixed", "any", "match"],
        "time" => &["latest", "earliest", "max-timestamp", "earliest-local", "latest-tiered"],
        "offset" => &["earliest", "latest"],
        _ => &[],
    };
    hints.words.extend(fixed.iter().map(|word| Word::new(*word, "")));
    hints
}

#[test]
fn every_tool_with_options_of_its_own_has_them_completed() {
    // The only one without: it takes a class, and then what that takes.
    let without: Vec<&str> =
        TOOLS.iter().map(|tool| tool.name).filter(|name| options_of(name).is_none()).collect();
    assert_eq!(without, ["kafka-run-class"]);
    for tool in TOOLS.iter().filter(|tool| options_of(tool.name).is_some()) {
        let offered = hints(tool.name, &[]);
        assert!(!offered.options.is_empty() || !offered.words.is_empty(), "{}", tool.name);
    }
}
