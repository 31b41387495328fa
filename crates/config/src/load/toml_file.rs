//! `millstream.toml`: Millstream's own options at the top, Kafka's keys in the table `[broker]`, written
//! with or without quotes (`log.retention.ms` is then a table in a table, which means the same).

use toml::{Table, Value};

use super::{LoadError, Loaded, ProgramOptions, broker_key, nearest_key};
use crate::{Scope, find};

/// The options and the broker's settings of a `millstream.toml`.
pub fn from_millstream_toml(text: &str) -> Result<(ProgramOptions, Loaded), LoadError> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
        LoadError::Syntax { line: before.matches('\n').count() + 1, reason: error.message().to_owned() }
    })?;
    let mut options = ProgramOptions::default();
    let mut loaded = Loaded::default();
    for (key, value) in &table {
        if key == "broker" {
            let broker = value.as_table().ok_or_else(|| shape(key, "a table", value))?;
            add_table(&mut loaded, "", broker)?;
            continue;
        }
        let definition = find(Scope::Program, key).ok_or_else(|| unknown_option(key))?;
        let text = scalar(key, value)?;
        definition.parse(&text)?;
        options.0.insert(key.clone(), text);
    }
    Ok((options, loaded))
}

/// A key of Kafka's outside of `[broker]` is a slip that is worth a better hint than the nearest option.
fn unknown_option(key: &str) -> LoadError {
    let nearest = match nearest_key(Scope::Program, key) {
        Some(option) => Some(option),
        None => find(Scope::Broker, key).map(|_| "a key of the table [broker]"),
    };
    LoadError::Unknown { key: key.to_owned(), nearest }
}

fn add_table(loaded: &mut Loaded, prefix: &str, table: &Table) -> Result<(), LoadError> {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => add_table(loaded, &name, inner)?,
            _ => loaded.add(broker_key(&name)?, scalar(&name, value)?)?,
        }
    }
    Ok(())
}

/// The text of a value as Kafka would write it; a list is joined with commas.
fn scalar(key: &str, value: &Value) -> Result<String, LoadError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(truth) => Ok(truth.to_string()),
        Value::Array(elements) => {
            let texts: Result<Vec<_>, _> = elements.iter().map(|element| scalar(key, element)).collect();
            Ok(texts?.join(","))
        }
        Value::Table(_) | Value::Datetime(_) => Err(shape(key, "a text, number, boolean or list", value)),
    }
}

fn shape(key: &str, expected: &'static str, found: &Value) -> LoadError {
    LoadError::Shape { key: key.to_owned(), expected, found: found.type_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_keys_are_read_in_either_spelling() {
        let text = r#"
            durability = "os"
            listen = ["PLAINTEXT://localhost:0"]
            [broker]
            "log.retention.ms" = 5000
            log.segment.bytes = 2097152
            log.cleanup.policy = ["compact", "delete"]
            auto.create.topics.enable = false
        "#;
        let (options, loaded) = from_millstream_toml(text).unwrap();
        assert_eq!(options.get("durability"), Some("os"));
        assert_eq!(options.list("listen"), ["PLAINTEXT://localhost:0"]);
        assert_eq!(loaded.settings["log.retention.ms"], "5000");
        assert_eq!(loaded.settings["log.segment.bytes"], "2097152");
        assert_eq!(loaded.settings["log.cleanup.policy"], "compact,delete");
        assert_eq!(loaded.settings["auto.create.topics.enable"], "false");
    }

    #[test]
    fn every_mistake_is_one_sentence() {
        let message = |text| from_millstream_toml(text).unwrap_err().to_string();
        assert_eq!(
            message("durabilty = 'os'"),
            "durabilty is not a configuration key; did you mean durability?"
        );
        assert_eq!(
            message("[broker]\nnum.partition = 1"),
            "num.partition is not a configuration key; did you mean num.partitions?"
        );
        assert_eq!(
            message("durability = 'ram'"),
            "Invalid value ram for configuration durability: String must be one of: disk, os"
        );
        assert_eq!(message("broker = 1"), "broker: expected a table, found integer");
        assert!(message("a = 1\nb = ").starts_with("line 2: "), "{}", message("a = 1\nb = "));
    }
}
