//! `kafka-consumer-perf-test`: how fast records can be read (`ConsumerPerformance`).
//!
//! Reads all partitions itself, so the time for rebalancing in its rows is that until the first fetch.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use millstream_types::TimestampMs;

use super::{
    cluster::{Cluster, block_on},
    console_consumer::source::{Source, Start, Wanted},
    exit::{Exit, Outcome},
    options::{BOOTSTRAP_SERVER, Flag, Given, HELP, Spec, VERSION},
    output,
    pattern::Pattern,
    properties::Properties,
    run_options,
};
use crate::command::time;

const DATE_FORMAT: &str = "yyyy-MM-dd HH:mm:ss:SSS";

pub(super) const SPEC: Spec = Spec {
    name: "kafka-consumer-perf-test",
    summary: "Reads records as fast as it can and measures.",
    flags: &[
        BOOTSTRAP_SERVER,
        Flag::new("topic", "The topic to read.").takes("TOPIC"),
        Flag::new("include", "A Java regular expression over topics, instead of --topic.").takes("REGEX"),
        Flag::new("num-records", "How many records.").takes("COUNT"),
        Flag::new("messages", "").takes("COUNT").hidden(),
        Flag::new("from-latest", "Begin with the next record instead of the oldest."),
        Flag::new("timeout", "Give up when nothing has come for so long.")
            .may_take("MS")
            .number("Long")
            .default("10000"),
        Flag::new("fetch-size", "Bytes of one partition in one answer.").takes("BYTES").default("1048576"),
        Flag::new("socket-buffer-size", "The socket's receive buffer.").takes("BYTES").default("2097152"),
        Flag::new("show-detailed-stats", "A row for every interval instead of one for all."),
        Flag::new("reporting-interval", "How long an interval is.").takes("MS").default("5000"),
        Flag::new("hide-header", "Leave the columns' names out."),
        Flag::new("date-format", "How times are written: y M d H m s S.")
            .takes("FORMAT")
            .default(DATE_FORMAT),
        Flag::new("group", "").takes("GROUP").hidden(),
        Flag::new("print-metrics", "").hidden(),
        Flag::new("command-property", "A consumer's configuration key; may be repeated.").takes("KEY=VALUE"),
        Flag::new("command-config", "A Java properties file with the consumer's configuration.")
            .takes("FILE"),
        Flag::new("consumer.config", "").takes("FILE").hidden(),
        HELP,
        VERSION,
    ],
    examples: &["--bootstrap-server localhost:9092 --topic load --num-records 1000000"],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(&SPEC, arguments, |exit| exit, |given| block_on(act(given)))
}

async fn act(given: &Given) -> Outcome {
    let count_option = if given.has("messages") { "messages" } else { "num-records" };
    let config = given.either("command-config", "consumer.config")?;
    given.require(&["bootstrap-server"])?;
    if given.has("topic") == given.has("include") {
        return Err(Exit::usage("Exactly one of the following arguments is required: [topic], [include]"));
    }
    if given.has("num-records") == given.has("messages") {
        return Err(Exit::usage(
            "Exactly one of the following arguments is required: [messages], [num-records]",
        ));
    }
    if given.has("messages") {
        output::line("Warning: --messages is deprecated. Use --num-records instead.");
    }
    let wanted = match (given.one("topic")?, given.one("include")?) {
        (Some(topic), _) => Wanted::Topic(topic.to_owned()),
        (None, list) => Wanted::Pattern(Pattern::include_list(list.unwrap_or_default())?),
    };
    let mut properties = Properties::read_if_given(given.one(config)?)?;
    properties.extend(Properties::parse(given.all("command-property")));
    properties.set("bootstrap.servers", given.one("bootstrap-server")?.unwrap_or_default());
    properties.set("max.partition.fetch.bytes", given.number::<i32>("fetch-size")?.unwrap_or(1 << 20));
    properties.set_default("client.id", "perf-consumer-client");
    let millis = |option, default| -> Outcome<Duration> {
        Ok(Duration::from_millis(given.number::<u64>(option)?.unwrap_or(default)))
    };
    let measure = Measure {
        limit: given.number::<u64>(count_option)?.unwrap_or(0),
        timeout: millis("timeout", 10_000)?,
        interval: millis("reporting-interval", 5000)?,
        format: given.one("date-format")?.unwrap_or(DATE_FORMAT).to_owned(),
        detailed: given.has("show-detailed-stats"),
    };
    if !given.has("hide-header") {
        output::line(header(measure.detailed));
    }
    let cluster = Cluster::prepare(&properties, true).await?;
    let start = if given.has("from-latest") { Start::Latest } else { Start::Earliest };
    measure.run(Source::new(&cluster, &wanted, start)).await
}

