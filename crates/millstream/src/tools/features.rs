//! `kafka-features`: finalized features, and raising and lowering them (`FeatureCommand`).

use std::{collections::BTreeMap, process::ExitCode};

use millstream_client::{Admin, Feature, UpgradeType};
use millstream_types::BrokerId;

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    get_offsets::timed_out,
    kafka_error,
    options::{
        Flag, Given,
        argparse::{Grammar, Group, Verb},
    },
    output, releases, run_verbs,
};

const RELEASE: Flag = Flag::new("release-version", "A release of Kafka: 4.0, or 4.0-IV3.").takes("RELEASE");
const METADATA: Flag = Flag::new("metadata", "").takes("RELEASE").hidden();
const FEATURE: Flag =
    Flag::new("feature", "A feature and its level; may be repeated.").takes("FEATURE=LEVEL");
const UNSAFE: Flag = Flag::new("unsafe", "Even if metadata may be lost by it.");
const DRY_RUN: Flag = Flag::new("dry-run", "Only tell whether it could be done.");

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "kafka-features",
    summary: "Shows the features of a cluster, raises and lowers them.",
    flags: &[
        Flag::new("bootstrap-server", "Brokers to ask first.").takes("HOST:PORT,…"),
        Flag::new("bootstrap-controller", "Controllers to ask, instead of brokers.").takes("HOST:PORT,…"),
        Flag::new("command-config", "A Java properties file with the client's configuration.").takes("FILE"),
    ],
    groups: &[Group { names: &["bootstrap-server", "bootstrap-controller"], required: false }],
    verbs: &[
        Verb {
            name: "describe",
            help: "Show what is supported and what is finalized.",
            flags: &[Flag::new("node-id", "Ask this node.").takes("ID").number("Integer")],
            groups: &[],
        },
        Verb {
            name: "upgrade",
            help: "Raise features.",
            flags: &[METADATA, RELEASE, FEATURE, DRY_RUN],
            groups: &[],
        },
        Verb {
            name: "downgrade",
            help: "Lower features.",
            flags: &[METADATA, RELEASE, FEATURE, UNSAFE, DRY_RUN],
            groups: &[],
        },
        Verb {
            name: "disable",
            help: "Take features away.",
            flags: &[Flag::new("feature", "A feature; may be repeated.").takes("FEATURE"), UNSAFE, DRY_RUN],
            groups: &[],
        },
        Verb {
            name: "version-mapping",
            help: "Show which features a release of Kafka brings.",
            flags: &[RELEASE],
            groups: &[],
        },
        Verb {
            name: "feature-dependencies",
            help: "Show what a feature needs.",
            flags: &[FEATURE.required()],
            groups: &[],
        },
    ],
    examples: &["--bootstrap-server localhost:9092 describe", "version-mapping --release-version 4.0"],
    help_code: 0,
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let parse_fails = |exit: Exit| {
        // The sentence is the second line, behind the usage and the tool's name.
        exit.map(|text| {
            let sentence =
                text.lines().nth(1).and_then(|line| line.split_once("error: ")).map_or("", |(_, end)| end);
            format!("Command line error: {sentence}. Type --help for help.")
        })
    };
    run_verbs(&GRAMMAR, arguments, parse_fails, |given| match given.command {
        "version-mapping" => releases::print_mapping(given.last("release-version")),
        "feature-dependencies" => releases::print_dependencies(given.all("feature")),
        _ => {
            if !given.has("bootstrap-server") && !given.has("bootstrap-controller") {
                return Err(Exit::failure(
                    "Command line error: You must specify either --bootstrap-controller or --bootstrap-server.. Type --help for help.",
                ));
            }
            block_on(act(given))
        }
    })
}

