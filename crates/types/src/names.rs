//! Names of topics, checked once at the edge and trusted afterwards.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::PartitionId;

/// A topic's name; cheap to clone. [`TopicName::parse`] applies Kafka's rules
/// (`org.apache.kafka.common.internals.Topic`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    #[error("Topic name is invalid: '{name}' is not allowed")]
    Dots { name: String },
    #[error(
        "Topic name is invalid: the length of '{name}' is longer than the max allowed length {}",
        TopicName::LENGTH_MAX
    )]
    TooLong { name: String },
    #[error(
        "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    )]
    IllegalCharacter { name: String },
}

impl TopicName {
    pub const LENGTH_MAX: usize = 249;

    pub fn parse(name: &str) -> Result<Self, TopicNameError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match name {
            "" => Err(TopicNameError::Empty),
            "." | ".." => Err(TopicNameError::Dots { name: name.to_owned() }),
            _ if name.len() > Self::LENGTH_MAX => Err(TopicNameError::TooLong { name: name.to_owned() }),
            _ if !name.chars().all(legal) => Err(TopicNameError::IllegalCharacter { name: name.to_owned() }),
            _ => Ok(Self(name.into())),
        }
    }

    /// A name that is known to be legal: our own internal topics.
    pub fn from_static(name: &'static str) -> Self {
        Self::parse(name).expect("an internal topic's name is legal")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Kafka refuses two topics whose names differ only in `.` and `_`: their metrics would collide.
    pub fn collides_with(&self, other: &TopicName) -> bool {
        self.0.len() == other.0.len() && self.0.replace('.', "_") == other.0.replace('.', "_")
    }

    /// `__consumer_offsets`, `__transaction_state`, `__share_group_state`: clients may not create them freely.
    pub fn is_internal(&self) -> bool {
        matches!(&*self.0, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One partition of one topic; written `topic-3`, which is also its directory's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: PartitionId,
}

impl TopicPartition {
    pub fn new(topic: TopicName, partition: PartitionId) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_kafkas_alphabet_are_refused() {
        for bad in ["", ".", "..", "a b", "ü", "a/b", &"x".repeat(250)] {
            assert!(TopicName::parse(bad).is_err(), "{bad}");
        }
        for good in ["a", "a.b_c-9", "...", &"x".repeat(249)] {
            assert!(TopicName::parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_dot_collides_with_an_underscore() {
        let name = |s| TopicName::parse(s).unwrap();
        assert!(name("a.b").collides_with(&name("a_b")));
        assert!(!name("a.b").collides_with(&name("a-b")));
    }
}
