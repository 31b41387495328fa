//! `cluster quorum`

use anyhow::Result;
use millstream_client::{Admin, Quorum, QuorumReplica};
use serde_json::{Value, json};

use crate::command::{
    connect::ConnectArguments,
    output::{Answer, Section, ShowArguments, or_dash},
    time,
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
    let quorum = admin.describe_quorum().await?;
    let columns = ["NODE", "ROLE", "LOG-END-OFFSET", "LAG", "BEHIND-MS"];
    let mut section = Section::new("replica", &columns).wide(&["DIRECTORY", "ENDPOINTS"]);
    let mut values = Vec::new();
    let voters = quorum.voters.iter().map(|replica| (replica, "voter"));
    for (replica, role) in voters.chain(quorum.observers.iter().map(|replica| (replica, "observer"))) {
        let is_leader = quorum.leader == Some(replica.id);
        let role = if is_leader { "leader" } else { role };
        let endpoints = quorum.endpoints.get(&replica.id).cloned().unwrap_or_default();
        let directory = (!replica.directory_id.is_zero()).then_some(replica.directory_id);
        section.row([
            replica.id.to_string(),
            role.to_owned(),
            or_dash(replica.log_end_offset),
            or_dash(lag(&quorum, replica)),
            or_dash(behind_ms(replica)),
            or_dash(directory),
            endpoints.join(","),
        ]);
        values.push(json!({
            "node": replica.id.0,
            "role": role,
            "log_end_offset": replica.log_end_offset.map(|offset| offset.0),
            "lag": lag(&quorum, replica),
            "behind_ms": behind_ms(replica),
            "directory_id": directory.map(|id| id.to_string()),
            "endpoints": endpoints,
        }));
    }
    let value: Value = json!({
        "leader": quorum.leader.map(|id| id.0),
        "leader_epoch": quorum.leader_epoch.map(|epoch| epoch.0),
        "high_watermark": quorum.high_watermark.map(|offset| offset.0),
        "replicas": values,
    });
    let mut answer = Answer::new(value, vec![section]);
    answer.note = Some(format!(
        "leader {}, epoch {}, high watermark {}",
        or_dash(quorum.leader),
        or_dash(quorum.leader_epoch),
        or_dash(quorum.high_watermark)
    ));
    Ok(answer)
}

fn lag(quorum: &Quorum, replica: &QuorumReplica) -> Option<i64> {
    let all = quorum.voters.iter().chain(&quorum.observers);
    let leader = all.filter(|one| Some(one.id) == quorum.leader).find_map(|one| one.log_end_offset)?;
    Some(leader.since(replica.log_end_offset?).max(0))
}

fn behind_ms(replica: &QuorumReplica) -> Option<i64> {
    Some(time::now().since(replica.last_caught_up?).max(0))
}
