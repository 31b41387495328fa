//! `cluster health`: what any client can see that is wrong with a cluster.

use anyhow::Result;
use millstream_client::{Admin, ConfigResource, LogDir};
use serde_json::{Value, json};

use crate::command::{
    connect::ConnectArguments,
    failure::Failure,
    output::{Answer, OutputArguments, Section, counted},
};

/// A log directory with less than this part of its file system left is a finding.
const USABLE_PART_MIN: f64 = 0.1;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

struct Finding {
    check: &'static str,
    what: String,
    detail: String,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let admin = arguments.connect.connect().await?.client.admin();
    let mut findings = Vec::new();
    brokers(&admin, &mut findings).await?;
    partitions(&admin, &mut findings).await?;
    log_dirs(&admin, &mut findings).await?;
    let mut section = Section::new("finding", &["CHECK", "WHAT", "DETAIL"]);
    let mut values = Vec::new();
    for Finding { check, what, detail } in &findings {
        section.row([(*check).to_owned(), what.clone(), detail.clone()]);
        values.push(json!({ "check": check, "what": what, "detail": detail }));
    }
    let mut answer = Answer::new(Value::from(values), vec![section]);
    if findings.is_empty() {
        answer.note = Some("healthy".to_owned());
    }
    arguments.output.print(&answer)?;
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::CheckFailed(counted(count, "finding")).into()),
    }
}

async fn brokers(admin: &Admin, findings: &mut Vec<Finding>) -> Result<()> {
    if admin.describe_cluster().await?.controller.is_none() {
        findings.push(Finding {
            check: "no-controller",
            what: "cluster".to_owned(),
            detail: "nobody makes changes: topics are neither made nor altered".to_owned(),
        });
    }
    for one in admin.describe_brokers(true).await?.into_iter().filter(|one| one.is_fenced) {
        findings.push(Finding {
            check: "broker-fenced",
            what: format!("broker {}", one.broker.id),
            detail: "registered, and not in service".to_owned(),
        });
    }
    Ok(())
}

async fn partitions(admin: &Admin, findings: &mut Vec<Finding>) -> Result<()> {
    for topic in admin.list_topics().await? {
        let mut min_isr = None;
        for (number, partition) in &topic.partitions {
            let what = format!("{}-{number}", topic.name);
            let (in_sync, replicas) = (partition.in_sync_replicas.len(), partition.replicas.len());
            if partition.leader.is_none() {
                let detail = format!("no leader; of {} none may lead", counted(replicas, "replica"));
                findings.push(Finding { check: "partition-offline", what, detail });
                continue;
            }
            if in_sync < replicas {
                let detail = format!("{in_sync} of {} in sync", counted(replicas, "replica"));
                findings.push(Finding { check: "under-replicated", what: what.clone(), detail });
            }
            // Asked once a topic, and only where it may matter.
            if in_sync < replicas || replicas > 1 {
                let wanted = match min_isr {
                    Some(known) => known,
                    None => min_in_sync(admin, &ConfigResource::Topic(topic.name.clone())).await?,
                };
                min_isr = Some(wanted);
                if in_sync < wanted {
                    let detail =
                        format!("{in_sync} in sync, min.insync.replicas is {wanted}: acks=all is refused");
                    findings.push(Finding { check: "under-min-isr", what, detail });
                }
            }
        }
    }
    Ok(())
}

async fn min_in_sync(admin: &Admin, topic: &ConfigResource) -> Result<usize> {
    let entries = admin.describe_configs(topic).await?;
    let entry = entries.into_iter().find(|entry| entry.name == "min.insync.replicas");
    Ok(entry.and_then(|entry| entry.value?.parse().ok()).unwrap_or(1))
}

async fn log_dirs(admin: &Admin, findings: &mut Vec<Finding>) -> Result<()> {
    for (broker, dirs) in admin.describe_log_dirs().await? {
        for LogDir { path, error, total_bytes, usable_bytes, .. } in dirs {
            let what = format!("broker {broker}, {path}");
            if let Some(error) = error {
                findings.push(Finding { check: "logdir-offline", what, detail: error.to_string() });
                continue;
            }
            if let (Some(total), Some(usable)) = (total_bytes, usable_bytes)
                && (usable as f64) < total as f64 * USABLE_PART_MIN
            {
                let detail = format!("{usable} of {total} bytes left");
                findings.push(Finding { check: "disk-filling", what, detail });
            }
        }
    }
    Ok(())
}
