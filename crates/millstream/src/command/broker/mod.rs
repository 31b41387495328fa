//! `millstream broker`: single brokers.

pub(super) mod logdirs;

use anyhow::Result;
use millstream_client::{Admin, ClusterBroker, ConfigResource, ConfigSource};
use millstream_types::BrokerId;
use serde_json::{Value, json};

use super::{
    config::{config_section, entry_value},
    connect::ConnectArguments,
    failure::Failure,
    output::{Answer, Section, ShowArguments, or_dash},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// List brokers
    Ls(ListArguments),
    /// Show a broker: address, log directories, what was configured
    Show(ShowBrokerArguments),
    /// Show log directories: how full they are, and which replicas are in them
    Logdirs(logdirs::Arguments),
}

pub(super) fn run(arguments: Arguments) -> Result<()> {
    let of = ConnectArguments::clone;
    match arguments.verb {
        Verb::Ls(arguments) => of(&arguments.connect).run(list(arguments)),
        Verb::Show(arguments) => of(&arguments.connect).run(show(arguments)),
        Verb::Logdirs(arguments) => of(&arguments.connect).run(logdirs::run(arguments)),
    }
}

#[derive(clap::Args)]
struct ListArguments {
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn list(arguments: ListArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    arguments.show.show(async || list_once(&admin).await).await
}

async fn list_once(admin: &Admin) -> Result<Answer> {
    let controller = admin.describe_cluster().await?.controller;
    let brokers = admin.describe_brokers(true).await?;
    let topics = admin.list_topics().await?;
    let led = |id: BrokerId| {
        let partitions = topics.iter().flat_map(|topic| topic.partitions.values());
        partitions.filter(|partition| partition.leader == Some(id)).count()
    };
    let held = |id: BrokerId| {
        let partitions = topics.iter().flat_map(|topic| topic.partitions.values());
        partitions.filter(|partition| partition.replicas.contains(&id)).count()
    };
    let columns = ["ID", "HOST", "PORT", "RACK", "STATE", "LEADS", "REPLICAS"];
    let mut section = Section::new("broker", &columns).wide(&["CONTROLLER"]);
    let mut values = Vec::new();
    for ClusterBroker { broker, is_fenced } in brokers {
        let state = if is_fenced { "fenced" } else { "active" };
        let is_controller = controller == Some(broker.id);
        section.row([
            broker.id.to_string(),
            broker.host.clone(),
            broker.port.to_string(),
            or_dash(broker.rack.as_ref()),
            state.to_owned(),
            led(broker.id).to_string(),
            held(broker.id).to_string(),
            if is_controller { "yes" } else { "no" }.to_owned(),
        ]);
        values.push(json!({
            "id": broker.id.0,
            "host": broker.host,
            "port": broker.port,
            "rack": broker.rack,
            "state": state,
            "controller": is_controller,
            "leads": led(broker.id),
            "replicas": held(broker.id),
        }));
    }
    Ok(Answer::new(values, vec![section]))
}

#[derive(clap::Args)]
struct ShowBrokerArguments {
    /// The broker's id
    id: i32,
    /// Every configuration key, not only those that are not at their default
    #[arg(long)]
    all_configs: bool,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

async fn show(arguments: ShowBrokerArguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let (id, all) = (BrokerId(arguments.id), arguments.all_configs);
    arguments.show.show(async || show_once(&admin, id, all).await).await
}

async fn show_once(admin: &Admin, id: BrokerId, all_configs: bool) -> Result<Answer> {
    let ClusterBroker { broker, is_fenced } = find(admin, id).await?;
    let mut configs = admin.describe_configs(&ConfigResource::Broker(id)).await?;
    configs.retain(|entry| all_configs || entry.source != ConfigSource::Default);
    let dirs = admin.describe_log_dirs().await?.remove(&id).unwrap_or_default();
    let mut head = Section::new("broker", &["ID", "HOST", "PORT", "RACK", "STATE"]);
    let state = if is_fenced { "fenced" } else { "active" };
    head.row([
        id.to_string(),
        broker.host.clone(),
        broker.port.to_string(),
        or_dash(broker.rack.as_ref()),
        state.to_owned(),
    ]);
    let value = json!({
        "id": id.0,
        "host": broker.host,
        "port": broker.port,
        "rack": broker.rack,
        "state": state,
        "log_dirs": dirs.iter().map(logdirs::value).collect::<Vec<Value>>(),
        "configs": configs.iter().map(entry_value).collect::<Vec<_>>(),
    });
    let mut section = logdirs::section();
    for dir in &dirs {
        section.row(logdirs::row(id, dir));
    }
    Ok(Answer::new(value, vec![head, section, config_section(&configs)]))
}

async fn find(admin: &Admin, id: BrokerId) -> Result<ClusterBroker> {
    let found = admin.describe_brokers(true).await?.into_iter().find(|one| one.broker.id == id);
    let text = || format!("there is no broker {id}; `millstream broker ls` lists those that there are");
    found.ok_or_else(|| Failure::NotFound(text()).into())
}
