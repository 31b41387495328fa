//! Checkpoints, properties and JSON: files that are text already.

use std::{fs, path::Path};

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::Sink;

/// A version, how many lines follow, and those: `topic partition offset` or `epoch offset`.
pub(super) fn checkpoint(path: &Path, sink: &mut Sink) -> Result<()> {
    let text = fs::read_to_string(path)?;
    if text.is_empty() {
        // Kafka makes the file before it has anything to write.
        return Ok(());
    }
    let mut lines = text.lines();
    let (version, count) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if version != "0" {
        return sink.fault(path, 0, &format!("version {version:?}, expected 0"));
    }
    let mut found = 0;
    for line in lines.filter(|line| !line.is_empty()) {
        found += 1;
        let number = |text: &str| text.parse::<i64>().ok();
        let parts: Vec<&str> = line.split(' ').collect();
        let entry = match parts[..] {
            [topic, partition, offset] => number(partition).zip(number(offset)).map(
                |(partition, offset)| json!({ "topic": topic, "partition": partition, "offset": offset }),
            ),
            [epoch, offset] => number(epoch)
                .zip(number(offset))
                .map(|(epoch, offset)| json!({ "epoch": epoch, "start_offset": offset })),
            _ => None,
        };
        match entry {
            Some(entry) => sink.item(path, entry)?,
            None => sink.fault(path, 0, &format!("line {line:?} is not an entry"))?,
        }
    }
    if count.parse() != Ok(found) {
        sink.fault(path, 0, &format!("{found} entries, {count:?} announced"))?;
    }
    Ok(())
}

pub(super) fn properties(path: &Path, sink: &mut Sink) -> Result<()> {
    let text = fs::read_to_string(path)?;
    let mut fields = Map::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_once(['=', ':']) {
            Some((key, value)) => {
                fields.insert(key.trim().to_owned(), json!(value.trim()));
            }
            None => sink.fault(path, 0, &format!("line {line:?} is not key and value"))?,
        }
    }
    sink.item(path, Value::Object(fields))
}

pub(super) fn json(path: &Path, sink: &mut Sink) -> Result<()> {
    match serde_json::from_str(&fs::read_to_string(path)?) {
        Ok(value) => sink.item(path, value),
        Err(error) => sink.fault(path, 0, &error.to_string()),
    }
}
