//! `millstream cluster`: the cluster as a whole.

mod elect;
mod features;
mod health;
mod quorum;
mod reassign;

use anyhow::Result;
use millstream_client::Admin;
use serde_json::json;

use super::{
    broker::logdirs,
    connect::ConnectArguments,
    output::{Answer, Section, ShowArguments, or_dash},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show the cluster: its id, brokers, how much is in it
    Show(ShowClusterArguments),
    /// Look for what is wrong; exit code 4 if something is
    Health(health::Arguments),
    /// Show who keeps the cluster's metadata
    Quorum(quorum::Arguments),
    /// Show features: what brokers can do, and what is finalized
    Features(features::Arguments),
    /// Move partitions to other brokers, or show what is being moved
    Reassign(reassign::Arguments),
    /// Have partitions led by the replica that is to lead them, or by any
    Elect(elect::Arguments),
    /// Show the log directories of all brokers
    Logdirs(logdirs::Arguments),
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let of = ConnectArguments::clone;
    match arguments.verb {
        Verb::Show(arguments) => of(&arguments.connect).run(show(arguments)),
        Verb::Health(arguments) => of(&arguments.connect).run(health::run(arguments)),
        Verb::Quorum(arguments) => of(&arguments.connect).run(quorum::run(arguments)),
        Verb::Features(arguments) => of(&arguments.connect).run(features::run(arguments)),
        Verb::Reassign(arguments) => of(&arguments.connect).run(reassign::run(arguments)),
        Verb::Elect(arguments) => of(&arguments.connect).run(elect::run(arguments)),
        Verb::Logdirs(arguments) => of(&arguments.connect).run(logdirs::run(arguments)),
    }
}

#[derive(clap::Args)]
struct ShowClusterArguments {
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn show(arguments: ShowClusterArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    arguments.show.show(async || ask(&admin).await).await
}

async fn ask(admin: &Admin) -> Result<Answer> {
    let cluster = admin.describe_cluster().await?;
    let topics = admin.list_topics().await?;
    let groups = admin.list_groups().await?.len();
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut head =
        Section::new("cluster", &["CLUSTER", "CONTROLLER", "BROKERS", "TOPICS", "PARTITIONS", "GROUPS"]);
    head.row([
        cluster.cluster_id.clone(),
        or_dash(cluster.controller),
        cluster.brokers.len().to_string(),
        topics.len().to_string(),
        partitions.to_string(),
        groups.to_string(),
    ]);
    let mut brokers = Section::new("broker", &["ID", "ADDRESS", "RACK"]);
    for broker in &cluster.brokers {
        brokers.row([broker.id.to_string(), broker.address(), or_dash(broker.rack.as_ref())]);
    }
    let value = json!({
        "cluster_id": cluster.cluster_id,
        "controller": cluster.controller.map(|id| id.0),
        "brokers": cluster.brokers.iter().map(|broker| json!({
            "id": broker.id.0,
            "host": broker.host,
            "port": broker.port,
            "rack": broker.rack,
        })).collect::<Vec<_>>(),
        "topics": topics.len(),
        "partitions": partitions,
        "groups": groups,
    });
    Ok(Answer::new(value, vec![head, brokers]))
}
