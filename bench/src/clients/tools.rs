//! How long a run of a command line tool takes: Millstream's by Kafka's names, and Kafka's.

use std::time::Instant;

use anyhow::Result;
use millstream_testkit::{Program, kafka_tool, millstream_binary};

/// Tools, and what they are asked beside where the broker is.
const RUNS: [(&str, &[&str]); 4] = [
    ("kafka-topics", &["--list"]),
    ("kafka-consumer-groups", &["--list"]),
    ("kafka-get-offsets", &["--topic-partitions", "__consumer_offsets:0"]),
    ("kafka-configs", &["--describe", "--entity-type", "brokers", "--all"]),
];

/// The runs of one command line.
#[derive(Default)]
pub(super) struct Tool {
    pub(super) command: String,
    pub(super) millstream_ms: Vec<f64>,
    pub(super) kafka_ms: Vec<f64>,
}

pub(super) fn measure(bootstrap: &str, tools: &mut Vec<Tool>) -> Result<()> {
    for (index, (name, arguments)) in RUNS.into_iter().enumerate() {
        if tools.len() == index {
            let command = format!("{name} {}", arguments.join(" "));
            tools.push(Tool { command, ..Tool::default() });
        }
        let all = || [&["--bootstrap-server", bootstrap], arguments].concat();
        let millstream = Program::new(millstream_binary()?).arg(name).args(all());
        tools[index].millstream_ms.push(timed(millstream)?);
        tools[index].kafka_ms.push(timed(kafka_tool(name)?.args(all()))?);
    }
    Ok(())
}

fn timed(program: Program) -> Result<f64> {
    let started = Instant::now();
    program.run()?.ok()?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
