//! `kafka-storage`: formats log directories, tells what is in them, and makes ids (`StorageTool`).

mod format;

use std::{collections::BTreeSet, path::Path, process::ExitCode};

use millstream_types::Uuid;

use super::{
    exit::{Exit, Outcome},
    options::{
        Flag,
        argparse::{Grammar, Group, Verb},
    },
    output,
    properties::Properties,
    releases, run_verbs,
};

const CONFIG: Flag = Flag::new("config", "The broker's server.properties.").short('c').takes("FILE");

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "kafka-storage",
    summary: "Makes ids for clusters and tells what is in formatted log directories.",
    flags: &[],
    groups: &[],
    verbs: &[
        Verb {
            name: "info",
            help: "Tell what is in the log directories.",
            flags: &[CONFIG.required()],
            groups: &[],
        },
        Verb {
            name: "format",
            help: "Make the log directories those of a node of a cluster.",
            flags: &[
                Flag::new("cluster-id", "The cluster's id, of random-uuid for instance.")
                    .short('t')
                    .takes("ID")
                    .required(),
                CONFIG.required(),
                Flag::new("add-scram", "").short('S').takes("CREDENTIAL").hidden(),
                Flag::new("ignore-formatted", "Leave directories alone that are formatted already.")
                    .short('g'),
                Flag::new("release-version", "With the features of this release of Kafka: 4.0, or 4.0-IV3.")
                    .short('r')
                    .takes("RELEASE"),
                Flag::new("feature", "A feature and its level; may be repeated.")
                    .short('f')
                    .takes("FEATURE=LEVEL"),
                Flag::new("standalone", "This node is the only controller.").short('s'),
                Flag::new("no-initial-controllers", "Others say who the controllers are.").short('N'),
                Flag::new("initial-controllers", "The controllers: ID@HOST:PORT:DIRECTORY,…")
                    .short('I')
                    .takes("CONTROLLERS"),
            ],
            groups: &[Group {
                names: &["standalone", "no-initial-controllers", "initial-controllers"],
                required: false,
            }],
        },
        Verb {
            name: "version-mapping",
            help: "Show which features a release of Kafka brings.",
            flags: &[Flag::new("release-version", "A release of Kafka: 4.0, or 4.0-IV3.")
                .short('r')
                .takes("RELEASE")],
            groups: &[],
        },
        Verb {
            name: "feature-dependencies",
            help: "Show what a feature needs.",
            flags: &[Flag::new("feature", "A feature and its level; may be repeated.")
                .short('f')
                .takes("FEATURE=LEVEL")
                .required()],
            groups: &[],
        },
        Verb {
            name: "random-uuid",
            help: "Print an id for a cluster or a directory.",
            flags: &[],
            groups: &[],
        },
    ],
    examples: &[
        "random-uuid",
        "format --standalone --cluster-id MkU3OEVBNTcwNTJENDM2Qg --config server.properties",
        "info --config server.properties",
    ],
    help_code: 0,
};

/// Where Kafka keeps its data if nothing is configured.
pub(super) const LOG_DIR_DEFAULT: &str = "/tmp/kafka-logs";
const META_PROPERTIES: &str = "meta.properties";

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_verbs(
        &GRAMMAR,
        arguments,
        |exit| exit,
        |given| match given.command {
            "random-uuid" => {
                output::line(&Uuid::random().to_string());
                Ok(())
            }
            "version-mapping" => releases::print_mapping(given.last("release-version")),
            "feature-dependencies" => releases::print_dependencies(given.all("feature")),
            "format" => format::run(given),
            _ => info(given.last("config").unwrap_or_default()),
        },
    )
}

/// A node's configuration, as far as it must be there for the tool to go on.
fn config(path: &str) -> Outcome<Properties> {
    let config = Properties::read(path)?;
    if config.get("process.roles").is_none() {
        return Err(Exit::failure(
            "Missing required configuration \"process.roles\" which has no default value.",
        ));
    }
    Ok(config)
}

/// The log directories, and which of them holds the metadata log.
fn directories(config: &Properties) -> (BTreeSet<String>, String) {
    let list = config.get("log.dirs").or_else(|| config.get("log.dir")).unwrap_or(LOG_DIR_DEFAULT);
    let listed: Vec<&str> = list.split(',').map(str::trim).filter(|path| !path.is_empty()).collect();
    let metadata = config.get("metadata.log.dir").or(listed.first().copied()).unwrap_or_default().to_owned();
    let mut all: BTreeSet<String> = listed.into_iter().map(str::to_owned).collect();
    all.insert(metadata.clone());
    (all, metadata)
}

fn info(path: &str) -> Outcome {
    let config = config(path)?;
    let (directories, _) = directories(&config);
    let (mut found, mut problems, mut metadata) = (Vec::new(), Vec::new(), None::<(String, Properties)>);
    for directory in directories {
        let path = Path::new(&directory);
        if !path.is_dir() {
            let reason = if path.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{directory} {reason}"));
            continue;
        }
        found.push(directory.clone());
        let file = path.join(META_PROPERTIES).display().to_string();
        if !Path::new(&file).exists() {
            problems.push(format!("{directory} is not formatted."));
            continue;
        }
        let read = Properties::read(&file)?;
        match &metadata {
            // Each directory has an id of its own.
            Some((first, known))
                if known.get("cluster.id") != read.get("cluster.id")
                    || known.get("node.id") != read.get("node.id") =>
            {
                problems.push(format!("Metadata for {file} was not consistent with that in {first}"));
            }
            Some(_) => {}
            None => metadata = Some((file, read)),
        }
    }
    section("Found log director", ("y:", "ies:"), &found);
    if let Some((_, read)) = metadata {
        let pairs: Vec<String> = read.iter().map(|(key, value)| format!("{key}={value}")).collect();
        output::line(&format!("Found metadata: {{{}}}\n", pairs.join(", ")));
    }
    section("Found problem", (":", "s:"), &problems);
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Exit::silent(1)),
    }
}

fn section(title: &str, (one, many): (&str, &str), lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    output::line(&format!("{title}{}", if lines.len() == 1 { one } else { many }));
    for line in lines {
        output::line(&format!("  {line}"));
    }
    output::line("");
}
