//! `--explain`: every request that is made of Kafka, a line each on standard error.
//!
//! The codec tells of each frame that it writes or reads (`millstream_protocol::FRAMES`, with `tracing`);
//! here the two halves of an exchange are put together.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::output::say;

/// Bodies are cut here: a batch of records is long.
const BODY_CHARS_MAX: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Explain {
    /// A line for each request: which API and version, how large, how long it took
    Calls,
    /// And what is in requests and answers
    Full,
}

/// From now on all requests are told of.
pub(super) fn start(explain: Explain) {
    let listener = Listener { explain, open: Mutex::default() };
    // A second command in one process would find the first's, which does the same.
    tracing::subscriber::set_global_default(listener).ok();
}

struct Listener {
    explain: Explain,
    /// Requests without an answer, by API and correlation id; of several connections the oldest first.
    open: Mutex<HashMap<(String, i64), Vec<Call>>>,
}

struct Call {
    sent: Instant,
    bytes: i64,
}

/// What an event says.
#[derive(Default)]
struct Frame {
    api: String,
    version: i64,
    correlation_id: i64,
    bytes: i64,
    /// Left empty unless it is wanted.
    body: String,
    wants_body: bool,
    is_answer: bool,
}

impl Visit for Frame {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.wants_body && field.name() == "body" {
            self.body = format!("{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "api" {
            self.api = value.to_owned();
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "version" => self.version = value,
            "correlation_id" => self.correlation_id = value,
            "bytes" => self.bytes = value,
            _ => {}
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "is_answer" {
            self.is_answer = value;
        }
    }
}

impl Listener {
    fn note(&self, frame: Frame) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = open.entry((frame.api.clone(), frame.correlation_id)).or_default();
        if !frame.is_answer {
            calls.push(Call { sent: Instant::now(), bytes: frame.bytes });
            if self.explain == Explain::Full {
                say(&format!("kafka: {} v{} > {}", frame.api, frame.version, cut(&frame.body)));
            }
            return;
        }
        let call = if calls.is_empty() { None } else { Some(calls.remove(0)) };
        if calls.is_empty() {
            open.remove(&(frame.api.clone(), frame.correlation_id));
        }
        drop(open);
        let (bytes, ms) =
            call.map_or((0, 0.0), |call| (call.bytes, call.sent.elapsed().as_secs_f64() * 1000.0));
        say(&format!(
            "kafka: {} v{}: {bytes} bytes sent, {} received, {ms:.1} ms",
            frame.api, frame.version, frame.bytes
        ));
        if self.explain == Explain::Full {
            say(&format!("kafka: {} v{} < {}", frame.api, frame.version, cut(&frame.body)));
        }
    }
}

fn cut(body: &str) -> String {
    match body.char_indices().nth(BODY_CHARS_MAX) {
        Some((end, _)) => format!("{} …", &body[..end]),
        None => body.to_owned(),
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == millstream_protocol::FRAMES && *metadata.level() == Level::TRACE
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut frame = Frame { wants_body: self.explain == Explain::Full, ..Frame::default() };
        event.record(&mut frame);
        self.note(frame);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_body_is_cut_between_characters() {
        assert_eq!(cut("ü"), "ü");
        assert_eq!(cut(&"ü".repeat(BODY_CHARS_MAX + 1)), "ü".repeat(BODY_CHARS_MAX) + " …");
    }
}
