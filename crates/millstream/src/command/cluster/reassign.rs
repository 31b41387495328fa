//! `cluster reassign`: which brokers have which partitions. The plan is made here (`plan` and what it calls know
//! no cluster), and what is under way is Kafka's to tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use millstream_client::{Admin, Partition, Reassignment};
use millstream_types::{BrokerId, PartitionId, TopicName, TopicPartition};
use serde_json::{Value, json};

use crate::command::{
    connect::ConnectArguments,
    failure::{all_of, usage},
    output::{Answer, Section, ShowArguments, counted, say, say_undo},
    topic::partitions_named,
};

/// How often `--wait` looks.
const POLL: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Topics, or partitions as TOPIC:0,2 [default: all]; without one of --to, --away-from, --set and --cancel
    /// what is being moved is shown
    #[arg(value_name = "TOPIC[:PARTITIONS]")]
    topics: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// How many replicas each partition is to have, with --to [default: as many as it has]
    #[arg(short, long, requires = "to")]
    replication_factor: Option<usize>,
    /// Wait until everything is moved
    #[arg(long)]
    wait: bool,
    /// Only show what would be moved
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    show: ShowArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

#[derive(clap::Args)]
#[group(multiple = false)]
struct Target {
    /// Onto these brokers, dealt out evenly
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    to: Vec<i32>,
    /// From this broker to those that have least
    #[arg(long, value_name = "ID")]
    away_from: Option<i32>,
    /// One partition to just these brokers, the first being who leads; repeat for more
    #[arg(long, value_name = "TOPIC:PARTITION=ID,…", conflicts_with = "topics")]
    set: Vec<Exact>,
    /// Stop what is being moved, and go back
    #[arg(long)]
    cancel: bool,
}

/// `TOPIC:PARTITION=ID,ID`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exact {
    partition: TopicPartition,
    replicas: Vec<BrokerId>,
}

impl FromStr for Exact {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = || {
            let (partition, replicas) = text.split_once('=')?;
            let (topic, partition) = partition.rsplit_once(':')?;
            let partition = partition.parse().ok().filter(|number| *number >= 0).map(PartitionId)?;
            let partition = TopicPartition::new(TopicName::parse(topic).ok()?, partition);
            let id = |id: &str| id.parse().ok().and_then(BrokerId::from_wire);
            Some(Self { partition, replicas: replicas.split(',').map(id).collect::<Option<_>>()? })
        };
        parsed().ok_or_else(|| anyhow!("expected TOPIC:PARTITION=ID,ID, found {text:?}"))
    }
}

/// The partitions that are looked at.
pub(super) type Layout = BTreeMap<TopicPartition, Partition>;
/// On which brokers they are, or are to be.
type Placement = BTreeMap<TopicPartition, Vec<BrokerId>>;

