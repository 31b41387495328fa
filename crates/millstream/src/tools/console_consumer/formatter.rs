//! A record as Kafka's `DefaultMessageFormatter` prints it.

use std::{
    io::{self, IsTerminal},
    sync::atomic::{AtomicBool, Ordering},
};

use millstream_client::ConsumerRecord;
use millstream_record::TimestampType;

use super::deserializer::Deserializer;
use crate::tools::{
    exit::{Exit, Outcome},
    output,
    properties::Properties,
};

pub(in crate::tools) const DEFAULT: &str = "org.apache.kafka.tools.consumer.DefaultMessageFormatter";
const LOGGING: &str = "org.apache.kafka.tools.consumer.LoggingMessageFormatter";
const NO_OP: &str = "org.apache.kafka.tools.consumer.NoOpMessageFormatter";

#[derive(Debug)]
pub(in crate::tools) struct Formatter {
    is_silent: bool,
    timestamp: bool,
    partition: bool,
    offset: bool,
    delivery: bool,
    epoch: bool,
    headers: bool,
    key: bool,
    value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    key_deserializer: Deserializer,
    value_deserializer: Deserializer,
    headers_deserializer: Deserializer,
    /// Whether what is no text is shown in a way that a terminal survives.
    is_for_terminal: bool,
    has_told: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tools) enum Written {
    Yes,
    /// Nobody reads any more.
    Gone,
}

