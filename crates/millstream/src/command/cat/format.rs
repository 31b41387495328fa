//! `-f`: how a record is printed, in kcat's and rpk's tokens.

use std::io::Write;

use anyhow::{Result, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use millstream_client::ConsumerRecord;

use crate::command::time;

/// What `--help` says of it.
pub(super) const HELP: &str = "\
%t topic  %p partition  %o offset  %e leader epoch  %k key  %v or %s value  %h headers
%K %V or %S key and value length (-1 for null)  %R the value's length in 4 bytes, big-endian  %T timestamp in ms  %d as a date  %% a percent sign
%k and %v take {hex} or {base64} behind them; \\n \\t \\r \\0 \\\\ \\xNN stand for characters";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    LeaderEpoch,
    Key(Encoding),
    Value(Encoding),
    KeyLength,
    ValueLength,
    /// In four bytes.
    ValueLengthRaw,
    Headers,
    TimestampMs,
    Date,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Raw,
    /// Text as it is, and everything else as `\xNN`.
    Visible,
    Hex,
    Base64,
}

impl Encoding {
    /// What stands for bytes that are to be written as they are.
    fn or(self, raw: Self) -> Self {
        if self == Self::Raw { raw } else { self }
    }
}

impl Format {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (mut tokens, mut literal, mut rest) = (Vec::new(), Vec::new(), text);
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\\' => literal.push(escape(&mut rest)?),
                '%' if rest.starts_with('%') => {
                    rest = &rest[1..];
                    literal.push(b'%');
                }
                '%' => {
                    let token = token(&mut rest)?;
                    if !literal.is_empty() {
                        tokens.push(Token::Literal(std::mem::take(&mut literal)));
                    }
                    tokens.push(token);
                }
                other => literal.extend(other.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        if !literal.is_empty() {
            tokens.push(Token::Literal(literal));
        }
        Ok(Self(tokens))
    }

    /// The key if there is a separator to put behind it, the value, and what ends a record.
    pub(super) fn of_parts(key_separator: Option<&str>, end: &str) -> Result<Self> {
        let mut tokens = Vec::new();
        if let Some(separator) = key_separator {
            tokens.push(Token::Key(Encoding::Raw));
            tokens.push(Token::Literal(unescaped(separator)?));
        }
        tokens.extend([Token::Value(Encoding::Raw), Token::Literal(unescaped(end)?)]);
        Ok(Self(tokens))
    }

    /// `null` is what stands for a key or value that is not there. On a terminal bytes that are no text, or
    /// would move its cursor, are written as `\xNN`.
    pub(super) fn write(&self, record: &ConsumerRecord, null: &str, is_terminal: bool, out: &mut Vec<u8>) {
        let raw = if is_terminal { Encoding::Visible } else { Encoding::Raw };
        for token in &self.0 {
            match token {
                Token::Literal(bytes) => out.extend_from_slice(bytes),
                Token::Topic => put(out, &record.partition.topic),
                Token::Partition => put(out, record.partition.partition),
                Token::Offset => put(out, record.offset),
                Token::LeaderEpoch => put(out, record.leader_epoch.map_or(-1, |epoch| epoch.0)),
                Token::Key(encoding) => put_bytes(out, record.key.as_ref(), encoding.or(raw), null),
                Token::Value(encoding) => put_bytes(out, record.value.as_ref(), encoding.or(raw), null),
                Token::KeyLength => put(out, length(record.key.as_ref())),
                Token::ValueLength => put(out, length(record.value.as_ref())),
                Token::ValueLengthRaw => {
                    let length = i32::try_from(length(record.value.as_ref())).unwrap_or(i32::MAX);
                    out.extend_from_slice(&length.to_be_bytes());
                }
                Token::Headers => put_headers(out, record, raw, null),
                Token::TimestampMs => put(out, record.timestamp),
                Token::Date => put(out, time::format(record.timestamp)),
            }
        }
    }
}

fn unescaped(text: &str) -> Result<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => bytes.push(escape(&mut rest)?),
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Ok(bytes)
}

fn token(rest: &mut &str) -> Result<Token> {
    let name = rest.chars().next().ok_or_else(|| anyhow!("a lone % at the end"))?;
    *rest = &rest[name.len_utf8()..];
    Ok(match name {
        't' => Token::Topic,
        'p' => Token::Partition,
        'o' => Token::Offset,
        'e' => Token::LeaderEpoch,
        'k' => Token::Key(encoding(rest)?),
        'v' | 's' => Token::Value(encoding(rest)?),
        'R' => Token::ValueLengthRaw,
        'K' => Token::KeyLength,
        'V' | 'S' => Token::ValueLength,
        'h' => Token::Headers,
        'T' => Token::TimestampMs,
        'd' => Token::Date,
        other => bail!("%{other} is not known; the tokens are\n{HELP}"),
    })
}

