//! `make bench-clients`: Millstream's client beside librdkafka and the Java client, on one Millstream broker that
//! leaves flushing to the system, so that the disk is not what is measured. Each client is a process of its own, and
//! says at its end what that took.

mod java;
mod librdkafka;
mod load;
mod millstream;
mod report;
mod tools;

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use millstream_testkit::{Kind, Target, TargetOptions, millstream_binary};

use self::load::{PARTITIONS, Report, Task};
use crate::{
    Place,
    machine::Machine,
    produce::{self, Limit},
    topics::Topic,
};

/// What is read: enough that its first tenth is more than a client reads ahead.
const CONSUMED_BYTES: u64 = 512 << 20;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds that one run is measured for
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only tasks whose name contains this, such as `produce 100 B`, or `tools`
    #[arg(long)]
    only: Option<String>,
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',')]
    clients: Vec<Client>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Client {
    Millstream,
    Librdkafka,
    Java,
}

impl Client {
    const ALL: [Self; 3] = [Self::Millstream, Self::Librdkafka, Self::Java];
}

/// What one client's process is to do.
#[derive(clap::Args)]
pub(crate) struct Run {
    #[arg(value_enum)]
    client: Client,
    /// As it is called in the report
    task: String,
    bootstrap: String,
    topic: String,
    seconds: u64,
    records: u64,
}

type Reports = BTreeMap<(usize, Client), Vec<Report>>;

pub(crate) fn run(arguments: &Arguments, place: &Place) -> Result<()> {
    let machine = Machine::read(&millstream_binary()?);
    let directory = match &place.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    java::compile(directory.path())?;
    let mut options = TargetOptions::default()
        .kind(Kind::Millstream)
        .dir(&directory.path().join("broker"))
        .set("log.segment.delete.delay.ms", 1_000);
    options.arguments = vec!["--durability".to_owned(), "os".to_owned()];
    let mut broker = Target::start(options)?;
    let wanted = |task: &Task| arguments.only.as_ref().is_none_or(|only| task.to_string().contains(only));
    let clients = if arguments.clients.is_empty() { &Client::ALL[..] } else { &arguments.clients };
    let duration = Duration::from_secs(arguments.seconds);
    let (started, mut reports, mut tools) = (Instant::now(), Reports::new(), Vec::new());
    for round in 1..=arguments.rounds {
        for (index, task) in Task::ALL.into_iter().enumerate().filter(|(_, task)| wanted(task)) {
            let topic = Topic::create(&broker, "clients", PARTITIONS)?;
            let records = match task {
                Task::Consume { .. } => fill(broker.bootstrap(), &topic.name, task)?,
                Task::Produce { .. } | Task::Await => 0,
            };
            for client in clients.iter().copied() {
                eprint!("[{} s] round {round}, {task}, {client:?}: ", started.elapsed().as_secs());
                let report = match client {
                    Client::Java => {
                        let classes = directory.path();
                        java::run(classes, broker.bootstrap(), &topic.name, task, duration, records)?
                    }
                    _ => spawn(client, broker.bootstrap(), &topic.name, task, duration, records)?,
                };
                eprintln!("{}", report::line(&report));
                reports.entry((index, client)).or_default().push(report);
            }
        }
        if arguments.only.as_ref().is_none_or(|only| only == "tools") {
            eprintln!("[{} s] round {round}, tools", started.elapsed().as_secs());
            tools::measure(broker.bootstrap(), &mut tools)?;
        }
    }
    broker.stop()?;
    let out = place.out.clone().unwrap_or_else(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        if arguments.only.is_some() || !arguments.clients.is_empty() {
            own.join("partial")
        } else {
            own.to_owned()
        }
    });
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let text = report::render(&machine, arguments, &reports, &tools)?;
    fs::write(out.join("CLIENTS.md"), &text)?;
    println!("{text}");
    Ok(())
}

/// The records that all clients read, written by one of them.
fn fill(bootstrap: &str, topic: &str, task: Task) -> Result<u64> {
    let limit = Limit { duration: Duration::from_secs(60), bytes: CONSUMED_BYTES };
    Ok(produce::run(bootstrap, topic, &task.throughput(), &task.values(), limit)?.records)
}

fn spawn(
    client: Client,
    bootstrap: &str,
    topic: &str,
    task: Task,
    duration: Duration,
    records: u64,
) -> Result<Report> {
    let name = format!("{client:?}").to_lowercase();
    let output = Command::new(env::current_exe()?)
        .args(["client", &name, &task.to_string(), bootstrap, topic])
        .args([duration.as_secs(), records].map(|number| number.to_string()))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Is the client's process.
pub(crate) fn be(run: &Run) -> Result<()> {
    let Run { client, task, bootstrap, topic, seconds, records } = run;
    let found = Task::ALL.into_iter().find(|each| each.to_string() == *task);
    let task = found.with_context(|| format!("no such task: {task}"))?;
    let duration = Duration::from_secs(*seconds);
    let report = match client {
        Client::Millstream => millstream::run(bootstrap, topic, task, duration, *records)?,
        Client::Librdkafka => librdkafka::run(bootstrap, topic, task, duration, *records)?,
        Client::Java => bail!("it is a program of its own"),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
