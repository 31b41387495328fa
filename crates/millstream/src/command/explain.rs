//! `--explain`: every request that is made of Kafka, a line each on standard error.
//!
//! The client tells of each frame that it writes or reads (`millstream_client::FRAMES`, with `tracing`); here
//! the two halves of an exchange are put together.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use millstream_protocol::ApiKey;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::{api, output::say};

/// Of the length in front of a frame.
const LENGTH_BYTES: usize = 4;
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
    /// Requests without an answer; where several have one key, the oldest first.
    open: Mutex<HashMap<Key, Vec<Call>>>,
}

/// Address, API and correlation id.
type Key = (String, i64, i64);

struct Call {
    sent: Instant,
    bytes: usize,
}

/// What an event says.
#[derive(Default)]
struct Frame {
    address: String,
    api: i64,
    version: i64,
    correlation_id: i64,
    is_answer: bool,
    bytes: usize,
    /// Left empty unless it is wanted.
    frame: Bytes,
    wants_frame: bool,
}

impl Visit for Frame {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "address" {
            self.address = value.to_owned();
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        match field.name() {
            "api" => self.api = value,
            "version" => self.version = value,
            "correlation_id" => self.correlation_id = value,
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "is_answer" {
            self.is_answer = value;
        }
    }

    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        if field.name() == "frame" {
            self.bytes = value.len() + LENGTH_BYTES;
            if self.wants_frame {
                self.frame = Bytes::copy_from_slice(value);
            }
        }
    }
}

impl Listener {
    fn note(&self, frame: Frame) {
        let api = i16::try_from(frame.api).ok().and_then(|key| ApiKey::try_from(key).ok());
        let (Some(api), Ok(version)) = (api, i16::try_from(frame.version)) else { return };
        let what = format!("kafka: {} v{version}", api.name());
        let key = (frame.address, frame.api, frame.correlation_id);
        let call = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let calls = open.entry(key.clone()).or_default();
            if !frame.is_answer {
                calls.push(Call { sent: Instant::now(), bytes: frame.bytes });
            }
            let call = if frame.is_answer && !calls.is_empty() { Some(calls.remove(0)) } else { None };
            if calls.is_empty() {
                open.remove(&key);
            }
            call
        };
        if let Some(call) = call {
            let ms = call.sent.elapsed().as_secs_f64() * 1000.0;
            say(&format!("{what}: {} bytes sent, {} received, {ms:.1} ms", call.bytes, frame.bytes));
        }
        if self.explain == Explain::Full {
            let arrow = if frame.is_answer { '<' } else { '>' };
            let body = api::body(api, version, frame.is_answer, frame.frame);
            let body = body.map_or_else(|error| error.to_string(), |body| body.to_string());
            say(&format!("{what} {arrow} {}", cut(&body)));
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
        metadata.target() == millstream_client::FRAMES && *metadata.level() == Level::TRACE
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut frame = Frame { wants_frame: self.explain == Explain::Full, ..Frame::default() };
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