fn encoding(rest: &mut &str) -> Result<Encoding> {
    let Some(behind) = rest.strip_prefix('{') else { return Ok(Encoding::Raw) };
    let (name, behind) = behind.split_once('}').ok_or_else(|| anyhow!("{{ without }}"))?;
    *rest = behind;
    match name {
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        other => bail!("{{{other}}} is not known; expected {{hex}} or {{base64}}"),
    }
}

fn escape(rest: &mut &str) -> Result<u8> {
    let name = rest.chars().next().ok_or_else(|| anyhow!("a lone \\ at the end"))?;
    *rest = &rest[name.len_utf8()..];
    Ok(match name {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        '0' => 0,
        '\\' => b'\\',
        'x' => {
            let byte = rest.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            let byte = byte.ok_or_else(|| anyhow!("\\x needs two hexadecimal digits"))?;
            *rest = &rest[2..];
            byte
        }
        other => bail!("\\{other} is not known; expected \\n \\t \\r \\0 \\\\ \\xNN"),
    })
}

fn put(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a Vec takes every write");
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&Bytes>, encoding: Encoding, null: &str) {
    match (bytes, encoding) {
        (None, _) => out.extend_from_slice(null.as_bytes()),
        (Some(bytes), Encoding::Raw) => out.extend_from_slice(bytes),
        (Some(bytes), Encoding::Visible) => put_visible(out, bytes),
        (Some(bytes), Encoding::Hex) => bytes.iter().for_each(|byte| put(out, format_args!("{byte:02x}"))),
        (Some(bytes), Encoding::Base64) => put(out, STANDARD.encode(bytes)),
    }
}

fn put_visible(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => put(out, c),
                c if c.is_control() => {
                    c.encode_utf8(&mut [0; 4])
                        .bytes()
                        .for_each(|byte| put(out, format_args!("\\x{byte:02x}")));
                }
                c => put(out, c),
            }
        }
        chunk.invalid().iter().for_each(|byte| put(out, format_args!("\\x{byte:02x}")));
    }
}

/// As kcat prints them: `a=1,b=2`.
fn put_headers(out: &mut Vec<u8>, record: &ConsumerRecord, raw: Encoding, null: &str) {
    for (index, header) in record.headers.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_bytes(out, Some(&header.key), raw, null);
        out.push(b'=');
        put_bytes(out, header.value.as_ref(), raw, null);
    }
}

fn length(bytes: Option<&Bytes>) -> i64 {
    bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use millstream_record::{Header, TimestampType};
    use millstream_types::{LeaderEpoch, Offset, PartitionId, TimestampMs, TopicName, TopicPartition};

    use super::*;

    fn printed(format: &str) -> String {
        let record = ConsumerRecord {
            partition: TopicPartition::new(TopicName::from_static("t"), PartitionId(3)),
            offset: Offset(42),
            leader_epoch: Some(LeaderEpoch(7)),
            timestamp: TimestampMs(1),
            timestamp_type: TimestampType::CreateTime,
            key: Some(Bytes::from_static(b"k\x01")),
            value: None,
            headers: vec![Header::new("a", Some(Bytes::from_static(b"1"))), Header::new("b", None)],
        };
        let mut out = Vec::new();
        Format::parse(format).unwrap().write(&record, "NULL", false, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_token_prints_its_part_of_the_record() {
        assert_eq!(printed("%t[%p]@%o/%e %T %d\\n"), "t[3]@42/7 1 1970-01-01T00:00:00.001Z\n");
        assert_eq!(printed("%k{hex} %k{base64} %K %v %s %V %S"), "6b01 awE= 2 NULL NULL -1 -1");
        assert_eq!(printed("%R"), "\u{fffd}".repeat(4));
        assert_eq!(printed("%h 100%% \\x41\\t\\\\ü"), "a=1,b=NULL 100% A\t\\ü");
    }

    #[test]
    fn key_and_value_stand_around_their_separator() {
        let format = Format::of_parts(Some("\\t"), "\\0").unwrap();
        assert_eq!(format, Format::parse("%k\\t%v\\0").unwrap());
        assert!(Format::of_parts(None, "\\q").is_err());
    }

    #[test]
    fn what_would_upset_a_terminal_is_written_out() {
        let mut out = Vec::new();
        put_visible(&mut out, b"a\n\x1b[2J\xff\xc3\xbc");
        assert_eq!(String::from_utf8(out).unwrap(), "a\n\\x1b[2J\\xffü");
    }

    #[test]
    fn a_token_that_does_not_exist_is_refused_by_name() {
        let refused = |format| Format::parse(format).unwrap_err().to_string();
        assert!(refused("%y").starts_with("%y is not known"));
        assert!(refused("%k{rot13}").starts_with("{rot13} is not known"));
        assert!(refused("100%").contains("lone %"));
        assert!(refused("\\xg0").contains("hexadecimal"));
    }
}