impl Formatter {
    pub(in crate::tools) fn new(class: &str, properties: &Properties) -> Outcome<Self> {
        if ![DEFAULT, LOGGING, NO_OP].contains(&class) {
            return Err(Exit::failure(format!(
                "{class}\nno Java classes can be loaded; built in are {DEFAULT}, {LOGGING} and {NO_OP}"
            )));
        }
        let is = |key: &str, default: bool| {
            properties.get(key).map_or(default, |text| text.trim().eq_ignore_ascii_case("true"))
        };
        let text = |key: &str, default: &str| properties.get(key).unwrap_or(default).to_owned();
        Ok(Self {
            is_silent: class == NO_OP,
            timestamp: is("print.timestamp", false),
            partition: is("print.partition", false),
            offset: is("print.offset", false),
            delivery: is("print.delivery", false),
            epoch: is("print.epoch", false),
            headers: is("print.headers", false),
            key: is("print.key", false),
            value: is("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_deserializer: Deserializer::of(properties.get("key.deserializer")),
            value_deserializer: Deserializer::of(properties.get("value.deserializer")),
            headers_deserializer: Deserializer::of(properties.get("headers.deserializer")),
            is_for_terminal: io::stdout().is_terminal(),
            has_told: AtomicBool::new(false),
        })
    }

    pub(in crate::tools) fn write(&self, record: &ConsumerRecord) -> Result<Written, String> {
        self.write_delivered(record, None)
    }

    /// With how often the record has been delivered, which only share groups know.
    pub(in crate::tools) fn write_delivered(
        &self,
        record: &ConsumerRecord,
        delivery: Option<i16>,
    ) -> Result<Written, String> {
        if self.is_silent {
            return Ok(Written::Yes);
        }
        let line = self.line(record, delivery)?;
        Ok(if output::bytes(&line) { Written::Yes } else { Written::Gone })
    }

    fn line(&self, record: &ConsumerRecord, delivery: Option<i16>) -> Result<Vec<u8>, String> {
        let mut columns: Vec<Vec<u8>> = Vec::new();
        if self.timestamp {
            let kind = match record.timestamp_type {
                TimestampType::CreateTime => "CreateTime",
                TimestampType::LogAppendTime => "LogAppendTime",
            };
            columns.push(format!("{kind}:{}", record.timestamp).into_bytes());
        }
        if self.partition {
            columns.push(format!("Partition:{}", record.partition.partition).into_bytes());
        }
        if self.offset {
            columns.push(format!("Offset:{}", record.offset).into_bytes());
        }
        if self.delivery {
            let count = delivery.map_or_else(|| "NOT_PRESENT".to_owned(), |count| count.to_string());
            columns.push(format!("Delivery:{count}").into_bytes());
        }
        if self.epoch {
            // Kafka's tool loses the epoch on its way to the formatter.
            columns.push(b"Epoch:NOT_PRESENT".to_vec());
        }
        if self.headers {
            columns.push(self.headers(record)?);
        }
        if self.key {
            columns.push(self.text(&self.key_deserializer, record.key.as_deref())?);
        }
        if self.value {
            columns.push(self.text(&self.value_deserializer, record.value.as_deref())?);
        }
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        let mut line = columns.join(self.key_separator.as_bytes());
        line.extend_from_slice(self.line_separator.as_bytes());
        Ok(line)
    }

    fn headers(&self, record: &ConsumerRecord) -> Result<Vec<u8>, String> {
        if record.headers.is_empty() {
            return Ok(b"NO_HEADERS".to_vec());
        }
        let mut pairs: Vec<Vec<u8>> = Vec::new();
        for header in &record.headers {
            let mut pair = self.shown(header.key.to_vec());
            pair.push(b':');
            pair.extend(self.text(&self.headers_deserializer, header.value.as_deref())?);
            pairs.push(pair);
        }
        Ok(pairs.join(self.headers_separator.as_bytes()))
    }

    fn text(&self, deserializer: &Deserializer, bytes: Option<&[u8]>) -> Result<Vec<u8>, String> {
        match bytes {
            Some(bytes) => deserializer.text(bytes).map(|text| self.shown(text)),
            None => Ok(self.null_literal.clone().into_bytes()),
        }
    }
}

impl Formatter {
    fn shown(&self, text: Vec<u8>) -> Vec<u8> {
        if !self.is_for_terminal || is_text(&text) {
            return text;
        }
        if !self.has_told.swap(true, Ordering::Relaxed) {
            output::say("WARN bytes that are no text are shown as \\xNN on a terminal");
        }
        escaped(&text)
    }
}

fn is_plain(letter: char) -> bool {
    !letter.is_control() || matches!(letter, '\t' | '\n')
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(is_plain))
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(bytes.len());
    let escape = |shown: &mut Vec<u8>, bytes: &[u8]| {
        shown.extend(bytes.iter().flat_map(|byte| format!("\\x{byte:02X}").into_bytes()));
    };
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let letter_bytes = letter.encode_utf8(&mut buffer).as_bytes();
            match is_plain(letter) {
                true => shown.extend_from_slice(letter_bytes),
                false => escape(&mut shown, letter_bytes),
            }
        }
        escape(&mut shown, chunk.invalid());
    }
    shown
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use millstream_record::Header;
    use millstream_types::{Offset, PartitionId, TimestampMs, TopicName, TopicPartition};

    use super::*;

    fn line(pairs: &[&str]) -> String {
        let record = ConsumerRecord {
            partition: TopicPartition::new(TopicName::from_static("t"), PartitionId(2)),
            offset: Offset(7),
            leader_epoch: None,
            timestamp: TimestampMs(5),
            timestamp_type: TimestampType::CreateTime,
            key: None,
            value: Some(Bytes::from_static(b"v")),
            headers: vec![Header { key: Bytes::from_static(b"h"), value: None }],
        };
        let formatter = Formatter::new(DEFAULT, &Properties::parse(pairs.iter().copied())).unwrap();
        String::from_utf8(formatter.line(&record, None).unwrap()).unwrap_or_default()
    }

    #[test]
    fn what_is_no_text_is_shown_so_that_a_terminal_survives_it() {
        assert_eq!(escaped(b"a\x1b[2J\tgr\xc3\xb6\xff\n\0"), b"a\\x1B[2J\tgr\xc3\xb6\\xFF\n\\x00");
        assert!(is_text("größe\t".as_bytes()) && !is_text(b"\xff") && !is_text(b"\x07"));
    }

    #[test]
    fn columns_stand_in_kafkas_order_between_their_separators() {
        assert_eq!(line(&[]), "v\n");
        let all = [
            "print.key=true",
            "print.timestamp=true",
            "print.offset=true",
            "print.partition=TRUE",
            "print.headers=true",
        ];
        assert_eq!(line(&all), "CreateTime:5\tPartition:2\tOffset:7\th:null\tnull\tv\n");
        assert_eq!(
            line(&["print.key=true", "key.separator=|", "null.literal=NIL", "line.separator=;"]),
            "NIL|v;"
        );
        assert_eq!(line(&["print.value=false"]), "");
        assert!(Formatter::new("nope", &Properties::default()).is_err());
    }
}
