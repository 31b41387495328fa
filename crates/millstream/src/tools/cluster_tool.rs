//! `kafka-cluster`: the cluster's id and its endpoints (`ClusterTool`).

use std::process::ExitCode;

use millstream_client::{ClusterBroker, Error};
use millstream_types::BrokerId;

use super::{
    cluster::{Cluster, NO_BROKER, block_on},
    exit::{Exit, Outcome},
    get_offsets::timed_out,
    kafka_error,
    options::{
        Flag, Given,
        argparse::{Grammar, Group, Verb},
    },
    output, run_verbs,
};

const SERVER: Flag = Flag::new("bootstrap-server", "Brokers to ask first.").short('b').takes("HOST:PORT,…");
const CONTROLLER: Flag = Flag::new("bootstrap-controller", "Controllers to ask, instead of brokers.")
    .short('C')
    .takes("HOST:PORT,…");
const COMMAND_CONFIG: Flag =
    Flag::new("command-config", "A Java properties file with the client's configuration.")
        .short('c')
        .takes("FILE");
const CONFIG: Flag = Flag::new("config", "").takes("FILE").hidden();
const WHERE: &[Group] = &[Group { names: &["bootstrap-server", "bootstrap-controller"], required: true }];

pub(super) const GRAMMAR: Grammar = Grammar {
    name: "kafka-cluster",
    summary: "Tells the id and the endpoints of a cluster, and forgets brokers.",
    flags: &[],
    groups: &[],
    verbs: &[
        Verb {
            name: "cluster-id",
            help: "Print the id of the cluster.",
            flags: &[SERVER, CONTROLLER, CONFIG, COMMAND_CONFIG],
            groups: WHERE,
        },
        Verb {
            name: "unregister",
            help: "Forget a broker that is gone for good.",
            flags: &[
                SERVER,
                CONTROLLER,
                CONFIG,
                COMMAND_CONFIG,
                Flag::new("id", "The broker's id.").short('i').takes("ID").number("Integer").required(),
            ],
            groups: WHERE,
        },
        Verb {
            name: "list-endpoints",
            help: "List the brokers with their addresses.",
            flags: &[
                SERVER,
                CONTROLLER,
                CONFIG,
                COMMAND_CONFIG,
                Flag::new("include-fenced-brokers", "Also those that are fenced."),
            ],
            groups: WHERE,
        },
    ],
    examples: &[
        "cluster-id --bootstrap-server localhost:9092",
        "list-endpoints --bootstrap-server localhost:9092",
    ],
    help_code: 1,
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_verbs(&GRAMMAR, arguments, |exit| exit, |given| block_on(act(given)))
}

async fn act(given: &Given) -> Outcome {
    if given.has("config") && given.has("command-config") {
        return Err(Exit::failure(
            "net.sourceforge.argparse4j.inf.ArgumentParserException: --config and --command-config cannot be specified together.",
        ));
    }
    if given.has("config") {
        output::line(
            "Option --config has been deprecated and will be removed in a future version. Use --command-config instead.",
        );
    }
    let config = given.last("command-config").or_else(|| given.last("config"));
    let lists = given.command == "list-endpoints";
    let of_controllers = given.has("bootstrap-controller");
    if lists && of_controllers && given.has("include-fenced-brokers") {
        return Err(Exit::failure(
            "The option --include-fenced-brokers is only supported with --bootstrap-server option",
        ));
    }
    let cluster = Cluster::admin_of(given, config, "listNodes").await;
    if lists && cluster.as_ref().is_err_and(|exit| exit.sentence() == NO_BROKER) {
        // No failure for Kafka's tool.
        output::line(NO_BROKER);
        return Ok(());
    }
    let admin = cluster.map_err(|exit| exit.map(timed_out))?.admin_client();
    let failed = |error| Exit::failure(kafka_error::exception(&error));
    match given.command {
        "cluster-id" => {
            let id = admin.describe_cluster().await.map_err(failed)?.cluster_id;
            output::line(&format!("Cluster ID: {id}"));
        }
        "unregister" => {
            let id = given.last("id").and_then(|text| text.parse().ok()).map(BrokerId).unwrap_or_default();
            match admin.unregister_broker(id).await {
                Err(Error::UnsupportedApi { .. }) => {
                    output::line("The target cluster does not support the broker unregistration API.");
                    return Ok(());
                }
                done => done.map_err(failed)?,
            }
            output::line(&format!("Broker {id} is no longer registered."));
        }
        _ => {
            let all = admin.describe_brokers(given.has("include-fenced-brokers")).await.map_err(failed)?;
            list(&all, of_controllers);
        }
    }
    Ok(())
}

fn list(brokers: &[ClusterBroker], are_controllers: bool) {
    let longest = |texts: &mut dyn Iterator<Item = usize>, least: usize| texts.max().unwrap_or(0).max(least);
    let host = longest(&mut brokers.iter().map(|one| one.broker.host.len()), 9);
    let rack = longest(&mut brokers.iter().map(|one| one.broker.rack.as_deref().map_or(0, str::len)), 10);
    let row = |[id, at, port, on_rack, state, kind]: [&str; 6]| {
        // Controllers are not fenced.
        let state = if are_controllers { String::new() } else { format!("{state:<10} ") };
        output::line(&format!("{id:<10} {at:<host$} {port:<10} {on_rack:<rack$} {state}{kind:<15}"));
    };
    row(["ID", "HOST", "PORT", "RACK", "STATE", "ENDPOINT_TYPE"]);
    for one in brokers {
        let broker = &one.broker;
        row([
            &broker.id.to_string(),
            &broker.host,
            &broker.port.to_string(),
            broker.rack.as_deref().unwrap_or("null"),
            if one.is_fenced { "fenced" } else { "unfenced" },
            if are_controllers { "controller" } else { "broker" },
        ]);
    }
}