/// All partitions, or those of these topics.
pub(super) async fn layout(admin: &Admin, names: &[String]) -> Result<Layout> {
    let wanted: BTreeSet<TopicPartition> = partitions_named(admin, names).await?.into_iter().collect();
    let of_topic = |topic: millstream_client::Topic| {
        let name = topic.name;
        topic
            .partitions
            .into_iter()
            .map(move |(number, one)| (TopicPartition::new(name.clone(), number), one))
    };
    let mut layout: Layout = admin.list_topics().await?.into_iter().flat_map(of_topic).collect();
    layout.retain(|which, _| names.is_empty() || wanted.contains(which));
    Ok(layout)
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let target = &arguments.target;
    let moves = !target.to.is_empty() || target.away_from.is_some() || !target.set.is_empty();
    if (moves || target.cancel) && arguments.show.watches() {
        return Err(usage(
            "--watch shows what is being moved: leave it out here, and say it in a second command",
        ));
    }
    let admin = arguments.connect.connect().await?.client.admin();
    if target.cancel {
        return cancel(&admin, &arguments).await;
    }
    if !moves {
        return arguments.show.show(async || under_way(&admin, &arguments.topics).await).await;
    }
    let before: Placement =
        layout(&admin, &[]).await?.into_iter().map(|(which, one)| (which, one.replicas)).collect();
    let wanted = wanted(&admin, &arguments, &before).await?;
    let cluster = admin.describe_cluster().await?;
    let there: BTreeSet<BrokerId> = cluster.brokers.iter().map(|broker| broker.id).collect();
    let after = plan(&arguments, &before, &wanted, &there)?;
    report(&arguments, &before, &after)?;
    if arguments.dry_run || after.is_empty() {
        return Ok(());
    }
    let targets = after.iter().map(|(which, replicas)| (which.clone(), Some(replicas.clone()))).collect();
    let changes_factor = arguments.replication_factor.is_some() || !target.set.is_empty();
    let mut failures = Vec::new();
    let mut moved = BTreeSet::new();
    for (which, result) in admin.alter_reassignments(&targets, changes_factor).await? {
        match result {
            Ok(()) => drop(moved.insert(which)),
            Err(error) => failures.push(error.into()),
        }
    }
    if !moved.is_empty() {
        say(&format!("{} being moved", counted(moved.len(), "partition")));
        let back = before.into_iter().filter(|(which, _)| moved.contains(which)).collect();
        say_undo(&set_again(&back, &arguments.connect));
    }
    if arguments.wait && !moved.is_empty() {
        wait(&admin, &moved).await?;
        say(&format!("{} moved", counted(moved.len(), "partition")));
    }
    all_of(failures)
}

/// Which partitions are to be moved, if they are not where they should be.
async fn wanted(admin: &Admin, arguments: &Arguments, before: &Placement) -> Result<Vec<TopicPartition>> {
    let set = &arguments.target.set;
    if let Some(missing) = set.iter().find(|one| !before.contains_key(&one.partition)) {
        let names = [format!("{}:{}", missing.partition.topic, missing.partition.partition)];
        return partitions_named(admin, &names).await;
    }
    match arguments.topics.is_empty() {
        true if set.is_empty() => Ok(before.keys().cloned().collect()),
        true => Ok(set.iter().map(|one| one.partition.clone()).collect()),
        false => partitions_named(admin, &arguments.topics).await,
    }
}

/// Where those are to be that are to be elsewhere.
fn plan(
    arguments: &Arguments,
    before: &Placement,
    wanted: &[TopicPartition],
    there: &BTreeSet<BrokerId>,
) -> Result<Placement> {
    let Target { to, away_from, set, .. } = &arguments.target;
    let mut after = match away_from {
        Some(id) => away(before, wanted, BrokerId(*id), there)?,
        None if !set.is_empty() => {
            set.iter().map(|one| (one.partition.clone(), one.replicas.clone())).collect()
        }
        None => {
            let brokers: Vec<BrokerId> = to.iter().copied().map(BrokerId).collect();
            onto(before, wanted, &brokers, arguments.replication_factor)?
        }
    };
    for id in after.values().flatten() {
        if !there.contains(id) {
            let there: Vec<String> = there.iter().map(BrokerId::to_string).collect();
            bail!("there is no broker {id}; those in service are {}", there.join(", "));
        }
    }
    if let Some((which, _)) = after.iter().find(|(_, replicas)| has_twice(replicas)) {
        bail!("{which}: a broker has one replica of a partition at most");
    }
    after.retain(|which, replicas| before.get(which) != Some(replicas));
    Ok(after)
}

fn has_twice(replicas: &[BrokerId]) -> bool {
    replicas.iter().collect::<BTreeSet<_>>().len() < replicas.len()
}

/// Dealt out over these brokers in turn; what is on them already, in the right number, stays.
fn onto(
    before: &Placement,
    wanted: &[TopicPartition],
    brokers: &[BrokerId],
    factor: Option<usize>,
) -> Result<Placement> {
    let mut after = Placement::new();
    for (index, which) in wanted.iter().enumerate() {
        let Some(old) = before.get(which) else { continue };
        let count = factor.unwrap_or(old.len());
        if count == 0 || count > brokers.len() {
            bail!(
                "{which} cannot have {} on {}",
                counted(count, "replica"),
                counted(brokers.len(), "broker")
            );
        }
        let stays = old.len() == count && old.iter().all(|id| brokers.contains(id));
        let dealt = (0..count).map(|nth| brokers[(index + nth) % brokers.len()]);
        after.insert(which.clone(), if stays { old.clone() } else { dealt.collect() });
    }
    Ok(after)
}

