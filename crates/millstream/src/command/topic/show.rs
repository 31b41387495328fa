use std::collections::BTreeMap;

use anyhow::Result;
use millstream_client::{Admin, ConfigResource, ConfigSource, IsolationLevel, Topic};
use millstream_types::{BrokerId, PartitionId, TopicName, TopicPartition};
use serde_json::{Value, json};

use super::{find, parse_name};
use crate::command::{
    config::{config_section, entry_value},
    connect::ConnectArguments,
    output::{Answer, Section, ShowArguments, or_dash},
    position::{Bounds, bounds},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The topic
    name: String,
    /// Every configuration key, not only those that were set for the topic
    #[arg(long)]
    all_configs: bool,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let name = parse_name(&arguments.name)?;
    let admin = arguments.connect.connect().await?.client.admin();
    arguments.show.show(async || ask(&admin, &name, arguments.all_configs).await).await
}

async fn ask(admin: &Admin, name: &TopicName, all_configs: bool) -> Result<Answer> {
    let topic = find(admin, name).await?;
    let mut configs = admin.describe_configs(&ConfigResource::Topic(name.clone())).await?;
    configs.retain(|entry| all_configs || entry.source == ConfigSource::Topic);
    let of_topic = |partition: &PartitionId| TopicPartition::new(name.clone(), *partition);
    let partitions: Vec<TopicPartition> = topic.partitions.keys().map(of_topic).collect();
    let bounds = bounds(admin, &partitions, IsolationLevel::ReadUncommitted).await?;
    let sizes = sizes(admin).await;

    let mut head = Section::new("topic", &["NAME", "ID", "PARTITIONS", "INTERNAL"]);
    head.row([
        name.to_string(),
        or_dash(topic.id),
        topic.partitions.len().to_string(),
        if topic.is_internal { "yes" } else { "no" }.to_owned(),
    ]);
    let details = Details { topic: &topic, bounds: &bounds, sizes: &sizes };
    let sections = vec![head, config_section(&configs), details.section()];
    let value = json!({
        "name": name.as_str(),
        "id": topic.id.map(|id| id.to_string()),
        "internal": topic.is_internal,
        "configs": configs.iter().map(entry_value).collect::<Vec<_>>(),
        "partitions": details.values(),
    });
    let mut answer = Answer::new(value, sections);
    if configs.is_empty() {
        answer.note = Some("no configuration of its own; --all-configs shows what holds".to_owned());
    }
    Ok(answer)
}

/// Bytes on disk by partition; empty where the cluster does not tell.
async fn sizes(admin: &Admin) -> BTreeMap<TopicPartition, u64> {
    let dirs = admin.describe_log_dirs().await.unwrap_or_default();
    let replicas = dirs.into_values().flatten().flat_map(|dir| dir.replicas);
    let mut sizes = BTreeMap::new();
    for (partition, replica) in replicas {
        let size = sizes.entry(partition).or_default();
        *size = replica.size_bytes.max(*size);
    }
    sizes
}

struct Details<'a> {
    topic: &'a Topic,
    bounds: &'a BTreeMap<TopicPartition, Bounds>,
    sizes: &'a BTreeMap<TopicPartition, u64>,
}

impl Details<'_> {
    fn section(&self) -> Section {
        let columns = &["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END", "BYTES"];
        let mut section = Section::new("partition", columns);
        for (number, partition) in &self.topic.partitions {
            let which = TopicPartition::new(self.topic.name.clone(), *number);
            let bounds = self.bounds.get(&which);
            section.row([
                number.to_string(),
                or_dash(partition.leader),
                or_dash(partition.leader_epoch),
                list(&partition.replicas),
                list(&partition.in_sync_replicas),
                or_dash(bounds.map(|bounds| bounds.start)),
                or_dash(bounds.map(|bounds| bounds.end)),
                or_dash(self.sizes.get(&which)),
            ]);
        }
        section
    }

    fn values(&self) -> Vec<Value> {
        let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect::<Vec<_>>();
        let value = |(number, partition): (&PartitionId, &millstream_client::Partition)| {
            let which = TopicPartition::new(self.topic.name.clone(), *number);
            let bounds = self.bounds.get(&which);
            json!({
                "partition": number.0,
                "leader": partition.leader.map(|broker| broker.0),
                "leader_epoch": partition.leader_epoch.map(|epoch| epoch.0),
                "replicas": ids(&partition.replicas),
                "isr": ids(&partition.in_sync_replicas),
                "offline_replicas": ids(&partition.offline_replicas),
                "start_offset": bounds.map(|bounds| bounds.start.0),
                "end_offset": bounds.map(|bounds| bounds.end.0),
                "size_bytes": self.sizes.get(&which),
            })
        };
        self.topic.partitions.iter().map(value).collect()
    }
}

fn list(brokers: &[BrokerId]) -> String {
    brokers.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}
