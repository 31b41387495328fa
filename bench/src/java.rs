//! Kafka's own performance tools, as a second opinion: what users of the Java client will see.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use millstream_testkit::kafka_libs;

/// Records a second that ProducerPerformance reports.
pub(crate) fn produce(bootstrap: &str, topic: &str, records: u64, size: usize) -> Result<f64> {
    let output = tool(
        "org.apache.kafka.tools.ProducerPerformance",
        &[
            &format!("--topic={topic}"),
            &format!("--num-records={records}"),
            &format!("--record-size={size}"),
            "--throughput=-1",
            &format!("--bootstrap-server={bootstrap}"),
            "--command-property",
            "acks=all",
            "linger.ms=5",
        ],
    )?;
    produced_rate(&output).with_context(|| format!("no rate in {output:?}"))
}

/// Records a second that ConsumerPerformance reports, without the time of joining the group.
pub(crate) fn consume(bootstrap: &str, topic: &str, records: u64) -> Result<f64> {
    let output = tool(
        "org.apache.kafka.tools.ConsumerPerformance",
        &[
            &format!("--topic={topic}"),
            &format!("--num-records={records}"),
            &format!("--bootstrap-server={bootstrap}"),
        ],
    )?;
    consumed_rate(&output).with_context(|| format!("no rate in {output:?}"))
}

fn tool(class: &str, arguments: &[&str]) -> Result<String> {
    let classes = format!("{}/*", kafka_libs()?.display());
    let output = Command::new("java")
        .args(["-Xmx512m", "-cp", &classes, class])
        .args(arguments)
        .output()
        .context("java cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{class}: {}{}", text, String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// `5000000 records sent, 812345.6 records/sec (77.47 MB/sec), ...`: the last line that says so.
fn produced_rate(output: &str) -> Option<f64> {
    let line = output.lines().rev().find(|line| line.contains("records sent"))?;
    line.split(", ").nth(1)?.split(' ').next()?.parse().ok()
}

/// A head and a line of comma-separated columns; the last is the rate while fetching.
fn consumed_rate(output: &str) -> Option<f64> {
    let head = output.lines().find(|line| line.contains("fetch.nMsg.sec"))?;
    let column = head.split(',').position(|name| name.trim() == "fetch.nMsg.sec")?;
    let line = output.lines().skip_while(|line| *line != head).nth(1)?;
    line.split(',').nth(column)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_producers_rate_is_that_of_the_last_line() {
        let output = "5 records sent, 1.0 records/sec (0.00 MB/sec), 4.0 ms avg latency\n\
                      100 records sent, 812345.6 records/sec (77.47 MB/sec), 1.2 ms avg latency, 9.0 ms max latency.\n";
        assert_eq!(produced_rate(output), Some(812_345.6));
        assert_eq!(produced_rate("nothing"), None);
    }

    #[test]
    fn the_consumers_rate_is_found_by_the_name_of_its_column() {
        let output = "start.time, end.time, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.nMsg.sec\n\
                      2026-11-24, 2026-11-25, 100, 5.0, 300, 1234.5\n";
        assert_eq!(consumed_rate(output), Some(1234.5));
        assert_eq!(consumed_rate(""), None);
    }
}
