//! The Java client: `bench/java/ClientLoad.java` on Kafka's jars.

use std::{fs::File, io::Write, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use millstream_testkit::kafka_libs;

use super::load::{PARTITIONS, Report, Task, WARM_UP};

/// The program, compiled. A JVM that compiled it itself would have to account for that.
pub(super) fn compile(directory: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/ClientLoad.java");
    let mut javac = Command::new("javac");
    javac.arg("-cp").arg(format!("{}/*", kafka_libs()?.display())).arg("-d").arg(directory).arg(source);
    let output = javac.output().context("javac cannot be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

pub(super) fn run(
    classes: &Path,
    bootstrap: &str,
    topic: &str,
    task: Task,
    duration: Duration,
    records: u64,
) -> Result<Report> {
    let values = classes.join("values");
    write_values(&values, task)?;
    let linger = if task == Task::Await { 0 } else { 5 };
    let settings = match task {
        Task::Consume { .. } => "auto.offset.reset=earliest".to_owned(),
        Task::Produce { .. } | Task::Await => {
            let batch = task.batch().map_or(String::new(), |bytes| format!(",batch.size={bytes}"));
            format!("linger.ms={linger},compression.type={}{batch}", task.codec().name())
        }
    };
    let name = match task {
        Task::Produce { .. } => "produce",
        Task::Consume { .. } => "consume",
        Task::Await => "await",
    };
    let class_path = format!("{}:{}/*", classes.display(), kafka_libs()?.display());
    let output = Command::new("java")
        .args(["-Xmx512m", "-cp", &class_path, "ClientLoad", name, bootstrap, topic])
        .arg(PARTITIONS.to_string())
        .arg(&values)
        .arg(settings)
        .args([duration, WARM_UP].map(|duration| duration.as_secs_f64().to_string()))
        .arg(records.to_string())
        .output()
        .context("java cannot be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn write_values(path: &Path, task: Task) -> Result<()> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    for value in task.values() {
        file.write_all(&u32::try_from(value.len())?.to_be_bytes())?;
        file.write_all(&value)?;
    }
    Ok(file.flush()?)
}