/// In the place of one broker another, which has fewest replicas then.
fn away(
    before: &Placement,
    wanted: &[TopicPartition],
    from: BrokerId,
    there: &BTreeSet<BrokerId>,
) -> Result<Placement> {
    let mut loads: BTreeMap<BrokerId, usize> =
        there.iter().filter(|id| **id != from).map(|id| (*id, 0)).collect();
    for id in before.values().flatten() {
        loads.entry(*id).and_modify(|load| *load += 1);
    }
    let mut after = Placement::new();
    for which in wanted {
        let Some(old) = before.get(which).filter(|old| old.contains(&from)) else { continue };
        let free =
            loads.iter_mut().filter(|(id, _)| !old.contains(id)).min_by_key(|(id, load)| (**load, **id));
        let Some((taker, load)) = free else {
            bail!("{which}: no broker is left to take the replica of broker {from}");
        };
        *load += 1;
        let replicas = old.iter().map(|id| if *id == from { *taker } else { *id }).collect();
        after.insert(which.clone(), replicas);
    }
    Ok(after)
}

fn report(arguments: &Arguments, before: &Placement, after: &Placement) -> Result<()> {
    let mut section = Section::new("partition", &["TOPIC", "PARTITION", "BROKERS", "BEFORE"]);
    let mut values = Vec::new();
    for (which, replicas) in after {
        let old = before.get(which).map(Vec::as_slice).unwrap_or_default();
        section.row([which.topic.to_string(), which.partition.to_string(), list(replicas), list(old)]);
        values.push(json!({
            "topic": which.topic.as_str(),
            "partition": which.partition.0,
            "replicas": ids(replicas),
            "before": ids(old),
        }));
    }
    if after.is_empty() {
        say("nothing to move: every partition is where it should be");
    } else if arguments.dry_run {
        say(&format!("{} would be moved; nothing was changed", counted(after.len(), "partition")));
    }
    arguments.show.shape.print(&Answer::new(Value::from(values), vec![section]))
}

fn list(brokers: &[BrokerId]) -> String {
    brokers.iter().map(BrokerId::to_string).collect::<Vec<_>>().join(",")
}

fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

/// The command that puts partitions on these brokers.
fn set_again(placement: &Placement, connect: &ConnectArguments) -> String {
    let set = |(which, replicas): (&TopicPartition, &Vec<BrokerId>)| {
        format!(" --set {}:{}={}", which.topic, which.partition, list(replicas))
    };
    format!("cluster reassign{}{}", placement.iter().map(set).collect::<String>(), connect.again())
}

async fn moving(admin: &Admin, names: &[String]) -> Result<BTreeMap<TopicPartition, Reassignment>> {
    let wanted: BTreeSet<TopicPartition> = partitions_named(admin, names).await?.into_iter().collect();
    Ok(admin.list_reassignments((!names.is_empty()).then_some(&wanted)).await?)
}

async fn under_way(admin: &Admin, names: &[String]) -> Result<Answer> {
    let mut section = Section::new("partition", &["TOPIC", "PARTITION", "BROKERS", "ADDING", "REMOVING"]);
    let mut values = Vec::new();
    for (which, Reassignment { replicas, adding, removing }) in moving(admin, names).await? {
        section.row([
            which.topic.to_string(),
            which.partition.to_string(),
            list(&replicas),
            list(&adding),
            list(&removing),
        ]);
        values.push(json!({
            "topic": which.topic.as_str(),
            "partition": which.partition.0,
            "replicas": ids(&replicas),
            "adding": ids(&adding),
            "removing": ids(&removing),
        }));
    }
    let mut answer = Answer::new(values, vec![section]);
    if answer.sections[0].is_empty() {
        answer.note = Some("nothing is being moved".to_owned());
    }
    Ok(answer)
}

