//! Texts to values, as Kafka's `ConfigDef.parseType` and its validators do it, with their messages.

use std::fmt;

use crate::{
    ConfigError,
    definition::{Kind, Validator},
    duration,
};

/// A value of some key's type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Number(i64),
    Double(f64),
    Text(String),
    List(Vec<String>),
}

impl Value {
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(b) = self { Some(*b) } else { None }
    }

    pub fn as_i64(&self) -> Option<i64> {
        if let Value::Number(n) = self { Some(*n) } else { None }
    }

    pub fn as_f64(&self) -> Option<f64> {
        if let Value::Double(d) = self { Some(*d) } else { None }
    }

    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(t) = self { Some(t) } else { None }
    }

    pub fn as_list(&self) -> Option<&[String]> {
        if let Value::List(l) = self { Some(l) } else { None }
    }
}

/// As DescribeConfigs shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(b) => b.fmt(f),
            Value::Number(n) => n.fmt(f),
            Value::Double(d) => f.write_str(&java_double(*d)),
            Value::Text(t) => f.write_str(t),
            Value::List(l) => f.write_str(&l.join(",")),
        }
    }
}

/// `Double.toString`: a point always, an exponent outside of [10^-3, 10^7).
fn java_double(d: f64) -> String {
    let plain = d == 0.0 || (1e-3..1e7).contains(&d.abs()) || !d.is_finite();
    if plain {
        return format!("{d:?}");
    }
    let text = format!("{d:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

pub(crate) fn parse(name: &str, kind: Kind, text: &str) -> Result<Value, ConfigError> {
    let trimmed = text.trim();
    let not_a_number = || ConfigError::invalid(name, text, format!("Not a number of type {}", kind.name()));
    match kind {
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        Kind::Boolean => Err(ConfigError::invalid(name, text, "Expected value to be either true or false")),
        Kind::Int => trimmed.parse::<i32>().map(|n| Value::Number(n.into())).map_err(|_| not_a_number()),
        Kind::Short => trimmed.parse::<i16>().map(|n| Value::Number(n.into())).map_err(|_| not_a_number()),
        Kind::Long => trimmed.parse().map(Value::Number).map_err(|_| not_a_number()),
        Kind::Double => trimmed.parse().map(Value::Double).map_err(|_| not_a_number()),
        Kind::String | Kind::Class => Ok(Value::Text(trimmed.to_owned())),
        Kind::Password => Ok(Value::Text(text.to_owned())),
        Kind::List => Ok(Value::List(split_list(trimmed))),
    }
}

/// Elements between commas, without the blanks around them; an empty text is an empty list.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',').map(|element| element.trim().to_owned()).collect()
}

impl Validator {
    pub(crate) fn check(self, name: &str, value: &Value) -> Result<(), ConfigError> {
        let invalid = |reason: String| Err(ConfigError::invalid(name, value, reason));
        match (self, value) {
            (Validator::AtLeast(min), _) if below(value, min) => {
                invalid(format!("Value must be at least {min}"))
            }
            (Validator::Between(min, _), _) if below(value, min) => {
                invalid(format!("Value must be at least {min}"))
            }
            (Validator::Between(_, max), _) if above(value, max) => {
                invalid(format!("Value must be no more than {max}"))
            }
            (Validator::BetweenOr(min, max, other), Value::Number(n))
                if *n != other && !(min..=max).contains(n) =>
            {
                invalid(format!("Value must be between {min} and {max} or equal to {other}"))
            }
            (Validator::OneOf(valid), Value::Text(text)) if !valid.contains(&text.as_str()) => {
                invalid(format!("String must be one of: {}", valid.join(", ")))
            }
            (Validator::OneOfIgnoringCase(valid), Value::Text(text))
                if !valid.iter().any(|v| v.eq_ignore_ascii_case(text)) =>
            {
                invalid(format!("String must be one of (case insensitive): {}", valid.join(", ")))
            }
            (Validator::ListOf(valid), Value::List(list)) => check_elements(name, valid, list),
            (Validator::NonEmpty, Value::Text(text)) if text.is_empty() => {
                invalid("String must be non-empty".into())
            }
            (Validator::ThrottledReplicas, Value::List(list)) => check_throttled(name, list),
            (Validator::ShareOffsetReset, Value::Text(text)) => check_offset_reset(name, text),
            _ => Ok(()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the bounds of doubles are 0 and 1")]
fn below(value: &Value, min: i64) -> bool {
    match value {
        Value::Number(n) => *n < min,
        Value::Double(d) => *d < min as f64,
        _ => false,
    }
}

#[expect(clippy::cast_precision_loss, reason = "the bounds of doubles are 0 and 1")]
fn above(value: &Value, max: i64) -> bool {
    match value {
        Value::Number(n) => *n > max,
        Value::Double(d) => *d > max as f64,
        _ => false,
    }
}

fn check_elements(name: &str, valid: &[&str], list: &[String]) -> Result<(), ConfigError> {
    if list.iter().any(String::is_empty) {
        return Err(ConfigError::EmptyElement { name: name.to_owned() });
    }
    match list.iter().find(|element| !valid.contains(&element.as_str())) {
        Some(bad) => {
            Err(ConfigError::invalid(name, bad, format!("String must be one of: {}", valid.join(", "))))
        }
        None => Ok(()),
    }
}

fn check_throttled(name: &str, list: &[String]) -> Result<(), ConfigError> {
    let pair = |element: &String| {
        element.split_once(':').is_some_and(|(partition, broker)| {
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits(partition.trim()) && digits(broker.trim())
        })
    };
    if list.is_empty() || list == ["*"] || list.iter().all(pair) {
        return Ok(());
    }
    let format = "[partitionId]:[brokerId],[partitionId]:[brokerId],...";
    let reason =
        format!("{name} must be the literal '*' or a list of replicas in the following format: {format}");
    Err(ConfigError::invalid(name, format!("[{}]", list.join(", ")), reason))
}

fn check_offset_reset(name: &str, text: &str) -> Result<(), ConfigError> {
    let duration = text.strip_prefix("by_duration:");
    if matches!(text, "earliest" | "latest") || duration.is_some_and(duration::is_iso) {
        return Ok(());
    }
    let forms = "'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'";
    let reason =
        format!("Invalid value `{text}` for configuration {name}. The value must be either {forms}.");
    Err(ConfigError::invalid(name, text, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_java_writes_them() {
        for (value, text) in
            [(0.5, "0.5"), (1.0, "1.0"), (f64::MAX, "1.7976931348623157E308"), (1e7, "1.0E7"), (0.0, "0.0")]
        {
            assert_eq!(java_double(value), text);
        }
    }

    #[test]
    fn lists_lose_the_blanks_around_their_commas() {
        assert_eq!(split_list(" a ,b"), ["a", "b"]);
        assert_eq!(split_list(""), Vec::<String>::new());
        assert_eq!(split_list("a,,b"), ["a", "", "b"]);
    }
}