struct Measure {
    limit: u64,
    timeout: Duration,
    interval: Duration,
    format: String,
    detailed: bool,
}

impl Measure {
    async fn run(&self, mut source: Source<'_>) -> Outcome {
        let began = (Instant::now(), time::now());
        let mut joined = None;
        let (mut all, mut window) = (Counted::default(), Counted::default());
        let (mut window_began, mut last) = (began.0, began.0);
        while all.records < self.limit {
            let left = self.timeout.saturating_sub(last.elapsed());
            if left.is_zero() {
                output::flush();
                output::say(&format!(
                    "Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the --timeout option to increase the timeout.",
                    self.timeout.as_millis()
                ));
                break;
            }
            let records = source.poll(left.min(Duration::from_millis(100))).await?;
            joined.get_or_insert_with(Instant::now);
            if records.is_empty() {
                continue;
            }
            last = Instant::now();
            for record in &records {
                let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len());
                all.add(size(&record.key) + size(&record.value));
                window.add(size(&record.key) + size(&record.value));
            }
            if self.detailed && window_began.elapsed() >= self.interval {
                let elapsed = window_began.elapsed();
                let row = Row { total: &all, window: &window, elapsed, rebalance: Duration::ZERO };
                output::line(&format!("{}, 0, {}", stamp(time::now(), &self.format), row.text()));
                output::flush();
                (window, window_began) = (Counted::default(), Instant::now());
            }
        }
        if !self.detailed {
            let rebalance = joined.map_or(began.0.elapsed(), |joined| joined.duration_since(began.0));
            let row = Row { total: &all, window: &all, elapsed: last.duration_since(began.0), rebalance };
            let (from, to) = (stamp(began.1, &self.format), stamp(time::now(), &self.format));
            output::line(&format!("{from}, {to}, {}", row.text()));
        }
        Ok(())
    }
}

fn header(detailed: bool) -> &'static str {
    if detailed {
        "time, threadId, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
    } else {
        "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
    }
}

#[derive(Default)]
struct Counted {
    records: u64,
    bytes: u64,
}

impl Counted {
    fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }

    fn megabytes(&self) -> f64 {
        self.bytes as f64 / (1024.0 * 1024.0)
    }
}

struct Row<'a> {
    total: &'a Counted,
    window: &'a Counted,
    elapsed: Duration,
    rebalance: Duration,
}

impl Row<'_> {
    fn text(&self) -> String {
        let seconds = self.elapsed.as_secs_f64().max(0.001);
        let fetching = self.elapsed.saturating_sub(self.rebalance);
        let fetch_seconds = fetching.as_secs_f64().max(0.001);
        format!(
            "{:.4}, {:.4}, {}, {:.4}, {}, {}, {:.4}, {:.4}",
            self.total.megabytes(),
            self.window.megabytes() / seconds,
            self.total.records,
            self.window.records as f64 / seconds,
            self.rebalance.as_millis(),
            fetching.as_millis(),
            self.window.megabytes() / fetch_seconds,
            self.window.records as f64 / fetch_seconds,
        )
    }
}

/// A time as Java's `SimpleDateFormat` writes it, for the letters y M d H m s S, in UTC.
fn stamp(at: TimestampMs, format: &str) -> String {
    let iso = time::format(at);
    let mut text = String::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        let mut width = 1;
        while letters.next_if_eq(&letter).is_some() {
            width += 1;
        }
        let part = match letter {
            'y' => iso.get(0..4),
            'M' => iso.get(5..7),
            'd' => iso.get(8..10),
            'H' => iso.get(11..13),
            'm' => iso.get(14..16),
            's' => iso.get(17..19),
            'S' => iso.get(20..23),
            _ => None,
        };
        match part {
            Some(part) => text += part,
            None => text.extend(std::iter::repeat_n(letter, width)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_javas_pattern() {
        let at = TimestampMs(1_356_998_400_007);
        assert_eq!(stamp(at, DATE_FORMAT), "2013-01-01 00:00:00:007");
        assert_eq!(stamp(at, "HH:mm"), "00:00");
    }
}
