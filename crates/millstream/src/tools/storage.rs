//! `kafka-storage`: ids, and what is in formatted log directories (`StorageTool`).
//!
//! `format` is not among its commands: Millstream formats an empty directory when it starts.

use std::{collections::BTreeSet, path::Path, process::ExitCode};

use millstream_types::Uuid;

use super::{
    exit::{Exit, Outcome},
    options::{
        Flag,
        argparse::{Grammar, Verb},
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
    examples: &["random-uuid", "info --config server.properties"],
    help_code: 0,
};

/// Where Kafka keeps its data if nothing is configured.
const LOG_DIR_DEFAULT: &str = "/tmp/kafka-logs";

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
            _ => info(given.last("config").unwrap_or_default()),
        },
    )
}

fn info(config: &str) -> Outcome {
    let config = Properties::read(config)?;
    if config.get("process.roles").is_none() {
        return Err(Exit::failure(
            "Missing required configuration \"process.roles\" which has no default value.",
        ));
    }
    let list = config.get("log.dirs").or_else(|| config.get("log.dir")).unwrap_or(LOG_DIR_DEFAULT);
    let mut directories: BTreeSet<&str> =
        list.split(',').map(str::trim).filter(|path| !path.is_empty()).collect();
    directories.extend(config.get("metadata.log.dir"));
    let (mut found, mut problems, mut metadata) = (Vec::new(), Vec::new(), None::<(String, Properties)>);
    for directory in directories {
        let path = Path::new(directory);
        if !path.is_dir() {
            let reason = if path.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{directory} {reason}"));
            continue;
        }
        found.push(directory.to_owned());
        let file = path.join("meta.properties").display().to_string();
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