async fn cancel(admin: &Admin, arguments: &Arguments) -> Result<()> {
    let moving = moving(admin, &arguments.topics).await?;
    let count = counted(moving.len(), "partition");
    if moving.is_empty() {
        say("nothing is being moved");
        return Ok(());
    }
    if arguments.dry_run {
        say(&format!("{count} would be moved no further; nothing was changed"));
        return Ok(());
    }
    let targets = moving.keys().map(|which| (which.clone(), None)).collect();
    let (mut failures, mut stopped) = (Vec::new(), Placement::new());
    for (which, result) in admin.alter_reassignments(&targets, false).await? {
        match (result, moving.get(&which)) {
            (Ok(()), Some(Reassignment { replicas, removing, .. })) => {
                let was_to_be = replicas.iter().filter(|id| !removing.contains(id)).copied().collect();
                stopped.insert(which, was_to_be);
            }
            (Ok(()), None) => {}
            (Err(error), _) => failures.push(error.into()),
        }
    }
    if !stopped.is_empty() {
        say(&format!("{} moved no further", counted(stopped.len(), "partition")));
        say_undo(&set_again(&stopped, &arguments.connect));
    }
    all_of(failures)
}

async fn wait(admin: &Admin, moved: &BTreeSet<TopicPartition>) -> Result<()> {
    while !admin.list_reassignments(Some(moved)).await?.is_empty() {
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(all: &[(i32, &[i32])]) -> Placement {
        let which = |number| TopicPartition::new(TopicName::from_static("t"), PartitionId(number));
        all.iter().map(|(number, on)| (which(*number), on.iter().copied().map(BrokerId).collect())).collect()
    }

    fn brokers(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn partitions_are_dealt_out_in_turn_and_stay_where_they_may() {
        let before = placement(&[(0, &[1, 2]), (1, &[1, 2]), (2, &[4, 3])]);
        let wanted: Vec<TopicPartition> = before.keys().cloned().collect();
        let after = onto(&before, &wanted, &brokers(&[3, 4, 5]), None).unwrap();
        assert_eq!(after, placement(&[(0, &[3, 4]), (1, &[4, 5]), (2, &[4, 3])]));
        let after = onto(&before, &wanted, &brokers(&[3, 4]), Some(1)).unwrap();
        assert_eq!(after, placement(&[(0, &[3]), (1, &[4]), (2, &[3])]));
        let refused = onto(&before, &wanted, &brokers(&[3]), None).unwrap_err().to_string();
        assert_eq!(refused, "t-0 cannot have 2 replicas on 1 broker");
    }

    #[test]
    fn a_broker_is_relieved_by_those_that_have_least() {
        let before = placement(&[(0, &[1, 2]), (1, &[2, 1]), (2, &[2, 3])]);
        let wanted: Vec<TopicPartition> = before.keys().cloned().collect();
        let there = brokers(&[1, 2, 3, 4]).into_iter().collect();
        let after = away(&before, &wanted, BrokerId(1), &there).unwrap();
        assert_eq!(after, placement(&[(0, &[4, 2]), (1, &[2, 3])]));
        let there = brokers(&[1, 2]).into_iter().collect();
        let refused = away(&before, &wanted, BrokerId(1), &there).unwrap_err().to_string();
        assert_eq!(refused, "t-0: no broker is left to take the replica of broker 1");
    }

    #[test]
    fn a_place_is_read_as_the_undo_writes_it() {
        let exact: Exact = "a.b:3=2,1".parse().unwrap();
        assert_eq!((exact.partition.to_string(), exact.replicas), ("a.b-3".to_owned(), brokers(&[2, 1])));
        let again = set_again(&placement(&[(0, &[1, 2])]), &ConnectArguments::default());
        assert_eq!(again, "cluster reassign --set t:0=1,2");
        for wrong in ["", "a:3", "a:3=", "a:3=x", "a:-1=1", "a=1", "a:1=-1"] {
            assert!(wrong.parse::<Exact>().is_err(), "{wrong}");
        }
    }
}
