//! `topic diff`: partitions, replicas and configuration of several topics beside each other.

use std::collections::BTreeMap;

use anyhow::Result;
use millstream_client::{Admin, ConfigResource};
use serde_json::{Map, Value, json};

use super::{find, parse_name};
use crate::command::{
    connect::ConnectArguments,
    failure::Failure,
    output::{Answer, OutputArguments, Section, counted, or_dash},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// One topic
    one: String,
    /// And another
    other: String,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let one = properties(&admin, &arguments.one).await?;
    let other = properties(&admin, &arguments.other).await?;
    let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let mut section = Section::new("difference", &["PROPERTY", "ONE", "OTHER"]);
    let mut values = Vec::new();
    for key in keys {
        let (left, right) = (one.get(key), other.get(key));
        if left == right {
            continue;
        }
        section.row([key.clone(), or_dash(left), or_dash(right)]);
        let mut fields = Map::new();
        fields.insert("property".to_owned(), json!(key));
        fields.insert("one".to_owned(), json!(left));
        fields.insert("other".to_owned(), json!(right));
        values.push(Value::Object(fields));
    }
    let count = values.len();
    arguments.output.print(&Answer::new(values, vec![section]))?;
    match count {
        0 => Ok(()),
        count => {
            let text = format!("{} and {}: {}", arguments.one, arguments.other, counted(count, "difference"));
            Err(Failure::CheckFailed(text).into())
        }
    }
}

async fn properties(admin: &Admin, name: &str) -> Result<BTreeMap<String, String>> {
    let name = parse_name(name)?;
    let topic = find(admin, &name).await?;
    let replicas = topic.partitions.values().map(|partition| partition.replicas.len()).max().unwrap_or(0);
    let mut properties = BTreeMap::from([
        ("partitions".to_owned(), topic.partitions.len().to_string()),
        ("replicas".to_owned(), replicas.to_string()),
    ]);
    for entry in admin.describe_configs(&ConfigResource::Topic(name)).await? {
        properties.insert(entry.name, entry.value.unwrap_or_default());
    }
    Ok(properties)
}
