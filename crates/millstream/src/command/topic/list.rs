use anyhow::Result;
use millstream_client::{Admin, Topic};
use serde_json::{Value, json};

use crate::command::{
    connect::ConnectArguments,
    output::{Answer, Section, ShowArguments, or_dash},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Only topics whose names contain this
    contains: Option<String>,
    /// Kafka's own topics too
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    arguments.show.show(async || ask(&admin, &arguments).await).await
}

async fn ask(admin: &Admin, arguments: &Arguments) -> Result<Answer> {
    let mut topics = admin.list_topics().await?;
    topics.retain(|topic| {
        let wanted = arguments.contains.as_ref().is_none_or(|part| topic.name.as_str().contains(part));
        wanted && (arguments.internal || !topic.is_internal)
    });
    let columns = ["ID", "INTERNAL", "WITHOUT-LEADER", "UNDER-REPLICATED"];
    let mut section = Section::new("topic", &["NAME", "PARTITIONS", "REPLICAS"]).wide(&columns);
    for topic in &topics {
        section.row([
            topic.name.to_string(),
            topic.partitions.len().to_string(),
            replicas(topic).to_string(),
            or_dash(topic.id),
            if topic.is_internal { "yes" } else { "no" }.to_owned(),
            without_leader(topic).to_string(),
            under_replicated(topic).to_string(),
        ]);
    }
    let values: Vec<Value> = topics
        .iter()
        .map(|topic| {
            json!({
                "name": topic.name.as_str(),
                "id": topic.id.map(|id| id.to_string()),
                "internal": topic.is_internal,
                "partitions": topic.partitions.len(),
                "replicas": replicas(topic),
                "without_leader": without_leader(topic),
                "under_replicated": under_replicated(topic),
            })
        })
        .collect();
    let mut answer = Answer::new(values, vec![section]);
    if topics.is_empty() {
        answer.note = Some("no topics; `millstream topic create NAME` makes one".to_owned());
    }
    Ok(answer)
}

/// How many replicas each partition has; they may differ while partitions are moved.
fn replicas(topic: &Topic) -> usize {
    topic.partitions.values().map(|partition| partition.replicas.len()).max().unwrap_or(0)
}

fn without_leader(topic: &Topic) -> usize {
    topic.partitions.values().filter(|partition| partition.leader.is_none()).count()
}

fn under_replicated(topic: &Topic) -> usize {
    let is_short = |partition: &&millstream_client::Partition| {
        partition.in_sync_replicas.len() < partition.replicas.len()
    };
    topic.partitions.values().filter(is_short).count()
}
