//! What a tool that consumes was asked to read, and telling the client's consumer.

use millstream_client::{Consumer, Error};
use millstream_types::{Offset, PartitionId, TopicName, TopicPartition, Uuid};

use super::{
    exit::{Exit, Outcome},
    output,
    pattern::Pattern,
};

/// How many groups a tool that was given none chooses from, as Kafka's do.
const GROUPS: u128 = 100_000;

#[derive(Debug)]
pub(super) enum Wanted {
    /// As a member of a group.
    Topic(String),
    /// As a member of a group.
    Pattern(Pattern),
    /// Without being a member.
    Partition(String, PartitionId, Start),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Earliest,
    Latest,
    At(Offset),
}

impl Wanted {
    pub(super) fn begin(self, consumer: &mut Consumer) -> Result<(), Error> {
        match self {
            Self::Topic(topic) => consumer.subscribe([parse(&topic)?]),
            Self::Pattern(pattern) => consumer.subscribe_where(move |topic| {
                pattern.matches(topic.as_str()).unwrap_or_else(|exit| {
                    output::say(&format!("WARN {}; it is left out", exit.sentence()));
                    false
                })
            }),
            Self::Partition(topic, number, start) => {
                let partition = TopicPartition::new(parse(&topic)?, number);
                consumer.assign_partitions([partition.clone()]);
                match start {
                    Start::Earliest => consumer.seek_to_beginning([partition]),
                    Start::Latest => consumer.seek_to_end([partition]),
                    Start::At(offset) => consumer.seek(partition, offset),
                }
                Ok(())
            }
        }
    }
}

/// A pattern as Java compiles it.
pub(super) fn pattern(text: &str) -> Outcome<Wanted> {
    let wrong = || Exit::failure(format!("ERROR {text} is not a regular expression"));
    Pattern::new(text).map(Wanted::Pattern).ok_or_else(wrong)
}

/// A group of nobody else's, most likely.
pub(super) fn random_group(stem: &str) -> String {
    format!("{stem}-{}", Uuid::random().0 % GROUPS)
}

fn parse(topic: &str) -> Result<TopicName, Error> {
    TopicName::parse(topic).map_err(|error| Error::Kafka {
        code: millstream_types::ErrorCode::InvalidTopicException,
        what: format!("topic {topic}"),
        message: Some(error.to_string()),
    })
}