async fn act(given: &Given) -> Outcome {
    let call = if given.command == "describe" { "describeFeatures" } else { "updateFeatures" };
    let cluster = Cluster::admin_of(given, given.last("command-config"), call).await;
    let admin = cluster.map_err(|exit| exit.map(timed_out))?.admin_client();
    if given.command != "describe" {
        return update(given, &admin).await;
    }
    let node = given.last("node-id").and_then(|id| id.parse().ok()).map(BrokerId);
    let described = admin.describe_features(node).await;
    let described = described.map_err(|error| Exit::failure(kafka_error::exception(&error)))?;
    let epoch = described.epoch.map_or("-".to_owned(), |epoch| epoch.to_string());
    for (name, Feature { supported, finalized }) in described.features {
        let Some((low, high)) = supported else { continue };
        let level = |level: i16| match name.as_str() {
            "metadata.version" => {
                releases::metadata_name(level).map_or_else(|| level.to_string(), str::to_owned)
            }
            _ => level.to_string(),
        };
        output::line(&format!(
            "Feature: {name:<42}SupportedMinVersion: {:<17}SupportedMaxVersion: {:<17}FinalizedVersionLevel: {:<17}Epoch: {epoch}",
            level(low),
            level(high),
            level(finalized.unwrap_or(0)),
        ));
    }
    Ok(())
}

async fn update(given: &Given, admin: &Admin) -> Outcome {
    let (verb, done, upgrade) = match given.command {
        "upgrade" => ("upgrade", "upgraded", UpgradeType::Upgrade),
        verb => (
            if verb == "disable" { "disable" } else { "downgrade" },
            if verb == "disable" { "disabled" } else { "downgraded" },
            if given.has("unsafe") { UpgradeType::UnsafeDowngrade } else { UpgradeType::SafeDowngrade },
        ),
    };
    let levels = levels(given, verb)?;
    let dry_run = given.has("dry-run");
    let results = admin.update_features(&levels, upgrade, dry_run).await;
    let results: BTreeMap<String, Result<(), millstream_client::Error>> = match results {
        Ok(results) => results,
        Err(error) => levels.keys().map(|name| (name.clone(), Err(error.clone()))).collect(),
    };
    let mut failures = 0;
    for (name, result) in &results {
        let to = if verb == "disable" {
            String::new()
        } else {
            format!(" to {}", levels.get(name).copied().unwrap_or(0))
        };
        output::line(&match result {
            Ok(()) if dry_run => format!("{name} can be {done}{to}."),
            Ok(()) => format!("{name} was {done}{to}."),
            Err(error) => {
                failures += 1;
                let could = if dry_run { "Can not" } else { "Could not" };
                format!("{could} {verb} {name}{to}. {}", kafka_error::message(error))
            }
        });
    }
    match failures {
        0 => Ok(()),
        failures => Err(Exit::failure(format!("{failures} out of {} operation(s) failed.", results.len()))),
    }
}

/// The levels that are asked for; 0 for what is to be disabled.
fn levels(given: &Given, verb: &str) -> Outcome<BTreeMap<String, i16>> {
    let mut levels: BTreeMap<String, i16> = BTreeMap::new();
    let mut put = |name: &str, level: i16| match levels.insert(name.to_owned(), level) {
        None => Ok(()),
        Some(_) => Err(Exit::failure(format!("Feature {name} was specified more than once."))),
    };
    if let Some(release) = given.last("metadata") {
        output::line(" `metadata` flag is deprecated and may be removed in a future release.");
        put("metadata.version", releases::metadata_level(release)?)?;
    }
    if let Some(release) = given.last("release-version") {
        for (name, level) in releases::features_of(releases::metadata_level(release)?) {
            // What a release does not have is left as it is.
            if level > 0 || verb == "downgrade" {
                put(name, level)?;
            }
        }
    }
    for text in given.all("feature") {
        match verb {
            "disable" => put(text, 0)?,
            _ => {
                let (name, level) = releases::parse_feature(text)?;
                put(name, level)?;
            }
        }
    }
    match levels.is_empty() {
        true => Err(Exit::failure(format!("You must specify at least one feature to {verb}"))),
        false => Ok(levels),
    }
}
