//! `broker logdirs`: the directories that brokers keep logs in.

use anyhow::Result;
use millstream_client::{Admin, LogDir};
use millstream_types::BrokerId;
use serde_json::{Value, json};

use crate::command::{
    connect::ConnectArguments,
    output::{Answer, Section, ShowArguments, or_dash},
};

#[derive(clap::Args)]
pub(in crate::command) struct Arguments {
    /// Only this broker's
    id: Option<i32>,
    /// Each replica in them too
    #[arg(short, long)]
    replicas: bool,
    /// Only replicas of this topic
    #[arg(short, long, requires = "replicas")]
    topic: Option<String>,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    pub(in crate::command) connect: ConnectArguments,
}

pub(in crate::command) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    if let Some(id) = arguments.id {
        super::find(&admin, BrokerId(id)).await?;
    }
    arguments.show.show(async || ask(&admin, &arguments).await).await
}

async fn ask(admin: &Admin, arguments: &Arguments) -> Result<Answer> {
    let mut brokers = admin.describe_log_dirs().await?;
    brokers.retain(|id, _| arguments.id.is_none_or(|wanted| wanted == id.0));
    let mut directories = section();
    let columns = ["TOPIC", "PARTITION", "BROKER", "BYTES", "LAG", "PATH"];
    let mut replicas = Section::new("replica", &columns).wide(&["FUTURE"]);
    let mut values = Vec::new();
    for (id, dirs) in &brokers {
        for dir in dirs {
            directories.row(row(*id, dir));
            let mut fields = value(dir);
            fields["broker"] = json!(id.0);
            let mut listed = Vec::new();
            let is_wanted = |name: &str| arguments.topic.as_ref().is_none_or(|topic| topic == name);
            for (partition, replica) in dir.replicas.iter().filter(|(one, _)| is_wanted(one.topic.as_str())) {
                replicas.row([
                    partition.topic.to_string(),
                    partition.partition.to_string(),
                    id.to_string(),
                    replica.size_bytes.to_string(),
                    replica.offset_lag.to_string(),
                    dir.path.clone(),
                    if replica.is_future { "yes" } else { "no" }.to_owned(),
                ]);
                listed.push(json!({
                    "topic": partition.topic.as_str(),
                    "partition": partition.partition.0,
                    "size_bytes": replica.size_bytes,
                    "offset_lag": replica.offset_lag,
                    "future": replica.is_future,
                }));
            }
            if arguments.replicas {
                fields["partitions"] = Value::from(listed);
            }
            values.push(fields);
        }
    }
    let sections = if arguments.replicas { vec![directories, replicas] } else { vec![directories] };
    Ok(Answer::new(values, sections))
}

pub(super) fn section() -> Section {
    let columns = ["BROKER", "PATH", "REPLICAS", "REPLICA-BYTES", "USABLE-BYTES", "TOTAL-BYTES", "ERROR"];
    Section::new("logdir", &columns)
}

pub(super) fn row(broker: BrokerId, dir: &LogDir) -> [String; 7] {
    [
        broker.to_string(),
        dir.path.clone(),
        dir.replicas.len().to_string(),
        bytes(dir).to_string(),
        or_dash(dir.usable_bytes),
        or_dash(dir.total_bytes),
        or_dash(dir.error.as_ref()),
    ]
}

pub(super) fn value(dir: &LogDir) -> Value {
    json!({
        "path": dir.path,
        "error": dir.error.as_ref().map(ToString::to_string),
        "total_bytes": dir.total_bytes,
        "usable_bytes": dir.usable_bytes,
        "replica_bytes": bytes(dir),
        "replicas": dir.replicas.len(),
    })
}

fn bytes(dir: &LogDir) -> u64 {
    dir.replicas.values().map(|replica| replica.size_bytes).sum()
}
