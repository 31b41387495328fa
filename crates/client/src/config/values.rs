//! From the texts of configuration keys to the fields that hold them. What a key is, its range and its default
//! are said by its definition in `millstream_config`, and nowhere else.

use std::time::Duration;

use millstream_config::{ConfigError, Definition, Effect, Scope, Value, find};
use millstream_record::Compression;

use super::{Acks, IsolationLevel, OffsetReset, Partitioner};
use crate::{AssignmentStrategy, Error, Result};

/// What a negative number of milliseconds means in Kafka: longer than any program runs.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A struct with one field for each key of a scope that has an effect, and others that have no key. Its default
/// is that of the definitions.
macro_rules! keys {
    (
        $(#[$meta:meta])*
        pub struct $name:ident of $scope:ident {
            $($(#[$doc:meta])* pub $field:ident: $type:ty = $key:literal,)*
            ..
            $($(#[$other_doc:meta])* pub $other:ident: $other_type:ty = $value:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            $($(#[$other_doc])* pub $other: $other_type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $crate::config::values::default(millstream_config::Scope::$scope, $key),)*
                    $($other: $value,)*
                }
            }
        }

        impl $name {
            #[cfg(test)]
            pub(crate) const KEYS: &[&str] = &[$($key),*];

            /// Sets one key by Kafka's name; false if it is not one of these.
            pub fn set(&mut self, key: &str, value: &str) -> $crate::Result<bool> {
                use $crate::config::values::{checked, converted};

                let Some(checked) = checked(millstream_config::Scope::$scope, key, value)? else {
                    return Ok(false);
                };
                match key {
                    $($key => self.$field = converted(key, value, checked)?,)*
                    // A key of Kafka's without effect.
                    _ => {}
                }
                Ok(true)
            }
        }
    };
}
pub(super) use keys;

/// The value of a key, if the scope has it: of its type, within its range, and nothing that it would be unsafe to
/// go on without.
pub(super) fn checked(scope: Scope, key: &str, text: &str) -> Result<Option<Value>> {
    let Some(definition) = find(scope, key) else { return Ok(None) };
    let value = definition.parse(text).map_err(refusal)?;
    let differs = definition.default.is_none_or(|default| !default.eq_ignore_ascii_case(&value.to_string()));
    match definition.effect {
        Effect::Refused(why) if differs => {
            let default =
                definition.default.map_or_else(String::new, |default| format!("; only {default} is"));
            let reason = format!("not supported by this client yet{default}: {}", why.text());
            return Err(invalid(key, shown(definition, text), reason));
        }
        Effect::None(why) if differs => {
            tracing::debug!(key, because = why.text(), "a configuration has no effect");
        }
        _ => {}
    }
    Ok(Some(value))
}

fn shown<'a>(definition: &Definition, text: &'a str) -> &'a str {
    if definition.is_sensitive() { "[hidden]" } else { text }
}

fn refusal(error: ConfigError) -> Error {
    match error {
        ConfigError::Invalid { name, value, reason } => invalid(&name, &value, reason),
        ConfigError::EmptyElement { ref name } => Error::config(&name.clone(), error),
        other => Error::config("configuration", other),
    }
}

fn invalid(key: &str, value: &str, reason: impl Into<String>) -> Error {
    Error::Config { key: key.to_owned(), value: Some(value.to_owned()), reason: reason.into() }
}

pub(super) fn converted<T: FromValue>(key: &str, text: &str, value: Value) -> Result<T> {
    T::from_value(Some(value)).map_err(|reason| invalid(key, text, reason))
}

/// The default of a key that a field is for.
pub(super) fn default<T: FromValue>(scope: Scope, key: &str) -> T {
    let definition = find(scope, key).unwrap_or_else(|| panic!("no definition of {scope:?} key {key}"));
    let value = definition.default.map(|text| definition.parse(text));
    let value = value.transpose().unwrap_or_else(|error| panic!("the default of {key}: {error}"));
    T::from_value(value).unwrap_or_else(|error| panic!("the default of {key}: {error}"))
}

/// What a field can be made of. A definition that does not fit its field is a bug, which a test finds.
pub(super) trait FromValue: Sized {
    /// None: the key is not set and has no default.
    fn from_value(value: Option<Value>) -> Result<Self, String>;
}

fn unfit(value: Option<Value>) -> String {
    format!("{value:?} does not fit")
}

impl FromValue for bool {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        value.as_ref().and_then(Value::as_bool).ok_or_else(|| unfit(value))
    }
}

impl FromValue for String {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        match value {
            Some(Value::Text(text)) => Ok(text),
            other => Err(unfit(other)),
        }
    }
}

impl FromValue for Option<String> {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        match value {
            Some(value) => String::from_value(Some(value)).map(|text| Some(text).filter(|t| !t.is_empty())),
            None => Ok(None),
        }
    }
}

/// Without empty elements: a comma at the end of a list of addresses is no address.
impl FromValue for Vec<String> {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        match value {
            Some(Value::List(list)) => Ok(list.into_iter().filter(|element| !element.is_empty()).collect()),
            other => Err(unfit(other)),
        }
    }
}

fn number<T: TryFrom<i64>>(value: Option<Value>) -> Result<T, String> {
    let number = value.as_ref().and_then(Value::as_i64).and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| unfit(value))
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl FromValue for $type {
            fn from_value(value: Option<Value>) -> Result<Self, String> {
                number(value)
            }
        })*
    };
}
numbers!(i32, u32, usize);

/// -1 is nothing in particular.
impl FromValue for Option<u32> {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        number::<i32>(value).map(|number| u32::try_from(number).ok())
    }
}

/// -1 is nothing in particular.
impl FromValue for Option<i32> {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        number::<i32>(value).map(|number| Some(number).filter(|&number| number != -1))
    }
}

impl FromValue for Duration {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        let millis: i64 = number(value)?;
        Ok(u64::try_from(millis).map_or(FOREVER, Self::from_millis).min(FOREVER))
    }
}

impl FromValue for Compression {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        let name = String::from_value(value)?;
        Self::from_name(&name).ok_or_else(|| format!("{name:?} is no codec"))
    }
}

macro_rules! texts {
    ($($type:ty),*) => {
        $(impl FromValue for $type {
            fn from_value(value: Option<Value>) -> Result<Self, String> {
                String::from_value(value)?.parse()
            }
        })*
    };
}
texts!(Acks, IsolationLevel, OffsetReset, Partitioner, super::MetadataRecovery);

impl FromValue for Vec<AssignmentStrategy> {
    fn from_value(value: Option<Value>) -> Result<Self, String> {
        Vec::<String>::from_value(value)?.iter().map(|name| name.parse()).collect()
    }
}
