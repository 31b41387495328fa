//! From texts to static settings: `server.properties`, `millstream.toml`, `--set KEY=VALUE`.
//!
//! A file of Kafka's may hold keys that nobody knows (plug-ins read them): they become notices. In our
//! own file and on the command line an unknown key is an error.

mod properties;
mod toml_file;

pub use properties::parse_properties;
pub use toml_file::from_millstream_toml;

use crate::{ConfigError, Definition, Effect, Properties, Scope, all, find, nearest};

/// Static settings of the broker, checked one by one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    pub settings: Properties,
    pub notices: Vec<Notice>,
}

/// Millstream's own options at the top of `millstream.toml`, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgramOptions(pub Properties);

impl ProgramOptions {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The elements of an option that is a list.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.get(name).map(crate::value::split_list).unwrap_or_default()
    }
}

/// What the user should be told once at the start.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    Unknown { key: String, nearest: Option<&'static str> },
    NoEffect { key: &'static str, why: &'static str },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Notice::Unknown { key, nearest: Some(nearest) } => {
                write!(f, "{key} is not a key of Kafka 4.3; did you mean {nearest}?")
            }
            Notice::Unknown { key, nearest: None } => write!(f, "{key} is not a key of Kafka 4.3"),
            Notice::NoEffect { key, why } => write!(f, "{key} has no effect: {why}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LoadError {
    #[error("'{0}' is not KEY=VALUE")]
    NotAPair(String),
    #[error("{key} is not a configuration key{}", hint(*nearest))]
    Unknown { key: String, nearest: Option<&'static str> },
    #[error(transparent)]
    Invalid(#[from] ConfigError),
    #[error("{0} cannot be honoured: {1}")]
    Refused(&'static str, &'static str),
    #[error("line {line}: {reason}")]
    Syntax { line: usize, reason: String },
    #[error("{key}: expected {expected}, found {found}")]
    Shape { key: String, expected: &'static str, found: &'static str },
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// Settings from the text of a `server.properties`.
pub fn from_server_properties(text: &str) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    for (key, value) in parse_properties(text)? {
        match find(Scope::Broker, &key) {
            Some(definition) => loaded.add(definition, value)?,
            None => {
                let nearest = nearest_key(Scope::Broker, &key);
                loaded.notices.push(Notice::Unknown { key, nearest });
            }
        }
    }
    Ok(loaded)
}

/// Settings from the operands of `--set`, a later one going before an earlier.
pub fn from_set<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Loaded, LoadError> {
    let mut loaded = Loaded::default();
    for pair in pairs {
        let (key, value) = pair.split_once('=').ok_or_else(|| LoadError::NotAPair(pair.to_owned()))?;
        loaded.add(broker_key(key.trim())?, value.trim().to_owned())?;
    }
    Ok(loaded)
}

fn broker_key(name: &str) -> Result<&'static Definition, LoadError> {
    find(Scope::Broker, name)
        .ok_or_else(|| LoadError::Unknown { key: name.to_owned(), nearest: nearest_key(Scope::Broker, name) })
}

fn nearest_key(scope: Scope, name: &str) -> Option<&'static str> {
    nearest(name, all(scope).map(|definition| definition.name))
}

impl Loaded {
    fn add(&mut self, definition: &'static Definition, value: String) -> Result<(), LoadError> {
        let parsed = definition.parse(&value)?;
        let key = definition.name;
        let differs = definition.default.is_none_or(|default| default != parsed.to_string());
        match definition.effect {
            Effect::Refused(why) if differs => return Err(LoadError::Refused(key, why.text())),
            Effect::None(why) if differs => {
                let notice = Notice::NoEffect { key, why: why.text() };
                if !self.notices.contains(&notice) {
                    self.notices.push(notice);
                }
            }
            _ => {}
        }
        self.settings.insert(key.to_owned(), value);
        Ok(())
    }

    /// What the other says goes before what this says.
    pub fn merge(&mut self, other: Loaded) {
        self.settings.extend(other.settings);
        for notice in other.notices {
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_a_notice_in_kafkas_file_and_an_error_on_the_command_line() {
        let loaded = from_server_properties("num.partition=3\nnum.partitions=4\n").unwrap();
        let notice = Notice::Unknown { key: "num.partition".into(), nearest: Some("num.partitions") };
        assert_eq!(loaded.notices, [notice]);
        assert_eq!(loaded.settings["num.partitions"], "4");
        let error = from_set(["num.partition=3"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "num.partition is not a configuration key; did you mean num.partitions?"
        );
        assert_eq!(from_set(["xyz"]).unwrap_err().to_string(), "'xyz' is not KEY=VALUE");
    }

    #[test]
    fn a_key_without_effect_is_noticed_once_unless_it_says_the_default() {
        let loaded = from_server_properties("num.io.threads=4\nnum.network.threads=3\n").unwrap();
        assert_eq!(loaded.notices.len(), 1);
        assert!(loaded.notices[0].to_string().starts_with("num.io.threads has no effect: "));
    }

    #[test]
    fn what_would_be_unsafe_to_ignore_is_refused() {
        let error =
            from_set(["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"]);
        assert!(matches!(error, Err(LoadError::Refused("authorizer.class.name", _))), "{error:?}");
        assert!(from_set(["authorizer.class.name="]).is_ok());
    }

    #[test]
    fn a_value_outside_of_its_range_is_an_error() {
        let error = from_server_properties("num.partitions=0").unwrap_err();
        assert_eq!(
            error.to_string(),
            "Invalid value 0 for configuration num.partitions: Value must be at least 1"
        );
    }
}
