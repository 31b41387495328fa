//! `cluster features`

use anyhow::Result;
use millstream_client::Admin;
use serde_json::json;

use crate::command::{
    connect::ConnectArguments,
    output::{Answer, Section, ShowArguments, or_dash},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    arguments.show.show(async || ask(&admin).await).await
}

async fn ask(admin: &Admin) -> Result<Answer> {
    let known = admin.describe_features(None).await?;
    let mut section = Section::new("feature", &["FEATURE", "MIN", "MAX", "FINALIZED"]);
    let mut values = Vec::new();
    for (name, feature) in &known.features {
        let (min, max) = feature.supported.unzip();
        section.row([name.clone(), or_dash(min), or_dash(max), or_dash(feature.finalized)]);
        values.push(json!({ "feature": name, "min": min, "max": max, "finalized": feature.finalized }));
    }
    Ok(Answer::new(values, vec![section]))
}
