//! `kafka-consumer-perf-test`: how fast records can be read (`ConsumerPerformance`).

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use millstream_client::{Consumer, ConsumerEvent, ConsumerRecord};
use millstream_types::TimestampMs;

use super::{
    cluster::{Cluster, block_on},
    exit::{Exit, Outcome},
    interrupts::Interrupts,
    options::{BOOTSTRAP_SERVER, Flag, Given, HELP, Spec, VERSION},
    output,
    properties::Properties,
    run_options,
    wanted::{self, Wanted},
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
        Flag::new("group", "The consumer group to read as [default: perf-consumer-NNNNN].").takes("GROUP"),
        Flag::new("print-metrics", "").hidden(),
        Flag::new("command-property", "A consumer's configuration key; may be repeated.").takes("KEY=VALUE"),
        Flag::new("command-config", "A Java properties file with the consumer's configuration.")
            .takes("FILE"),
        Flag::new("consumer.config", "").takes("FILE").hidden(),
        HELP,
        VERSION,
    ],
    examples: &["--bootstrap-server localhost:9092 --topic load --num-records 100000"],
};

pub(super) fn run(arguments: &[String]) -> ExitCode {
    run_options(&SPEC, arguments, |exit| exit, |given| block_on(act(given)))
}

async fn act(given: &Given) -> Outcome {
    let count_option = if given.has("messages") { "messages" } else { "num-records" };
    given.forbid("consumer.config", &["command-config"])?;
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
    if !given.has("hide-header") {
        output::line(header(given.has("show-detailed-stats")));
    }
    let wanted = match (given.one("topic")?, given.one("include")?) {
        (Some(topic), _) => Wanted::Topic(topic.to_owned()),
        (None, list) => wanted::pattern(list.unwrap_or_default())?,
    };
    let mut properties = Properties::read_if_given(given.one(config)?)?;
    properties.extend(Properties::parse(given.all("command-property")));
    properties.set("bootstrap.servers", given.one("bootstrap-server")?.unwrap_or_default());
    properties.set("max.partition.fetch.bytes", given.number::<i32>("fetch-size")?.unwrap_or(1 << 20));
    properties.set_default("client.id", "perf-consumer-client");
    let group = given.one("group")?.map(str::to_owned);
    properties.set("group.id", group.unwrap_or_else(|| wanted::random_group("perf-consumer")));
    properties.set("auto.offset.reset", if given.has("from-latest") { "latest" } else { "earliest" });
    let millis = |option, default| -> Outcome<Duration> {
        Ok(Duration::from_millis(given.number::<u64>(option)?.unwrap_or(default)))
    };
    let interval = given.number::<i64>("reporting-interval")?.unwrap_or(5000);
    let interval = u64::try_from(interval).ok().filter(|ms| *ms > 0);
    let interval = interval.ok_or_else(|| Exit::failure("Reporting interval must be greater than 0."))?;
    let measure = Measure {
        limit: given.number::<i64>(count_option)?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        timeout: millis("timeout", 10_000)?,
        interval: Duration::from_millis(interval),
        format: date_format(given.one("date-format")?.unwrap_or(DATE_FORMAT))?,
        detailed: given.has("show-detailed-stats"),
    };
    let mut interrupts = Interrupts::new()?;
    let cluster = Cluster::prepare(&properties, true).await?;
    let mut consumer = Consumer::new(cluster.client.clone(), cluster.consumer.clone());
    wanted.begin(&mut consumer)?;
    let mut progress = Progress::new(&measure);
    tokio::select! {
        outcome = progress.run(&mut consumer) => outcome?,
        exit = interrupts.next() => return Err(exit),
    }
    let ended = (Instant::now(), time::now());
    // Where it has come to is committed; that does not count as reading.
    drop(consumer.close().await);
    progress.finish(ended);
    Ok(())
}

/// A pattern of Java's `SimpleDateFormat`, of which the letters that it does not know are refused.
fn date_format(pattern: &str) -> Outcome<String> {
    const LETTERS: &str = "GyMdkHmsSEDFwWahKzZYuXL";
    let mut quoted = false;
    for letter in pattern.chars() {
        quoted ^= letter == '\'';
        if !quoted && letter.is_ascii_alphabetic() && !LETTERS.contains(letter) {
            return Err(Exit::failure(format!("Illegal pattern character '{letter}'")));
        }
    }
    Ok(pattern.to_owned())
}

struct Measure {
    limit: u64,
    timeout: Duration,
    interval: Duration,
    format: String,
    detailed: bool,
}

struct Progress<'a> {
    measure: &'a Measure,
    began: (Instant, TimestampMs),
    /// When this member was left without partitions, as long as it has none.
    homeless: Option<Instant>,
    /// How long it has been so.
    rebalance: Duration,
    all: Counted,
    window: Counted,
    window_began: Instant,
    window_rebalance: Duration,
    last: Instant,
}

impl<'a> Progress<'a> {
    fn new(measure: &'a Measure) -> Self {
        let now = Instant::now();
        Self {
            measure,
            began: (now, time::now()),
            homeless: Some(now),
            rebalance: Duration::ZERO,
            all: Counted::default(),
            window: Counted::default(),
            window_began: now,
            window_rebalance: Duration::ZERO,
            last: now,
        }
    }

    async fn run(&mut self, consumer: &mut Consumer) -> Outcome {
        while self.all.records < self.measure.limit {
            let timeout = self.measure.timeout;
            let left = timeout.saturating_sub(self.last.elapsed());
            if left.is_zero() {
                output::line(&format!(
                    "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can use the --timeout option to increase the timeout.",
                    timeout.as_millis()
                ));
                return Ok(());
            }
            match consumer.next(left.min(Duration::from_millis(100))).await? {
                Some(ConsumerEvent::Records(records)) => self.count(&records),
                Some(ConsumerEvent::Assigned(_)) => {
                    let waited = self.homeless.take().map_or(Duration::ZERO, |since| since.elapsed());
                    self.rebalance += waited;
                    self.window_rebalance += waited;
                }
                Some(ConsumerEvent::Revoked(lost) | ConsumerEvent::Lost(lost))
                    if lost.len() == consumer.assignment().len() =>
                {
                    self.homeless = Some(Instant::now());
                }
                Some(ConsumerEvent::Revoked(_) | ConsumerEvent::Lost(_)) | None => {}
            }
        }
        Ok(())
    }

    fn count(&mut self, records: &[ConsumerRecord]) {
        if records.is_empty() {
            return;
        }
        self.last = Instant::now();
        for record in records {
            let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len());
            self.all.add(size(&record.key) + size(&record.value));
            self.window.add(size(&record.key) + size(&record.value));
        }
        if self.measure.detailed && self.window_began.elapsed() >= self.measure.interval {
            let row = Row {
                total: &self.all,
                window: &self.window,
                elapsed: self.window_began.elapsed(),
                rebalance: self.window_rebalance,
            };
            output::line(&format!("{}, 0, {}", stamp(time::now(), &self.measure.format), row.text()));
            output::flush();
            (self.window, self.window_began) = (Counted::default(), Instant::now());
            self.window_rebalance = Duration::ZERO;
        }
    }

    fn finish(&self, ended: (Instant, TimestampMs)) {
        if self.measure.detailed {
            return;
        }
        let elapsed = ended.0.duration_since(self.began.0);
        let row = Row { total: &self.all, window: &self.all, elapsed, rebalance: self.rebalance };
        let (from, to) = (stamp(self.began.1, &self.measure.format), stamp(ended.1, &self.measure.format));
        output::line(&format!("{from}, {to}, {}", row.text()));
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
