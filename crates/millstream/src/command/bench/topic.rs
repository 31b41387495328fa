//! The topic of a run: one that is there, or one that is made for it and removed after it.

use anyhow::Result;
use millstream_client::{Admin, Client, NewTopic, Topic};
use millstream_types::TopicName;

use crate::command::{
    failure::is_not_found,
    output::{counted, say},
    topic::{find, parse_name},
};

pub(super) const NAME_DEFAULT: &str = "millstream-bench";

#[derive(Clone, Debug, clap::Args)]
pub(super) struct TopicArguments {
    /// The topic; one that does not exist is made, and removed afterwards
    #[arg(short, long, default_value = NAME_DEFAULT)]
    pub(super) topic: String,
    /// How many partitions a topic has that is made
    #[arg(short, long, default_value_t = 6)]
    partitions: i32,
    /// How many replicas each has [default: the broker's default.replication.factor]
    #[arg(long)]
    replication_factor: Option<i16>,
    /// Leave a topic that was made
    #[arg(long)]
    keep: bool,
}

/// A topic that is there.
pub(super) struct Made {
    admin: Admin,
    pub(super) topic: Topic,
    is_to_go: bool,
}

impl TopicArguments {
    pub(super) async fn make(&self, client: &Client) -> Result<Made> {
        let name = parse_name(&self.topic)?;
        let admin = client.admin();
        match find(&admin, &name).await {
            Ok(topic) => Ok(Made { admin, topic, is_to_go: false }),
            Err(error) if is_not_found(&error) => {
                let new = NewTopic {
                    name: name.to_string(),
                    partitions: Some(self.partitions),
                    replication_factor: self.replication_factor,
                    ..NewTopic::default()
                };
                for (_, result) in admin.create_topics(&[new], false).await? {
                    result?;
                }
                let topic = client.topic(&name).await?;
                say(&format!("topic {name} made, {}", counted(topic.partitions.len(), "partition")));
                Ok(Made { admin, topic, is_to_go: !self.keep })
            }
            Err(error) => Err(error),
        }
    }
}

impl Made {
    pub(super) fn name(&self) -> &TopicName {
        &self.topic.name
    }

    /// Removes it if it was made. That it cannot be removed takes nothing away from what was measured.
    pub(super) async fn clean_up(self) {
        if !self.is_to_go {
            return;
        }
        let name = self.topic.name;
        let removed = self.admin.delete_topics(std::slice::from_ref(&name)).await;
        match removed.map(|mut results| results.remove(name.as_str())) {
            Ok(Some(Ok(())) | None) => say(&format!("topic {name} removed; --keep would have left it")),
            Ok(Some(Err(error))) | Err(error) => say(&format!("topic {name} is left: {error}")),
        }
    }
}
