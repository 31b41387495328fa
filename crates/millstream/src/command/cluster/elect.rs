//! `cluster elect`: leaders where another replica should lead, or where none does.

use std::collections::BTreeSet;

use anyhow::Result;
use millstream_client::{ElectionType, Error, Partition};
use millstream_types::{BrokerId, ErrorCode, TopicPartition};
use serde_json::{Value, json};

use super::reassign::{Layout, layout};
use crate::command::{
    connect::ConnectArguments,
    failure::all_of,
    output::{Answer, OutputArguments, Section, counted, or_dash, say},
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Topics, or partitions as TOPIC:0,2 [default: all that need it]
    #[arg(value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    /// Where there is no leader, take any replica, in sync or not: records may be lost
    #[arg(long)]
    unclean: bool,
    /// Only show whose leader would be elected
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

/// A partition that needs another leader.
struct Line {
    which: TopicPartition,
    leader: Option<BrokerId>,
    /// Who should lead; None if it may be any.
    preferred: Option<BrokerId>,
    outcome: Option<Result<(), Error>>,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let kind = if arguments.unclean { ElectionType::Unclean } else { ElectionType::Preferred };
    let mut lines = needing(&layout(&admin, &arguments.topics).await?, kind);
    if lines.is_empty() {
        say(match kind {
            ElectionType::Preferred => "nothing to elect: every partition is led by its first replica",
            ElectionType::Unclean => "nothing to elect: every partition has a leader",
        });
    } else if !arguments.dry_run {
        let which: BTreeSet<TopicPartition> = lines.iter().map(|line| line.which.clone()).collect();
        let mut results = admin.elect_leaders(kind, Some(&which)).await?;
        for line in &mut lines {
            line.outcome = results.remove(&line.which).map(|outcome| match outcome {
                // Somebody else was quicker.
                Err(error) if error.code() == Some(ErrorCode::ElectionNotNeeded) => Ok(()),
                outcome => outcome,
            });
        }
    }
    let elected = lines.iter().filter(|line| matches!(line.outcome, Some(Ok(())))).count();
    if arguments.dry_run && !lines.is_empty() {
        say(&format!("{} would be elected; nothing was changed", counted(lines.len(), "leader")));
    } else if elected > 0 {
        say(&format!("{} elected, which cannot be undone", counted(elected, "leader")));
    }
    arguments.output.print(&answer(&lines))?;
    all_of(lines.into_iter().filter_map(|line| Some(line.outcome?.err()?.into())).collect())
}

fn needing(layout: &Layout, kind: ElectionType) -> Vec<Line> {
    let needs = |partition: &Partition| match kind {
        ElectionType::Preferred => partition.leader != partition.replicas.first().copied(),
        ElectionType::Unclean => partition.leader.is_none(),
    };
    let line = |(which, partition): (&TopicPartition, &Partition)| Line {
        which: which.clone(),
        leader: partition.leader,
        preferred: partition.replicas.first().copied().filter(|_| kind == ElectionType::Preferred),
        outcome: None,
    };
    layout.iter().filter(|(_, partition)| needs(partition)).map(line).collect()
}

fn answer(lines: &[Line]) -> Answer {
    let mut section = Section::new("leader", &["TOPIC", "PARTITION", "BEFORE", "PREFERRED", "OUTCOME"]);
    let outcome = |line: &Line| match &line.outcome {
        None => None,
        Some(Ok(())) => Some("elected".to_owned()),
        Some(Err(error)) => {
            Some(error.code().map_or_else(|| error.to_string(), |code| code.name().to_owned()))
        }
    };
    for line in lines {
        section.row([
            line.which.topic.to_string(),
            line.which.partition.to_string(),
            or_dash(line.leader),
            or_dash(line.preferred),
            or_dash(outcome(line)),
        ]);
    }
    let value = lines.iter().map(|line| {
        json!({
            "topic": line.which.topic.as_str(),
            "partition": line.which.partition.0,
            "before": line.leader.map(|id| id.0),
            "preferred": line.preferred.map(|id| id.0),
            "outcome": outcome(line),
        })
    });
    Answer::new(value.collect::<Value>(), vec![section])
}
