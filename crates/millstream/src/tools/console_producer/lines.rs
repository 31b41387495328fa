//! From a line to a record: Kafka's `LineMessageReader`.

use bytes::Bytes;
use millstream_client::ProducerRecord;
use millstream_record::Header;
use millstream_types::TopicName;

use crate::tools::{
    exit::{Exit, Outcome},
    properties::Properties,
};

pub(super) const CLASS: &str = "org.apache.kafka.tools.LineMessageReader";

#[derive(Debug)]
pub(super) struct LineReader {
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
}

impl LineReader {
    pub(super) fn new(properties: &Properties) -> Outcome<Self> {
        let is = |key: &str| properties.get(key).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        let text = |key: &str, default: &str| properties.get(key).unwrap_or(default).to_owned();
        let reader = Self {
            parse_key: is("parse.key"),
            key_separator: text("key.separator", "\t"),
            parse_headers: is("parse.headers"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            ignore_error: is("ignore.error"),
            null_marker: properties.get("null.marker").map(str::to_owned),
        };
        let pairs = [
            (
                ("headers.delimiter", &reader.headers_delimiter),
                ("headers.separator", &reader.headers_separator),
            ),
            (
                ("headers.delimiter", &reader.headers_delimiter),
                ("headers.key.separator", &reader.headers_key_separator),
            ),
            (
                ("headers.separator", &reader.headers_separator),
                ("headers.key.separator", &reader.headers_key_separator),
            ),
        ];
        for ((one, left), (other, right)) in pairs {
            if left == right {
                return Err(kafka_exception(&format!("{one} and {other} may not be equal")));
            }
        }
        if let Some(marker) = &reader.null_marker {
            for (name, separator) in [
                ("key.separator", &reader.key_separator),
                ("headers.delimiter", &reader.headers_delimiter),
                ("headers.separator", &reader.headers_separator),
                ("headers.key.separator", &reader.headers_key_separator),
            ] {
                if marker == separator {
                    return Err(kafka_exception(&format!("null.marker and {name} may not be equal")));
                }
            }
        }
        Ok(reader)
    }

    pub(super) fn record(&self, topic: &str, line: &[u8], number: u64) -> Outcome<ProducerRecord> {
        let named = TopicName::parse(topic).map_err(|error| {
            Exit::failure(format!("org.apache.kafka.common.errors.InvalidTopicException: {error}"))
        })?;
        let text = String::from_utf8_lossy(line);
        let mut rest: &[u8] = line;
        let mut headers = Vec::new();
        if self.parse_headers {
            let what = "headers delimiter";
            if let Some((before, after)) = self.split(rest, &self.headers_delimiter, what, number, &text)? {
                headers = self.headers(before, number)?;
                rest = after;
            }
        }
        let mut key = None;
        if self.parse_key
            && let Some((before, after)) =
                self.split(rest, &self.key_separator, "key separator", number, &text)?
        {
            key = self.value(before);
            rest = after;
        }
        let mut record = ProducerRecord::new(named, key, self.value(rest));
        record.headers = headers;
        Ok(record)
    }

    fn split<'a>(
        &self,
        line: &'a [u8],
        separator: &str,
        what: &str,
        number: u64,
        whole: &str,
    ) -> Outcome<Option<(&'a [u8], &'a [u8])>> {
        match find(line, separator.as_bytes()) {
            Some(at) => Ok(Some((&line[..at], &line[at + separator.len()..]))),
            None if self.ignore_error => Ok(None),
            None => Err(kafka_exception(&format!("No {what} found on line number {number}: '{whole}'"))),
        }
    }

    fn headers(&self, text: &[u8], number: u64) -> Outcome<Vec<Header>> {
        if self.value(text).is_none() {
            return Ok(Vec::new());
        }
        let text = String::from_utf8_lossy(text);
        let mut headers = Vec::new();
        for pair in text.split(self.headers_separator.as_str()) {
            match pair.split_once(self.headers_key_separator.as_str()) {
                Some((key, value)) => {
                    if self.null_marker.as_deref() == Some(key) {
                        return Err(kafka_exception(&format!(
                            "Header keys should not be equal to the null marker '{key}' as they can't be null"
                        )));
                    }
                    headers.push(Header {
                        key: Bytes::copy_from_slice(key.as_bytes()),
                        value: self.value(value.as_bytes()),
                    });
                }
                None if self.ignore_error => {
                    headers.push(Header { key: Bytes::copy_from_slice(pair.as_bytes()), value: None });
                }
                None => {
                    return Err(kafka_exception(&format!(
                        "No header key separator found in pair '{pair}' on line number {number}"
                    )));
                }
            }
        }
        Ok(headers)
    }

    fn value(&self, bytes: &[u8]) -> Option<Bytes> {
        let is_null = self.null_marker.as_ref().is_some_and(|marker| marker.as_bytes() == bytes);
        (!is_null).then(|| Bytes::copy_from_slice(bytes))
    }
}

/// Where `wanted` is first; an empty one is at the beginning, as in Java.
fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn kafka_exception(sentence: &str) -> Exit {
    Exit::failure(format!("org.apache.kafka.common.KafkaException: {sentence}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pairs: &[&str]) -> Outcome<LineReader> {
        LineReader::new(&Properties::parse(pairs.iter().copied()))
    }

    fn read(pairs: &[&str], line: &str) -> Result<(Option<String>, Option<String>, usize), String> {
        let record = reader(pairs).and_then(|reader| reader.record("t", line.as_bytes(), 7));
        let record =
            record.map_err(|exit| exit.sentence().rsplit(": ").next().unwrap_or_default().to_owned())?;
        let text = |bytes: Option<Bytes>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok((text(record.key), text(record.value), record.headers.len()))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn keys_headers_and_nulls_are_told_apart_by_their_separators() {
        assert_eq!(read(&[], "a\tb"), Ok((None, some("a\tb"), 0)));
        assert_eq!(read(&["parse.key=true"], "k\tv\tw"), Ok((some("k"), some("v\tw"), 0)));
        assert_eq!(
            read(&["parse.key=true", "parse.headers=true"], "h:1,i:2\tk\tv"),
            Ok((some("k"), some("v"), 2))
        );
        assert_eq!(read(&["parse.key=true", "null.marker=N"], "N\tN"), Ok((None, None, 0)));
        assert_eq!(read(&["parse.key=true", "key.separator="], "v"), Ok((some(""), some("v"), 0)));
    }

    #[test]
    fn a_line_without_its_separator_is_an_error_unless_errors_are_ignored() {
        assert_eq!(read(&["parse.key=true"], "v"), Err("'v'".to_owned()));
        assert_eq!(read(&["parse.key=true", "ignore.error=true"], "v"), Ok((None, some("v"), 0)));
        assert!(reader(&["headers.delimiter=,"]).is_err() && reader(&["null.marker=:"]).is_err());
    }
}
