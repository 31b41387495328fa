//! `kafka-broker-api-versions`: what each broker speaks (`BrokerApiVersionsCommand`); many a health check.

use std::process::ExitCode;

use millstream_client::ApiSupport;

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    options::{BOOTSTRAP_SERVER, COMMAND_CONFIG, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
};

pub(super) const SPEC: Spec = Spec {
    name: "kafka-broker-api-versions",
    summary: "Lists the APIs of every broker, in which versions, and the one that clients of 4.3 would use.",
    flags: &[BOOTSTRAP_SERVER, COMMAND_CONFIG, HELP, VERSION],
    examples: &["--bootstrap-server localhost:9092"],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(
        &SPEC,
        arguments,
        |exit| exit,
        |given| {
            given.require(&["bootstrap-server"])?;
            block_on(act(given))
        },
    )
}

async fn act(given: &Given) -> Outcome {
    let bootstrap = given.one("bootstrap-server")?.unwrap_or_default();
    let mut properties = Properties::read_if_given(given.one("command-config")?)?;
    properties.set("bootstrap.servers", bootstrap);
    properties.set_default("client.id", "admin");
    let cluster = Cluster::prepare(&properties, false).await?;
    // Health checks come again by themselves: nothing is waited for.
    cluster.client.any_broker().await.map_err(|error| {
        let first = bootstrap.split(',').next().unwrap_or_default();
        Exit::failure(format!(
            "Request METADATA failed on brokers [{first} (id: -1 rack: null isFenced: false)]\n{error}"
        ))
    })?;
    let admin = cluster.admin_client();
    for broker in admin.describe_cluster().await?.brokers {
        let rack = broker.rack.as_deref().unwrap_or("null");
        let head =
            format!("{}:{} (id: {} rack: {rack} isFenced: false) -> ", broker.host, broker.port, broker.id);
        match admin.api_versions(broker.id).await {
            Ok(apis) => {
                let lines: Vec<String> = apis.iter().map(line).collect();
                output::line(&format!("{head}(\n{}\n)", lines.join(",\n")));
            }
            Err(error) => {
                output::line(&format!("{head}ERROR: {}", super::kafka_error::exception(&error)));
            }
        }
    }
    Ok::<(), Exit>(())
}

fn line(api: &ApiSupport) -> String {
    let name = api.name.map_or_else(|| "UNKNOWN".to_owned(), str::to_owned);
    let range =
        |(low, high): (i16, i16)| if low == high { low.to_string() } else { format!("{low} to {high}") };
    let support = match (api.broker, api.client) {
        (None, _) => "UNSUPPORTED".to_owned(),
        (Some(broker), Some((low, high))) if high.min(broker.1) >= low.max(broker.0) => {
            format!("{} [usable: {}]", range(broker), high.min(broker.1))
        }
        (Some(broker), _) => format!(
            "{} [unusable: {}]",
            range(broker),
            if api.client.is_some() { "node too old" } else { "unknown" }
        ),
    };
    format!("\t{name}({}): {support}", api.key)
}
