//! The table of `docs/reference/clients.md`: which client was seen to do what.

use crate::{
    cases::{CASES, Outcome, Status},
    clients::Client,
};

const HEAD: &str = "\
# Clients

Each of these clients goes through the same cases against Millstream and against Apache Kafka 4.3.1
(`make conformance`; the first five also in `make test`). The programs are in `conformance/clients`.
This page is written by `cargo run -p millstream-conformance -- table`.

";

const REMARKS: &str = "
## Worth knowing

- **kafka-python 3.0.12** may stay in a group without partitions: when the leader joins before it knows the topic, it
  assigns nothing, joins again as soon as it does, and forgets that second join if the time of `poll` is over before
  the answer is there; it then sends no heartbeats either. Call `consumer.partitions_for_topic(topic)` before the
  first `poll`. Kafka hides it behind `group.initial.rebalance.delay.ms`, 3 seconds there and 0 here, as in the
  `server.properties` that Kafka comes with.
- **aiokafka 0.14.0** may forget a seek: `assign` without a place begins a reset to `auto_offset_reset` by itself, and
  when its answer comes after the one to `seek_to_beginning` or `seek_to_end`, it undoes it. Call `seek` right after
  `assign`, with no `await` in between.
";

/// What one client said; nothing when it was not installed.
pub struct Column {
    pub client: Client,
    pub outcomes: Vec<Outcome>,
}

pub fn render(columns: &[Column]) -> String {
    let mut page = HEAD.to_owned();
    let mut reasons: Vec<String> = Vec::new();
    let titles: Vec<&str> = columns.iter().map(|c| c.client.title).collect();
    line(&mut page, "the client …", &titles);
    line(&mut page, "--", &vec!["--"; columns.len()]);
    for case in &CASES {
        let cells: Vec<String> = columns.iter().map(|column| cell(column, case.name, &mut reasons)).collect();
        line(&mut page, case.shows, &cells);
    }
    for (index, reason) in reasons.iter().enumerate() {
        page.push_str(&format!("\n{}. n/a, because: {reason}", index + 1));
    }
    if !reasons.is_empty() {
        page.push('\n');
    }
    page.push_str(REMARKS);
    page
}

fn line<S: AsRef<str>>(page: &mut String, first: &str, cells: &[S]) {
    page.push_str("| ");
    page.push_str(first);
    for cell in cells {
        page.push_str(" | ");
        page.push_str(cell.as_ref());
    }
    page.push_str(" |\n");
}

fn cell(column: &Column, case: &str, reasons: &mut Vec<String>) -> String {
    let Some(outcome) = column.outcomes.iter().find(|o| o.name == case) else { return "not run".to_owned() };
    match outcome.status {
        Status::Ok => "yes".to_owned(),
        Status::Fail => "**fails**".to_owned(),
        Status::NotApplicable => {
            let known = reasons.iter().position(|reason| *reason == outcome.detail);
            let index = known.unwrap_or_else(|| {
                reasons.push(outcome.detail.clone());
                reasons.len() - 1
            });
            format!("n/a ({})", index + 1)
        }
    }
}
