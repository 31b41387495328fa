use anyhow::Result;
use millstream_client::Topic;
use serde_json::json;

use crate::command::{
    connect::ConnectArguments,
    output::{OutputArguments, Section, print},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only topics whose names contain this
    contains: Option<String>,
    /// Kafka's own topics too
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let mut topics = admin.list_topics().await?;
    topics.retain(|topic| {
        let wanted = arguments.contains.as_ref().is_none_or(|part| topic.name.as_str().contains(part));
        wanted && (arguments.internal || !topic.is_internal)
    });
    let mut section = Section::new("topic", &["NAME", "PARTITIONS", "REPLICAS"]);
    for topic in &topics {
        section.row([
            topic.name.to_string(),
            topic.partitions.len().to_string(),
            replicas(topic).to_string(),
        ]);
    }
    let value = topics.iter().map(|topic| {
        json!({
            "name": topic.name.as_str(),
            "id": topic.id.map(|id| id.to_string()),
            "internal": topic.is_internal,
            "partitions": topic.partitions.len(),
            "replicas": replicas(topic),
        })
    });
    if topics.is_empty() {
        eprintln!("no topics; `millstream topic create NAME` makes one");
    }
    print(arguments.output.output, &value.collect(), &[section])
}

/// How many replicas each partition has; they may differ while partitions are moved.
fn replicas(topic: &Topic) -> usize {
    topic.partitions.values().map(|partition| partition.replicas.len()).max().unwrap_or(0)
}
