//! `kafka-client-metrics`: which metrics brokers ask clients for (`ClientMetricsCommand`, KIP-714).

use std::process::ExitCode;

use millstream_client::{Admin, ConfigChange, ConfigResource, ConfigResourceKind};
use millstream_types::Uuid;

use super::{
    cluster::{Cluster, block_on, without_answer},
    exit::{Exit, Outcome},
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Flag, Given, HELP, Spec, VERSION},
    output, run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-client-metrics",
    summary: "Shows and changes subscriptions to the metrics of clients.",
    flags: &[
        BOOTSTRAP_SERVER,
        COMMAND_CONFIG,
        Flag::new("list", "List the subscriptions."),
        Flag::new("describe", "Show one of them, or all."),
        Flag::new("alter", "Change one, or make it."),
        Flag::new("delete", "Remove one."),
        Flag::new("name", "The subscription's name.").takes("NAME"),
        Flag::new("generate-name", "Make a name up."),
        Flag::new("interval", "How often clients are to send, in milliseconds; empty for the default.")
            .takes("MS"),
        Flag::new(
            "match",
            "Which clients, by client_id, client_instance_id, client_software_name, client_software_version, client_source_address and client_source_port: k1=v1,k2=v2.",
        )
        .takes("PAIRS"),
        Flag::new("metrics", "Beginnings of the names of metrics.").takes("NAME,…"),
        HELP,
        VERSION,
    ],
    examples: &[
        "--bootstrap-server localhost:9092 --alter --name slow --metrics org.apache.kafka.producer. --interval 5000",
        "--bootstrap-server localhost:9092 --describe",
    ],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            check(given)?;
            block_on(act(given))
        },
    )
}

fn check(given: &Given) -> Outcome {
    if ["alter", "delete", "describe", "list"].iter().filter(|action| given.has(action)).count() != 1 {
        return Err(Exit::usage(
            "Command must include exactly one action: --alter, --delete, --describe or --list.",
        ));
    }
    if !given.has("bootstrap-server") {
        return Err(Exit::failure("--bootstrap-server must be specified."));
    }
    let settings = ["generate-name", "interval", "match", "metrics"];
    given.forbid("delete", &settings)?;
    given.forbid("describe", &settings)?;
    given.forbid("list", &["name", "generate-name", "interval", "match", "metrics"])?;
    if given.has("alter") && given.has("name") == given.has("generate-name") {
        return Err(Exit::failure("One of --name or --generate-name must be specified with --alter."));
    }
    if given.has("delete") && !given.has("name") {
        return Err(Exit::failure("A client metrics resource name must be specified with --delete."));
    }
    interval(given).map(drop)
}

fn interval(given: &Given) -> Outcome<Option<&str>> {
    let text = given.one("interval")?.map(str::trim);
    match text {
        Some(text) if !text.is_empty() && text.parse::<i32>().is_err() => {
            Err(Exit::failure("Invalid interval value. Enter an integer, or leave empty to reset."))
        }
        text => Ok(text),
    }
}

async fn act(given: &Given) -> Outcome {
    let failed = |exit: Exit| {
        exit.map(|sentence| format!("Error while executing client metrics command : {sentence}"))
            .into_stdout()
    };
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let call = if given.has("alter") { "incrementalAlterConfigs" } else { "listConfigResources" };
    let cluster = Cluster::admin(bootstrap, given.one("command-config")?, call).await;
    let cluster = cluster.map_err(|exit| if without_answer(&exit) { failed(exit) } else { exit })?;
    work(given, &cluster.admin_client()).await.map_err(failed)
}

async fn work(given: &Given, admin: &Admin) -> Outcome {
    let listed = || admin.list_config_resources(ConfigResourceKind::ClientMetrics);
    let name = given.one("name")?;
    if given.has("alter") {
        let name = name.map_or_else(|| Uuid::random().to_string(), str::to_owned);
        let settings = [
            ("interval.ms", interval(given)?.map(str::to_owned)),
            ("match", joined(given, "match")),
            ("metrics", joined(given, "metrics")),
        ];
        let changes: Vec<(String, ConfigChange)> = settings
            .into_iter()
            .filter_map(|(key, value)| {
                let change = match value? {
                    empty if empty.is_empty() => ConfigChange::Delete,
                    value => ConfigChange::Set(value),
                };
                Some((key.to_owned(), change))
            })
            .collect();
        admin.alter_configs(&ConfigResource::ClientMetrics(name.clone()), &changes, false).await?;
        output::line(&format!("Altered client metrics config for {name}."));
    } else if given.has("describe") {
        let names = match name {
            Some(name) if !listed().await?.iter().any(|known| known == name) => {
                output::line(&format!(
                    "The client metric resource {name} doesn't exist and doesn't have dynamic config."
                ));
                return Ok(());
            }
            Some(name) => vec![name.to_owned()],
            None => listed().await?,
        };
        for name in names {
            output::line(&format!("Client metrics configs for {name} are:"));
            for entry in admin.describe_configs(&ConfigResource::ClientMetrics(name)).await? {
                let value = entry.value.unwrap_or_else(|| "null".to_owned());
                output::line(&format!("  {}={value}", entry.name));
            }
        }
    } else if given.has("delete") {
        let name = name.unwrap_or_default();
        let resource = ConfigResource::ClientMetrics(name.to_owned());
        let entries = admin.describe_configs(&resource).await?;
        let changes: Vec<_> = entries.into_iter().map(|entry| (entry.name, ConfigChange::Delete)).collect();
        admin.alter_configs(&resource, &changes, false).await?;
        output::line(&format!("Deleted client metrics config for {name}."));
    } else {
        output::line(&listed().await?.join("\n"));
    }
    Ok(())
}

/// A list that may be given in several pieces.
fn joined(given: &Given, name: &str) -> Option<String> {
    given.has(name).then(|| given.all(name).collect::<Vec<_>>().join(","))
}
