//! `kafka-groups`: groups of every kind (`GroupsCommand`).

use std::process::ExitCode;

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output, run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-groups",
    summary: "Lists groups of every kind with their type and protocol.",
    flags: &[
        BOOTSTRAP_SERVER.required(),
        COMMAND_CONFIG,
        Flag::new("list", "The only thing there is to do."),
        Flag::new("group-type", "Only groups of this type: classic, consumer, share, streams.").takes("TYPE"),
        Flag::new("protocol", "Only groups with this protocol type.").takes("PROTOCOL"),
        Flag::new("consumer", "Only groups of consumers, of the old protocol and the new."),
        Flag::new("share", "Only share groups."),
        Flag::new("streams", "Only streams groups."),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --list",
        "--bootstrap-server localhost:9092 --list --consumer",
    ],
};

const TYPES: [&str; 4] = ["classic", "consumer", "share", "streams"];

pub(super) fn run(arguments: &[String]) -> ExitCode {
    let as_usage = |exit: Exit| Exit::usage(exit.sentence());
    // This tool misses its required option before it thinks of helping.
    if arguments.is_empty() {
        return super::finish(Err(Exit::usage("Missing required option(s) [bootstrap-server]")), || {
            SPEC.help()
        });
    }
    run_options(&SPEC, arguments, as_usage, |given| {
        if !given.has("list") {
            return Err(Exit::usage("Command must include exactly one action: --list."));
        }
        for (one, others) in [
            ("consumer", &["group-type", "protocol", "share", "streams"][..]),
            ("share", &["consumer", "group-type", "protocol", "streams"][..]),
            ("streams", &["consumer", "group-type", "protocol", "share"][..]),
        ] {
            // The sentence names the filter first that Kafka checks first.
            if let Some(other) = others.iter().find(|other| given.has(one) && given.has(other)) {
                return Err(Exit::usage(format!(
                    "Option \"[{one}]\" can't be used with option \"[{other}]\""
                )));
            }
        }
        block_on(act(given))
    })
}

async fn act(given: &Given) -> Outcome {
    let failed = |exit: Exit| {
        exit.map(|sentence| format!("Error while executing groups command : {sentence}")).into_stdout()
    };
    let group_type = given.one("group-type")?.map(str::to_lowercase);
    if group_type.as_deref().is_some_and(|name| !TYPES.contains(&name)) {
        return Err(Exit::failure(
            "java.lang.IllegalArgumentException: --group-type must be a valid group type.",
        ));
    }
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let cluster = Cluster::admin(bootstrap, given.one("command-config")?, "findAllBrokers").await;
    let cluster = cluster.map_err(|exit| match exit.sentence().starts_with("Timed out") {
        true => failed(Exit::failure("Failed to find brokers to send ListGroups")),
        false => exit,
    })?;
    let groups = cluster.admin_client().list_groups().await.map_err(|error| failed(error.into()))?;
    let kind = |group: &millstream_client::GroupListing| {
        group.group_type.clone().unwrap_or_else(|| "classic".to_owned())
    };
    let protocol = given.one("protocol")?;
    let shown: Vec<_> = groups
        .iter()
        .filter(|group| {
            let of = kind(group);
            let consumers = of == "consumer"
                || of == "classic" && matches!(group.protocol_type.as_str(), "consumer" | "");
            group_type.as_deref().is_none_or(|wanted| of == wanted)
                && protocol.is_none_or(|wanted| group.protocol_type == wanted)
                && (!given.has("consumer") || consumers)
                && (!given.has("share") || of == "share")
                && (!given.has("streams") || of == "streams")
        })
        .collect();
    let width = shown.iter().map(|group| group.id.len()).max().unwrap_or(0).max(20);
    output::line(&format!("{:<width$} {:<20} {:<20}", "GROUP", "TYPE", "PROTOCOL"));
    for group in shown {
        output::line(&format!(
            "{:<width$} {:<20} {:<20}",
            group.id,
            title(&kind(group)),
            group.protocol_type
        ));
    }
    Ok(())
}

/// `classic` as `Classic`.
pub(super) fn title(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
